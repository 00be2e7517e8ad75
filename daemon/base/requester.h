/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who asks for something, for the journal: the process behind a connection to the bus.
 */
#pragma once

#include <glib.h>

typedef struct {
    gint64 uid;       /* of the connection, as the bus has it; -1: not known, as in the next two */
    gint64 login_uid; /* who logged in, whatever they have become since: the kernel's audit login uid */
    gint64 pid;
    char *unit; /* (nullable): systemd's, as "session-3.scope" */
} ApmigRequester;

/**
 * apmig_requester_look_up: what /proc says of the process @pid
 * @requester: its login_uid, pid and unit are set
 * @pid: as the bus has it; 0: it does not know
 *
 * If the process is gone, hidden (hidepid), or not of the user @requester->uid (its number is another's now), nothing but
 * the pid is known. In a container without audit there is no login uid. Reads /proc; any thread.
 */
void apmig_requester_look_up(ApmigRequester *requester, guint32 pid);

/* Frees what @requester holds, not itself. */
void apmig_requester_clear(ApmigRequester *requester);
