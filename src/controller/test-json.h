// SPDX-License-Identifier: Apache-2.0
#pragma once

/* For the tests of this room: JSON that can be read in a C source. */

#include <jansson.h>

/* With ' in place of ". Fails the test if it is no JSON. To be decref'd. */
json_t *read_json(const char *text);

/* Fails the test unless they are equal; expected as above. */
void assert_json(const json_t *json, const char *expected);
