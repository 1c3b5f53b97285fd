// SPDX-License-Identifier: Apache-2.0
#include "nvml/state.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "gpu/nvml-abi.h"
#include "nvml/alive.h"

static_assert(sizeof(struct state_gpu) == 104, "shared layout");
static_assert(sizeof(struct state_process) == 104, "shared layout");
static_assert(sizeof(struct state_rule) == 88, "shared layout");
static_assert(sizeof(struct state_event) == 32, "shared layout");
static_assert(sizeof(struct state) % 8 == 0, "shared layout");
static_assert(ATOMIC_INT_LOCK_FREE == 2 && ATOMIC_LLONG_LOCK_FREE == 2, "words must stand alone");

/* flock excludes other opens of the file; this excludes other threads of this process. */
static pthread_mutex_t writers = PTHREAD_MUTEX_INITIALIZER;

void state_lock(struct state_file *file)
{
    pthread_mutex_lock(&writers);
    while (flock(file->fd, LOCK_EX) < 0 && errno == EINTR)
        ;
}

static void futex_wake(atomic_uint *word)
{
    atomic_fetch_add(word, 1);
    syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

void state_unlock(struct state_file *file)
{
    flock(file->fd, LOCK_UN);
    pthread_mutex_unlock(&writers);
}

static void futex_wait(atomic_uint *word, unsigned seen, uint64_t timeout_ns)
{
    struct timespec time = {(time_t)(timeout_ns / 1000000000u), (long)(timeout_ns % 1000000000u)};

    syscall(SYS_futex, word, FUTEX_WAIT, seen, timeout_ns == UINT64_MAX ? NULL : &time, NULL, 0);
}

static uint64_t hash_bytes(uint64_t h, const void *bytes, size_t size)
{
    for (const unsigned char *p = bytes; size > 0; p++, size--)
        h = (h ^ *p) * 0x100000001b3u;
    return h;
}

/* A name from the catalog has no file of its own: the catalog's directory identifies it. */
static int catalog_key(const char *name, uint64_t *ret_key)
{
    cleanup_free char *folder = machine_catalog_folder();
    uint64_t h = 0xcbf29ce484222325u;

    if (!folder)
        return -ENOMEM;
    h = hash_bytes(h, folder, strlen(folder) + 1);
    *ret_key = hash_bytes(h, name, strlen(name));
    return 0;
}

static int machine_key(const char *machine_path, uint64_t *ret_key, struct error *err)
{
    cleanup_free char *real = realpath(machine_path, NULL);
    uint64_t h = 0xcbf29ce484222325u;
    struct stat st;

    if (!machine_is_file(machine_path))
        return catalog_key(machine_path, ret_key);
    if (!real || stat(real, &st) < 0)
        return error_set_errno(err, -errno, "cannot read the machine file %s", machine_path);
    h = hash_bytes(h, real, strlen(real));
    h = hash_bytes(h, &st.st_mtim.tv_sec, sizeof(st.st_mtim.tv_sec));
    h = hash_bytes(h, &st.st_mtim.tv_nsec, sizeof(st.st_mtim.tv_nsec));
    *ret_key = h;
    return 0;
}

int state_path(const char *machine_path, char **ret_path, struct error *err)
{
    const char *chosen = getenv("GPUSLICE_SIM_STATE");
    uint64_t key = 0;
    int r;

    if (chosen && *chosen) {
        *ret_path = strdup(chosen);
        return *ret_path ? 0 : -ENOMEM;
    }
    r = machine_key(machine_path, &key, err);
    if (r < 0)
        return r;
    /* The version is in the name, so that an upgraded simulator does not open an older version's
     * file. */
    if (asprintf(ret_path, "%s/gpuslice-sim-%u-%u-%016llx",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (unsigned)STATE_VERSION,
                 (unsigned)geteuid(), (unsigned long long)key) < 0)
        return -ENOMEM;
    return 0;
}

static void read_boot_id(char boot[40])
{
    cleanup_free char *text = NULL;
    size_t size;

    memset(boot, 0, 40);
    if (file_read("/proc/sys/kernel/random/boot_id", 64, &text, &size, NULL) == 0)
        memcpy(boot, text, size < 36 ? size : 36);
}

static uint64_t saturating_add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static void set_next_fault(struct state *s)
{
    uint64_t next = UINT64_MAX;

    for (unsigned i = 0; i < s->machine.n_faults && i < MACHINE_MAX_FAULTS; i++) {
        uint64_t due = saturating_add(s->started_ns, s->machine.faults[i].after_ns);

        if (!atomic_load(&s->fault_done[i]) && due < next)
            next = due;
    }
    atomic_store(&s->next_fault_ns, next);
}

static void fill(struct state *s, const struct machine *machine, uint64_t key)
{
    unsigned events = atomic_load(&s->events_changed), rules = atomic_load(&s->rules_changed);

    memset(s, 0, sizeof(*s));
    s->version = STATE_VERSION;
    s->size = sizeof(*s);
    s->key = key;
    read_boot_id(s->boot);
    s->started_ns = clock_now_ns();
    s->machine = *machine;
    for (unsigned i = 0; i < machine->n_processes; i++) {
        const struct machine_process *from = &machine->processes[i];
        struct state_process *to = &s->processes[i];

        to->gpu = from->gpu;
        to->kind = from->kind;
        to->gpu_instance = from->gpu_instance;
        to->compute_instance = from->compute_instance;
        atomic_store(&to->memory_bytes, from->memory_bytes);
        memcpy(to->name, from->name, sizeof(to->name));
        atomic_store(&to->pid, from->pid);
    }
    for (unsigned i = 0; i < machine->n_gpus; i++)
        migwords_fill(&s->mig[i], &machine->gpus[i].mig);
    set_next_fault(s);
    atomic_store(&s->events_changed, events + 1); /* earlier waiters must not keep sleeping */
    atomic_store(&s->rules_changed, rules + 1);
    s->magic = STATE_MAGIC;
    atomic_store(&s->ready, 1);
}

static bool is_sound_profile(const struct mig_board *board, const struct mig_profile *p)
{
    if (p->name[sizeof(p->name) - 1] || p->slots == 0 || board->n_slots % p->slots ||
        board->n_slots / p->slots > MIG_INSTANCES_MAX || p->shape.gi_slices == 0 ||
        p->shape.gi_slices > MIG_INSTANCES_MAX || p->n_computes > MIG_CI_PROFILES_MAX)
        return false;
    for (uint32_t i = 0; i < p->n_computes; i++)
        if (p->computes[i].slices == 0 || p->computes[i].slices > p->shape.gi_slices)
            return false;
    return true;
}

static bool is_sound_board(const struct mig_board *board)
{
    if (board->n_slots > MIG_SLOTS_MAX || board->n_profiles > MIG_GI_PROFILES_MAX)
        return false;
    for (uint32_t i = 0; i < board->n_profiles; i++)
        if (!is_sound_profile(board, &board->profiles[i]))
            return false;
    return true;
}

/* Data from outside: validates here what later code relies on. */
static bool is_sound(const struct state *s)
{
    const struct machine *m = &s->machine;

    if (s->magic != STATE_MAGIC || s->version != STATE_VERSION || s->size != sizeof(*s))
        return false;
    if (m->n_gpus > MACHINE_MAX_GPUS || m->n_nodes > MACHINE_MAX_NODES ||
        m->n_switches > MACHINE_MAX_SWITCHES || m->n_faults > MACHINE_MAX_FAULTS)
        return false;
    if (m->name[sizeof(m->name) - 1] || m->driver[sizeof(m->driver) - 1])
        return false;
    for (unsigned i = 0; i < m->n_gpus; i++) {
        const struct machine_gpu *gpu = &m->gpus[i];

        if (gpu->model.name[sizeof(gpu->model.name) - 1] || gpu->uuid[sizeof(gpu->uuid) - 1] ||
            gpu->serial[sizeof(gpu->serial) - 1] || gpu->node >= (int32_t)m->n_nodes ||
            gpu->model.nvlink_count > MACHINE_MAX_LINKS || !is_sound_board(&gpu->model.mig))
            return false;
        for (unsigned j = 0; j < MACHINE_MAX_LINKS; j++)
            if ((gpu->links[j].end == LINK_GPU && gpu->links[j].peer >= m->n_gpus) ||
                (gpu->links[j].end == LINK_SWITCH && gpu->links[j].peer >= m->n_switches))
                return false;
    }
    return true;
}

static bool is_of_this_boot(const struct state *s)
{
    char boot[40];

    read_boot_id(boot);
    return memcmp(boot, s->boot, sizeof(boot)) == 0;
}

static int make(struct state_file *file, const char *machine_path, uint64_t key,
                struct problems *problems, struct error *err)
{
    cleanup_problems struct problems own = PROBLEMS_INIT;
    cleanup_free struct machine *machine = calloc(1, sizeof(*machine));
    int r = machine ? machine_load(machine_path, problems ? problems : &own, machine) : -ENOMEM;

    if (r < 0)
        return error_set(err, r, "the machine %s cannot be used", machine_path);
    fill(file->state, machine, key);
    return 0;
}

void state_wake(struct state *s)
{
    futex_wake(&s->rules_changed);
    futex_wake(&s->events_changed);
}

static int refuse(const struct state_file *file, struct error *err)
{
    return error_set(err, -EBADMSG,
                     "%s is no state of this simulator: remove it, or choose another by "
                     "GPUSLICE_SIM_STATE",
                     file->path);
}

static int refuse_version(const struct state_file *file, struct error *err)
{
    return error_set(err, -EBADMSG,
                     "%s is a state of another version of this simulator: `gpuslice-sim reset` "
                     "starts over; GPUSLICE_SIM_STATE chooses another file",
                     file->path);
}

static bool starts_with_magic(int fd)
{
    uint64_t magic = 0;

    return pread(fd, &magic, sizeof(magic), 0) == sizeof(magic) && magic == STATE_MAGIC;
}

/* Resizes the file and maps it. `fresh`: a state of another layout is truncated first. */
static int map(struct state_file *file, bool fresh, struct error *err)
{
    const off_t size = (off_t)sizeof(struct state);
    struct stat st;
    void *memory;

    if (fstat(file->fd, &st) < 0)
        return error_set_errno(err, -errno, "cannot read %s", file->path);
    if (fresh && st.st_size != size && st.st_size != 0 && starts_with_magic(file->fd) &&
        ftruncate(file->fd, 0) == 0)
        st.st_size = 0;
    if (st.st_size != 0 && st.st_size != size)
        return starts_with_magic(file->fd) ? refuse_version(file, err) : refuse(file, err);
    if (st.st_size == 0 && ftruncate(file->fd, size) < 0)
        return error_set_errno(err, -errno, "cannot make %s", file->path);
    memory = mmap(NULL, sizeof(struct state), PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
    if (memory == MAP_FAILED)
        return error_set_errno(err, -errno, "cannot map %s", file->path);
    file->state = memory;
    return 0;
}

/* No magic and not ready: new, or its creator died in the middle. */
static bool is_empty(const struct state *s)
{
    return !s->magic && !atomic_load(&s->ready);
}

static int attach(struct state_file *file, const char *machine_path, bool fresh,
                  struct problems *problems, struct error *err)
{
    uint64_t key = 0;
    int r = machine_key(machine_path, &key, err);

    if (r == 0)
        r = map(file, fresh, err);
    if (r < 0)
        return r;
    if (is_empty(file->state))
        return make(file, machine_path, key, problems, err);
    if (fresh && file->state->magic == STATE_MAGIC)
        return make(file, machine_path, key, problems, err);
    if (file->state->magic == STATE_MAGIC && file->state->version != STATE_VERSION)
        return refuse_version(file, err);
    if (!is_sound(file->state))
        return refuse(file, err);
    if (!is_of_this_boot(file->state))
        return make(file, machine_path, key, problems, err);
    if (file->state->key != key)
        return error_set(err, -EBADMSG,
                         "%s belongs to another machine file (a %s), or the file was changed "
                         "since: `gpuslice-sim reset` starts over",
                         file->path, file->state->machine.name);
    return 0;
}

static int open_file(const char *machine_path, bool fresh, struct problems *problems,
                     struct state_file *ret_file, struct error *err)
{
    cleanup_state_file struct state_file file = STATE_FILE_INIT;
    struct stat st;
    int r = state_path(machine_path, &file.path, err);

    if (r < 0)
        return r;
    file.fd = open(file.path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file.fd < 0)
        return error_set_errno(err, -errno, "cannot open %s", file.path);
    /* Found in a world-writable directory: another user's file is not trusted. */
    if (!getenv("GPUSLICE_SIM_STATE") && (fstat(file.fd, &st) < 0 || st.st_uid != geteuid()))
        return error_set(err, -EPERM, "%s belongs to somebody else", file.path);
    state_lock(&file);
    r = attach(&file, machine_path, fresh, problems, err);
    state_unlock(&file);
    if (r < 0)
        return r;
    alive_use(file.path);
    *ret_file = file;
    file = (struct state_file)STATE_FILE_INIT;
    return 0;
}

int state_open(const char *machine_path, struct problems *problems, struct state_file *ret_file,
               struct error *err)
{
    return open_file(machine_path, false, problems, ret_file, err);
}

int state_reset(const char *machine_path, struct problems *problems, struct error *err)
{
    cleanup_state_file struct state_file file = STATE_FILE_INIT;
    int r = open_file(machine_path, true, problems, &file, err);

    if (r == 0)
        state_wake(file.state);
    return r;
}

void state_close(struct state_file *file)
{
    if (file->state)
        munmap(file->state, sizeof(*file->state));
    if (file->fd >= 0)
        close(file->fd);
    free(file->path);
    *file = (struct state_file)STATE_FILE_INIT;
}

bool state_is_same_file(const struct state_file *file)
{
    struct stat mine, there;

    return fstat(file->fd, &mine) == 0 && stat(file->path, &there) == 0 &&
           mine.st_dev == there.st_dev && mine.st_ino == there.st_ino;
}

static uint16_t short_id(uint32_t id)
{
    return id == STATE_NO_INSTANCE ? UINT16_MAX : (uint16_t)id;
}

static uint32_t long_id(uint16_t id)
{
    return id == UINT16_MAX ? STATE_NO_INSTANCE : id;
}

static void add_event(struct state *s, const struct state_happening *happening)
{
    uint64_t number = atomic_load(&s->n_events) + 1;
    struct state_event *event = &s->events[number % STATE_MAX_EVENTS];

    atomic_store(&event->number, 0);
    event->gpu = happening->gpu;
    event->gpu_instance = short_id(happening->gpu_instance);
    event->compute_instance = short_id(happening->compute_instance);
    event->type = happening->type;
    event->data = happening->data;
    atomic_store(&event->number, number);
    atomic_store(&s->n_events, number);
}

void state_add_change(struct state *s, unsigned gpu)
{
    add_event(s, &(struct state_happening){.gpu = gpu,
                                           .gpu_instance = STATE_NO_INSTANCE,
                                           .compute_instance = STATE_NO_INSTANCE,
                                           .type = nvmlEventMigConfigChange});
}

bool state_event(const struct state *state, uint64_t number, struct state_happening *ret_happening)
{
    const struct state_event *event = &state->events[number % STATE_MAX_EVENTS];
    struct state_happening seen;

    if (atomic_load(&event->number) != number)
        return false;
    seen = (struct state_happening){.gpu = event->gpu,
                                    .gpu_instance = long_id(event->gpu_instance),
                                    .compute_instance = long_id(event->compute_instance),
                                    .type = event->type,
                                    .data = event->data};
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load(&event->number) != number || seen.gpu >= MACHINE_MAX_GPUS)
        return false;
    *ret_happening = seen;
    return true;
}

uint64_t state_next_event(const struct state *state)
{
    return atomic_load(&state->n_events) + 1;
}

/*
 * The driver's recovery action after an XID, according to NVIDIA's catalogue of XID errors (column
 * "immediate action"); XIDs that are the application's fault require nothing. The action is the
 * GPU's. Where the event names a MIG instance and the fault is limited to it, the rest of the GPU
 * requires nothing: which ones are not limited, src/health/xid.c has with sources.
 */
#define WHOLE_GPU    true
#define ONE_INSTANCE false

static const struct {
    uint32_t xid, action;
    bool whole_gpu;
} recovery_actions[] = {
    {46, NVML_GPU_RECOVERY_ACTION_GPU_RESET, ONE_INSTANCE},  /* GPU stopped processing */
    {48, NVML_GPU_RECOVERY_ACTION_GPU_RESET, ONE_INSTANCE},  /* double-bit ECC error */
    {62, NVML_GPU_RECOVERY_ACTION_GPU_RESET, WHOLE_GPU},     /* microcontroller halt */
    {64, NVML_GPU_RECOVERY_ACTION_GPU_RESET, ONE_INSTANCE},  /* row remapping failed */
    {74, NVML_GPU_RECOVERY_ACTION_GPU_RESET, ONE_INSTANCE},  /* NVLink error */
    {79, NVML_GPU_RECOVERY_ACTION_NODE_REBOOT, WHOLE_GPU},   /* fallen off the bus */
    {95, NVML_GPU_RECOVERY_ACTION_GPU_RESET, WHOLE_GPU},     /* uncontained memory error */
    {109, NVML_GPU_RECOVERY_ACTION_GPU_RESET, ONE_INSTANCE}, /* context switch timeout */
    {119, NVML_GPU_RECOVERY_ACTION_GPU_RESET, WHOLE_GPU},    /* GSP call timeout */
    {120, NVML_GPU_RECOVERY_ACTION_GPU_RESET, WHOLE_GPU},    /* GSP error */
    {136, NVML_GPU_RECOVERY_ACTION_GPU_RESET, WHOLE_GPU},    /* link training failed */
    {140, NVML_GPU_RECOVERY_ACTION_GPU_RESET, WHOLE_GPU},    /* unrecovered ECC error */
    {143, NVML_GPU_RECOVERY_ACTION_GPU_RESET, WHOLE_GPU},    /* GPU initialisation error */
};

static uint32_t recovery_action(uint32_t xid, bool on_instance)
{
    for (size_t i = 0; i < ARRAY_SIZE(recovery_actions); i++)
        if (recovery_actions[i].xid == xid && (recovery_actions[i].whole_gpu || !on_instance))
            return recovery_actions[i].action;
    return NVML_GPU_RECOVERY_ACTION_NONE;
}

static void happen_xid(struct state *s, struct state_happening at, uint32_t xid)
{
    uint32_t action = recovery_action(xid, at.gpu_instance != STATE_NO_INSTANCE);
    struct state_gpu *g = &s->gpus[at.gpu];

    if (action != NVML_GPU_RECOVERY_ACTION_NONE)
        atomic_store(&g->recovery_action, action);
    if (xid == 48 || xid == 95 || xid == 140) {
        atomic_fetch_add(&g->ecc_errors[1][0], 1);
        atomic_fetch_add(&g->ecc_errors[1][1], 1);
        at.type = nvmlEventTypeDoubleBitEccError;
        add_event(s, &at);
    }
    atomic_fetch_add(&g->xids, 1);
    at.type = nvmlEventTypeXidCriticalError;
    at.data = xid;
    add_event(s, &at);
}

static int add_rule(struct state *s, const struct machine_fault *fault)
{
    for (unsigned i = 0; i < STATE_MAX_RULES; i++) {
        struct state_rule *rule = &s->rules[i];

        if (atomic_load(&rule->active))
            continue;
        rule->kind = fault->kind;
        rule->gpu = fault->gpu;
        rule->code = fault->code;
        rule->nth = fault->nth;
        atomic_store(&rule->n_called, 0);
        memcpy(rule->call, fault->call, sizeof(rule->call));
        atomic_store(&rule->active, 1);
        if (atomic_load(&s->n_rules) < i + 1)
            atomic_store(&s->n_rules, i + 1);
        return 0;
    }
    return -ENOSPC;
}

static void happen_on(struct state *s, const struct machine_fault *fault, unsigned gpu)
{
    const struct state_happening at = {.gpu = gpu,
                                       .gpu_instance = fault->gpu_instance,
                                       .compute_instance = fault->compute_instance};

    switch ((enum fault_kind)fault->kind) {
    case FAULT_XID:
        happen_xid(s, at, fault->code);
        return;
    case FAULT_LOST: /* the driver reports XID 79 when a GPU no longer responds */
        happen_xid(s, at, 79);
        atomic_store(&s->gpus[gpu].lost, 1);
        return;
    case FAULT_BACK:
        atomic_store(&s->gpus[gpu].lost, 0);
        return;
    case FAULT_RESET_REFUSED:
        atomic_store(&s->gpus[gpu].reset_refused, fault->code);
        return;
    case FAULT_HANG:
    case FAULT_ERROR:
    case FAULT_MISSING:
    case FAULT_DEATH:
        return; /* rules: happen() adds them once */
    }
}

static bool is_rule(uint32_t kind)
{
    return kind == FAULT_HANG || kind == FAULT_ERROR || kind == FAULT_MISSING ||
           kind == FAULT_DEATH;
}

static int happen(struct state *s, const struct machine_fault *fault)
{
    if (is_rule(fault->kind))
        return add_rule(s, fault);
    for (unsigned i = 0; i < s->machine.n_gpus; i++)
        if (fault->gpu == MACHINE_ALL_GPUS || fault->gpu == (int32_t)i)
            happen_on(s, fault, i);
    return 0;
}

int state_inject(struct state_file *file, const struct machine_fault *fault)
{
    int r;

    state_lock(file);
    r = happen(file->state, fault);
    state_unlock(file);
    state_wake(file->state);
    return r;
}

void state_tick(struct state_file *file)
{
    struct state *s = file->state;
    uint64_t now;

    if (atomic_load_explicit(&s->next_fault_ns, memory_order_relaxed) == UINT64_MAX)
        return;
    now = clock_now_ns();
    if (now < atomic_load(&s->next_fault_ns))
        return;
    state_lock(file);
    for (unsigned i = 0; i < s->machine.n_faults; i++) {
        const struct machine_fault *fault = &s->machine.faults[i];

        if (atomic_load(&s->fault_done[i]) || saturating_add(s->started_ns, fault->after_ns) > now)
            continue;
        /* Marked first: a process killed here loses the fault rather than reporting it twice. */
        atomic_store(&s->fault_done[i], 1);
        (void)happen(s, fault);
    }
    set_next_fault(s);
    state_unlock(file);
    state_wake(s);
}

static bool is_about(const struct state_rule *rule, const char *call, int gpu)
{
    return atomic_load_explicit(&rule->active, memory_order_acquire) &&
           (rule->call[0] ? strncmp(rule->call, call, sizeof(rule->call)) == 0
                          : strncmp(call, "nvml", 4) == 0) &&
           (rule->gpu == MACHINE_ALL_GPUS || rule->gpu == gpu);
}

/* The first rule that applies to this call; one about the nth call counts it. */
static struct state_rule *find_rule(struct state *s, const char *call, int gpu)
{
    unsigned n = atomic_load_explicit(&s->n_rules, memory_order_acquire);

    for (unsigned i = 0; i < n && i < STATE_MAX_RULES; i++) {
        struct state_rule *rule = &s->rules[i];

        if (is_about(rule, call, gpu) &&
            (!rule->nth || atomic_fetch_add(&rule->n_called, 1) + 1 == rule->nth))
            return rule;
    }
    return NULL;
}

/* Until the rule ends; also when it is replaced by another. */
static void hang(struct state *s, const struct state_rule *rule, const char *call, int gpu)
{
    for (;;) {
        unsigned seen = atomic_load(&s->rules_changed);

        if (!is_about(rule, call, gpu) || rule->kind != FAULT_HANG)
            return;
        futex_wait(&s->rules_changed, seen, UINT64_MAX);
    }
}

uint32_t state_meet(struct state_file *file, const char *call, int gpu)
{
    struct state *s = file->state;
    struct state_rule *rule;

    while ((rule = find_rule(s, call, gpu))) {
        const uint32_t kind = rule->kind, code = rule->code;

        if (rule->nth && kind != FAULT_HANG) /* it has happened */
            atomic_store(&rule->active, 0);
        if (kind == FAULT_ERROR)
            return code;
        if (kind == FAULT_MISSING)
            return NVML_ERROR_FUNCTION_NOT_FOUND;
        if (kind == FAULT_DEATH)
            kill(getpid(), SIGKILL);
        hang(s, rule, call, gpu);
    }
    return NVML_SUCCESS;
}

bool state_is_missing(const struct state *state, const char *call)
{
    for (unsigned i = 0; i < STATE_MAX_RULES; i++)
        if (state->rules[i].kind == FAULT_MISSING &&
            is_about(&state->rules[i], call, MACHINE_ALL_GPUS))
            return true;
    return false;
}

void state_clear(struct state_file *file, uint32_t kind, const char *call, int gpu)
{
    struct state *s = file->state;

    state_lock(file);
    for (unsigned i = 0; i < STATE_MAX_RULES; i++) {
        struct state_rule *rule = &s->rules[i];

        if (atomic_load(&rule->active) && rule->kind == kind &&
            (!*call || strncmp(rule->call, call, sizeof(rule->call)) == 0) &&
            (gpu == MACHINE_ALL_GPUS || rule->gpu == gpu))
            atomic_store(&rule->active, 0);
    }
    state_unlock(file);
    state_wake(s);
}

void state_reset_gpu(struct state_file *file, unsigned gpu)
{
    struct state_gpu *g = &file->state->gpus[gpu];

    state_clear(file, FAULT_HANG, "", (int)gpu);
    state_clear(file, FAULT_ERROR, "", (int)gpu);
    state_lock(file);
    atomic_store(&g->lost, 0);
    atomic_store(&g->recovery_action, NVML_GPU_RECOVERY_ACTION_NONE);
    atomic_store(&g->ecc_errors[0][0], 0);
    atomic_store(&g->ecc_errors[1][0], 0);
    atomic_store(&g->used_bytes, 0);
    atomic_store(&g->utilization_gpu, 0);
    atomic_store(&g->utilization_memory, 0);
    for (unsigned i = 0; i < STATE_MAX_PROCESSES; i++)
        if (file->state->processes[i].gpu == gpu)
            atomic_store(&file->state->processes[i].pid, 0);
    migwords_reset(&file->state->mig[gpu]);
    if (file->state->machine.gpus[gpu].model.mig.n_slots)
        state_add_change(file->state, gpu);
    atomic_fetch_add(&g->resets, 1);
    atomic_store(&g->reset_ns, clock_now_ns());
    state_unlock(file);
    state_wake(file->state);
}

static struct state_process *find_process(struct state *s, unsigned gpu, unsigned pid)
{
    for (unsigned i = 0; i < STATE_MAX_PROCESSES; i++)
        if (atomic_load(&s->processes[i].pid) == pid &&
            (pid == 0 || (s->processes[i].gpu == gpu && !s->processes[i].client)))
            return &s->processes[i];
    return NULL;
}

int state_add_process(struct state_file *file, const struct machine_process *process)
{
    struct state_process *slot;

    state_lock(file);
    slot = find_process(file->state, process->gpu, process->pid);
    if (!slot)
        slot = find_process(file->state, process->gpu, 0);
    if (slot) {
        atomic_store(&slot->pid, 0);
        slot->gpu = process->gpu;
        slot->kind = process->kind;
        slot->gpu_instance = process->gpu_instance;
        slot->compute_instance = process->compute_instance;
        slot->client = 0;
        atomic_store(&slot->memory_bytes, process->memory_bytes);
        memcpy(slot->name, process->name, sizeof(slot->name));
        atomic_store(&slot->pid, process->pid);
    }
    state_unlock(file);
    return slot ? 0 : -ENOSPC;
}

int state_remove_process(struct state_file *file, unsigned gpu, unsigned pid)
{
    struct state_process *slot;

    state_lock(file);
    slot = find_process(file->state, gpu, pid);
    if (slot)
        atomic_store(&slot->pid, 0);
    state_unlock(file);
    return slot ? 0 : -ENOENT;
}

bool state_process_exists(const struct state *state, unsigned slot)
{
    const struct state_process *p = &state->processes[slot];

    if (!atomic_load(&p->pid))
        return false;
    return !p->client || p->client == alive_self() || alive_holder(slot) >= 0;
}

bool state_has_client(const struct state *state, unsigned slot, uint64_t client)
{
    return slot < STATE_MAX_PROCESSES && state->processes[slot].client == client &&
           state_process_exists(state, slot);
}

unsigned state_process_pid(const struct state *state, unsigned slot)
{
    const struct state_process *p = &state->processes[slot];
    unsigned pid = atomic_load(&p->pid);
    pid_t holder;

    if (!pid || !p->client || p->client == alive_self())
        return pid;
    holder = alive_holder(slot);
    return holder > 0 ? (unsigned)holder : 0;
}

/* Work of killed processes stays in the record until another one with work finds it. */
static unsigned worked_percent(const struct state *state, unsigned gpu)
{
    unsigned n_living = 0, n_dead = 0;
    struct timeslices record;

    (void)timeshare_read(&state->shares[gpu], &record);
    for (unsigned i = 0; i < record.n_contexts; i++) {
        const struct timeslice_context *c = &record.contexts[i];

        if (c->place && state_has_client(state, c->slot, c->client))
            n_living++;
        else if (c->place)
            n_dead++;
    }
    return n_dead > 0 && n_living == 0 ? 0 : timeslice_percent(&record);
}

unsigned state_utilization(const struct state *state, unsigned gpu)
{
    unsigned set = atomic_load(&state->gpus[gpu].utilization_gpu);
    unsigned worked = worked_percent(state, gpu);

    return set < worked ? worked : set < 100 ? set : 100;
}

uint64_t state_used_bytes(const struct state *state, unsigned gpu)
{
    const struct gpu_model *model = &state->machine.gpus[gpu].model;
    uint64_t used = atomic_load(&state->gpus[gpu].used_bytes);
    uint64_t most = model->memory_bytes - model->reserved_bytes;

    for (unsigned i = 0; i < STATE_MAX_PROCESSES; i++)
        if (state->processes[i].gpu == gpu && state_process_exists(state, i))
            used = saturating_add(used, atomic_load(&state->processes[i].memory_bytes));
    return used < most ? used : most;
}

uint64_t state_instance_used_bytes(const struct state *state, unsigned gpu, uint32_t instance,
                                   uint64_t most)
{
    uint64_t used = 0;

    for (unsigned i = 0; i < STATE_MAX_PROCESSES; i++)
        if (state->processes[i].gpu == gpu && state->processes[i].gpu_instance == instance &&
            state_process_exists(state, i))
            used = saturating_add(used, atomic_load(&state->processes[i].memory_bytes));
    return used < most ? used : most;
}

void state_wait_event(struct state_file *file, unsigned seen, uint64_t timeout_ns)
{
    uint64_t due = atomic_load(&file->state->next_fault_ns), now;

    if (due != UINT64_MAX) {
        now = clock_now_ns();
        due = due > now ? due - now : 0;
        timeout_ns = due < timeout_ns ? due : timeout_ns;
    }
    futex_wait(&file->state->events_changed, seen, timeout_ns);
    state_tick(file);
}
