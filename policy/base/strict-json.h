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

/* --- members of its objects ---------------------------------------------------------------------- */

/* Where in the text an object stands. */
typedef struct {
    const char *origin; /* as in apmig_strict_json_parse() */
    const char *path;   /* of the object, from "$" on, as in "$.steps[0]" */
    JsonObject *object;
} ApmigJsonPlace;

/**
 * apmig_json_fail:
 * @place: the object
 * @key: its member that is wrong
 * @error: #APMIG_ERROR_INVALID_OPTION: "ORIGIN: PATH.KEY PROBLEM."
 * @format: the problem, a predicate such as "must be a string"
 *
 * Returns: FALSE.
 */
G_GNUC_PRINTF(4, 5)
gboolean apmig_json_fail(const ApmigJsonPlace *place, const char *key, GError **error, const char *format,
                         ...);

/**
 * apmig_json_check_keys:
 * @keys: all that the object may have, ended by %NULL
 * @problem: what is said of any other, to stand after "is", as in "unknown"
 * @error: as apmig_json_fail(), with the keys that are known
 */
gboolean apmig_json_check_keys(const ApmigJsonPlace *place, const char *const *keys, const char *problem,
                               GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_json_read_string:
 * @expected: which strings are meant, for the sentence
 * @ret_text: the object's
 * @error: as apmig_json_fail(): the member is missing, or no string
 */
gboolean apmig_json_read_string(const ApmigJsonPlace *place, const char *key, const char *expected,
                                const char **ret_text, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Returns: FALSE when the member is missing or no integer; @ret_number is then untouched. */
gboolean apmig_json_get_integer(const ApmigJsonPlace *place, const char *key,
                                gint64 *ret_number) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_json_enter:
 * @place: the object with the array
 * @key: the array's, which is there
 * @i: the element's number in it
 * @expected: what it must be, as in "an object"
 * @ret_path: (out) (transfer full): holds @ret_inner's path
 * @ret_inner: the element's place
 * @error: as apmig_json_fail(): it is no object
 */
gboolean apmig_json_enter(const ApmigJsonPlace *place, const char *key, guint i, const char *expected,
                          char **ret_path, ApmigJsonPlace *ret_inner,
                          GError **error) G_GNUC_WARN_UNUSED_RESULT;
