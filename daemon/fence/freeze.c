/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fence/freeze.h"

#include "base/proc.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

#define MAX_TASKS  16384
#define SLICE_USEC 2000 /* a SIGCHLD that another one swallowed costs no more than this */

typedef enum {
    TASK_ASKED, /* it is going to stop */
    TASK_STOPPED,
    TASK_GONE,
} TaskState;

typedef struct {
    pid_t tid;
    TaskState state;
    int signal; /* to be delivered when it runs on; 0: none */
} Task;

struct ApmigFreeze {
    int proc;
    int proc_root;
    GHashTable *tasks; /* by tid */
    gint64 begun;
    gint64 deadline;
    sigset_t mask; /* before SIGCHLD was blocked */
    ApmigFenceReply *reply;
};

/* --- naming the obstacle ------------------------------------------------------------------------- */

static char
task_letter(const ApmigFreeze *freeze, pid_t tid)
{
    g_autofree char *path = g_strdup_printf("task/%d/stat", tid);
    guint64 start_time;
    char letter;

    return apmig_proc_read_stat(freeze->proc, path, &letter, &start_time) ? letter : 'X';
}

static gboolean
refuse_seize(const ApmigFreeze *freeze, pid_t tid, int error)
{
    g_autofree char *path = g_strdup_printf("task/%d/status", tid);
    g_autofree char *tracer = apmig_proc_read_field(freeze->proc, path, "TracerPid");
    g_autofree char *yama = apmig_proc_read(freeze->proc_root, "sys/kernel/yama/ptrace_scope", 16, NULL);

    if (tracer && strcmp(tracer, "0") != 0)
        return apmig_fence_reply_set(
            freeze->reply, APMIG_FENCE_FAILED, error,
            "QEMU's task %d is being traced by process %s already (a debugger?): QEMU cannot "
            "be frozen before that has ended.",
            tid, tracer);
    if (yama && atoi(yama) >= 3)
        return apmig_fence_reply_set(
            freeze->reply, APMIG_FENCE_FAILED, error,
            "The kernel forbids tracing altogether (kernel.yama.ptrace_scope is 3), so QEMU "
            "cannot be frozen: only a reboot with a lower value helps.");
    return apmig_fence_reply_set(
        freeze->reply, APMIG_FENCE_FAILED, error,
        "The kernel refuses to let QEMU's task %d be traced (%s): see whether SELinux "
        "(deny_ptrace) or AppArmor forbid it to apmigd-fence.",
        tid, g_strerror(error));
}

static gboolean
refuse_late(const ApmigFreeze *freeze)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, freeze->tasks);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const Task *task = value;
        char letter = task->state == TASK_ASKED ? task_letter(freeze, task->tid) : 'X';

        if (letter == 'X' || letter == 'Z')
            continue;
        if (letter == 'D')
            return apmig_fence_reply_set(
                freeze->reply, APMIG_FENCE_FAILED, ETIMEDOUT,
                "QEMU's task %d is in an uninterruptible sleep in the kernel, so QEMU cannot "
                "be frozen: it waits for storage or a device.",
                task->tid);
        return apmig_fence_reply_set(
            freeze->reply, APMIG_FENCE_FAILED, ETIMEDOUT,
            "QEMU's task %d did not stop in time (it is in state %c): the host is overloaded.", task->tid,
            letter);
    }
    return apmig_fence_reply_set(freeze->reply, APMIG_FENCE_FAILED, ETIMEDOUT,
                                 "QEMU makes new tasks faster than they can be stopped.");
}

/* --- stopping ------------------------------------------------------------------------------------ */

/* Returns: FALSE for an obstacle; a task that is ending is none. */
static gboolean
seize(ApmigFreeze *freeze, pid_t tid)
{
    Task *task;
    int error;

    if (ptrace(PTRACE_SEIZE, tid, NULL, NULL) < 0) {
        error = errno;
        return error == ESRCH || strchr("XZ", task_letter(freeze, tid)) || refuse_seize(freeze, tid, error);
    }
    task = g_new0(Task, 1);
    task->tid = tid;
    g_hash_table_insert(freeze->tasks, GINT_TO_POINTER(tid), task);
    ptrace(PTRACE_INTERRUPT, tid, NULL, NULL); /* ESRCH: it has ended, and waitpid() will say so */
    return TRUE;
}

/* @ret_new: how many tasks there are that were not known. */
static gboolean
seize_new(ApmigFreeze *freeze, guint *ret_new)
{
    g_autoptr(GArray) tids = apmig_proc_read_numbers(freeze->proc, "task", MAX_TASKS);
    guint known = g_hash_table_size(freeze->tasks);

    if (!tids)
        return apmig_fence_reply_set(freeze->reply, APMIG_FENCE_FAILED, errno,
                                     "QEMU's tasks could not be listed: %s.", g_strerror(errno));
    for (guint i = 0; i < tids->len; i++) {
        int tid = g_array_index(tids, int, i);

        if (!g_hash_table_contains(freeze->tasks, GINT_TO_POINTER(tid)) && !seize(freeze, tid))
            return FALSE;
    }
    *ret_new = g_hash_table_size(freeze->tasks) - known;
    return TRUE;
}

/* A signal that a task was just about to take is handed to it when it runs on. With PTRACE_EVENT_STOP no signal
 * is under way; that is also how a stop by SIGSTOP shows, which the kernel restores by itself. */
static void
note_status(Task *task, int status)
{
    if (!WIFSTOPPED(status)) {
        task->state = TASK_GONE;
        return;
    }
    task->state = TASK_STOPPED;
    task->signal = status >> 16 == PTRACE_EVENT_STOP ? 0 : WSTOPSIG(status);
}

/* Returns: how many are still to stop. */
static guint
collect_stopped(ApmigFreeze *freeze)
{
    GHashTableIter iter;
    gpointer value;
    guint n_left = 0;

    g_hash_table_iter_init(&iter, freeze->tasks);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Task *task = value;
        int status = 0;
        pid_t got;

        if (task->state != TASK_ASKED)
            continue;
        got = waitpid(task->tid, &status, __WALL | WNOHANG);
        if (got == task->tid)
            note_status(task, status);
        else if (got < 0 && errno == ECHILD)
            task->state = TASK_GONE;
        else
            n_left++;
    }
    return n_left;
}

/* Returns: whether all have stopped before the deadline. */
static gboolean
await_stopped(ApmigFreeze *freeze)
{
    sigset_t child;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    while (collect_stopped(freeze) > 0) {
        gint64 left = freeze->deadline - g_get_monotonic_time();
        struct timespec slice = {.tv_nsec = CLAMP(left, 0, SLICE_USEC) * 1000};

        if (left <= 0)
            return FALSE;
        sigtimedwait(&child, NULL, &slice);
    }
    return TRUE;
}

/* Once all known tasks stand still, one more listing that shows no other one is the proof: only they could have
 * made it. */
static gboolean
stop_all(ApmigFreeze *freeze)
{
    guint n_new = 0;

    do {
        if (!seize_new(freeze, &n_new))
            return FALSE;
        if (!await_stopped(freeze) || g_get_monotonic_time() > freeze->deadline)
            return refuse_late(freeze);
    } while (n_new > 0);
    return TRUE;
}

ApmigFreeze *
apmig_freeze_begin(int proc, int proc_root, gint64 limit_usec, ApmigFenceReply *reply)
{
    ApmigFreeze *freeze = g_new0(ApmigFreeze, 1);
    sigset_t child;

    freeze->proc = proc;
    freeze->proc_root = proc_root;
    freeze->reply = reply;
    freeze->tasks = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, &freeze->mask);
    freeze->begun = g_get_monotonic_time();
    freeze->deadline = freeze->begun + limit_usec;
    if (!stop_all(freeze)) {
        reply->frozen_usec = apmig_freeze_end(freeze);
        return NULL;
    }
    return freeze;
}

/* --- running on ---------------------------------------------------------------------------------- */

gint64
apmig_freeze_end(ApmigFreeze *freeze)
{
    GHashTableIter iter;
    gpointer value;
    gint64 usec;

    collect_stopped(freeze);
    g_hash_table_iter_init(&iter, freeze->tasks);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const Task *task = value;

        if (task->state == TASK_STOPPED) /* ESRCH: it was killed meanwhile */
            ptrace(PTRACE_DETACH, task->tid, NULL, (void *)(gintptr)task->signal);
    }
    usec = g_get_monotonic_time() - freeze->begun;
    g_hash_table_unref(freeze->tasks);
    sigprocmask(SIG_SETMASK, &freeze->mask, NULL);
    g_free(freeze);
    return usec;
}

guint
apmig_freeze_count_tasks(const ApmigFreeze *freeze)
{
    return g_hash_table_size(freeze->tasks);
}
