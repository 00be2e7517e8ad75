/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* May keys be changed now? Asked once, until it is so, or as long as it is. */
#include <stdio.h>

#include "hosts/follow.h"
#include "hosts/report.h"
#include "hosts/verbs.h"

typedef struct {
    HostsOptions hosts;
    char *scope, *timeout;
    gint64 deadline; /* monotonic */
    HostsCrew *crew;
    HostsTask *task;
    HostsQuestion *question;
    char *said;           /* (nullable): the sentence that was told last */
    GHashTable *breaches; /* by host: how many there were at first */
} Ready;

static void
ready_clear(Ready *ready)
{
    g_clear_pointer(&ready->crew, hosts_crew_end);
    g_clear_pointer(&ready->task, hosts_task_unref);
    g_clear_pointer(&ready->question, hosts_question_free);
    g_clear_pointer(&ready->breaches, g_hash_table_unref);
    hosts_options_clear(&ready->hosts);
    g_free(ready->scope);
    g_free(ready->timeout);
    g_free(ready->said);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Ready, ready_clear)

/* Reads the command line, and finds what is asked about. @may_end: there is a --timeout */
static gboolean
prepare(int *argc, char ***argv, const char *summary, gboolean may_end, Ready *ready, GError **error)
{
    const GOptionEntry entries[] = {
        {"scope", 0, 0, G_OPTION_ARG_STRING, &ready->scope,
         "Of which AP queues; needed where the change has several locks", "SCOPE"},
        {may_end ? "timeout" : NULL, 0, 0, G_OPTION_ARG_STRING, &ready->timeout,
         "Give up after TIME, such as 90s or 20min, and exit with 7 (default: never)", "TIME"},
        {NULL},
    };
    const CtlUsage usage = {"CHANGE-ID", summary, NULL, entries, 1, 1};
    gint64 timeout_usec;

    ready->deadline = G_MAXINT64;
    if (!hosts_parse_options(argc, argv, &usage, &ready->hosts, error) ||
        (ready->timeout && !ctl_parse_duration(ready->timeout, &timeout_usec, error)))
        return FALSE;
    if (ready->timeout)
        ready->deadline = g_get_monotonic_time() + timeout_usec;
    ready->crew = hosts_crew_of(&ready->hosts);
    ready->task = hosts_find_change(ready->crew, &ready->hosts, (*argv)[1], ready->scope, error);
    if (!ready->task)
        return FALSE;
    ready->question =
        hosts_question_new(ready->hosts.names, ready->hosts.except, (*argv)[1], ready->task->scope);
    return TRUE;
}

static const char ready_summary[] =
    "Has each host read its hypervisor anew, and says GO when all of them hold the lock of this change and no\n"
    "migration of an affected guest was found on any: then the keys may be changed. Else it says NO-GO and why.";

int
hosts_verb_ready(int argc, char **argv, GError **error)
{
    g_auto(Ready) ready = {0};
    g_autoptr(ApmigFleetVerdict) verdict = NULL;

    if (!prepare(&argc, &argv, ready_summary, FALSE, &ready, error))
        return CTL_EXIT_FAILURE;
    verdict = hosts_ask_all(ready.crew, ready.question, ready.task);
    return hosts_report_verdict(&ready.hosts, ready.question, hosts_crew_hosts(ready.crew), verdict);
}

/* --- as hosts change ------------------------------------------------------------------------------ */

/* Whether all hosts have answered, and none has such a lock. */
static gboolean
has_ended(const Ready *ready, const GPtrArray *answers)
{
    for (guint i = 0; i < answers->len; i++) {
        const HostsHost *host = g_ptr_array_index(answers, i);

        if (hosts_failure(host) || hosts_find_lock(host, ready->task, -1))
            return FALSE;
    }
    return TRUE;
}

/* Whether it is GO by hosts that were not asked at once: a hypervisor may have to be read anew though no signal says so. */
static gboolean
is_go_by_parts(const ApmigFleetVerdict *verdict, HostsAnswers are)
{
    return verdict->go != APMIG_FLEET_NO_GO && are != HOSTS_ANSWERS_TOGETHER;
}

/* Tells a sentence that is another than the last one. @stream: (nullable) */
static void
tell(Ready *ready, FILE *stream, const char *sentence)
{
    g_autofree char *time = ctl_format_time(g_get_real_time());
    g_autofree char *safe = ctl_escape(sentence);

    if (g_strcmp0(ready->said, sentence) == 0)
        return;
    g_free(ready->said);
    ready->said = g_strdup(sentence);
    if (!stream)
        return;
    fprintf(stream, "%s  %s\n", time, safe);
    fflush(stream); /* somebody may be reading from a pipe */
}

/* --- until it is so ------------------------------------------------------------------------------- */

static int
look_and_wait(const GPtrArray *answers, HostsAnswers are, gpointer data)
{
    Ready *wait = data;
    g_autoptr(ApmigFleetVerdict) verdict = hosts_question_judge(wait->question, answers);
    gboolean is_go = verdict->go != APMIG_FLEET_NO_GO, ended = has_ended(wait, answers);
    gboolean over = are != HOSTS_ANSWERS_COMING && g_get_monotonic_time() >= wait->deadline;
    int status;

    if (is_go_by_parts(verdict, are))
        return HOSTS_ASK_ALL;
    if (!is_go && !ended && !over) {
        tell(wait, wait->hosts.common.quiet ? NULL : stderr, verdict->sentence);
        return HOSTS_GO_ON;
    }
    status = hosts_report_verdict(&wait->hosts, wait->question, answers, verdict);
    return is_go ? status : ended ? CTL_EXIT_LOCK_ENDED : APMIG_EXIT_TIMEOUT;
}

static const char wait_summary[] =
    "Waits until all hosts hold the lock of this change and it is GO, and exits with 0; or until no host has it\n"
    "any more, and exits with 30. A host that cannot be reached is tried again. Ending this command changes nothing.";

int
hosts_verb_wait(int argc, char **argv, GError **error)
{
    g_auto(Ready) wait = {0};

    if (!prepare(&argc, &argv, wait_summary, TRUE, &wait, error))
        return CTL_EXIT_FAILURE;
    hosts_question_put(wait.question, APMIG_FLEET_LOCKED);
    return hosts_follow(wait.crew, wait.task, wait.deadline, look_and_wait, &wait);
}

/* --- as long as it is ----------------------------------------------------------------------------- */

/* Whether a migration has begun under the lock since the watch began. */
static gboolean
is_breached(Ready *watch, const HostsHost *host)
{
    gint64 breaches = ctl_int(host->lock, "Breaches");
    gpointer before;

    if (g_str_equal(ctl_string(host->lock, "State"), "breached"))
        return TRUE;
    if (g_hash_table_lookup_extended(watch->breaches, host->name, NULL, &before))
        return breaches > GPOINTER_TO_INT(before);
    g_hash_table_insert(watch->breaches, g_strdup(host->name), GINT_TO_POINTER((int)breaches));
    return FALSE;
}

/* Returns: an exit status: somebody has to look; -1: nobody has to. */
static int
find_alarm(Ready *watch, const GPtrArray *answers)
{
    int status = has_ended(watch, answers) ? CTL_EXIT_OK : -1;

    for (guint i = 0; i < answers->len; i++) {
        const HostsHost *host = g_ptr_array_index(answers, i);

        if (hosts_failure(host))
            status = status == CTL_EXIT_BREACHED ? status : CTL_EXIT_BLIND;
        else if (host->lock && is_breached(watch, host))
            status = CTL_EXIT_BREACHED;
        else if (host->lock && g_str_equal(ctl_string(host->lock, "State"), "unproven") && status < 0)
            status = CTL_EXIT_BLIND;
    }
    return status;
}

static int
look_and_watch(const GPtrArray *answers, HostsAnswers are, gpointer data)
{
    Ready *watch = data;
    g_autoptr(ApmigFleetVerdict) verdict = hosts_question_judge(watch->question, answers);
    int status = find_alarm(watch, answers);

    if (status >= 0) {
        hosts_report_verdict(&watch->hosts, watch->question, answers, verdict);
        return status;
    }
    if (is_go_by_parts(verdict, are) && g_strcmp0(watch->said, verdict->sentence) != 0)
        return HOSTS_ASK_ALL;
    tell(watch, watch->hosts.common.json == CTL_JSON_OFF ? stdout : NULL, verdict->sentence);
    return HOSTS_GO_ON;
}

static const char watch_summary[] =
    "Asks all hosts whether the keys may be changed, and again whenever one tells of a change, and prints what\n"
    "changes. Exits with 31 at the first migration under the lock of this change on any host, with 32 as soon as a\n"
    "host cannot be reached or what goes on there is not known, and with 0 when no host has the lock any more.";

int
hosts_verb_watch(int argc, char **argv, GError **error)
{
    g_auto(Ready) watch = {0};

    if (!prepare(&argc, &argv, watch_summary, FALSE, &watch, error))
        return CTL_EXIT_FAILURE;
    watch.breaches = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    hosts_question_put(watch.question, APMIG_FLEET_LOCKED);
    return hosts_follow(watch.crew, watch.task, G_MAXINT64, look_and_watch, &watch);
}
