/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Worker threads and the connections on which they call libvirt. Its calls block, some for 30 s behind a guest
 * whose monitor hangs (VIR_JOB_WAIT_TIME in src/hypervisor/domain_job.c), and it serves at most five calls of
 * one connection at a time (max_client_requests in libvirtd.conf and virtqemud.conf). So a pool spreads its
 * calls over several connections, each opened when it is first needed and anew when it is found dead, with at
 * most four calls under way on each: a few hanging guests do not stall the others.
 */
#pragma once

#include <glib.h>
#include <libvirt/libvirt.h>

typedef struct ApmigLibvirtPool ApmigLibvirtPool;

/* Runs in a worker thread. @connection: borrowed; NULL: @error says why there is none (in the domain
 * APMIG_ERROR, code APMIG_ERROR_HYPERVISOR_UNAVAILABLE). */
typedef void (*ApmigLibvirtCall)(virConnectPtr connection, const GError *error, gpointer data);

/**
 * apmig_libvirt_open: connects, with keepalive
 * @error: #APMIG_ERROR_HYPERVISOR_UNAVAILABLE with libvirt's own sentence
 *
 * Blocks, so not in the main loop's thread; the connection needs that loop running (gvir_event_register()).
 * A dead peer is noticed after 20 s (virConnectSetKeepAlive()).
 *
 * Returns: (transfer full) (nullable): to be closed with virConnectClose(), which may block too.
 */
virConnectPtr apmig_libvirt_open(const char *uri, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Returns: (transfer full): libvirt's message for the error of this thread's last call, without control
 * characters, at most 400 bytes. */
char *apmig_libvirt_error_message(void);

/* @first: the connection to begin with; another reference to it is taken. Any thread. */
ApmigLibvirtPool *apmig_libvirt_pool_new(const char *uri, virConnectPtr first);

/* Has @call run as soon as a worker is free. Returns at once. */
void apmig_libvirt_pool_run(ApmigLibvirtPool *pool, ApmigLibvirtCall call, gpointer data);

/**
 * apmig_libvirt_pool_close:
 * @wait_usec: how long to wait for calls under way to return and for the connections to be closed; 0: not at all
 *
 * Frees the pool. Calls that wait for a worker run without a connection. What still hangs in libvirt is left
 * behind: the last worker to return closes the connections, or the end of the process does.
 */
void apmig_libvirt_pool_close(ApmigLibvirtPool *pool, gint64 wait_usec);
