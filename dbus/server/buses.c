/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A bus that speaks to us: its end, and that it is given up when it does not read what we say. */
#include "server/private.h"

static gboolean
call_lost_func(gpointer user_data)
{
    ApmigBus *bus = user_data;

    bus->lost_func(bus, bus->data);
    return G_SOURCE_REMOVE;
}

/* Later, not from within sd-bus: the function frees the bus. The id stays, so that it comes once. */
void
apmig_bus_give_up(ApmigBus *bus)
{
    if (bus->lost_id == 0)
        bus->lost_id = g_timeout_add(0, call_lost_func, bus);
}

void
apmig_bus_check_queue(ApmigBus *bus)
{
    guint64 waiting = 0;

    if (bus->lost_id != 0 || sd_bus_get_n_queued_write(bus->bus, &waiting) < 0 || waiting == 0)
        return;
    if (bus->unread_func)
        bus->unread_func(bus, bus->data);
    if (waiting <= bus->queue_max)
        return;
    bus->is_slow = TRUE;
    apmig_bus_give_up(bus);
}

ApmigBus *
apmig_bus_next(GHashTableIter *iter)
{
    gpointer value;

    while (g_hash_table_iter_next(iter, NULL, &value)) {
        ApmigBus *bus = value;

        if (bus->lost_id == 0)
            return bus;
    }
    return NULL;
}

static int
on_disconnected(sd_bus_message *signal, void *user_data, sd_bus_error *ret_error)
{
    apmig_bus_give_up(user_data);
    return 0;
}

/* What is answered at once is sent by then. Returns: positive: nobody else gets it. */
static int
on_message(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    ApmigBus *bus = user_data;

    apmig_bus_check_queue(bus);
    return bus->lost_id != 0;
}

ApmigBus *
apmig_bus_new(ApmigServer *server, sd_bus *sd, sd_event *event, guint queue_max, ApmigBusFunc lost,
              gpointer user_data, int *ret_error)
{
    ApmigBus *bus = g_new0(ApmigBus, 1);
    int r = sd_bus_attach_event(sd, event, SD_EVENT_PRIORITY_NORMAL);

    bus->server = server;
    bus->bus = sd;
    bus->queue_max = queue_max;
    bus->lost_func = lost;
    bus->data = user_data;
    g_hash_table_insert(server->buses, sd, bus);
    if (r >= 0)
        r = sd_bus_match_signal(sd, NULL, "org.freedesktop.DBus.Local", NULL, "org.freedesktop.DBus.Local",
                                "Disconnected", on_disconnected, bus);
    if (r >= 0)
        r = sd_bus_add_filter(sd, NULL, on_message, bus);
    if (r >= 0)
        return bus;
    apmig_bus_free(bus, FALSE);
    *ret_error = r;
    return NULL;
}

void
apmig_bus_free(ApmigBus *bus, gboolean flush)
{
    g_hash_table_remove(bus->server->buses, bus->bus);
    g_clear_handle_id(&bus->lost_id, g_source_remove);
    g_clear_handle_id(&bus->begun_id, g_source_remove);
    (void)sd_bus_detach_event(bus->bus);
    if (flush)
        (void)sd_bus_flush(bus->bus);
    sd_bus_close_unref(bus->bus);
    g_free(bus);
}
