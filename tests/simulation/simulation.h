/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A deterministic simulation of one host and its apmigd: the engine under test is real, everything around it
 * is made up here, and the simulation knows what is true. Same seed, same run.
 *
 *   guests.c      the true state: guests, and migrations from their real beginning to their real end
 *   hypervisor.c  what the engine can learn and do of it: slow, failing, lying, disconnected
 *   helper.c      what acts on a guest's QEMU and device, as apmigd-fence would
 *   cards.c       the true master keys, and the reading of them
 *   strangers.c   QEMUs that the hypervisor does not know of, and the reading of the queues they use
 *   disk.c        what is durable
 *   daemon.c      hands events to the engine, carries out its actions, crashes and starts again
 *   actors.c      administrators, operators, remote hosts, and misfortune
 *   inquirers.c   who changes a lock that is there, or asks for a reading, and what they may be told
 *   unplug.c      devices that are taken away under a lock
 *   arrivals.c    what guests bring that come in, and what follows from it
 *   stamps.c      what lies in guests' metadata, and what may be written there
 *   permits.c     who permits a migration, and what that may do
 *   replies.c     rules for single actions; steps.c: for what is done to guests; releases.c: for releases
 *   checks.c      rules that hold after every event
 *   truth.c       rules that are judged by what is true, never by what the engine was told
 *
 * Times are virtual and in microseconds.
 */
#pragma once

#include <stdio.h>

#include "fence/decide.h"
#include "dice.h"
#include "engine/engine.h"
#include "rules/rules.h"

#define SECOND ((gint64)G_USEC_PER_SEC)
#define MSEC   G_GINT64_CONSTANT(1000)

#define TAKE_REASON "AES master key rotation"

#define MAX_GUESTS 30
/* Queues as bits: those that have names in scopes (n_queues), and one that stands for all the others. */
#define MAX_QUEUES 24
#define FEW_SCOPES 32

typedef struct Sim Sim;
typedef struct Guest Guest;
typedef struct Arrival Arrival;

/* --- the truth (guests.c) ------------------------------------------------------------------------ */

typedef enum {
    STAGE_ASKING,     /* incoming: the hook waits for its answer */
    STAGE_ALLOWED,    /* incoming: told yes, libvirt shows no guest yet */
    STAGE_BEGIN,      /* libvirt shows it; an abort is remembered; incoming: no stream yet */
    STAGE_TRANSFER,   /* an abort ends it */
    STAGE_STOP_COPY,  /* outgoing: the guest stands still, its device is read */
    STAGE_LOADED,     /* incoming: the device has its data, other devices have not */
    STAGE_DONE,       /* too late: an abort returns success and does nothing */
    STAGE_POSTCOPY,   /* cannot be aborted */
    STAGE_CANCELLING, /* its end as aborted is certain, the job is still there */
    STAGE_ENDED,
} Stage;

typedef struct {
    guint number;
    Guest *guest;
    gboolean outgoing;
    guint mask;       /* at its beginning; 0: unaffected */
    guint taken_mask; /* incoming: what the engine has to take for it */
    Stage stage;
    guint64 turn; /* of the stage, so that a late event of an earlier one is void */
    gboolean completes;
    gboolean hookless; /* incoming, without asking */
    gboolean
        as_let_in; /* with that: the engine may take it for one that the hook let in, and they are the same */
    gboolean never;     /* allowed, and fails before its guest appears, which nothing tells */
    gboolean offline;   /* with that: the guest is defined, and not started */
    gboolean forgotten; /* the yes was, with the runtime folder */
    gboolean suspended; /* for its switchover */
    ApmigCaller caller;
    gint64 asked_at;
    gint64 began_at;  /* since when libvirt shows it; 0: not yet */
    gint64 stream_at; /* since when its device can be fenced */
    gboolean fenced;  /* its data stream is broken: it fails at its switchover */
    gboolean endless; /* incoming: its memory changes faster than it is transferred */
    gboolean stray;   /* incoming without asking, or long after the yes had expired */
    gint64 told_at;   /* when the engine first learned of it; 0: not yet */
    guint told_incarnation;
    gboolean merged; /* the engine cannot tell it from the one before */
    guint steps;
    guint step_incarnation; /* of the last of them */
    guint may_count;        /* breaches that it explains, if it is one */
} Migration;

/* A guest's mediated device, as its driver has it and as QEMU believes it to be. */
typedef struct {
    char uuid[37];    /* "": the guest has none */
    gboolean precopy; /* else STOP_COPY only */
    gboolean ap;      /* its session outlives its state */
    gboolean refuses; /* RESUMING -> STOP */
    gboolean blocks;  /* a change of state takes long */
    ApmigVfioState state;
    ApmigVfioState believed;
    ApmigSession session;
} Device;

typedef enum {
    GUEST_ABSENT,
    GUEST_ACTIVE,
    GUEST_INCOMING,
} Presence;

/* What answers have told the engine of a guest since the view began. */
typedef struct {
    gboolean facts;
    gint64 facts_asked_at;
    gint64 known_at;  /* when they were told ahead of its job, and none were known */
    gboolean doubted; /* the facts may be of the life before its last arrival */
    ApmigAffected affected;
    guint mask;
    char device[37];
    gboolean varies;
    gboolean kept;      /* it counts as having what it had: see unplug.c */
    gboolean current;   /* the facts are of a question put after the last news that they have changed */
    gboolean lasts;     /* and nothing has come since for which the engine may have forgotten them */
    gint64 stopped_at;  /* when news came that it has stopped, and no later answer yet; 0: none came */
    guint64 stop_token; /* the newest question by then */
    ApmigJob job;
    gboolean postcopy;
    Migration *migration;
    gint64 asked_at; /* of the last answer that said what its job is; 0: none */
    guint64 token;   /* of that */
    gint64 heard_at; /* when the last one came that it is there */
    gint64 answered_at;
    gint64 good_at;      /* when the last one came that said what its job is */
    gint64 prompt_since; /* since when such answers have come soon; 0: the last one did not */
    guint64 asking;      /* token of the question under way; 0: none */
    gint64 saving_at;    /* when a look told that its device is being saved, for another host; 0: none did */
    Migration *saved;    /* with that: which it was */
    guint life;          /* of the guest, when it was put */
} Told;

/* What the engine was told that a guest had, while a lock over that lived. */
typedef struct {
    gboolean any;
    guint mask;
    char device[37];
    gboolean lost;
} Had;

/* What a guest was when the hook let it in last. */
typedef struct {
    gint64 at;
    ApmigAffected kind;
    guint mask;
    char device[37];
} LetIn;

/* What lies in a guest's metadata. */
typedef struct {
    gboolean any;
    gboolean foreign; /* another host wrote it */
    char lock[9];     /* the id of the one that it names; "": none */
    guint sign;       /* of what it says of that; see stamps.c */
} Stamp;

/* What is known of the writing of a guest's stamp. */
typedef struct {
    guint64 op;         /* under way; 0: none */
    gboolean wanted;    /* there was a cause since the last write began */
    gint64 wanted_from; /* since the first that no write has served; 0: each was */
    gint64 again_from;  /* since the first while one was under way */
    gboolean of_all;    /* it may be written once, for the view is new */
    gboolean arrived;   /* in this view */
    gboolean stopped;   /* the same, and there was no cause since */
    gboolean listed;    /* by the newest list, and not found to be gone since */
    guint failures;     /* since what may have been a cause: after the second it is given up */
    guint in_vain;      /* the same since what must have been one: it may be given up by then */
    gboolean tried;     /* the last write was in vain */
    gint64 wrong_since; /* while nothing stands in its way; 0: it is right */
} Stamping;

struct Guest {
    guint index;
    char uuid[37];
    char name[4];
    ApmigAffected kind; /* UNKNOWN: what it uses can never be read, and counts as all */
    guint mask;         /* 0 with APMIG_AFFECTED_NO */
    gboolean varies;    /* its queues change without news, and are told with every answer */
    Presence presence;
    guint life;           /* how often it came or went */
    gint64 since;         /* of its presence */
    Migration *migration; /* as libvirt sees it */
    Migration *expected;  /* incoming, asked or allowed */
    Migration *leaving;   /* whose end is just being told */
    gboolean other_job;
    gboolean restoring;   /* its QEMU loads a file, and was started as an incoming one */
    gboolean stranded;    /* libvirtd went away in its migration and does not know where it runs */
    gboolean changing;    /* its devices changed and the engine was not told yet */
    guint changes_untold; /* news of that, of its start and its arrival that are under way */
    Device device;
    gboolean from_afar;  /* its QEMU was started to be an incoming one */
    gboolean paused;     /* arrived so, and not yet resumed */
    gint64 frozen_until; /* by a helper */
    Told told;
    Had had;
    gint64 facts_from;   /* what was asked before tells of devices that it no longer has */
    guint64 facts_token; /* as does the newest question by then */
    gboolean
        sent; /* libvirt told that memory leaves to another host, and what came of it may be known since: */
    GPtrArray *sent_under; /* of Lock: it was held then */
    guint64 sent_token;    /* the newest question when it told so */
    Told before;           /* in the view that was lost, until there is news */
    guint in_mask;         /* of all that the hook has asked for it since nothing was open */
    gboolean in_mixed;     /* it asked for different things */
    gboolean in_device;    /* the one that it asked for last has one */
    guint in_incarnation;  /* of the daemon that it asked last */
    LetIn let_in;
    gint64 in_asked_at; /* when the hook asked last: steps begin anew then */
    ApmigJob last_job;  /* that any answer to this run of the daemon told */
    guint last_incarnation;
    Stamp stamp;
    Stamp brought; /* what it had when the hook asked last */
    Stamping stamping;
};

/* One AP queue: 04.0001, 04.0002, 05.0001, 05.0002. */
typedef struct {
    gboolean readable; /* by the host */
    gboolean pending;  /* a new key is loaded and not set */
    guint cur;         /* which key is set */
    gint64 since;      /* of the last change of any of them */
} KeyQueue;

/* --- what the simulation knows of the engine's promises -------------------------------------------- */

typedef struct {
    char *id;
    guint mask;
    guint asked_mask; /* the same, before it was damaged */
    ApmigLockOrigin origin;
    ApmigOnBusy on_busy;
    gboolean by_itself, adopted;
    gboolean handed_late; /* somebody was to get it, and was told that the disk does not answer */
    gint64 asked_at;      /* virtual; of the request */
    gint64 requested_at;  /* realtime */
    gboolean living;      /* from its acceptance until it is ended or lost */
    guint excused;        /* breaches that were counted without a reason while events were missing */
    gboolean gone_early;  /* its caller vanished before held was decided */
    gboolean told;        /* a caller was told that it exists */
    gboolean release_asked;
    gboolean forced;
    gboolean removing; /* its removal was given to the disk */
    guint64 reading;   /* of its keys, for a release: under way; 0: none */
    gint64 reading_at, reading_until;
    gboolean trusted;     /* the policy is to, since the release was asked */
    gboolean cards_asked; /* for the release at hand */
    gboolean cards_answered;
    gboolean read_while_verifying; /* the guests, or it was held before */
    gboolean out_of_step;          /* what they have was so all the time while they were read */
    gboolean removal_failed;
    gboolean write_failed;
    gboolean hold_decided;  /* a record with held_at was given to the disk */
    guint64 hold_op;        /* the write that made it durable */
    gboolean hold_told;     /* and the engine was told so */
    gint64 durable_at;      /* virtual; 0: not */
    gint64 counts_from;     /* answers to questions put before it prove nothing for this lock */
    gint64 held_at;         /* realtime, as durable; 0: never */
    gboolean was_held;      /* the engine said so, or found it on disk */
    guint uses_incarnation; /* of the daemon that was told that no stranger uses its queues; 0: none was */
    gboolean listed;        /* what the engine said of it after the last event: */
    ApmigLockState state;
    guint breaches;
    gboolean overdue;
    guint
        left; /* guests that have left under it, or their memory, of which the engine was told, and which no permit let go */
    gboolean annotated; /* by the event at hand */
    gboolean refused;   /* a guest */
    guint departed;
    guint roster;     /* bits by guest: those that the engine has to remember */
    guint stamp_sign; /* of what stamps tell of it; 0: nothing */
} Lock;

typedef enum {
    CALLER_TAKE,
    CALLER_RELEASE,
    CALLER_ADMIT,
    CALLER_PERMIT,
    CALLER_REVOKE,
    CALLER_AMEND,
    CALLER_CHECK,
    CALLER_REHEARSE,
} CallerKind;

typedef struct {
    ApmigCaller number;
    CallerKind kind;
    gint64 opened_at;
    gint64
        timeout; /* TAKE: 0: none. RELEASE: until the cards are waited for no more. AMEND, CHECK, REHEARSE */
    gboolean no_wait;
    gboolean gone; /* disconnected: an answer goes nowhere */
    gboolean hook_problem;
    gboolean restore;
    gboolean force;
    guint32 uid;
    gboolean of_change;   /* TAKE: it names a change, the same as all that do */
    Lock *lock;           /* TAKE, AMEND, CHECK; RELEASE if there is one of that id */
    ApmigAmendment what;  /* AMEND */
    gint64 extent;        /* AMEND: until when the lock is not overdue then */
    Migration *migration; /* ADMIT of a migration */
    gboolean permitted;   /* ADMIT: the guest had an open permit */
    Guest *guest;         /* PERMIT, REVOKE; ADMIT of a restore */
    gboolean by_uuid;     /* REVOKE */
    ApmigAffected affected;
    guint mask;              /* as the engine has to take it */
    gboolean is_refused;     /* ADMIT: for what the guest brings */
    gboolean is_refused_dry; /* ADMIT: by a check in advance */
    guint faults;            /* of the disk, when it was opened */
} Caller;

/* What a run may meet, drawn from its seed. Durations in usec, chances in permille. */
typedef struct {
    gint64 length;
    gint64 admin_pause, operator_pause, remote_pause, host_pause, fault_pause;
    guint slow, failing, silent, lying, hints_lost, postcopy, slow_hook, hookless;
    guint crash, reboot, disk_fault, view_fault, clock_jump, damage;
    guint crash_on_write, disk_hangs;
    gint64 disk_slowest;
    guint refusing, blocking, paused, endless, slow_helper, helper_dies, freeze_fails;
    gboolean no_helper;
    gint64 key_pause;
    guint slow_cards, failing_cards, silent_cards;
    gboolean no_ap;
    guint workers;         /* of libvirtd; 0: as many as are needed. Each migration of any guest keeps one */
    guint late;            /* events that come seconds late */
    guint dies;            /* a source at its switchover */
    guint suspends, stops; /* the host; the daemon, which goes on as if nothing had been */
    guint retries, offline, restores;
    guint renames;     /* then nothing but hints goes by names: no rule and no permit */
    guint sysfs_hangs; /* so that the queues of a device are not told */
    guint runtime_lost, state_older;
} Profile;

typedef struct {
    gint64 time;
    guint64 order;
    void (*func)(Sim *sim, gpointer object, guint64 number);
    gpointer object;
    guint64 number;
    GDestroyNotify destroy; /* (nullable): of object */
    gboolean waits;         /* for the daemon, while that stands still */
} Item;

typedef enum {
    DISK_GOOD,
    DISK_FULL,     /* removals work */
    DISK_READONLY, /* nothing works */
} DiskState;

/* Each writes in order. */
typedef enum {
    WRITER_STATE,
    WRITER_RUNTIME,
    N_WRITERS,
} WriterKind;

typedef struct {
    GQueue writes;         /* of Write (disk.c), not yet carried out */
    guint unanswered;      /* writes whose answer is under way */
    gint64 last_answer_at; /* answers come in order, too */
    gint64 busy_since;
    gint64 hangs_until;
} Writer;

typedef enum {
    WORLD_SMALL, /* up to 7 guests, 4 queues */
    WORLD_CROWD, /* 30 guests, 20 locks and more at a time */
} World;

struct Sim {
    guint64 seed;
    World world;
    Dice dice;
    Profile profile;
    gint64 now;       /* virtual */
    gint64 boot_base; /* virtual time at which boot time was 0 */
    gint64 realtime_offset;
    GArray *queue; /* of Item: a heap */
    guint64 n_queued;
    gboolean calm;       /* no new trouble any more */
    gint64 stands_until; /* the daemon stands still until then */
    gint64 awake_since;  /* the same, and when the host was resumed */

    Guest guests[MAX_GUESTS];
    guint n_guests;
    GPtrArray *migrations; /* of Migration, all that ever were */
    guint may_count;       /* breaches that memory explains which went into a file, and nobody told so */
    ApmigScope *few_scopes[FEW_SCOPES]; /* by mask */
    GHashTable *scopes;                 /* mask -> ApmigScope: the others */
    KeyQueue queues[MAX_QUEUES];
    guint n_queues;
    guint mask_all;

    Dice strange_dice;
    gboolean has_guest_queues; /* the AP bus is read for strangers */
    guint strange;             /* queues that they use */
    guint hanging;             /* queues of which sysfs does not tell whether they are in use */

    Dice stamp_dice;
    gboolean has_stamps;           /* else the policy is to write none, and nobody brings one */
    guint stamp_slow, stamp_fails; /* chances of a write in permille */
    guint keys_there[MAX_QUEUES];  /* of another host */
    gboolean stamps_all_along;     /* the policy has wanted them since the view began */
    gint64 first_listed_at;        /* when the guests were listed first in this view; 0: not yet */
    gint64 lock_waited_at;         /* the last time that a lock did, after an event: stamps wait for it */
    guint unknown_here;            /* queues of whose keys this host knows nothing */

    Dice permit_dice;
    gint64 permit_pause;
    GPtrArray *permits;          /* of Permit (permits.c), all that ever were */
    GHashTable *durable_permits; /* id -> ApmigPermit */

    gboolean libvirtd_up;
    guint connection; /* number of the present one */
    gboolean connected;
    gint64 connected_at;
    gint64 last_event_at; /* libvirt's events arrive in order */
    gint64 beaten_at;     /* when the last heartbeat was answered in this view */
    gboolean no_steps;    /* the daemon was told that none could be made */
    gint64 listed_at;     /* when that was answered */
    guint64 newest_token; /* of the questions put */
    gint64 listed_from;   /* when the question of the last complete list was put; 0: none in this view */
    gboolean list_asked;  /* in this view */

    DiskState disk;
    GHashTable *durable_locks;      /* id -> ApmigLockRecord */
    GHashTable *older_locks;        /* (nullable): as they were once */
    GHashTable *durable_admissions; /* uuid -> ApmigAdmission */
    Writer writers[N_WRITERS];
    gint64 disk_idle_since;
    guint disk_faults; /* that the engine was told of */

    ApmigEngine *engine; /* NULL: the daemon is not running */
    ApmigPolicy *policy;
    gint64 policy_at;    /* since when */
    GHashTable *efforts; /* migration id -> Effort (steps.c), of this run of the daemon */
    guint n_devices;
    guint incarnation;
    gint64 started_at;
    gboolean loaded;
    gboolean was_open;    /* before the event at hand there was a lock or a migration */
    ApmigEventType event; /* at hand */
    GPtrArray *actions;   /* of ApmigAction: of the event at hand */
    gint64 deadline;      /* as the engine named it, boot time */
    gint64 deadline_late; /* how late it is delivered */
    guint deadlines_in_place;
    ApmigCaller last_caller;
    GPtrArray *callers; /* of Caller, open */
    GPtrArray *locks;   /* of Lock, all that ever were */

    guint64 n_events;
    guint64 *counts;
    FILE *trace;        /* (nullable) */
    GQueue *trace_tail; /* (nullable): of lines, the last ones */
    char *violation;    /* (nullable): the first */
};

/* --- main loop (simulation.c) ---------------------------------------------------------------------- */

Sim *sim_new(World world, guint64 seed, guint64 *counts);
void sim_free(Sim *sim);
/* Runs until the end or the first violation. */
void sim_run(Sim *sim);
void sim_queue(Sim *sim, gint64 delay, void (*func)(Sim *sim, gpointer object, guint64 number),
               gpointer object, guint64 number, GDestroyNotify destroy);
/* The same, for the daemon: later, when it stands still. */
void sim_queue_for_daemon(Sim *sim, gint64 delay, void (*func)(Sim *sim, gpointer object, guint64 number),
                          gpointer object, guint64 number, GDestroyNotify destroy);
/* All the world stands still for so long, but for clocks. */
void sim_suspend(Sim *sim, gint64 duration);
void sim_trace(Sim *sim, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* @rule: "I1" to "I7"; "keys" for what a release says of them; "stamp" for those; "live" for what must happen in the end. Only the first
 * violation counts. */
void sim_violation(Sim *sim, const char *rule, const char *format, ...) G_GNUC_PRINTF(3, 4);
ApmigScope *sim_scope(Sim *sim, guint mask);
guint sim_adapter(guint queue);
guint sim_domain(guint queue);
gint64 sim_boot_time(const Sim *sim);
gint64 sim_realtime(const Sim *sim);

/* --- guests.c -------------------------------------------------------------------------------------- */

void guests_init(Sim *sim);
Guest *guest_by_uuid(Sim *sim, const char *uuid);
void guest_start(Sim *sim, Guest *guest);
void guest_stop(Sim *sim, Guest *guest);
/* The hook has let it be restored. */
void guest_restore(Sim *sim, Guest *guest);
void guest_replug(Sim *sim, Guest *guest);
/* Its device gets other queues, which nothing tells. */
void guest_reassign(Sim *sim, Guest *guest);
void guest_begin_other_job(Sim *sim, Guest *guest);
void guest_migrate_out(Sim *sim, Guest *guest);
void guest_migrate_in(Sim *sim, Guest *guest, gboolean hookless);
/* The hook is told yes. */
void guest_let_in(Sim *sim, Guest *guest);
/* It is told no: that it has asked is of no more use. */
void guest_refused(const Sim *sim, Guest *guest);
/* Whether the engine has it as coming in. */
gboolean guest_has_record(const Sim *sim, const Guest *guest);
/* Nothing is left of what the hook has asked for. */
void guest_forget_admission(Guest *guest);
void migration_answered(Sim *sim, Migration *migration, gboolean allowed);
/* The hypervisor's abort call arrives. Returns: what the call says. */
ApmigStepOutcome migration_abort(Sim *sim, Guest *guest);
/* A helper has brought the device to @state. */
void guest_device_set(Sim *sim, Guest *guest, ApmigVfioState state);
/* A helper has killed the QEMU. */
void guest_killed(Sim *sim, Guest *guest);
/* libvirtd went away and takes what it was doing with it, or not. */
void guests_disturbed(Sim *sim);
void guests_reboot(Sim *sim);
/* All that is under way comes to its end soon. */
void guests_calm_down(Sim *sim);
ApmigJob guest_job(const Guest *guest);

/* --- hypervisor.c ---------------------------------------------------------------------------------- */

typedef enum {
    NEWS_HINT,
    NEWS_CHANGED,
    NEWS_STARTED,
    NEWS_ARRIVING,
    NEWS_SENDING,
    NEWS_SUSPENDED,
    NEWS_RESUMED,
    NEWS_JOB_SAVED,
    NEWS_DEFINED,
    NEWS_STOPPED,
    NEWS_STOPPED_SAVED,
    NEWS_STOPPED_LOST,
    NEWS_STOPPED_MIGRATED,
} News;

void hypervisor_tell(Sim *sim, News news, Guest *guest);
void hypervisor_list(Sim *sim, guint64 token);
void hypervisor_query(Sim *sim, guint64 token, Guest *guest, gboolean want_facts);
void hypervisor_heartbeat(Sim *sim, guint64 token);
void hypervisor_step(Sim *sim, guint64 op, Guest *guest);
/* The daemon has started and tries to connect after @delay. */
void hypervisor_connect(Sim *sim, gint64 delay);
void hypervisor_lose(Sim *sim, gboolean libvirtd_too);
/* The daemon is gone, its connection too. */
void hypervisor_forget(Sim *sim);

/* --- helper.c -------------------------------------------------------------------------------------- */

void helper_run(Sim *sim, const ApmigAction *action, Guest *guest);
void helper_look(Sim *sim, guint64 op, Guest *guest);
/* Whether every helper of this run does at once what it is asked for. */
gboolean helper_is_sound(const Sim *sim);

/* --- cards.c --------------------------------------------------------------------------------------- */

void cards_init(Sim *sim);
void cards_change(Sim *sim);
void cards_calm_down(Sim *sim);
void cards_read(Sim *sim, const ApmigAction *action);
/* What is true of those queues of @mask that the host can read, and has been so @since. */
gboolean cards_are_unfinished(const Sim *sim, guint mask, gint64 since);
gboolean cards_differ(const Sim *sim, guint mask, gint64 since);
/* Whether anything has changed after @since. */
gboolean cards_changed(const Sim *sim, guint mask, gint64 since);
/* Whether @text has the name of each queue that the host could not read @since. */
gboolean cards_are_named(const Sim *sim, guint mask, gint64 since, const char *text);

/* --- strangers.c ----------------------------------------------------------------------------------- */

void strangers_init(Sim *sim);
void strangers_calm_down(Sim *sim);
void strangers_read(Sim *sim, const ApmigAction *action);
/* @lock becomes held. */
void check_strangers(Sim *sim, const Lock *lock);

/* --- disk.c ---------------------------------------------------------------------------------------- */

/* Of an affected guest, and so one that counts. */
gboolean disk_has_admission(const Sim *sim, const char *uuid);
void disk_write(Sim *sim, const ApmigAction *action);
/* The daemon died: what is not written never will be. */
void disk_drop_writes(Sim *sim);
gboolean disk_is_busy(const Sim *sim);
/* Whether @caller, who waits for it, may be told by now that it does not answer. */
gboolean disk_is_late(const Sim *sim, const Caller *caller);
void disk_set_state(Sim *sim, DiskState state);

/* --- daemon.c -------------------------------------------------------------------------------------- */

void daemon_start(Sim *sim, gint64 delay);
void daemon_crash(Sim *sim);
void daemon_reboot(Sim *sim);
/* It stands still for a while (SIGSTOP, or a main loop that is not scheduled). */
void daemon_stand_still(Sim *sim);
/* The state folder is copied; the copy may come back. */
void daemon_back_up(Sim *sim);
/* Whether somebody who asks it something is heard. */
gboolean daemon_is_there(const Sim *sim);
/* Hands @event to the engine, with the time, and carries out what it wants. Nothing happens while the daemon
 * is down. */
void daemon_deliver(Sim *sim, ApmigEvent *event);
void daemon_deadline(Sim *sim);
Caller *daemon_new_caller(Sim *sim, CallerKind kind);
void daemon_close_caller(Sim *sim, ApmigCaller number);
Caller *daemon_find_caller(Sim *sim, ApmigCaller number);
/* The client of an open request disconnects. */
void daemon_caller_gone(Sim *sim, ApmigCaller number);
/* The hook that was told yes ends: at once, unless something holds it up. */
void daemon_hook_ends(Sim *sim, ApmigCaller number);

/* --- actors.c -------------------------------------------------------------------------------------- */

void actors_init(Sim *sim);
void actors_calm_down(Sim *sim);
/* Asks for the release of every lock. */
void actors_release_all(Sim *sim);
/* The hook script of @guest asks: for @migration, or NULL for a restore. */
void actors_ask_hook(Sim *sim, Guest *guest, Migration *migration);

guint choose_mask(Sim *sim);
/* Some queues that have names. */
guint choose_few(Sim *sim);
/* Returns: (nullable): a living lock. */
Lock *choose_lock(Sim *sim);

/* --- inquirers.c ----------------------------------------------------------------------------------- */

void inquirers_act(Sim *sim);
/* Whether somebody waits for a reading. */
gboolean has_inquiry(const Sim *sim);
/* Whether somebody has asked to become the owner of @lock. */
gboolean is_taken_over(const Sim *sim, const Lock *lock);
void check_amended(Sim *sim, Caller *caller);
void check_verdict(Sim *sim, const Caller *caller, const ApmigAction *action);
void check_inquirer_error(Sim *sim, Caller *caller, ApmigError code);

/* --- steps.c --------------------------------------------------------------------------------------- */

/* What is known of the steps on a migration; also which QEMU the daemon takes for its guest's. */
typedef struct {
    guint64 op[APMIG_N_STEPS];        /* under way; 0: none */
    gint64 first_at[APMIG_N_STEPS];   /* 0: never */
    gint64 late_at[APMIG_N_STEPS];    /* of the last */
    gboolean over[APMIG_N_STEPS];     /* the answer was that it cannot be ended any more */
    gboolean outdated[APMIG_N_STEPS]; /* what is under way is for an earlier QEMU */
    gboolean failed;                  /* vfio-state, the last time it was answered */
    gboolean found;
    guint life;      /* of the guest, when it was found */
    gboolean vain;   /* vfio-state does nothing on the device that it had then */
    gint64 found_at; /* when the engine learned of that */
} Effort;

Effort *steps_effort(Sim *sim, const char *migration_id);
/* The hook asks for @guest: another QEMU of it may come in. Returns: whether there is a record of one already. */
gboolean steps_begin_anew(Sim *sim, const Guest *guest);
/* Before a step is carried out, and when its answer is delivered. */
void check_step(Sim *sim, const ApmigAction *action);
void check_step_answer(Sim *sim, guint64 op, ApmigStepOutcome outcome);
void check_steps_lost(Sim *sim);
/* After every event: no guest is left frozen or with a stopped device. */
void check_guests(Sim *sim);
/* After every event: what @lock wants ended has had a step, and an incoming one ends in the end. */
void check_ended(Sim *sim, const Lock *lock, const Guest *guest);

/* --- unplug.c -------------------------------------------------------------------------------------- */

/* The engine is about to be told what @guest has, as is in its Told. */
void unplug_told(Sim *sim, Guest *guest);
/* After every event. */
void check_unplugged(Sim *sim, const ApmigEvent *event);

/* --- stamps.c -------------------------------------------------------------------------------------- */

void stamps_init(Sim *sim);
void stamps_choose_policy(Sim *sim, ApmigPolicy *policy);
/* From another host, which has written one, or not. */
void stamps_guest_comes(Sim *sim, Guest *guest);
/* Its migration begins. */
void stamps_guest_leaves(Sim *sim, Guest *guest);
/* What it counted as having is over. */
void stamps_may_be_due(Sim *sim, Guest *guest);
void stamps_write(Sim *sim, const ApmigAction *action);
/* Before the engine is told of @event. */
void stamps_told(Sim *sim, const ApmigEvent *event);
void check_stamp(Sim *sim, const ApmigAction *action);
/* After every event. */
void check_stamps(Sim *sim);

/* --- arrivals.c ------------------------------------------------------------------------------------ */

void arrivals_init(Sim *sim);
void arrivals_choose_policy(Sim *sim, ApmigPolicy *policy);
/* Returns: (transfer full) (nullable): what @guest brings; NULL: that is not looked at. */
Arrival *arrival_new(Sim *sim, const Guest *guest, gboolean restore);
void arrival_free(Arrival *arrival);
/* @event: an ADMIT with its facts; it borrows from @arrival */
void arrival_fill(Sim *sim, const Guest *guest, Arrival *arrival, ApmigEvent *event);
/* It has that in its metadata now. */
void arrival_note(Guest *guest, const Arrival *arrival);
/* Which queues the engine has to take for the guest's. */
guint arrival_mask(Sim *sim, const Guest *guest, const Arrival *arrival, gboolean restore);
/* Whether the policy refuses the guest for it. */
gboolean arrival_is_refused(Sim *sim, const Arrival *arrival, gboolean restore, gboolean permitted);

/* --- permits.c ------------------------------------------------------------------------------------- */

void permits_init(Sim *sim);
void permits_free(Sim *sim);
/* Whether @guest uses a permit that is on disk. */
gboolean permits_have_user(const Sim *sim, const Guest *guest);
/* Before the engine is told of it. */
void permits_created(Sim *sim, const char *id);
void permits_loaded(Sim *sim);
gboolean guest_has_permit(const Sim *sim, const Guest *guest);
gboolean guest_uses_permit(const Sim *sim, const Guest *guest, gboolean outgoing);
/* Whether there is an open one that may bring a migration of such queues, as far as the engine can know. */
gboolean permits_may_concern(const Sim *sim, guint mask);
void check_use_permit(Sim *sim, const ApmigPermit *record);
void check_remove_permit(Sim *sim, const ApmigPermit *record);
void check_permitted_yes(Sim *sim, const Guest *guest, const char *lock);
void check_permit_heeded(Sim *sim, const Migration *told);
void check_breach_logged(Sim *sim, const ApmigAction *entry);
void check_permit_reply(Sim *sim, const Caller *caller, const ApmigAction *action);
void check_permit_error(Sim *sim, const Caller *caller, ApmigError code);
/* After every event. */
void check_permits(Sim *sim);

/* --- releases.c ------------------------------------------------------------------------------------ */

/* Before the engine is told of it. */
void release_begins(Sim *sim, Caller *caller);
/* It came to nothing: the lock stays. */
void release_over(Lock *lock);
void check_read_keys(Sim *sim, const ApmigAction *action);
/* Before the engine is told of it. */
void check_keys_answer(Sim *sim, Lock *lock, guint64 op, gboolean fails);
void check_remove(Sim *sim, const char *id);
void check_refused_keys(Sim *sim, const Caller *caller, ApmigError code);
void check_verifying(Sim *sim, Lock *lock, const ApmigLock *now);
void check_released_lock(Sim *sim, const Lock *lock, const ApmigLock *ended);

/* --- truth.c --------------------------------------------------------------------------------------- */

/* Before the engine is told that the guest has left: that counts. */
void truth_guest_leaves(Sim *sim, const Migration *migration);
/* Before the engine is told that its memory leaves to another host: that counts, too, once it is known. */
void truth_guest_sends(Sim *sim, const Migration *migration);
/* What it was told of that is void. */
void truth_forget_sent(Guest *guest);
/* @migration may be counted under a lock, or counted once more: nobody can know what becomes of it. */
void truth_may_count(Migration *migration);
/* It stops, or is forgotten, when the last that was told of it was that it migrates out. */
void truth_guest_was_not_seen_to_stay(const Guest *guest);
/* Before the engine is told how the guest went: it need not remember it any more. */
void truth_guest_stops(Sim *sim, const Guest *guest);
/* The daemon dies: what it had not written is not known any more. */
void truth_crash(Sim *sim);
/* Whether the engine knows of the guest, by an answer, that the lock concerns it. */
gboolean truth_knows(const Lock *lock, const Guest *guest);
/* After every event. */
void check_truth(Sim *sim, Lock *lock, const ApmigLock *now, gboolean becomes);

/* --- replies.c and checks.c ------------------------------------------------------------------------ */
/* Whether another caller waits for the lock of @caller, as the same user of the same change. */
gboolean replies_is_asked_again(const Sim *sim, const Caller *caller);

Lock *known_lock(Sim *sim, const char *id);
Lock *known_lock_new(Sim *sim, const char *id, guint mask);
void known_lock_free(Lock *lock);
/* Whether the engine has a lock or a migration in progress, or somebody waits for a reading. */
gboolean has_open(const Sim *sim);
/* Before an action is carried out. */
void check_action(Sim *sim, const ApmigAction *action);
/* After an event's actions were carried out. */
void check_state(Sim *sim, const ApmigEvent *event);
/* What was known of locks when the daemon died, and what is known once the store is loaded. */
void check_crash(Sim *sim, gboolean reboot);
void check_loaded(Sim *sim);
/* At the end of calm: everything waiting has come to its end. */
void check_calm(Sim *sim);
void check_idle(Sim *sim);

/* --- trace.c --------------------------------------------------------------------------------------- */

void trace_event(Sim *sim, const ApmigEvent *event);
void trace_action(Sim *sim, const ApmigAction *action);

/* --- coverage.c ------------------------------------------------------------------------------------ */

#define SITUATIONS(X)                                                                                        \
    X(STATE_REQUESTED, "lock requested")                                                                     \
    X(STATE_DRAINING, "lock draining")                                                                       \
    X(STATE_HELD, "lock held")                                                                               \
    X(STATE_PERMITTED, "lock permitted")                                                                     \
    X(STATE_UNPROVEN, "lock unproven")                                                                       \
    X(STATE_BREACHED, "lock breached")                                                                       \
    X(STATE_VERIFYING, "lock verifying")                                                                     \
    X(BREACH_OVER, "breach over, held again")                                                                \
    X(PROVEN_AGAIN, "unproven, held again")                                                                  \
    X(LEFT, "guest left under a lock that was held")                                                         \
    X(LEFT_UNSEEN, "guest left, and no answer ever showed its migration")                                    \
    X(DEPARTED, "guest departed: nobody saw how")                                                            \
    X(ATTEMPT, "attempt")                                                                                    \
    X(STARVED, "question waits since guests migrate")                                                        \
    X(PERMIT_OVER, "permitted migration over, held again")                                                   \
    X(PERMIT_BREACHED, "breach beside a permitted migration")                                                \
    X(TAKEN, "request answered: held")                                                                       \
    X(TAKEN_NO_WAIT, "request answered without waiting")                                                     \
    X(SAME_REQUEST, "lock asked for again by the same change")                                               \
    X(ADOPTED, "lock adopted")                                                                               \
    X(RELEASED, "release answered")                                                                          \
    X(TIMEOUT, "error Timeout")                                                                              \
    X(BUSY, "error Busy")                                                                                    \
    X(CANCELLED, "error Cancelled")                                                                          \
    X(LOCKED, "error Locked")                                                                                \
    X(LIMIT, "error LimitExceeded")                                                                          \
    X(HOOK, "error HookNotInstalled")                                                                        \
    X(NO_SUCH_LOCK, "error NoSuchLock")                                                                      \
    X(UNAVAILABLE, "error HypervisorUnavailable")                                                            \
    X(STATE_FAILURE, "error StateFailure to a request")                                                      \
    X(RELEASE_FAILURE, "error StateFailure to a release")                                                    \
    X(UNFINISHED, "error KeyChangeUnfinished")                                                               \
    X(DIFFER, "error KeysDiffer")                                                                            \
    X(NOT_OWNER, "error NotOwner to a release while the lock is adopted")                                    \
    X(VERIFIED, "released after the cards were read")                                                        \
    X(CARDS_SILENT, "released though the cards did not answer")                                              \
    X(CARDS_LATE, "cards answered when nobody waited any more")                                              \
    X(NO_CARDS, "released on a host without cards")                                                          \
    X(TRUSTED, "released without a question, by policy")                                                     \
    X(JOINED, "release asked again while the cards are read")                                                \
    X(FORCED_VERIFYING, "release forced while the cards are read")                                           \
    X(BREACHED_VERIFYING, "breach while the cards are read")                                                 \
    X(REFUSED_BREACHED, "release refused, and the lock is breached")                                         \
    X(CRASH_READING, "daemon died while the cards are read")                                                 \
    X(TAKEN_OVER, "lock taken over")                                                                         \
    X(EXTENDED, "lock extended")                                                                             \
    X(ANNOTATED, "reason of a lock changed")                                                                 \
    X(AMENDED_ANOTHERS, "error NotOwner to a change of a lock")                                              \
    X(GO, "keys may be changed, said after a reading")                                                       \
    X(NO_GO, "keys may not be changed, said after a reading")                                                \
    X(REHEARSED, "lock rehearsed")                                                                           \
    X(UNPROVEN, "error HypervisorUnavailable to who waits for a reading")                                    \
    X(PERMITTED, "permit given")                                                                             \
    X(PERMIT_REVOKED, "permit revoked")                                                                      \
    X(PERMIT_EXPIRED, "permit expired")                                                                      \
    X(PERMIT_BUSY, "error Busy to a permit")                                                                 \
    X(NO_SUCH_PERMIT, "error NoSuchPermit")                                                                  \
    X(PERMIT_WAITED, "permit given to what migrates already")                                                \
    X(PERMIT_OUT, "permitted guest seen leaving")                                                            \
    X(PERMIT_IN, "permitted guest let in against a lock")                                                    \
    X(RECOVERED, "lock recovered from damage")                                                               \
    X(FORCED, "recovered lock released by force")                                                            \
    X(OVERDUE, "lock overdue")                                                                               \
    X(CALLER_GONE, "caller vanished while draining")                                                         \
    X(DENIED, "admission denied")                                                                            \
    X(ALLOWED, "admission allowed")                                                                          \
    X(UNAFFECTED, "unaffected guest allowed")                                                                \
    X(EXPIRED, "admission expired: the guest never came")                                                    \
    X(STRAY, "guest appeared after its admission had expired")                                               \
    X(COMPLETED, "migration completed")                                                                      \
    X(ABORTED, "migration aborted")                                                                          \
    X(COMPLETED_ANYWAY, "migration completed in spite of an abort")                                          \
    X(FAILED, "migration failed")                                                                            \
    X(FATE_UNKNOWN, "migration ended, how is unknown")                                                       \
    X(NOT_ABORTABLE, "migration not abortable")                                                              \
    X(POSTCOPY, "step refused in post-copy")                                                                 \
    X(STEP, "step run")                                                                                      \
    X(STEP_LATE, "step late")                                                                                \
    X(STEP_BY_RULE, "step run on a guest that has a rule in the policy")                                     \
    X(SIDE_BY_SIDE, "libvirt-abort and vfio-state under way together")                                       \
    X(STEP_BLIND, "step run while libvirt was not reachable")                                                \
    X(FENCED_PRE_COPY, "source fenced in pre-copy")                                                          \
    X(FENCED_STOP_COPY, "source fenced in stop-and-copy")                                                    \
    X(FENCED_IN, "destination fenced")                                                                       \
    X(FENCED_IN_VAIN, "destination fenced after the device was loaded")                                      \
    X(FENCE_WORKED, "migration failed for being fenced")                                                     \
    X(FENCE_EARLY, "fence found nothing to do")                                                              \
    X(FENCE_TOO_LATE, "fence found the device loaded")                                                       \
    X(FENCE_REFUSED, "fence refused by the driver")                                                          \
    X(FENCE_VAIN, "fence does nothing with the driver")                                                      \
    X(KILLED_AP, "incoming guest killed on vfio-ap")                                                         \
    X(FENCE_BLOCKED, "fence blocked by the driver")                                                          \
    X(KILLED, "incoming guest killed")                                                                       \
    X(KILLED_REFUSED, "incoming guest killed since the driver refused the fence")                            \
    X(KILL_TOO_LATE, "kill refused: the load was not provably unfinished")                                   \
    X(HELPER_MISSING, "helper not installed")                                                                \
    X(HELPER_DIED, "helper died before it acted")                                                            \
    X(HELPER_DIED_LATE, "helper died after it had acted")                                                    \
    X(HELPER_SILENT, "helper did not answer in time")                                                        \
    X(OTHER_QEMU, "helper found another QEMU or device than it was told of")                                 \
    X(FREEZE_FAILED, "freeze failed")                                                                        \
    X(ARRIVED_PAUSED, "guest arrived paused")                                                                \
    X(INCOMING_ABORTED, "incoming migration ended as aborted")                                               \
    X(CRASH_REQUESTED, "daemon died with a lock requested")                                                  \
    X(CRASH_DRAINING, "daemon died with a lock draining")                                                    \
    X(CRASH_HELD, "daemon died with a lock held")                                                            \
    X(CRASH_PERMITTED, "daemon died with a lock permitted")                                                  \
    X(CRASH_UNPROVEN, "daemon died with a lock unproven")                                                    \
    X(CRASH_BREACHED, "daemon died with a lock breached")                                                    \
    X(CRASH_VERIFYING, "daemon died with a lock verifying")                                                  \
    X(CRASH_UNANSWERED, "daemon died between a write and its answer")                                        \
    X(CRASH_ADMISSION, "daemon died with an admission open")                                                 \
    X(REBOOT, "host rebooted with a lock")                                                                   \
    X(VIEW_LOST_DRAINING, "view lost while draining")                                                        \
    X(VIEW_LOST_HELD, "view lost while held")                                                                \
    X(STALE_ANSWER, "answer from before the view was lost")                                                  \
    X(DURING_READING, "migration began between a question and its answer")                                   \
    X(CLOCK_JUMP, "clock jumped")                                                                            \
    X(CLOCK_WRONG, "clock wrong at the start")                                                               \
    X(SUSPENDED, "host suspended under a lock")                                                              \
    X(STOOD_STILL, "daemon stood still under a lock")                                                        \
    X(RETRIED, "guest let in again while its first yes is open")                                             \
    X(UNASKED_AS_LET_IN, "guest comes in without asking, as the hook let it in before")                      \
    X(ASKED_AGAIN, "hook asks again while its guest comes in")                                               \
    X(OFFLINE, "offline migration")                                                                          \
    X(SAVED, "guest saved")                                                                                  \
    X(LOOKED, "guest seen being saved")                                                                      \
    X(RENAMED, "guests with each other's name")                                                              \
    X(SYSFS_HANGS, "sysfs does not tell a device's queues")                                                  \
    X(SYSFS_HANGS_USES, "sysfs does not tell whether a queue is in use")                                     \
    X(FACTS_FIRST, "what a guest has is told before its job")                                                \
    X(FACTS_ALONE, "what a guest has is told, and its job is not")                                           \
    X(RESTORED, "guest restored")                                                                            \
    X(RESTORED_INSTEAD, "guest restored just after it did not come in, or was saved")                        \
    X(RESUMED, "guest resumed at its source")                                                                \
    X(RUNTIME_LOST, "runtime folder lost")                                                                   \
    X(STATE_OLDER, "state folder older than it was")                                                         \
    X(UNKNOWN_GUEST, "guest of unknown queues migrated under a lock")                                        \
    X(REASSIGNED, "device got other queues under a lock")                                                    \
    X(UNPLUGGED, "device taken away under a lock")                                                           \
    X(STRANGER, "stranger with queues of a lock")                                                            \
    X(STAMPED, "stamp written")                                                                              \
    X(STAMPED_LOCK, "stamp written that names a lock")                                                       \
    X(STAMP_TAKEN_AWAY, "stamp taken away")                                                                  \
    X(STAMP_BUSY, "stamp not written, since the guest had a job")                                            \
    X(STAMP_FAILED, "stamp not written, since the call failed")                                              \
    X(STAMP_HELD_BACK, "stamp written though a lock waited, after its time")                                 \
    X(LEAVES_STAMPED, "guest leaves with its stamp")                                                         \
    X(LEAVES_STAMPED_LOCK, "guest leaves with a stamp that names a lock")                                    \
    X(LEAVES_UNSTAMPED, "guest leaves before its stamp is right")                                            \
    X(ARRIVAL_AGREES, "guest comes whose keys are those here")                                               \
    X(ARRIVAL_DOUBTFUL, "guest comes whose keys are others, or not known, and may")                          \
    X(ARRIVAL_DIFFERS, "guest refused for its keys")                                                         \
    X(ARRIVAL_UNKNOWN, "guest refused for keys that are not known")                                          \
    X(ARRIVAL_WITHOUT, "guest comes without a stamp that counts, and may")                                   \
    X(ARRIVAL_MISSING, "guest refused for a stamp that is missing or does not count")                        \
    X(ARRIVAL_LOCKED, "guest refused for a lock at its source")                                              \
    X(ARRIVAL_TELLS_QUEUES, "guest's queues known by its stamp")                                             \
    X(RESTORE_DIFFERS, "restore refused for keys that are others now")                                       \
    X(CALM, "run that came to rest with every lock held and then released")

typedef enum {
#define X(name, text) COVER_##name,
    SITUATIONS(X)
#undef X
    N_SITUATIONS
} Situation;

void sim_cover(Sim *sim, Situation situation);
/* Prints the counts. Returns: whether each is above 0. */
gboolean coverage_report(const guint64 *counts, gboolean print);
