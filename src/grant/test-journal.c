// SPDX-License-Identifier: Apache-2.0
#include "grant/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "grant/test-tempdir.h"

#define LOG "grants-v1.log"

static void open_journal(struct journal *journal, const char *machine, const char *boot,
                         struct journal_content *content)
{
    struct error err = ERROR_INIT;

    assert_int_equal(journal_init(journal, tempdir, machine, boot), 0);
    if (journal_load(journal, content, &err) != 0)
        fail_msg("%s", error_text(&err));
}

static void append(struct journal *journal, const char *payload)
{
    cleanup_text struct text records = TEXT_INIT;

    journal_frame(payload, strlen(payload), &records);
    assert_int_equal(journal_append(journal, records.data, records.length, NULL), 0);
}

/* The payloads, each behind a blank. */
static void assert_payloads(const struct journal_content *content, const char *expected)
{
    cleanup_text struct text all = TEXT_INIT;
    size_t at = content->first, size;
    const void *payload;

    while (journal_next(content->data.data, content->end, &at, &payload, &size)) {
        text_add_char(&all, ' ');
        text_add_bytes(&all, payload, size);
    }
    assert_string_equal(text_string(&all), expected);
}

static void assert_log(const char *expected)
{
    cleanup(journal_content_deinit) struct journal_content content = JOURNAL_CONTENT_INIT;
    struct journal journal;

    open_journal(&journal, "m", "b", &content);
    assert_payloads(&content, expected);
    journal_deinit(&journal);
}

static char *read_log(size_t *size)
{
    char *data;

    assert_int_equal(file_read(tempdir_path(LOG), 1 << 20, &data, size, NULL), 0);
    return data;
}

static void write_log(const void *data, size_t size)
{
    assert_int_equal(file_write_atomic(tempdir_path(LOG), data, size, 0600, NULL), 0);
}

static void test_what_was_appended_is_read_again(void **state)
{
    cleanup(journal_content_deinit) struct journal_content content = JOURNAL_CONTENT_INIT;
    struct journal journal;
    struct stat status;

    open_journal(&journal, "m", "boot", &content);
    assert_payloads(&content, "");
    assert_false(journal_content_is_torn(&content));
    append(&journal, "one");
    append(&journal, "two");
    journal_deinit(&journal);
    assert_log(" one two");
    assert_int_equal(stat(tempdir_path(LOG), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    /* Room is reserved behind the end, and does not count as content. */
    assert_true(status.st_blocks * 512 > status.st_size + 4096);
}

static void test_the_folder_is_made(void **state)
{
    struct journal_content content = JOURNAL_CONTENT_INIT;
    struct journal journal;

    assert_int_equal(journal_init(&journal, tempdir_path("a/b"), "", ""), 0);
    assert_int_equal(journal_load(&journal, &content, NULL), 0);
    journal_content_deinit(&content);
    journal_deinit(&journal);
}

static void test_a_rewrite_replaces_all(void **state)
{
    cleanup(journal_content_deinit) struct journal_content content = JOURNAL_CONTENT_INIT;
    cleanup_text struct text records = TEXT_INIT;
    struct journal journal;

    open_journal(&journal, "m", "b", &content);
    append(&journal, "old");
    journal_frame("new", 3, &records);
    assert_int_equal(journal_rewrite(&journal, records.data, records.length, NULL), 0);
    append(&journal, "newer");
    journal_deinit(&journal);
    assert_log(" new newer");
}

/* Cut at every byte: what is whole is read, what is not is dropped, and a rewrite mends it. */
static void test_every_torn_tail(void **state)
{
    cleanup_free char *whole = NULL;
    struct journal journal;
    size_t size = 0, first = 0;

    {
        cleanup(journal_content_deinit) struct journal_content content = JOURNAL_CONTENT_INIT;

        open_journal(&journal, "m", "b", &content);
        append(&journal, "one");
        first = content.first;
        append(&journal, "two");
        journal_deinit(&journal);
        whole = read_log(&size);
    }
    for (size_t cut = first; cut < size; cut++) {
        cleanup(journal_content_deinit) struct journal_content content = JOURNAL_CONTENT_INIT;
        bool has_one = cut >= first + 11;

        write_log(whole, cut);
        open_journal(&journal, "m", "b", &content);
        assert_payloads(&content, has_one ? " one" : "");
        assert_int_equal(journal_content_is_torn(&content), cut != first && cut != first + 11);
        assert_int_equal(journal_rewrite(&journal, whole + first, has_one ? 11 : 0, NULL), 0);
        append(&journal, "three");
        journal_deinit(&journal);
        assert_log(has_one ? " one three" : " three");
    }
}

/* Pages of a batch reach the disk in any order: a hole of zeros, and a flipped bit. */
static void test_nothing_behind_damage_is_believed(void **state)
{
    cleanup_free char *whole = NULL;
    cleanup(journal_content_deinit) struct journal_content content = JOURNAL_CONTENT_INIT;
    struct journal journal;
    size_t size, first;

    open_journal(&journal, "m", "b", &content);
    first = content.first;
    append(&journal, "one");
    append(&journal, "two");
    append(&journal, "three");
    journal_deinit(&journal);
    whole = read_log(&size);
    memset(whole + first + 11, 0, 11);
    write_log(whole, size);
    assert_log(" one");
    whole[first + 9] ^= 1;
    write_log(whole, size);
    assert_log("");
}

/* The new file has no room; the old one is still there to append to. */
static void test_a_rewrite_that_fails_leaves_the_log_open(void **state)
{
    cleanup(journal_content_deinit) struct journal_content content = JOURNAL_CONTENT_INIT;
    char big[2048];
    cleanup_text struct text record = TEXT_INIT;
    struct rlimit before, limit;
    struct journal journal;

    memset(big, 'x', sizeof(big));
    journal_frame(big, sizeof(big), &record);
    open_journal(&journal, "m", "b", &content);
    append(&journal, "one");
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    limit = (struct rlimit){1024, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(journal_rewrite(&journal, record.data, record.length, NULL), -EFBIG);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(journal_is_open(&journal));
    append(&journal, "two");
    journal_deinit(&journal);
    assert_log(" one two");
}

/* What was synced, and so answered, lies behind the damage. */
static void test_what_follows_damage_is_kept(void **state)
{
    for (unsigned i = 1; i <= 2; i++) {
        cleanup(journal_content_deinit) struct journal_content written = JOURNAL_CONTENT_INIT,
                                                               content = JOURNAL_CONTENT_INIT;
        cleanup_free char *whole = NULL, *kept = NULL;
        size_t size, kept_size, first;
        struct journal journal;
        char name[64];

        snprintf(name, sizeof(name), LOG ".damaged-%u", i); /* none is overwritten */
        open_journal(&journal, "m", "b", &written);
        first = (size_t)journal.size;
        append(&journal, "one");
        append(&journal, "two");
        append(&journal, "three");
        journal_deinit(&journal);
        assert_int_equal(file_read(tempdir_path(LOG), 1000, &whole, &size, NULL), 0);
        whole[first + 11 + 9] ^= 1; /* in "two" */
        write_log(whole, size);
        open_journal(&journal, "m", "b", &content);
        assert_string_equal(content.damaged, tempdir_path(name));
        journal_deinit(&journal);
        assert_int_equal(file_read(tempdir_path(name), 1000, &kept, &kept_size, NULL), 0);
        assert_int_equal(kept_size, size - first - 11);
        assert_memory_equal(kept, whole + first + 11, kept_size);
        assert_int_equal(unlink(tempdir_path(LOG)), 0);
    }
}

static void test_a_torn_append_is_no_damage(void **state)
{
    cleanup(journal_content_deinit) struct journal_content written = JOURNAL_CONTENT_INIT,
                                                           content = JOURNAL_CONTENT_INIT;
    struct journal journal;

    open_journal(&journal, "m", "b", &written);
    append(&journal, "one");
    append(&journal, "two");
    journal_deinit(&journal);
    assert_int_equal(truncate(tempdir_path(LOG), (off_t)journal.size - 1), 0);
    open_journal(&journal, "m", "b", &content);
    assert_true(journal_content_is_torn(&content));
    assert_string_equal(content.damaged, "");
    journal_deinit(&journal);
}

static void test_a_file_that_is_not_ours_is_set_aside(void **state)
{
    static const char *const others[] = {"gpuslice grants 2\nand more", "garbage",
                                         "gpuslice grants 1\n\x05\0\0\0abcd12345"};

    for (size_t i = 0; i < 3; i++) {
        cleanup(journal_content_deinit) struct journal_content content = JOURNAL_CONTENT_INIT;
        cleanup_free char *kept = NULL;
        struct journal journal;
        size_t size, length = i == 2 ? 31 : strlen(others[i]);
        char name[64];

        snprintf(name, sizeof(name), LOG ".foreign-%zu", i + 1); /* none is overwritten */
        write_log(others[i], length);
        open_journal(&journal, "m", "b", &content);
        assert_string_equal(content.set_aside, tempdir_path(name));
        assert_payloads(&content, "");
        append(&journal, "ours");
        journal_deinit(&journal);
        assert_int_equal(file_read(tempdir_path(name), 100, &kept, &size, NULL), 0);
        assert_int_equal(size, length);
        assert_memory_equal(kept, others[i], length);
        assert_log(" ours");
    }
}

static void test_another_machine_s_file_is_set_aside(void **state)
{
    cleanup(journal_content_deinit) struct journal_content first = JOURNAL_CONTENT_INIT,
                                                           second = JOURNAL_CONTENT_INIT;
    struct journal journal;

    open_journal(&journal, "machine-1", "b", &first);
    append(&journal, "theirs");
    journal_deinit(&journal);
    open_journal(&journal, "machine-2", "b", &second);
    assert_string_equal(second.set_aside, tempdir_path(LOG ".foreign-1"));
    assert_payloads(&second, "");
    journal_deinit(&journal);
}

static void test_a_reboot_and_an_unknown_machine_change_nothing(void **state)
{
    cleanup(journal_content_deinit) struct journal_content first = JOURNAL_CONTENT_INIT,
                                                           second = JOURNAL_CONTENT_INIT;
    struct journal journal;

    open_journal(&journal, "machine-1", "boot-1", &first);
    append(&journal, "kept");
    journal_deinit(&journal);
    open_journal(&journal, "", "boot-2", &second);
    assert_payloads(&second, " kept");
    assert_string_equal(second.set_aside, "");
    journal_deinit(&journal);
}

static void test_a_creation_cut_off_is_begun_again(void **state)
{
    for (size_t size = 0; size <= strlen("gpuslice grants 1\n"); size++) {
        write_log("gpuslice grants 1\n", size);
        assert_log("");
        assert_int_equal(access(tempdir_path(LOG ".foreign-1"), F_OK), -1);
    }
}

static void test_another_version_is_left_alone(void **state)
{
    cleanup(journal_content_deinit) struct journal_content content = JOURNAL_CONTENT_INIT;
    cleanup_free char *kept = NULL;
    struct journal journal;
    size_t size;

    assert_int_equal(file_write_atomic(tempdir_path("grants-v2.log"), "of 2027", 7, 0600, NULL), 0);
    open_journal(&journal, "m", "b", &content);
    assert_string_equal(content.newer, "grants-v2.log");
    append(&journal, "ours");
    journal_deinit(&journal);
    assert_int_equal(file_read(tempdir_path("grants-v2.log"), 100, &kept, &size, NULL), 0);
    assert_string_equal(kept, "of 2027");
}

/* Two agents for a moment, as in an upgrade: none writes over what it has not read. */
static void test_two_writers_notice_each_other(void **state)
{
    cleanup(journal_content_deinit) struct journal_content a_content = JOURNAL_CONTENT_INIT,
                                                           b_content = JOURNAL_CONTENT_INIT,
                                                           again = JOURNAL_CONTENT_INIT;
    cleanup_text struct text record = TEXT_INIT;
    struct journal a, b;

    journal_frame("late", 4, &record);
    open_journal(&a, "m", "b", &a_content);
    open_journal(&b, "m", "b", &b_content);
    append(&a, "one");
    assert_int_equal(journal_append(&b, record.data, record.length, NULL), JOURNAL_CHANGED);
    assert_int_equal(journal_rewrite(&b, "", 0, NULL), JOURNAL_CHANGED);
    assert_int_equal(journal_reserve(&b, NULL), JOURNAL_CHANGED);
    assert_int_equal(journal_load(&b, &again, NULL), 0);
    assert_payloads(&again, " one");
    assert_int_equal(journal_append(&b, record.data, record.length, NULL), 0);
    assert_int_equal(journal_append(&a, record.data, record.length, NULL), JOURNAL_CHANGED);
    journal_deinit(&a);
    journal_deinit(&b);
    assert_log(" one late");
}

static void test_a_file_that_was_removed_is_noticed(void **state)
{
    cleanup(journal_content_deinit) struct journal_content content = JOURNAL_CONTENT_INIT;
    cleanup_text struct text record = TEXT_INIT;
    struct journal journal;

    journal_frame("late", 4, &record);
    open_journal(&journal, "m", "b", &content);
    assert_int_equal(unlink(tempdir_path(LOG)), 0);
    assert_int_equal(journal_append(&journal, record.data, record.length, NULL), JOURNAL_CHANGED);
    journal_deinit(&journal);
}

/* A file that may not grow simulates a full disk. */
static void test_a_failed_append_is_told_and_mended(void **state)
{
    cleanup(journal_content_deinit) struct journal_content first = JOURNAL_CONTENT_INIT,
                                                           second = JOURNAL_CONTENT_INIT;
    cleanup_text struct text records = TEXT_INIT;
    struct rlimit before, limit;
    struct error err = ERROR_INIT;
    struct journal journal;

    open_journal(&journal, "m", "b", &first);
    append(&journal, "one");
    for (int i = 0; i < 100; i++)
        journal_frame("0123456789012345678901234567890123456789", 40, &records);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    limit = (struct rlimit){1024, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(journal_append(&journal, records.data, records.length, &err), -EFBIG);
    assert_true(str_starts_with(error_text(&err), "cannot write "));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    /* What was half written is gone, and appending goes on where it was. */
    assert_true(journal_is_open(&journal));
    append(&journal, "two");
    assert_int_equal(journal_load(&journal, &second, NULL), 0);
    assert_false(journal_content_is_torn(&second));
    journal_deinit(&journal);
    assert_log(" one two");
}

#define T(name) cmocka_unit_test_setup_teardown(name, tempdir_make, tempdir_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_what_was_appended_is_read_again),
        T(test_the_folder_is_made),
        T(test_a_rewrite_replaces_all),
        T(test_every_torn_tail),
        T(test_nothing_behind_damage_is_believed),
        T(test_a_rewrite_that_fails_leaves_the_log_open),
        T(test_what_follows_damage_is_kept),
        T(test_a_torn_append_is_no_damage),
        T(test_a_file_that_is_not_ours_is_set_aside),
        T(test_another_machine_s_file_is_set_aside),
        T(test_a_reboot_and_an_unknown_machine_change_nothing),
        T(test_a_creation_cut_off_is_begun_again),
        T(test_another_version_is_left_alone),
        T(test_two_writers_notice_each_other),
        T(test_a_file_that_was_removed_is_noticed),
        T(test_a_failed_append_is_told_and_mended),
    };

    return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
