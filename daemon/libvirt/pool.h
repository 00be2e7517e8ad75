/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Threads that call libvirt, each on a connection of its own. Its calls block, some for 30 s behind a guest whose monitor
 * hangs (VIR_JOB_WAIT_TIME in src/hypervisor/domain_job.c). Such a pair is a lane. A pool has few of them as long as
 * calls return, and more once all are stuck; one that was idle for a while is closed.
 */
#pragma once

#include "libvirt/connection.h"

typedef struct ApmigLibvirtPool ApmigLibvirtPool;

typedef struct {
    const char *name; /* of its threads */
    ApmigLibvirtAccess access;
    guint n_lanes;     /* calls are spread over so many */
    guint max_lanes;   /* one more at a time, up to these, when all have been in their call for longer than */
    gint64 stuck_usec; /* this */
    gint64 linger_usec; /* a lane without calls is closed after it */
} ApmigLibvirtLanes;

/* Runs in a lane's thread. @connection: open, and borrowed; NULL: @error says why there is none (in the domain
 * APMIG_ERROR, code APMIG_ERROR_HYPERVISOR_UNAVAILABLE), and the call may run in the main loop's thread. */
typedef void (*ApmigLibvirtCall)(ApmigLibvirtConnection *connection, const GError *error, gpointer data);

/* The functions below are for the main loop's thread. */

/* @lanes: copied; its name must outlive the pool. Opens nothing yet. */
ApmigLibvirtPool *apmig_libvirt_pool_new(const char *uri, const ApmigLibvirtLanes *lanes);

/* Has @call run as soon as a lane is free. Returns at once. */
void apmig_libvirt_pool_run(ApmigLibvirtPool *pool, ApmigLibvirtCall call, gpointer data);

/* Has each lane forget a guest before its next call. */
void apmig_libvirt_pool_forget(ApmigLibvirtPool *pool, const char *uuid);

/* Calls that wait for a lane run now, without a connection. A lane closes its connection by itself, as soon as its call has
 * returned: what hangs in libvirt is left behind. */
void apmig_libvirt_pool_close(ApmigLibvirtPool *pool);

/**
 * apmig_libvirt_pool_free:
 * @pool: a closed one
 * @end: monotonic time, usec: until when to wait for its lanes; in the past: not at all
 */
void apmig_libvirt_pool_free(ApmigLibvirtPool *pool, gint64 end);
