/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * apmigd-fence: started by systemd for one connection, which is its standard input; carries out one request and ends.
 * It holds the capabilities that apmigd does without, and does nothing with them but what decide.h has in its table.
 */
#include "base/no-exec.h"
#include "fence/carry-out.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <syslog.h>
#include <unistd.h>

#define CONNECTION   STDIN_FILENO
#define DEADLINE_SEC 2 /* then SIGALRM ends the process, and the kernel undoes what it froze */

/* One line on standard error, from whose beginning the journal takes the priority (sd-daemon(3)). */
G_GNUC_PRINTF(2, 3)
static void
log_line(int priority, const char *format, ...)
{
    g_autofree char *line = NULL;
    va_list args;

    va_start(args, format);
    line = g_strdup_vprintf(format, args);
    va_end(args);
    dprintf(STDERR_FILENO, "<%d>%s\n", priority, line);
}

/* @peer_name: (nullable): whoever may ask besides root; the helper's own user if it is not named */
static gboolean
may_ask(uid_t uid, const char *peer_name)
{
    const struct passwd *entry = peer_name ? getpwnam(peer_name) : NULL;

    return uid == 0 || (peer_name ? entry && uid == entry->pw_uid : uid == getuid());
}

static gboolean
check_peer(const char *peer_name, ApmigFenceReply *reply)
{
    struct ucred peer;
    socklen_t length = sizeof peer;

    if (getsockopt(CONNECTION, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
        return apmig_fence_reply_set(
            reply, APMIG_FENCE_REFUSED, errno,
            "Standard input is no socket: apmigd-fence is started by systemd, for apmigd.");
    if (!may_ask(peer.uid, peer_name))
        return apmig_fence_reply_set(reply, APMIG_FENCE_REFUSED, EPERM,
                                     "The user %u may not ask for this: only apmigd and root may.", peer.uid);
    return TRUE;
}

/* Read before anything is refused: a socket that is closed with something unread in it takes the reply along. */
static gboolean
receive_request(const char *peer_name, ApmigFenceRequest *request, ApmigFenceReply *reply)
{
    g_autoptr(GError) error = NULL;
    ssize_t n = recv(CONNECTION, request, sizeof *request, MSG_TRUNC);
    int received_errno = errno;

    if (!check_peer(peer_name, reply))
        return FALSE;
    if (n <= 0)
        return apmig_fence_reply_set(reply, APMIG_FENCE_REFUSED, n < 0 ? received_errno : 0,
                                     "No request came.");
    return apmig_fence_request_check(request, (gsize)n, &error) ||
           apmig_fence_reply_set(reply, APMIG_FENCE_REFUSED, EBADMSG, "The request cannot be understood: %s",
                                 error->message);
}

static void
send_reply(const ApmigFenceReply *reply)
{
    if (send(CONNECTION, reply, sizeof *reply, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        log_line(LOG_WARNING, "The reply could not be sent: %s.", g_strerror(errno));
}

/* Asked again and again while a QEMU does not answer: that there is nothing is no news. */
static gboolean
is_no_news(const ApmigFenceRequest *request, const ApmigFenceReply *reply)
{
    return request->verb == APMIG_FENCE_LOOK && reply->result == APMIG_FENCE_NOTHING_TO_DO;
}

/* @request: (nullable): none that was understood */
static void
log_outcome(const ApmigFenceRequest *request, const ApmigFenceReply *reply)
{
    int priority = LOG_INFO;

    if (!request) {
        log_line(LOG_WARNING, "%s", reply->message);
        return;
    }
    if (is_no_news(request, reply))
        return;
    if (reply->result == APMIG_FENCE_REFUSED || reply->result == APMIG_FENCE_FAILED)
        priority = LOG_WARNING;
    else if (reply->result == APMIG_FENCE_DONE && !apmig_fence_verb_only_looks(request->verb))
        priority = LOG_NOTICE;
    log_line(
        priority,
        "%s of guest %s (%s), process %d, device %s, driver %s, direction %s: %s, device %s -> %s, frozen "
        "for %" G_GINT64_FORMAT " us: %s",
        apmig_fence_verb_to_string(request->verb), request->name, request->uuid, reply->pid, request->device,
        apmig_fence_driver_to_string(reply->driver), apmig_fence_direction_to_string(request->direction),
        apmig_fence_result_to_string(reply->result), apmig_vfio_state_to_string(reply->before),
        apmig_vfio_state_to_string(reply->after), reply->frozen_usec, reply->message);
}

static gboolean
parse_options(int argc, char **argv, ApmigFencePaths *paths, char **peer_name)
{
    const GOptionEntry entries[] = {
        {"peer", 0, 0, G_OPTION_ARG_STRING, peer_name,
         "Who may ask besides root, instead of the user that this runs as", "USER"},
        {"proc-root", 0, 0, G_OPTION_ARG_FILENAME, &paths->proc_root, "Instead of /proc", "DIR"},
        {"sysfs-root", 0, 0, G_OPTION_ARG_FILENAME, &paths->sysfs_root, "Instead of /sys", "DIR"},
        {"pid-dir", 0, 0, G_OPTION_ARG_FILENAME, &paths->pid_dir,
         "libvirt's pid files, instead of /run/libvirt/qemu", "DIR"},
        {"lock-dir", 0, 0, G_OPTION_ARG_FILENAME, &paths->lock_dir,
         "Which devices are being asked, instead of /run/apmigd-fence", "DIR"},
        {NULL},
    };
    g_autoptr(GOptionContext) context =
        g_option_context_new("- acts on an incoming or outgoing guest, for apmigd");
    g_autoptr(GError) error = NULL;

    g_option_context_add_main_entries(context, entries, NULL);
    if (g_option_context_parse(context, &argc, &argv, &error) && argc == 1)
        return TRUE;
    log_line(LOG_ERR, "%s", error ? error->message : "apmigd-fence takes options only; see --help.");
    return FALSE;
}

int
main(int argc, char **argv)
{
    ApmigFencePaths paths = {.proc_root = "/proc",
                             .sysfs_root = "/sys",
                             .pid_dir = "/run/libvirt/qemu",
                             .lock_dir = "/run/apmigd-fence"};
    ApmigFenceRequest request = {0};
    ApmigFenceReply reply = APMIG_FENCE_REPLY_INIT;
    const struct itimerval deadline = {.it_value = {.tv_sec = DEADLINE_SEC}};
    g_autofree char *peer_name = NULL;
    gboolean understood;

    setitimer(ITIMER_REAL, &deadline, NULL);
    if (!parse_options(argc, argv, &paths, &peer_name))
        return 2;
    /* Where the kernel cannot, apmigd has said so. */
    (void)apmig_forbid_exec(NULL);
    understood = receive_request(peer_name, &request, &reply);
    if (understood)
        apmig_fence_carry_out(&request, &paths, &reply);
    send_reply(&reply);
    log_outcome(understood ? &request : NULL, &reply);
    return reply.result == APMIG_FENCE_REFUSED || reply.result == APMIG_FENCE_FAILED ? EXIT_FAILURE
                                                                                     : EXIT_SUCCESS;
}
