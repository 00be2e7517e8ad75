/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/declare.h"

#include <string.h>

#include "ctl/format.h"

gboolean
ctl_declare_add(GPtrArray *pairs, const char *text, GError **error)
{
    const char *colon = strchr(text, ':');
    const char *equals = colon ? strchr(colon, '=') : NULL;

    if (equals && g_utf8_validate(text, -1, NULL)) {
        g_autofree char *queues = g_strndup(text, (gsize)(colon - text));
        g_autofree char *key_class = g_strndup(colon + 1, (gsize)(equals - colon - 1));

        g_ptr_array_add(pairs, g_strdup_printf("%s %s", g_strstrip(queues), g_strstrip(key_class)));
        g_ptr_array_add(pairs, g_strstrip(g_strdup(equals + 1)));
        return TRUE;
    }

    g_autofree char *shown = ctl_escape(text);

    g_set_error(error, CTL_ERROR, CTL_EXIT_USAGE,
                "'%s' is no declaration: give QUEUES:CLASS=PATTERN, as in 04.0012:AES=0x0123456789abcdef",
                shown);
    return FALSE;
}

gboolean
ctl_declare_add_lines(GPtrArray *pairs, const char *text, gsize length, GError **error)
{
    g_auto(GStrv) lines = NULL;

    if (strlen(text) != length) {
        g_set_error(error, CTL_ERROR, CTL_EXIT_USAGE,
                    "byte %" G_GSIZE_FORMAT " is NUL, so it is no text: save it as UTF-8", strlen(text) + 1);
        return FALSE;
    }
    lines = g_strsplit(text, "\n", -1);

    for (guint i = 0; lines[i]; i++) {
        char *comment = strchr(lines[i], '#');

        if (comment)
            *comment = '\0';
        g_strstrip(lines[i]);
        if (*lines[i] && !ctl_declare_add(pairs, lines[i], error)) {
            g_prefix_error(error, "line %u: ", i + 1);
            return FALSE;
        }
    }
    return TRUE;
}

gboolean
ctl_declare_add_file(GPtrArray *pairs, const char *path, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autofree char *text = NULL;
    gsize length;

    if (!g_file_get_contents(path, &text, &length, &problem)) {
        g_set_error_literal(error, CTL_ERROR, CTL_EXIT_USAGE, problem->message);
        return FALSE;
    }
    if (ctl_declare_add_lines(pairs, text, length, error))
        return TRUE;
    g_prefix_error(error, "%s: ", path);
    return FALSE;
}
