/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * apmigd-act: started by systemd when apmigd connects, and ends when nobody has for a while. It is the one process that
 * may change anything at libvirt, and changes nothing but what carry-out.h has.
 */
#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include <glib-unix.h>
#include <libvirt/virterror.h>
#include <systemd/sd-daemon.h>

#include "act/server.h"
#include "base/begin.h"
#include "base/config.h"
#include "base/log.h"
#include "libvirt/event-loop.h"

#define DEFAULT_CONFIG "/etc/apmigd/apmigd.conf"
#define DEFAULT_PEER   "apmigd"
#define IDLE_SEC       30
#define BACKLOG        16

/* For a log that is not read, at the end. */
#define LOG_LIMIT_USEC (2 * (gint64)G_USEC_PER_SEC)

typedef struct {
    char *config;
    char *peer;
    char *listen;
    char *libvirt_uri;
    int idle_sec;
} Options;

typedef struct {
    GMainLoop *loop;
    int idle_sec; /* 0: it does not end by itself */
    guint idle_source;
} Process;

static void
options_clear(Options *options)
{
    g_free(options->config);
    g_free(options->peer);
    g_free(options->listen);
    g_free(options->libvirt_uri);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, options_clear)

static gboolean
parse_options(int argc, char **argv, Options *options)
{
    const GOptionEntry entries[] = {
        {"peer", 0, 0, G_OPTION_ARG_STRING, &options->peer, "Who may ask besides root, " DEFAULT_PEER,
         "USER"},
        {"config", 0, 0, G_OPTION_ARG_FILENAME, &options->config, "Configuration of apmigd, " DEFAULT_CONFIG,
         "FILE"},
        {"libvirt-uri", 0, 0, G_OPTION_ARG_STRING, &options->libvirt_uri,
         "Hypervisor, over [Libvirt] URI=", "URI"},
        {"listen", 0, 0, G_OPTION_ARG_FILENAME, &options->listen,
         "Make this socket, and stay, instead of taking over systemd's", "PATH"},
        {"idle", 0, 0, G_OPTION_ARG_INT, &options->idle_sec,
         "End when nobody has been connected for so long, 30 s; 0: never", "SECONDS"},
        {0},
    };
    g_autoptr(GOptionContext) context = g_option_context_new("- changes guests at libvirt, for apmigd");
    g_autoptr(GError) error = NULL;

    options->idle_sec = IDLE_SEC;
    g_option_context_add_main_entries(context, entries, NULL);
    if (g_option_context_parse(context, &argc, &argv, &error) && argc == 1 && options->idle_sec >= 0)
        return TRUE;
    g_printerr("apmigd-act: %s\n", error ? error->message : "it takes options only; see --help");
    return FALSE;
}

/* --- the socket ---------------------------------------------------------------------------------- */

/* Returns: -1 with errno set. Only whoever runs this, and root, can connect. */
static int
listen_at(const char *path)
{
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (g_strlcpy(address.sun_path, path, sizeof address.sun_path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
    } else if (fd >= 0) {
        umask(0177);
        unlink(path);
        if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, BACKLOG) == 0)
            return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Returns: -1: said why. */
static int
open_listener(const Options *options)
{
    int fd;

    if (options->listen) {
        fd = listen_at(options->listen);
        if (fd < 0)
            apmig_log(LOG_ERR, "cannot listen at %s: %s", options->listen, g_strerror(errno));
        return fd;
    }
    fd = SD_LISTEN_FDS_START;
    if (sd_listen_fds(TRUE) != 1 || sd_is_socket_unix(fd, SOCK_SEQPACKET, 1, NULL, 0) <= 0) {
        apmig_log(LOG_ERR,
                  "it has no socket: apmigd-act is started by systemd, for apmigd, or with --listen");
        return -1;
    }
    g_unix_set_fd_nonblocking(fd, TRUE, NULL);
    return fd;
}

/* --- its life ------------------------------------------------------------------------------------ */

static gboolean
stop(gpointer loop)
{
    g_main_loop_quit(loop);
    return G_SOURCE_CONTINUE;
}

static void
on_idle_changed(gboolean is_idle, gpointer user_data)
{
    Process *process = user_data;

    g_clear_handle_id(&process->idle_source, g_source_remove);
    if (is_idle && process->idle_sec > 0)
        process->idle_source = g_timeout_add_seconds((guint)process->idle_sec, stop, process->loop);
}

/* That of apmigd: with another one it would look for guests where they are not. Returns: (transfer full) (nullable): NULL:
 * said why. */
static char *
read_uri(const Options *options)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigConfig) config = NULL;

    if (options->libvirt_uri)
        return g_strdup(options->libvirt_uri);
    config = apmig_config_load(options->config ? options->config : DEFAULT_CONFIG, options->config != NULL,
                               &error);
    if (config)
        return g_steal_pointer(&config->libvirt_uri);
    apmig_log(LOG_ERR, "cannot start: %s", error->message);
    return NULL;
}

/* libvirt's default prints every error to standard error. */
static void
ignore_error(void *user_data, virErrorPtr error)
{
}

static gboolean
run(const Options *options)
{
    const char *peer_name = options->peer ? options->peer : DEFAULT_PEER;
    const struct passwd *peer = getpwnam(peer_name);
    Process process = {.idle_sec = options->listen ? 0 : options->idle_sec};
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    g_autofree char *uri = read_uri(options);
    ApmigActServer *server;
    int listener;

    if (!uri)
        return FALSE;
    if (!peer) {
        apmig_log(LOG_ERR, "cannot start: there is no user %s", peer_name);
        return FALSE;
    }
    listener = open_listener(options);
    if (listener < 0)
        return FALSE;
    process.loop = loop;
    apmig_libvirt_use_main_loop();
    virSetErrorFunc(NULL, ignore_error);
    server = apmig_act_server_new(uri, listener, peer->pw_uid, on_idle_changed, &process);
    on_idle_changed(TRUE, &process);
    g_unix_signal_add(SIGTERM, stop, loop);
    g_unix_signal_add(SIGINT, stop, loop);
    sd_notify(0, "READY=1");
    g_main_loop_run(loop);
    sd_notify(0, "STOPPING=1");
    apmig_act_server_free(server);
    return TRUE;
}

int
main(int argc, char **argv)
{
    g_auto(Options) options = {0};
    gboolean success;

    if (!parse_options(argc, argv, &options))
        return 2;
    apmig_begin();
    success = run(&options);
    apmig_log_end(LOG_LIMIT_USEC);
    return success ? EXIT_SUCCESS : EXIT_FAILURE;
}
