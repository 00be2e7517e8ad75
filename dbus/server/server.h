/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bus side: org.apmigd1 on the system bus, objects for locks and migrations, authorization by polkit.
 */
#pragma once

#include "core/core.h"

typedef struct ApmigServer ApmigServer;

/**
 * apmig_server_new:
 * @core: borrowed; must outlive the server. The server becomes its listener.
 *
 * Connects to the system bus (DBUS_SYSTEM_BUS_ADDRESS is honoured) and registers the objects, without the name.
 */
ApmigServer *apmig_server_new(ApmigCore *core, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Takes the name, without queueing or replacement; another owner is an error. Call it once the store is loaded. */
gboolean apmig_server_take_name(ApmigServer *server, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Called when the connection to the bus is lost: the daemon ends and is restarted by systemd. */
void apmig_server_set_lost_func(ApmigServer *server, GSourceFunc func, gpointer user_data);

void apmig_server_free(ApmigServer *server);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigServer, apmig_server_free)
