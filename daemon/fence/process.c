/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fence/process.h"

#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_COMMAND_LINE (4 * 1024 * 1024)

G_GNUC_PRINTF(3, 4)
static gboolean
refuse(ApmigFenceReply *reply, int error, const char *format, ...)
{
    g_autofree char *message = NULL;
    va_list args;

    va_start(args, format);
    message = g_strdup_vprintf(format, args);
    va_end(args);
    return apmig_fence_reply_set(reply, APMIG_FENCE_REFUSED, error, "%s", message);
}

/* --- libvirt's pid file -------------------------------------------------------------------------- */

static gboolean
read_pid_file(const ApmigFenceRequest *request, const ApmigFencePaths *paths, gint64 *ret_pid,
              ApmigFenceReply *reply)
{
    g_autofree char *file = g_strconcat(request->name, ".pid", NULL);
    g_autofree char *path = g_build_filename(paths->pid_dir, file, NULL);
    g_autofree char *content = apmig_proc_read(AT_FDCWD, path, 64, NULL);
    guint64 pid;

    if (!content)
        return refuse(reply, errno,
                      "libvirt's pid file \"%s\" could not be read (%s): the guest is not active here.", path,
                      g_strerror(errno));
    if (!g_ascii_string_to_unsigned(g_strstrip(content), 10, 2, G_MAXINT32, &pid, NULL))
        return refuse(reply, 0, "libvirt's pid file \"%s\" holds no pid.", path);
    *ret_pid = (gint64)pid;
    return TRUE;
}

static gboolean
check_pid_file(const ApmigFenceRequest *request, const ApmigFencePaths *paths, const ApmigProcess *process,
               ApmigFenceReply *reply)
{
    gint64 pid;

    return read_pid_file(request, paths, &pid, reply) &&
           (pid == process->pid ||
            refuse(reply, 0,
                   "According to libvirt's pid file the guest's QEMU is process %" G_GINT64_FORMAT
                   ", not %d.",
                   pid, process->pid));
}

/* --- the process --------------------------------------------------------------------------------- */

static gboolean
open_process(const ApmigFencePaths *paths, ApmigProcess *process, ApmigFenceReply *reply)
{
    g_autofree char *folder = g_strdup_printf("%d", process->pid);

    process->pidfd = (int)syscall(SYS_pidfd_open, process->pid, 0);
    if (process->pidfd < 0)
        return refuse(reply, errno, "There is no process %d any more: %s.", process->pid, g_strerror(errno));
    process->proc_root = open(paths->proc_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (process->proc_root >= 0)
        process->proc = openat(process->proc_root, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (process->proc < 0)
        return refuse(reply, errno, "\"%s/%d\" could not be opened: %s.", paths->proc_root, process->pid,
                      g_strerror(errno));
    return TRUE;
}

static gboolean
check_start_time(const ApmigFenceRequest *request, ApmigProcess *process, ApmigFenceReply *reply)
{
    char letter;

    if (!apmig_proc_read_stat(process->proc, "stat", &letter, &process->start_time))
        return refuse(reply, errno, "The start time of process %d could not be read: %s.", process->pid,
                      g_strerror(errno));
    if (request->start_time != 0 && request->start_time != process->start_time)
        return refuse(reply, 0,
                      "Process %d started at %" G_GUINT64_FORMAT
                      " clock ticks after boot, not at %" G_GUINT64_FORMAT
                      ": the number has been used again.",
                      process->pid, process->start_time, request->start_time);
    if (letter == 'Z' || letter == 'X' ||
        (syscall(SYS_pidfd_send_signal, process->pidfd, 0, NULL, 0) < 0 && errno == ESRCH))
        return refuse(reply, ESRCH, "Process %d has ended.", process->pid);
    return TRUE;
}

/* QEMU takes options with one dash or two; libvirt writes one. */
static gboolean
check_command_line(const ApmigFenceRequest *request, ApmigProcess *process, ApmigFenceReply *reply)
{
    gsize length = 0;
    g_autofree char *line = apmig_proc_read(process->proc, "cmdline", MAX_COMMAND_LINE, &length);
    const char *previous = "";
    gboolean found = FALSE, comes_in = FALSE, stopped = FALSE;

    if (!line)
        return refuse(reply, errno, "The command line of process %d could not be read: %s.", process->pid,
                      g_strerror(errno));
    for (const char *arg = line; arg < line + length; previous = arg, arg += strlen(arg) + 1) {
        if (strcmp(previous, "-uuid") == 0 && g_ascii_strcasecmp(arg, request->uuid) == 0)
            found = TRUE;
        comes_in |= strcmp(arg, "-incoming") == 0;
        stopped |= strcmp(arg, "-S") == 0;
    }
    process->incoming = comes_in && stopped;
    return found || refuse(reply, 0,
                           "Process %d is no QEMU of the guest with the UUID %s: its command line does not "
                           "name it.",
                           process->pid, request->uuid);
}

gboolean
apmig_process_prove(const ApmigFenceRequest *request, const ApmigFencePaths *paths, ApmigProcess *process,
                    ApmigFenceReply *reply)
{
    gint64 pid = request->pid;

    if (pid == 0 && !read_pid_file(request, paths, &pid, reply))
        return FALSE;
    process->pid = (pid_t)pid;
    if (!open_process(paths, process, reply) || !check_start_time(request, process, reply) ||
        !check_command_line(request, process, reply) || !check_pid_file(request, paths, process, reply))
        return FALSE;
    reply->pid = process->pid;
    reply->start_time = process->start_time;
    return TRUE;
}

int
apmig_process_kill(const ApmigProcess *process)
{
    return syscall(SYS_pidfd_send_signal, process->pidfd, SIGKILL, NULL, 0) < 0 ? errno : 0;
}

int
apmig_process_duplicate(const ApmigProcess *process, int fd)
{
    return (int)syscall(SYS_pidfd_getfd, process->pidfd, fd, 0);
}

void
apmig_process_clear(ApmigProcess *process)
{
    int *fds[] = {&process->pidfd, &process->proc, &process->proc_root};

    for (guint i = 0; i < G_N_ELEMENTS(fds); i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
}
