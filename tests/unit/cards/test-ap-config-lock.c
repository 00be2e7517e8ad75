/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The lock of s390-tools on the AP configuration: taken, respected, stale, and given back. Another process holds it as
 * their tools do. */
#include "cards/ap-config-lock.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utime.h>

#include "cards/fixture.h"

#define LIMIT_USEC (100 * G_TIME_SPAN_MILLISECOND)

typedef struct {
    char *root;
    char *path;
} Fixture;

static void
set_up(Fixture *fixture, gconstpointer data)
{
    fixture->root = sysfs_new();
    fixture->path = sysfs_path(fixture->root, "s390apconfig.lock");
}

/* Nothing is left behind, temporary files included. */
static void
tear_down(Fixture *fixture, gconstpointer data)
{
    g_free(fixture->path);
    sysfs_free(fixture->root);
}

static void
assert_empty(const Fixture *fixture)
{
    g_autoptr(GDir) folder = g_dir_open(fixture->root, 0, NULL);

    g_assert_nonnull(folder);
    g_assert_cmpstr(g_dir_read_name(folder), ==, NULL);
}

static void
put(const Fixture *fixture, const char *content)
{
    g_assert_true(g_file_set_contents(fixture->path, content, -1, NULL));
}

/* Takes it in a process of its own, as util_lockfile_lock() does, and holds it until it is killed. */
static pid_t
hold_elsewhere(const Fixture *fixture)
{
    pid_t pid = fork();

    if (pid == 0) {
        g_autofree char *temporary = g_strdup_printf("%s%05d00", fixture->path, (int)getpid());
        g_autofree char *text = g_strdup_printf("%d\n", (int)getpid());
        int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL, 0644);

        if (fd < 0 || write(fd, text, strlen(text)) < 0 || link(temporary, fixture->path) < 0)
            _exit(1);
        unlink(temporary);
        for (;;)
            pause();
    }
    g_assert_cmpint(pid, >, 0);
    while (!g_file_test(fixture->path, G_FILE_TEST_EXISTS))
        g_usleep(1000);
    return pid;
}

static void
end(pid_t pid)
{
    kill(pid, SIGKILL);
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
}

/* --- ours ---------------------------------------------------------------------------------------- */

static void
test_taken(Fixture *fixture, gconstpointer data)
{
    mode_t mask = umask(0077);
    ApmigApConfigLock *lock = apmig_ap_config_lock_begin(fixture->path, LIMIT_USEC);
    g_autofree char *expected = g_strdup_printf("%d\n", (int)getpid());
    g_autofree char *content = NULL;
    struct stat st;

    umask(mask);
    g_assert_true(g_file_get_contents(fixture->path, &content, NULL, NULL));
    g_assert_cmpstr(content, ==, expected); /* what the tools read */
    g_assert_cmpint(stat(fixture->path, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 0777, ==, 0644);
    g_assert_true(apmig_ap_config_lock_end(lock));
    assert_empty(fixture);
}

static void
test_dropped(Fixture *fixture, gconstpointer data)
{
    ApmigApConfigLock *lock = apmig_ap_config_lock_begin(fixture->path, LIMIT_USEC);

    apmig_ap_config_lock_drop(lock);
    assert_empty(fixture);
    apmig_ap_config_lock_drop(lock);
    g_assert_false(apmig_ap_config_lock_end(lock)); /* anybody may have changed anything since */
    assert_empty(fixture);
}

/* --- another's ----------------------------------------------------------------------------------- */

static void
test_held_by_another(Fixture *fixture, gconstpointer data)
{
    pid_t pid = hold_elsewhere(fixture);
    gint64 begin = g_get_monotonic_time();
    ApmigApConfigLock *lock = apmig_ap_config_lock_begin(fixture->path, LIMIT_USEC);

    g_assert_cmpint(g_get_monotonic_time() - begin, >=, LIMIT_USEC / 2); /* it was waited for, */
    g_assert_false(apmig_ap_config_lock_end(lock));                      /* and respected */
    g_assert_true(g_file_test(fixture->path, G_FILE_TEST_EXISTS));
    end(pid);
    lock = apmig_ap_config_lock_begin(fixture->path, 0);
    g_assert_true(apmig_ap_config_lock_end(lock)); /* its holder is gone */
    assert_empty(fixture);
}

static gpointer
end_soon(gpointer data)
{
    g_usleep(50 * G_TIME_SPAN_MILLISECOND);
    end(GPOINTER_TO_INT(data));
    return NULL;
}

static void
test_waited_for(Fixture *fixture, gconstpointer data)
{
    GThread *thread = g_thread_new("holder", end_soon, GINT_TO_POINTER(hold_elsewhere(fixture)));
    ApmigApConfigLock *lock = apmig_ap_config_lock_begin(fixture->path, 60 * G_USEC_PER_SEC);

    g_assert_true(apmig_ap_config_lock_end(lock));
    g_thread_join(thread);
    assert_empty(fixture);
}

/* Somebody takes ours for stale, which no tool should. It stays his. */
static void
test_lost(Fixture *fixture, gconstpointer data)
{
    ApmigApConfigLock *lock = apmig_ap_config_lock_begin(fixture->path, LIMIT_USEC);
    pid_t pid;

    g_unlink(fixture->path);
    pid = hold_elsewhere(fixture);
    g_assert_false(apmig_ap_config_lock_end(lock));
    g_assert_true(g_file_test(fixture->path, G_FILE_TEST_EXISTS));
    end(pid);
}

/* --- what is left over --------------------------------------------------------------------------- */

static void
test_left_over(Fixture *fixture, gconstpointer data)
{
    static const struct {
        const char *content;
        guint age; /* seconds */
        gboolean is_free;
    } cases[] = {
        {"2147483646\n", 0, TRUE}, {"0\n", 0, FALSE},  {"0\n", 200, TRUE},       {"", 0, FALSE},
        {"", 200, TRUE},           {"-5\n", 0, FALSE}, {"12 monkeys", 0, FALSE}, {"12 monkeys", 200, TRUE},
        {"1\n", 200, FALSE},
    };
    g_autofree char *own = g_strdup_printf("%d\n", (int)getpid());
    ApmigApConfigLock *lock;

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        time_t then = time(NULL) - cases[i].age;

        put(fixture, cases[i].content);
        g_assert_cmpint(utime(fixture->path, &(struct utimbuf){then, then}), ==, 0);
        lock = apmig_ap_config_lock_begin(fixture->path, 0);
        g_assert_cmpint(apmig_ap_config_lock_end(lock), ==, cases[i].is_free);
        g_assert_cmpint(g_file_test(fixture->path, G_FILE_TEST_EXISTS), ==, !cases[i].is_free);
    }
    put(fixture, own); /* of an earlier process with this PID */
    lock = apmig_ap_config_lock_begin(fixture->path, 0);
    g_assert_true(apmig_ap_config_lock_end(lock));
    assert_empty(fixture);
}

/* What is no file is not waited for, and not taken away. */
static void
test_no_file(Fixture *fixture, gconstpointer data)
{
    ApmigApConfigLock *lock;

    g_assert_cmpint(mkfifo(fixture->path, 0600), ==, 0);
    lock = apmig_ap_config_lock_begin(fixture->path, 0);
    g_assert_false(apmig_ap_config_lock_end(lock));
    g_assert_cmpint(g_unlink(fixture->path), ==, 0);
    assert_empty(fixture);
}

/* Nothing can be made there: then it is looked at before and after. */
static void
test_no_folder(Fixture *fixture, gconstpointer data)
{
    g_autofree char *path = sysfs_path(fixture->root, "folder/s390apconfig.lock");
    ApmigApConfigLock *lock = apmig_ap_config_lock_begin(path, LIMIT_USEC);

    g_assert_true(apmig_ap_config_lock_end(lock));
    lock = apmig_ap_config_lock_begin(path, LIMIT_USEC);
    sysfs_write(fixture->root, "folder/s390apconfig.lock", "1\n");
    g_assert_false(apmig_ap_config_lock_end(lock));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, func) g_test_add("/ap-config-lock/" path, Fixture, NULL, set_up, func, tear_down)
    ADD("taken", test_taken);
    ADD("dropped", test_dropped);
    ADD("held-by-another", test_held_by_another);
    ADD("waited-for", test_waited_for);
    ADD("lost", test_lost);
    ADD("left-over", test_left_over);
    ADD("no-file", test_no_file);
    ADD("no-folder", test_no_folder);
#undef ADD
    return g_test_run();
}
