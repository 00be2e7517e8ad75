/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * JSON as RFC 8259 has it. JsonParser alone accepts more: comments, "var x =", quotation by apostrophes, octal
 * and hexadecimal numbers, "- 1", several values in a row, unknown escapes, control characters in strings, a
 * key twice, an integer too large for 64 bits; and it recurses as deep as the text says.
 */
#pragma once

#include <json-glib/json-glib.h>

#define APMIG_JSON_MAX_DEPTH 16 /* objects and arrays within one another */

/**
 * apmig_strict_json_parse:
 * @text: UTF-8, not necessarily terminated
 * @length: its bytes
 * @max_length: the bytes allowed
 * @origin: what it is called in errors, such as a file name
 * @error: #APMIG_ERROR_INVALID_OPTION; the sentence begins with "ORIGIN:LINE:COLUMN:" (columns are bytes), with
 *   "ORIGIN:LINE:" of the end of the value for a key that stands twice, or with "ORIGIN:"
 *
 * What is refused beyond the RFC: a key twice in one object, the character U+0000, an integer beyond 18 digits,
 * more than %APMIG_JSON_MAX_DEPTH levels, and a value other than an object.
 *
 * Returns: (transfer full) (nullable): the object
 */
JsonObject *apmig_strict_json_parse(const char *text, gsize length, gsize max_length, const char *origin,
                                    GError **error) G_GNUC_WARN_UNUSED_RESULT;
