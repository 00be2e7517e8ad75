/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/check-table.h"

#include <stdio.h>
#include <string.h>

#include "ctl/bus.h"
#include "ctl/format.h"

#define CELL_MAX     44 /* bytes of a side's cell */
#define PATTERN_MAX  16 /* hexadecimal digits of a pattern that are shown */
#define SUBJECTS_MAX 6  /* named with one remedy */
#define LINE_COLUMNS 78 /* columns of a remedy */

static const char *const members[] = {"Severity", "Subject", "Code", "Source", "Destination", "Remedy"};
static const char *const titles[] = {"RESULT", "SUBJECT", "FINDING", "SOURCE", "DESTINATION", NULL};

JsonArray *
ctl_name_findings(JsonArray *findings)
{
    JsonArray *named = json_array_new();

    for (guint i = 0; i < json_array_get_length(findings); i++) {
        JsonArray *finding = json_array_get_array_element(findings, i);
        JsonObject *object = json_object_new();

        for (guint j = 0; j < G_N_ELEMENTS(members) && j < json_array_get_length(finding); j++)
            json_object_set_string_member(object, members[j], json_array_get_string_element(finding, j));
        json_array_add_object_element(named, object);
    }
    return named;
}

static gboolean
is_fine(JsonObject *finding)
{
    return g_str_equal(ctl_string(finding, "Severity"), "information");
}

/* --- the table ----------------------------------------------------------------------------------- */

static const char *
name_result(JsonObject *finding)
{
    if (g_str_equal(ctl_string(finding, "Severity"), "error"))
        return "ERROR";
    return is_fine(finding) ? "ok" : "warning";
}

/* Patterns lose their ends, which --json has. */
static char *
shorten(const char *text)
{
    GString *out = g_string_new(NULL);
    gsize digits = 0;

    for (const char *p = text; *p; p++) {
        digits = g_ascii_isxdigit(*p) ? digits + 1 : 0;
        if (digits <= PATTERN_MAX)
            g_string_append_c(out, *p);
        else if (digits == PATTERN_MAX + 1)
            g_string_append(out, "..");
    }
    if (out->len > CELL_MAX) {
        const char *end = g_utf8_find_prev_char(out->str, out->str + CELL_MAX - 2);

        g_string_truncate(out, end ? (gsize)(end - out->str) : 0);
        g_string_append(out, "...");
    }
    return g_string_free(out, FALSE);
}

static char **
finding_row(JsonObject *finding)
{
    char **row = g_new0(char *, G_N_ELEMENTS(titles));

    row[0] = g_strdup(name_result(finding));
    row[1] = g_strdup(ctl_string(finding, "Subject"));
    row[2] = g_strdup(ctl_string(finding, "Code"));
    row[3] = *ctl_string(finding, "Source") ? shorten(ctl_string(finding, "Source")) : g_strdup("-");
    row[4] =
        *ctl_string(finding, "Destination") ? shorten(ctl_string(finding, "Destination")) : g_strdup("-");
    return row;
}

/* --- remedies ------------------------------------------------------------------------------------ */

static void
print_wrapped(const char *text, const char *indent)
{
    g_autofree char *safe = ctl_escape(text);
    g_auto(GStrv) words = g_strsplit(safe, " ", -1);
    gsize column = 0;

    for (char **word = words; *word; word++) {
        gsize width = (gsize)g_utf8_strlen(*word, -1);

        if (column > 0 && column + 1 + width > LINE_COLUMNS) {
            putchar('\n');
            column = 0;
        }
        column += (gsize)printf("%s", column > 0 ? " " : indent) + width;
        fputs(*word, stdout);
    }
    putchar('\n');
}

/* Returns: (transfer full): whom @remedy is for, from the finding number @first on. */
static char *
collect_subjects(JsonArray *findings, guint first, const char *remedy)
{
    g_autoptr(GHashTable) named = g_hash_table_new(g_str_hash, g_str_equal);
    GString *text = g_string_new(NULL);
    guint more = 0;

    for (guint i = first; i < json_array_get_length(findings); i++) {
        JsonObject *finding = json_array_get_object_element(findings, i);
        const char *subject = ctl_string(finding, "Subject");

        if (is_fine(finding) || !g_str_equal(ctl_string(finding, "Remedy"), remedy) ||
            !g_hash_table_add(named, (gpointer)subject))
            continue;
        if (g_hash_table_size(named) <= SUBJECTS_MAX)
            g_string_append_printf(text, "%s%s", text->len > 0 ? ", " : "", subject);
        else
            more++;
    }
    if (more > 0)
        g_string_append_printf(text, " and %u more", more);
    return g_string_free(text, FALSE);
}

/* Each once, with those whom it is for. */
static void
print_remedies(JsonArray *findings)
{
    g_autoptr(GHashTable) told = g_hash_table_new(g_str_hash, g_str_equal);

    for (guint i = 0; i < json_array_get_length(findings); i++) {
        JsonObject *finding = json_array_get_object_element(findings, i);
        const char *remedy = ctl_string(finding, "Remedy");
        g_autofree char *subjects = NULL;
        g_autofree char *safe = NULL;

        if (is_fine(finding) || !*remedy || g_hash_table_contains(told, remedy))
            continue;
        if (g_hash_table_size(told) == 0)
            puts("\nWhat to do:");
        g_hash_table_add(told, (gpointer)remedy);
        subjects = collect_subjects(findings, i, remedy);
        safe = ctl_escape(subjects);
        printf("  %s:\n", safe);
        print_wrapped(remedy, "    ");
    }
}

void
ctl_print_findings(JsonArray *findings, gboolean all)
{
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);

    for (guint i = 0; i < json_array_get_length(findings); i++) {
        JsonObject *finding = json_array_get_object_element(findings, i);

        if (all || !is_fine(finding))
            g_ptr_array_add(rows, finding_row(finding));
    }
    if (rows->len == 0)
        return;
    putchar('\n');
    ctl_print_table(titles, rows, "");
    print_remedies(findings);
}
