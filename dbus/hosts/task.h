/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What all hosts are asked. It does not change while a thread may look at it, and lives as long as the last one.
 */
#pragma once

#include "hosts/crew.h"
#include "ap/scope.h"

typedef struct {
    gint64 silence_usec;  /* see hosts_connect() */
    char *change_id;      /* (nullable): of which lock */
    ApmigScope *scope;    /* (nullable): of which AP queues: any */
    char *reason;         /* (nullable) */
    char *on_busy;        /* (nullable) */
    gint64 timeout_usec;  /* until the lock is to be held */
    gint64 expected_usec; /* 0: not announced */
    gint64 keys_after;    /* 0, or since when cards must have been asked: monotonic */
    gboolean no_wait, allow_missing_hook, force;
    char *guest; /* (nullable) */
} HostsTask;

/* Returns: (transfer full): to be given to hosts_crew_run() with hosts_task_clear(). */
HostsTask *hosts_task_new(gint64 silence_usec);
void hosts_task_clear(gpointer task);
void hosts_task_unref(HostsTask *task);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostsTask, hosts_task_unref)

/* hosts_crew_run() with it. */
void hosts_task_run(HostsCrew *crew, HostsWork work, HostsTask *task);

/* --- works: each connects first where that is to be done; a host that cannot do it has failed -------- */

/* Reads what there is: its locks, migrations and manager. */
void hosts_look(HostsHost *host, gconstpointer task);

/* Finds its lock of this change id and scope, has the hypervisor read anew, and reads what has come of it. Without such a
 * lock there is none, and no verdict. */
void hosts_ask(HostsHost *host, gconstpointer task);

/* The same, and asks the cards for the keys in the scope of the task. */
void hosts_ask_with_keys(HostsHost *host, gconstpointer task);

/* Asks the cards for the keys in that scope. */
void hosts_ask_keys(HostsHost *host, gconstpointer task);

/* --- what was read -------------------------------------------------------------------------------- */

/**
 * hosts_find_lock:
 * @host: that has looked
 * @uid: of which user; -1: of any
 *
 * Returns: (transfer none) (nullable): its lock of this change id and scope
 */
JsonObject *hosts_find_lock(const HostsHost *host, const HostsTask *task, gint64 uid);
