/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/unit.h"

#include <stdlib.h>

#define SYSTEMD_NAME "org.freedesktop.systemd1"
#define SYSTEMD_UNIT "org.freedesktop.systemd1.Unit"
#define UNIT_PREFIX  "/org/freedesktop/systemd1/unit"

/* Returns: (transfer full) (nullable): all properties that units of every type have. */
static JsonNode *
read_properties(sd_bus *bus, const char *name)
{
    g_autoptr(sd_bus_message) call = NULL;
    g_autoptr(sd_bus_message) reply = NULL;
    char *path = NULL;
    int r = sd_bus_path_encode(UNIT_PREFIX, name, &path);

    if (r >= 0)
        r = sd_bus_message_new_method_call(bus, &call, SYSTEMD_NAME, path, "org.freedesktop.DBus.Properties",
                                           "GetAll");
    free(path);
    if (r >= 0)
        r = sd_bus_message_append(call, "s", SYSTEMD_UNIT);
    if (r >= 0)
        reply = ctl_bus_call(bus, call, CTL_CALL_USEC, NULL, NULL, NULL);
    return reply ? ctl_bus_read_json(reply, NULL) : NULL;
}

CtlUnit
ctl_unit_read(sd_bus *bus, const char *name)
{
    g_autoptr(JsonNode) node = read_properties(bus, name);
    JsonObject *properties = node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
    const char *state;

    if (!properties)
        return (CtlUnit){0};
    state = ctl_string(properties, "ActiveState");
    return (CtlUnit){
        .known = TRUE,
        .loaded = g_str_equal(ctl_string(properties, "LoadState"), "loaded"),
        .active = g_str_equal(state, "active") || g_str_equal(state, "reloading"),
        .changed_at = ctl_int(properties, "StateChangeTimestamp"),
    };
}
