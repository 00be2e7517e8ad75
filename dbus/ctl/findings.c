/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/findings.h"

#include <stdio.h>

#include "ctl/format.h"

typedef struct {
    ApmigSeverity severity;
    const char *id;
    char *text;
    char *remedy;
} Finding;

/* How each severity is called. */
static const struct {
    const char *verdict; /* of doctor: is it as it should be? */
    const char *monitor;
    int monitor_status;
} scale[] = {
    [APMIG_SEVERITY_NONE] = {"ok", "OK", 0},
    [APMIG_SEVERITY_UNKNOWN] = {"unknown", "UNKNOWN", 3},
    [APMIG_SEVERITY_WARNING] = {"problem", "WARNING", 1},
    [APMIG_SEVERITY_ERROR] = {"problem", "CRITICAL", 2},
};

/* --- the list ------------------------------------------------------------------------------------ */

static void
finding_free(gpointer data)
{
    Finding *finding = data;

    g_free(finding->text);
    g_free(finding->remedy);
    g_free(finding);
}

GPtrArray *
ctl_findings_new(void)
{
    return g_ptr_array_new_with_free_func(finding_free);
}

void
ctl_findings_add(GPtrArray *findings, ApmigSeverity severity, const char *id, const char *remedy,
                 const char *format, ...)
{
    Finding *finding = g_new0(Finding, 1);
    va_list args;

    va_start(args, format);
    finding->text = g_strdup_vprintf(format, args);
    va_end(args);
    finding->severity = severity;
    finding->id = id;
    finding->remedy = g_strdup(remedy ? remedy : "");
    g_ptr_array_add(findings, finding);
}

ApmigSeverity
ctl_findings_severity(const GPtrArray *findings)
{
    ApmigSeverity severity = APMIG_SEVERITY_NONE;

    for (guint i = 0; i < findings->len; i++)
        severity = MAX(severity, ((const Finding *)g_ptr_array_index(findings, i))->severity);
    return severity;
}

/* --- in full ------------------------------------------------------------------------------------- */

JsonNode *
ctl_findings_to_json(const GPtrArray *findings)
{
    g_autoptr(JsonObject) object = json_object_new();
    JsonArray *array = json_array_new();

    for (guint i = 0; i < findings->len; i++) {
        const Finding *finding = g_ptr_array_index(findings, i);
        JsonObject *member = json_object_new();

        json_object_set_string_member(member, "Check", finding->id);
        json_object_set_string_member(member, "Verdict", scale[finding->severity].verdict);
        json_object_set_string_member(member, "Severity", apmig_severity_to_string(finding->severity));
        json_object_set_string_member(member, "Text", finding->text);
        json_object_set_string_member(member, "Remedy", finding->remedy);
        json_array_add_object_element(array, member);
    }
    json_object_set_boolean_member(object, "Well", ctl_findings_severity(findings) == APMIG_SEVERITY_NONE);
    json_object_set_array_member(object, "Findings", array);
    return json_node_init_object(json_node_alloc(), object);
}

void
ctl_findings_print(const GPtrArray *findings, gboolean quiet)
{
    for (guint i = 0; i < findings->len; i++) {
        const Finding *finding = g_ptr_array_index(findings, i);
        g_autofree char *text = ctl_escape(finding->text);
        g_autofree char *remedy = ctl_escape(finding->remedy);

        if (quiet && finding->severity == APMIG_SEVERITY_NONE)
            continue;
        printf("%-8s %-12s %s\n",
               finding->severity >= APMIG_SEVERITY_WARNING ? "PROBLEM" : scale[finding->severity].verdict,
               finding->id, text);
        if (*remedy)
            printf("%22s-> %s\n", "", remedy);
    }
}

/* --- in one line --------------------------------------------------------------------------------- */

/* The sentence as a part of a longer one: without its capital, unless that is of a name, and its full stop. */
static void
append_clause(GString *line, const char *sentence)
{
    gsize start = line->len;

    g_string_append(line, sentence);
    if (g_str_has_suffix(sentence, "."))
        g_string_truncate(line, line->len - 1);
    if (!g_ascii_isupper(sentence[1]))
        line->str[start] = g_ascii_tolower(line->str[start]);
}

int
ctl_findings_print_summary(const GPtrArray *findings)
{
    ApmigSeverity worst = ctl_findings_severity(findings);
    g_autoptr(GString) line = g_string_new(NULL);
    g_autofree char *safe = NULL;

    for (ApmigSeverity severity = worst; severity > APMIG_SEVERITY_NONE; severity--) {
        for (guint i = 0; i < findings->len; i++) {
            const Finding *finding = g_ptr_array_index(findings, i);

            if (finding->severity != severity)
                continue;
            g_string_append(line, line->len > 0 ? "; " : "");
            append_clause(line, finding->text);
        }
    }
    safe = ctl_escape(line->len > 0 ? line->str : "all is well");
    printf("APMIGD %s - %s", scale[worst].monitor, safe);
    return scale[worst].monitor_status;
}
