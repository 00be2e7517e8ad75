/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where apmigd keeps what it must not lose, who else may write to what it reads, and its helpers' sockets. */
#include "ctl/doctor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/hook-presence.h"

#define LEAST_FREE_BYTES (1024 * 1024)
#define LEAST_FREE_FILES 16

/* --- folders ------------------------------------------------------------------------------------- */

static const char *
folder_of(const char *variable, const char *otherwise)
{
    const char *value = g_getenv(variable);

    return value && *value ? value : otherwise;
}

static gboolean
is_full(const char *path)
{
    struct statvfs fs;

    return statvfs(path, &fs) == 0 && ((guint64)fs.f_bavail * fs.f_frsize < LEAST_FREE_BYTES ||
                                       (fs.f_files > 0 && fs.f_favail < LEAST_FREE_FILES));
}

static void
check_folder(CtlDoctor *doctor, const char *check, const char *path)
{
    g_autofree char *make_room = g_strdup_printf("make room: df -h %s; df -i %s", path, path);
    g_autofree char *close = g_strdup_printf("chmod 700 %s", path);
    g_autofree char *give = g_strdup_printf("chown -R %" G_GINT64_FORMAT " %s", doctor->daemon_uid, path);
    struct stat st;

    if (lstat(path, &st) < 0) {
        gboolean missing = errno == ENOENT;

        ctl_findings_add(doctor->findings, missing ? APMIG_SEVERITY_ERROR : APMIG_SEVERITY_UNKNOWN, check,
                         missing ? "systemctl restart apmigd" : "run this as root",
                         "%s cannot be looked at: %s.", path, g_strerror(errno));
    } else if (!S_ISDIR(st.st_mode)) {
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_ERROR, check,
                         "remove it, and: systemctl restart apmigd", "%s is no folder.", path);
    } else if (doctor->daemon_uid >= 0 && st.st_uid != doctor->daemon_uid) {
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_ERROR, check, give,
                         "%s belongs to the user %u, not to apmigd's, %" G_GINT64_FORMAT ".", path, st.st_uid,
                         doctor->daemon_uid);
    } else if (st.st_mode & 0077) {
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_ERROR, check, close,
                         "%s is open to others (mode %04o).", path, st.st_mode & 07777);
    } else if (is_full(path)) {
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_ERROR, check, make_room,
                         "%s is on a full file system: locks can be released, not taken.", path);
    } else {
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_NONE, check, NULL,
                         "%s is apmigd's alone, and has room.", path);
    }
}

void
ctl_doctor_check_folders(CtlDoctor *doctor)
{
    check_folder(doctor, "state", folder_of("STATE_DIRECTORY", "/var/lib/apmigd"));
    check_folder(doctor, "runtime", folder_of("RUNTIME_DIRECTORY", "/run/apmigd"));
}

/* --- permissions --------------------------------------------------------------------------------- */

/* Returns: whether it is known that nobody but root may change what stands at @path; also when there is nothing. */
static gboolean
check_owner(CtlDoctor *doctor, const char *path)
{
    g_autofree char *remedy = g_strdup_printf("chown root %s; chmod go-w %s", path, path);
    struct stat st;

    if (stat(path, &st) < 0) {
        if (errno != EACCES)
            return TRUE;
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_UNKNOWN, "permissions", "run this as root",
                         "Who may change %s is not known.", path);
        return FALSE;
    }
    if (st.st_uid == 0 && !(st.st_mode & 0022))
        return TRUE;
    ctl_findings_add(doctor->findings, APMIG_SEVERITY_ERROR, "permissions", remedy,
                     "Others than root may change %s (owner %u, mode %04o).", path, st.st_uid,
                     st.st_mode & 07777);
    return FALSE;
}

/* The folder, and what is in it. */
static gboolean
check_owners(CtlDoctor *doctor, const char *folder)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    gboolean well = check_owner(doctor, folder);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);

        well = check_owner(doctor, path) && well;
    }
    return well;
}

/* Who may change one of these says what apmigd does, or what libvirt runs as root. */
void
ctl_doctor_check_permissions(CtlDoctor *doctor)
{
    g_autofree char *folder = g_path_get_dirname(doctor->config_file);
    g_autofree char *policy = g_build_filename(folder, "policy.d", NULL);
    g_autofree char *hooks = g_build_filename(doctor->config->hooks_dir, "qemu.d", NULL);
    g_autofree char *hook = g_build_filename(hooks, APMIG_HOOK_NAME, NULL);
    gboolean well = check_owner(doctor, folder);

    well = check_owner(doctor, doctor->config_file) && well;
    well = check_owners(doctor, policy) && well;
    well = check_owner(doctor, hooks) && well;
    well = check_owner(doctor, hook) && well;
    if (well)
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_NONE, "permissions", NULL,
                         "Nobody but root may change the configuration, the policy and the hook.");
}

/* --- the helpers --------------------------------------------------------------------------------- */

/* proc(5), /proc/net/unix: the flags of a listening socket are 00010000, its path ends the line. Connecting would start
 * a helper. */
static gboolean
somebody_listens(const char *path)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    if (!g_file_get_contents("/proc/net/unix", &text, NULL, NULL))
        return TRUE; /* the file tells enough then */
    lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; lines[i]; i++) {
        const char *name = strchr(lines[i], '/');

        if (name && g_str_equal(name, path) && strstr(lines[i], " 00010000 "))
            return TRUE;
    }
    return FALSE;
}

typedef struct {
    const char *check, *path, *unit;
    const char *what; /* begins sentences */
    const char *use;  /* what it cannot be asked for */
} Helper;

static void
check_helper(CtlDoctor *doctor, const Helper *helper)
{
    g_autofree char *start = g_strdup_printf("systemctl enable --now %s", helper->unit);
    g_autofree char *restart = g_strdup_printf("systemctl restart %s", helper->unit);
    struct stat st;

    if (lstat(helper->path, &st) < 0)
        ctl_findings_add(doctor->findings, errno == ENOENT ? APMIG_SEVERITY_ERROR : APMIG_SEVERITY_UNKNOWN,
                         helper->check, errno == ENOENT ? start : "run this as root",
                         "%s cannot be asked to %s: %s: %s.", helper->what, helper->use, helper->path,
                         g_strerror(errno));
    else if (!S_ISSOCK(st.st_mode) || !somebody_listens(helper->path))
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_ERROR, helper->check, restart,
                         "%s cannot be asked to %s: nobody listens at %s.", helper->what, helper->use,
                         helper->path);
    else if (st.st_mode & 0077 || (doctor->daemon_uid >= 0 && st.st_uid != doctor->daemon_uid))
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_ERROR, helper->check, restart,
                         "The socket of %s, %s, is not apmigd's alone (owner %u, mode %04o).", helper->unit,
                         helper->path, st.st_uid, st.st_mode & 07777);
    else
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_NONE, helper->check, NULL, "%s can be asked: %s.",
                         helper->what, helper->path);
}

void
ctl_doctor_check_helpers(CtlDoctor *doctor)
{
    check_helper(doctor, &(Helper){"act", doctor->act_socket, "apmigd-act.socket", "apmigd-act",
                                   "end migrations at libvirt, and to write stamps"});
    check_helper(doctor, &(Helper){"helper", doctor->fence_socket, "apmigd-fence.socket", "The helper",
                                   "end migrations"});
}
