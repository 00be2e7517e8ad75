/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hosts/follow.h"

#include "hosts/reach.h"

/* A host whose guests leave one by one tells of many changes, and each question has its hypervisor read: those that come
 * within a second are one. Also the first pause before a host that has failed is connected again. */
#define GAP_USEC G_USEC_PER_SEC
/* Each pause before it is twice the one before, up to this. */
#define MAX_PAUSE_USEC (30 * G_USEC_PER_SEC)
/* Who tells nothing is asked nevertheless: it may hang, and the site's bus may keep its signals from us. Seldom, for that ssh
 * or the host has died ends the connection by itself, after 15 s at most. */
#define QUIET_USEC  (30 * G_USEC_PER_SEC)
#define MAX_SIGNALS 100 /* of one host, before others have their turn */

/* Of one host; main thread. */
typedef struct {
    gint64 asked_at;    /* when its newest question was put: monotonic; 0: not yet */
    gint64 answered_at; /* when the question was put which its answer is of */
    gint64 pause_usec;  /* from its newest question to the next one, if it fails */
    gboolean is_asked;  /* that question is under way */
} Asking;

typedef struct {
    HostsCrew *crew;
    HostsTask *task;
    Asking *askings;    /* by the numbers of hosts */
    GPtrArray *answers; /* the same */
    gint64 all_since;   /* all are to answer a question that was put then or later */
    HostsAnswers are;
} Follow;

static void
follow_clear(Follow *follow)
{
    g_clear_pointer(&follow->askings, g_free);
    g_clear_pointer(&follow->answers, g_ptr_array_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Follow, follow_clear)

/* --- a question: the host's thread ---------------------------------------------------------------- */

static void
ask(HostsHost *host, gconstpointer data)
{
    const HostsTask *task = data;

    if (!hosts_connect(host, task->silence_usec))
        return;
    if (host->has_left) {
        hosts_fail(host, g_error_new_literal(CTL_ERROR, CTL_EXIT_UNREACHABLE,
                                             "apmigd has ended there or left its bus, and what began "
                                             "meanwhile was not seen: see 'systemctl status apmigd' there"));
        return;
    }
    hosts_subscribe(host);
    host->has_changed = FALSE;
    hosts_ask(host, task);
}

/* --- all hosts: the main thread ------------------------------------------------------------------- */

/* Returns: when it is to be asked: monotonic. */
static gint64
next_question(const Follow *follow, guint i)
{
    const HostsHost *host = g_ptr_array_index(hosts_crew_hosts(follow->crew), i);
    const Asking *asking = &follow->askings[i];
    gint64 pause;

    if (asking->is_asked)
        return G_MAXINT64;
    if (asking->asked_at < follow->all_since)
        return 0;
    pause = hosts_failure(host) ? asking->pause_usec
            : host->has_changed ? GAP_USEC
                                : MIN(follow->task->silence_usec, QUIET_USEC);
    return asking->asked_at + pause;
}

static void
begin_questions(Follow *follow)
{
    GPtrArray *hosts = hosts_crew_hosts(follow->crew);

    for (guint i = 0; i < hosts->len; i++) {
        Asking *asking = &follow->askings[i];
        gint64 now = g_get_monotonic_time();

        if (next_question(follow, i) > now)
            continue;
        if (hosts_failure(g_ptr_array_index(hosts, i))) {
            hosts_crew_renew(follow->crew, i);
            asking->pause_usec = MIN(2 * asking->pause_usec, MAX_PAUSE_USEC);
        }
        asking->asked_at = now;
        asking->is_asked = TRUE;
        hosts_crew_begin(follow->crew, i, ask, follow->task, hosts_task_clear);
    }
}

/* Returns: whether there is a new answer. */
static gboolean
collect_answers(Follow *follow)
{
    GPtrArray *hosts = hosts_crew_hosts(follow->crew);
    gboolean is_new = FALSE;

    for (guint i = 0; i < hosts->len; i++) {
        HostsHost *host = g_ptr_array_index(hosts, i);
        Asking *asking = &follow->askings[i];

        if (!asking->is_asked || !hosts_is_at_rest(host))
            continue;
        hosts_crew_take_answer(follow->crew, i, follow->answers);
        asking->is_asked = FALSE;
        asking->answered_at = asking->asked_at;
        if (!hosts_failure(host))
            asking->pause_usec = GAP_USEC;
        is_new = TRUE;
    }
    return is_new;
}

/* Whether all have answered a question that was put at @since or later. */
static gboolean
have_answered(const Follow *follow, gint64 since)
{
    for (guint i = 0; i < follow->answers->len; i++)
        if (follow->askings[i].answered_at < since)
            return FALSE;
    return TRUE;
}

/* What a host at rest has told. @fds: gets its connection. Returns: when there is something to do for that: monotonic. */
static gint64
listen_to(HostsHost *host, GArray *fds)
{
    uint64_t timeout = UINT64_MAX;
    GPollFD fd = {.fd = -1};
    int r = 1, events = 0;

    for (guint i = 0; i < MAX_SIGNALS && r > 0; i++)
        r = sd_bus_process(host->bus, NULL);
    if (r > 0)
        return 0;
    if (r >= 0)
        events = sd_bus_get_events(host->bus);
    if (r < 0 || events < 0 || sd_bus_get_timeout(host->bus, &timeout) < 0) {
        host->has_changed = TRUE; /* its connection has ended, and why is asked for */
        return G_MAXINT64;
    }
    fd.fd = sd_bus_get_fd(host->bus);
    fd.events = (gushort)events;
    g_array_append_val(fds, fd);
    return (gint64)MIN(timeout, (uint64_t)G_MAXINT64);
}

/* Until something is to be done. @deadline: as of hosts_follow() */
static void
wait_for_news(Follow *follow, gint64 deadline)
{
    g_autoptr(GArray) fds = g_array_new(FALSE, FALSE, sizeof(GPollFD));
    GPtrArray *hosts = hosts_crew_hosts(follow->crew);
    gint64 until = follow->are == HOSTS_ANSWERS_COMING ? G_MAXINT64 : deadline;

    for (guint i = 0; i < hosts->len; i++) {
        HostsHost *host = g_ptr_array_index(hosts, i);

        if (!follow->askings[i].is_asked && !hosts_failure(host))
            until = MIN(until, listen_to(host, fds));
        until = MIN(until, next_question(follow, i));
    }
    hosts_crew_wait(follow->crew, fds, until);
}

static void
ask_all(Follow *follow)
{
    follow->are = HOSTS_ANSWERS_COMING;
    follow->all_since = g_get_monotonic_time();
}

static int
call_look(Follow *follow, HostsLookFunc look, gpointer data)
{
    int status;

    if (follow->are == HOSTS_ANSWERS_COMING && have_answered(follow, follow->all_since))
        follow->are = HOSTS_ANSWERS_TOGETHER;
    status = look(follow->answers, follow->are, data);
    if (follow->are == HOSTS_ANSWERS_TOGETHER)
        follow->are = HOSTS_ANSWERS_APART;
    if (status == HOSTS_ASK_ALL && follow->are == HOSTS_ANSWERS_APART)
        ask_all(follow);
    return status;
}

int
hosts_follow(HostsCrew *crew, HostsTask *task, gint64 deadline, HostsLookFunc look, gpointer data)
{
    g_auto(Follow) follow = {.crew = crew, .task = task};

    follow.answers = hosts_crew_new_answers(crew);
    follow.askings = g_new0(Asking, follow.answers->len);
    for (guint i = 0; i < follow.answers->len; i++)
        follow.askings[i].pause_usec = GAP_USEC;
    ask_all(&follow);
    for (;;) {
        gboolean is_new = collect_answers(&follow);

        if (have_answered(&follow, 1) && (is_new || g_get_monotonic_time() >= deadline)) {
            int status = call_look(&follow, look, data);

            if (status >= 0)
                return status;
        }
        begin_questions(&follow);
        wait_for_news(&follow, deadline);
    }
}
