/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All locks of a change are released once the keys agree across hosts; and the same comparison without a lock. */
#include <stdio.h>

#include "base/sentence.h"
#include "hosts/locks.h"
#include "hosts/report.h"
#include "hosts/verbs.h"

typedef struct {
    HostsOptions hosts;
    char *scope;
    gboolean force, compare;
} UnlockOptions;

static void
unlock_options_clear(UnlockOptions *options)
{
    hosts_options_clear(&options->hosts);
    g_free(options->scope);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(UnlockOptions, unlock_options_clear)

static const char unlock_summary[] =
    "Asks the cards of all hosts for their master keys, compares them across hosts, and releases the locks of this\n"
    "change on all of them when no key is known to differ; else on none. What no host can see is listed. A host that\n"
    "cannot be asked keeps all locks, but for one that --except leaves out: that stays locked.";

/* --- the judge ------------------------------------------------------------------------------------ */

static int
status_of(const ApmigFleetRelease *release, const GPtrArray *hosts)
{
    if (release->standing == APMIG_FLEET_RELEASE_IN_STEP)
        return CTL_EXIT_OK;
    if (release->standing == APMIG_FLEET_RELEASE_REFUSED)
        return (int)apmig_error_exit_status(release->code);
    return MAX(hosts_failure_status(hosts), CTL_EXIT_FAILURE);
}

/* Nobody's keys have been changed under a lock that was never held. */
static gboolean
was_held(const GPtrArray *hosts)
{
    for (guint i = 0; i < hosts->len; i++) {
        const HostsHost *host = g_ptr_array_index(hosts, i);

        if (hosts_failure(host) || (host->lock && ctl_int(host->lock, "HeldAt") > 0))
            return TRUE;
    }
    return FALSE;
}

/* --- releasing ------------------------------------------------------------------------------------ */

/* Returns: an exit status: of the first that was not released, or cannot be reached. */
static int
release_status(const GPtrArray *hosts)
{
    int status = hosts_failure_status(hosts);

    for (guint i = 0; i < hosts->len; i++) {
        const HostsHost *host = g_ptr_array_index(hosts, i);

        if (!hosts_failure(host) && host->release_error &&
            (status == CTL_EXIT_OK || status == CTL_EXIT_UNREACHABLE))
            status = host->release_error->code;
    }
    return status;
}

/* Returns: (transfer full): how many were released, and where not. */
static char *
describe_release(const GPtrArray *hosts, const char *change_id)
{
    g_autoptr(GPtrArray) stays = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *few = NULL;
    guint n_released = 0;

    for (guint i = 0; i < hosts->len; i++) {
        const HostsHost *host = g_ptr_array_index(hosts, i);
        const GError *failure = hosts_failure(host);

        n_released += !failure && host->released;
        if (failure || host->release_error)
            g_ptr_array_add(stays,
                            g_strdup_printf("%s (%s)", host->name,
                                            failure ? failure->message : host->release_error->message));
    }
    few = apmig_sentence_few(stays, ", ");
    if (stays->len == 0)
        return g_strdup_printf("Released: the lock of change %s on %u hosts.", change_id, n_released);
    return g_strdup_printf(
        "Not released on all hosts: the lock of change %s on %u hosts; it is there yet, or may be, on %s.",
        change_id, n_released, few);
}

static int
release_all(const UnlockOptions *options, HostsReport *report, HostsCrew *crew, HostsTask *task)
{
    g_autofree char *sentence = NULL;

    hosts_task_run(crew, hosts_release, task);
    sentence = describe_release(report->hosts, task->change_id);
    report->sentence = sentence;
    report->verdict = release_status(report->hosts) == CTL_EXIT_OK ? "RELEASED" : "NOT-RELEASED";
    hosts_report(report);
    return release_status(report->hosts);
}

static gboolean
is_locked_anywhere(const GPtrArray *hosts)
{
    for (guint i = 0; i < hosts->len; i++) {
        const HostsHost *host = g_ptr_array_index(hosts, i);

        if (!hosts_failure(host) && host->lock)
            return TRUE;
    }
    return FALSE;
}

/* Compares first, unless that was asked not to be done. */
static int
judge_and_release(const UnlockOptions *options, HostsCrew *crew, HostsTask *task)
{
    GPtrArray *hosts = hosts_crew_hosts(crew);
    g_autoptr(HostsQuestion) question =
        hosts_question_new(options->hosts.names, options->hosts.except, task->change_id, task->scope);
    g_autoptr(ApmigFleetRelease) release = NULL;
    HostsReport report = {
        .options = &options->hosts, .question = question, .hosts = hosts, .verdict = "REFUSED"};

    hosts_question_put(question, APMIG_FLEET_RELEASING);
    task->keys_after = question->asked_at;
    hosts_task_run(crew, options->force ? hosts_ask : hosts_ask_with_keys, task);
    if (!is_locked_anywhere(hosts)) {
        report.sentence = "No host that answers has such a lock.";
        hosts_report(&report);
        return MAX(hosts_failure_status(hosts), APMIG_EXIT_NOT_FOUND);
    }
    if (options->force || !was_held(hosts))
        return release_all(options, &report, crew, task);
    release = hosts_question_judge_release(question, hosts);
    report.release = release;
    report.sentence = release->message;
    if (release->standing == APMIG_FLEET_RELEASE_IN_STEP)
        return release_all(options, &report, crew, task);
    hosts_report(&report);
    return status_of(release, hosts);
}

int
hosts_verb_unlock(int argc, char **argv, GError **error)
{
    g_auto(UnlockOptions) options = {0};
    const GOptionEntry entries[] = {
        {"scope", 0, 0, G_OPTION_ARG_STRING, &options.scope,
         "Of which AP queues; needed where the change has several locks", "SCOPE"},
        {"force", 0, 0, G_OPTION_ARG_NONE, &options.force,
         "Compare no keys, and release where a host can be reached; needs an authorization of its own there",
         NULL},
        {NULL},
    };
    const CtlUsage usage = {"CHANGE-ID", unlock_summary, NULL, entries, 1, 1};

    if (!hosts_parse_options(&argc, &argv, &usage, &options.hosts, error))
        return CTL_EXIT_FAILURE;

    g_autoptr(HostsCrew) crew = hosts_crew_of(&options.hosts);
    g_autoptr(HostsTask) task = hosts_find_change(crew, &options.hosts, argv[1], options.scope, error);

    if (!task)
        return CTL_EXIT_FAILURE;
    task->force = options.force; /* no thread has it yet */
    return judge_and_release(&options, crew, task);
}

/* --- without a lock ------------------------------------------------------------------------------- */

static const char keys_summary[] =
    "Asks the cards of all hosts for the master keys of the AP queues in SCOPE (default: all), and compares them\n"
    "across hosts: a guest finds the same queue at its destination. Exits with 11 where they are known to differ or a\n"
    "change is not finished. What is not known is listed, and agrees with nothing.";

static void
report_keys(const HostsOptions *options, const HostsQuestion *question, const GPtrArray *hosts,
            const ApmigFleetRelease *release)
{
    gboolean in_step = release->standing == APMIG_FLEET_RELEASE_IN_STEP;
    const HostsReport report = {.options = options,
                                .question = question,
                                .hosts = hosts,
                                .verdict = in_step                                            ? "IN-STEP"
                                           : release->standing == APMIG_FLEET_RELEASE_REFUSED ? "DIFFER"
                                                                                              : "UNANSWERED",
                                .sentence =
                                    in_step ? "In step: no key is known to differ." : release->message,
                                .release = release};

    if (options->common.json == CTL_JSON_OFF && !options->common.quiet) {
        hosts_print_keys(release->findings);
        if (*release->unverified)
            puts(release->unverified);
    }
    if (options->common.json == CTL_JSON_OFF)
        puts(report.sentence);
    else
        hosts_report(&report);
}

int
hosts_verb_keys(int argc, char **argv, GError **error)
{
    g_auto(UnlockOptions) options = {0};
    const GOptionEntry entries[] = {
        {"compare", 0, 0, G_OPTION_ARG_NONE, &options.compare, "Compare across hosts, as is done anyway",
         NULL},
        {NULL},
    };
    const CtlUsage usage = {"[SCOPE]", keys_summary, NULL, entries, 0, 1};

    if (!hosts_parse_options(&argc, &argv, &usage, &options.hosts, error))
        return CTL_EXIT_FAILURE;

    g_autoptr(HostsTask) task = hosts_task_new(options.hosts.silence_usec);
    g_autoptr(HostsQuestion) question = NULL;
    g_autoptr(HostsCrew) crew = NULL;
    g_autoptr(ApmigFleetRelease) release = NULL;

    task->scope = hosts_parse_scope(argc > 1 ? argv[1] : "all", error);
    if (!task->scope)
        return CTL_EXIT_FAILURE;
    crew = hosts_crew_of(&options.hosts);
    question = hosts_question_new(options.hosts.names, options.hosts.except, "", task->scope);
    hosts_question_put(question, APMIG_FLEET_RELEASING);
    task->keys_after = question->asked_at;
    hosts_task_run(crew, hosts_ask_keys, task);
    release = hosts_question_judge_release(question, hosts_crew_hosts(crew));
    report_keys(&options.hosts, question, hosts_crew_hosts(crew), release);
    return status_of(release, hosts_crew_hosts(crew));
}
