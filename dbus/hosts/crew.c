/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hosts/crew.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/format.h"

#define MAX_SAID 600 /* bytes of what ssh has said, from its end */

struct HostsCrew {
    GMutex mutex;
    int bell; /* an eventfd, rung after a change of what the mutex guards */
    GPtrArray *hosts;
    GArray *
        ended_ssh; /* (element-type GPid): of hosts that were renewed: told to end, and perhaps not gone yet */
    gint64 silence_usec;
    gboolean quiet;
};

typedef struct {
    HostsHost *host;
    HostsWork work;
    gpointer task;
    GDestroyNotify clear;
} Job;

/* --- the bell ------------------------------------------------------------------------------------- */

static void
ring(const HostsCrew *crew)
{
    (void)eventfd_write(crew->bell, 1);
}

/* Under the mutex, which is let go meanwhile. @fds: (nullable): of which one may be ready before. @until: monotonic */
static void
wait_for_bell(HostsCrew *crew, GArray *fds, gint64 until)
{
    g_autoptr(GArray) all = g_array_new(FALSE, FALSE, sizeof(GPollFD));
    const GPollFD bell = {.fd = crew->bell, .events = G_IO_IN};
    gint64 wait = MAX(until - g_get_monotonic_time(), 0);
    eventfd_t count;

    g_array_append_val(all, bell);
    if (fds)
        g_array_append_vals(all, fds->data, fds->len);
    g_mutex_unlock(&crew->mutex);
    (void)g_poll((GPollFD *)(gpointer)all->data, all->len, (int)MIN(wait / 1000 + 1, G_MAXINT));
    g_mutex_lock(&crew->mutex);
    (void)eventfd_read(crew->bell, &count);
}

/* --- one host ------------------------------------------------------------------------------------- */

static void
crew_clear(gpointer data)
{
    HostsCrew *crew = data;

    g_mutex_clear(&crew->mutex);
    if (crew->bell >= 0)
        close(crew->bell);
    g_clear_pointer(&crew->hosts, g_ptr_array_unref);
    g_clear_pointer(&crew->ended_ssh, g_array_unref);
}

static void
host_clear(gpointer data)
{
    HostsHost *host = data;

    g_clear_pointer(&host->bus, sd_bus_close_unref);
    g_clear_pointer(&host->locks, g_ptr_array_unref);
    g_clear_pointer(&host->migrations, g_ptr_array_unref);
    g_clear_pointer(&host->manager, json_object_unref);
    g_clear_pointer(&host->lock, json_object_unref);
    g_clear_pointer(&host->verdict, json_object_unref);
    g_clear_pointer(&host->keys, json_array_unref);
    g_clear_error(&host->error);
    g_clear_error(&host->release_error);
    g_clear_error(&host->lost_error);
    g_free(host->bus_id);
    g_free(host->text);
    g_free(host->doing);
    g_free(host->said);
    g_free(host->lost);
    g_free(host->name);
    if (host->ssh_errors >= 0)
        close(host->ssh_errors);
    g_atomic_rc_box_release_full(host->crew, crew_clear);
}

static void
host_unref(gpointer data)
{
    g_atomic_rc_box_release_full(data, host_clear);
}

static HostsHost *
host_new(HostsCrew *crew, const char *name)
{
    HostsHost *host = g_atomic_rc_box_new0(HostsHost);

    host->name = g_strdup(name);
    host->crew = g_atomic_rc_box_acquire(crew);
    host->uid = -1;
    host->ssh_errors = -1;
    return host;
}

const GError *
hosts_failure(const HostsHost *host)
{
    return host->lost ? host->lost_error : host->error;
}

/* --- from its thread ------------------------------------------------------------------------------ */

void
hosts_fail(HostsHost *host, GError *error)
{
    if (host->error) {
        g_error_free(error);
        return;
    }
    host->error =
        error->domain == CTL_ERROR ? error : g_error_new_literal(CTL_ERROR, CTL_EXIT_FAILURE, error->message);
    if (host->error != error)
        g_error_free(error);
}

void
hosts_say(HostsHost *host, char *what)
{
    g_mutex_lock(&host->crew->mutex);
    g_free(host->doing);
    host->doing = what;
    ring(host->crew);
    g_mutex_unlock(&host->crew->mutex);
}

void
hosts_heard(HostsHost *host)
{
    g_mutex_lock(&host->crew->mutex);
    host->heard_at = g_get_monotonic_time();
    g_mutex_unlock(&host->crew->mutex);
}

void
hosts_place(HostsHost *host)
{
    g_mutex_lock(&host->crew->mutex);
    host->placed = TRUE;
    ring(host->crew);
    g_mutex_unlock(&host->crew->mutex);
}

gboolean
hosts_adopt_ssh(HostsHost *host, GPid ssh, int errors)
{
    gboolean lost;

    g_mutex_lock(&host->crew->mutex);
    host->ssh = ssh;
    host->ssh_errors = errors;
    lost = host->lost != NULL;
    g_mutex_unlock(&host->crew->mutex);
    return !lost;
}

/* Returns: (transfer full): the end of it, on one line. */
static char *
read_said(int errors)
{
    char text[MAX_SAID + 1];
    off_t end = errors >= 0 ? lseek(errors, 0, SEEK_END) : 0;
    ssize_t length = end > 0 ? pread(errors, text, MAX_SAID, MAX(end - MAX_SAID, 0)) : 0;

    text[MAX(length, 0)] = '\0';
    g_strdelimit(text, "\r\n", ' ');
    return g_utf8_make_valid(g_strstrip(text), -1);
}

char *
hosts_end_ssh(HostsHost *host)
{
    g_autofree char *said = NULL;
    GPid ssh;
    int status = 0;

    g_mutex_lock(&host->crew->mutex);
    ssh = host->ssh;
    host->ssh = 0; /* from now on its number may be another's */
    g_mutex_unlock(&host->crew->mutex);
    if (ssh == 0)
        return g_strdup("ssh does not run");
    /* Whose connection has ended ends by itself, and tells why. */
    for (guint i = 0; i < 50 && waitpid(ssh, &status, WNOHANG) == 0; i++) {
        if (i == 20)
            kill(ssh, SIGTERM);
        g_usleep(10 * 1000);
        if (i == 49) {
            kill(ssh, SIGKILL);
            waitpid(ssh, &status, 0);
        }
    }
    host->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    said = read_said(host->ssh_errors);
    if (*said)
        return g_strdup_printf("ssh says: %s", said);
    return WIFEXITED(status) ? g_strdup_printf("ssh ended with status %d", WEXITSTATUS(status))
                             : g_strdup_printf("ssh ended by signal %d", WTERMSIG(status));
}

static gpointer
run(gpointer data)
{
    g_autofree Job *job = data;
    HostsHost *host = job->host;

    job->work(host, job->task);
    g_atomic_rc_box_release_full(job->task, job->clear);
    g_mutex_lock(&host->crew->mutex);
    host->working = FALSE;
    ring(host->crew);
    g_mutex_unlock(&host->crew->mutex);
    host_unref(host);
    return NULL;
}

/* --- all of them ---------------------------------------------------------------------------------- */

/* Each has a socket, and a file for what ssh says. */
static void
raise_limit(guint n_hosts)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 4 * n_hosts + 64) {
        limit.rlim_cur = MIN(limit.rlim_max, 4 * n_hosts + 64);
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

HostsCrew *
hosts_crew_new(const GPtrArray *names, gint64 silence_usec, gboolean quiet)
{
    HostsCrew *crew = g_atomic_rc_box_new0(HostsCrew);

    g_mutex_init(&crew->mutex);
    crew->silence_usec = silence_usec;
    crew->quiet = quiet;
    crew->hosts = g_ptr_array_new_with_free_func(host_unref);
    crew->ended_ssh = g_array_new(FALSE, FALSE, sizeof(GPid));
    for (guint i = 0; i < names->len; i++)
        g_ptr_array_add(crew->hosts, host_new(crew, g_ptr_array_index(names, i)));
    raise_limit(names->len);
    crew->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (crew->bell < 0)
        g_error("no file descriptor is left for the first event: %s", g_strerror(errno));
    return crew;
}

static void
kill_ssh(HostsHost *host)
{
    if (host->ssh > 0)
        kill(host->ssh, SIGTERM);
}

void
hosts_crew_end(HostsCrew *crew)
{
    g_autoptr(GPtrArray) hosts = NULL;

    if (!crew)
        return;
    g_mutex_lock(&crew->mutex);
    for (guint i = 0; i < crew->hosts->len; i++)
        kill_ssh(g_ptr_array_index(crew->hosts, i));
    hosts = g_steal_pointer(&crew->hosts);
    g_mutex_unlock(&crew->mutex);
    g_clear_pointer(&hosts, g_ptr_array_unref); /* each has a reference to the crew */
    g_atomic_rc_box_release_full(crew, crew_clear);
}

GPtrArray *
hosts_crew_hosts(HostsCrew *crew)
{
    return crew->hosts;
}

/* Under the mutex. Its end is waited for at a later renewal: a wait of days leaves no dead processes behind. */
static void
take_ssh(HostsCrew *crew, HostsHost *host)
{
    for (guint i = crew->ended_ssh->len; i > 0; i--)
        if (waitpid(g_array_index(crew->ended_ssh, GPid, i - 1), NULL, WNOHANG) != 0)
            g_array_remove_index_fast(crew->ended_ssh, i - 1);
    kill_ssh(host);
    if (host->ssh > 0)
        g_array_append_val(crew->ended_ssh, host->ssh);
    host->ssh = 0;
}

void
hosts_crew_renew(HostsCrew *crew, guint i)
{
    HostsHost *host = g_ptr_array_index(crew->hosts, i);

    g_mutex_lock(&crew->mutex);
    take_ssh(crew, host);
    g_mutex_unlock(&crew->mutex);
    crew->hosts->pdata[i] = host_new(crew, host->name);
    host_unref(host);
}

/* Under the mutex. */
static void
lose(HostsHost *host, const char *why)
{
    host->lost = g_strdup(why);
    host->lost_error = g_error_new_literal(CTL_ERROR, CTL_EXIT_UNREACHABLE, why);
    g_clear_pointer(&host->doing, g_free);
    kill_ssh(host);
    ring(host->crew);
}

/* Under the mutex. */
static void
start(HostsHost *host, HostsWork work, gpointer task, GDestroyNotify clear)
{
    Job *job = g_new0(Job, 1);
    GThread *thread;

    job->host = g_atomic_rc_box_acquire(host);
    job->work = work;
    job->task = g_atomic_rc_box_acquire(task);
    job->clear = clear;
    host->working = TRUE;
    host->placed = FALSE;
    host->heard_at = g_get_monotonic_time();
    thread = g_thread_try_new("host", run, job, NULL);
    if (thread) {
        g_thread_unref(thread);
        return;
    }
    host->working = FALSE;
    lose(host, "this machine has no thread left for it: name fewer hosts at once, or see ulimit -u");
    g_atomic_rc_box_release_full(job->task, clear);
    host_unref(host);
    g_free(job);
}

/* Under the mutex. */
static void
tell(HostsCrew *crew)
{
    for (guint i = 0; i < crew->hosts->len; i++) {
        HostsHost *host = g_ptr_array_index(crew->hosts, i);
        char *doing = g_steal_pointer(&host->doing);

        if (doing && !crew->quiet && g_strcmp0(doing, host->said) != 0) {
            g_autofree char *safe = ctl_escape(doing);

            fprintf(stderr, "%s: %s\n", host->name, safe);
        }
        if (doing) {
            g_free(host->said);
            host->said = doing;
        }
    }
}

/* Under the mutex. Returns: whether any host works yet; those that have been silent for too long are lost. */
static gboolean
is_working(HostsCrew *crew, gint64 *ret_next)
{
    gint64 now = g_get_monotonic_time();
    gboolean working = FALSE;

    *ret_next = now + crew->silence_usec;
    for (guint i = 0; i < crew->hosts->len; i++) {
        HostsHost *host = g_ptr_array_index(crew->hosts, i);
        gint64 end = host->heard_at + crew->silence_usec;

        if (!host->working || host->lost)
            continue;
        if (now >= end) {
            g_autofree char *waited = ctl_format_duration(crew->silence_usec);
            g_autofree char *why = g_strdup_printf("it has not answered within %s", waited);

            lose(host, why);
            if (!crew->quiet)
                fprintf(stderr, "%s: %s\n", host->name, why);
            continue;
        }
        working = TRUE;
        *ret_next = MIN(*ret_next, end);
    }
    return working;
}

/* Under the mutex. @until_placed: (nullable): also until the others may begin */
static void
wait_for_all(HostsCrew *crew, const HostsHost *until_placed)
{
    gint64 next;

    while (is_working(crew, &next) && !(until_placed && until_placed->placed)) {
        tell(crew);
        wait_for_bell(crew, NULL, next);
    }
    tell(crew);
}

void
hosts_crew_run(HostsCrew *crew, HostsWork work, gpointer task, GDestroyNotify clear, gboolean first_alone)
{
    gboolean go_on = TRUE;

    g_mutex_lock(&crew->mutex);
    for (guint i = 0; i < crew->hosts->len && go_on; i++) {
        HostsHost *host = g_ptr_array_index(crew->hosts, i);

        if (hosts_failure(host))
            continue;
        start(host, work, task, clear);
        if (first_alone) {
            wait_for_all(crew, host);
            go_on = host->placed || !hosts_failure(host);
            first_alone = FALSE;
        }
    }
    wait_for_all(crew, NULL);
    g_mutex_unlock(&crew->mutex);
}

/* --- one by one ----------------------------------------------------------------------------------- */

void
hosts_crew_begin(HostsCrew *crew, guint i, HostsWork work, gpointer task, GDestroyNotify clear)
{
    g_mutex_lock(&crew->mutex);
    start(g_ptr_array_index(crew->hosts, i), work, task, clear);
    g_mutex_unlock(&crew->mutex);
}

gboolean
hosts_is_at_rest(HostsHost *host)
{
    gboolean is_at_rest;

    g_mutex_lock(&host->crew->mutex);
    is_at_rest = !host->working || host->lost;
    g_mutex_unlock(&host->crew->mutex);
    return is_at_rest;
}

void
hosts_crew_wait(HostsCrew *crew, GArray *fds, gint64 until)
{
    gint64 next;

    g_mutex_lock(&crew->mutex);
    (void)is_working(crew, &next);
    wait_for_bell(crew, fds, MIN(next, until));
    (void)is_working(crew, &next);
    tell(crew);
    g_mutex_unlock(&crew->mutex);
}

GPtrArray *
hosts_crew_new_answers(HostsCrew *crew)
{
    GPtrArray *answers = g_ptr_array_new_with_free_func(host_unref);

    for (guint i = 0; i < crew->hosts->len; i++) {
        const HostsHost *host = g_ptr_array_index(crew->hosts, i);

        g_ptr_array_add(answers, host_new(crew, host->name));
    }
    return answers;
}

void
hosts_crew_take_answer(HostsCrew *crew, guint i, GPtrArray *answers)
{
    HostsHost *host = g_ptr_array_index(crew->hosts, i), *answer = host_new(crew, host->name);
    const GError *failure = hosts_failure(host);

    host_unref(answers->pdata[i]);
    answers->pdata[i] = answer;
    if (failure) {
        answer->error = g_error_copy(failure);
        return;
    }
    answer->uid = host->uid;
    answer->bus_id = g_strdup(host->bus_id);
    answer->locks = g_steal_pointer(&host->locks);
    answer->migrations = g_steal_pointer(&host->migrations);
    answer->manager = g_steal_pointer(&host->manager);
    answer->lock = g_steal_pointer(&host->lock);
    answer->verdict = g_steal_pointer(&host->verdict);
    answer->received_at = host->received_at;
}
