/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/view.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "names.h"

#define PID_SUFFIX   ".pid"
#define GUESTS_SHOWN 4

/* --- remedies ------------------------------------------------------------------------------------ */

/* A socket that systemd is to make is not made while the service runs. Guests run on without it. */
#define OPEN_SOCKET(name)                                                                                    \
    "systemctl unmask " name "-ro.socket; systemctl stop " name "; systemctl start " name "-ro.socket " name

/* libvirt's sentences are those of src/rpc/virnetsocket.c, with the path, and of its polkit and access drivers. */
const char *
ctl_view_remedy(const char *problem)
{
    gboolean is_modular = strstr(problem, "virtqemud-sock-ro") != NULL;
    gboolean is_socket = is_modular || strstr(problem, "libvirt-sock-ro");

    if (is_socket && strstr(problem, "Permission denied"))
        return is_modular
                   ? "let apmigd's user connect: SocketMode=0666 of virtqemud-ro.socket; under SELinux "
                     "load the module apmigd, see: ausearch -m avc -c apmigd"
                   : "let apmigd's user connect: SocketMode=0666 of libvirtd-ro.socket; under SELinux "
                     "load the module apmigd, see: ausearch -m avc -c apmigd";
    if (is_socket)
        return is_modular ? OPEN_SOCKET("virtqemud") : OPEN_SOCKET("libvirtd");
    if (strstr(problem, "polkit") || strstr(problem, "authentication"))
        return "have a rule of polkit allow org.libvirt.unix.monitor to the user apmigd, or auth_unix_ro = "
               "\"none\" in libvirt's configuration";
    if (strstr(problem, "access denied") || strstr(problem, "access driver"))
        return "have libvirt's access driver show every guest to the user apmigd: access_drivers in "
               "libvirtd.conf or virtqemud.conf, and its polkit rules";
    return "systemctl status libvirtd virtqemud";
}

/* --- guests that are hidden ---------------------------------------------------------------------- */

/* libvirt's file of the process, /run/libvirt/qemu/NAME.pid. */
static gboolean
is_running(const char *folder, const char *file)
{
    g_autofree char *path = g_build_filename(folder, file, NULL);
    g_autofree char *text = NULL;
    guint64 pid;

    return g_file_get_contents(path, &text, NULL, NULL) &&
           g_ascii_string_to_unsigned(g_strstrip(text), 10, 2, G_MAXINT32, &pid, NULL) &&
           (kill((pid_t)pid, 0) == 0 || errno == EPERM);
}

/* Returns: FALSE: apmigd does not find it, and @error says why. */
static gboolean
is_seen(CtlDoctor *doctor, const char *guest, GError **error)
{
    g_autoptr(sd_bus_message) call =
        ctl_bus_new_call(doctor->bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "CheckGuest", error);
    g_autoptr(sd_bus_message) reply = NULL;

    if (!call || !ctl_bus_check(sd_bus_message_append(call, "s", guest), error))
        return FALSE;
    reply = ctl_bus_call(doctor->bus, call, CTL_CALL_USEC, NULL, NULL, error);
    return reply != NULL;
}

/* In libvirt's words (VIR_ERR_ACCESS_DENIED), or in apmigd's. What does not answer in time is not hidden. */
static gboolean
tells_that_it_is_hidden(const GError *error)
{
    return g_error_matches(error, CTL_ERROR, APMIG_EXIT_NOT_FOUND) ||
           (g_error_matches(error, CTL_ERROR, APMIG_EXIT_HYPERVISOR) &&
            strstr(error->message, "access denied"));
}

/* One that has ended meanwhile is not missing. */
static gboolean
is_hidden(CtlDoctor *doctor, const char *file, GError **error)
{
    g_autofree char *guest = g_strndup(file, strlen(file) - strlen(PID_SUFFIX));
    g_autoptr(GError) problem = NULL;

    if (!is_running(doctor->config->status_dir, file) || !g_utf8_validate(guest, -1, NULL) ||
        is_seen(doctor, guest, &problem))
        return FALSE;
    if (!tells_that_it_is_hidden(problem) || !is_running(doctor->config->status_dir, file))
        return FALSE;
    g_clear_error(error);
    g_propagate_error(error, g_steal_pointer(&problem));
    return TRUE;
}

void
ctl_doctor_check_guests(CtlDoctor *doctor)
{
    g_autoptr(GDir) dir = NULL;
    g_autoptr(GString) hidden = g_string_new(NULL);
    g_autoptr(GError) error = NULL;
    const char *file;
    guint n = 0;

    if (geteuid() != 0 || !doctor->manager ||
        g_str_equal(ctl_string(doctor->manager, "HypervisorState"), "disconnected"))
        return;
    dir = *doctor->config->status_dir ? g_dir_open(doctor->config->status_dir, 0, NULL) : NULL;
    while (dir && n < GUESTS_SHOWN && (file = g_dir_read_name(dir)))
        if (g_str_has_suffix(file, PID_SUFFIX) && is_hidden(doctor, file, &error))
            g_string_append_printf(hidden, "%s'%.*s'", n++ > 0 ? ", " : "",
                                   (int)(strlen(file) - strlen(PID_SUFFIX)), file);
    if (n > 0)
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_ERROR, "guests", ctl_view_remedy("access driver"),
                         "apmigd does not see guests that run here (%s): %s.", hidden->str, error->message);
}
