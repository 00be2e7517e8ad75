/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the scripted hypervisor's two halves share: the fake itself, and the commands over its socket. */
#pragma once

#include <gio/gio.h>
#include <json-glib/json-glib.h>

#include "scripted-hypervisor.h"

typedef struct {
    ApmigHypervisor vtable;
    char *uri;
    const char *path; /* in @uri */
    ApmigHypervisorCallbacks callbacks;
    gpointer user_data;

    JsonObject *guests;   /* by UUID: the members of "guest" */
    JsonObject *defaults; /* the members of "defaults" */
    JsonArray *calls;     /* seen */
    gint64 started_at;    /* monotonic, usec */
    gboolean connected;
    gboolean has_hook;
    gboolean stays_lost; /* "lose" came before the start was over */

    GList *pending; /* of Pending: asked, not answered; and effects of steps to come */
    GSocketService *service;
    GCancellable *cancellable;
    guint start_source;
} ScriptedHypervisor;

/* scripted-hypervisor.c: to the core. */
void apmig_scripted_tell(const ScriptedHypervisor *self, const ApmigEvent *event);
/* Returns: how many were given. @kind: "list", "query", "step", "look-up", or "effect" of
 * a step; @kind, @uuid: (nullable): any. */
guint apmig_scripted_release(ScriptedHypervisor *self, const char *kind, const char *uuid);
guint apmig_scripted_count_withheld(const ScriptedHypervisor *self);
void apmig_scripted_connect(ScriptedHypervisor *self);
void apmig_scripted_lose(ScriptedHypervisor *self, const char *reason);

/* scripted-describe.c: what a libvirt guest of that kind would be described as. Returns: (transfer full) (nullable) */
char *apmig_scripted_describe(const ApmigGuestFacts *facts, const char *uuid, const char *name,
                              const ApmigStampOrder *order, GError **error);

/* scripted-commands.c */
void apmig_scripted_run_init(ScriptedHypervisor *self);
void apmig_scripted_listen(ScriptedHypervisor *self);
void apmig_scripted_stop_listening(ScriptedHypervisor *self);
