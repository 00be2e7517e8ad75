/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "server/event-source.h"

typedef struct {
    GSource source;
    sd_event *event;
} EventSource;

static gboolean
event_source_prepare(GSource *source, gint *timeout)
{
    sd_event *event = ((EventSource *)source)->event;

    *timeout = -1;

    /* Still armed: other sources came first and GLib did not ask us to check. What they queued on the bus
     * is seen only by a fresh preparation. */
    if (sd_event_get_state(event) == SD_EVENT_ARMED && sd_event_wait(event, 0) > 0)
        return TRUE;

    return sd_event_prepare(event) > 0;
}

static gboolean
event_source_check(GSource *source)
{
    return sd_event_wait(((EventSource *)source)->event, 0) > 0;
}

static gboolean
event_source_dispatch(GSource *source, GSourceFunc callback, gpointer user_data)
{
    if (sd_event_dispatch(((EventSource *)source)->event) > 0)
        return G_SOURCE_CONTINUE;

    if (callback)
        callback(user_data);
    return G_SOURCE_REMOVE;
}

static void
event_source_finalize(GSource *source)
{
    sd_event_unref(((EventSource *)source)->event);
}

static GSourceFuncs event_source_funcs = {
    .prepare = event_source_prepare,
    .check = event_source_check,
    .dispatch = event_source_dispatch,
    .finalize = event_source_finalize,
};

GSource *
apmig_event_source_new(sd_event *event)
{
    GSource *source = g_source_new(&event_source_funcs, sizeof(EventSource));

    ((EventSource *)source)->event = sd_event_ref(event);
    g_source_add_unix_fd(source, sd_event_get_fd(event), G_IO_IN | G_IO_HUP | G_IO_ERR);
    return source;
}
