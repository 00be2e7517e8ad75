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
    gboolean
        verified; /* pid, login_uid and unit are those of the process that connected, whatever became of its number */
} ApmigRequester;

/**
 * apmig_requester_look_up: what /proc says of the process @pid
 * @requester: all but its uid is set
 * @pid: as the bus has it; 0: it does not know
 * @pidfd: (transfer none): the kernel's of who connected (socket(7), SO_PEERPIDFD; Linux 6.5); -1: not to be had. Then the
 *   number may have become another process's of that user, and nothing is verified.
 *
 * If the process is gone, hidden (hidepid), not of the user @requester->uid (its number is another's now), or not the one
 * that @pidfd names, before or after it was looked at, nothing but the pid is known. In a container without audit there is
 * no login uid. Reads /proc; any thread.
 */
void apmig_requester_look_up(ApmigRequester *requester, guint32 pid, int pidfd);

/* Frees what @requester holds, not itself. */
void apmig_requester_clear(ApmigRequester *requester);
