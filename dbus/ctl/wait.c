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
} WaitOptions;

static void
wait_options_clear(WaitOptions *options)
{
    g_free(options->timeout);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(WaitOptions, wait_options_clear)

static const char wait_summary[] =
    "Waits until LOCK is held, and exits with 0; or until it has ended otherwise, and exits with 30. A lock "
    "that is\n"
    "breached or permitted, or whose release is under way, is waited for. Ending this command changes "
    "nothing.";

static gboolean
parse_wait_options(int *argc, char ***argv, WaitOptions *options, GError **error)
{
    const GOptionEntry entries[] = {
        {"timeout", 0, 0, G_OPTION_ARG_STRING, &options->timeout,
         "Give up after TIME, such as 90s or 20min, and exit with 7; the lock is not touched (default: "
         "never)",
         "TIME"},
        {NULL},
    };
    const CtlUsage usage = {"LOCK", wait_summary, NULL, entries, 1, 1};
    gint64 timeout_usec;

    options->deadline = G_MAXINT64;
    if (!ctl_parse_options(argc, argv, &usage, &options->common, error))
        return FALSE;
    if (!options->timeout)
        return TRUE;
    if (!ctl_parse_duration(options->timeout, &timeout_usec, error))
        return FALSE;
    options->deadline = g_get_monotonic_time() + timeout_usec;
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

/* @last: (inout): what was said last */
static void
print_waiting(JsonObject *lock, char **last, const CtlCommon *common)
{
    g_autofree char *waiting = ctl_escape(ctl_string(lock, "Waiting"));

    if (common->quiet || !isatty(STDERR_FILENO) || !*waiting || g_strcmp0(waiting, *last) == 0)
        return;
    fprintf(stderr, "waiting: %s\n", waiting);
    g_free(*last);
    *last = g_steal_pointer(&waiting);
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

static gboolean
wait_for_change(CtlFollow *follow, JsonObject *lock, gint64 deadline, GError **error)
{
    const char *waiting = ctl_string(lock, "Waiting");

    if (ctl_follow_wait(follow, deadline, error))
        return TRUE;
    if (g_error_matches(*error, CTL_ERROR, APMIG_EXIT_TIMEOUT))
        g_prefix_error(error, "lock %s is %s%s%s; ", ctl_string(lock, "Id"), ctl_string(lock, "State"),
                       *waiting ? ", waiting for: " : "", waiting);
    return FALSE;
}

static int
wait_for_lock(CtlFollow *follow, const char *name, const WaitOptions *options, GError **error)
{
    g_autofree char *wanted = g_strdup(name);
    g_autofree char *said = NULL;

    for (;;) {
        g_autoptr(GPtrArray) locks = NULL;
        g_autoptr(GPtrArray) migrations = NULL;

        if (!ctl_follow_read(follow, NULL, &locks, &migrations, error))
            return CTL_EXIT_FAILURE;

        JsonObject *lock = ctl_find_lock(locks, wanted, error);
        int status = lock ? judge(lock, error) : CTL_EXIT_FAILURE;

        if (lock && (status == CTL_EXIT_OK || status == CTL_EXIT_LOCK_ENDED))
            print_waited(lock, &options->common);
        if (status >= 0)
            return status;
        print_waiting(lock, &said, &options->common);
        if (!wait_for_change(follow, lock, options->deadline, error))
            return CTL_EXIT_FAILURE;
        g_free(wanted); /* the beginning of an id that sufficed may not any more */
        wanted = g_strdup(ctl_string(lock, "Path"));
    }
}

int
ctl_verb_wait(int argc, char **argv, GError **error)
{
    g_auto(WaitOptions) options = {0};

    if (!parse_wait_options(&argc, &argv, &options, error))
        return CTL_EXIT_FAILURE;

    g_autoptr(sd_bus) bus = ctl_bus_open(options.common.host, error);
    g_auto(CtlFollow) follow = {0};

    if (!bus || !ctl_follow_init(&follow, bus, error))
        return CTL_EXIT_FAILURE;
    return wait_for_lock(&follow, argv[1], &options, error);
}
