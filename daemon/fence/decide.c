/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fence/decide.h"

static ApmigDecision
act(ApmigAct what, const char *why)
{
    return (ApmigDecision){what, APMIG_FENCE_DONE, why};
}

static ApmigDecision
leave(ApmigFenceResult result, const char *why)
{
    return (ApmigDecision){APMIG_ACT_NONE, result, why};
}

/* Returns: whether this cannot be a QEMU whose guest goes into @direction. */
static gboolean
contradicts(ApmigFenceDirection direction, ApmigVfioState state, ApmigSession session)
{
    if (direction == APMIG_FENCE_OUT)
        return state == APMIG_VFIO_RESUMING || session == APMIG_SESSION_LOADING;
    return state == APMIG_VFIO_PRE_COPY || state == APMIG_VFIO_PRE_COPY_P2P ||
           state == APMIG_VFIO_STOP_COPY || session == APMIG_SESSION_SAVING;
}

static ApmigDecision
fence_outgoing(ApmigVfioState state)
{
    switch (state) {
    case APMIG_VFIO_PRE_COPY:
        return act(APMIG_ACT_SET_RUNNING,
                   "The pre-copy session of the device was ended, which fails the migration.");
    case APMIG_VFIO_PRE_COPY_P2P:
    case APMIG_VFIO_STOP_COPY:
        return act(APMIG_ACT_SET_STOP, "The device's data session was ended, which fails the migration.");
    case APMIG_VFIO_RUNNING:
    case APMIG_VFIO_RUNNING_P2P:
        return leave(APMIG_FENCE_NOTHING_TO_DO,
                     "The device runs and has no data session that could be ended: only memory is being "
                     "transferred, or nothing.");
    case APMIG_VFIO_STOP:
        return leave(APMIG_FENCE_NOTHING_TO_DO,
                     "The device is stopped and has no data session that could be ended: the session has not "
                     "begun, or is over.");
    case APMIG_VFIO_ERROR:
        return leave(APMIG_FENCE_NOTHING_TO_DO,
                     "The device has failed by itself, and so will the migration.");
    default:
        return leave(APMIG_FENCE_REFUSED, "The device is in a state that this version does not know.");
    }
}

static ApmigDecision
fence_incoming(ApmigVfioState state, ApmigSession session)
{
    switch (state) {
    case APMIG_VFIO_RESUMING:
        if (session == APMIG_SESSION_LOADING)
            return act(APMIG_ACT_SET_STOP, "The device's loading session was ended: the migration fails when "
                                           "the guest is to switch over.");
        return leave(
            APMIG_FENCE_NOT_ABORTABLE,
            "QEMU holds no loading session that can be told for certain: the device has been loaded, and the "
            "migration may have completed.");
    case APMIG_VFIO_RUNNING:
    case APMIG_VFIO_RUNNING_P2P:
        return leave(APMIG_FENCE_NOTHING_TO_DO,
                     "The device runs: the load has not begun, or the guest runs here.");
    case APMIG_VFIO_STOP:
        return leave(APMIG_FENCE_NOTHING_TO_DO,
                     "The device is stopped: it is fenced already, or the guest is paused.");
    case APMIG_VFIO_ERROR:
        return leave(APMIG_FENCE_NOTHING_TO_DO, "The device has failed, so nothing can be loaded into it.");
    default:
        return leave(APMIG_FENCE_REFUSED, "The device is in a state that this version does not know.");
    }
}

/* A fence whose SET_STATE the driver failed may have left the device in ERROR. */
static ApmigDecision
kill_incoming(ApmigVfioState state, ApmigSession session, gboolean fenced)
{
    gboolean ours = fenced && (state == APMIG_VFIO_STOP || state == APMIG_VFIO_ERROR);

    if (state != APMIG_VFIO_RESUMING && !ours)
        return leave(
            APMIG_FENCE_NOT_ABORTABLE,
            "The device is neither being loaded nor fenced by apmigd, so this QEMU is not provably one "
            "whose load is unfinished.");
    if (session != APMIG_SESSION_LOADING)
        return leave(APMIG_FENCE_NOT_ABORTABLE, "QEMU holds no loading session that can be told for certain, "
                                                "so the migration may have completed.");
    return act(APMIG_ACT_KILL,
               "The incoming QEMU, whose load was unfinished, was killed: the guest goes on at the "
               "source.");
}

ApmigDecision
apmig_fence_decide(ApmigFenceVerb verb, ApmigFenceDirection direction, ApmigVfioState state,
                   ApmigSession session, gboolean fenced)
{
    if (verb == APMIG_FENCE_INSPECT)
        return leave(APMIG_FENCE_DONE, "Looked, and touched nothing.");
    if (contradicts(direction, state, session))
        return leave(APMIG_FENCE_REFUSED,
                     direction == APMIG_FENCE_OUT
                         ? "The device is being loaded: this guest is arriving, not leaving."
                         : "The device is being saved: this guest is leaving, not arriving.");
    if (verb == APMIG_FENCE_FENCE)
        return direction == APMIG_FENCE_OUT ? fence_outgoing(state) : fence_incoming(state, session);
    if (direction == APMIG_FENCE_OUT)
        return leave(APMIG_FENCE_REFUSED, "Only an incoming QEMU is ever killed, and this guest is leaving.");
    return kill_incoming(state, session, fenced);
}

gboolean
apmig_fence_may_act(ApmigFenceVerb verb, ApmigFenceDirection direction, ApmigVfioState state, gboolean fenced)
{
    for (int session = 0; session < APMIG_N_SESSIONS; session++)
        if (apmig_fence_decide(verb, direction, state, (ApmigSession)session, fenced).act != APMIG_ACT_NONE)
            return TRUE;
    return FALSE;
}
