// SPDX-License-Identifier: Apache-2.0

/* What ptxas 13.5 does with each kind of declaration stands in its cubins, in the symbols of
 * .nv.global and .nv.global.init; tests/fuzz/corpus/moduleimage has such. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shim/ptx.h"

#define HEAD    ".version 8.0\n.target sm_80\n.address_size 64\n"
#define UNKNOWN UINT64_MAX
#define MOST    (UINT64_C(1) << 48)

static const struct {
    const char *text;
    uint64_t bytes;
} texts[] = {
    {HEAD, 0},
    {"  // a comment first\n/* another */" HEAD ".global .b8 a[7];", 7},
    {HEAD ".visible .global .align 4 .b8 plain[1000];", 1000},
    {HEAD ".global .align 16 .b8 nobody_uses[2000];", 2000},
    {HEAD ".weak .global .align 8 .f64 two[3][5];", 120},
    {HEAD ".visible .global .attribute(.managed) .align 4 .b8 managed[4096];", 4096},
    {HEAD ".visible .global .align 4 .attribute( .managed ) .b8 managed[4096];", 4096},
    {HEAD ".visible .global .align 16 .v4 .f32 vectors[7];", 112},
    {HEAD ".visible .global .v2 .u8 vector;", 2},
    {HEAD ".visible .global .u32 a, b[3], c;", 20},
    {HEAD ".visible .global .align 4 .u32 init[] = {1, 2, 3, 4, 5};", 20},
    {HEAD ".visible .global .align 4 .u32 init[][2] = {{1, 2}, {3, 4}, {5}};", 24},
    {HEAD ".global .u64 p[] = {generic(a), mask(0xff, 1), 3};", 24},
    {HEAD ".global .u32 none[] = {};", 0},
    {HEAD ".global .align 1 .b8 text[8] = {104, 105}; .global .b8 more[3];", 11},
    {HEAD ".global .align 8 .u64 pointer = generic(plain);", 8},
    {HEAD ".common .global .align 4 .b8 common[100];", 100},
    {HEAD ".global .b8 a; .global .align 256 .b8 b[3]; .global .u16 c;", 262},
    {HEAD ".global .b8 hex[0x10]; .global .b8 unsigned[8U]; .global .b8 octal[010];", 32},
    {HEAD ".visible.global.align 4 .b8 together[9];", 9},
    {HEAD ".global\t.b8\n\tspread [ 4 ]\n[ 2 ] ;", 8},
    {HEAD ".global .b8 /* [9] */ commented[2] // [9]\n;", 2},
    {HEAD ".file 1 \".global .b8 x[9]; \\\"\"\n.global .b8 quoted[2];", 2},
    {HEAD ".global .f16x2 h[2]; .global .bf16 b[2]; .global .b128 w;", 32},
    /* takes none */
    {HEAD "// .global .b8 a[7];\n/* .global .b8 b[7]; */", 0},
    {HEAD "/* .global .b8 a[7];", 0},
    {HEAD ".extern .global .align 4 .b8 elsewhere[];", 0},
    {HEAD ".extern .global .align 4 .b8 elsewhere[100];\n.global .b8 here[2];", 2},
    {HEAD ".visible .const .align 4 .b8 constants[256];", 0},
    {HEAD ".visible .global .texref texture;", 0},
    {HEAD ".extern .shared .align 16 .b8 shared[];", 0},
    {HEAD
     ".entry k(.param .u64 .ptr .global .align 4 p)\n{\n.shared .b8 s[64];\n.local .b8 l[64];\n"
     ".param .b8 q[64];\nld.global.u32 %r1, [%rd1];\ncvta.to.global.u64 %rd1, %rd2;\n"
     "call (%r2), f, (%r3);\nret;\n}\n.global .b8 behind[3];",
     3},
    {HEAD ".entry k()\n{\n.global .align 4 .b8 within[5000];\nret;\n}", 5000},
    /* nobody has as much */
    {HEAD ".global .b8 a[281474976710655];", MOST - 1},
    {HEAD ".global .b8 a[0xffffffffffffffff][2];", MOST},
    {HEAD ".global .b8 a[0xffffffffffffffff]; .global .align 1024 .b8 b[0xffffffffffffffff];",
     MOST},
    /* does not tell */
    {"", UNKNOWN},
    {"@nvvm = global [9 x i8]", UNKNOWN},
    {".target sm_80\n.version 8.0\n.global .b8 a[7];", UNKNOWN},
    {HEAD ".global .b7 a;", UNKNOWN},
    {HEAD ".global .v3 .b8 a;", UNKNOWN},
    {HEAD ".global .align 3 .b8 a;", UNKNOWN},
    {HEAD ".global .align x .b8 a;", UNKNOWN},
    {HEAD ".global a[7];", UNKNOWN},
    {HEAD ".global .b8 a[4*2];", UNKNOWN},
    {HEAD ".global .b8 a[-1];", UNKNOWN},
    {HEAD ".global .b8 a[7", UNKNOWN},
    {HEAD ".global .b8 a[7]", UNKNOWN},
    {HEAD ".global .b8 a[7] = {1", UNKNOWN},
    {HEAD ".global", UNKNOWN},
};

static void check(const char *text, size_t size, uint64_t bytes, const char *what)
{
    struct ptx ptx = {1, 2};
    const int r = ptx_read(&(struct bytes){text, size}, &ptx);

    if (r != (bytes == UNKNOWN ? PTX_UNKNOWN : 0) ||
        ptx.variables_bytes != (bytes == UNKNOWN ? 1 : bytes))
        fail_msg("%s: %d, %llu", what, r, (unsigned long long)ptx.variables_bytes);
}

/* In memory the NUL is the end, in a file the size. */
static void test_declarations(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const size_t length = strlen(texts[i].text);
        char *exact = malloc(length ? length : 1);

        assert_non_null(exact);
        check(texts[i].text, BYTES_UNTOLD, texts[i].bytes, texts[i].text);
        memcpy(exact, texts[i].text, length);
        check(exact, length, texts[i].bytes, texts[i].text);
        free(exact);
    }
}

static void test_a_text_is_as_long_as_it_is(void **state)
{
    static const char text[] = HEAD ".global .b8 a[7];\0.global .b8 b[7];";
    struct ptx ptx;

    (void)state;
    assert_int_equal(ptx_read(&(struct bytes){text, sizeof(text)}, &ptx), 0);
    assert_int_equal(ptx.length, strlen(text));
    assert_int_equal(ptx.variables_bytes, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_declarations),
        cmocka_unit_test(test_a_text_is_as_long_as_it_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
