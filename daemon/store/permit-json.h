/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What stands in the file of a permit: one JSON object with a version, read strictly. Pure: text in, permit out. Errors are
 * APMIG_ERROR_STATE_FAILURE; of the decoder a clause on what is wrong with "it", the file.
 */
#pragma once

#include "engine/permit.h"

/**
 * apmig_permit_encode:
 * @boot_id: of this boot
 * @error: when the decoder would not take what would be written
 *
 * Returns: (transfer full) (nullable): the text of its file; by whom it is used is in the file's name
 */
char *apmig_permit_encode(const ApmigPermit *permit, const char *boot_id,
                          GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_permit_decode:
 * @text: terminated
 * @id: what its id must be
 * @now: boot time, usec
 * @ret_stale: (out): TRUE, with %NULL and no error, for one of another boot
 */
ApmigPermit *apmig_permit_decode(const char *text, gsize length, const char *id, const char *boot_id,
                                 gint64 now, gboolean *ret_stale, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Whether @text is a UUID in lower case. */
gboolean apmig_permit_is_uuid(const char *text);
