/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether libvirt calls the hook, and can still be asked to end migrations when many are under way. */
#include "ctl/doctor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hook-presence.h"
#include "ctl/format.h"
#include "ctl/view.h"

/* Those of src/remote/remote_daemon_config.c. */
#define DEFAULT_MAX_WORKERS 20
/* Beyond those that migrate: for what else libvirt is asked meanwhile, an abort among it. */
#define SPARE_WORKERS 10

#define SYSTEMD_NAME "org.freedesktop.systemd1"
#define SYSTEMD_UNIT "org.freedesktop.systemd1.Unit"
#define UNIT_PREFIX  "/org/freedesktop/systemd1/unit"

/* --- its daemon ---------------------------------------------------------------------------------- */

/* What systemd knows of a unit. */
typedef struct {
    gboolean known;  /* FALSE: systemd does not answer, and nothing else here counts */
    gboolean loaded; /* there is such a unit */
    gboolean masked;
    gboolean active; /* running, being reloaded, or listening */
    gint64
        changed_at; /* realtime, usec, when it was started, reloaded or stopped last; 0: never since the boot */
} Unit;

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

/* A unit that is not loaded yet is looked up on disk (org.freedesktop.systemd1(5)). */
static Unit
read_unit(sd_bus *bus, const char *name)
{
    g_autoptr(JsonNode) node = read_properties(bus, name);
    JsonObject *properties = node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
    const char *state;

    if (!properties)
        return (Unit){0};
    state = ctl_string(properties, "ActiveState");
    return (Unit){
        .known = TRUE,
        .loaded = g_str_equal(ctl_string(properties, "LoadState"), "loaded"),
        .masked = g_str_equal(ctl_string(properties, "LoadState"), "masked"),
        .active = g_str_equal(state, "active") || g_str_equal(state, "reloading"),
        .changed_at = ctl_int(properties, "StateChangeTimestamp"),
    };
}

/* The daemon that guests are under: libvirtd, or in newer installations virtqemud, never both. */
typedef struct {
    const char *name;
    Unit unit;
} LibvirtDaemon;

static LibvirtDaemon
find_daemon(sd_bus *bus)
{
    static const struct {
        const char *name;
        const char *service;
        const char *socket;
    } candidates[] = {
        {"virtqemud", "virtqemud.service", "virtqemud.socket"},
        {"libvirtd", "libvirtd.service", "libvirtd.socket"},
    };
    LibvirtDaemon found = {0};

    for (guint i = 0; i < G_N_ELEMENTS(candidates); i++) {
        Unit service = read_unit(bus, candidates[i].service);

        if (!service.known)
            return (LibvirtDaemon){0};
        if (service.active || (service.loaded && read_unit(bus, candidates[i].socket).active))
            return (LibvirtDaemon){candidates[i].name, service};
        if (service.loaded)
            found = (LibvirtDaemon){candidates[i].name, service};
    }
    return found;
}

/* A site that closes libvirt to ordinary users masks the one socket that apmigd needs. A connection that it has lasts until
 * libvirt's daemon is started anew. */
void
ctl_doctor_check_read_only(CtlDoctor *doctor)
{
    LibvirtDaemon daemon = find_daemon(doctor->bus);
    g_autofree char *name = daemon.name ? g_strconcat(daemon.name, "-ro.socket", NULL) : NULL;
    const char *socket = g_strcmp0(daemon.name, "virtqemud") == 0 ? "virtqemud-sock-ro" : "libvirt-sock-ro";

    if (!name || !g_str_has_prefix(doctor->config->libvirt_uri, "qemu") ||
        !read_unit(doctor->bus, name).masked)
        return;
    ctl_findings_add(doctor->findings, APMIG_SEVERITY_ERROR, "read-only", ctl_view_remedy(socket),
                     "%s is masked, and apmigd, which only reads, connects over it and no other.", name);
}

/* --- the hook ------------------------------------------------------------------------------------ */

/* Distributions may close libvirt's folder to everybody but root. */
static gboolean
can_look_into(const char *folder)
{
    return geteuid() == 0 || access(folder, X_OK) == 0 || errno == ENOENT;
}

static void
tell_installed(CtlDoctor *doctor)
{
    ctl_findings_add(doctor->findings, APMIG_SEVERITY_NONE, "hook", NULL,
                     "The hook script is installed and executable.");
}

/* Returns: whether the hook is installed, by what apmigd says. */
static gboolean
check_hook_by_daemon(CtlDoctor *doctor)
{
    if (!doctor->manager) {
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_UNKNOWN, "hook", "run this as root",
                         "Whether the hook script is installed is not known.");
        return FALSE;
    }
    if (ctl_bool(doctor->manager, "HookInstalled")) {
        tell_installed(doctor);
        return TRUE;
    }
    ctl_findings_add(doctor->findings, APMIG_SEVERITY_ERROR, "hook", "as root: apmigctl doctor",
                     "The qemu hook is not installed: guests come in unasked.");
    return FALSE;
}

/* The same, by looking. */
static gboolean
check_hook_script(CtlDoctor *doctor, const LibvirtDaemon *daemon)
{
    g_autofree char *path = g_build_filename(doctor->config->hooks_dir, "qemu.d", APMIG_HOOK_NAME, NULL);
    g_autofree char *problem = NULL;
    g_autofree char *remedy = NULL;

    if (!can_look_into(doctor->config->hooks_dir))
        return check_hook_by_daemon(doctor);
    if (apmig_hook_is_installed(doctor->config->hooks_dir, &problem)) {
        tell_installed(doctor);
        ctl_doctor_check_script(doctor, path, daemon->name ? daemon->name : "libvirtd");
        return TRUE;
    }
    remedy = access(path, F_OK) == 0 ? g_strdup_printf("chmod 755 %s", path)
                                     : g_strdup("reinstall the package of apmigd, which brings it");
    ctl_findings_add(doctor->findings, APMIG_SEVERITY_ERROR, "hook", remedy,
                     "Guests come in unasked: the hook script %s.", problem);
    return FALSE;
}

/* libvirt runs a script if it is a regular file and executable. Returns: its change time, usec; 0: it runs none. */
static gint64
script_time(const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & 0111))
        return 0;
    /* When it came here or became executable; a package keeps the time of modification of its build. */
    return (gint64)st.st_ctim.tv_sec * G_USEC_PER_SEC + st.st_ctim.tv_nsec / 1000;
}

/* Returns: when the oldest script of QEMU's was there, usec; 0: there is none. */
static gint64
oldest_script(const char *hooks_dir)
{
    g_autofree char *single = g_build_filename(hooks_dir, "qemu", NULL);
    g_autofree char *folder = g_build_filename(hooks_dir, "qemu.d", NULL);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    gint64 oldest = script_time(single);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        gint64 time = script_time(path);

        if (time > 0 && (oldest == 0 || time < oldest))
            oldest = time;
    }
    return oldest;
}

/* libvirt notes when it starts or reloads whether there is any script for QEMU, and if so looks for all of them at each
 * call (src/util/virhook.c, virHookInitialize and virHookCall). */
static void
check_hook_noticed(CtlDoctor *doctor, const LibvirtDaemon *daemon)
{
    gint64 oldest = oldest_script(doctor->config->hooks_dir);
    gint64 called_at = doctor->manager ? ctl_int(doctor->manager, "HookLastCalled") : 0;
    g_autofree char *since = ctl_format_time(daemon->unit.changed_at);
    g_autofree char *remedy =
        g_strdup_printf("systemctl reload %s", daemon->name ? daemon->name : "libvirtd");

    if (called_at > 0 && (!daemon->unit.active || called_at > daemon->unit.changed_at))
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_NONE, "hook-noticed", NULL,
                         "libvirt has called the hook since it was started: so it does.");
    else if (!daemon->unit.known)
        ctl_findings_add(
            doctor->findings, APMIG_SEVERITY_UNKNOWN, "hook-noticed", remedy,
            "Whether libvirt has noticed the hook is not known: systemd does not tell since when it "
            "runs.");
    else if (!daemon->unit.active)
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_NONE, "hook-noticed", NULL,
                         "libvirt does not run; it looks for the hook when it starts.");
    else if (oldest == 0)
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_UNKNOWN, "hook-noticed", "run this as root",
                         "Whether libvirt has noticed the hook is not known: its folder cannot be read.");
    else if (oldest > daemon->unit.changed_at)
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_ERROR, "hook-noticed", remedy,
                         "%s runs since %s, when there was no hook yet: it does not call it.", daemon->name,
                         since);
    else
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_NONE, "hook-noticed", NULL,
                         "libvirt has looked for hooks since the hook is there.");
}

static void
tell_last_call(CtlDoctor *doctor)
{
    gint64 called_at = ctl_int(doctor->manager, "HookLastCalled");
    g_autofree char *when = ctl_format_time(called_at);

    if (called_at > 0)
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_NONE, "hook-called", NULL,
                         "The hook was last called at %s.", when);
    else
        ctl_findings_add(
            doctor->findings, APMIG_SEVERITY_NONE, "hook-called", NULL,
            "The hook was not called since apmigd was started, which is so where no guest came in.");
}

void
ctl_doctor_check_hook(CtlDoctor *doctor)
{
    LibvirtDaemon daemon;

    if (!doctor->config) {
        (void)check_hook_by_daemon(doctor);
        return;
    }
    if (!g_str_has_prefix(doctor->config->libvirt_uri, "qemu")) {
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_NONE, "hook", NULL,
                         "%s is not QEMU's, and calls no hook.", doctor->config->libvirt_uri);
        return;
    }
    daemon = find_daemon(doctor->bus);
    if (check_hook_script(doctor, &daemon))
        check_hook_noticed(doctor, &daemon);
    if (doctor->manager)
        tell_last_call(doctor);
}

/* --- workers ------------------------------------------------------------------------------------- */

/* The state of active guests is kept as NAME.xml: names are counted, nothing is read. */
static guint
count_active_guests(const char *status_dir)
{
    g_autoptr(GDir) dir = *status_dir ? g_dir_open(status_dir, 0, NULL) : NULL;
    const char *name;
    guint count = 0;

    while (dir && (name = g_dir_read_name(dir)))
        count += g_str_has_suffix(name, ".xml");
    return count;
}

/* Returns: what is set, or the default. */
static guint64
find_max_workers(const char *text)
{
    g_autoptr(GRegex) regex = g_regex_new("^\\s*max_workers\\s*=\\s*(\\d+)", G_REGEX_MULTILINE, 0, NULL);
    g_autoptr(GMatchInfo) match = NULL;
    guint64 workers = DEFAULT_MAX_WORKERS;

    /* of several the last counts */
    for (g_regex_match(regex, text, 0, &match); g_match_info_matches(match); g_match_info_next(match, NULL)) {
        g_autofree char *number = g_match_info_fetch(match, 1);

        workers = g_ascii_strtoull(number, NULL, 10);
    }
    return workers;
}

/* Returns: (transfer full): the file of the daemon that runs; without one, that which is there. */
static char *
find_libvirt_conf(const CtlDoctor *doctor, const LibvirtDaemon *daemon)
{
    g_autofree char *folder = g_path_get_dirname(doctor->config->hooks_dir);
    g_autofree char *modular = g_build_filename(folder, "virtqemud.conf", NULL);
    char *monolithic = g_build_filename(folder, "libvirtd.conf", NULL);
    gboolean is_modular = daemon->name ? g_str_equal(daemon->name, "virtqemud")
                                       : access(monolithic, F_OK) != 0 && access(modular, F_OK) == 0;

    if (!is_modular)
        return monolithic;
    g_free(monolithic);
    return g_steal_pointer(&modular);
}

/* Each call that migrates a guest, or waits for a hook, keeps a worker busy to its end, and virDomainAbortJob needs one. */
void
ctl_doctor_check_workers(CtlDoctor *doctor)
{
    LibvirtDaemon daemon = find_daemon(doctor->bus);
    g_autofree char *path = find_libvirt_conf(doctor, &daemon);
    g_autofree char *text = NULL;
    g_autofree char *remedy = NULL;
    g_autoptr(GError) error = NULL;
    guint guests = count_active_guests(doctor->config->status_dir);
    guint64 workers;

    if (!g_str_has_prefix(doctor->config->libvirt_uri, "qemu"))
        return;
    if (!g_file_get_contents(path, &text, NULL, &error) &&
        !g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT)) {
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_UNKNOWN, "workers", "run this as root",
                         "How many calls libvirt answers at a time is not known: %s.", error->message);
        return;
    }
    workers = find_max_workers(text ? text : "");
    if (workers >= guests + SPARE_WORKERS) {
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_NONE, "workers", NULL,
                         "libvirt answers up to %" G_GUINT64_FORMAT " calls at a time; %u guest%s here.",
                         workers, guests, guests == 1 ? " runs" : "s run");
        return;
    }
    remedy = g_strdup_printf("set max_workers = %u in %s and restart %s; until then: virt-admin "
                             "server-threadpool-set %s --min-workers %u --max-workers %u",
                             guests + SPARE_WORKERS, path, daemon.name ? daemon.name : "libvirtd",
                             daemon.name ? daemon.name : "libvirtd", guests + SPARE_WORKERS,
                             guests + SPARE_WORKERS);
    ctl_findings_add(
        doctor->findings, APMIG_SEVERITY_ERROR, "workers", remedy,
        "libvirt answers up to %" G_GUINT64_FORMAT
        " calls at a time (max_workers), and %u guests run here: while that many migrate, it ends "
        "no migration.",
        workers, guests);
}
