/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verb that lists the guests which a lock would concern. */
#include <stdio.h>

#include "ctl/bus.h"
#include "ctl/ctl.h"
#include "ctl/format.h"
#include "names.h"
#include "ctl/options.h"

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

/* Returns: (transfer full) (nullable): what ListGuests answers. */
static JsonNode *
list_guests(sd_bus *bus, const char *scope, GError **error)
{
    g_autoptr(sd_bus_message) call =
        ctl_bus_new_call(bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "ListGuests", error);

    if (!call || !ctl_bus_check(sd_bus_message_append(call, "sa{sv}", scope, 0), error))
        return NULL;

    g_autoptr(sd_bus_message) reply = ctl_bus_call(bus, call, CTL_CALL_USEC, NULL, NULL, error);
    JsonNode *node = reply ? ctl_bus_read_json(reply, error) : NULL;

    if (!node || JSON_NODE_HOLDS_ARRAY(node))
        return node;
    json_node_unref(node);
    g_set_error_literal(error, CTL_ERROR, CTL_EXIT_FAILURE, "apmigd's answer is no list");
    return NULL;
}

int
ctl_verb_affected(int argc, char **argv, GError **error)
{
    CtlCommon common = {0};
    const CtlUsage usage = {"SCOPE", affected_summary, NULL, NULL, 1, 1};

    if (!ctl_parse_options(&argc, &argv, &usage, &common, error))
        return CTL_EXIT_FAILURE;

    g_autoptr(sd_bus) bus = ctl_bus_open(common.host, error);
    g_autoptr(JsonNode) node = bus ? list_guests(bus, argv[1], error) : NULL;

    if (!node)
        return CTL_EXIT_FAILURE;
    if (common.json != CTL_JSON_OFF) {
        ctl_print_json(g_steal_pointer(&node), common.json);
        return CTL_EXIT_OK;
    }

    g_autoptr(GPtrArray) rows = rows_of(json_node_get_array(node));

    if (rows->len > 0)
        ctl_print_table(titles, rows, "");
    else if (!common.quiet)
        puts("No guest on this host has such queues.");
    return CTL_EXIT_OK;
}
