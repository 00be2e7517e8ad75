/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * apmigd: the only file that knows policy, daemon and bus.
 */
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syslog.h>

#include <glib-unix.h>
#include <systemd/sd-daemon.h>

#include "act/client.h"
#include "cards/ap-sysfs.h"
#include "base/begin.h"
#include "base/config.h"
#include "core/core.h"
#include "fence/client.h"
#include "base/log.h"
#include "base/policy-files.h"
#include "server/server.h"
#include "base/watchdog.h"
#ifdef APMIG_SCRIPTED_HYPERVISOR
#include "in-process-actor.h"
#include "scripted-hypervisor.h"
#endif

#define DEFAULT_CONFIG     "/etc/apmigd/apmigd.conf"
#define DEFAULT_POLICY_DIR "/etc/apmigd/policy.d"

#define DEFAULT_RUNTIME_DIR "/run/apmigd"

/* For a log that is not read, at the end. */
#define LOG_LIMIT_USEC (2 * (gint64)G_USEC_PER_SEC)

typedef struct {
    char *config;
    char *policy_dir;
    char *libvirt_uri;
    char *act_socket;
    char *fence_socket;
    char *sysfs_root;
    gboolean check_config;
    gboolean version;
} Options;

typedef struct {
    const Options *options;
    GMainLoop *loop;
    ApmigCore *core;
    int exit_status;
} Daemon;

static void
options_clear(Options *options)
{
    g_free(options->config);
    g_free(options->policy_dir);
    g_free(options->libvirt_uri);
    g_free(options->act_socket);
    g_free(options->fence_socket);
    g_free(options->sysfs_root);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Options, options_clear)

static gboolean
parse_options(int argc, char **argv, Options *options)
{
    const GOptionEntry entries[] = {
        {"config", 0, 0, G_OPTION_ARG_FILENAME, &options->config, "Configuration, " DEFAULT_CONFIG, "FILE"},
        {"policy-dir", 0, 0, G_OPTION_ARG_FILENAME, &options->policy_dir, "Policy files, " DEFAULT_POLICY_DIR,
         "DIR"},
        {"libvirt-uri", 0, 0, G_OPTION_ARG_STRING, &options->libvirt_uri,
         "Hypervisor, over [Libvirt] URI=", "URI"},
        {"act-socket", 0, 0, G_OPTION_ARG_FILENAME, &options->act_socket,
         "Socket of apmigd-act, " APMIG_ACT_SOCKET, "PATH"},
        {"fence-socket", 0, 0, G_OPTION_ARG_FILENAME, &options->fence_socket,
         "Helper's socket, " APMIG_FENCE_SOCKET, "PATH"},
        {"sysfs-root", 0, 0, G_OPTION_ARG_FILENAME, &options->sysfs_root,
         "Where crypto hardware is read, " APMIG_SYSFS_ROOT, "DIR"},
        {"check-config", 0, 0, G_OPTION_ARG_NONE, &options->check_config,
         "Check configuration and policy, and leave", NULL},
        {"version", 0, 0, G_OPTION_ARG_NONE, &options->version, "Print the version and leave", NULL},
        {0},
    };
    g_autoptr(GOptionContext) context =
        g_option_context_new("- lock migrations of guests while master keys change");
    g_autoptr(GError) error = NULL;

    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        g_printerr("apmigd: %s; see apmigd --help\n", error->message);
        return FALSE;
    }
    if (argc > 1) {
        g_printerr("apmigd: unexpected argument '%s'; see apmigd --help\n", argv[1]);
        return FALSE;
    }
    return TRUE;
}

static ApmigConfig *
load_config(const Options *options, GError **error)
{
    ApmigConfig *config =
        apmig_config_load(options->config ? options->config : DEFAULT_CONFIG, options->config != NULL, error);

    if (config && options->libvirt_uri) {
        g_free(config->libvirt_uri);
        config->libvirt_uri = g_strdup(options->libvirt_uri);
    }
    return config;
}

static ApmigPolicy *
load_policy(const Options *options, GError **error)
{
    return apmig_policy_load(options->policy_dir ? options->policy_dir : DEFAULT_POLICY_DIR, error);
}

/* systemd hands over a list when a unit has several directories; ours has one. */
static const char *
directory(const char *variable, const char *otherwise)
{
    const char *value = g_getenv(variable);

    return value && *value ? value : otherwise;
}

static const char *
sysfs_root(const Options *options)
{
    return options->sysfs_root ? options->sysfs_root : APMIG_SYSFS_ROOT;
}

/* Nothing in this process may change anything at libvirt. */
static ApmigActor *
new_actor(const Options *options, const ApmigConfig *config)
{
#ifdef APMIG_SCRIPTED_HYPERVISOR
    if (g_str_has_prefix(config->libvirt_uri, "test:"))
        return apmig_in_process_actor_new(config->libvirt_uri);
#endif
    return apmig_act_client_new(options->act_socket ? options->act_socket : APMIG_ACT_SOCKET);
}

static ApmigHypervisor *
new_hypervisor(const Options *options, const ApmigConfig *config, ApmigSysfs *sysfs)
{
#ifdef APMIG_SCRIPTED_HYPERVISOR
    if (g_str_has_prefix(config->libvirt_uri, "scripted:"))
        return apmig_scripted_hypervisor_new(config->libvirt_uri);
#endif
    return apmig_libvirt_hypervisor_new(config->libvirt_uri, *config->status_dir ? config->status_dir : NULL,
                                        sysfs, new_actor(options, config));
}

static gboolean
stop(gpointer user_data)
{
    Daemon *daemon = user_data;

    sd_notify(0, "STOPPING=1");
    g_main_loop_quit(daemon->loop);
    return G_SOURCE_CONTINUE;
}

/* Everything but the policy needs a restart: a connection is not moved under a lock. */
static gboolean
reload(gpointer user_data)
{
    Daemon *daemon = user_data;
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigPolicy) policy = NULL;

    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" G_GINT64_FORMAT, g_get_monotonic_time());
    policy = load_policy(daemon->options, &error);
    if (policy) {
        apmig_core_set_policy(daemon->core, policy);
        apmig_log(LOG_INFO, "policy reloaded");
        sd_notify(0, "READY=1\nSTATUS=");
    } else {
        apmig_core_set_policy_trouble(daemon->core, error->message);
        apmig_log(LOG_ERR, "the old policy stays in force: %s", error->message);
        sd_notifyf(0, "READY=1\nSTATUS=The old policy stays in force: %s", error->message);
    }
    return G_SOURCE_CONTINUE;
}

static void
on_opened(const GError *error, gpointer user_data)
{
    Daemon *daemon = user_data;

    if (!error) {
        sd_notify(0, "READY=1");
        return;
    }
    apmig_log(LOG_ERR, "cannot start: %s", error->message);
    daemon->exit_status = EXIT_FAILURE;
    g_main_loop_quit(daemon->loop);
}

static gboolean
is_alive(gpointer user_data)
{
    return apmig_core_is_alive(user_data);
}

/* Returns: (transfer full) (nullable): the core with its store and hypervisor, nothing started. */
static ApmigCore *
new_core(const Options *options, GError **error)
{
    g_autoptr(ApmigConfig) config = load_config(options, error);
    g_autoptr(ApmigPolicy) policy = config ? load_policy(options, error) : NULL;
    const char *state_dir = directory("STATE_DIRECTORY", "/var/lib/apmigd");
    g_autoptr(ApmigSysfs) sysfs = apmig_sysfs_new(sysfs_root(options));
    ApmigStore *store;
    ApmigCore *core;

    if (!policy)
        return NULL;
    store = apmig_store_open(state_dir, directory("RUNTIME_DIRECTORY", DEFAULT_RUNTIME_DIR), error);
    if (!store)
        return NULL;
    core = apmig_core_new(policy, store, new_hypervisor(options, config, sysfs), apmig_key_view_new(sysfs),
                          apmig_host_identity_new(sysfs_root(options), "/proc"), config->hooks_dir,
                          options->fence_socket ? options->fence_socket : APMIG_FENCE_SOCKET,
                          g_str_has_prefix(config->libvirt_uri, "qemu"));
    return core;
}

/* It is spoken to last: whoever finds it finds a daemon that has read its locks. */
static gboolean
run(Daemon *daemon, GError **error)
{
    g_autoptr(ApmigCore) core = new_core(daemon->options, error);
    g_autoptr(ApmigServer) server = core ? apmig_server_new(core) : NULL;
    g_autoptr(ApmigWatchdog) watchdog = NULL;

    if (!server)
        return FALSE;
    daemon->core = core;
    if (!apmig_core_start(core, error) ||
        !apmig_server_open(server, directory("RUNTIME_DIRECTORY", DEFAULT_RUNTIME_DIR), on_opened, daemon,
                           error))
        return FALSE;
    g_unix_signal_add(SIGTERM, stop, daemon);
    g_unix_signal_add(SIGINT, stop, daemon);
    g_unix_signal_add(SIGHUP, reload, daemon);
    watchdog = apmig_watchdog_new(is_alive, core);
    g_main_loop_run(daemon->loop);
    return TRUE;
}

static int
check_config(const Options *options)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigConfig) config = load_config(options, &error);
    g_autoptr(ApmigPolicy) policy = config ? load_policy(options, &error) : NULL;

    if (policy)
        return EXIT_SUCCESS;
    g_printerr("apmigd: %s\n", error->message);
    return EXIT_FAILURE;
}

int
main(int argc, char **argv)
{
    g_auto(Options) options = {0};
    Daemon daemon = {.options = &options, .exit_status = EXIT_SUCCESS};
    g_autoptr(GError) error = NULL;

    setlocale(LC_ALL, "");
    if (!parse_options(argc, argv, &options))
        return 2;
    if (options.version) {
        g_print("apmigd %s\n", APMIG_VERSION);
        return EXIT_SUCCESS;
    }
    if (options.check_config)
        return check_config(&options);
    apmig_begin();
    daemon.loop = g_main_loop_new(NULL, FALSE);
    if (!run(&daemon, &error)) {
        apmig_log(LOG_ERR, "cannot start: %s", error->message);
        daemon.exit_status = EXIT_FAILURE;
    }
    g_main_loop_unref(daemon.loop);
    apmig_log_end(LOG_LIMIT_USEC);
    return daemon.exit_status;
}
