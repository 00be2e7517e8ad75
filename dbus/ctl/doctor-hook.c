/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether libvirt can run the hook script that is there, seen from outside apmigd's sandbox, in which a mount's flags are not
 * those that libvirt sees. libvirt asks by access(2) whether a script is executable (src/util/virhook.c, virHookCheck()): what
 * that denies is no hook, and every guest comes in. What passes it and cannot be executed fails, and no guest starts.
 */
#include "ctl/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SELINUX    "/sys/fs/selinux"
#define MAX_LABEL  1024
#define PERMISSIVE 1u /* of the kernel's flags (security/selinux/include/security.h, AVD_FLAGS_PERMISSIVE) */

#define NO_GUEST_STARTS "libvirt can start no guest at all: "

/* Each of these returns whether it has found something. */

static gboolean
is_on_noexec_mount(CtlDoctor *doctor, const char *path)
{
    g_autofree char *remedy = g_strdup_printf("mount that with exec; findmnt -T %s shows what it is", path);
    struct statvfs fs;

    if (statvfs(path, &fs) < 0 || !(fs.f_flag & ST_NOEXEC))
        return FALSE;
    ctl_findings_add(doctor->findings, APMIG_SEVERITY_ERROR, "hook-runs", remedy,
                     NO_GUEST_STARTS "its hook script %s is on a file system mounted noexec.", path);
    return TRUE;
}

/* Returns: (transfer full): the program of its first line; "" when it names none. */
static char *
read_interpreter(const char *path)
{
    g_auto(GStrv) words = NULL;
    char line[256] = "";
    FILE *file = fopen(path, "re");
    gboolean has_line = file && fgets(line, sizeof line, file);

    if (file)
        fclose(file);
    if (!has_line || strncmp(line, "#!", 2) != 0)
        return g_strdup("");
    words = g_strsplit_set(g_strstrip(line + 2), " \t", 2);
    return g_strdup(words[0] ? words[0] : "");
}

static gboolean
lacks_interpreter(CtlDoctor *doctor, const char *path)
{
    g_autofree char *interpreter = read_interpreter(path);

    if (*interpreter && access(interpreter, X_OK) == 0)
        return FALSE;
    if (*interpreter)
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_ERROR, "hook-runs",
                         "install that program, or reinstall the package of apmigd",
                         NO_GUEST_STARTS "%s, which its hook script %s is to be run by, cannot be executed.",
                         interpreter, path);
    else
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_ERROR, "hook-runs",
                         "reinstall the package of apmigd",
                         NO_GUEST_STARTS "its hook script %s is no script.", path);
    return TRUE;
}

/* --- SELinux, as its file system tells it (security/selinux/selinuxfs.c) --------------------------- */

static gboolean
read_number(const char *path, guint *ret_number)
{
    g_autofree char *text = NULL;
    guint64 number;

    if (!g_file_get_contents(path, &text, NULL, NULL) ||
        !g_ascii_string_to_unsigned(g_strstrip(text), 10, 1, 32767, &number, NULL))
        return FALSE;
    *ret_number = (guint)number;
    return TRUE;
}

static gboolean
is_enforcing(void)
{
    g_autofree char *text = NULL;

    return g_file_get_contents(SELINUX "/enforce", &text, NULL, NULL) && *text == '1';
}

/* Returns: (transfer full): of the process whose pid libvirt's daemon has left; or that which its policies give it. */
static char *
read_label_of_daemon(const char *name)
{
    g_autofree char *pid_file = g_strdup_printf("/run/%s.pid", name);
    g_autofree char *pid = NULL;
    g_autofree char *path = NULL;
    char *label = NULL;

    if (g_file_get_contents(pid_file, &pid, NULL, NULL)) {
        path = g_strdup_printf("/proc/%s/attr/current", g_strstrip(pid));
        if (g_file_get_contents(path, &label, NULL, NULL) && *g_strstrip(label))
            return label;
        g_free(label);
    }
    return g_strdup_printf("system_u:system_r:%s:s0",
                           g_str_equal(name, "virtqemud") ? "virtqemud_t" : "virtd_t");
}

/* Returns: the kernel's answer, of which @ret_allowed is the first number and @ret_flags the last; FALSE: there is none. */
static gboolean
ask_kernel(const char *source, const char *target, guint class, guint *ret_allowed, guint *ret_flags)
{
    g_autofree char *question = g_strdup_printf("%s %s %u", source, target, class);
    char answer[256] = "";
    int fd = open(SELINUX "/access", O_RDWR | O_CLOEXEC | O_NOCTTY);
    gboolean told = fd >= 0 && write(fd, question, strlen(question)) == (ssize_t)strlen(question) &&
                    read(fd, answer, sizeof answer - 1) > 0;

    if (fd >= 0)
        close(fd);
    return told && sscanf(answer, "%x %*x %*x %*x %*u %x", ret_allowed, ret_flags) == 2;
}

typedef enum {
    SELINUX_MAY,
    SELINUX_MAY_NOT,
    SELINUX_UNKNOWN,
} SelinuxAnswer;

static SelinuxAnswer
may_execute(const char *source, const char *target)
{
    guint class, permission, allowed, flags;

    if (!read_number(SELINUX "/class/file/index", &class) ||
        !read_number(SELINUX "/class/file/perms/execute", &permission) || permission > 32 ||
        !ask_kernel(source, target, class, &allowed, &flags))
        return SELINUX_UNKNOWN;
    return allowed & (1u << (permission - 1)) || flags & PERMISSIVE ? SELINUX_MAY : SELINUX_MAY_NOT;
}

static gboolean
is_forbidden_by_selinux(CtlDoctor *doctor, const char *path, const char *daemon)
{
    g_autofree char *remedy =
        g_strdup_printf("install the SELinux module apmigd, then: restorecon -v %s", path);
    g_autofree char *source = NULL;
    char target[MAX_LABEL] = "";
    SelinuxAnswer answer = SELINUX_UNKNOWN;

    if (!is_enforcing())
        return FALSE;
    source = read_label_of_daemon(daemon);
    if (getxattr(path, "security.selinux", target, sizeof target - 1) > 0)
        answer = may_execute(source, target);
    if (answer == SELINUX_MAY_NOT)
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_ERROR, "hook-runs", remedy,
                         "Guests come in unasked: SELinux does not let %s (%s) execute the hook script %s "
                         "(%s), so that it takes it for none.",
                         daemon, source, path, target);
    else if (answer == SELINUX_UNKNOWN)
        ctl_findings_add(doctor->findings, APMIG_SEVERITY_UNKNOWN, "hook-runs", "run this as root",
                         "Whether SELinux lets %s execute the hook script %s is not known.", daemon, path);
    return answer != SELINUX_MAY;
}

void
ctl_doctor_check_script(CtlDoctor *doctor, const char *path, const char *daemon)
{
    if (is_on_noexec_mount(doctor, path) || lacks_interpreter(doctor, path) ||
        is_forbidden_by_selinux(doctor, path, daemon))
        return;
    ctl_findings_add(doctor->findings, APMIG_SEVERITY_NONE, "hook-runs", NULL,
                     "Nothing keeps libvirt from running the hook script.");
}
