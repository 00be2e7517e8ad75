/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs that change a lock that is there: whose it is, until when it is needed, and what for. */
#include <stdio.h>

#include "ctl/agent.h"
#include "ctl/ctl.h"
#include "ctl/lock.h"
#include "names.h"
#include "ctl/options.h"

static const char take_over_summary[] =
    "Makes LOCK yours, as when a shift ends: it stays in force, and its reason stays. The journal has the "
    "old and the\n"
    "new owner, and REASON. A lock that its requester still waits for cannot be taken over.";
static const char extend_summary[] =
    "Says anew how long LOCK will be needed, from now: TIME such as 3h or 2d. It is then no longer overdue. "
    "A lock\n"
    "never ends by itself.";
static const char annotate_summary[] =
    "Adds TEXT to the reason of LOCK, which everybody reads whose migration is refused; quote it. Together "
    "they have\n"
    "256 bytes at most. The journal has what it was.";

/* Returns: (transfer full) (nullable): the path of the lock that goes by @name. */
static char *
find_path(sd_bus *bus, const char *name, GError **error)
{
    g_autoptr(GPtrArray) locks = NULL;
    g_autoptr(GPtrArray) migrations = NULL;
    JsonObject *lock;

    if (!ctl_bus_get_objects(bus, CTL_CALL_USEC, FALSE, &locks, &migrations, error))
        return NULL;
    lock = ctl_find_lock(locks, name, error);
    return lock ? g_strdup(ctl_string(lock, "Path")) : NULL;
}

/* Returns: a call of @member of the lock that goes by @name, without arguments yet. */
static sd_bus_message *
new_call(sd_bus *bus, const char *name, const char *member, GError **error)
{
    g_autofree char *path = find_path(bus, name, error);

    return path ? ctl_bus_new_call(bus, path, APMIG_BUS_LOCK, member, error) : NULL;
}

/* The lock as it is then, and @sentence after its id. Returns: an exit status. */
static int
print_amended(sd_bus *bus, const char *path, const char *sentence, const CtlCommon *common, GError **error)
{
    g_autoptr(GPtrArray) locks = NULL;
    g_autoptr(GPtrArray) migrations = NULL;
    JsonObject *lock;

    if (common->quiet && common->json == CTL_JSON_OFF)
        return CTL_EXIT_OK;
    if (!ctl_bus_get_objects(bus, CTL_CALL_USEC, TRUE, &locks, &migrations, error))
        return CTL_EXIT_FAILURE;
    lock = ctl_find_lock(locks, path, error);
    if (!lock)
        return CTL_EXIT_FAILURE;
    if (common->json != CTL_JSON_OFF)
        ctl_print_json(json_node_init_object(json_node_alloc(), lock), common->json);
    else
        printf("Lock %s %s\n", ctl_string(lock, "Id"), sentence);
    return CTL_EXIT_OK;
}

static int
amend(sd_bus *bus, sd_bus_message *call, const char *sentence, const CtlCommon *common, GError **error)
{
    g_autoptr(sd_bus_message) reply = ctl_bus_call(bus, call, CTL_STUCK_USEC, NULL, NULL, error);

    return reply ? print_amended(bus, sd_bus_message_get_path(call), sentence, common, error)
                 : CTL_EXIT_FAILURE;
}

int
ctl_verb_take_over(int argc, char **argv, GError **error)
{
    CtlCommon common = {0};
    g_autofree char *reason = NULL;
    const GOptionEntry entries[] = {
        {"reason", 0, 0, G_OPTION_ARG_STRING, &reason, "Why, for the records; needed", "REASON"},
        {NULL},
    };
    const CtlUsage usage = {"LOCK", take_over_summary, NULL, entries, 1, 1};

    if (!ctl_parse_options(&argc, &argv, &usage, &common, error))
        return CTL_EXIT_FAILURE;
    if (!reason) {
        g_set_error_literal(error, CTL_ERROR, CTL_EXIT_USAGE, "say why, with --reason=");
        return CTL_EXIT_USAGE;
    }

    g_autoptr(CtlAgent) agent = NULL;
    g_autoptr(sd_bus) bus = ctl_bus_open_to_change(&common, &agent, error);
    g_autoptr(sd_bus_message) call = bus ? new_call(bus, argv[1], "TakeOver", error) : NULL;

    if (!call || !ctl_bus_check(sd_bus_message_append(call, "sa{sv}", reason, 0), error))
        return CTL_EXIT_FAILURE;
    return amend(bus, call, "is yours now.", &common, error);
}

int
ctl_verb_extend(int argc, char **argv, GError **error)
{
    CtlCommon common = {0};
    const CtlUsage usage = {"LOCK TIME", extend_summary, NULL, NULL, 2, 2};
    gint64 duration_usec;

    if (!ctl_parse_options(&argc, &argv, &usage, &common, error) ||
        !ctl_parse_duration(argv[2], &duration_usec, error))
        return CTL_EXIT_FAILURE;

    g_autoptr(CtlAgent) agent = NULL;
    g_autoptr(sd_bus) bus = ctl_bus_open_to_change(&common, &agent, error);
    g_autoptr(sd_bus_message) call = bus ? new_call(bus, argv[1], "Extend", error) : NULL;
    g_autofree char *until = ctl_format_time(g_get_real_time() + duration_usec);
    g_autofree char *sentence = g_strdup_printf("is expected to be released by %s.", until);

    if (!call || !ctl_bus_check(sd_bus_message_append(call, "ta{sv}", (uint64_t)duration_usec, 0), error))
        return CTL_EXIT_FAILURE;
    return amend(bus, call, sentence, &common, error);
}

int
ctl_verb_annotate(int argc, char **argv, GError **error)
{
    CtlCommon common = {0};
    gboolean replace = FALSE;
    const GOptionEntry entries[] = {
        {"replace", 0, 0, G_OPTION_ARG_NONE, &replace, "Put TEXT in place of what the reason says", NULL},
        {NULL},
    };
    const CtlUsage usage = {"LOCK TEXT", annotate_summary, NULL, entries, 2, 2};
    int r = 0;

    if (!ctl_parse_options(&argc, &argv, &usage, &common, error))
        return CTL_EXIT_FAILURE;

    g_autoptr(CtlAgent) agent = NULL;
    g_autoptr(sd_bus) bus = ctl_bus_open_to_change(&common, &agent, error);
    g_autoptr(sd_bus_message) call = bus ? new_call(bus, argv[1], "Annotate", error) : NULL;

    if (call)
        r = replace ? sd_bus_message_append(call, "sa{sv}", argv[2], 1, "replace", "b", TRUE)
                    : sd_bus_message_append(call, "sa{sv}", argv[2], 0);
    if (!call || !ctl_bus_check(r, error))
        return CTL_EXIT_FAILURE;
    return amend(bus, call, "has a new reason.", &common, error);
}
