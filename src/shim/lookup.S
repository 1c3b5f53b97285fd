// SPDX-License-Identifier: Apache-2.0

/*
 * dlsym and dlvsym: lookup.c decides. What it does not answer goes on to libc's function as a jump,
 * so that its return address is the program's.
 *
 * A program asks for the version that its libc had when it was linked.
 */

#if defined(__x86_64__)

    .text

/* Three arguments are kept, which also keeps the stack aligned. */
.macro lookup_route entry, decide
    .globl  \entry
    .hidden \entry
    .type   \entry, @function
    .p2align 4
\entry:
    .cfi_startproc
    endbr64
    push    %rdi
    .cfi_adjust_cfa_offset 8
    push    %rsi
    .cfi_adjust_cfa_offset 8
    push    %rdx
    .cfi_adjust_cfa_offset 8
    call    \decide
    mov     %rdx, %r11
    pop     %rdx
    .cfi_adjust_cfa_offset -8
    pop     %rsi
    .cfi_adjust_cfa_offset -8
    pop     %rdi
    .cfi_adjust_cfa_offset -8
    test    %r11, %r11
    jz      1f
    jmp     *%r11
1:  ret
    .cfi_endproc
    .size   \entry, . - \entry
.endm

#define FUNCTION @function

#elif defined(__aarch64__)

    .text

.macro lookup_route entry, decide
    .globl  \entry
    .hidden \entry
    .type   \entry, %function
    .p2align 4
\entry:
    .cfi_startproc
    stp     x29, x30, [sp, #-48]!
    .cfi_adjust_cfa_offset 48
    .cfi_offset x29, -48
    .cfi_offset x30, -40
    stp     x0, x1, [sp, #16]
    str     x2, [sp, #32]
    bl      \decide
    mov     x16, x1
    cbnz    x16, 1f
    ldp     x29, x30, [sp], #48
    .cfi_remember_state
    .cfi_adjust_cfa_offset -48
    .cfi_restore x29
    .cfi_restore x30
    ret
    .cfi_restore_state
1:  ldp     x0, x1, [sp, #16]
    ldr     x2, [sp, #32]
    ldp     x29, x30, [sp], #48
    .cfi_adjust_cfa_offset -48
    .cfi_restore x29
    .cfi_restore x30
    br      x16
    .cfi_endproc
    .size   \entry, . - \entry
.endm

#define FUNCTION %function

#else
#error "no route for this processor"
#endif

    lookup_route lookup_dlsym_entry, lookup_dlsym
    lookup_route lookup_dlvsym_entry, lookup_dlvsym

/* Under the two versions of libc's: with libdl beside it, and since 2.34. */
.macro export name, version, entry
    .globl  \entry\()_\version
    .type   \entry\()_\version, FUNCTION
    .set    \entry\()_\version, \entry
.endm

    export dlsym, old, lookup_dlsym_entry
    export dlvsym, old, lookup_dlvsym_entry
#if defined(__x86_64__)
    .symver lookup_dlsym_entry_old, dlsym@GLIBC_2.2.5, remove
    .symver lookup_dlvsym_entry_old, dlvsym@GLIBC_2.2.5, remove
#else
    .symver lookup_dlsym_entry_old, dlsym@GLIBC_2.17, remove
    .symver lookup_dlvsym_entry_old, dlvsym@GLIBC_2.17, remove
#endif

    export dlsym, new, lookup_dlsym_entry
    export dlvsym, new, lookup_dlvsym_entry
    .symver lookup_dlsym_entry_new, dlsym@@GLIBC_2.34, remove
    .symver lookup_dlvsym_entry_new, dlvsym@@GLIBC_2.34, remove

    .section .note.GNU-stack, "", %progbits
