/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Evidence plug-ins: executables in one folder that know master keys which the host cannot see, because they can ask
 * somebody who does. Each is run without arguments, in a session of its own, with a deadline and a bound on what it
 * prints; then its whole process group is killed, whatever it has left behind.
 *
 * What they say is believed as attested, so they must be root's or the daemon's own user's, and nobody else may write
 * to them or to their folder. One that is not so, or fails, is told of in the log, once for each cause.
 *
 * Main loop's thread only; nothing blocks but a look at the folder.
 */
#pragma once

#include "keys/attestation.h"

#define APMIG_PLUGINS_MAX        16
#define APMIG_PLUGINS_LIMIT_USEC (10 * G_USEC_PER_SEC)

typedef struct ApmigPlugins ApmigPlugins;

typedef struct {
    /* @records: (element-type ApmigEvidenceRecord): all that the plug-in @name knows; borrowed */
    void (*answered)(const char *name, const GPtrArray *records, gpointer user_data);
    /* None runs any more. */
    void (*done)(gpointer user_data);
} ApmigPluginsCallbacks;

/* @folder: need not exist. @limit_usec: of each run. */
ApmigPlugins *apmig_plugins_new(const char *folder, gint64 limit_usec, const ApmigPluginsCallbacks *callbacks,
                                gpointer user_data);
/* @plugins: (nullable): ends those that run; no callback after it */
void apmig_plugins_free(ApmigPlugins *plugins);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigPlugins, apmig_plugins_free)

/* Runs all of them, unless they are running. No callback comes from within the call. Returns: whether any runs. */
gboolean apmig_plugins_ask(ApmigPlugins *plugins);

/* Returns: whether there was a plug-in of that name that could be trusted, when they were asked last. */
gboolean apmig_plugins_has(const ApmigPlugins *plugins, const char *name);
