/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "server/private.h"

#include <errno.h>
#include <string.h>

static char *
list_known(const ApmigOption *options)
{
    GString *list = g_string_new(NULL);

    for (const ApmigOption *option = options; option->name; option++) {
        if (list->len > 0)
            g_string_append(list, ", ");
        g_string_append(list, option->name);
    }
    if (list->len == 0)
        g_string_append(list, "none");
    return g_string_free(list, FALSE);
}

static const char *
describe_type(const char *type)
{
    switch (*type) {
    case 's':
        return "a string (s)";
    case 't':
        return "an unsigned 64-bit number (t)";
    case 'b':
        return "a boolean (b)";
    default:
        return "a dictionary of strings (a{ss})";
    }
}

static gboolean
unreadable(int r, GError **error)
{
    g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION, "The arguments cannot be read (%s).",
                g_strerror(-r));
    return FALSE;
}

/* @r: of reading @what. Returns: whether it could be read. */
static gboolean
check_read(int r, const char *what, GError **error)
{
    if (r != -E2BIG)
        return r >= 0 ? TRUE : unreadable(r, error);
    g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION,
                "%s has more than %d entries: name groups of queues.", what, APMIG_OPTION_MAX_PAIRS);
    return FALSE;
}

/* Returns: negative errno; -E2BIG when there are too many. */
static int
read_pairs(sd_bus_message *message, GPtrArray *pairs)
{
    const char *key = NULL, *value = NULL;
    int r = sd_bus_message_enter_container(message, 'a', "{ss}");

    if (r < 0)
        return r;
    while ((r = sd_bus_message_read(message, "{ss}", &key, &value)) > 0) {
        if (pairs->len == 2 * APMIG_OPTION_MAX_PAIRS)
            return -E2BIG;
        g_ptr_array_add(pairs, (gpointer)key);
        g_ptr_array_add(pairs, (gpointer)value);
    }
    return r < 0 ? r : sd_bus_message_exit_container(message);
}

static int
read_contents(sd_bus_message *message, ApmigOption *option)
{
    switch (*option->type) {
    case 's':
        return sd_bus_message_read_basic(message, 's', &option->text);
    case 't':
        return sd_bus_message_read_basic(message, 't', &option->number);
    case 'b':
        return sd_bus_message_read_basic(message, 'b', &option->flag);
    default:
        option->pairs = g_ptr_array_new();
        return read_pairs(message, option->pairs);
    }
}

static gboolean
read_value(sd_bus_message *message, ApmigOption *option, GError **error)
{
    const char *contents = NULL;
    g_autofree char *what = NULL;
    int r = sd_bus_message_peek_type(message, NULL, &contents);

    if (r < 0)
        return unreadable(r, error);
    if (g_strcmp0(contents, option->type) != 0) {
        g_autofree char *found = apmig_text_escape(contents, APMIG_SHOWN_MAX_BYTES);

        g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION,
                    "Option \"%s\" must be %s, not of D-Bus type \"%s\".", option->name,
                    describe_type(option->type), found);
        return FALSE;
    }

    r = sd_bus_message_enter_container(message, 'v', option->type);
    if (r >= 0)
        r = read_contents(message, option);
    if (r >= 0)
        r = sd_bus_message_exit_container(message);
    what = g_strdup_printf("Option \"%s\"", option->name);
    return check_read(r, what, error);
}

static gboolean
read_entry(sd_bus_message *message, ApmigOption *options, GError **error)
{
    const char *key = NULL;
    ApmigOption *option = options;
    g_autofree char *shown = NULL;
    int r = sd_bus_message_read_basic(message, 's', &key);

    if (r < 0)
        return unreadable(r, error);

    while (option->name && strcmp(option->name, key) != 0)
        option++;
    shown = apmig_text_escape(key, APMIG_SHOWN_MAX_BYTES);
    if (!option->name) {
        g_autofree char *known = list_known(options);

        g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION, "Unknown option \"%s\": known here: %s.",
                    shown, known);
        return FALSE;
    }
    if (option->given) {
        g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION,
                    "Option \"%s\" is given twice: give it once.", shown);
        return FALSE;
    }
    option->given = TRUE;
    return read_value(message, option, error);
}

static gboolean
read_entries(sd_bus_message *message, ApmigOption *options, GError **error)
{
    int r = sd_bus_message_enter_container(message, 'a', "{sv}");

    if (r < 0)
        return unreadable(r, error);

    while ((r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
        if (!read_entry(message, options, error))
            return FALSE;
        r = sd_bus_message_exit_container(message);
        if (r < 0)
            return unreadable(r, error);
    }
    return r >= 0 ? TRUE : unreadable(r, error);
}

gboolean
apmig_options_read(sd_bus_message *message, ApmigOption *options, GError **error)
{
    if (read_entries(message, options, error))
        return TRUE;
    for (ApmigOption *option = options; option->name; option++)
        if (*option->type == 'a')
            g_clear_pointer(&option->pairs, g_ptr_array_unref);
    return FALSE;
}

gboolean
apmig_option_is_duration(const ApmigOption *option, guint64 maximum, GError **error)
{
    if (!option->given || (option->number > 0 && option->number <= maximum))
        return TRUE;

    g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION,
                "Option \"%s\" is %" G_GUINT64_FORMAT ": give from 1 to %" G_GUINT64_FORMAT " microseconds.",
                option->name, option->number, maximum);
    return FALSE;
}

/* Returns: (nullable): what it is, when it has no place in one line of plain text. */
static const char *
unpresentable(gunichar c)
{
    switch (g_unichar_type(c)) {
    case G_UNICODE_CONTROL:
    case G_UNICODE_LINE_SEPARATOR:
    case G_UNICODE_PARAGRAPH_SEPARATOR:
        return "control";
    case G_UNICODE_FORMAT: /* has what follows read in another order, or is not seen */
        return "format";
    default:
        return NULL;
    }
}

gboolean
apmig_text_is_presentable(const char *text, gsize max_bytes, const char *what, ApmigError code,
                          GError **error)
{
    gsize length = strlen(text);
    gboolean blank = TRUE;

    if (length > max_bytes) {
        g_set_error(error, APMIG_ERROR, code,
                    "%s has %" G_GSIZE_FORMAT " bytes: give at most %" G_GSIZE_FORMAT ".", what, length,
                    max_bytes);
        return FALSE;
    }
    if (!g_utf8_validate(text, (gssize)length, NULL)) {
        g_set_error(error, APMIG_ERROR, code, "%s is not valid UTF-8.", what);
        return FALSE;
    }
    for (const char *c = text; *c; c = g_utf8_next_char(c)) {
        const char *kind = unpresentable(g_utf8_get_char(c));

        if (kind) {
            g_set_error(error, APMIG_ERROR, code,
                        "%s has a %s character at byte %" G_GSIZE_FORMAT ": give one line of plain text.",
                        what, kind, (gsize)(c - text) + 1);
            return FALSE;
        }
        blank = blank && g_unichar_isspace(g_utf8_get_char(c));
    }
    if (blank) {
        g_set_error(error, APMIG_ERROR, code, "%s is empty: say in a few words what it is.", what);
        return FALSE;
    }
    return TRUE;
}

GPtrArray *
apmig_pairs_read(sd_bus_message *message, const char *what, GError **error)
{
    g_autoptr(GPtrArray) pairs = g_ptr_array_new();

    return check_read(read_pairs(message, pairs), what, error) ? g_steal_pointer(&pairs) : NULL;
}

const char *
apmig_text_read(sd_bus_message *message, gsize max_bytes, const char *what, ApmigError code, GError **error)
{
    const char *text = NULL;

    if (sd_bus_message_read(message, "s", &text) <= 0) {
        g_set_error_literal(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION, "The arguments cannot be read.");
        return NULL;
    }
    return apmig_text_is_presentable(text, max_bytes, what, code, error) ? text : NULL;
}
