// SPDX-License-Identifier: Apache-2.0

/* In a file of its own: a test that wants the offer, and not the bed's clock, links this alone. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "config/load.h"
#include "plugin/test-bed.h"

struct offer *bed_offer_of(const struct inventory *inventory, const char *yaml)
{
    cleanup_problems struct problems problems = PROBLEMS_INIT;
    struct error err = ERROR_INIT;
    struct config *config;
    struct offer *offer;

    if (config_parse(yaml, strlen(yaml),
                     &(struct config_request){.source = "test.yaml", .strictness = CONFIG_AGENT},
                     &problems, &config, &err) < 0)
        fail_msg("%s: %s", yaml, problems.n_items ? problems.items[0].text : error_text(&err));
    assert_int_equal(offer_new(config, inventory, NULL, &offer), 0);
    return offer;
}

struct offer *bed_offer(const char *yaml)
{
    struct gpu gpus[2] = {{.index = 0, .uuid = BED_UUID_0, .minor = 0, .numa_node = 0},
                          {.index = 1, .uuid = BED_UUID_1, .minor = 1, .numa_node = -1}};
    const struct inventory inventory = {.gpus = gpus, .n_gpus = 2};

    for (size_t i = 0; i < 2; i++) {
        snprintf(gpus[i].model, sizeof(gpus[i].model), "Tesla V100-SXM2-16GB");
        gpus[i].mem_total_bytes = 16ull << 30;
    }
    return bed_offer_of(&inventory, yaml);
}

void bed_offer_free(struct offer *offer)
{
    struct config *config = offer->config;

    offer_free(offer);
    config_free(config);
}
