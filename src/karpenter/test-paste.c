// SPDX-License-Identifier: Apache-2.0
#include "karpenter/paste.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/array.h"
#include "karpenter/test-bench.h"

static void assert_cleaned(const char *pasted, const char *expected)
{
    cleanup_free char *text = strdup(pasted);

    assert_non_null(text);
    paste_clean(text, strlen(text));
    assert_int_equal(strlen(text), strlen(pasted));
    assert_string_equal(text, expected);
}

static void test_plain(void **state)
{
    assert_cleaned("kind: A\n", "kind: A\n");
    assert_cleaned("", "");
    assert_cleaned("yaml", "    ");
}

static void test_stray_word(void **state)
{
    assert_cleaned("yaml\n\nkind: A\n", "    \n\nkind: A\n");
    assert_cleaned("\n YAML \nkind: A\n", "\n      \nkind: A\n");
    assert_cleaned("kind: A\nyaml\n", "kind: A\nyaml\n");
    assert_cleaned("yaml: 1\n", "yaml: 1\n");
}

static void test_one_fence(void **state)
{
    assert_cleaned("```yaml\nkind: A\n", "       \nkind: A\n");
    assert_cleaned("kind: A\n```\n", "kind: A\n   \n");
    assert_cleaned("```\nyml\nkind: A", "   \n   \nkind: A");
}

static void test_page(void **state)
{
    assert_cleaned("Text: it is\n```\nyaml\nkind: A\n```\nmore:\n```bash\nrun: x\n```\n",
                   "           \n---\n    \nkind: A\n---\n     \n---    \n      \n---\n");
}

static void test_here_documents(void **state)
{
    assert_cleaned("cat <<EOF | kubectl apply -f -\nkind: A\nEOF\nkubectl get x: y\n",
                   "---                           \nkind: A\n   \n                \n");
    assert_cleaned("a: {\n  x = <<-YAML\n  kind: A\n  YAML\n}\n",
                   "    \n---          \n  kind: A\n      \n \n");
    assert_cleaned("cat << 'E' > f\nkind: A\nE\nx:\ncat <<\"E\"\nkind: B\nE\n",
                   "---           \nkind: A\n \n  \n---      \nkind: B\n \n");
    assert_cleaned("cat <<EOF\nname: x\nEOF\ncat <<EOF\nkind: A\n",
                   "         \n       \n   \n---      \nkind: A\n");
    assert_cleaned("Text:\n```bash\ncat <<EOF\nkind: A\nEOF\nrun: x\n```\n",
                   "     \n---    \n---      \nkind: A\n   \n      \n---\n");
    assert_cleaned("x <<\nkind: A\n", "x <<\nkind: A\n");
    assert_cleaned("<<EOF", "<<EOF");
}

/* User data is a part of its manifest, whatever its here documents have. */
static void test_here_document_inside(void **state)
{
    static const char manifest[] = "kind: A\nuserData: |\n  cat <<EOF > k\n  kind: B\n  EOF\n";

    assert_cleaned(manifest, manifest);
}

/* A line of a block text is no fence of the page. */
static void test_indented(void **state)
{
    assert_cleaned("kind: A\nx: |\n    ```\n    y\n    ```\n",
                   "kind: A\nx: |\n    ```\n    y\n    ```\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),          cmocka_unit_test(test_stray_word),
        cmocka_unit_test(test_one_fence),      cmocka_unit_test(test_page),
        cmocka_unit_test(test_here_documents), cmocka_unit_test(test_here_document_inside),
        cmocka_unit_test(test_indented),
    };

    return cmocka_run_group_tests_name("karpenter/paste", tests, NULL, NULL);
}
