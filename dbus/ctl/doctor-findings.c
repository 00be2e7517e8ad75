/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What was found out: kept, counted and printed. */
#include "ctl/doctor.h"

#include <stdio.h>

#include "ctl/format.h"

typedef struct {
    CtlVerdict verdict;
    const char *check;
    char *text;
    char *remedy;
} Finding;

static void
finding_free(gpointer data)
{
    Finding *finding = data;

    g_free(finding->text);
    g_free(finding->remedy);
    g_free(finding);
}

GPtrArray *
ctl_doctor_findings_new(void)
{
    return g_ptr_array_new_with_free_func(finding_free);
}

void
ctl_doctor_tell(CtlDoctor *doctor, CtlVerdict verdict, const char *check, const char *remedy,
                const char *format, ...)
{
    Finding *finding = g_new0(Finding, 1);
    va_list args;

    va_start(args, format);
    finding->text = g_strdup_vprintf(format, args);
    va_end(args);
    finding->verdict = verdict;
    finding->check = check;
    finding->remedy = g_strdup(remedy ? remedy : "");
    g_ptr_array_add(doctor->findings, finding);
}

static const char *const verdict_names[] = {
    [CTL_VERDICT_OK] = "ok",
    [CTL_VERDICT_UNKNOWN] = "unknown",
    [CTL_VERDICT_PROBLEM] = "problem",
};

gboolean
ctl_doctor_is_well(const CtlDoctor *doctor)
{
    for (guint i = 0; i < doctor->findings->len; i++) {
        const Finding *finding = g_ptr_array_index(doctor->findings, i);

        if (finding->verdict != CTL_VERDICT_OK)
            return FALSE;
    }
    return TRUE;
}

JsonNode *
ctl_doctor_findings_to_json(const CtlDoctor *doctor)
{
    g_autoptr(JsonObject) object = json_object_new();
    JsonArray *array = json_array_new();

    for (guint i = 0; i < doctor->findings->len; i++) {
        const Finding *finding = g_ptr_array_index(doctor->findings, i);
        JsonObject *member = json_object_new();

        json_object_set_string_member(member, "Check", finding->check);
        json_object_set_string_member(member, "Verdict", verdict_names[finding->verdict]);
        json_object_set_string_member(member, "Text", finding->text);
        json_object_set_string_member(member, "Remedy", finding->remedy);
        json_array_add_object_element(array, member);
    }
    json_object_set_boolean_member(object, "Well", ctl_doctor_is_well(doctor));
    json_object_set_array_member(object, "Findings", array);
    return json_node_init_object(json_node_alloc(), object);
}

void
ctl_doctor_print_findings(const CtlDoctor *doctor, gboolean quiet)
{
    for (guint i = 0; i < doctor->findings->len; i++) {
        const Finding *finding = g_ptr_array_index(doctor->findings, i);
        g_autofree char *text = ctl_escape(finding->text);
        g_autofree char *remedy = ctl_escape(finding->remedy);

        if (quiet && finding->verdict == CTL_VERDICT_OK)
            continue;
        printf("%-8s %-12s %s\n",
               finding->verdict == CTL_VERDICT_PROBLEM ? "PROBLEM" : verdict_names[finding->verdict],
               finding->check, text);
        if (*remedy)
            printf("%22s-> %s\n", "", remedy);
    }
}
