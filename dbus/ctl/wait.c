/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verb that waits for a lock. */
#include <stdio.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "ctl/follow.h"
#include "ctl/lock.h"
#include "ctl/options.h"

typedef struct {
    CtlCommon common;
    char *timeout;
    gint64 deadline; /* monotonic */
    char *wanted; /* the lock: as it was named, then its path: the beginning of an id may not suffice later */
    char *standing; /* (nullable): a clause on how it was when last looked at */
    char *said;     /* (nullable): what was printed last of what is waited for */
} Wait;

static void
wait_clear(Wait *wait)
{
    ctl_common_clear(&wait->common);
    g_free(wait->timeout);
    g_free(wait->wanted);
    g_free(wait->standing);
    g_free(wait->said);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Wait, wait_clear)

static const char wait_summary[] =
    "Waits until LOCK is held, and exits with 0; or until it has ended otherwise, and exits with 30. A lock "
    "that is\n"
    "breached, unproven or permitted, or whose release is under way, is waited for. Ending this command "
    "changes\n"
    "nothing.";

static gboolean
parse_wait_options(int *argc, char ***argv, Wait *wait, GError **error)
{
    const GOptionEntry entries[] = {
        {"timeout", 0, 0, G_OPTION_ARG_STRING, &wait->timeout,
         "Give up after TIME, such as 90s or 20min, and exit with 7; the lock is not touched (default: "
         "never)",
         "TIME"},
        {NULL},
    };
    const CtlUsage usage = {"LOCK", wait_summary, NULL, entries, 1, 1};
    gint64 timeout_usec;

    wait->deadline = G_MAXINT64;
    if (!ctl_parse_options(argc, argv, &usage, &wait->common, error))
        return FALSE;
    if (!wait->timeout)
        return TRUE;
    if (!ctl_parse_duration(wait->timeout, &timeout_usec, error))
        return FALSE;
    wait->deadline = g_get_monotonic_time() + timeout_usec;
    return TRUE;
}

static void
print_waited(JsonObject *lock, const CtlCommon *common)
{
    g_autofree char *result = ctl_escape(ctl_string(lock, "Result"));
    g_autofree char *message = ctl_escape(ctl_string(lock, "Message"));

    if (common->json != CTL_JSON_OFF)
        ctl_print_json(json_node_init_object(json_node_alloc(), lock), common->json);
    else if (!common->quiet && *result)
        printf("Lock %s has ended: %s: %s\n", ctl_string(lock, "Id"), result, message);
    else if (!common->quiet)
        printf("Lock %s is held.\n", ctl_string(lock, "Id"));
}

static void
print_waiting(Wait *wait, JsonObject *lock)
{
    g_autofree char *waiting = ctl_escape(ctl_string(lock, "Waiting"));

    if (wait->common.quiet || !isatty(STDERR_FILENO) || !*waiting || g_strcmp0(waiting, wait->said) == 0)
        return;
    fprintf(stderr, "waiting: %s\n", waiting);
    g_free(wait->said);
    wait->said = g_steal_pointer(&waiting);
}

/* Returns: an exit status; -1: neither held nor ended. */
static int
judge(JsonObject *lock, GError **error)
{
    const char *state = ctl_string(lock, "State");

    if (g_str_equal(state, "held"))
        return CTL_EXIT_OK;
    if (g_str_equal(state, "ended"))
        return CTL_EXIT_LOCK_ENDED;
    if (!g_str_equal(state, "recovered"))
        return -1;
    g_set_error(
        error, CTL_ERROR, APMIG_EXIT_REFUSED,
        "lock %s stands for a damaged one, of which held is never said; when the keys are known to be "
        "in step: apmigctl unlock --force %s",
        ctl_string(lock, "Id"), ctl_string(lock, "Id"));
    return APMIG_EXIT_REFUSED;
}

static void
remember(Wait *wait, JsonObject *lock)
{
    const char *waiting = ctl_string(lock, "Waiting");

    g_free(wait->wanted);
    wait->wanted = g_strdup(ctl_string(lock, "Path"));
    g_free(wait->standing);
    wait->standing = g_strdup_printf("lock %s is %s%s%s", ctl_string(lock, "Id"), ctl_string(lock, "State"),
                                     *waiting ? ", waiting for: " : "", waiting);
}

static int
look(CtlFollow *follow, gpointer data, GError **error)
{
    Wait *wait = data;
    g_autoptr(GPtrArray) locks = NULL;
    g_autoptr(GPtrArray) migrations = NULL;
    JsonObject *lock;
    int status;

    if (!ctl_follow_read(follow, NULL, &locks, &migrations, error))
        return CTL_EXIT_FAILURE;
    lock = ctl_find_lock(locks, wait->wanted, error);
    if (!lock)
        return CTL_EXIT_FAILURE;
    status = judge(lock, error);
    if (status == CTL_EXIT_OK || status == CTL_EXIT_LOCK_ENDED)
        print_waited(lock, &wait->common);
    if (status >= 0)
        return status;
    print_waiting(wait, lock);
    remember(wait, lock);
    return -1;
}

int
ctl_verb_wait(int argc, char **argv, GError **error)
{
    g_auto(Wait) wait = {0};
    GError *problem = NULL;
    int status;

    if (!parse_wait_options(&argc, &argv, &wait, error))
        return CTL_EXIT_FAILURE;
    wait.wanted = g_strdup(argv[1]);
    status = ctl_follow(wait.common.host, wait.deadline, look, &wait, &problem);
    if (wait.standing && g_error_matches(problem, CTL_ERROR, APMIG_EXIT_TIMEOUT))
        g_prefix_error(&problem, "%s; ", wait.standing);
    if (problem)
        g_propagate_error(error, problem);
    return status;
}
