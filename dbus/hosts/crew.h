/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A thread for each host, so that none waits for another. Work is given to all of them at once; whoever is silent for longer
 * than a host may be is named, counts as unreachable, and is waited for no more. Connections stay open from one work to the
 * next.
 *
 * What a host has belongs to its thread while it works, and to the main thread otherwise; of a host that is lost, whose
 * thread may never end, the main thread looks at nothing but the name and @lost.
 */
#pragma once

#include <sys/types.h>

#include "ctl/bus.h"

typedef struct HostsCrew HostsCrew;

typedef struct {
    char *name;      /* [USER@]HOST[:PORT]; any thread */
    HostsCrew *crew; /* any thread */
    GError *error;   /* (nullable): the first, with an exit status as its code; the host is asked no more */

    sd_bus *bus;           /* (nullable) */
    gint64 uid;            /* by which that host knows us; -1: not known */
    char *bus_id;          /* (nullable): no two machines have the same */
    GPtrArray *locks;      /* (nullable) (element-type JsonObject): see ctl_bus_get_objects() */
    GPtrArray *migrations; /* (nullable) */
    JsonObject *manager;   /* (nullable): its properties */
    JsonObject *lock;      /* (nullable): the one that is asked about */
    JsonObject *verdict;   /* (nullable): of Check, about that lock */
    JsonArray *keys;       /* (nullable): of ListKeys */
    gint64 received_at;    /* of the newest answer: monotonic */
    gboolean made;         /* the lock was made by this run, and was not there before */
    gboolean released;     /* its release was confirmed */
    GError *release_error; /* (nullable): why it could not be released */
    char *text;            /* (nullable): what a program on that host has printed */
    int status;            /* with which it has ended */

    /* --- see hosts_subscribe() */
    gboolean is_subscribed; /* @bus brings what its apmigd tells */
    gboolean has_changed;   /* it has told of a change since this was cleared */
    gboolean has_left;      /* it has left its bus, and may be there again */

    /* --- crew.c's own, under its mutex */
    GPid ssh;           /* 0: there is none */
    int ssh_errors;     /* what it wrote on its standard error; -1: nothing */
    char *doing;        /* (nullable): to be told, and not told yet */
    char *said;         /* (nullable): what was told last */
    gint64 heard_at;    /* when it was last heard of: monotonic */
    gboolean working;   /* there is a thread */
    gboolean placed;    /* the others may begin */
    char *lost;         /* (nullable): a clause: why it is waited for no more. Main thread */
    GError *lost_error; /* (nullable): the same as an error. Main thread */
} HostsHost;

/* What is done for a host, in its thread; what went wrong is left by hosts_fail(). @task: of g_atomic_rc_box_alloc(): kept while
 * the thread lives, and not changed */
typedef void (*HostsWork)(HostsHost *host, gconstpointer task);

/**
 * hosts_crew_new:
 * @names: (element-type utf8): sorted
 * @silence_usec: for how long a host may be silent
 * @quiet: nothing is told of what hosts do
 */
HostsCrew *hosts_crew_new(const GPtrArray *names, gint64 silence_usec, gboolean quiet);
/* Ends all connections, and what is left of ssh. */
void hosts_crew_end(HostsCrew *crew);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostsCrew, hosts_crew_end)

/* Returns: (transfer none) (element-type HostsHost): in the order of their names. */
GPtrArray *hosts_crew_hosts(HostsCrew *crew);

/* In place of host @i, which failed or was lost, there is a fresh one of the same name, to be asked again. Main thread. */
void hosts_crew_renew(HostsCrew *crew, guint i);

/**
 * hosts_crew_run: has @work done by all hosts that have not failed and are not lost, and returns when all have done it, have
 *   failed or are lost. Main thread.
 * @task: (transfer none): what they all work by, of g_atomic_rc_box_alloc()
 * @clear: frees what is in it
 * @first_alone: the others begin when the first one has called hosts_place() or is done; and not at all if it failed
 */
void hosts_crew_run(HostsCrew *crew, HostsWork work, gpointer task, GDestroyNotify clear,
                    gboolean first_alone);

/* --- one by one: main thread ------------------------------------------------------------------------ */

/* Has @work done by host @i alone, which is at rest and has not failed, and does not wait for it. Else as hosts_crew_run(). */
void hosts_crew_begin(HostsCrew *crew, guint i, HostsWork work, gpointer task, GDestroyNotify clear);

/**
 * hosts_crew_wait: until the work of a host has ended, one has said something or is lost, or one of @fds is ready
 * @fds: (element-type GPollFD)
 * @until: and no longer than this: monotonic
 */
void hosts_crew_wait(HostsCrew *crew, GArray *fds, gint64 until);

/* Returns: (transfer full) (element-type HostsHost): one for each host, with its name alone: to be filled with what it answers,
 * which can be looked at while the host itself works on. */
GPtrArray *hosts_crew_new_answers(HostsCrew *crew);

/* What host @i has answered or why it has failed takes the place of what is in @answers; the host is at rest, and has no answer
 * then. */
void hosts_crew_take_answer(HostsCrew *crew, guint i, GPtrArray *answers);

/* --- of a host: main thread ------------------------------------------------------------------------- */

/* Returns: whether its thread has nothing to do, or is waited for no more. */
gboolean hosts_is_at_rest(HostsHost *host);

/* Returns: (transfer none) (nullable): why it is asked no more. */
const GError *hosts_failure(const HostsHost *host);

/* --- of a host: its own thread ---------------------------------------------------------------------- */

/* @error: (transfer full): the first one stays */
void hosts_fail(HostsHost *host, GError *error);
/* Tells the main thread what it does now, to be printed. @what: (transfer full) */
void hosts_say(HostsHost *host, char *what);
/* It has answered something, so it lives. */
void hosts_heard(HostsHost *host);
/* The others may begin: see hosts_crew_run(). */
void hosts_place(HostsHost *host);
/* Lets the crew know of its ssh, which it may end. @errors: (transfer full): a file descriptor. Returns: FALSE when the host is
 * lost already: then @ssh is to be ended. */
gboolean hosts_adopt_ssh(HostsHost *host, GPid ssh, int errors);
/* Ends it, and waits for its end. Returns: (transfer full): how it ended and the end of what it said, as a clause. */
char *hosts_end_ssh(HostsHost *host);
