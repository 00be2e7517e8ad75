/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/sentence.h"

char *
apmig_sentence_time(gint64 at)
{
    g_autoptr(GDateTime) time = at != 0 ? g_date_time_new_from_unix_utc(at / G_USEC_PER_SEC) : NULL;

    return time ? g_date_time_format(time, "%Y-%m-%d %H:%M:%S UTC") : g_strdup("an unknown time");
}

char *
apmig_sentence_few(const GPtrArray *items, const char *separator)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < MIN(items->len, APMIG_SENTENCE_FEW); i++)
        g_string_append_printf(text, "%s%s", i > 0 ? separator : "",
                               (const char *)g_ptr_array_index(items, i));
    if (items->len > APMIG_SENTENCE_FEW)
        g_string_append_printf(text, " and %u more", items->len - APMIG_SENTENCE_FEW);
    return g_string_free(text, FALSE);
}

char *
apmig_sentence_queue(guint adapter, guint domain, const GPtrArray *classes, guint n_classes)
{
    g_autofree char *names = apmig_sentence_few(classes, ", ");

    if (classes->len == 0)
        return NULL;
    if (classes->len == n_classes)
        return g_strdup_printf("%02x.%04x", adapter, domain);
    return g_strdup_printf("%02x.%04x (%s)", adapter, domain, names);
}
