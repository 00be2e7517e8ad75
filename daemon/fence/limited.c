/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fence/limited.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define GRACE_USEC (20 * 1000) /* what is killed is gone in less, unless the kernel keeps it */

#define SLICE_MSEC 20 /* the time from which the limit counts may come to be known meanwhile */

typedef struct {
    ApmigFenceReply reply; /* first: what the process is given */
    gint goes_on;
    gint done;
} Shared;

static void
run(Shared *shared, pid_t parent, ApmigLimitedFunc func, gpointer user_data)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    close(STDIN_FILENO);
    func(&shared->reply, user_data);
    g_atomic_int_set(&shared->done, 1);
    _exit(0);
}

typedef struct {
    gint64 begun;
    gint64 usec;
    const gint64 *since;
} Limit;

static gint64
time_left(const Limit *limit)
{
    gint64 since = limit->since ? __atomic_load_n(limit->since, __ATOMIC_SEQ_CST) : limit->begun;

    return (since ? since + limit->usec : limit->begun + APMIG_LIMITED_BEGIN_USEC) - g_get_monotonic_time();
}

void
apmig_limited_go_on(ApmigFenceReply *reply)
{
    prctl(PR_SET_PDEATHSIG, 0);
    g_atomic_int_set(&((Shared *)(gpointer)reply)->goes_on, 1);
}

/* Returns: whether it is gone. */
static gboolean
await(pid_t child, const Limit *limit)
{
    struct pollfd wait = {.fd = (int)syscall(SYS_pidfd_open, child, 0), .events = POLLIN};
    gint64 left;
    int got = 0;

    while (got != child && (left = time_left(limit)) > 0) {
        poll(&wait, wait.fd >= 0 ? 1 : 0, wait.fd >= 0 ? (int)MIN((left + 999) / 1000, SLICE_MSEC) : 1);
        got = waitpid(child, NULL, WNOHANG);
    }
    if (wait.fd >= 0)
        close(wait.fd);
    return got == child || waitpid(child, NULL, WNOHANG) == child;
}

ApmigLimitedResult
apmig_limited_run(ApmigFenceReply *reply, gint64 limit_usec, const gint64 *since, int keep_fd,
                  ApmigLimitedFunc func, gpointer user_data)
{
    const Limit limit = {g_get_monotonic_time(), limit_usec, since};
    Shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ApmigLimitedResult result = APMIG_LIMITED_DIED;
    pid_t parent = getpid(), child = -1;

    if (shared != MAP_FAILED) {
        shared->reply = *reply;
        child = fork();
        if (child == 0)
            run(shared, parent, func, user_data);
    }
    if (keep_fd >= 0)
        close(keep_fd);
    if (child > 0 && !await(child, &limit)) {
        if (!g_atomic_int_get(&shared->goes_on)) {
            kill(child, SIGKILL);
            await(child, &(Limit){g_get_monotonic_time(), GRACE_USEC, NULL});
        }
        result = APMIG_LIMITED_LATE;
    } else if (child > 0 && g_atomic_int_get(&shared->done)) {
        *reply = shared->reply;
        result = APMIG_LIMITED_DONE;
    }
    if (shared != MAP_FAILED)
        munmap(shared, sizeof *shared);
    return result;
}
