/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The file of what was said of master keys, declared or attested: one JSON object with a version, read strictly. Pure:
 * text in, records out. Errors are APMIG_ERROR_STATE_FAILURE; of the decoder a clause on what is wrong with "it".
 */
#pragma once

#include "keys/evidence.h"

/* Without ".json". */
#define APMIG_DECLARED_KEYS_STEM "declared-keys"

/**
 * apmig_declared_keys_encode:
 * @records: (element-type ApmigEvidenceRecord): words, see apmig_evidence_class_is_word()
 * @error: when the decoder would not take what would be written, as when there are too many
 *
 * Returns: (transfer full) (nullable): the text of the file
 */
char *apmig_declared_keys_encode(const GPtrArray *records, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* @text: terminated. Returns: (transfer full) (nullable) (element-type ApmigEvidenceRecord): all or nothing. */
GPtrArray *apmig_declared_keys_decode(const char *text, gsize length,
                                      GError **error) G_GNUC_WARN_UNUSED_RESULT;
