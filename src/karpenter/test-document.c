// SPDX-License-Identifier: Apache-2.0
#include "karpenter/document.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "karpenter/test-bench.h"

static void test_comments(void **state)
{
    cleanup_documents struct documents documents = DOCUMENTS_INIT;

    assert_int_equal(documents_add(&documents, NULL), -ENOMEM);
    assert_int_equal(documents_add(&documents, json_object()), 0);
    documents_comment(&documents, "one %d", 1);
    documents_comment(&documents, "two\nlines");
    assert_string_equal(text_string(&documents.items[0].comments), "one 1\ntwo?lines\n");
    assert_false(documents_failed(&documents));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_comments)};

    return cmocka_run_group_tests_name("karpenter/document", tests, NULL, NULL);
}
