/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fence/decide.h"

/* What each driver does when the state changes. vfio-ap's series did end its sessions in v2 (April 2026); v3, v4 and what was
 * seen later change the state and nothing else, and QEMU goes on with its descriptor. */
static const struct {
    ApmigDriver driver;
    gboolean ends_sessions;
} drivers[] = {
    {APMIG_DRIVER_UNKNOWN, FALSE}, /* not asked, or it has not answered */
    {APMIG_DRIVER_VFIO_AP, FALSE},
    {APMIG_DRIVER_OTHER, TRUE}, /* mtty, mlx5, pds, hisi_acc, qat: read() and write() give ENODEV */
};

gboolean
apmig_fence_driver_ends_sessions(ApmigDriver driver)
{
    for (guint i = 0; i < G_N_ELEMENTS(drivers); i++)
        if (drivers[i].driver == driver)
            return drivers[i].ends_sessions;
    return FALSE;
}

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
fence_in_vain(ApmigDriver driver)
{
    if (driver == APMIG_DRIVER_VFIO_AP)
        return leave(
            APMIG_FENCE_NOTHING_TO_DO,
            "The vfio_ap driver keeps its data session open when the device's state changes: nothing "
            "would end by it, so the state was left as it is.");
    return leave(APMIG_FENCE_FAILED, "What the device's driver does is not known, so it was left alone.");
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

static ApmigDecision
kill_incoming(ApmigVfioState state, ApmigSession session)
{
    if (session == APMIG_SESSION_LOADING)
        return act(APMIG_ACT_KILL,
                   "The incoming QEMU, whose load was unfinished, was killed: the guest goes on at the "
                   "source.");
    if (session == APMIG_SESSION_UNCLEAR || state == APMIG_VFIO_RESUMING)
        return leave(APMIG_FENCE_NOT_ABORTABLE,
                     "QEMU holds no loading session that can be told for certain, so the device has been "
                     "loaded, and the migration may have completed.");
    return leave(APMIG_FENCE_NOTHING_TO_DO,
                 "QEMU holds no loading session: the load has not begun, or the guest runs here.");
}

/* A saving session says that the device is being saved, for another host or into a file, and not which of them. One that
 * cannot be told for certain may be one. */
static ApmigDecision
tell_of_saving(ApmigSession session)
{
    if (session == APMIG_SESSION_SAVING || session == APMIG_SESSION_UNCLEAR)
        return leave(APMIG_FENCE_DONE, "The device is being saved, for another host or into a file.");
    return leave(APMIG_FENCE_NOTHING_TO_DO, "The device is not being saved.");
}

ApmigDecision
apmig_fence_decide(ApmigFenceVerb verb, ApmigFenceDirection direction, ApmigDriver driver,
                   ApmigVfioState state, ApmigSession session)
{
    if (verb == APMIG_FENCE_INSPECT)
        return leave(APMIG_FENCE_DONE, "Looked, and touched nothing.");
    if (verb == APMIG_FENCE_LOOK)
        return tell_of_saving(session);
    if (contradicts(direction, state, session))
        return leave(APMIG_FENCE_REFUSED,
                     direction == APMIG_FENCE_OUT
                         ? "The device is being loaded: this guest is arriving, not leaving."
                         : "The device is being saved: this guest is leaving, not arriving.");
    if (verb == APMIG_FENCE_KILL_INCOMING)
        return direction == APMIG_FENCE_IN
                   ? kill_incoming(state, session)
                   : leave(APMIG_FENCE_REFUSED,
                           "Only an incoming QEMU is ever killed, and this guest is leaving.");
    if (!apmig_fence_driver_ends_sessions(driver))
        return fence_in_vain(driver);
    return direction == APMIG_FENCE_OUT ? fence_outgoing(state) : fence_incoming(state, session);
}
