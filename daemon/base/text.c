/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/text.h"

#include <string.h>

#define ELLIPSIS "..."

gboolean
apmig_text_is_plain(const char *text, gsize max_bytes)
{
    if (strlen(text) > max_bytes || !g_utf8_validate(text, -1, NULL))
        return FALSE;
    for (const char *p = text; *p; p = g_utf8_next_char(p))
        if (g_unichar_iscntrl(g_utf8_get_char(p)))
            return FALSE;
    return TRUE;
}

/* Appends the character at @p in a form that can be shown. Returns: where the next one begins. */
static const char *
append_character(GString *out, const char *p)
{
    gunichar c = g_utf8_get_char_validated(p, -1);
    gboolean is_utf8 = c != (gunichar)-1 && c != (gunichar)-2;
    const char *next = is_utf8 ? g_utf8_next_char(p) : p + 1;

    if (is_utf8 && !g_unichar_iscntrl(c) && g_unichar_type(c) != G_UNICODE_FORMAT)
        g_string_append_len(out, p, next - p);
    else
        for (; p < next; p++)
            g_string_append_printf(out, "\\x%02x", (guint8)*p);
    return next;
}

char *
apmig_text_escape(const char *text, gsize max_bytes)
{
    GString *out = g_string_new(NULL);
    gsize cut = 0; /* the last length at which the ellipsis would still fit */

    for (const char *p = text; *p;) {
        p = append_character(out, p);
        if (out->len > max_bytes) {
            g_string_truncate(out, cut);
            g_string_append(out, ELLIPSIS);
            break;
        }
        if (out->len + strlen(ELLIPSIS) <= max_bytes)
            cut = out->len;
    }
    return g_string_free(out, FALSE);
}
