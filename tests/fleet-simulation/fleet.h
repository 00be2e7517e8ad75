/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A deterministic simulation of several hosts and of who changes their master keys: engines and the fleet's judge are real,
 * everything around them is made up here, and the simulation knows what is true. Same seed, same run.
 *
 * How an engine stands up to a host that lies and hangs is what the simulation of one host tests; these hosts are small and
 * honest, and what goes wrong between them and whoever asks is what matters.
 *
 *   agenda.c     the main loop: what is to happen in virtual time
 *   host.c       a host's daemon: hands events to its engine, carries out its actions, dies and starts again
 *   disk.c       what is durable on a host
 *   libvirt.c    what an engine learns of its guests, and its abort
 *   guests.c     the truth: guests, and migrations between hosts from their real beginning to their real end
 *   keys.c       the truth: master keys, and what a host tells of them
 *   answers.c    how a lock stands on a host, in the words of the fleet
 *   link.c       connections from a console to hosts: lost, slow, or hanging
 *   console.c    what is done on all hosts at once, step by step, and dies at any of them
 *   officer.c    who has the keys changed: the plan, which outlives its console, and what he does by hand
 *   misfortune.c what else happens
 *   checks.c     rules that are judged by what is true, never by what anybody was told
 *
 * Times are virtual and in microseconds.
 */
#pragma once

#include <stdio.h>

#include "../simulation/dice.h"
#include "engine/engine.h"
#include "fleet/judge.h"
#include "fleet/release.h"

#define SECOND ((gint64)G_USEC_PER_SEC)
#define MSEC   G_GINT64_CONSTANT(1000)

#define MAX_HOSTS  5
#define MAX_GUESTS 6
#define N_QUEUES   4 /* 04.0001, 04.0002, 05.0001, 05.0002 */
#define ALL_QUEUES ((1u << N_QUEUES) - 1)
#define N_CONSOLES 2
#define MAX_AGE    (30 * SECOND) /* of an answer */
#define FLEET      "hosts"

#define RULE_OVER_ALL "over all"
#define RULE_RELEASE  "F2"

typedef struct Sim Sim;
typedef struct Host Host;
typedef struct Guest Guest;
typedef struct Console Console;
typedef struct Call Call;

/* --- the truth ----------------------------------------------------------------------------------- */

/* The master key of a queue on a host. */
typedef struct {
    guint cur;        /* which; 0: none */
    gboolean pending; /* a new one is loaded and not set */
    gboolean readable;
    gint64 since; /* of the last change of any of them */
} Key;

typedef enum {
    STAGE_NONE,
    STAGE_BEGIN,   /* the source's libvirt shows it */
    STAGE_ASKING,  /* the destination's hook waits for its answer */
    STAGE_ALLOWED, /* told yes, libvirt shows no guest there yet */
    STAGE_COMING,  /* it does, paused */
    STAGE_SENDING,
    STAGE_SUSPENDED,
    STAGE_ARRIVED, /* it runs at the destination, and the source has not cleaned up */
} Stage;

struct Guest {
    guint index;
    char uuid[37];
    char name[4];
    guint mask; /* 0: unaffected */
    Host *host; /* (nullable): where it runs */
    gint64 since;
    Stage stage;
    Host *source, *dest; /* of its migration */
    guint64 turn;        /* of the stage, so that a late event of an earlier one is void */
    ApmigCaller hook;    /* at the destination */
    gint64 permitted_at; /* when the permit was given by which it comes in; 0: by none */
    char stamp[9];       /* the lock that its stamp names; "": none */
    Host *stamped_by;    /* (nullable): without a stamp */
};

/* --- a host -------------------------------------------------------------------------------------- */

/* Each writes in order. */
typedef struct {
    GQueue writes;         /* of Write (disk.c), not yet carried out */
    gint64 last_answer_at; /* answers come in order, too */
} Writer;

/* How consoles reach a host. */
typedef enum {
    LINK_GOOD,
    LINK_SLOW,
    LINK_LOST,  /* which ssh tells */
    LINK_HANGS, /* nobody tells */
} LinkState;

struct Host {
    guint index;
    char name[8];
    char id[37];
    char boot_id[37];
    gboolean up;
    gint64 boot_base; /* virtual time at which boot time was 0 */
    guint boots;
    gboolean hook;
    Key keys[N_QUEUES];

    ApmigEngine *engine; /* NULL: the daemon is not running */
    guint incarnation;
    gint64 deadline;
    ApmigCaller last_caller;
    GPtrArray *callers; /* of Caller (host.c), open */

    GHashTable *locks;      /* id -> ApmigLockRecord: what is durable, as the next two */
    GHashTable *admissions; /* uuid -> ApmigAdmission */
    GHashTable *permits;    /* id -> ApmigPermit */
    Writer state, runtime;

    gboolean connected; /* to libvirt */
    guint connection;
    gint64 last_news_at; /* libvirt's events arrive in order */
    gint64 hangs_until;  /* libvirt does */

    LinkState link;
    gint64 link_until;
    gint64 permit_at[MAX_GUESTS]; /* when the last permit was given; 0: never */
    gint64 forced_at[N_CONSOLES]; /* when its lock was opened by force; 0: never */
};

/* --- who changes keys ---------------------------------------------------------------------------- */

typedef enum {
    CALL_TAKE,
    CALL_FIND,  /* is it there? */
    CALL_CHECK, /* is it ready? */
    CALL_KEYS,
    CALL_RELEASE,
    CALL_FORCE, /* its release */
} CallKind;

/* What a console knows of one host of its list. */
typedef struct {
    guint64 turn; /* of the call under way, or the last one */
    gboolean pending;
    gboolean failed;          /* the last one was in vain */
    gboolean differs;         /* the same, for the keys of that host are not in step */
    char host_id[37];         /* "": not told */
    char local_id[9];         /* of the lock; "": not known to be there */
    gboolean made;            /* by this run */
    gboolean untaken;         /* it was asked for, and not got */
    ApmigFleetAnswer *answer; /* (nullable): the last that came, to whatever question */
    ApmigFleetKeys *keys;     /* the same */
    /* the truth about the last that came from the host that was meant: */
    gint64 seen_revision; /* the question that it answers */
    gint64 seen_at;       /* when the host looked */
    gboolean seen_ready;  /* its own engine said that it is */
    gint64 read_revision; /* the question to which it told its keys */
} Slot;

typedef enum {
    PHASE_OVER, /* the console is not running */
    PHASE_FIRST,
    PHASE_REST,
    PHASE_READY,
    PHASE_WAITING,  /* for a while, or for the officer */
    PHASE_TOO_SOON, /* keys are asked for while GO is relied upon */
    PHASE_FIND,
    PHASE_KEYS,
    PHASE_OPENING,
    PHASE_ROLLBACK,
} Phase;

typedef enum {
    WANT_NOTHING,
    WANT_CHANGE,
    WANT_RELEASE,
    WANT_OUT, /* he gives it up, before he ever had GO */
} Want;

typedef enum {
    MISTAKE_NONE,
    MISTAKE_HOST,    /* is forgotten */
    MISTAKE_QUEUE,   /* of one host */
    MISTAKE_ADAPTER, /* of all hosts */
    MISTAKE_SET,     /* the new key is loaded on one host, and not set */
    MISTAKE_CLEAR,   /* the key of one host is cleared */
} Mistake;

typedef enum {
    TODO_LOAD,
    TODO_SET,
    TODO_DONE,
} Todo;

struct Console {
    guint index;
    char owner[8];
    /* the officer's plan */
    guint plan; /* its number */
    Want want;
    char change_id[16];
    guint mask;
    guint except;              /* bits by host */
    guint leads_to[MAX_HOSTS]; /* which host a name of the list leads to */
    gboolean tells_ids;
    gboolean missing_hook; /* is allowed */
    gboolean no_wait;
    guint target; /* the new key */
    Mistake mistake;
    guint mistake_at; /* host */
    Todo todo[MAX_HOSTS];
    gboolean busy; /* his hands are at the keys */
    gboolean ever_relied;
    guint attempts;
    guint touched; /* bits by host: may have got its lock */
    /* GO, as it is relied upon */
    guint relied; /* bits by host: whose keys may be changed, and are proven not to travel */
    gint64 relied_from[MAX_HOSTS];
    /* a run of the console */
    guint run;
    Phase phase;
    Slot slots[MAX_HOSTS];
    char cluster_id[21];
    char lock_id[9];
    gint64 revision;
    gint64 asked_at;
    ApmigFleetLockState state;
    gint64 requested_at;
    gboolean had_go;
    guint patience; /* questions left */
};

/* --- the simulation ------------------------------------------------------------------------------ */

/* What a run has met: see names in checks.c. */
typedef enum {
    MET_MOVE,
    MET_REFUSED_MOVE,
    MET_ABORTED_MOVE,
    MET_PERMITTED_MOVE,
    MET_MOVE_OUT,
    MET_DAEMON_DEATH,
    MET_HOST_DEATH,
    MET_CONSOLE_DEATH,
    MET_CONSOLE_SLEEP,
    MET_LATE_ANSWER,
    MET_FOUND,
    MET_LOCKED,
    MET_GO,
    MET_GO_EXCEPT,
    MET_NO_GO,
    MET_CHANGE,
    MET_GO_HALF_WAY,
    MET_ROLLBACK,
    MET_FORCED_UNDER_GO,
    MET_GIVEN_UP,
    MET_ACKNOWLEDGED,
    MET_RELEASE_UNANSWERED,
    MET_RELEASE_REFUSED,
    MET_RELEASE_IN_STEP,
    MET_RELEASE_TOO_SOON,
    MET_GO_TOO_LATE,
    MET_PLAN_DONE,
    MET_REASON, /* and one for each ApmigFleetReasonKind */
    N_MET = MET_REASON + APMIG_FLEET_DEPARTED + 1,
} Met;

/* Durations in usec, chances in permille; drawn from the seed. */
typedef struct {
    gint64 length;
    gint64 move_pause, misfortune_pause, link_pause, plan_pause;
    guint slow, failing, silent, late_console;
    guint console_dies, daemon_dies, host_dies, forces, permits, hooks, hangs, cuts;
    guint alias, except, mistakes, careless, gives_up;
    gboolean stamps;
} Profile;

typedef void (*Happening)(Sim *sim, gpointer object, guint64 number);

typedef struct {
    gint64 time;
    guint64 order;
    Happening func;
    gpointer object;
    guint64 number;
    GDestroyNotify destroy; /* (nullable): of object */
} Item;

struct Sim {
    guint64 seed;
    Dice dice;
    Profile profile;
    gint64 now;
    GArray *queue; /* of Item: a heap */
    guint64 n_queued;
    gboolean calm;       /* no new trouble any more */
    gboolean harm_alone; /* counts as a violation */
    gboolean strays;     /* see link.c */
    guint64 last_turn;
    guint last_key;

    Host hosts[MAX_HOSTS];
    guint n_hosts;
    Guest guests[MAX_GUESTS];
    guint n_guests;
    Console consoles[N_CONSOLES];
    ApmigScope *scopes[ALL_QUEUES + 1]; /* by mask */
    GPtrArray *actions;

    guint64 n_events;
    guint64 *met;
    FILE *trace;        /* (nullable) */
    GQueue *trace_tail; /* (nullable): of lines, the last ones */
    char *violation;    /* (nullable): the first */
};

/* --- agenda.c ------------------------------------------------------------------------------------ */

/* What it is to be besides is set before it runs. */
Sim *sim_new(guint64 seed, guint64 *met);
void sim_free(Sim *sim);
/* Runs until the end or the first violation. */
void sim_run(Sim *sim);
void sim_later(Sim *sim, gint64 delay, Happening func, gpointer object, guint64 number,
               GDestroyNotify destroy);
void sim_trace(Sim *sim, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* @rule: "F1" to "F9", "over all", or "live" for what must happen in the end. Only the first violation counts. Harm is what
 * breaks RULE_OVER_ALL, or RULE_RELEASE: a guest that moves between hosts of different keys, and gates that open on them. */
void sim_violation(Sim *sim, const char *rule, const char *format, ...) G_GNUC_PRINTF(3, 4);
gint64 sim_realtime(const Sim *sim);

/* --- host.c -------------------------------------------------------------------------------------- */

/* @reply: (nullable): NULL: there is none any more, the daemon is gone */
typedef void (*Answered)(Sim *sim, Host *host, const ApmigAction *reply, gpointer data);

void hosts_init(Sim *sim);
void hosts_free(Sim *sim);
/* Hands @event to the engine, with the time, and carries out what it wants. Nothing happens while the daemon is down. */
void host_tell(Sim *sim, Host *host, ApmigEvent *event);
/* The same, for one who is answered. @data: (transfer full). Returns: who asks. */
ApmigCaller host_ask(Sim *sim, Host *host, ApmigEvent *event, Answered answered, gpointer data,
                     GDestroyNotify destroy);
/* Nobody waits for the answer any more, and the host notices. */
void host_caller_gone(Sim *sim, Host *host, ApmigCaller caller);
/* Those who are answered by @answered, and whose data is his. */
void host_hang_up(Sim *sim, Host *host, Answered answered, gboolean (*is_his)(gpointer data, gpointer who),
                  gpointer who);
void host_deadline(Sim *sim, Host *host);
void host_daemon_dies(Sim *sim, Host *host);
void host_dies(Sim *sim, Host *host);
gint64 host_boot_time(const Sim *sim, const Host *host);
/* Returns: (transfer none) (nullable): the lock of @console on the disk. */
const ApmigLockRecord *host_disk_lock(const Host *host, const Console *console);

/* --- disk.c -------------------------------------------------------------------------------------- */

void disk_write(Sim *sim, Host *host, const ApmigAction *action);
/* The daemon died: what is not written never will be. */
void disk_drop_writes(Host *host);

/* --- libvirt.c ----------------------------------------------------------------------------------- */

void libvirt_list(Sim *sim, Host *host, ApmigToken token);
void libvirt_query(Sim *sim, Host *host, const ApmigAction *action);
void libvirt_heartbeat(Sim *sim, Host *host, ApmigToken token);
void libvirt_step(Sim *sim, Host *host, const ApmigAction *action);
void libvirt_look(Sim *sim, Host *host, const ApmigAction *action);
void libvirt_stamp(Sim *sim, Host *host, const ApmigAction *action);
void libvirt_connect(Sim *sim, Host *host, gint64 delay);
void libvirt_cut(Sim *sim, Host *host);
void libvirt_news(Sim *sim, Host *host, Guest *guest, ApmigNews news);
/* Its status folder has changed. */
void libvirt_hint(Sim *sim, Host *host, Guest *guest);

/* --- guests.c ------------------------------------------------------------------------------------ */

void guests_init(Sim *sim);
Guest *guest_by_uuid(Sim *sim, const char *uuid);
ApmigJob guest_job(const Guest *guest, const Host *host);
ApmigGuestFacts guest_facts(const Sim *sim, const Guest *guest);
void guest_migrate(Sim *sim, Guest *guest, Host *dest);
/* libvirt's abort at the source. Returns: what the call says. */
ApmigStepOutcome guest_abort(Sim *sim, Guest *guest, const Host *host);
/* The host is gone, with all that runs on it. */
void guests_host_dies(Sim *sim, Host *host);

/* --- keys.c -------------------------------------------------------------------------------------- */

void keys_init(Sim *sim);
guint keys_adapter(guint queue);
guint keys_domain(guint queue);
void keys_set(Sim *sim, Host *host, guint queue, guint cur, gboolean pending);
/* Returns: a queue of @mask in which they differ, or N_QUEUES. */
guint keys_differ(const Host *a, const Host *b, guint mask);
void keys_read(Sim *sim, Host *host, const ApmigAction *action);
/* Returns: (transfer full): of all queues. */
ApmigFleetKeys *keys_answer(const Host *host);

/* --- answers.c ----------------------------------------------------------------------------------- */

/* @verdict: the engine's, to a Check of @lock just now. Returns: (transfer full): what @host says. */
ApmigFleetAnswer *answer_new(const Host *host, const ApmigAction *verdict, const char *lock_id,
                             const char *local_id);

/* --- link.c -------------------------------------------------------------------------------------- */

/* Calls the host that the name of @host in the list leads to; when none is under way any more, console_next() follows. */
void link_call(Sim *sim, Console *console, guint host, CallKind kind);
/* The console is gone, its connections end. */
void link_drop(Sim *sim, Console *console);

/* --- console.c ----------------------------------------------------------------------------------- */

void console_start(Sim *sim, Console *console);
void console_end(Sim *sim, Console *console);
/* Every host has answered, or is given up. */
void console_next(Sim *sim, Console *console);
/* The officer has done what he was told that he may do. */
void console_goes_on(Sim *sim, Console *console);
/* Fills in what every answer begins with. @host: by its name in the list */
void console_head(const Sim *sim, const Console *console, ApmigFleetHead *head, guint host, gint64 revision);

/* --- officer.c ----------------------------------------------------------------------------------- */

void officers_init(Sim *sim);
/* He was told GO. Returns: whether there is something to be changed, which he does now. */
gboolean officer_works(Sim *sim, Console *console);
/* The console has ended by itself, or died. */
void officer_left_alone(Sim *sim, Console *console);
/* He looks where guests run that are not there any more, and says so. */
void officer_acknowledges(Sim *sim, Console *console);
/* Keys were found not to be in step. */
void officer_mends(Sim *sim, Console *console);
void officer_is_done(Sim *sim, Console *console);
gboolean officers_are_idle(const Sim *sim);

/* --- misfortune.c -------------------------------------------------------------------------------- */

void profile_init(Sim *sim);
void misfortune_init(Sim *sim);
void misfortune_ends(Sim *sim);

/* --- checks.c ------------------------------------------------------------------------------------ */

void sim_met(Sim *sim, guint met);
const char *met_name(guint met);
void check_move(Sim *sim, const Guest *guest);
void check_go(Sim *sim, const Console *console, const ApmigFleetVerdict *verdict);
/* @console is about to ask @host for a release. */
void check_release_asked(Sim *sim, const Console *console, const Host *host);
void check_release(Sim *sim, const Console *console, const ApmigFleetRelease *release);
void check_end(Sim *sim);
