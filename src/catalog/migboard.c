// SPDX-License-Identifier: Apache-2.0
#include "catalog/migboard.h"

#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/number.h"
#include "base/text.h"
#include "base/yamlmap.h"

#define refuse yamlmap_refuse

/* A profile of the list, as it is written. */
struct entry {
    char name[DEVICE_PROFILE_SIZE];
    uint32_t index, id, count;
    uint32_t placements[2]; /* starts as bits, size */
    uint64_t mem_bytes;
    uint32_t multiprocessors, copy_engines, decoders, encoders, jpeg_engines, ofa_engines;
};

/* "{0,2,4}:2", the form in which `nvidia-smi mig -lgipp` lists placements. */
static bool parse_placements(const char *text, void *to)
{
    uint32_t *placements = to, starts = 0, start, size;
    const char *end = strstr(text, "}:");
    cleanup_free char *list =
        *text == '{' && end ? strndup(text + 1, (size_t)(end - text - 1)) : NULL;
    char *rest = list, *word;

    while (list && (word = strsep(&rest, ","))) {
        if (!number_parse(word, &start) || start >= MIG_SLOTS_MAX)
            return false;
        starts |= 1u << start;
    }
    if (!starts || !number_parse(end + 2, &size) || size == 0 || size > MIG_SLOTS_MAX)
        return false;
    placements[0] = starts;
    placements[1] = size;
    return true;
}

#define ENGINES(member) YAMLMAP_NUMBER_AT(entry, member, 0, 64)

static const struct yamlmap_field entry_fields[] = {
    {"name", YAMLMAP_TEXT_AT(entry, name), .required = true},
    {"index", YAMLMAP_NUMBER_AT(entry, index, 0, MIG_GI_PROFILES_MAX - 1), .required = true},
    {"id", YAMLMAP_NUMBER_AT(entry, id, 0, 255), .required = true},
    {"count", YAMLMAP_NUMBER_AT(entry, count, 1, MIG_INSTANCES_MAX), .required = true},
    {"placements", .kind = YAMLMAP_WORD, YAMLMAP_AT(entry, placements), .required = true,
     .parse = parse_placements, .expected = "placements such as \"{0,2,4}:2\""},
    {"memory", .kind = YAMLMAP_SIZE, YAMLMAP_AT(entry, mem_bytes), .required = true},
    {"multiprocessors", YAMLMAP_NUMBER_AT(entry, multiprocessors, 1, 10000), .required = true},
    {"copyEngines", ENGINES(copy_engines)},
    {"decoders", ENGINES(decoders)},
    {"encoders", ENGINES(encoders)},
    {"jpegEngines", ENGINES(jpeg_engines)},
    {"ofaEngines", ENGINES(ofa_engines)},
    {NULL},
};

struct reader {
    struct problems *problems;
    struct mig_board *board;
    uint32_t multiprocessors; /* of one compute slice */
};

/* "3g.20gb" has 3; 0 when the name has another form. */
static uint32_t count_slices(const char *name)
{
    char *end;
    unsigned long slices = strtoul(name, &end, 10);

    return *name >= '1' && *name <= '9' && strncmp(end, "g.", 2) == 0 && slices <= MIG_INSTANCES_MAX
               ? (uint32_t)slices
               : 0;
}

/* The profiles of compute instances by NVML's number, which is also the driver's id. */
static const uint32_t compute_sizes[] = {1, 2, 3, 4, 7};

/*
 * The profile of one slice that fills a GPU instance with more multiprocessors than a slice has:
 * the driver of an H100 creates compute instances of profile 7 in 1g.20gb.
 */
enum { LARGE_SLICE = 7 };

static void derive_computes(struct mig_profile *profile, uint32_t slice_multiprocessors)
{
    const uint32_t g = profile->shape.gi_slices;

    for (uint32_t i = 0; i < ARRAY_SIZE(compute_sizes); i++) {
        const uint32_t c = compute_sizes[i];
        const bool fills = c == g;
        const bool is_large =
            fills && c == 1 && profile->shape.multiprocessors != slice_multiprocessors;

        if (!fills && 2 * c > g + 1)
            continue;
        profile->computes[profile->n_computes++] = (struct mig_ci_profile){
            .index = is_large ? LARGE_SLICE : i,
            .id = is_large ? LARGE_SLICE : i,
            .slices = c,
            .max_count = g / c,
            .multiprocessors = fills ? profile->shape.multiprocessors : c * slice_multiprocessors,
            .starts = mig_compute_starts(g, c),
        };
    }
}

/* As on every GPU; a driver derives the ids of GPU instances from it. */
static bool is_aligned(const struct mig_board *board, const uint32_t placements[2])
{
    const uint32_t starts = placements[0], size = placements[1];

    if (board->n_slots % size || board->n_slots / size > MIG_INSTANCES_MAX)
        return false;
    for (uint32_t start = 0; start < MIG_SLOTS_MAX; start++)
        if (starts & 1u << start && start % size)
            return false;
    return true;
}

static void check_entry(struct reader *r, const struct yaml *node, const char *path,
                        const struct entry *e)
{
    const struct mig_board *board = r->board;

    if (!count_slices(e->name))
        refuse(r->problems, node->at, path, "a profile is called such as 1g.5gb or 1g.5gb+me");
    for (uint32_t start = 0; start < MIG_SLOTS_MAX; start++)
        if (e->placements[0] & 1u << start && start + e->placements[1] > board->n_slots) {
            refuse(r->problems, node->at, path, "a placement lies beyond 'memorySlices'");
            break;
        }
    if (!is_aligned(board, e->placements))
        refuse(
            r->problems, node->at, path,
            "a placement is a half, a quarter, ... or an eighth of 'memorySlices', and starts at a "
            "multiple of its size");
    if (board->n_profiles && board->profiles[board->n_profiles - 1].index >= e->index)
        refuse(r->problems, node->at, path, "profiles are listed by 'index', each once");
    for (uint32_t i = 0; i < board->n_profiles; i++)
        if (board->profiles[i].id == e->id || str_equal(board->profiles[i].name, e->name))
            refuse(r->problems, node->at, path, "another profile has this name or 'id'");
}

static void read_entry(void *context, const struct yaml *node, const char *path)
{
    struct reader *r = context;
    size_t before = problems_count(r->problems, PROBLEM_ERROR);
    struct entry e = {.name = ""};
    struct mig_profile *profile;

    yamlmap_read(r->problems, entry_fields, node, path, &e);
    if (problems_count(r->problems, PROBLEM_ERROR) == before)
        check_entry(r, node, path, &e);
    if (problems_count(r->problems, PROBLEM_ERROR) > before)
        return;
    profile = &r->board->profiles[r->board->n_profiles++];
    *profile = (struct mig_profile){
        .index = e.index,
        .id = e.id,
        .max_count = e.count,
        .mem_bytes = e.mem_bytes,
        .shape = {.multiprocessors = e.multiprocessors,
                  .gi_slices = count_slices(e.name),
                  .ci_slices = count_slices(e.name),
                  .copy_engines = e.copy_engines,
                  .decoders = e.decoders,
                  .encoders = e.encoders,
                  .jpeg_engines = e.jpeg_engines,
                  .ofa_engines = e.ofa_engines},
        .slots = e.placements[1],
        .starts = e.placements[0],
    };
    memcpy(profile->name, e.name, sizeof(profile->name));
    if (!r->multiprocessors)
        r->multiprocessors = e.multiprocessors / profile->shape.gi_slices;
    derive_computes(profile, r->multiprocessors);
}

static const struct yamlmap_field board_fields[] = {
    {"memorySlices", YAMLMAP_NUMBER_AT(mig_board, n_slots, 0, MIG_SLOTS_MAX), .required = true},
    {"profiles", .kind = YAMLMAP_OTHER},
    {NULL},
};

bool migboard_read(struct problems *problems, const struct yaml *map, const char *path,
                   struct mig_board *board)
{
    size_t before = problems_count(problems, PROBLEM_ERROR);
    struct mig_board read = {.n_slots = 0};
    struct reader r = {.problems = problems, .board = &read};
    const struct yaml *profiles = yaml_get(map, "profiles");
    char where[YAMLMAP_PATH];

    yamlmap_read(problems, board_fields, map, path, &read);
    yamlmap_join(where, path, "profiles");
    if (profiles)
        yamlmap_read_list(problems, profiles, where, MIG_GI_PROFILES_MAX, read_entry, &r);
    if (problems_count(problems, PROBLEM_ERROR) > before)
        return false;
    if ((read.n_slots > 0) != (read.n_profiles > 0)) {
        refuse(problems, map->at, path, "'memorySlices' and 'profiles' belong together");
        return false;
    }
    *board = read;
    return true;
}
