/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hosts/report.h"

#include <stdio.h>

#include "base/sentence.h"
#include "ctl/lock.h"

static const char *const titles[] = {"HOST", "LOCK", "STATE", "HELD SINCE", "PROBLEM", NULL};
static const char *const key_titles[] = {"QUEUE", "CLASS", "REGISTER", "STANDING", "WHERE", NULL};

/* --- one host ------------------------------------------------------------------------------------- */

static const HostsHost *
find_host(const GPtrArray *hosts, const char *name)
{
    for (guint i = 0; i < hosts->len; i++) {
        const HostsHost *host = g_ptr_array_index(hosts, i);

        if (g_str_equal(host->name, name))
            return host;
    }
    return NULL;
}

/* @host: (nullable): it is left out */
static const char *
state_of(const HostsReport *report, const HostsHost *host)
{
    const GError *failure = host ? hosts_failure(host) : NULL;

    if (!host)
        return "left out";
    if (!host->lost && host->released)
        return "released";
    if (failure && failure->code == CTL_EXIT_UNREACHABLE)
        return "unreachable";
    if (failure)
        return "failed";
    return host->lock ? ctl_string(host->lock, "State") : report->is_undone ? "not locked" : "no lock";
}

/* Returns: (transfer full): "" where all is well */
static char *
problem_of(const HostsReport *report, const HostsHost *host)
{
    const GError *failure = host ? hosts_failure(host) : NULL;
    char *problem = NULL;

    if (!host)
        return g_strdup("its keys must not be changed");
    if (failure)
        return g_strdup(failure->message);
    if (host->release_error)
        return g_strdup_printf("not released: %s", host->release_error->message);
    if (!host->released && report->reasons)
        problem = hosts_question_problem(host);
    return problem ? problem : g_strdup("");
}

static JsonObject *
shown_lock(const HostsHost *host)
{
    return host && !host->lost ? host->lock : NULL;
}

/* --- text ----------------------------------------------------------------------------------------- */

static void
add_row(GPtrArray *rows, const HostsReport *report, const char *name)
{
    const HostsHost *host = find_host(report->hosts, name);
    JsonObject *lock = shown_lock(host);
    char **row = g_new0(char *, G_N_ELEMENTS(titles));

    row[0] = g_strdup(name);
    row[1] = g_strdup(lock ? ctl_string(lock, "Id") : "-");
    row[2] = g_strdup(state_of(report, host));
    row[3] = lock && ctl_int(lock, "HeldAt") > 0 ? ctl_format_time(ctl_int(lock, "HeldAt")) : g_strdup("-");
    row[4] = problem_of(report, host);
    g_ptr_array_add(rows, row);
}

static void
print_lines(const char *prefix, const GPtrArray *lines)
{
    for (guint i = 0; lines && i < lines->len; i++) {
        g_autofree char *safe = ctl_escape(g_ptr_array_index(lines, i));

        printf("%s%s\n", prefix, safe);
    }
}

static void
print_text(const HostsReport *report)
{
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);
    g_autofree char *sentence = ctl_escape(report->sentence);
    g_autofree char *unverified = ctl_escape(report->release ? report->release->unverified : "");

    if (!report->options->common.quiet) {
        for (guint i = 0; i < report->options->names->len; i++)
            add_row(rows, report, g_ptr_array_index(report->options->names, i));
        ctl_print_table(titles, rows, "");
        print_lines("Warning: ", report->warnings);
        if (*unverified)
            puts(unverified);
    }
    puts(sentence);
}

/* --- JSON ----------------------------------------------------------------------------------------- */

static JsonObject *
host_to_json(const HostsReport *report, const char *name)
{
    const HostsHost *host = find_host(report->hosts, name);
    JsonObject *lock = shown_lock(host), *object = json_object_new();
    const GError *failure = host ? hosts_failure(host) : NULL;
    g_autofree char *problem = problem_of(report, host);

    json_object_set_string_member(object, "Host", name);
    json_object_set_boolean_member(object, "LeftOut", host == NULL);
    json_object_set_boolean_member(object, "Answered", host && !failure);
    json_object_set_string_member(object, "State", state_of(report, host));
    json_object_set_string_member(object, "Problem", problem);
    json_object_set_int_member(object, "ExitStatus", failure ? failure->code : 0);
    json_object_set_boolean_member(object, "Made", host && !host->lost && host->made);
    json_object_set_string_member(object, "LockId", lock ? ctl_string(lock, "Id") : "");
    json_object_set_string_member(object, "Owner", lock ? ctl_string(lock, "OwnerName") : "");
    json_object_set_int_member(object, "HeldAt", lock ? ctl_int(lock, "HeldAt") : 0);
    return object;
}

static JsonArray *
reasons_to_json(const GPtrArray *reasons)
{
    JsonArray *array = json_array_new();

    for (guint i = 0; reasons && i < reasons->len; i++) {
        const ApmigFleetReason *reason = g_ptr_array_index(reasons, i);
        JsonObject *object = json_object_new();

        json_object_set_string_member(object, "Kind", apmig_fleet_reason_kind_to_string(reason->kind));
        json_object_set_string_member(object, "Host", reason->host);
        json_object_set_string_member(object, "Sentence", reason->sentence);
        json_array_add_object_element(array, object);
    }
    return array;
}

static JsonArray *
texts_to_json(const GPtrArray *texts)
{
    JsonArray *array = json_array_new();

    for (guint i = 0; texts && i < texts->len; i++)
        json_array_add_string_element(array, g_ptr_array_index(texts, i));
    return array;
}

static void
print_json(const HostsReport *report)
{
    JsonObject *object = json_object_new();
    JsonArray *hosts = json_array_new();
    const ApmigFleetLock *lock = report->question->lock;

    for (guint i = 0; i < report->options->names->len; i++)
        json_array_add_object_element(hosts,
                                      host_to_json(report, g_ptr_array_index(report->options->names, i)));
    json_object_set_string_member(object, "Verdict", report->verdict);
    json_object_set_string_member(object, "Sentence", report->sentence);
    json_object_set_string_member(object, "ChangeId", lock->change_id);
    json_object_set_string_member(object, "Scope", apmig_scope_to_string(lock->scope));
    json_object_set_array_member(object, "Hosts", hosts);
    json_object_set_array_member(object, "Reasons", reasons_to_json(report->reasons));
    json_object_set_array_member(object, "Warnings", texts_to_json(report->warnings));
    if (report->release) {
        json_object_set_string_member(object, "Unverified", report->release->unverified);
        json_object_set_array_member(object, "Keys", hosts_keys_to_json(report->release->findings));
    }
    ctl_print_json(json_node_init_object(json_node_alloc(), object), report->options->common.json);
    json_object_unref(object);
}

void
hosts_report(const HostsReport *report)
{
    if (report->options->common.json != CTL_JSON_OFF)
        print_json(report);
    else
        print_text(report);
}

/* --- verdicts ------------------------------------------------------------------------------------- */

int
hosts_failure_status(const GPtrArray *hosts)
{
    int status = CTL_EXIT_OK;

    for (guint i = 0; i < hosts->len; i++) {
        const GError *failure = hosts_failure(g_ptr_array_index(hosts, i));

        if (failure && (status == CTL_EXIT_OK || status == CTL_EXIT_UNREACHABLE))
            status = failure->code;
    }
    return status;
}

char *
hosts_describe_failures(const GPtrArray *hosts)
{
    g_autoptr(GPtrArray) clauses = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < hosts->len; i++) {
        const HostsHost *host = g_ptr_array_index(hosts, i);
        const GError *failure = hosts_failure(host);

        if (failure)
            g_ptr_array_add(clauses, g_strdup_printf("%s: %s", host->name, failure->message));
    }
    return apmig_sentence_few(clauses, "; ");
}

/* That a host cannot be asked is another thing than that it says no. */
static int
verdict_status(const ApmigFleetVerdict *verdict, const GPtrArray *hosts)
{
    if (verdict->go == APMIG_FLEET_GO)
        return CTL_EXIT_OK;
    if (verdict->go == APMIG_FLEET_GO_EXCEPT)
        return CTL_EXIT_GO_EXCEPT;
    for (guint i = 0; i < verdict->reasons->len; i++)
        if (((const ApmigFleetReason *)g_ptr_array_index(verdict->reasons, i))->kind != APMIG_FLEET_SILENT)
            return CTL_EXIT_NO_GO;
    return MAX(hosts_failure_status(hosts), CTL_EXIT_FAILURE);
}

int
hosts_report_verdict(const HostsOptions *options, const HostsQuestion *question, const GPtrArray *hosts,
                     const ApmigFleetVerdict *verdict)
{
    const HostsReport report = {.options = options,
                                .question = question,
                                .hosts = hosts,
                                .verdict = apmig_fleet_go_to_string(verdict->go),
                                .sentence = verdict->sentence,
                                .reasons = verdict->reasons,
                                .warnings = verdict->warnings};

    hosts_report(&report);
    return verdict_status(verdict, hosts);
}

/* --- keys ----------------------------------------------------------------------------------------- */

/* Returns: (transfer full): "a, b: 0x...; c: 0x...; unknown: d" */
static char *
describe_values(const ApmigFleetKeyFinding *finding)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < finding->values->len; i++) {
        const ApmigFleetKeyValue *value = g_ptr_array_index(finding->values, i);
        g_autofree char *hosts = apmig_sentence_few(value->hosts, ", ");

        g_string_append_printf(text, "%s%s: %s", i ? "; " : "", hosts, value->value);
    }
    if (finding->unknown->len > 0) {
        g_autofree char *hosts = apmig_sentence_few(finding->unknown, ", ");

        g_string_append_printf(text, "%sunknown: %s", text->len ? "; " : "", hosts);
    }
    return g_string_free(text, FALSE);
}

void
hosts_print_keys(const GPtrArray *findings)
{
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);

    for (guint i = 0; i < findings->len; i++) {
        const ApmigFleetKeyFinding *finding = g_ptr_array_index(findings, i);
        char **row = g_new0(char *, G_N_ELEMENTS(key_titles));

        row[0] = g_strdup_printf("%02x.%04x", finding->adapter, finding->domain);
        row[1] = g_strdup(apmig_key_class_to_string(finding->key_class));
        row[2] = g_strdup(apmig_register_to_string(finding->reg));
        row[3] = g_strdup(apmig_fleet_key_standing_to_string(finding->standing));
        row[4] = describe_values(finding);
        g_ptr_array_add(rows, row);
    }
    if (rows->len > 0)
        ctl_print_table(key_titles, rows, "");
    else
        puts("No host has such AP queues.");
}

static JsonArray *
values_to_json(const ApmigFleetKeyFinding *finding)
{
    JsonArray *array = json_array_new();

    for (guint i = 0; i < finding->values->len; i++) {
        const ApmigFleetKeyValue *value = g_ptr_array_index(finding->values, i);
        JsonObject *object = json_object_new();

        json_object_set_string_member(object, "Value", value->value);
        json_object_set_array_member(object, "Hosts", texts_to_json(value->hosts));
        json_array_add_object_element(array, object);
    }
    return array;
}

JsonArray *
hosts_keys_to_json(const GPtrArray *findings)
{
    JsonArray *array = json_array_new();

    for (guint i = 0; i < findings->len; i++) {
        const ApmigFleetKeyFinding *finding = g_ptr_array_index(findings, i);
        JsonObject *object = json_object_new();
        g_autofree char *queue = g_strdup_printf("%02x.%04x", finding->adapter, finding->domain);

        json_object_set_string_member(object, "Queue", queue);
        json_object_set_string_member(object, "Class", apmig_key_class_to_string(finding->key_class));
        json_object_set_string_member(object, "Register", apmig_register_to_string(finding->reg));
        json_object_set_string_member(object, "Standing",
                                      apmig_fleet_key_standing_to_string(finding->standing));
        json_object_set_array_member(object, "Values", values_to_json(finding));
        json_object_set_array_member(object, "Unknown", texts_to_json(finding->unknown));
        json_array_add_object_element(array, object);
    }
    return array;
}
