/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/follow.h"

#include <errno.h>

#include "ctl/format.h"
#include "names.h"

/* --- signals ------------------------------------------------------------------------------------- */

/* Anybody may send a signal of that name to this connection alone. */
static gboolean
is_of_apmigd(const CtlFollow *follow, sd_bus_message *signal)
{
    return !follow->owner || g_strcmp0(follow->owner, sd_bus_message_get_sender(signal)) == 0;
}

static void
on_manager_changed(CtlFollow *follow, sd_bus_message *signal)
{
    const char *interface;
    g_autoptr(JsonNode) node = NULL;

    if (sd_bus_message_read_basic(signal, 's', &interface) <= 0 || !g_str_equal(interface, APMIG_BUS_MANAGER))
        return;
    node = ctl_bus_read_json(signal, NULL);
    if (node && JSON_NODE_HOLDS_OBJECT(node) &&
        g_str_equal(ctl_string(json_node_get_object(node), "HypervisorState"), "disconnected"))
        follow->view_lost = TRUE;
}

static int
on_signal(sd_bus_message *signal, void *user_data, sd_bus_error *ret_error)
{
    CtlFollow *follow = user_data;

    if (!is_of_apmigd(follow, signal))
        return 0;
    follow->changed = TRUE;
    if (sd_bus_message_is_signal(signal, "org.freedesktop.DBus.Properties", "PropertiesChanged") > 0)
        on_manager_changed(follow, signal);
    return 0;
}

static int
on_name_owner_changed(sd_bus_message *signal, void *user_data, sd_bus_error *ret_error)
{
    CtlFollow *follow = user_data;
    const char *old_owner, *new_owner;

    if (sd_bus_message_read(signal, "sss", NULL, &old_owner, &new_owner) <= 0)
        return 0;
    follow->left |= *old_owner != '\0';
    follow->changed = TRUE;
    g_free(follow->owner);
    follow->owner = *new_owner ? g_strdup(new_owner) : NULL;
    return 0;
}

/* Asynchronously, since the calls that follow on the same connection come after it in any case: no change is missed. */
static gboolean
follow_init(CtlFollow *follow, sd_bus *bus, GError **error)
{
    int r = sd_bus_add_match_async(bus, &follow->signals, CTL_MATCH_SIGNALS, on_signal, NULL, follow);

    follow->bus = bus;
    if (r >= 0)
        r = sd_bus_add_match_async(bus, &follow->names, CTL_MATCH_NAMES, on_name_owner_changed, NULL, follow);
    return ctl_bus_check(r, error);
}

static void
follow_clear(CtlFollow *follow)
{
    g_clear_pointer(&follow->signals, sd_bus_slot_unref);
    g_clear_pointer(&follow->names, sd_bus_slot_unref);
    g_clear_pointer(&follow->owner, g_free);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CtlFollow, follow_clear)

/* --- reading ------------------------------------------------------------------------------------- */

/* No bus tells that apmigd has left, and only apmigd can be at the other end. */
static gboolean
has_left_connection(const CtlFollow *follow)
{
    return sd_bus_is_bus_client(follow->bus) <= 0 && sd_bus_is_open(follow->bus) <= 0;
}

gboolean
ctl_follow_read(CtlFollow *follow, JsonObject **ret_manager, GPtrArray **ret_locks,
                GPtrArray **ret_migrations, GError **error)
{
    g_autoptr(JsonObject) manager = NULL;
    gboolean is_read;

    follow->changed = FALSE;
    is_read = ctl_bus_get_objects(follow->bus, CTL_CALL_USEC, TRUE, ret_locks, ret_migrations, error);
    if (is_read && ret_manager)
        is_read = (manager = ctl_bus_get_manager(follow->bus, error)) != NULL;
    if (is_read && !follow->owner)
        is_read = (follow->owner = ctl_bus_get_owner(follow->bus, error)) != NULL;
    follow->left |= has_left_connection(follow);
    if (is_read && ret_manager)
        *ret_manager = g_steal_pointer(&manager);
    return is_read;
}

/* --- waiting ------------------------------------------------------------------------------------- */

static gboolean
has_changed(gpointer data)
{
    const CtlFollow *follow = data;

    return follow->changed;
}

/* Until apmigd has told of a change since the last reading began; what it tells together is read once. */
static gboolean
wait_for_change(CtlFollow *follow, gint64 deadline, GError **error)
{
    int r = ctl_bus_wait(follow->bus, has_changed, follow, deadline, NULL, NULL);

    while (r >= 0) {
        r = sd_bus_process(follow->bus, NULL);
        if (r == 0)
            return TRUE;
    }
    if (r == -ETIMEDOUT) {
        g_set_error_literal(error, CTL_ERROR, APMIG_EXIT_TIMEOUT, "the time is up");
        return FALSE;
    }
    if (has_left_connection(follow)) {
        follow->left = TRUE;
        return TRUE;
    }
    g_set_error(error, CTL_ERROR, CTL_EXIT_UNREACHABLE, "the system bus: %s", g_strerror(-r));
    return FALSE;
}

int
ctl_follow(const char *host, gint64 deadline, CtlLookFunc look, gpointer data, GError **error)
{
    g_autoptr(sd_bus) bus = ctl_bus_open_host(host, error);
    g_auto(CtlFollow) follow = {0};

    if (!bus || !follow_init(&follow, bus, error))
        return CTL_EXIT_FAILURE;
    for (;;) {
        int status = look(&follow, data, error);

        if (status >= 0)
            return status;
        if (!wait_for_change(&follow, deadline, error))
            return CTL_EXIT_FAILURE;
    }
}
