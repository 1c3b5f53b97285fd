// SPDX-License-Identifier: Apache-2.0
#include "gpu/stepper.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void a_step_survives_the_command_line(void **state)
{
    const struct gpu_change change = {.uuid = "GPU-1",
                                      .verb = GPU_SET_MIG_MODE,
                                      .enabled = true,
                                      .start = DEVICE_NO_INSTANCE,
                                      .instance = {3, 4}};
    char text[STEPPER_TEXT_SIZE];
    struct stepper stepper = {.id = 0};

    (void)state;
    stepper_format(4000000000U, &change, text);
    assert_true(stepper_parse(text, &stepper));
    assert_int_equal(stepper.id, 4000000000U);
    assert_string_equal(stepper.change.uuid, "GPU-1");
    assert_int_equal(stepper.change.verb, GPU_SET_MIG_MODE);
    assert_true(stepper.change.enabled);
    assert_int_equal(stepper.change.instance.compute, 4);
}

static void other_texts_are_none(void **state)
{
    const struct gpu_change change = {.uuid = "GPU-1", .verb = GPU_RESET};
    char text[STEPPER_TEXT_SIZE];
    struct stepper stepper = {.id = 0};

    (void)state;
    stepper_format(0, &change, text);
    assert_false(stepper_parse(text, &stepper));
    stepper_format(7, &change, text);
    text[strlen(text) - 1] = '\0';
    assert_false(stepper_parse(text, &stepper));
    stepper_format(7, &change, text);
    text[10] = 'x';
    assert_false(stepper_parse(text, &stepper));
    assert_false(stepper_parse("", &stepper));
    assert_int_equal(stepper.id, 0);
}

static void modes_and_resets_are_changed_without_a_session(void **state)
{
    (void)state;
    for (unsigned verb = 0; verb < GPU_VERBS; verb++) {
        const struct gpu_change change = {.verb = (enum gpu_verb)verb};

        assert_int_equal(stepper_needs_no_session(&change),
                         verb == GPU_SET_MIG_MODE || verb == GPU_RESET);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_survives_the_command_line),
        cmocka_unit_test(other_texts_are_none),
        cmocka_unit_test(modes_and_resets_are_changed_without_a_session),
    };

    return cmocka_run_group_tests_name("gpu/stepper", tests, NULL, NULL);
}
