/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rules are those of virEventAddHandleFunc and its like in libvirt-event.h: any thread adds, changes and removes, also
 * from within a callback; what a watch was given is freed after it was removed, by the loop and with no lock held, for
 * libvirt removes watches under locks that freeing takes.
 */
#include "libvirt/event-loop.h"

#include <glib.h>
#include <libvirt/libvirt.h>

#include "base/mailbox.h"

/* Of a descriptor or of a time: a source, whose reference the table has until it is removed. */
typedef struct {
    GSource source;
    int id;
    int fd;
    gpointer tag; /* of the descriptor in the source; NULL: poll() is not to tell of hang-ups either */
    GIOCondition condition; /* that is waited for */
    int interval_ms;        /* of a time; below 0: none */
    virEventHandleCallback on_handle;
    virEventTimeoutCallback on_timeout;
    void *opaque;
    virFreeCallback free_opaque;
} Watch;

/* libvirt has one event loop for a process. */
static GMutex lock;
static GHashTable *watches; /* id -> Watch */
static int last_id;

static GIOCondition
condition_of(int events)
{
    return ((events & VIR_EVENT_HANDLE_READABLE) != 0 ? G_IO_IN : 0) |
           ((events & VIR_EVENT_HANDLE_WRITABLE) != 0 ? G_IO_OUT : 0) |
           ((events & VIR_EVENT_HANDLE_ERROR) != 0 ? G_IO_ERR : 0) |
           ((events & VIR_EVENT_HANDLE_HANGUP) != 0 ? G_IO_HUP : 0);
}

static int
events_of(GIOCondition condition)
{
    return ((condition & G_IO_IN) != 0 ? VIR_EVENT_HANDLE_READABLE : 0) |
           ((condition & G_IO_OUT) != 0 ? VIR_EVENT_HANDLE_WRITABLE : 0) |
           ((condition & (G_IO_ERR | G_IO_NVAL)) != 0 ? VIR_EVENT_HANDLE_ERROR : 0) |
           ((condition & G_IO_HUP) != 0 ? VIR_EVENT_HANDLE_HANGUP : 0);
}

/* --- with the lock held -------------------------------------------------------------------------- */

static void
set_events(Watch *watch, int events)
{
    watch->condition = condition_of(events);
    if (watch->tag && events != 0)
        g_source_modify_unix_fd(&watch->source, watch->tag, watch->condition);
    else if (watch->tag)
        g_source_remove_unix_fd(&watch->source, g_steal_pointer(&watch->tag));
    else if (events != 0)
        watch->tag = g_source_add_unix_fd(&watch->source, watch->fd, watch->condition);
}

static void
set_interval(Watch *watch, int interval_ms)
{
    gint64 from_now = interval_ms * G_TIME_SPAN_MILLISECOND;

    watch->interval_ms = interval_ms;
    g_source_set_ready_time(&watch->source, interval_ms < 0 ? -1 : g_get_monotonic_time() + from_now);
}

/* --- dispatching: in the main loop --------------------------------------------------------------- */

/* What was ready may not be waited for any more. */
static gboolean
dispatch_handle(GSource *source, GSourceFunc func, gpointer user_data)
{
    const Watch *watch = (Watch *)source;
    GIOCondition condition = 0;

    g_mutex_lock(&lock);
    if (watch->tag)
        condition =
            g_source_query_unix_fd(source, watch->tag) & (watch->condition | G_IO_ERR | G_IO_HUP | G_IO_NVAL);
    g_mutex_unlock(&lock);
    if (condition != 0)
        watch->on_handle(watch->id, watch->fd, events_of(condition), watch->opaque);
    return G_SOURCE_CONTINUE;
}

static gboolean
dispatch_timeout(GSource *source, GSourceFunc func, gpointer user_data)
{
    Watch *watch = (Watch *)source;
    gboolean is_on;

    g_mutex_lock(&lock);
    is_on = watch->interval_ms >= 0;
    set_interval(watch, watch->interval_ms); /* it is for ever, until it is changed */
    g_mutex_unlock(&lock);
    if (is_on)
        watch->on_timeout(watch->id, watch->opaque);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs handle_funcs = {.dispatch = dispatch_handle};
static GSourceFuncs timeout_funcs = {.dispatch = dispatch_timeout};

static void
free_watch(gpointer data)
{
    Watch *watch = data;

    if (watch->free_opaque)
        watch->free_opaque(watch->opaque);
    g_source_unref(&watch->source);
}

/* --- what libvirt calls, in any thread ----------------------------------------------------------- */

static Watch *
watch_new(GSourceFuncs *funcs, void *opaque, virFreeCallback free_opaque)
{
    Watch *watch = (Watch *)g_source_new(funcs, sizeof(Watch));

    watch->fd = -1;
    watch->interval_ms = -1;
    watch->opaque = opaque;
    watch->free_opaque = free_opaque;
    return watch;
}

/* Returns: its id */
static int
add_watch(Watch *watch, int events, int interval_ms)
{
    int id;

    g_mutex_lock(&lock);
    id = watch->id = ++last_id;
    g_hash_table_insert(watches, GINT_TO_POINTER(id), watch);
    set_events(watch, events);
    set_interval(watch, interval_ms);
    g_source_attach(&watch->source, NULL);
    g_mutex_unlock(&lock);
    return id;
}

static int
add_handle(int fd, int events, virEventHandleCallback callback, void *opaque, virFreeCallback free_opaque)
{
    Watch *watch = watch_new(&handle_funcs, opaque, free_opaque);

    watch->fd = fd;
    watch->on_handle = callback;
    return add_watch(watch, events, -1);
}

static int
add_timeout(int interval_ms, virEventTimeoutCallback callback, void *opaque, virFreeCallback free_opaque)
{
    Watch *watch = watch_new(&timeout_funcs, opaque, free_opaque);

    watch->on_timeout = callback;
    return add_watch(watch, 0, interval_ms);
}

static void
update_handle(int id, int events)
{
    Watch *watch;

    g_mutex_lock(&lock);
    watch = g_hash_table_lookup(watches, GINT_TO_POINTER(id));
    if (watch)
        set_events(watch, events);
    g_mutex_unlock(&lock);
}

static void
update_timeout(int id, int interval_ms)
{
    Watch *watch;

    g_mutex_lock(&lock);
    watch = g_hash_table_lookup(watches, GINT_TO_POINTER(id));
    if (watch)
        set_interval(watch, interval_ms);
    g_mutex_unlock(&lock);
}

static int
remove_watch(int id)
{
    gpointer watch = NULL;

    g_mutex_lock(&lock);
    if (g_hash_table_steal_extended(watches, GINT_TO_POINTER(id), NULL, &watch)) {
        set_events(watch, 0);
        set_interval(watch, -1);
        g_source_destroy(watch);
        apmig_post(free_watch, watch, NULL);
    }
    g_mutex_unlock(&lock);
    return watch ? 0 : -1;
}

void
apmig_libvirt_use_main_loop(void)
{
    static gsize is_used;

    if (g_once_init_enter(&is_used)) {
        watches = g_hash_table_new(NULL, NULL);
        virEventRegisterImpl(add_handle, update_handle, remove_watch, add_timeout, update_timeout,
                             remove_watch);
        g_once_init_leave(&is_used, 1);
    }
}
