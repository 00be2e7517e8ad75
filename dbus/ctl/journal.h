/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What apmigd has told the journal (daemon/base/log.h has its fields).
 */
#pragma once

#include <json-glib/json-glib.h>

/**
 * ctl_journal_read:
 * @directory: (nullable): with journal files; NULL: the journal of this host
 * @field: "CHANGE_ID" or "LOCK_ID"
 * @value: what it is to be
 * @since: realtime, usec: no entry is older
 * @error: #CTL_EXIT_FAILURE
 *
 * What others wrote in apmigd's name does not count: journald itself says of each entry whose it is. The members of an
 * entry: Time i (realtime, usec), Event s ("LOCK_HELD"; "" for one of a newer apmigd), Message s, Priority i, and what
 * applies of Locks as, Changes as, Migration s, Guest s, Uuid s, Result s, Request s, CallerUid i, CallerLoginUid i,
 * CallerPid i, CallerUnit s.
 *
 * Returns: (transfer full) (nullable) (element-type JsonObject): oldest first; may be empty, also where the journal may
 * not be read
 */
GPtrArray *ctl_journal_read(const char *directory, const char *field, const char *value, gint64 since,
                            GError **error) G_GNUC_WARN_UNUSED_RESULT;
