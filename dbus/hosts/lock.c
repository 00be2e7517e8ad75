/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One lock on all hosts, or on none. */
#include <stdio.h>

#include "base/sentence.h"
#include "ctl/lock.h"
#include "hosts/locks.h"
#include "hosts/report.h"
#include "hosts/verbs.h"

#define TIMEOUT_USEC (60 * G_USEC_PER_SEC)

typedef struct {
    HostsOptions hosts;
    char *on_busy, *timeout, *expected, *change_id;
    gboolean no_wait, allow_missing_hook;
} LockOptions;

static void
lock_options_clear(LockOptions *options)
{
    hosts_options_clear(&options->hosts);
    g_free(options->on_busy);
    g_free(options->timeout);
    g_free(options->expected);
    g_free(options->change_id);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(LockOptions, lock_options_clear)

static const char summary[] =
    "Takes a lock on the AP queues in SCOPE on each of the hosts, waits until all are held, and says GO; or takes\n"
    "none: what this run has made is released again where another host cannot be locked.\n\n"
    "Run it again with the same change id and scope if it was interrupted: a lock that is there is then found, and\n"
    "not made again. 'apmigctl --hosts ... unlock CHANGE-ID' releases all of them.";

/* Returns: (transfer full) (nullable) */
static HostsTask *
make_task(const LockOptions *options, const char *scope, const char *reason, GError **error)
{
    g_autoptr(HostsTask) task = hosts_task_new(options->hosts.silence_usec);

    task->change_id = g_strdup(options->change_id);
    task->scope = hosts_parse_scope(scope, error);
    task->reason = g_strdup(reason);
    task->on_busy = g_strdup(options->on_busy);
    task->no_wait = options->no_wait;
    task->allow_missing_hook = options->allow_missing_hook;
    task->timeout_usec = TIMEOUT_USEC;
    if (!task->scope ||
        (options->timeout && !ctl_parse_duration(options->timeout, &task->timeout_usec, error)) ||
        (options->expected && !ctl_parse_duration(options->expected, &task->expected_usec, error)))
        return NULL;
    return g_steal_pointer(&task);
}

/* Returns: (transfer full) (nullable) */
static HostsTask *
parse(int *argc, char ***argv, LockOptions *options, GError **error)
{
    const GOptionEntry entries[] = {
        {"change-id", 0, 0, G_OPTION_ARG_STRING, &options->change_id,
         "The number of the change, by which its locks are found again; needed", "ID"},
        {"on-busy", 0, 0, G_OPTION_ARG_STRING, &options->on_busy,
         "With a migration in progress: end it, wait for it, or refuse the lock (default: each host's policy)",
         "abort|wait|refuse"},
        {"timeout", 0, 0, G_OPTION_ARG_STRING, &options->timeout,
         "Give up when a host does not hold it after TIME, such as 90s or 20min (default: 60s)", "TIME"},
        {"for", 0, 0, G_OPTION_ARG_STRING, &options->expected,
         "How long it will be needed, such as 3h or 2d: shown to others; the lock never ends by itself",
         "TIME"},
        {"no-wait", 0, 0, G_OPTION_ARG_NONE, &options->no_wait,
         "Return at once: locks that drain are left so, and it is NO-GO", NULL},
        {"allow-missing-hook", 0, 0, G_OPTION_ARG_NONE, &options->allow_missing_hook,
         "Lock also a host where nothing keeps guests from coming in; it is NO-GO then", NULL},
        {NULL},
    };
    const CtlUsage usage = {"SCOPE REASON", summary, NULL, entries, 2, 2};

    if (!hosts_parse_options(argc, argv, &usage, &options->hosts, error))
        return NULL;
    if (!options->change_id || !*options->change_id) {
        g_set_error_literal(error, CTL_ERROR, CTL_EXIT_USAGE,
                            "--change-id is needed: by it the locks are found again on all hosts");
        return NULL;
    }
    return make_task(options, (*argv)[1], (*argv)[2], error);
}

/* --- none ----------------------------------------------------------------------------------------- */

/* Adds "; WHAT: a, b": all of them, for each has to be looked after. */
static void
append_names(GString *text, const char *what, const GPtrArray *names)
{
    if (names->len > 0)
        g_string_append_printf(text, "; %s: ", what);
    for (guint i = 0; i < names->len; i++)
        g_string_append_printf(text, "%s%s", i ? ", " : "", (const char *)g_ptr_array_index(names, i));
}

/* Returns: (transfer full): what has become of what this run had made. */
static char *
describe_undone(const GPtrArray *hosts, gboolean was_asked)
{
    g_autofree char *failures = hosts_describe_failures(hosts);
    GString *text = g_string_new(NULL);
    g_autoptr(GPtrArray) released = g_ptr_array_new();
    g_autoptr(GPtrArray) stays = g_ptr_array_new();
    g_autoptr(GPtrArray) found = g_ptr_array_new();
    g_autoptr(GPtrArray) unknown = g_ptr_array_new();

    for (guint i = 0; i < hosts->len; i++) {
        const HostsHost *host = g_ptr_array_index(hosts, i);
        const GError *failure = hosts_failure(host);

        if (failure && failure->code == CTL_EXIT_UNREACHABLE)
            g_ptr_array_add(unknown, host->name);
        else if (!failure && host->lock)
            g_ptr_array_add(host->released ? released : host->made ? stays : found, host->name);
    }
    g_string_append_printf(text, "NO-GO: the lock is not on all hosts (%s)", failures);
    append_names(text, "released again", released);
    append_names(text, "could not be released", stays);
    append_names(text, "left as an earlier run had made it", found);
    if (was_asked)
        append_names(text, "it is not known whether it is locked", unknown);
    if (released->len + stays->len + found->len == 0)
        g_string_append(text, "; nothing was locked");
    g_string_append_c(text, '.');
    return g_string_free(text, FALSE);
}

/* @was_asked: hosts may have taken the lock. Returns: an exit status. */
static int
give_up(const LockOptions *options, const HostsQuestion *question, HostsCrew *crew, HostsTask *task,
        gboolean was_asked)
{
    GPtrArray *hosts = hosts_crew_hosts(crew);
    g_autofree char *sentence = NULL;
    HostsReport report = {
        .options = &options->hosts, .question = question, .hosts = hosts, .verdict = "NO-GO"};

    if (was_asked)
        hosts_task_run(crew, hosts_undo, task);
    sentence = describe_undone(hosts, was_asked);
    report.sentence = sentence;
    report.is_undone = TRUE;
    hosts_report(&report);
    return hosts_failure_status(hosts);
}

/* Such a lock may be a slip. */
static void
warn_of_coverage(const GPtrArray *hosts, const HostsTask *task)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    g_autofree char *few = NULL;

    for (guint i = 0; i < hosts->len; i++) {
        const HostsHost *host = g_ptr_array_index(hosts, i);

        if (!hosts_failure(host) && host->lock && ctl_lock_covers_nothing(host->lock))
            g_ptr_array_add(names, host->name);
    }
    few = apmig_sentence_few(names, ", ");
    if (names->len > 0)
        fprintf(
            stderr,
            "apmigctl: Warning: %s covers no AP queue and no guest of %s: is the scope as it was meant?\n",
            apmig_scope_to_string(task->scope), few);
}

/* --- all ------------------------------------------------------------------------------------------ */

int
hosts_verb_lock(int argc, char **argv, GError **error)
{
    g_auto(LockOptions) options = {0};
    g_autoptr(HostsTask) task = parse(&argc, &argv, &options, error);

    if (!task)
        return CTL_EXIT_FAILURE;

    g_autoptr(HostsCrew) crew = hosts_crew_of(&options.hosts);
    GPtrArray *hosts = hosts_crew_hosts(crew);
    g_autoptr(HostsQuestion) question =
        hosts_question_new(options.hosts.names, options.hosts.except, task->change_id, task->scope);
    g_autoptr(ApmigFleetVerdict) verdict = NULL;

    hosts_task_run(crew, hosts_look_whether_free, task);
    if (hosts_failure_status(hosts) != CTL_EXIT_OK)
        return give_up(&options, question, crew, task, FALSE);
    /* Of two runs at once that name the same hosts, one gets the first host, and so all others. */
    hosts_crew_run(crew, hosts_take, task, hosts_task_clear, TRUE);
    if (hosts_failure_status(hosts) != CTL_EXIT_OK)
        return give_up(&options, question, crew, task, TRUE);
    verdict = hosts_ask_all(crew, question, task);
    warn_of_coverage(hosts, task);
    if (verdict->go == APMIG_FLEET_NO_GO && !options.hosts.common.quiet)
        fputs("apmigctl: the locks stay: ask again with ready, or release them with unlock\n", stderr);
    return hosts_report_verdict(&options.hosts, question, hosts, verdict);
}
