/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hosts/reach.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hosts/host-names.h"
#include "names.h"

#define MAX_OUTPUT (1024 * 1024) /* bytes of what a program prints */

/* --- ssh ------------------------------------------------------------------------------------------ */

/* Returns: (transfer full): ended by NULL. A host that is gone while it is asked is noticed by ServerAlive. */
static char **
ssh_words(const char *name, gint64 silence_usec, const char *const *command)
{
    GPtrArray *words = g_ptr_array_new();
    g_autofree char *port = NULL;
    char *target = hosts_names_split(name, &port);
    gint64 seconds = CLAMP(silence_usec / G_USEC_PER_SEC, 1, 3600);
    const char *const options[] = {
        "ssh", "-xT", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3",
        "-o"};

    for (guint i = 0; i < G_N_ELEMENTS(options); i++)
        g_ptr_array_add(words, g_strdup(options[i]));
    g_ptr_array_add(words, g_strdup_printf("ConnectTimeout=%" G_GINT64_FORMAT, seconds));
    if (port) {
        g_ptr_array_add(words, g_strdup("-p"));
        g_ptr_array_add(words, g_strdup(port));
    }
    g_ptr_array_add(words, g_strdup("--"));
    g_ptr_array_add(words, target);
    for (; *command; command++)
        g_ptr_array_add(words, g_strdup(*command));
    g_ptr_array_add(words, NULL);
    return (char **)g_ptr_array_free(words, FALSE);
}

/* Starts ssh with one end of a socket. Returns: the other end, or -1 with @error. */
static int
start_ssh(HostsHost *host, gint64 silence_usec, const char *const *command, GError **error)
{
    g_auto(GStrv) words = ssh_words(host->name, silence_usec, command);
    int errors = memfd_create("ssh", MFD_CLOEXEC), ends[2] = {-1, -1};
    gboolean ok = errors >= 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0;
    GPid ssh;

    if (!ok)
        g_set_error(error, CTL_ERROR, CTL_EXIT_FAILURE,
                    "ssh cannot be started: %s: name fewer hosts at once, or see ulimit -n",
                    g_strerror(errno));
    ok = ok && g_spawn_async_with_fds(NULL, words, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD,
                                      NULL, NULL, &ssh, ends[1], ends[1], errors, error);
    if (ends[1] >= 0)
        close(ends[1]);
    if (!ok) {
        if (errors >= 0)
            close(errors);
        if (ends[0] >= 0)
            close(ends[0]);
        return -1;
    }
    if (!hosts_adopt_ssh(host, ssh, errors))
        kill(ssh, SIGTERM);
    return ends[0];
}

/* --- the bus -------------------------------------------------------------------------------------- */

static gboolean
is_ready(gpointer data)
{
    return sd_bus_is_ready(data) > 0;
}

/* @fd: (transfer full). Returns: (transfer full) (nullable): connected */
static sd_bus *
open_bus(int fd, gint64 silence_usec)
{
    g_autoptr(sd_bus) bus = NULL;
    int r = sd_bus_new(&bus);

    if (r >= 0)
        r = sd_bus_set_fd(bus, fd, fd);
    if (r < 0)
        close(fd);
    if (r >= 0)
        r = sd_bus_set_bus_client(bus, TRUE);
    if (r >= 0)
        r = sd_bus_negotiate_fds(bus, FALSE); /* none can come over ssh */
    if (r >= 0)
        r = sd_bus_start(bus);
    if (r >= 0)
        r = ctl_bus_wait(bus, is_ready, bus, g_get_monotonic_time() + 2 * silence_usec, NULL, NULL);
    return r >= 0 ? g_steal_pointer(&bus) : NULL;
}

/* Returns: (transfer full) (nullable): a call of the bus itself. */
static sd_bus_message *
call_of_bus(HostsHost *host, const char *member, const char *argument)
{
    g_autoptr(sd_bus_message) call = NULL;
    int r = sd_bus_message_new_method_call(host->bus, &call, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                           "org.freedesktop.DBus", member);

    if (r >= 0 && argument)
        r = sd_bus_message_append(call, "s", argument);
    return r >= 0 ? g_steal_pointer(&call) : NULL;
}

/* By which user we are known there, and what tells its bus from every other. */
static gboolean
learn_who(HostsHost *host, GError **error)
{
    const char *name = NULL, *id;
    uint32_t uid;

    if (sd_bus_get_unique_name(host->bus, &name) < 0)
        name = "";

    g_autoptr(sd_bus_message) ask_uid = call_of_bus(host, "GetConnectionUnixUser", name);
    g_autoptr(sd_bus_message) ask_id = call_of_bus(host, "GetId", NULL);
    g_autoptr(sd_bus_message) uid_reply =
        ask_uid ? hosts_call(host, ask_uid, CTL_CALL_USEC, NULL, error) : NULL;
    g_autoptr(sd_bus_message) id_reply =
        uid_reply && ask_id ? hosts_call(host, ask_id, CTL_CALL_USEC, NULL, error) : NULL;

    if (!id_reply || !ctl_bus_check(sd_bus_message_read(uid_reply, "u", &uid), error) ||
        !ctl_bus_check(sd_bus_message_read(id_reply, "s", &id), error))
        return FALSE;
    host->uid = uid;
    host->bus_id = g_strdup(id);
    return TRUE;
}

gboolean
hosts_connect(HostsHost *host, gint64 silence_usec)
{
    static const char *const bridge[] = {"systemd-stdio-bridge", NULL};
    GError *error = NULL;
    int fd;

    if (host->error || host->bus)
        return host->error == NULL;
    fd = start_ssh(host, silence_usec, bridge, &error);
    if (fd < 0) {
        hosts_fail(host, error);
        return FALSE;
    }
    host->bus = open_bus(fd, silence_usec);
    if (!host->bus) {
        g_autofree char *why = hosts_end_ssh(host);

        g_set_error(&error, CTL_ERROR, CTL_EXIT_UNREACHABLE, "its system bus cannot be reached: %s", why);
        hosts_fail(host, error);
        return FALSE;
    }
    hosts_heard(host);
    if (!learn_who(host, &error))
        hosts_fail_call(host, error);
    return host->error == NULL;
}

/* --- calls ---------------------------------------------------------------------------------------- */

typedef struct {
    HostsHost *host;
    CtlTickFunc tick;
} Ticking;

/* An error may be the bus's own, or of a time that is up. */
static int
on_sign_of_life(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    if (!sd_bus_message_is_method_error(message, NULL))
        hosts_heard(user_data);
    return 0;
}

/* The call that is waited for takes as long as it may, while apmigd lives. No Ping: systemd-stdio-bridge answers that itself
 * (process_builtin() of sd-bus.c). */
static void
ask_for_life(gpointer data)
{
    const Ticking *ticking = data;

    (void)sd_bus_call_method_async(ticking->host->bus, NULL, APMIG_BUS_NAME, APMIG_BUS_PATH,
                                   "org.freedesktop.DBus.Properties", "Get", on_sign_of_life, ticking->host,
                                   "ss", APMIG_BUS_MANAGER, "Version");
    if (ticking->tick)
        ticking->tick(ticking->host);
}

sd_bus_message *
hosts_call(HostsHost *host, sd_bus_message *call, gint64 timeout_usec, CtlTickFunc tick, GError **error)
{
    Ticking ticking = {host, tick};
    sd_bus_message *reply =
        call ? ctl_bus_call(host->bus, call, timeout_usec, ask_for_life, &ticking, error) : NULL;

    if (reply) {
        hosts_heard(host);
        host->received_at = g_get_monotonic_time();
    }
    return reply;
}

void
hosts_fail_call(HostsHost *host, GError *error)
{
    if (sd_bus_is_open(host->bus) <= 0) {
        g_autofree char *why = hosts_end_ssh(host);

        g_prefix_error(&error, "%s; ", why);
        error->code = CTL_EXIT_UNREACHABLE;
    }
    hosts_fail(host, error);
}

/* --- signals -------------------------------------------------------------------------------------- */

/* Anybody may send a signal to this connection alone; it costs a question. */
static int
on_signal(sd_bus_message *signal, void *user_data, sd_bus_error *ret_error)
{
    HostsHost *host = user_data;

    host->has_changed = TRUE;
    return 0;
}

static int
on_name_owner_changed(sd_bus_message *signal, void *user_data, sd_bus_error *ret_error)
{
    HostsHost *host = user_data;
    const char *old_owner;

    if (sd_bus_message_read(signal, "sss", NULL, &old_owner, NULL) > 0 && *old_owner != '\0')
        host->has_left = TRUE;
    host->has_changed = TRUE;
    return 0;
}

/* Without it a refusal would close the connection, and who subscribes asks now and then in any case. */
static int
on_match(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    return 0;
}

/* Asynchronously, since the calls that follow on the same connection come after it: no change is missed. */
void
hosts_subscribe(HostsHost *host)
{
    if (host->is_subscribed)
        return;
    (void)sd_bus_add_match_async(host->bus, NULL, CTL_MATCH_SIGNALS, on_signal, on_match, host);
    (void)sd_bus_add_match_async(host->bus, NULL, CTL_MATCH_NAMES, on_name_owner_changed, on_match, host);
    host->is_subscribed = TRUE;
}

static gboolean
has_changed(gpointer data)
{
    const HostsHost *host = data;

    return host->has_changed;
}

void
hosts_await_change(HostsHost *host, gint64 until)
{
    int r = ctl_bus_wait(host->bus, has_changed, host, until, NULL, NULL);

    (void)r; /* a connection that has ended shows at the next call */
    host->has_changed = FALSE;
}

/* --- programs ------------------------------------------------------------------------------------- */

/* Returns: (transfer full): all that comes, and no more than there is room for. */
static char *
read_all(HostsHost *host, int fd)
{
    GString *text = g_string_new(NULL);
    char part[4096];
    ssize_t length;

    while (text->len < MAX_OUTPUT &&
           ((length = read(fd, part, sizeof(part))) > 0 || (length < 0 && errno == EINTR))) {
        g_string_append_len(text, part, MAX(length, 0));
        hosts_heard(host);
    }
    return g_string_free(text, FALSE);
}

void
hosts_run_program(HostsHost *host, gint64 silence_usec, const char *const *command)
{
    GError *error = NULL;
    int fd = start_ssh(host, silence_usec, command, &error);
    g_autofree char *why = NULL;

    if (fd < 0) {
        hosts_fail(host, error);
        return;
    }
    (void)shutdown(fd, SHUT_WR);
    host->text = read_all(host, fd);
    close(fd);
    why = hosts_end_ssh(host);
    if (host->status != 255 && host->status >= 0)
        return;
    hosts_fail(host, g_error_new(CTL_ERROR, CTL_EXIT_UNREACHABLE, "it cannot be reached: %s", why));
}
