/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The store against crashes, a full disk and a disk that fails or hangs. Built with the store's sources and its
 * failpoints; fsync() is one of our own, so that it can be made to fail or to hang.
 */
#include "store/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOCKS "state/locks"

/* --- a disk with faults --------------------------------------------------------------------------- */

static GMutex disk_mutex; /* held by a test: syncs hang */
static gint syncs;        /* since reset */
static gint failing_from; /* the first sync that fails, counted from 1; 0: none does */
static gint failing_to;

int fsync(int fd);

int
fsync(int fd)
{
    gint n = g_atomic_int_add(&syncs, 1) + 1;

    g_mutex_lock(&disk_mutex);
    g_mutex_unlock(&disk_mutex);
    if (failing_from != 0 && n >= failing_from && n <= failing_to) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_fsync, fd);
}

static void
fail_syncs(gint from, gint to)
{
    g_atomic_int_set(&syncs, 0);
    failing_from = from;
    failing_to = to;
}

/* --- crashes -------------------------------------------------------------------------------------- */

typedef struct {
    const char *point;
    const char *steps; /* what the process does before it dies, a letter each, see take_step() */
    const char *told;  /* those that it was told to be done */
    guint locks;       /* that are there afterwards */
    gboolean held;     /* the first of them is */
    guint admissions;
    guint permits;
    gboolean used; /* the first of them is */
} Crash;

static const Crash crashes[] = {
    {"lock-before-write", "p", "", 0, FALSE, 0},      {"lock-written", "p", "", 0, FALSE, 0},
    {"lock-renamed", "p", "", 1, FALSE, 0},           {"lock-durable", "p", "", 1, FALSE, 0},
    {"lock-durable", "h", "h", 1, TRUE, 0},           {"held-durable", "ph", "p", 1, TRUE, 0},
    {"held-durable", "p", "p", 1, FALSE, 0},          {"lock-before-remove", "pr", "p", 1, FALSE, 0},
    {"marker-removed", "pr", "p", 1, FALSE, 0},       {"marker-removed", "pqr", "pq", 2, FALSE, 0},
    {"lock-removed", "pr", "p", 0, FALSE, 0},         {"lock-removed", "pqr", "pq", 1, FALSE, 0},
    {"admission-durable", "pa", "p", 1, FALSE, 1},    {"permit-durable", "g", "", 0, FALSE, 0, 1, FALSE},
    {"permit-used", "gu", "g", 0, FALSE, 0, 1, TRUE},
};

/* p, q: persist lock 1, 2; h: lock 1 as held; r: remove lock 1; a: persist an admission; g, u: a permit, as given and as
 * used */
static const char *
take_step(Fixture *fixture, char step)
{
    g_autoptr(ApmigLockRecord) one = test_record_new("00000001"), two = test_record_new("00000002");
    g_autoptr(ApmigAdmission) admission = test_admission_new(TEST_UUID);
    g_autoptr(ApmigPermit) permit = test_permit_new();

    switch (step) {
    case 'h':
        one->held_at = one->requested_at;
        return fixture_persist(fixture, one);
    case 'p':
        return fixture_persist(fixture, one);
    case 'q':
        return fixture_persist(fixture, two);
    case 'r':
        return fixture_remove(fixture, one);
    case 'u':
        permit->used_by = g_strdup(TEST_UUID);
        return fixture_persist_permit(fixture, permit);
    case 'g':
        return fixture_persist_permit(fixture, permit);
    default:
        return fixture_persist_admission(fixture, admission);
    }
}

G_GNUC_NORETURN static void
run_until_crash(Fixture *fixture, const Crash *crash, int told)
{
    setenv("APMIGD_FAILPOINT", crash->point, TRUE);
    fixture_open(fixture);
    for (const char *step = crash->steps; *step; step++)
        if (take_step(fixture, *step) == NULL && write(told, step, 1) != 1)
            _exit(1);
    _exit(0);
}

static void
test_crash(Fixture *fixture, gconstpointer data)
{
    const Crash *crash = data;
    gboolean dies = !g_str_equal(crash->told, crash->steps);
    char told[8] = "";
    int fds[2], status;
    pid_t child;

    g_assert_cmpint(pipe(fds), ==, 0);
    child = fork();
    g_assert_cmpint(child, >=, 0);
    if (child == 0)
        run_until_crash(fixture, crash, fds[1]);
    close(fds[1]);
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_cmpint(read(fds[0], told, sizeof(told) - 1), >=, 0);
    close(fds[0]);
    g_assert_true(dies ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL : WIFEXITED(status));
    g_assert_cmpstr(told, ==, crash->told);

    for (guint i = 0; i < 2; i++) { /* the second time after a clean end */
        fixture_reopen(fixture);
        g_assert_cmpuint(fixture->damage->len, ==, 0); /* no false alarm */
        g_assert_cmpuint(fixture->locks->len, ==, crash->locks);
        g_assert_cmpuint(fixture->admissions->len, ==, crash->admissions);
        g_assert_cmpuint(fixture->permits->len, ==, crash->permits);
        if (crash->permits)
            g_assert_cmpint(((ApmigPermit *)fixture->permits->pdata[0])->used_by != NULL, ==, crash->used);
        for (guint k = 0; k < fixture->locks->len; k++)
            g_assert_cmpint(((ApmigLockRecord *)fixture->locks->pdata[k])->origin, ==, APMIG_LOCK_BY_REQUEST);
        if (crash->held)
            g_assert_cmpint(((ApmigLockRecord *)fixture->locks->pdata[0])->held_at, !=, 0);
        g_assert_cmpuint(fixture_count(fixture, LOCKS), ==,
                         crash->locks + (crash->locks > 0)); /* the marker */
    }
}

/* --- a disk that fails ---------------------------------------------------------------------------- */

/* A first lock takes three syncs: of its file, of the folder, of the folder with the marker. Whichever of them
 * fails, also with all after it, the lock is refused and does not come back. */
static void
test_failed_write(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigLockRecord) record = test_record_new("00000001");

    fixture_open(fixture);
    for (gint from = 1; from <= 3; from++) {
        for (gint to = from; to <= 10; to += 9) {
            fail_syncs(from, to);
            g_assert_nonnull(strstr(fixture_persist(fixture, record), "Input/output error"));
            fail_syncs(0, 0);
            fixture_reopen(fixture);
            g_assert_cmpuint(fixture->locks->len, ==, 0);
            g_assert_cmpuint(fixture_count(fixture, LOCKS), ==, 0);
        }
    }
    fail_syncs(0, 0);
    g_assert_null(fixture_persist(fixture, record));
    g_assert_cmpint(syncs, ==, 3);
}

/* Of a lock that was there before, an update that failed leaves the lock. */
static void
test_failed_update(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigLockRecord) record = test_record_new("00000001");

    fixture_open(fixture);
    g_assert_null(fixture_persist(fixture, record));
    record->held_at = record->requested_at;
    for (gint from = 1; from <= 2; from++) {
        fail_syncs(from, 10);
        g_assert_nonnull(fixture_persist(fixture, record));
        fail_syncs(0, 0);
        fixture_reopen(fixture);
        g_assert_cmpuint(fixture->locks->len, ==, 1);
        g_assert_cmpuint(fixture->damage->len, ==, 0);
    }
}

/* A removal that failed was told of as "still held": the lock is there, also after a restart. */
static void
test_failed_removal(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigLockRecord) record = test_record_new("00000001");

    fixture_open(fixture);
    g_assert_null(fixture_persist(fixture, record));
    for (gint from = 1; from <= 2; from++) { /* the marker's removal, the lock's */
        fail_syncs(from, 10);
        g_assert_nonnull(fixture_remove(fixture, record));
        fail_syncs(0, 0);
        fixture_reopen(fixture);
        g_assert_cmpuint(fixture->locks->len, ==, 1);
        g_assert_cmpuint(fixture->damage->len, ==, 0);
        g_assert_cmpint(((ApmigLockRecord *)fixture->locks->pdata[0])->origin, ==, APMIG_LOCK_BY_REQUEST);
    }
    g_assert_null(fixture_remove(fixture, record));
}

/* What hangs on the state's disk keeps nothing from the runtime folder. */
static void
test_stuck_writer(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigLockRecord) record = test_record_new("00000001");
    g_autoptr(ApmigAdmission) admission = test_admission_new(TEST_UUID);
    gint64 far = G_MAXINT64 / 2;

    fixture_open(fixture);
    g_mutex_lock(&disk_mutex);
    fail_syncs(0, 0);
    fixture_ask_lock(fixture, APMIG_ACTION_PERSIST_LOCK, 1, record);
    while (g_atomic_int_get(&syncs) == 0)
        g_usleep(1000);
    g_assert_true(apmig_store_writer_is_stuck(fixture->store, far, 30 * G_USEC_PER_SEC));
    g_assert_false(apmig_store_writer_is_stuck(fixture->store, far, G_MAXINT64));
    g_assert_false(g_main_context_iteration(NULL, FALSE)); /* and the main loop is free meanwhile */
    g_assert_null(fixture_persist_admission(fixture, admission));
    g_assert_true(apmig_store_writer_is_stuck(fixture->store, far, 30 * G_USEC_PER_SEC));
    g_mutex_unlock(&disk_mutex);
    fixture_wait(fixture, 2);
    g_assert_false(apmig_store_writer_is_stuck(fixture->store, far, 30 * G_USEC_PER_SEC));
    g_assert_null(fixture->last_error);
}

/* --- a full disk ---------------------------------------------------------------------------------- */

static void
fill(Fixture *fixture)
{
    g_autofree char *path = g_build_filename(fixture->state, "ballast", NULL);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    char block[4096] = "";

    while (write(fd, block, sizeof(block)) > 0)
        ;
    g_assert_cmpint(errno, ==, ENOSPC);
    close(fd);
}

/* In a mount namespace of its own, which ends with it. */
static void
run_on_full_disk(Fixture *fixture)
{
    g_autoptr(ApmigLockRecord) one = test_record_new("00000001"), two = test_record_new("00000002");

    g_assert_cmpint(g_mkdir(fixture->state, 0700), ==, 0);
    g_assert_cmpint(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), ==, 0);
    g_assert_cmpint(mount("tmpfs", fixture->state, "tmpfs", 0, "size=64k,mode=700"), ==, 0);

    fixture_open(fixture);
    g_assert_null(fixture_persist(fixture, one));
    fill(fixture);
    g_assert_nonnull(strstr(fixture_persist(fixture, two), "No space left on device; make room"));
    one->held_at = one->requested_at;
    g_assert_nonnull(fixture_persist(fixture, one)); /* the old record stays */
    fixture_reopen(fixture);
    g_assert_cmpuint(fixture->locks->len, ==, 1);
    g_assert_cmpuint(fixture->damage->len, ==, 0);
    g_assert_null(fixture_remove(fixture, one)); /* needs no room */
    fixture_reopen(fixture);
    g_assert_cmpuint(fixture->locks->len + fixture->damage->len, ==, 0);
    fixture_close(fixture);
}

static void
test_full_disk(Fixture *fixture, gconstpointer data)
{
    pid_t child = fork();
    int status;

    g_assert_cmpint(child, >=, 0);
    if (child == 0) {
        if (unshare(CLONE_NEWNS) < 0)
            _exit(77);
        run_on_full_disk(fixture);
        _exit(0);
    }
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        g_test_skip("needs a mount namespace of its own");
    else
        g_assert_cmpint(WEXITSTATUS(status), ==, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, data, func) g_test_add(name, Fixture, data, fixture_set_up, func, fixture_tear_down)
    for (guint i = 0; i < G_N_ELEMENTS(crashes); i++) {
        g_autofree char *name = g_strdup_printf("/store/crash/%s/%s", crashes[i].point, crashes[i].steps);

        ADD(name, &crashes[i], test_crash);
    }
    ADD("/store/full-disk", NULL, test_full_disk);
    ADD("/store/failed-write", NULL, test_failed_write);
    ADD("/store/failed-update", NULL, test_failed_update);
    ADD("/store/failed-removal", NULL, test_failed_removal);
    ADD("/store/stuck-writer", NULL, test_stuck_writer);
    return g_test_run();
}
