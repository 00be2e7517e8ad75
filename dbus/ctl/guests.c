/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs on guests of this host: which a lock would concern, and what apmigd wrote into them. */
#include <stdio.h>

#include "ctl/bus.h"
#include "ctl/ctl.h"
#include "ctl/format.h"
#include "names.h"
#include "ctl/options.h"

/* --- which a lock would concern ------------------------------------------------------------------ */

static const char *const titles[] = {"GUEST", "SCOPE", "COULD MIGRATE", "MIGRATES", NULL};

static const char affected_summary[] =
    "Lists the guests on this host that have AP queues in SCOPE (as of 'apmigctl lock'), those queues, and "
    "whether\n"
    "a lock of this host keeps the guest from migrating now. Nothing is changed.";

static GPtrArray *
rows_of(JsonArray *guests)
{
    GPtrArray *rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);

    for (guint i = 0; i < json_array_get_length(guests); i++) {
        JsonObject *guest = json_array_get_object_element(guests, i);
        const char *direction = ctl_string(guest, "direction");
        char **row = g_new0(char *, G_N_ELEMENTS(titles));

        row[0] = g_strdup(ctl_string(guest, "name"));
        row[1] = g_strdup(ctl_string(guest, "scope"));
        row[2] = ctl_bool(guest, "allowed") ? g_strdup("yes")
                                            : g_strdup_printf("no: %s", ctl_string(guest, "reason"));
        row[3] = g_strdup(*direction ? direction : "-");
        g_ptr_array_add(rows, row);
    }
    return rows;
}

static JsonArray *
list_guests(sd_bus *bus, const char *scope, GError **error)
{
    g_autoptr(sd_bus_message) call =
        ctl_bus_new_call(bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "ListGuests", error);

    if (!call || !ctl_bus_check(sd_bus_message_append(call, "sa{sv}", scope, 0), error))
        return NULL;
    return ctl_bus_call_for_list(bus, call, error);
}

int
ctl_verb_affected(int argc, char **argv, GError **error)
{
    g_auto(CtlCommon) common = {0};
    const CtlUsage usage = {"SCOPE", affected_summary, NULL, NULL, 1, 1};

    if (!ctl_parse_options(&argc, &argv, &usage, &common, error))
        return CTL_EXIT_FAILURE;

    g_autoptr(sd_bus) bus = ctl_bus_open(&common, error);
    g_autoptr(JsonArray) guests = bus ? list_guests(bus, argv[1], error) : NULL;
    g_autoptr(JsonObject) manager = guests ? ctl_bus_get_manager(bus, error) : NULL;

    if (!manager)
        return CTL_EXIT_FAILURE;

    g_autoptr(GPtrArray) rows = rows_of(guests);

    if (common.json != CTL_JSON_OFF)
        ctl_print_json(json_node_init_array(json_node_alloc(), guests), common.json);
    else if (rows->len > 0)
        ctl_print_table(titles, rows, "");
    else if (!common.quiet)
        puts("No guest on this host has such queues.");
    if (common.json == CTL_JSON_OFF && rows->len > 0 && !ctl_bool(manager, "Locked"))
        puts(CTL_UNWATCHED);
    return CTL_EXIT_OK;
}

/* --- stamps -------------------------------------------------------------------------------------- */

/* A write into the metadata of a guest whose migration begins at that moment takes libvirt 30 s. */
#define UNSTAMP_USEC (60 * G_USEC_PER_SEC)

/* Returns: NULL with @error set. */
static const char *
choose_guest(int argc, char **argv, gboolean all, GError **error)
{
    if (all == (argc > 1)) {
        g_set_error_literal(error, CTL_ERROR, CTL_EXIT_USAGE, "name a guest, or give --all");
        return NULL;
    }
    if (!all && *argv[1] == '\0') {
        g_set_error_literal(error, CTL_ERROR, CTL_EXIT_USAGE, "the guest's name is empty");
        return NULL;
    }
    return all ? "" : argv[1];
}

int
ctl_verb_unstamp(int argc, char **argv, GError **error)
{
    g_auto(CtlCommon) common = {0};
    gboolean all = FALSE;
    const GOptionEntry entries[] = {
        {"all", 0, 0, G_OPTION_ARG_NONE, &all, "Of all guests that run on this host", NULL},
        {NULL},
    };
    const CtlUsage usage = {"GUEST|--all",
                            "Takes away what apmigd wrote into the metadata of GUEST, a name or UUID, for "
                            "the hosts where it goes:\n"
                            "this host's lock, AP queues and keys. It is written again when there is a "
                            "cause: a start of the guest,\n"
                            "a lock; the policy \"stamp\": \"off\" ends that. As root.",
                            NULL,
                            entries,
                            0,
                            1};
    const char *guest;
    guint32 n_removed;

    if (!ctl_parse_options(&argc, &argv, &usage, &common, error))
        return CTL_EXIT_FAILURE;
    guest = choose_guest(argc, argv, all, error);
    if (!guest)
        return CTL_EXIT_USAGE;

    g_autoptr(sd_bus) bus = ctl_bus_open(&common, error);
    g_autoptr(sd_bus_message) call =
        bus ? ctl_bus_new_call(bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "RemoveStamps", error) : NULL;

    if (!call || !ctl_bus_check(sd_bus_message_append(call, "s", guest), error))
        return CTL_EXIT_FAILURE;

    g_autoptr(sd_bus_message) reply = ctl_bus_call(bus, call, UNSTAMP_USEC, NULL, NULL, error);

    if (!reply || !ctl_bus_check(sd_bus_message_read(reply, "u", &n_removed), error))
        return CTL_EXIT_FAILURE;
    if (!common.quiet)
        printf("%u stamp%s taken away\n", n_removed, n_removed == 1 ? "" : "s");
    return CTL_EXIT_OK;
}
