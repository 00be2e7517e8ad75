/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What an evidence plug-in says of master keys: one JSON object,
 *
 *   {"version": 1, "keys": [{"queue": "04.0012", "class": "AES", "register": "CUR", "pattern": "0x...", "at": 1790000000}]}
 *
 * "register" is "CUR" where it is missing; "at", seconds since 1970, is the time of the question where it is missing.
 * docs/evidence-plugin.md is its description for those who write one.
 */
#pragma once

#include "keys/evidence.h"

#define APMIG_ATTESTATION_MAX_BYTES (256 * 1024)

/**
 * apmig_attestation_parse:
 * @text: what it printed, not necessarily terminated; may be hostile
 * @source: the plug-in's name
 * @now: realtime, usec; "at" is not after it
 * @error: #APMIG_ERROR_INVALID_OPTION; the sentence names the place: what is no strict JSON (see strict-json.h), an
 *   unknown key, a wrong type or value, a register that is named twice
 *
 * All or nothing. Of the queue's registers that are not named nothing is known. A NEW register with a pattern is full,
 * or committed where it is a WK's.
 *
 * Returns: (transfer full) (nullable) (element-type ApmigEvidenceRecord): one, of class attested, for each queue and
 * key class, as old as the oldest of its registers.
 */
GPtrArray *apmig_attestation_parse(const char *text, gsize length, const char *source, gint64 now,
                                   GError **error) G_GNUC_WARN_UNUSED_RESULT;
