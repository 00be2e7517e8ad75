/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bus side: org.apmigd1 on the system bus and on the private socket, objects for locks and migrations, authorization by polkit.
 */
#pragma once

#include "core/core.h"

typedef struct ApmigServer ApmigServer;

/* @error: (nullable): why the daemon must not run: another one has the name, or the bus policy does not give it */
typedef void (*ApmigOpenedFunc)(const GError *error, gpointer user_data);

/**
 * apmig_server_new:
 * @core: borrowed; must outlive the server. The server becomes its listener.
 */
ApmigServer *apmig_server_new(ApmigCore *core) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_server_open: once the store is loaded: whoever can speak to it speaks to a daemon that has read its locks
 * @runtime_dir: the private socket is made in it
 * @opened: called once, later: when the name is taken on the system bus (DBUS_SYSTEM_BUS_ADDRESS is honoured), without queueing
 *   or replacement; or when that is not to be waited for, since there is no bus
 *
 * Without a bus, and after its loss, it goes on trying, and all works over the private socket meanwhile.
 */
gboolean apmig_server_open(ApmigServer *server, const char *runtime_dir, ApmigOpenedFunc opened,
                           gpointer user_data, GError **error) G_GNUC_WARN_UNUSED_RESULT;

void apmig_server_free(ApmigServer *server);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigServer, apmig_server_free)
