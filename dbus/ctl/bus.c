/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/bus.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl/format.h"
#include "names.h"

/* For ssh, which may ask for a password. */
#define CONNECT_USEC (2 * 60 * G_USEC_PER_SEC)
/* For a bus that has taken the connection to say so, where there is another way. */
#define HELLO_USEC (2 * G_USEC_PER_SEC)

/* --- waiting ------------------------------------------------------------------------------------- */

int
ctl_bus_wait(sd_bus *bus, CtlDoneFunc is_done, gpointer data, gint64 deadline, CtlTickFunc tick,
             gpointer tick_data)
{
    gint64 next_tick = tick ? g_get_monotonic_time() + G_USEC_PER_SEC : G_MAXINT64;

    while (!is_done(data)) {
        int r = sd_bus_process(bus, NULL);
        gint64 now = g_get_monotonic_time(), next = MIN(deadline, next_tick);

        if (r < 0)
            return is_done(data) ? 0 : r;
        if (r > 0)
            continue;
        if (now >= deadline)
            return -ETIMEDOUT;
        if (now >= next_tick) {
            tick(tick_data);
            next_tick = g_get_monotonic_time() + G_USEC_PER_SEC;
            continue;
        }
        r = sd_bus_wait(bus, next == G_MAXINT64 ? UINT64_MAX : (uint64_t)(next - now));
        if (r < 0 && r != -EINTR)
            return r;
    }
    return 0;
}

/* --- connecting ---------------------------------------------------------------------------------- */

static gboolean
is_ready(gpointer data)
{
    return sd_bus_is_ready(data) > 0;
}

static sd_bus *
open_remote(const char *host, GError **error)
{
    g_autoptr(sd_bus) bus = NULL;
    g_autofree char *shown = ctl_escape(host);
    int r = sd_bus_open_system_remote(&bus, host);

    if (r >= 0)
        r = ctl_bus_wait(bus, is_ready, bus, g_get_monotonic_time() + CONNECT_USEC, NULL, NULL);
    if (r >= 0)
        return g_steal_pointer(&bus);
    g_set_error(
        error, CTL_ERROR, CTL_EXIT_UNREACHABLE,
        "the system bus of host '%s' cannot be reached over ssh (%s): try 'ssh %s busctl status org.apmigd1'",
        shown, g_strerror(-r), shown);
    return NULL;
}

sd_bus *
ctl_bus_open_system(GError **error)
{
    sd_bus *bus = NULL;
    int r = sd_bus_open_system(&bus);

    if (r < 0)
        g_set_error(error, CTL_ERROR, CTL_EXIT_UNREACHABLE, "the system bus cannot be reached: %s",
                    g_strerror(-r));
    return bus;
}

/* For root: a bus that hangs is in nobody's way who has another one. Returns: (transfer full) */
static sd_bus *
replace_hanging(sd_bus *bus)
{
    g_autoptr(sd_bus) owned = bus;
    sd_bus *private;

    if (ctl_bus_wait(bus, is_ready, bus, g_get_monotonic_time() + HELLO_USEC, NULL, NULL) >= 0)
        return g_steal_pointer(&owned);
    private = ctl_bus_open_private();
    if (!private)
        return g_steal_pointer(&owned);
    fprintf(stderr, "apmigctl: the system bus does not answer; apmigd is asked over its private socket\n");
    return private;
}

/* The private socket is root's, who needs no bus to be known and no polkit to be allowed. */
static sd_bus *
open_local(GError **error)
{
    g_autoptr(GError) problem = NULL;
    sd_bus *bus = ctl_bus_open_system(&problem);
    gboolean is_root = geteuid() == 0;

    if (bus)
        return is_root ? replace_hanging(bus) : bus;
    if (is_root)
        bus = ctl_bus_open_private();
    if (bus)
        fprintf(stderr, "apmigctl: %s; apmigd is asked over its private socket\n", problem->message);
    else
        g_set_error(error, CTL_ERROR, CTL_EXIT_UNREACHABLE, "%s; %s", problem->message,
                    is_root ? "and nobody listens at apmigd's private socket: systemctl start apmigd"
                            : "without it apmigd answers root alone");
    return bus;
}

sd_bus *
ctl_bus_open_host(const char *host, GError **error)
{
    return host ? open_remote(host, error) : open_local(error);
}

sd_bus *
ctl_bus_open(const CtlCommon *common, GError **error)
{
    sd_bus *bus = ctl_bus_open_host(common->host, error);

    if (bus)
        (void)sd_bus_set_allow_interactive_authorization(bus, !common->no_ask_password);
    return bus;
}

/* Returns: a socket, or -1. */
static int
connect_private(void)
{
    const char *runtime_dir = g_getenv("RUNTIME_DIRECTORY");
    g_autofree char *path = g_build_filename(runtime_dir && *runtime_dir ? runtime_dir : "/run/apmigd",
                                             APMIG_PRIVATE_SOCKET, NULL);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = -1;

    if (g_strlcpy(address.sun_path, path, sizeof(address.sun_path)) < sizeof(address.sun_path))
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

sd_bus *
ctl_bus_open_private(void)
{
    g_autoptr(sd_bus) bus = NULL;
    int fd = connect_private();
    int r = fd >= 0 ? sd_bus_new(&bus) : -1;

    if (fd < 0)
        return NULL;
    if (r >= 0)
        r = sd_bus_set_fd(bus, fd, fd);
    if (r < 0)
        close(fd);
    if (r >= 0)
        r = sd_bus_start(bus);
    return r >= 0 ? g_steal_pointer(&bus) : NULL;
}

gboolean
ctl_bus_check(int r, GError **error)
{
    if (r >= 0)
        return TRUE;
    g_set_error(error, CTL_ERROR, CTL_EXIT_FAILURE, "a message of the bus cannot be made or read: %s",
                g_strerror(-r));
    return FALSE;
}

int
ctl_bus_append_pairs(sd_bus_message *call, const GPtrArray *pairs)
{
    int r = sd_bus_message_open_container(call, 'a', "{ss}");

    for (guint i = 0; r >= 0 && i + 1 < pairs->len; i += 2)
        r = sd_bus_message_append(call, "{ss}", g_ptr_array_index(pairs, i), g_ptr_array_index(pairs, i + 1));
    return r < 0 ? r : sd_bus_message_close_container(call);
}

sd_bus_message *
ctl_bus_new_call(sd_bus *bus, const char *path, const char *interface, const char *member, GError **error)
{
    sd_bus_message *call = NULL;
    int r = sd_bus_message_new_method_call(bus, &call, APMIG_BUS_NAME, path, interface, member);

    return ctl_bus_check(r, error) ? call : NULL;
}

/* --- calls --------------------------------------------------------------------------------------- */

static int
on_reply(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    sd_bus_message **reply = user_data;

    *reply = sd_bus_message_ref(message);
    return 0;
}

static gboolean
is_answered(gpointer data)
{
    sd_bus_message **reply = data;

    return *reply != NULL;
}

static void
set_unreachable(int r, gint64 timeout_usec, GError **error)
{
    if (r == -ETIMEDOUT) {
        g_autofree char *waited = ctl_format_duration(timeout_usec + G_USEC_PER_SEC / 2);

        g_set_error(error, CTL_ERROR, CTL_EXIT_UNREACHABLE, "no answer within %s", waited);
        return;
    }
    g_set_error(error, CTL_ERROR, CTL_EXIT_UNREACHABLE, "the connection: %s", g_strerror(-r));
}

/* Its policy lists what is not root's, and says so in words of its own. @failure: (nullable) */
static gboolean
is_refused_by_bus(sd_bus_message *reply, const sd_bus_error *failure)
{
    return failure && sd_bus_error_has_name(failure, SD_BUS_ERROR_ACCESS_DENIED) &&
           g_strcmp0(sd_bus_message_get_sender(reply), "org.freedesktop.DBus") == 0;
}

sd_bus_message *
ctl_bus_call(sd_bus *bus, sd_bus_message *call, gint64 timeout_usec, CtlTickFunc tick, gpointer user_data,
             GError **error)
{
    g_autoptr(sd_bus_message) reply = NULL;
    sd_bus_slot *slot = NULL;
    gint64 now = g_get_monotonic_time();
    gint64 deadline = timeout_usec < G_MAXINT64 - now ? now + timeout_usec : G_MAXINT64;
    int r = sd_bus_call_async(bus, &slot, call, on_reply, &reply, UINT64_MAX);

    if (r >= 0)
        r = ctl_bus_wait(bus, is_answered, &reply, deadline, tick, user_data);
    sd_bus_slot_unref(slot);
    if (r < 0) {
        set_unreachable(r, timeout_usec, error);
        return NULL;
    }

    const sd_bus_error *failure = sd_bus_message_get_error(reply);

    if (is_refused_by_bus(reply, failure)) {
        g_set_error(error, CTL_ERROR, ctl_exit_from_dbus(failure->name),
                    "Not authorized: only root may call %s.", sd_bus_message_get_member(call));
        return NULL;
    }
    if (failure) {
        g_set_error_literal(error, CTL_ERROR, ctl_exit_from_dbus(failure->name),
                            failure->message ? failure->message : failure->name);
        return NULL;
    }
    return g_steal_pointer(&reply);
}

char *
ctl_bus_get_owner(sd_bus *bus, GError **error)
{
    g_autoptr(sd_bus_message) call = NULL;
    g_autoptr(sd_bus_message) reply = NULL;
    const char *owner;
    int r;

    if (sd_bus_is_bus_client(bus) <= 0)
        return g_strdup(APMIG_BUS_NAME);
    r = sd_bus_message_new_method_call(bus, &call, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                       "org.freedesktop.DBus", "GetNameOwner");

    if (r >= 0)
        r = sd_bus_message_append(call, "s", APMIG_BUS_NAME);
    if (!ctl_bus_check(r, error))
        return NULL;
    reply = ctl_bus_call(bus, call, CTL_CALL_USEC, NULL, NULL, error);
    return reply && ctl_bus_check(sd_bus_message_read(reply, "s", &owner), error) ? g_strdup(owner) : NULL;
}
