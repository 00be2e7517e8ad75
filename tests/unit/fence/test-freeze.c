/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fence/freeze.h"

#include "fence/guest.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT_USEC   (100 * 1000)
#define PATIENT_USEC (5 * G_USEC_PER_SEC) /* where a loaded test machine is no matter */

typedef struct {
    Guest guest;
    int proc;
    int proc_root;
    ApmigFenceReply reply;
} Fixture;

static void
set_up(Fixture *f, int n_threads, const GuestPage *page)
{
    g_autofree char *path = NULL;

    *f = (Fixture){0};
    guest_start(&f->guest, n_threads, page, NULL, NULL);
    path = g_strdup_printf("/proc/%d", f->guest.pid);
    f->proc = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    f->proc_root = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_assert_cmpint(f->proc, >=, 0);
}

static void
tear_down(Fixture *f)
{
    close(f->proc);
    close(f->proc_root);
    guest_end(&f->guest);
}

static ApmigFreeze *
freeze(Fixture *f)
{
    ApmigFreeze *freeze = apmig_freeze_begin(f->proc, f->proc_root, PATIENT_USEC, &f->reply);

    if (!freeze)
        g_test_message("%s", f->reply.message);
    g_assert_nonnull(freeze);
    return freeze;
}

/* Another process; the freeze is its own. Writes a byte when @work returns TRUE, then waits to be killed. */
static pid_t
start_other(Fixture *f, gboolean (*work)(Fixture *))
{
    int ends[2];
    char byte = 0;
    pid_t pid;

    g_assert_cmpint(pipe(ends), ==, 0);
    pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        byte = work(f) ? 'y' : 'n';
        if (write(ends[1], &byte, 1) == 1)
            for (;;)
                pause();
        _exit(1);
    }
    g_assert_cmpint(read(ends[0], &byte, 1), ==, 1);
    g_assert_cmpint(byte, ==, 'y');
    close(ends[0]);
    close(ends[1]);
    return pid;
}

static void
end_other(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

/* --- a process that runs -------------------------------------------------------------------------- */

static void
test_stands_still(gconstpointer n_threads)
{
    Fixture f;
    gint64 shortest = G_MAXINT64, longest = 0, spent, begun;

    set_up(&f, GPOINTER_TO_INT(n_threads), NULL);
    for (int i = 0; i < 5; i++) {
        ApmigFreeze *frozen;

        begun = g_get_monotonic_time();
        frozen = freeze(&f);
        spent = g_get_monotonic_time() - begun;
        g_assert_cmpuint(apmig_freeze_count_tasks(frozen), ==, (guint)GPOINTER_TO_INT(n_threads));
        g_assert_cmpint(guest_letter(&f.guest), ==, 't');
        g_assert_false(guest_runs(&f.guest, 20));
        g_assert_cmpint(apmig_freeze_end(frozen), >=, 20 * 1000);
        g_assert_true(guest_comes_back(&f.guest));
        shortest = MIN(shortest, spent);
        longest = MAX(longest, spent);
    }
    g_test_message("%d threads stand still after %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT " us",
                   GPOINTER_TO_INT(n_threads), shortest, longest);
    g_assert_cmpint(shortest, <, LIMIT_USEC);
    tear_down(&f);
}

/* Tasks that begin and end while the others are being stopped: none is missed, none that ends is an obstacle. */
static void
test_new_tasks(void)
{
    const GuestPage page = {.churn = TRUE};
    Fixture f;

    set_up(&f, 4, &page);
    for (int i = 0; i < 100; i++) {
        ApmigFreeze *frozen = freeze(&f);

        g_assert_false(guest_runs(&f.guest, 2));
        apmig_freeze_end(frozen);
        g_usleep(500);
    }
    g_assert_true(guest_comes_back(&f.guest));
    g_assert_cmpint(f.guest.page->made, >, 0);
    tear_down(&f);
}

/* Not one is lost or made up, whether it comes before, in or after a freeze. */
static void
test_signals(void)
{
    Fixture f;
    gint64 n_sent = 0;

    set_up(&f, 8, NULL);
    for (int i = 0; i < 200; i++) {
        ApmigFreeze *frozen;

        for (int j = 0; j < 5; j++)
            n_sent += kill(f.guest.pid, SIGRTMIN) == 0;
        frozen = freeze(&f);
        for (int j = 0; j < 5; j++)
            n_sent += kill(f.guest.pid, SIGRTMIN) == 0;
        apmig_freeze_end(frozen);
    }
    for (int i = 0; i < 2000 && f.guest.page->signals < n_sent; i++)
        g_usleep(1000);
    g_usleep(20 * 1000);
    g_assert_cmpint(f.guest.page->signals, ==, n_sent);
    g_assert_cmpint(n_sent, ==, 2000);
    tear_down(&f);
}

/* --- a process that does not ----------------------------------------------------------------------- */

static void
await_letter(Fixture *f, char letter)
{
    for (int i = 0; i < 1000 && guest_letter(&f->guest) != letter; i++)
        g_usleep(1000);
    g_assert_cmpint(guest_letter(&f->guest), ==, letter);
}

/* What somebody stopped stays stopped, until he lets it go on. */
static void
test_stopped(void)
{
    Fixture f;
    ApmigFreeze *frozen;

    set_up(&f, 4, NULL);
    kill(f.guest.pid, SIGSTOP);
    await_letter(&f, 'T');
    frozen = freeze(&f);
    g_assert_cmpint(guest_letter(&f.guest), ==, 't');
    apmig_freeze_end(frozen);
    await_letter(&f, 'T');
    g_assert_false(guest_runs(&f.guest, 30));
    kill(f.guest.pid, SIGCONT);
    g_assert_true(guest_comes_back(&f.guest));
    tear_down(&f);
}

/* The same for a stop, and for its end, that comes while it is frozen. */
static void
test_stopped_while_frozen(void)
{
    Fixture f;
    ApmigFreeze *frozen;

    set_up(&f, 4, NULL);
    frozen = freeze(&f);
    kill(f.guest.pid, SIGSTOP);
    g_usleep(10 * 1000);
    apmig_freeze_end(frozen);
    await_letter(&f, 'T');
    g_assert_false(guest_runs(&f.guest, 30));
    frozen = freeze(&f);
    kill(f.guest.pid, SIGCONT);
    g_assert_false(guest_runs(&f.guest, 10));
    apmig_freeze_end(frozen);
    g_assert_true(guest_comes_back(&f.guest));
    tear_down(&f);
}

static gboolean
kill_while_frozen(Fixture *f)
{
    ApmigFreeze *frozen = apmig_freeze_begin(f->proc, f->proc_root, PATIENT_USEC, &f->reply);

    if (!frozen || kill(f->guest.pid, SIGKILL) < 0)
        return FALSE;
    apmig_freeze_end(frozen);
    return TRUE;
}

static void
test_killed_while_frozen(void)
{
    Fixture f;
    int status;

    set_up(&f, 8, NULL);
    end_other(start_other(&f, kill_while_frozen));
    g_assert_cmpint(waitpid(f.guest.pid, &status, 0), ==, f.guest.pid);
    g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    f.guest.pid = 0;
    tear_down(&f);
}

/* --- obstacles ------------------------------------------------------------------------------------ */

static gboolean
trace_first_task(Fixture *f)
{
    return ptrace(PTRACE_SEIZE, f->guest.pid, NULL, NULL) == 0;
}

static void
test_traced_already(void)
{
    g_autofree char *tracer = NULL;
    Fixture f;
    pid_t other;

    set_up(&f, 4, NULL);
    other = start_other(&f, trace_first_task);
    tracer = g_strdup_printf("is being traced by process %d already", other);
    g_assert_null(apmig_freeze_begin(f.proc, f.proc_root, LIMIT_USEC, &f.reply));
    g_assert_cmpint(f.reply.result, ==, APMIG_FENCE_FAILED);
    g_assert_cmpint(f.reply.error_number, ==, EPERM);
    g_assert_nonnull(strstr(f.reply.message, tracer));
    g_assert_true(guest_comes_back(&f.guest));
    end_other(other);
    apmig_freeze_end(freeze(&f));
    tear_down(&f);
}

static gboolean
freeze_in_vain(Fixture *f)
{
    gint64 begun = g_get_monotonic_time();
    ApmigFreeze *frozen = apmig_freeze_begin(f->proc, f->proc_root, LIMIT_USEC, &f->reply);
    gint64 spent = g_get_monotonic_time() - begun;

    return !frozen && f->reply.result == APMIG_FENCE_FAILED && f->reply.error_number == ETIMEDOUT &&
           strstr(f->reply.message, "uninterruptible sleep") && spent >= LIMIT_USEC && spent < 5 * LIMIT_USEC;
}

/* The others run again at once, and everything does when the thread that tried has ended. */
static void
test_uninterruptible(void)
{
    const GuestPage page = {.sleeping = 1500};
    Fixture f;
    pid_t other;

    set_up(&f, 4, &page);
    g_usleep(20 * 1000);
    other = start_other(&f, freeze_in_vain);
    g_assert_true(guest_comes_back(&f.guest));
    end_other(other);
    g_usleep(1600 * 1000);
    g_assert_true(guest_comes_back(&f.guest));
    apmig_freeze_end(freeze(&f));
    tear_down(&f);
}

static gboolean
freeze_for_good(Fixture *f)
{
    return apmig_freeze_begin(f->proc, f->proc_root, PATIENT_USEC, &f->reply) != NULL;
}

/* However the one that froze it ends, the kernel lets it run on. */
static void
test_freezer_killed(void)
{
    Fixture f;
    pid_t other;

    set_up(&f, 8, NULL);
    for (int i = 0; i < 5; i++) {
        other = start_other(&f, freeze_for_good);
        g_assert_cmpint(guest_letter(&f.guest), ==, 't');
        g_assert_false(guest_runs(&f.guest, 20));
        end_other(other);
        g_assert_true(guest_comes_back(&f.guest));
        g_assert_cmpint(guest_letter(&f.guest), !=, 'T');
    }
    tear_down(&f);
}

static void
test_no_process(void)
{
    Fixture f;

    set_up(&f, 1, NULL);
    kill(f.guest.pid, SIGKILL);
    waitpid(f.guest.pid, NULL, 0);
    f.guest.pid = 0;
    g_assert_null(apmig_freeze_begin(f.proc, f.proc_root, LIMIT_USEC, &f.reply));
    g_assert_cmpint(f.reply.result, ==, APMIG_FENCE_FAILED);
    tear_down(&f);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    guest_add_traced_data_test("/fence/freeze/stands-still/1", GINT_TO_POINTER(1), test_stands_still);
    guest_add_traced_data_test("/fence/freeze/stands-still/8", GINT_TO_POINTER(8), test_stands_still);
    guest_add_traced_data_test("/fence/freeze/stands-still/64", GINT_TO_POINTER(64), test_stands_still);
    guest_add_traced_test("/fence/freeze/new-tasks", test_new_tasks);
    guest_add_traced_test("/fence/freeze/signals", test_signals);
    guest_add_traced_test("/fence/freeze/stopped", test_stopped);
    guest_add_traced_test("/fence/freeze/stopped-while-frozen", test_stopped_while_frozen);
    guest_add_traced_test("/fence/freeze/killed-while-frozen", test_killed_while_frozen);
    guest_add_traced_test("/fence/freeze/traced-already", test_traced_already);
    guest_add_traced_test("/fence/freeze/uninterruptible", test_uninterruptible);
    guest_add_traced_test("/fence/freeze/freezer-killed", test_freezer_killed);
    g_test_add_func("/fence/freeze/no-process", test_no_process);
    return g_test_run();
}
