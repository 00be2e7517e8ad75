/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fence/driver.h"

#include "base/failpoint.h"
#include "fence/limited.h"
#include "fence/vfio.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <sys/file.h>
#include <unistd.h>

#define LOCK_LIMIT_USEC (400 * 1000) /* others ask for a few milliseconds, or for very long */
#define LOCK_AGAIN_USEC 5000

typedef struct {
    const ApmigFenceRequest *request;
    const ApmigProcess *process;
    const ApmigDevice *device;
    int fd;
} Question;

/* --- in the process that asks -------------------------------------------------------------------- */

static ApmigSession
look(const Question *question, ApmigFenceReply *reply)
{
    g_auto(ApmigLook) seen = {0};

    return apmig_device_look(question->process, &seen, reply) ? seen.session : APMIG_SESSION_UNCLEAR;
}

static ApmigVfioState
get_state(const Question *question)
{
    ApmigVfioState state = APMIG_VFIO_UNKNOWN;

    return apmig_vfio_get_state(question->fd, &state) == 0 ? state : APMIG_VFIO_UNKNOWN;
}

/* Returns: whether it had to be. */
static gboolean
take_back(const Question *question, ApmigSession before, ApmigFenceReply *reply)
{
    if (reply->after != APMIG_VFIO_STOP || look(question, reply) == before)
        return FALSE;
    apmig_vfio_set_state(question->fd, APMIG_VFIO_RUNNING);
    reply->after = get_state(question);
    apmig_fence_reply_set(
        reply, APMIG_FENCE_NOT_ABORTABLE, 0,
        "The data session ended while the device was being stopped, so the guest may run: the device "
        "was set to run on, and is in %s.",
        apmig_vfio_state_to_string(reply->after));
    return TRUE;
}

/* After a failure the device may be in yet another state than before and wanted. */
static void
set_state(const Question *question, ApmigVfioState state, ApmigSession session, const char *why,
          ApmigFenceReply *reply)
{
    int error;

    apmig_limited_go_on(reply);
    error = apmig_vfio_set_state(question->fd, state);
    reply->after = get_state(question);
    apmig_failpoint("state-set");
    if (take_back(question, session, reply))
        return;
    if (error != 0)
        apmig_fence_reply_set(reply, APMIG_FENCE_FAILED, error,
                              "The driver refused to bring the device from %s to %s (%s); it is in %s.",
                              apmig_vfio_state_to_string(reply->before), apmig_vfio_state_to_string(state),
                              g_strerror(error), apmig_vfio_state_to_string(reply->after));
    else if (reply->after != state)
        apmig_fence_reply_set(reply, APMIG_FENCE_FAILED, 0,
                              "The driver accepted the state %s, but the device is in %s.",
                              apmig_vfio_state_to_string(state), apmig_vfio_state_to_string(reply->after));
    else
        apmig_fence_reply_set(reply, APMIG_FENCE_DONE, 0, "%s", why);
}

static void
fence(const Question *question, ApmigFenceReply *reply)
{
    ApmigSession session = look(question, reply);
    ApmigDecision decision = apmig_fence_decide(APMIG_FENCE_FENCE, question->request->direction,
                                                reply->driver, reply->before, session);

    if (decision.act == APMIG_ACT_SET_STOP)
        set_state(question, APMIG_VFIO_STOP, session, decision.why, reply);
    else if (decision.act == APMIG_ACT_SET_RUNNING)
        set_state(question, APMIG_VFIO_RUNNING, session, decision.why, reply);
    else
        apmig_fence_reply_set(reply, decision.result, 0, "%s", decision.why);
}

static void
ask(ApmigFenceReply *reply, gpointer user_data)
{
    Question *question = user_data;
    ApmigVfioState state = APMIG_VFIO_UNKNOWN;
    guint32 flags = 0;
    int error;

    if (!apmig_device_open(question->process, question->device, &question->fd, &flags, reply))
        return;
    reply->driver = flags & VFIO_DEVICE_FLAGS_AP ? APMIG_DRIVER_VFIO_AP : APMIG_DRIVER_OTHER;
    error = apmig_vfio_get_state(question->fd, &state);
    if (error != 0) {
        apmig_fence_reply_set(reply, APMIG_FENCE_FAILED, error,
                              "The device's migration state could not be read: %s.", g_strerror(error));
        return;
    }
    reply->before = reply->after = state;
    if (question->request->verb == APMIG_FENCE_FENCE)
        fence(question, reply);
}

/* --- in this one --------------------------------------------------------------------------------- */

/* Returns: a descriptor that is to be kept open while the device is asked, or -1. */
static int
begin(const ApmigFencePaths *paths, const ApmigDevice *device, ApmigFenceReply *reply)
{
    g_autofree char *path = g_build_filename(paths->lock_dir, device->uuid, NULL);
    gint64 until = g_get_monotonic_time() + LOCK_LIMIT_USEC;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0) {
        apmig_fence_reply_set(reply, APMIG_FENCE_FAILED, errno, "\"%s\" could not be opened: %s.", path,
                              g_strerror(errno));
        return -1;
    }
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (g_get_monotonic_time() >= until) {
            apmig_fence_reply_set(reply, APMIG_FENCE_FAILED, EBUSY,
                                  "The device's driver has been asked before, and keeps who asked it: none "
                                  "other is sent until that one is gone.");
            close(fd);
            return -1;
        }
        g_usleep(LOCK_AGAIN_USEC);
    }
    return fd;
}

gboolean
apmig_driver_ask(const ApmigFenceRequest *request, const ApmigFencePaths *paths, const ApmigProcess *process,
                 const ApmigDevice *device, ApmigFenceReply *reply)
{
    Question question = {.request = request, .process = process, .device = device, .fd = -1};
    int keep_fd = begin(paths, device, reply);

    if (keep_fd < 0)
        return FALSE;
    switch (apmig_limited_run(reply, APMIG_DRIVER_LIMIT_USEC, NULL, keep_fd, ask, &question)) {
    case APMIG_LIMITED_DONE:
        return reply->result != APMIG_FENCE_REFUSED && reply->result != APMIG_FENCE_FAILED;
    case APMIG_LIMITED_LATE:
        return apmig_fence_reply_set(reply, APMIG_FENCE_FAILED, ETIMEDOUT,
                                     "The device's driver has not answered within %d ms: it is busy, perhaps "
                                     "with the reset of another device.",
                                     APMIG_DRIVER_LIMIT_USEC / 1000);
    default:
        return apmig_fence_reply_set(
            reply, APMIG_FENCE_FAILED, 0,
            "The process that asks the device's driver has ended before it was done.");
    }
}
