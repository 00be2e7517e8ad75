/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A session with libvirt: one attempt to connect and, when it succeeds, the life of that connection, on which nothing but
 * events come, and the calls made on others. It is lost when libvirt ends that one connection. Everything it has to tell is
 * told in the main loop; once it has been given up it tells nothing more. So a call that hangs on a dead connection holds
 * up nothing but its thread: the next session has threads of its own, and begins only when libvirt answers again.
 *
 * Needs apmig_libvirt_use_main_loop() before and a loop running on the default main context. Main loop's thread only.
 */
#pragma once

#include <glib.h>

#include "engine/event.h"
#include "libvirt/pool.h"

typedef struct ApmigLibvirtSession ApmigLibvirtSession;

typedef struct {
    /* Connected, and every event registered that the driver knows: without those of stopping guests and of migrations that
     * send memory, what would be seen is no view. @has_hook: it is the QEMU driver. */
    void (*opened)(gboolean has_hook, gpointer owner);
    /* Also when the attempt failed; the last thing told. @reason: a clause. The owner then gives it up. */
    void (*lost)(const char *reason, gpointer owner);
    /* Metadata counts with apmigd's element alone. */
    void (*news)(const char *uuid, const char *name, ApmigNews what, gpointer owner);
} ApmigLibvirtSessionEvents;

/* Each kind has connections and threads of its own, so that none waits behind another. */
typedef enum {
    APMIG_LIBVIRT_VIEW, /* the lists and questions of which the view of the guests is made */
    APMIG_LIBVIRT_HEARTBEAT,
    APMIG_LIBVIRT_STAMP,   /* what stamps are to say */
    APMIG_LIBVIRT_REQUEST, /* what others want to know */
} ApmigLibvirtCallKind;

/* In the main loop, after the call. @owner NULL: the session was given up. Frees @data. */
typedef void (*ApmigLibvirtCallDone)(gpointer owner, gpointer data);

/* @events: must outlive the session. Does not connect yet. */
ApmigLibvirtSession *apmig_libvirt_session_new(const char *uri, const ApmigLibvirtSessionEvents *events,
                                               gpointer owner);

/* Connects in a thread of its own; ends in opened() or lost(). */
void apmig_libvirt_session_open(ApmigLibvirtSession *session);

/* Has @call run in a thread, or at once without a connection when there is none; then @done. */
void apmig_libvirt_session_call(ApmigLibvirtSession *session, ApmigLibvirtCallKind kind,
                                ApmigLibvirtCall call, ApmigLibvirtCallDone done, gpointer data);

/* Has @func called in the main loop as @done of a call is, before that of the call from whose thread it comes. */
void apmig_libvirt_session_post(ApmigLibvirtSession *session, ApmigLibvirtCallDone func, gpointer data);

/* A guest has stopped: no connection keeps it in mind. */
void apmig_libvirt_session_forget(ApmigLibvirtSession *session, const char *uuid);

/* Drops the owner's reference. @wait_usec: how long to wait for threads to close their connections; 0: not at all.
 * Those that hang are left behind, with what they hold. */
void apmig_libvirt_session_give_up(ApmigLibvirtSession *session, gint64 wait_usec);
