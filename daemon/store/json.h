/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What stands in the files of the store: one JSON object each, with a version, read strictly. Pure: text in,
 * record out. Errors are APMIG_ERROR_STATE_FAILURE; of a decoder a clause on what is wrong with "it", the file.
 */
#pragma once

#include "engine/action.h"

/* Of a file but a lock's: what it may have at most, nearly all of it scope. */
#define APMIG_STORE_MAX_PLAIN_BYTES (APMIG_SCOPE_MAX_STORED_LENGTH + 16 * 1024)
/* Of any file: a lock has the guests that it remembers besides, in two lists, each with a name in which every byte is
 * written as two. */
#define APMIG_STORE_MAX_BYTES (APMIG_STORE_MAX_PLAIN_BYTES + 2 * APMIG_LOCK_MAX_GUESTS * 640)

/**
 * apmig_lock_record_encode:
 * @error: when the decoder would not take what would be written: nothing is kept that cannot be read back
 *
 * Returns: (transfer full) (nullable): the text of its file
 */
char *apmig_lock_record_encode(const ApmigLockRecord *record, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_lock_record_decode:
 * @text: terminated
 * @id: what its id must be
 */
ApmigLockRecord *apmig_lock_record_decode(const char *text, gsize length, const char *id,
                                          GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* @boot_id: of this boot, 32 hexadecimal digits; @now: boot time (usec), not before which it was admitted. */
char *apmig_admission_encode(const ApmigAdmission *admission, const char *boot_id, gint64 now,
                             GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_admission_decode:
 * @uuid: what its UUID must be
 * @ret_stale: (out): TRUE, with %NULL and no error, for one of another boot
 */
ApmigAdmission *apmig_admission_decode(const char *text, gsize length, const char *uuid, const char *boot_id,
                                       gint64 now, gboolean *ret_stale,
                                       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* @boot_id: as of apmig_admission_encode() */
char *apmig_permit_encode(const ApmigPermit *permit, const char *boot_id,
                          GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_permit_decode:
 * @id: what its id must be
 * @now: boot time, usec
 * @ret_stale: (out): TRUE, with %NULL and no error, for one of another boot
 */
ApmigPermit *apmig_permit_decode(const char *text, gsize length, const char *id, const char *boot_id,
                                 gint64 now, gboolean *ret_stale, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Whether @text is a UUID as apmigd writes it: lower case, 36 characters. */
gboolean apmig_uuid_is_canonical(const char *text);
