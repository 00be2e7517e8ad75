/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A connection to libvirt. libvirt's client is safe with one call at a time on a connection and no more: when its keepalive
 * ends a connection with several calls under way, its event loop uses memory that was freed (seen with 9.0). So a connection
 * belongs to one thread, which opens it, makes each call on it, and closes it.
 */
#pragma once

#include <glib.h>
#include <libvirt/libvirt.h>

/* Read-only is enough for all but virDomainAbortJob() and virDomainSetMetadata(), which apmigd-act calls, and needs no rule
 * of polkit's. */
typedef enum {
    APMIG_LIBVIRT_READ_ONLY,
    APMIG_LIBVIRT_FULL,
} ApmigLibvirtAccess;

/**
 * apmig_libvirt_open: connects, with keepalive
 * @error: #APMIG_ERROR_HYPERVISOR_UNAVAILABLE with libvirt's own sentence
 *
 * Blocks, without limit when libvirtd hangs, so not in the main loop's thread; the connection needs that loop running
 * (apmig_libvirt_use_main_loop()). A peer that dies later is noticed after 20 s (virConnectSetKeepAlive()).
 *
 * Returns: (transfer full) (nullable): to be closed with virConnectClose(), which may block too.
 */
virConnectPtr apmig_libvirt_open(const char *uri, ApmigLibvirtAccess access,
                                 GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Returns: (transfer full): libvirt's message for the error of this thread's last call, without control
 * characters, at most 400 bytes. */
char *apmig_libvirt_error_message(void);

/* One that is opened when it is needed, and remembers the guests that it was asked about. Of one thread. */
typedef struct ApmigLibvirtConnection ApmigLibvirtConnection;

/* Does not connect yet. */
ApmigLibvirtConnection *apmig_libvirt_connection_new(const char *uri, ApmigLibvirtAccess access);
/* Closes it, too, which may block. @connection: (nullable) */
void apmig_libvirt_connection_free(ApmigLibvirtConnection *connection);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigLibvirtConnection, apmig_libvirt_connection_free)

/* Opens it, or anew when it has died: see apmig_libvirt_open(). The other functions need it open. */
gboolean apmig_libvirt_connection_open(ApmigLibvirtConnection *connection,
                                       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Returns: (transfer none): for calls that concern no guest, or one by its name. */
virConnectPtr apmig_libvirt_connection_handle(const ApmigLibvirtConnection *connection);

/* Returns: (transfer full) (nullable): libvirt is asked only for what is not remembered, then its error is set. A guest that
 * is remembered may be gone: the next call says so. */
virDomainPtr apmig_libvirt_connection_find(ApmigLibvirtConnection *connection, const char *uuid);

/**
 * apmig_libvirt_connection_look_up: asks libvirt in any case
 * @guest: its UUID, or else its name; active or not
 * @error: #APMIG_ERROR_NO_SUCH_GUEST, or #APMIG_ERROR_HYPERVISOR_UNAVAILABLE with libvirt's sentence
 *
 * Returns: (transfer full) (nullable)
 */
virDomainPtr apmig_libvirt_connection_look_up(ApmigLibvirtConnection *connection, const char *guest,
                                              GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* It stopped, or libvirt knows it no more: it is looked up when it is asked about again. */
void apmig_libvirt_connection_forget(ApmigLibvirtConnection *connection, const char *uuid);
/* The same of all. */
void apmig_libvirt_connection_forget_all(ApmigLibvirtConnection *connection);
