/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The journal: structured entries with a MESSAGE_ID for what happened to locks and migrations, and plain ones
 * for the rest. Where no journal is listening (or standard error is no journal stream), text goes to standard error.
 */
#pragma once

#include "engine/action.h"
#include "base/requester.h"

/* From now on a thread of its own writes to the journal or to standard error, which may not be read: see log-queue.h. Without
 * it who logs writes, and waits. What tells of locks, breaches and the view is left out last, refusals of requests first. */
void apmig_log_start(void);
/* Waits for so long at most until all is written. Whatever is logged after it is left out. */
void apmig_log_end(gint64 limit_usec);

/* Fields: MESSAGE_ID, PRIORITY, LOCK_ID, CHANGE_ID, MIGRATION_ID, GUEST, GUEST_UUID, RESULT; empty ones are left out,
 * LOCK_ID and CHANGE_ID are there once for each lock that the entry concerns. Control characters of user text are
 * escaped. */
void apmig_log_entry(const ApmigLogEntry *entry);

/**
 * apmig_log_request: the same for what somebody has asked for
 * @request: what: "take", "release", "force-release", "declare" or "unstamp"
 * @requester: (nullable): who; NULL: not known
 *
 * Further fields: REQUEST, CALLER_UID, CALLER_LOGIN_UID, CALLER_PID, CALLER_UNIT, what is not known is left out; and
 * CALLER_VERIFIED, "yes" or "no": see ApmigRequester.
 */
void apmig_log_request(const ApmigLogEntry *entry, const char *request, const ApmigRequester *requester);

/* @priority: LOG_ERR .. LOG_DEBUG */
void apmig_log(int priority, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Returns: (transfer none): "LOCK_HELD" and the like */
const char *apmig_log_name(ApmigLog log);
/* Returns: how many entries of that kind this process has logged; like all entries, for the main loop's thread. */
guint64 apmig_log_count(ApmigLog log);
/* Returns: (transfer none): the MESSAGE_ID, 32 hexadecimal digits; each has an entry in systemd/apmigd.catalog. */
const char *apmig_log_message_id(ApmigLog log);
