/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The journal: structured entries with a MESSAGE_ID for what happened to locks and migrations, and plain ones
 * for the rest. Where no journal is listening (or standard error is no journal stream), text goes to standard error.
 */
#pragma once

#include "engine.h"

/* Fields: MESSAGE_ID, PRIORITY, LOCK_ID, MIGRATION_ID, GUEST, GUEST_UUID; empty ones are left out. Control
 * characters of user text are escaped. @entry: an action of type APMIG_ACTION_LOG. */
void apmig_log_entry(const ApmigAction *entry);

/* @priority: LOG_ERR .. LOG_DEBUG */
void apmig_log(int priority, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Returns: (transfer none): the MESSAGE_ID, 32 hexadecimal digits; each has an entry in systemd/apmigd.catalog. */
const char *apmig_log_message_id(ApmigLog log);
