/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which act a request comes to, given what the device and its QEMU are found to be: a table without side effects.
 *
 *     fence, out           PRE_COPY -> RUNNING; PRE_COPY_P2P, STOP_COPY -> STOP
 *     fence, in            RESUMING, and a loading session is open -> STOP
 *     kill-incoming, in    a loading session is open -> SIGKILL, whatever the state
 *     inspect, look        nothing
 *
 * Nothing else is ever done to a device or a QEMU but to take a STOP back (driver.h): no device is reset.
 *
 * An open loading session means that the load is unfinished, so that the guest has never run here: QEMU opens it
 * at the start of the stream (vfio_load_setup() in hw/vfio/migration.c) and closes it at its end
 * (vfio_load_cleanup()), which libvirt awaits before it starts the guest. RESUMING alone does not: a guest that
 * arrives paused stays RESUMING until it is started. The other states do not deny it: vfio-ap's session outlives
 * its state.
 *
 * On a device without pre-copy (such as vfio-ap) the source is RUNNING while memory is transferred; a STOP set then
 * would fence nothing and, if the migration failed by itself, leave the guest running with a stopped device.
 */
#pragma once

#include "fence/protocol.h"

/* What sessions QEMU holds the descriptors of, as the access modes tell. */
typedef enum {
    APMIG_SESSION_NONE,
    APMIG_SESSION_SAVING,  /* read-only: STOP_COPY, PRE_COPY */
    APMIG_SESSION_LOADING, /* write-only: RESUMING */
    APMIG_SESSION_UNCLEAR, /* both, or a descriptor opened for both */
} ApmigSession;

#define APMIG_N_SESSIONS (APMIG_SESSION_UNCLEAR + 1)

/* Whether it ends the data session when the device leaves the session's state, as include/uapi/linux/vfio.h says. */
gboolean apmig_fence_driver_ends_sessions(ApmigDriver driver);

typedef enum {
    APMIG_ACT_NONE,
    APMIG_ACT_SET_STOP,
    APMIG_ACT_SET_RUNNING,
    APMIG_ACT_KILL,
} ApmigAct;

typedef struct {
    ApmigAct act;
    ApmigFenceResult result; /* once the act, if any, has succeeded */
    const char *why;         /* a sentence */
} ApmigDecision;

/* @state: unknown where the driver was not asked, or has not answered. */
ApmigDecision apmig_fence_decide(ApmigFenceVerb verb, ApmigFenceDirection direction, ApmigDriver driver,
                                 ApmigVfioState state, ApmigSession session);
