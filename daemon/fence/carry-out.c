/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fence/carry-out.h"

#include "fence/device.h"
#include "base/failpoint.h"
#include "fence/freeze.h"
#include "fence/vfio.h"

#include <unistd.h>

typedef struct {
    const ApmigFenceRequest *request;
    ApmigProcess process;
    ApmigLook look;
    int fd;
    ApmigFenceReply *reply;
} Case;

static void
close_duplicate(Case *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

static void
case_clear(Case *c)
{
    close_duplicate(c);
    apmig_look_clear(&c->look);
    apmig_process_clear(&c->process);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Case, case_clear)

/* --- acting -------------------------------------------------------------------------------------- */

/* After a failure the device may be in yet another state than before and wanted. */
static void
set_state(Case *c, ApmigVfioState state, const char *why)
{
    int error = apmig_vfio_set_state(c->fd, state);
    ApmigVfioState after = APMIG_VFIO_UNKNOWN;

    if (apmig_vfio_get_state(c->fd, &after) != 0)
        after = APMIG_VFIO_UNKNOWN;
    c->reply->after = after;
    if (error != 0)
        apmig_fence_reply_set(c->reply, APMIG_FENCE_FAILED, error,
                              "The driver refused to bring the device from %s to %s (%s); it is in %s.",
                              apmig_vfio_state_to_string(c->reply->before), apmig_vfio_state_to_string(state),
                              g_strerror(error), apmig_vfio_state_to_string(after));
    else if (after != state)
        apmig_fence_reply_set(c->reply, APMIG_FENCE_FAILED, 0,
                              "The driver accepted the state %s, but the device is in %s.",
                              apmig_vfio_state_to_string(state), apmig_vfio_state_to_string(after));
    else
        apmig_fence_reply_set(c->reply, APMIG_FENCE_DONE, 0, "%s", why);
}

/* Without our duplicate the kernel can close the device as soon as QEMU is gone. */
static void
kill_process(Case *c, const char *why)
{
    int error;

    close_duplicate(c);
    error = apmig_process_kill(&c->process);
    if (error != 0)
        apmig_fence_reply_set(c->reply, APMIG_FENCE_FAILED, error,
                              "The incoming QEMU could not be killed: %s.", g_strerror(error));
    else
        apmig_fence_reply_set(c->reply, APMIG_FENCE_DONE, 0, "%s", why);
}

static void
report(Case *c, const ApmigDecision *decision)
{
    if (decision->result == APMIG_FENCE_NOT_ABORTABLE && c->look.unknown)
        apmig_fence_reply_set(c->reply, decision->result, 0,
                              "%s QEMU also holds a descriptor \"%s\", which apmigd does not know.",
                              decision->why, c->look.unknown);
    else
        apmig_fence_reply_set(c->reply, decision->result, 0, "%s", decision->why);
}

static void
act(Case *c, const ApmigDecision *decision)
{
    switch (decision->act) {
    case APMIG_ACT_SET_STOP:
        set_state(c, APMIG_VFIO_STOP, decision->why);
        return;
    case APMIG_ACT_SET_RUNNING:
        set_state(c, APMIG_VFIO_RUNNING, decision->why);
        return;
    case APMIG_ACT_KILL:
        kill_process(c, decision->why);
        return;
    default:
        report(c, decision);
    }
}

/* --- the order ----------------------------------------------------------------------------------- */

static gboolean
look(Case *c)
{
    if (!apmig_device_look(&c->process, c->fd, &c->look, c->reply))
        return FALSE;
    c->reply->before = c->reply->after = c->look.state;
    c->reply->held_data = c->look.session != APMIG_SESSION_NONE;
    return TRUE;
}

static ApmigDecision
decide(const Case *c)
{
    return apmig_fence_decide(c->request->verb, c->request->direction, c->look.state, c->look.session,
                              c->request->fenced);
}

/* A QEMU of an incoming guest was started to be one, whatever the device looks like. */
static gboolean
check_incoming(const Case *c)
{
    return c->request->verb == APMIG_FENCE_INSPECT || c->request->direction == APMIG_FENCE_OUT ||
           c->process.incoming ||
           apmig_fence_reply_set(
               c->reply, APMIG_FENCE_REFUSED, 0,
               "Process %d was not started with \"-incoming\": its guest has not arrived from "
               "anywhere.",
               c->process.pid);
}

static void
act_frozen(Case *c)
{
    ApmigFreeze *freeze =
        apmig_freeze_begin(c->process.proc, c->process.proc_root, APMIG_FREEZE_LIMIT_USEC, c->reply);
    ApmigDecision decision;

    if (!freeze)
        return;
    apmig_failpoint("qemu-frozen");
    if (look(c)) {
        decision = decide(c);
        act(c, &decision);
    }
    c->reply->frozen_usec = apmig_freeze_end(freeze);
}

void
apmig_fence_carry_out(const ApmigFenceRequest *request, const ApmigFencePaths *paths, ApmigFenceReply *reply)
{
    g_auto(Case) c = {.request = request, .process = APMIG_PROCESS_INIT, .fd = -1, .reply = reply};
    ApmigDecision decision;

    if (!apmig_process_prove(request, paths, &c.process, reply) || !check_incoming(&c) ||
        !apmig_device_open(&c.process, paths, request->device, &c.fd, reply) || !look(&c))
        return;
    if (apmig_fence_may_act(request->verb, request->direction, c.look.state, request->fenced)) {
        act_frozen(&c);
        return;
    }
    decision = decide(&c);
    report(&c, &decision);
}
