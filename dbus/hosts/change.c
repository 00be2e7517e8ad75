/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A change has a lock on each host, of the same AP queues. */
#include "base/sentence.h"
#include "hosts/report.h"
#include "hosts/verbs.h"

ApmigScope *
hosts_parse_scope(const char *text, GError **error)
{
    g_autoptr(GError) problem = NULL;
    ApmigScope *scope = apmig_scope_parse(text, &problem);

    if (!scope)
        g_set_error_literal(error, CTL_ERROR, APMIG_EXIT_INVALID, problem->message);
    return scope;
}

/* @scopes: (element-type utf8): gets those of the change on this host that are new */
static void
collect_scopes(const HostsHost *host, const HostsTask *task, GPtrArray *scopes)
{
    for (guint i = 0; !hosts_failure(host) && host->locks && i < host->locks->len; i++) {
        JsonObject *lock = g_ptr_array_index(host->locks, i);
        const char *scope = ctl_string(lock, "Scope");

        if (g_str_equal(ctl_string(lock, "ChangeId"), task->change_id) &&
            !g_ptr_array_find_with_equal_func(scopes, scope, g_str_equal, NULL))
            g_ptr_array_add(scopes, g_strdup(scope));
    }
}

/* Returns: (transfer full) (nullable): its scope */
static ApmigScope *
choose(const GPtrArray *hosts, const HostsTask *task, GError **error)
{
    g_autoptr(GPtrArray) scopes = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *failures = hosts_describe_failures(hosts);
    g_autofree char *few = NULL;
    g_autofree char *change_id = ctl_escape(task->change_id);

    for (guint i = 0; i < hosts->len; i++)
        collect_scopes(g_ptr_array_index(hosts, i), task, scopes);
    if (scopes->len == 1)
        return apmig_scope_parse_stored(g_ptr_array_index(scopes, 0), error);
    few = apmig_sentence_few(scopes, " and ");
    if (scopes->len > 1)
        g_set_error(error, CTL_ERROR, CTL_EXIT_USAGE, "change '%s' has locks on %s: say which with --scope",
                    change_id, few);
    else if (*failures)
        g_set_error(error, CTL_ERROR, hosts_failure_status(hosts),
                    "no host that answers has a lock of change '%s' (%s)", change_id, failures);
    else
        g_set_error(error, CTL_ERROR, APMIG_EXIT_NOT_FOUND, "no host has a lock of change '%s'", change_id);
    return NULL;
}

static HostsTask *
new_task(const HostsOptions *options, const char *change_id)
{
    HostsTask *task = hosts_task_new(options->silence_usec);

    task->change_id = g_strdup(change_id);
    return task;
}

HostsTask *
hosts_find_change(HostsCrew *crew, const HostsOptions *options, const char *change_id, const char *scope,
                  GError **error)
{
    g_autoptr(HostsTask) look = new_task(options, change_id);
    g_autoptr(HostsTask) task = new_task(options, change_id);

    if (scope) {
        task->scope = hosts_parse_scope(scope, error);
    } else {
        hosts_task_run(crew, hosts_look, look);
        task->scope = choose(hosts_crew_hosts(crew), look, error);
    }
    return task->scope ? g_steal_pointer(&task) : NULL;
}

ApmigFleetVerdict *
hosts_ask_all(HostsCrew *crew, HostsQuestion *question, HostsTask *task)
{
    hosts_question_put(question, APMIG_FLEET_LOCKED);
    hosts_task_run(crew, hosts_ask, task);
    return hosts_question_judge(question, hosts_crew_hosts(crew));
}
