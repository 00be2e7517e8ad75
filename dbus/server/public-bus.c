/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The connection to the system bus: the name, whoever leaves the bus, and a new connection when it is lost. Nothing that
 * matters waits for it: the gate is reached over the private socket.
 */
#include "base/log.h"
#include "server/event-source.h"
#include "server/private.h"

#include <errno.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <syslog.h>

/* dbus-daemon reads as little of us as of anybody who floods us, at a time, and much more of them together
 * (dbus-transport-socket.c: max_bytes_read_per_iteration): with so many answers unread, we read no more of its calls. It
 * keeps them, and bounds what they may be. */
#define UNREAD_PAUSE 64
/* Signals come all the same: a bus that has not read so many messages is given up. */
#define QUEUE_MAX 1024

#define FIRST_RETRY_MSEC 250u
#define LAST_RETRY_MSEC  (16 * 1000u)
#define OPENED_MSEC      (5 * 1000u) /* for a bus that does not answer */

/* All who leave the bus: one rule, whoever calls and however much. */
#define MATCH_GONE                                                                                           \
    "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"                              \
    "interface='org.freedesktop.DBus',member='NameOwnerChanged',arg2=''"

struct ApmigPublicBus {
    ApmigServer *server;
    ApmigBus *bus; /* (nullable), with the next two */
    sd_event *event;
    GSource *source; /* NULL, while it is to be written to only */
    guint writing_id;
    guint retry_id;
    guint retry_msec;
    gboolean has_name;
    gboolean loss_is_told;
    ApmigOpenedFunc opened; /* NULL: called */
    gpointer opened_data;
    guint opened_id;
};

static void
tell_opened(ApmigPublicBus *public_bus, const GError *error)
{
    ApmigOpenedFunc opened = public_bus->opened;

    public_bus->opened = NULL;
    g_clear_handle_id(&public_bus->opened_id, g_source_remove);
    if (opened)
        opened(error, public_bus->opened_data);
}

/* --- its end ------------------------------------------------------------------------------------------ */

static void
drop_peers(ApmigServer *server)
{
    GHashTableIter iter;
    gpointer peer;

    for (g_hash_table_iter_init(&iter, server->peers); g_hash_table_iter_next(&iter, NULL, &peer);
         g_hash_table_iter_init(&iter, server->peers))
        apmig_peer_gone(peer);
}

static void
stop_source(ApmigPublicBus *public_bus)
{
    if (public_bus->source)
        g_source_destroy(public_bus->source);
    g_clear_pointer(&public_bus->source, g_source_unref);
}

static void
drop_bus(ApmigPublicBus *public_bus, gboolean flush)
{
    stop_source(public_bus);
    g_clear_handle_id(&public_bus->writing_id, g_source_remove);
    if (public_bus->bus) {
        drop_peers(public_bus->server);
        apmig_bus_free(g_steal_pointer(&public_bus->bus), flush);
    }
    public_bus->event = sd_event_unref(public_bus->event);
    public_bus->has_name = FALSE;
}

static gboolean retry(gpointer user_data);

/* @why: a clause */
static void
try_again(ApmigPublicBus *public_bus, const char *why)
{
    if (!public_bus->loss_is_told)
        apmig_log(LOG_ERR, "%s: locks, gate and watching go on without it, and it is tried again", why);
    public_bus->loss_is_told = TRUE;
    drop_bus(public_bus, FALSE);
    if (public_bus->retry_id == 0)
        public_bus->retry_id = g_timeout_add(public_bus->retry_msec, retry, public_bus);
    public_bus->retry_msec = MIN(2 * public_bus->retry_msec, LAST_RETRY_MSEC);
    tell_opened(public_bus, NULL);
}

static void
on_lost(ApmigBus *bus, gpointer user_data)
{
    ApmigPublicBus *public_bus = user_data;

    try_again(public_bus, bus->is_slow ? "the system bus does not read what it is sent and was left"
                                       : "the connection to the bus was lost");
}

/* --- its turn ----------------------------------------------------------------------------------------- */

static gboolean
on_source_ended(gpointer user_data)
{
    ApmigPublicBus *public_bus = user_data;

    if (public_bus->bus)
        apmig_bus_give_up(public_bus->bus);
    return G_SOURCE_REMOVE;
}

/* One message a turn, and only when there is nothing else to do: whoever floods the bus waits. */
static void
start_source(ApmigPublicBus *public_bus)
{
    public_bus->source = apmig_event_source_new(public_bus->event);
    g_source_set_priority(public_bus->source, G_PRIORITY_HIGH_IDLE);
    g_source_set_callback(public_bus->source, on_source_ended, public_bus, NULL);
    g_source_attach(public_bus->source, NULL);
}

static gboolean
has_much_unread(const ApmigPublicBus *public_bus)
{
    guint64 unread = 0;

    return sd_bus_get_n_queued_write(public_bus->bus->bus, &unread) >= 0 && unread > UNREAD_PAUSE;
}

/* sd_bus_process() writes first, and reads nothing as long as that leads to something. */
static gboolean
on_writable(gint fd, GIOCondition condition, gpointer user_data)
{
    ApmigPublicBus *public_bus = user_data;

    if (sd_bus_process(public_bus->bus->bus, NULL) < 0)
        apmig_bus_give_up(public_bus->bus);
    if (public_bus->bus->lost_id == 0 && has_much_unread(public_bus))
        return G_SOURCE_CONTINUE;
    public_bus->writing_id = 0;
    if (public_bus->bus->lost_id == 0)
        start_source(public_bus);
    return G_SOURCE_REMOVE;
}

static void
pause_reading(ApmigBus *bus, gpointer user_data)
{
    ApmigPublicBus *public_bus = user_data;

    if (!public_bus->source || !has_much_unread(public_bus))
        return;
    stop_source(public_bus);
    public_bus->writing_id = g_unix_fd_add_full(G_PRIORITY_HIGH_IDLE, sd_bus_get_fd(bus->bus), G_IO_OUT,
                                                on_writable, public_bus, NULL);
}

/* --- the name ----------------------------------------------------------------------------------------- */

/* What RequestName answers (D-Bus specification). */
enum {
    NAME_IS_OURS = 1,
    NAME_WAS_OURS = 4
};

/* Returns: (transfer full) (nullable): why the name is not to be had; NULL: that is not what the bus says */
static GError *
error_of_name(sd_bus_message *reply)
{
    const sd_bus_error *failure = sd_bus_message_get_error(reply);

    if (!failure)
        return g_error_new(G_IO_ERROR, G_IO_ERROR_EXISTS,
                           "The name %s on the system bus is taken: another apmigd is running.",
                           APMIG_BUS_NAME);
    if (!sd_bus_error_has_name(failure, SD_BUS_ERROR_ACCESS_DENIED))
        return NULL;
    return g_error_new(
        G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED,
        "The bus does not give the name %s: %s; the bus policy org.apmigd1.conf must allow it to the "
        "user of apmigd.",
        APMIG_BUS_NAME, failure->message ? failure->message : failure->name);
}

static void
on_name_taken(ApmigPublicBus *public_bus)
{
    if (public_bus->loss_is_told)
        apmig_log(LOG_NOTICE, "the system bus is there, and has %s again", APMIG_BUS_NAME);
    public_bus->loss_is_told = FALSE;
    public_bus->has_name = TRUE;
    public_bus->retry_msec = FIRST_RETRY_MSEC;
    tell_opened(public_bus, NULL);
}

/* Once it runs, the daemon does not end for want of a name: it may have the gate to keep. */
static int
on_name(sd_bus_message *reply, void *user_data, sd_bus_error *ret_error)
{
    ApmigPublicBus *public_bus = user_data;
    g_autoptr(GError) error = NULL;
    guint32 answer = 0;

    if (sd_bus_message_is_method_error(reply, NULL) <= 0 && sd_bus_message_read(reply, "u", &answer) > 0 &&
        (answer == NAME_IS_OURS || answer == NAME_WAS_OURS)) {
        on_name_taken(public_bus);
        return 1;
    }
    error = error_of_name(reply);
    if (error && public_bus->opened)
        tell_opened(public_bus, error);
    else if (error && public_bus->retry_msec ==
                          LAST_RETRY_MSEC) /* before that it may be ours, of the lost connection */
        apmig_log(LOG_ERR, "%s", error->message);
    apmig_bus_give_up(public_bus->bus);
    return 1;
}

/* --- who leaves --------------------------------------------------------------------------------------- */

static int
on_name_owner_changed(sd_bus_message *signal, void *user_data, sd_bus_error *ret_error)
{
    const ApmigPublicBus *public_bus = user_data;
    const char *name = NULL, *new_owner = NULL;
    ApmigPeer *peer = NULL;

    if (sd_bus_message_read(signal, "sss", &name, NULL, &new_owner) > 0 && *new_owner == '\0')
        peer = g_hash_table_lookup(public_bus->server->peers, name);
    if (peer)
        apmig_peer_gone(peer);
    return 0;
}

static int
on_match_installed(sd_bus_message *reply, void *user_data, sd_bus_error *ret_error)
{
    ApmigPublicBus *public_bus = user_data;

    if (sd_bus_message_is_method_error(reply, NULL) > 0)
        apmig_bus_give_up(public_bus->bus);
    return 1;
}

/* --- its beginning ------------------------------------------------------------------------------------ */

/* Before the filter of every bus (the last one that is added comes first), which sees nothing of what is held back. */
static int
on_message(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    ApmigPublicBus *public_bus = user_data;

    apmig_bus_check_queue(public_bus->bus);
    return public_bus->bus->lost_id != 0 ? 1 : apmig_hold_back(public_bus->server, message);
}

/* The rule comes first: from the first call on, whose caller may leave, its end is told. */
static int
begin(ApmigPublicBus *public_bus)
{
    sd_bus *sd = public_bus->bus->bus;
    int r = sd_bus_add_filter(sd, NULL, on_message, public_bus);

    if (r >= 0)
        r = apmig_tree_register(public_bus->server, sd);
    if (r >= 0)
        r = sd_bus_add_match_async(sd, NULL, MATCH_GONE, on_name_owner_changed, on_match_installed,
                                   public_bus);
    if (r >= 0)
        r = sd_bus_request_name_async(sd, NULL, APMIG_BUS_NAME, 0, on_name, public_bus);
    return r;
}

static int
connect_bus(ApmigPublicBus *public_bus)
{
    sd_bus *sd = NULL;
    int r = sd_event_new(&public_bus->event);

    if (r >= 0)
        r = sd_bus_open_system_with_description(&sd, "apmigd");
    if (r < 0)
        return r;
    public_bus->bus =
        apmig_bus_new(public_bus->server, sd, public_bus->event, QUEUE_MAX, on_lost, public_bus, &r);
    if (public_bus->bus) {
        public_bus->bus->unread_func = pause_reading;
        r = begin(public_bus);
    }
    if (r < 0)
        return r;
    start_source(public_bus);
    return 0;
}

static gboolean
retry(gpointer user_data)
{
    ApmigPublicBus *public_bus = user_data;
    int r;

    public_bus->retry_id = 0;
    r = connect_bus(public_bus);
    if (r < 0) {
        g_autofree char *why = g_strdup_printf("cannot connect to the system bus (%s)", g_strerror(-r));

        try_again(public_bus, why);
    }
    return G_SOURCE_REMOVE;
}

static gboolean
on_opened_late(gpointer user_data)
{
    ApmigPublicBus *public_bus = user_data;

    public_bus->opened_id = 0;
    apmig_log(LOG_ERR, "the system bus does not answer: locks, gate and watching go on without it");
    public_bus->loss_is_told = TRUE;
    tell_opened(public_bus, NULL);
    return G_SOURCE_REMOVE;
}

ApmigPublicBus *
apmig_public_bus_new(ApmigServer *server, ApmigOpenedFunc opened, gpointer user_data)
{
    ApmigPublicBus *public_bus = g_new0(ApmigPublicBus, 1);

    public_bus->server = server;
    public_bus->opened = opened;
    public_bus->opened_data = user_data;
    public_bus->retry_msec = FIRST_RETRY_MSEC;
    public_bus->opened_id = g_timeout_add(OPENED_MSEC, on_opened_late, public_bus);
    public_bus->retry_id = g_timeout_add(0, retry, public_bus);
    return public_bus;
}

void
apmig_public_bus_free(ApmigPublicBus *public_bus)
{
    if (!public_bus)
        return;
    g_clear_handle_id(&public_bus->retry_id, g_source_remove);
    g_clear_handle_id(&public_bus->opened_id, g_source_remove);
    drop_bus(public_bus, public_bus->has_name);
    g_free(public_bus);
}
