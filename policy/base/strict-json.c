/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/strict-json.h"

#include "base/error.h"

#include <stdarg.h>
#include <string.h>

#define MAX_DIGITS 18 /* of an integer: every such number fits into 64 bits */

/* --- the words of the text: what JsonParser is too lenient about ---------------------------------- */

typedef struct {
    const char *text;
    const char *end;
    const char *at;
    const char *origin;
    guint depth;
    gboolean complete; /* the outermost object is closed */
} Scanner;

/* Returns: FALSE, with the scanner's place in the sentence. */
static gboolean G_GNUC_PRINTF(3, 4) fail(const Scanner *scanner, GError **error, const char *format, ...)
{
    va_list args;
    g_autofree char *problem = NULL;
    const char *line = scanner->text;
    guint line_number = 1;

    for (const char *p = scanner->text; p < scanner->at; p++) {
        if (*p == '\n') {
            line = p + 1;
            line_number++;
        }
    }
    va_start(args, format);
    problem = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION, "%s:%u:%zu: %s.", scanner->origin,
                line_number, (gsize)(scanner->at - line) + 1, problem);
    return FALSE;
}

static gboolean
fail_unexpected(const Scanner *scanner, GError **error)
{
    g_autofree char *rest = g_strndup(scanner->at, (gsize)MIN(scanner->end - scanner->at, 12));
    g_autofree char *excerpt = apmig_error_excerpt(rest);

    return fail(scanner, error, "this is no JSON, near \"%s\"", excerpt);
}

static gsize
count_digits(const Scanner *scanner)
{
    const char *p = scanner->at;

    while (p < scanner->end && g_ascii_isdigit(*p))
        p++;
    return (gsize)(p - scanner->at);
}

static gboolean
accept(Scanner *scanner, const char *characters)
{
    if (scanner->at == scanner->end || *scanner->at == '\0' || strchr(characters, *scanner->at) == NULL)
        return FALSE;
    scanner->at++;
    return TRUE;
}

static gboolean
skip_digits(Scanner *scanner, GError **error)
{
    gsize digits = count_digits(scanner);

    scanner->at += digits;
    return digits > 0 || fail(scanner, error, "a digit is missing here");
}

static gboolean
skip_number(Scanner *scanner, GError **error)
{
    gsize digits;

    accept(scanner, "-");
    digits = count_digits(scanner);
    if (digits > MAX_DIGITS)
        return fail(scanner, error, "a number has at most %u digits", MAX_DIGITS);
    if (digits > 1 && *scanner->at == '0')
        return fail(scanner, error, "a number does not begin with 0, write it without");
    if (!skip_digits(scanner, error))
        return FALSE;
    if (accept(scanner, ".") && !skip_digits(scanner, error))
        return FALSE;
    if (accept(scanner, "eE")) {
        accept(scanner, "+-");
        if (!skip_digits(scanner, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
skip_escape(Scanner *scanner, GError **error)
{
    const char *backslash = scanner->at++;
    gunichar code = 0;

    if (accept(scanner, "\"\\/bfnrt"))
        return TRUE;
    if (accept(scanner, "u")) {
        for (guint i = 0; i < 4; i++) {
            if (scanner->at == scanner->end || !g_ascii_isxdigit(*scanner->at))
                return fail(scanner, error, "\\u needs four hexadecimal digits");
            code = code * 16 + (gunichar)g_ascii_xdigit_value(*scanner->at++);
        }
        /* Halves of surrogate pairs: json-glib makes no UTF-8 of those that stand alone. */
        if (code != 0 && (code < 0xd800 || code > 0xdfff))
            return TRUE;
    }
    scanner->at = backslash;
    return fail(scanner, error,
                "this escape is none of JSON, is \\u0000, or a surrogate (write the character itself)");
}

static gboolean
skip_string(Scanner *scanner, GError **error)
{
    const char *start = scanner->at++;

    while (scanner->at < scanner->end) {
        if (*scanner->at == '\\') {
            if (!skip_escape(scanner, error))
                return FALSE;
        } else if ((guchar)*scanner->at < 0x20) {
            return fail(scanner, error, "a control character in a string, write it as an escape");
        } else if (*scanner->at++ == '"') {
            return TRUE;
        }
    }
    scanner->at = start;
    return fail(scanner, error, "this string has no end");
}

static gboolean
skip_bracket(Scanner *scanner, GError **error)
{
    if (*scanner->at == '{' || *scanner->at == '[') {
        if (scanner->depth == APMIG_JSON_MAX_DEPTH)
            return fail(scanner, error, "more than %u levels of objects and arrays", APMIG_JSON_MAX_DEPTH);
        scanner->depth++;
    } else {
        if (scanner->depth == 0)
            return fail(scanner, error, "this bracket closes nothing");
        scanner->depth--;
        scanner->complete = scanner->depth == 0;
    }
    scanner->at++;
    return TRUE;
}

static gboolean
skip_literal(Scanner *scanner, GError **error)
{
    static const char *const literals[] = {"true", "false", "null"};

    for (guint i = 0; i < G_N_ELEMENTS(literals); i++) {
        gsize length = strlen(literals[i]);

        if ((gsize)(scanner->end - scanner->at) >= length && memcmp(scanner->at, literals[i], length) == 0) {
            scanner->at += length;
            return TRUE;
        }
    }
    return fail_unexpected(scanner, error);
}

/* Nothing stands before the object: JsonParser leaks a value that another one follows. */
static gboolean
check_outermost(Scanner *scanner, const char *word, GError **error)
{
    if (*word == '{')
        return TRUE;
    scanner->at = word;
    return fail(scanner, error, "the text is to be one object, in {}");
}

static gboolean
check_words(Scanner *scanner, GError **error)
{
    while (scanner->at < scanner->end) {
        const char *word = scanner->at;
        gboolean outermost = scanner->depth == 0;
        char c = *word;
        gboolean ok = TRUE;

        if (accept(scanner, " \t\r\n"))
            continue;
        if (scanner->complete)
            return fail(scanner, error, "there is text after the end of the object");
        if (c == '"')
            ok = skip_string(scanner, error);
        else if (c == '-' || g_ascii_isdigit(c))
            ok = skip_number(scanner, error);
        else if (c == '{' || c == '}' || c == '[' || c == ']')
            ok = skip_bracket(scanner, error);
        else if (!accept(scanner, ":,"))
            ok = skip_literal(scanner, error);
        if (!ok || (outermost && !check_outermost(scanner, word, error)))
            return FALSE;
    }
    return scanner->complete || fail(scanner, error, "the text ends before its object does");
}

/* --- keys that stand twice ------------------------------------------------------------------------ */

typedef struct {
    GHashTable *counts; /* JsonObject, with a reference so that no other gets its address, to members seen */
    char *key;          /* the first one that stands twice */
    guint line;
} Duplicates;

/* The member is set already: a key that was there before has not made the object larger. */
static void
on_object_member(JsonParser *parser, JsonObject *object, const char *key, gpointer user_data)
{
    Duplicates *duplicates = user_data;
    guint count = GPOINTER_TO_UINT(g_hash_table_lookup(duplicates->counts, object)) + 1;

    g_hash_table_insert(duplicates->counts, json_object_ref(object), GUINT_TO_POINTER(count));
    if (duplicates->key == NULL && count > json_object_get_size(object)) {
        duplicates->key = g_strdup(key);
        duplicates->line = json_parser_get_current_line(parser);
    }
}

static gboolean
refuse_duplicates(const Duplicates *duplicates, const char *origin, GError **error)
{
    g_autofree char *key = NULL;

    if (duplicates->key == NULL)
        return TRUE;
    key = apmig_error_excerpt(duplicates->key);
    g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION,
                "%s:%u: the key \"%s\" stands twice in one object, keep one.", origin, duplicates->line, key);
    return FALSE;
}

/* --- the text ------------------------------------------------------------------------------------- */

/* JsonParser says "<data>:LINE:COLUMN: Parse error: ...", with parts of the text in it. */
static void
set_parse_error(GError **error, const GError *cause, const char *origin)
{
    const char *message = cause->message;
    g_autofree char *escaped = NULL;

    if (g_str_has_prefix(message, "<data>:"))
        message += strlen("<data>:");
    escaped = g_strescape(message, "\"");
    g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION, "%s:%.200s.", origin, escaped);
}

static JsonObject *
build(const char *text, gsize length, const char *origin, GError **error)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    g_autoptr(GHashTable) counts = g_hash_table_new_full(NULL, NULL, (GDestroyNotify)json_object_unref, NULL);
    g_autoptr(GError) cause = NULL;
    Duplicates duplicates = {counts, NULL, 0};
    g_autofree char *key = NULL;
    gboolean parsed;

    g_signal_connect(parser, "object-member", G_CALLBACK(on_object_member), &duplicates);
    parsed = json_parser_load_from_data(parser, text, (gssize)length, &cause);
    key = duplicates.key;
    if (!parsed) {
        set_parse_error(error, cause, origin);
        return NULL;
    }
    if (!refuse_duplicates(&duplicates, origin, error))
        return NULL;
    return json_object_ref(json_node_get_object(json_parser_get_root(parser)));
}

JsonObject *
apmig_strict_json_parse(const char *text, gsize length, gsize max_length, const char *origin, GError **error)
{
    Scanner scanner = {text, text + length, text, origin, 0, FALSE};

    if (length > max_length) {
        g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION,
                    "%s: it has %zu bytes, at most %zu are allowed.", origin, length, max_length);
        return NULL;
    }
    if (!g_utf8_validate(text, (gssize)length, &scanner.at)) {
        fail(&scanner, error, "this byte is no UTF-8, or is 0");
        return NULL;
    }
    scanner.at = text;
    if (!check_words(&scanner, error))
        return NULL;
    return build(text, length, origin, error);
}

/* --- members of its objects ---------------------------------------------------------------------- */

gboolean
apmig_json_fail(const ApmigJsonPlace *place, const char *key, GError **error, const char *format, ...)
{
    g_autofree char *problem = NULL;
    va_list args;

    va_start(args, format);
    problem = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION, "%s: %s.%s %s.", place->origin, place->path,
                key, problem);
    return FALSE;
}

gboolean
apmig_json_check_keys(const ApmigJsonPlace *place, const char *const *keys, const char *problem,
                      GError **error)
{
    g_autoptr(GList) members = json_object_get_members(place->object);

    for (GList *member = members; member != NULL; member = member->next) {
        if (!g_strv_contains(keys, member->data)) {
            g_autofree char *excerpt = apmig_error_excerpt(member->data);
            g_autofree char *known = g_strjoinv(", ", (char **)keys);

            return apmig_json_fail(place, excerpt, error, "is %s, the keys here are: %s", problem, known);
        }
    }
    return TRUE;
}

gboolean
apmig_json_read_string(const ApmigJsonPlace *place, const char *key, const char *expected,
                       const char **ret_text, GError **error)
{
    JsonNode *node = json_object_get_member(place->object, key);

    if (node == NULL || json_node_get_value_type(node) != G_TYPE_STRING)
        return apmig_json_fail(place, key, error, "must be a string, %s", expected);
    *ret_text = json_node_get_string(node);
    return TRUE;
}

gboolean
apmig_json_get_integer(const ApmigJsonPlace *place, const char *key, gint64 *ret_number)
{
    JsonNode *node = json_object_get_member(place->object, key);

    if (node == NULL || json_node_get_value_type(node) != G_TYPE_INT64)
        return FALSE;
    *ret_number = json_node_get_int(node);
    return TRUE;
}

gboolean
apmig_json_enter(const ApmigJsonPlace *place, const char *key, guint i, const char *expected, char **ret_path,
                 ApmigJsonPlace *ret_inner, GError **error)
{
    JsonNode *element = json_array_get_element(json_object_get_array_member(place->object, key), i);
    g_autofree char *name = g_strdup_printf("%s[%u]", key, i);

    if (!JSON_NODE_HOLDS_OBJECT(element))
        return apmig_json_fail(place, name, error, "must be %s", expected);
    *ret_path = g_strdup_printf("%s.%s", place->path, name);
    *ret_inner = (ApmigJsonPlace){place->origin, *ret_path, json_node_get_object(element)};
    return TRUE;
}
