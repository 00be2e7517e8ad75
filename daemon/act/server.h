/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Takes in requests from whoever may ask, has a worker carry them out, and says in the log what came of each. Main loop's
 * thread; needs apmig_libvirt_use_main_loop() before.
 */
#pragma once

#include <sys/types.h>

#include <glib.h>

/* Of one connection, at a time; more are refused. A daemon has one abort under way for each migration, and one stamp. */
#define APMIG_ACT_MAX_REQUESTS 1024
#define APMIG_ACT_MAX_STAMPS   32

typedef struct ApmigActServer ApmigActServer;

/* There is no connection any more, or again one. */
typedef void (*ApmigActIdleFunc)(gboolean is_idle, gpointer user_data);

/**
 * apmig_act_server_new:
 * @uri: of libvirt
 * @listener: (transfer full): a listening SOCK_SEQPACKET socket, non-blocking
 * @peer: who may ask besides root
 * @func: told whenever that changes; idle at first, without a word
 */
ApmigActServer *apmig_act_server_new(const char *uri, int listener, uid_t peer, ApmigActIdleFunc func,
                                     gpointer user_data);
/* Ends within a second. @server: (nullable) */
void apmig_act_server_free(ApmigActServer *server);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigActServer, apmig_act_server_free)
