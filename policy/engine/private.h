/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the engine's files share, in the order of its floors (HACKING.md): each calls only what stands below it.
 *
 * An event changes facts; settling then derives, from the facts alone, every state change and action that is
 * due. Settling twice does nothing the second time.
 */
#pragma once

#include <syslog.h>

#include "engine/engine.h"
#include "rules/rules.h"

#define RETAIN_USEC (10 * 60 * G_USEC_PER_SEC) /* how long an ended object stays readable */
#define RETAIN_MAX  64

/* What the disk is asked for just before a deadline, or at it, as to take a lock back, it does in a moment if it is well. */
#define DISK_GRACE_USEC ((gint64)G_USEC_PER_SEC)

/* So long without an answer is late, and its guest looked at: 0.15 ms are usual, and silence is said much later. */
#define ANSWER_LATE_USEC ((gint64)G_USEC_PER_SEC)

/* What a lock's last write was for. */
typedef enum {
    WRITE_NONE,
    WRITE_CREATE,
    WRITE_HOLD,   /* held_at */
    WRITE_UPDATE, /* a new breach: nobody waits for it */
    WRITE_ADOPT,  /* a new owner */
    WRITE_AMEND,  /* what somebody who waits for it wants changed */
    WRITE_REMOVE,
} Write;

/* A request for a lock that is there already, of the same user, change, scope and reason. */
typedef struct {
    ApmigCaller caller;
    gint64 deadline; /* boot time */
    gboolean no_wait;
} Again;

typedef struct {
    ApmigLock pub;
    ApmigLockState standing; /* its state but for the release that is under way */
    ApmigCaller taker;       /* who waits for held; 0: nobody */
    gboolean no_wait;
    GArray *again;     /* of Again: as they came */
    GArray *releasers; /* of ApmigCaller */
    guint64 op;        /* of the write under way; 0: none */
    guint64 create_op; /* of its creation */
    gboolean
        update_due;    /* the record has changed since the write under way was put: it is written once more */
    gint64 disk_since; /* boot time since which, with @op, the disk owes an answer without a break */
    gint64 answer_by;  /* boot time when @taker is answered, though the disk does not answer */
    Write write;
    ApmigLockRecord *heir; /* (nullable): the record as it is to be, with WRITE_ADOPT and WRITE_AMEND */
    GQueue amendments;     /* of Amendment (amend.c); the first is being written with WRITE_AMEND */
    gboolean durable;
    gboolean never_written;   /* its creation failed */
    gboolean was_held;        /* whatever migrates under it is a breach */
    ApmigToken request_token; /* questions above it were put after the request */
    ApmigToken proof_token;   /* questions above it count for held */
    gint64 round_at; /* boot time when the round of questions began whose answers count: with proof_token */
    gint64 round_realtime;
    ApmigToken held_token; /* the newest question when it became held; 0: in an earlier run, or never */
    GPtrArray *
        acknowledged; /* (nullable): those departed of which the change that is under way says that they are known */
    ApmigLockRecord
        *suitor; /* (nullable): the record as it is to be once a reading has been made for who adopts it */
    ApmigToken adopt_token; /* with that: questions above it were put after he asked */
    gboolean met;           /* an overlapping migration was in progress when it was last looked at */
    gint64 deadline;        /* boot time; 0: none */
    gint64 overdue_from;    /* boot time since which its expected duration counts; may be before this boot */
    gint64 overdue_at;      /* boot time; 0: none */
    gint64 overdue_again;   /* boot time when it is said again; 0: not */
    gboolean busy_known;    /* every migration older than the request has been seen, and none refuses it */
    guint64 keys_op;        /* of the reading of keys for its release; 0: none is under way */
    gint64 keys_until;      /* boot time: when that is no longer waited for */
    gint64 hold_again_at;   /* boot time: the write of held_at failed, when to try again; 0: now */
    guint64 uses_op;        /* of the reading of the AP bus; 0: none is under way */
    gint64 uses_again_at;   /* boot time: not before */
    gboolean uses_clear;    /* no stranger has its queues */
    char *uses_trouble;     /* (nullable): why not, as a clause */
    gboolean ending;
    gboolean kept;          /* its removal failed once */
    const char *end_result; /* with ending */
    ApmigError end_code;    /* for the taker */
    char *end_message;
    GHashTable *breached_by; /* id -> BreachState of each migration in progress that began under it */
    GHashTable *missing;     /* uuid -> gint64 boot time since when a list lacks that guest of its record */
    gint64 unproven_said_at; /* boot time when it was last looked at why it is unproven; 0: not yet */
    GHashTable *attempts;    /* uuid -> Attempts (breaches.c) */
    GPtrArray *blockers;     /* of migration ids, as last published */
    gboolean dirty;
    gint64 ended_at; /* boot time */
} Lock;

/* What was said and counted of a migration under a lock. */
typedef enum {
    BREACH_SAID = 1,
    BREACH_COUNTED,
} BreachState;

/* One kind of step on one migration. */
typedef struct {
    guint64 op;              /* under way; 0: none */
    ApmigStepRecord *record; /* (unowned): of the one under way */
    gint64 first_at;         /* boot time of the first; 0: none yet */
    gint64 begun_at;         /* of the last */
    gint64 again_at;         /* not before */
    gboolean failed;         /* the last one did */
    gboolean over;           /* it cannot do anything any more */
    gboolean outdated; /* the one under way is for an earlier QEMU: its answer says nothing of this one */
} StepState;

typedef struct {
    ApmigMigration pub;
    ApmigGuestSettings settings; /* the policy's for its guest */
    ApmigToken seen_token;       /* outgoing: the newest question whose answer showed it */
    ApmigToken began_after;      /* outgoing: it began after this question was put; 0: not known */
    gboolean incoming_seen;
    gboolean shown;          /* in: by an answer, not by an event alone */
    guint grants;            /* how often the hook was told yes */
    gint64 admitted_until;   /* boot time; 0: no admission is open */
    ApmigToken admit_token;  /* questions above it were put after the newest admission */
    ApmigToken expiry_token; /* admitted_until has passed: questions above it decide; 0: it has not */
    gboolean bindable;       /* a guest seen now can only be the one admitted last */
    GHashTable *promised;    /* set of UUIDs: the devices of all its admissions, which nobody else gets */
    ApmigToken stop_token;   /* questions above it were put after that */
    gboolean stopped_known;  /* libvirt has told how the guest stopped */
    gboolean stopped_migrated;
    gboolean stopped_unknown; /* after its switchover: it may run at the destination */
    gboolean memory_sent;     /* outgoing: some of it may have left */
    gboolean iterated;        /* outgoing: libvirt's event has told so */
    gboolean switches;   /* outgoing: seen in its switchover, of which libvirt's event has told (look.c) */
    gint64 data_seen_at; /* outgoing: boot time when an answer first told so; 0: none did */
    gint64 unhinted_at;  /* outgoing: boot time when it was seen, and no hint had told of it; 0: one had */
    gboolean
        was_resting; /* in: its guest was active here, or may have been, at the newest yes: that it is says nothing */
    gboolean restored; /* in: the yes was given by an earlier run: no QEMU is bound to it */
    gint64 granted_at; /* boot time of the newest yes; 0: not given yet */
    ApmigCaller hook;  /* who was told the newest yes, and is still connected; 0: it has gone */
    ApmigToken
        settled_token; /* questions above it were put when the hook of the newest yes had gone; 0: it has not */
    ApmigToken
        defined_token; /* questions above it were put after the guest was defined here, after the newest yes */
    gint64 gone_since; /* boot time; the guest is gone, how is not yet known; 0: it is not gone */
    StepState steps[APMIG_N_STEPS];
    guint64 qemu;           /* the process that the helper takes for its guest's; 0: not known */
    ApmigToken qemu_token;  /* questions above it were put after it was looked at */
    gboolean qemu_comes_in; /* one of them found that its guest comes in: so it is no restore's */
    gboolean state_is_vain; /* @qemu's device does not end its data session with its state */
    gboolean not_abortable;
    gboolean dirty;
    gint64 ended_at;
} Migration;

typedef struct {
    char *uuid;
    char *name;
    ApmigAffected affected;
    ApmigScope *scope; /* never NULL */
    gboolean scope_varies;
    GStrv devices;
    GStrv told_devices;       /* (nullable): @devices as they were told last; NULL: never */
    ApmigToken facts_token;   /* only questions above it may tell the facts */
    ApmigToken told_token;    /* the newest question whose answer told them */
    ApmigToken present_token; /* the newest question that found it active */
    ApmigToken asked;         /* the question under way; 0: none */
    gint64 asked_at;
    gboolean ask_again;
    ApmigToken answer_token;
    ApmigJob job;
    ApmigToken clear_token; /* the newest question that found it without a migration, or not there */
    gboolean stopped;       /* libvirt has told so, and no question put after that found it active */
    ApmigToken stop_token;  /* questions above it were put after that */
    char *trouble;          /* (nullable): why its state is unknown */
    gint64 owed_since;      /* boot time since when an answer is due; 0: none is */
    ApmigToken beat_token;  /* the newest heartbeat that asked for its job */
    ApmigToken hint_token;  /* questions above it were put after the last hint or news of it */
    gboolean sending;       /* memory leaves, and it is not known to where */
    gboolean sent;          /* the same, or it is thought to go into a file; no question put since has told */
    ApmigToken sending_token;
    ApmigScope *sent_scope;     /* (nullable) with @sent: what it was known to have when memory left */
    gboolean suspended;         /* for a switchover */
    gint64 suspended_at;        /* boot time; with that */
    ApmigToken suspended_token; /* questions above it were put after that */
    gboolean saving;            /* with @sending: its device was seen being saved */
    gint64 looked_at;           /* boot time of the last look; 0: there was none */
    gint64 unheard_at;          /* boot time when a list had it of which no event had told; 0: one had */
    ApmigToken came_token;      /* it came in then, and what it has is still to be read; 0: it is not */
    gint64 gone_at;             /* boot time when it was found to be gone */
} Guest;

typedef struct {
    ApmigPermit *pub;
    ApmigCaller giver;   /* who waits for it to be durable; 0: nobody */
    ApmigCaller revoker; /* who waits for it to be gone from the disk */
    guint64 op;          /* of the write under way; 0: none */
    gint64 asked_at;     /* boot time: when that was asked for */
    gboolean refused;    /* the disk did not answer in time: it is taken back when it has */
    gboolean durable;    /* it was given */
    gboolean ending;     /* it is being revoked, and counts no more */
    char *trouble;       /* (nullable): why that it is used could not be written */
} Permit;

typedef struct {
    guint64 op;
    ApmigCaller caller;
    char *uuid;
    ApmigScope *scope;
    GHashTable *device_map; /* (nullable) */
    gboolean permitted;     /* it uses a permit */
    gboolean gone;          /* the caller has */
} PendingAdmission;

/* A question that a reading answers which begins after it. */
typedef struct {
    ApmigCaller caller;
    char *id;               /* of the lock that is asked about; NULL: a rehearsal */
    ApmigScope *scope;      /* of a rehearsal, as the next */
    ApmigOnBusy on_busy;    /* never UNSET */
    ApmigToken proof_token; /* questions above it were put after the inquiry */
    gint64 asked_at;        /* realtime */
    gint64 deadline;        /* boot time */
} Inquiry;

struct ApmigEngine {
    ApmigPolicy *policy;
    char *run_id;
    guint n_migrations;
    gboolean loaded;
    GPtrArray *locks;            /* of Lock, living, oldest first */
    GPtrArray *ended_locks;      /* of Lock, oldest first */
    GPtrArray *migrations;       /* of Migration, in progress, oldest first */
    GPtrArray *ended_migrations; /* of Migration, oldest first */
    GPtrArray *pending;          /* of PendingAdmission */
    guint64 last_op;
    ApmigToken last_token;
    guint64 look_op;         /* of the look that is under way; 0: none is */
    char *looked_uuid;       /* (nullable): at whom */
    ApmigToken looked_after; /* the newest answer about him at that time */
    gint64 look_at;          /* boot time: no look is due before it */

    gboolean has_guest_queues;
    gboolean connected;
    gboolean hints_lost; /* libvirt's status folder itself is not watched any more */
    char *view_trouble;
    char *step_trouble; /* (nullable): why no outgoing migration could be ended now */
    GHashTable *guests; /* uuid -> Guest: the active ones */
    GHashTable *
        gone; /* uuid -> Guest: those found to be gone, of which libvirt's event may still tell how they went */
    GHashTable *arrivals;      /* uuid -> Arrival (unaffected.c) */
    gint64 arrivals_due;       /* boot time after which one of them may be late; 0: none is expected */
    gboolean arrivals_are_new; /* there was no view since they were read from the runtime folder */
    GHashTable
        *early_arrivals;   /* set of UUIDs of those that were let in before it was known what is on disk */
    ApmigToken list_asked; /* the question under way; 0: none */
    gboolean list_again;
    ApmigToken list_token; /* the newest question whose list is in guests; 0: none since the view started */
    gint64 next_sweep;     /* boot time; 0: at once */
    gint64 list_at;        /* boot time: no list before it, unless one is awaited */
    gint64 list_owed_since;
    ApmigToken heartbeat;   /* the one under way; 0: none */
    gint64 heartbeat_owed;  /* boot time since when an answer to it is due; 0: none is */
    gint64 heartbeat_at;    /* boot time when the next is put */
    gint64 heartbeat_asked; /* realtime of the one under way */
    gint64 silence_at;      /* boot time: nothing is owed for longer than the policy allows before it */
    char *late;             /* (nullable): what was seen without libvirt's event or its hint, as a clause */
    gint64 view_started_at; /* boot time of its first list; 0: there is none yet */
    GHashTable *heard;      /* set of UUIDs: events told of them, no list has had them since */
    gboolean rosters_dirty; /* what locks remember of guests may have changed */
    const char *published_view;
    char *published_trouble; /* with it: of the view */

    GHashTable *stamps;       /* uuid -> Stamp: those that are to be written */
    GHashTable *stray_stamps; /* op -> Stray: writes under way, of guests that have stopped since */
    GHashTable
        *lock_tellers; /* set of UUIDs: guests whose stamps were last handed a lock, which may cover them */
    GHashTable *stamped_locks; /* id -> ApmigLockRecord: those that stamps tell of, as they tell it */
    GHashTable *plugged;       /* uuid -> Plugged: guests that had a device under a lock that lives */
    gint64 stamp_all_at;       /* boot time when every active guest's stamp is to be looked at; 0: it was */

    GPtrArray *inquiries; /* of Inquiry (inquiry.c): not answered yet */
    GPtrArray *permits;   /* of Permit (permits.c), in the order they were asked for */
    gboolean permits_dirty;

    /* for the time of one event */
    gint64 now;
    gint64 realtime;
    GPtrArray *actions;
};

#define EARLY_ARRIVALS_MAX 4096 /* then any guest may be one */

void engine_load(ApmigEngine *engine, const ApmigEvent *event);

/* take.c */
void engine_take(ApmigEngine *engine, const ApmigEvent *event);
void engine_caller_gone(ApmigEngine *engine, ApmigCaller caller);
/* Answers requests for locks that are there already. */
void engine_settle_again(ApmigEngine *engine);
gint64 lock_again_next_deadline(const Lock *lock);

/* admissions.c */
void pending_admission_free(PendingAdmission *pending);
void engine_admission_caller_gone(ApmigEngine *engine, ApmigCaller caller);
void engine_admit(ApmigEngine *engine, const ApmigEvent *event);
void engine_admission_written(ApmigEngine *engine, guint64 op, const char *error);

/* unaffected.c: (element-type utf8 Arrival): guests without crypto that the hook told of */
GHashTable *engine_new_arrivals(void);
/* It comes within @usec, or not at all. */
void engine_expect_unaffected(ApmigEngine *engine, const char *uuid, gint64 usec);
/* As that, of an earlier run. */
void engine_load_unaffected(ApmigEngine *engine, const ApmigAdmission *admission, gint64 usec);
gboolean engine_expects_unaffected(const ApmigEngine *engine, const char *uuid);
/* From now on it is what the hook told of until it stops. */
void engine_unaffected_has_come(ApmigEngine *engine, const char *uuid);
void engine_forget_unaffected(ApmigEngine *engine, const char *uuid);
void engine_forget_unaffected_all(ApmigEngine *engine);
void engine_unaffected_view_started(ApmigEngine *engine);
void engine_settle_unaffected(ApmigEngine *engine);
gint64 engine_unaffected_next_deadline(const ApmigEngine *engine);

/* permit-requests.c */
void engine_permit(ApmigEngine *engine, const ApmigEvent *event);
void engine_revoke(ApmigEngine *engine, const ApmigEvent *event);
void engine_permit_written(ApmigEngine *engine, guint64 op, const char *error);
void engine_forget_permit_callers(ApmigEngine *engine, ApmigCaller caller);

/* inquiry.c */
GPtrArray *engine_new_inquiries(void);
void engine_forget_inquiries(ApmigEngine *engine, ApmigCaller caller);
void engine_check(ApmigEngine *engine, const ApmigEvent *event);
/* @event: a TAKE that would not be refused at once */
void engine_rehearse(ApmigEngine *engine, const ApmigEvent *event);
void engine_settle_inquiries(ApmigEngine *engine);
gint64 engine_inquiries_next_deadline(const ApmigEngine *engine);

/* answers.c */
void engine_view_started(ApmigEngine *engine);
void engine_view_lost(ApmigEngine *engine, const char *reason);
void engine_listed(ApmigEngine *engine, const ApmigEvent *event);
void engine_answered(ApmigEngine *engine, const ApmigEvent *event);
void engine_facts_read(ApmigEngine *engine, const ApmigEvent *event);
void engine_guest_news(ApmigEngine *engine, const ApmigEvent *event);

/* migrations.c */
void migration_free(Migration *migration);
/* The policy has changed, or what is known of the guest. */
void migration_on_policy_changed(const ApmigEngine *engine, Migration *migration);
/* @scope: (nullable): NULL: not known, so all. @devices: (nullable): UUIDs. Returns: (transfer none): one more of the
 * engine's. */
Migration *migration_new(ApmigEngine *engine, const char *uuid, const char *name, ApmigMigrationPhase phase,
                         const ApmigScope *scope, const char *const *devices);
/* @result: static */
void migration_end(ApmigEngine *engine, Migration *migration, const char *result, const char *message);
/* What was just read of what @guest has, ahead of its job, means for them, too. */
void engine_migrations_facts_read(ApmigEngine *engine, Guest *guest);
/* What an answer about @guest means for its migrations. */
void engine_migrations_answered(ApmigEngine *engine, Guest *guest, const ApmigEvent *event);
/* A question with @token found no active guest of that UUID. */
void engine_migrations_guest_absent(ApmigEngine *engine, const char *uuid, ApmigToken token);
/* libvirt tells that its QEMU listens for a migration. */
void engine_migrations_guest_arrives(ApmigEngine *engine, const char *uuid, const char *name);
/* Its device is being saved, after libvirt told that it was stopped for its switchover. */
void engine_migrations_guest_switches(ApmigEngine *engine, Guest *guest);
/* libvirt tells that it has left, or may have (@unknown), of a migration that no answer has shown. */
void engine_migrations_guest_left(ApmigEngine *engine, Guest *guest, gboolean unknown);
/* Its memory left, and before anybody could ask to where it was over. @where: the guest is now, as a clause */
void engine_migrations_guest_sent(ApmigEngine *engine, Guest *guest, const char *where);
void engine_settle_migration(ApmigEngine *engine, Migration *migration);
gint64 migration_next_deadline(const ApmigEngine *engine, const Migration *migration);

/* steps.c */
/* What comes in is another QEMU. */
void migration_begin_steps_anew(Migration *migration);
void engine_step_finished(ApmigEngine *engine, const ApmigEvent *event);
/* The connection to libvirt is gone: the answers of the steps that went over it will not come. */
void engine_steps_changed(ApmigEngine *engine, const char *trouble);
void engine_steps_lost(ApmigEngine *engine);
/* What would be done to end @migration: the steps of @finding, or why there are none. */
void engine_foresee_steps(const ApmigEngine *engine, const Migration *migration, ApmigRehearsed *finding);
void engine_settle_steps(ApmigEngine *engine, Migration *migration);
/* Returns: the boot time at which a step is due or late; G_MAXINT64: never. */
gint64 migration_next_step(const ApmigEngine *engine, const Migration *migration);

/* look.c */
void engine_looked_at(ApmigEngine *engine, const ApmigEvent *event);
/* Has guests looked at whose job libvirt is late to tell. */
void engine_settle_looks(ApmigEngine *engine);
gint64 engine_looks_next_deadline(const ApmigEngine *engine);

/* locks.c */
void lock_free(Lock *lock);
/* @record: (transfer full). Returns: (transfer none): one more of the engine's. */
Lock *lock_new(ApmigEngine *engine, ApmigLockRecord *record);
void engine_lock_written(ApmigEngine *engine, guint64 op, const char *error);
/* Whether @lock wants @migration ended now. */
gboolean lock_wants_end(const ApmigEngine *engine, const Lock *lock, const Migration *migration);
void engine_settle_lock(ApmigEngine *engine, Lock *lock);
void engine_publish_locks(ApmigEngine *engine);
gint64 lock_next_deadline(const ApmigEngine *engine, const Lock *lock);

/* release.c */
/* Has it removed, unless that is being done already. @code, @message: for who waits for it to be held */
void lock_begin_end(ApmigEngine *engine, Lock *lock, const char *result, ApmigError code,
                    const char *message);
void lock_fail_releasers(ApmigEngine *engine, Lock *lock, ApmigError code, const char *message);
void engine_lock_removed(ApmigEngine *engine, guint64 op, const char *error);
void engine_keys_read(ApmigEngine *engine, const ApmigEvent *event);
void engine_settle_release(ApmigEngine *engine, Lock *lock);
void engine_release(ApmigEngine *engine, const ApmigEvent *event);

/* amend.c */
void lock_clear_amendments(Lock *lock);
/* Whether it is just getting another owner. */
gboolean lock_changes_hands(const Lock *lock);
/* What was written with WRITE_AMEND is durable, or failed to become so. */
void lock_amended(ApmigEngine *engine, Lock *lock, const char *error);
/* It ends: who waits for a change of it waits in vain. */
void lock_fail_amendments(ApmigEngine *engine, Lock *lock);
void engine_settle_amendments(ApmigEngine *engine, Lock *lock);
/* Returns: boot time when somebody has waited for the disk long enough; 0: nobody waits. */
gint64 lock_next_late_amendment(const Lock *lock);
/* Those who have are told what is not known. */
void lock_answer_late_amendments(ApmigEngine *engine, Lock *lock);
void engine_amend(ApmigEngine *engine, const ApmigEvent *event);

/* waiting.c */
/* Those who wait for a disk that does not answer are told so. After everything that writes. */
void engine_settle_waiting(ApmigEngine *engine);
gint64 engine_waiting_next_deadline(const ApmigEngine *engine);

/* stamps.c */
/* The stamp of an active guest is to be written. @arrived: it may have brought another host's, which goes even when none is
 * written. */
void engine_stamp_guest(ApmigEngine *engine, const char *uuid, gboolean arrived);
/* Its migration has ended, and the next may begin at once: if its stamp is still to be written, then now. */
void engine_stamp_between(ApmigEngine *engine, const char *uuid);
/* As engine_stamp_guest(), for what has happened to it here. */
void engine_stamp_changed_guest(ApmigEngine *engine, const char *uuid, ApmigNews change);
void engine_settle_stamps(ApmigEngine *engine);
gint64 engine_stamps_next_deadline(const ApmigEngine *engine);
void stray_stamp_free(gpointer data);
/* It has stopped: what is to be written is another guest's, or a later life's. */
void engine_forget_stamp(ApmigEngine *engine, const char *uuid);
void engine_stamp_finished(ApmigEngine *engine, const ApmigEvent *event);
void engine_stamps_view_started(ApmigEngine *engine);
void engine_stamps_view_lost(ApmigEngine *engine);

/* unplug.c */
void plugged_free(gpointer plugged);
/* What was just told of @guest is in it; what it had and counts as having is added. */
void engine_unplug_learned(ApmigEngine *engine, Guest *guest);
/* There is a lock more. */
void engine_unplug_lock_requested(ApmigEngine *engine);
void engine_unplug_stopped(ApmigEngine *engine, const char *uuid);
void engine_settle_unplugged(ApmigEngine *engine);

/* silence.c */
/* Whether something that matters to @lock, which was held, has been without an answer for longer than the policy allows. */
gboolean engine_is_silent(const ApmigEngine *engine, const Lock *lock);
/* Returns: (transfer full): what that is, as a clause; "" when nothing is. */
char *engine_describe_silence(const ApmigEngine *engine, const Lock *lock);
/* An answer is due from @due (boot time) on, unless one was before. */
void engine_owe(ApmigEngine *engine, gint64 *owed_since, gint64 due);
void engine_settle_heartbeat(ApmigEngine *engine);
gint64 engine_silence_next_deadline(const ApmigEngine *engine);
void engine_heartbeat_answered(ApmigEngine *engine, const ApmigEvent *event);
/* Whether libvirt's status folder itself is watched, from now on. */
void engine_hints_changed(ApmigEngine *engine, gboolean watched);
/* Looks whether something was seen and is still without its event or its hint. */
void engine_settle_lateness(ApmigEngine *engine);
gint64 engine_lateness_next_deadline(const ApmigEngine *engine);
/* A guest of which nobody saw how it went. */
void engine_guest_went_unseen(ApmigEngine *engine, const char *name);

/* breaches.c */
/* Whether @migration, which overlaps, began under the lock. An open admission is none: it was given before. */
gboolean lock_is_older(const Lock *lock, const Migration *migration);
gboolean lock_is_breached_by(const Lock *lock, const Migration *migration);
/* It is in progress under @lock. */
void lock_note_breach(ApmigEngine *engine, Lock *lock, const Migration *migration);
/* @migration, which is still in progress for the engine, ends with @result. */
void engine_judge_migration(ApmigEngine *engine, const Migration *migration, const char *result);
/* What the guest has was just read, which came in when that was not known. */
void engine_judge_arrival(ApmigEngine *engine, Guest *guest);
/* A lock that overlaps refuses the guest. @from: (nullable): the name of the host it comes from */
void lock_count_refusal(ApmigEngine *engine, Lock *lock, const char *uuid, const char *name,
                        const char *from);
void attempts_free(gpointer data);

/* departed.c */
/* What is known of guests has changed, or @lock is about to be held. */
void lock_refresh_guests(ApmigEngine *engine, Lock *lock);
void engine_settle_departed(ApmigEngine *engine, Lock *lock);
/* It is known how the guest went. */
void engine_forget_departing(ApmigEngine *engine, const char *uuid);
/* It went, and where to is not known. @name: (nullable) */
void engine_note_departed(ApmigEngine *engine, const char *uuid, const char *name, const char *how);
gint64 lock_next_departure(const ApmigEngine *engine, const Lock *lock);

/* view.c */
void guest_free(Guest *guest);
/* Whether a reading whose questions are above the lock's proof_token shows no overlapping migration. */
gboolean engine_view_is_clear(const ApmigEngine *engine, const Lock *lock);
/* Whether it may be that memory of a guest leaves, or that one has come in, which @lock covers. */
gboolean engine_has_doubt(const ApmigEngine *engine, const Lock *lock);
/* Returns: (transfer full): that, as a clause. */
char *engine_describe_doubt(const ApmigEngine *engine, const Lock *lock);
/* Whether every guest that may overlap has told of its migration since the lock was durable. */
gboolean engine_view_has_told(const ApmigEngine *engine, const Lock *lock);
/* Whether questions above @proof_token have told what guests with queues of @scope do, whatever that is. */
gboolean engine_view_is_read(const ApmigEngine *engine, const ApmigScope *scope, ApmigToken proof_token);
/* Appends a sentence for what is lacking of that. */
void engine_describe_view(const ApmigEngine *engine, const ApmigScope *scope, ApmigToken proof_token,
                          GString *text);

/* uses.c */
void engine_hardware_changed(ApmigEngine *engine, gboolean has_guest_queues);
/* Whether no stranger has queues of @lock: asks, unless that is known. For when the view is clear. */
gboolean engine_uses_are_clear(ApmigEngine *engine, Lock *lock);
void engine_uses_read(ApmigEngine *engine, const ApmigEvent *event);
/* Appends a sentence for what is not clear. */
void engine_describe_uses(const ApmigEngine *engine, const Lock *lock, GString *text);
/* Returns: boot time; 0: nothing is due. */
gint64 lock_next_reading_of_uses(const ApmigEngine *engine, const Lock *lock);

/* arrival.c */
/* Compares an affected guest that comes in with the locks here and with what this host knows. Returns: (transfer full) */
ApmigArrivalCheck *engine_check_arrival(const ApmigEngine *engine, const ApmigEvent *event);
/* Logs what may go wrong with a guest that nothing forbids to come in. */
void engine_log_doubts(ApmigEngine *engine, const ApmigEvent *event, const ApmigArrivalCheck *check);

/* remap.c */
/* Nobody else gets the devices of @devices as long as @migration is in progress. */
void migration_promise(Migration *migration, const char *const *devices);
/**
 * engine_choose_device:
 * @ret_device: (out) (transfer full) (nullable): UUID of the device that a guest which comes in is to have in the place of
 *   its own; NULL: its own, or none
 *
 * Returns: (transfer full) (nullable): why it can have none.
 */
char *engine_choose_device(const ApmigEngine *engine, const ApmigEvent *event, char **ret_device);
/* Returns: (transfer full) (nullable): UUIDs of the mediated devices that the guest will have here, with @device (nullable)
 * in the place of its own. */
GStrv engine_list_devices_here(const ApmigEvent *event, const char *device);
/* Returns: (transfer full): that of an APMIG_ACTION_REPLY_ADMIT */
GHashTable *engine_device_map_new(const char *own, const char *device);
/* @map: (nullable). Returns: (transfer full): for the end of a sentence; "" for none. */
char *engine_describe_device_map(GHashTable *map);

/* arriving.c */
/* What is said of the stamp of a guest that comes in. */
ApmigStampPolicy engine_stamp_policy(const ApmigEngine *engine, const ApmigEvent *event);
gboolean engine_arrival_tells_of_device(const ApmigArrival *arrival);
/* Returns: whether the stamp of a guest that comes in tells what its device has. */
gboolean engine_arrival_has_view(const ApmigEngine *engine, const ApmigEvent *event);
/* Returns: (transfer full): the queues that a guest has which comes in, as far as they are known. */
ApmigScope *engine_arrival_scope(const ApmigEngine *engine, const ApmigEvent *event);

/* permits.c */
void permit_free(gpointer permit);
gboolean permit_is_open(const ApmigEngine *engine, const Permit *permit);
/* Returns: (nullable): the open permit for the guest of that UUID and name. */
const ApmigPermit *engine_find_open_permit(const ApmigEngine *engine, const char *uuid, const char *name);
/* Returns: (nullable): why that @migration uses a permit could not be written. */
const char *engine_permit_trouble(const ApmigEngine *engine, const Migration *migration);
/* Returns: (nullable): another one for the guest of @record that is open. */
Permit *permit_find_rival(const ApmigEngine *engine, const ApmigPermit *record);
/* @text: its guest's name or UUID. Returns: (nullable): the open one, if there are two. */
Permit *permit_find_named(const ApmigEngine *engine, const char *text);
/* Returns: (nullable): the migration of its guest that is in progress; that which leaves, if there are two. */
Migration *permit_find_migration(const ApmigEngine *engine, const ApmigPermit *record);
/* @migration, @result: (nullable) */
void permit_log(ApmigEngine *engine, ApmigLog log, const ApmigPermit *record, const Migration *migration,
                const char *result, const char *message);
void permit_log_ended(ApmigEngine *engine, const ApmigPermit *record, const char *result);
/* @op: 0: nobody waits for it */
void permit_remove_file(ApmigEngine *engine, const ApmigPermit *record, guint64 op);
void permit_write(ApmigEngine *engine, Permit *permit);
void permit_forget(ApmigEngine *engine, Permit *permit);
void permit_end(ApmigEngine *engine, Permit *permit, const char *result);
void engine_permit_migration_ended(ApmigEngine *engine, const Migration *migration);
/* @migration has begun, or a hook asks for it. @name: its guest's, as told now. Returns: whether that has an open permit,
 * which it uses now. */
gboolean engine_use_permit(ApmigEngine *engine, Migration *migration, const char *name);
/* It counts from now on, for what is in progress already as well. */
void permit_open(ApmigEngine *engine, Permit *permit);
void engine_settle_permits(ApmigEngine *engine);
gint64 engine_permits_next_deadline(const ApmigEngine *engine);
void engine_publish_permits(ApmigEngine *engine);
/* Returns: (transfer full): the open permits that may bring a migration under @lock; "" if there are none. */
char *engine_describe_open_permits(const ApmigEngine *engine, const Lock *lock);

/* overdue.c */
/* @from: boot time at which it begins to count how old the lock is */
void lock_expect_end(const ApmigEngine *engine, Lock *lock, gint64 from);
/* The policy has changed. */
void engine_locks_on_policy_changed(ApmigEngine *engine);
void lock_settle_overdue(ApmigEngine *engine, Lock *lock);

/* describe.c */
/* Returns: (transfer full): what is in progress under @lock, with the remedy; "" if nothing is. */
char *engine_describe_blockers(const ApmigEngine *engine, const Lock *lock);
/* Returns: a clause for the one whose time is over: why what it waits for may end soon, by itself; "": it is not known to. */
const char *engine_describe_lingering(const ApmigEngine *engine, const Lock *lock);

/* ask.c */
/* Whether what @guest does is to be known. One whose queues change without an event is asked about under any lock: it may
 * overlap by now. */
gboolean engine_guest_matters(const ApmigEngine *engine, const Guest *guest);
gboolean engine_reading_is_needed(const ApmigEngine *engine);
void engine_ask_list(ApmigEngine *engine);
void engine_ask_guest(ApmigEngine *engine, Guest *guest);
/* A list of the active guests is asked for, unless there is one or it is under way. */
void engine_need_list(ApmigEngine *engine);
/* What guests have is read as soon as what was let in is known, lock or not: later they may not answer. */
void engine_read_guests(ApmigEngine *engine);
/* Read everything that matters at once, not at the next interval. */
void engine_hurry(ApmigEngine *engine);
/* What is proven from now on for @lock rests on questions that are put from now on. */
void lock_begin_round(ApmigEngine *engine, Lock *lock);
void engine_hint(ApmigEngine *engine, const char *uuid, const char *name);
/* What the guest does is asked once more, and libvirt has given no sign of it. */
void engine_look_again(ApmigEngine *engine, const char *uuid);
/* What was to be asked for is owed from when that was due, whether it could be put or not. */
void engine_settle_owed(ApmigEngine *engine);
void engine_settle_view(ApmigEngine *engine);
gint64 engine_view_next_deadline(const ApmigEngine *engine);

/* lock-record.c */
void lock_write(ApmigEngine *engine, Lock *lock, Write write);
/* What was written of @lock's heir counts. */
void lock_install_heir(Lock *lock);
/* Writes what nobody waits for. */
void lock_update(ApmigEngine *engine, Lock *lock);

/* actions.c */
ApmigAction *engine_act(ApmigEngine *engine, ApmigActionType type);
/* Tells who listens of the object of that id. */
void engine_publish(ApmigEngine *engine, ApmigActionType type, const char *id);
/* Returns: (transfer none): the entry, to say more in it before the next action. */
ApmigLogEntry *engine_log(ApmigEngine *engine, ApmigLog log, int priority, const Lock *lock,
                          const Migration *migration, const char *format, ...) G_GNUC_PRINTF(6, 7);
/* It concerns the living locks that overlap @scope (nullable: all): it is found by their ids. */
void entry_add_locks(ApmigLogEntry *entry, const ApmigEngine *engine, const ApmigScope *scope);
void entry_set_guest(ApmigLogEntry *entry, const char *uuid, const char *name);
/* Returns: (transfer none): to be filled in before the next action. */
ApmigReply *engine_reply(ApmigEngine *engine, ApmigActionType type, ApmigCaller caller);
/* To who waits for @lock, if anybody does: he waits no longer. */
void engine_reply_taken(ApmigEngine *engine, Lock *lock);
void engine_reply_error(ApmigEngine *engine, ApmigCaller caller, ApmigError code, const char *message);
/* The earlier of the two, where 0 stands for never. */
void engine_earlier(gint64 *deadline, gint64 candidate);

/* facts.c */
Lock *engine_find_lock(const ApmigEngine *engine, const char *id);
/* Returns: (nullable): the oldest living lock that overlaps @scope. */
Lock *engine_overlapping_lock(const ApmigEngine *engine, const ApmigScope *scope);
/* Returns: (nullable): the lock whose write under way has that number; NULL: overtaken by a removal, or ended. */
/* Whether anybody waits for it to be held. */
gboolean lock_is_awaited(const Lock *lock);
Lock *engine_find_lock_written(const ApmigEngine *engine, guint64 op);
/* Whether @migration stands between @lock and held. */
gboolean lock_is_blocked_by(const Lock *lock, const Migration *migration);
/* Whether it is not held, or not any more, and will be by a reading; or somebody who adopts it waits for one. */
gboolean lock_waits_for_reading(const Lock *lock);
/* Returns: questions above it are waited for. */
ApmigToken lock_awaited_token(const Lock *lock);
/* What it is apart from a release that is under way, and is again when that comes to nothing. */
void lock_set_standing(Lock *lock, ApmigLockState standing);
/* Returns: (transfer full): a clause that says whose lock it is, why and since when. */
char *lock_describe(const Lock *lock);
Migration *engine_find_migration(const ApmigEngine *engine, const char *uuid, gboolean outgoing);
gboolean engine_guest_migrates(const ApmigEngine *engine, const char *uuid);
/* Whether a step said yes, or may still come to it. */
gboolean migration_was_asked_to_end(const Migration *migration);
/* The same, or a step is under way. */
gboolean migration_is_being_ended(const Migration *migration);
/* Whether a yes to that guest is just being written. */
gboolean admission_is_pending(const ApmigEngine *engine, const char *uuid);
/* Why a guest may not come in, whatever it brings. */
#define APMIG_NOT_LOADED "apmigd has not read its locks yet: try again"
/* Why nobody is told of a lock. */
#define APMIG_LOCKS_UNREAD "the locks on disk have not been read yet: ask again"
#define APMIG_ADMISSIONS_FULL                                                                                \
    "as many guests as the policy's max-admissions allows are coming in: try again later"
gboolean engine_admissions_are_full(const ApmigEngine *engine);
/* Returns: (transfer full): what a guest is told that @lock keeps out. */
char *engine_describe_denial(const Lock *lock);
/* Returns: (nullable) */
Guest *engine_find_guest_by_name(const ApmigEngine *engine, const char *name);
/* Returns: (nullable): the active guest of that UUID; where it is "", of that name. */
const Guest *engine_find_guest(const ApmigEngine *engine, const char *uuid, const char *name);
/* Whether a guest of that UUID was active when last heard of. */
gboolean engine_guest_is_active(const ApmigEngine *engine, const char *uuid);
/* What was known of its devices and queues is void; what answers @token or an earlier question will not be either. */
void guest_forget_facts(Guest *guest, ApmigToken token);
/* Memory leaves, to another host or into a file: which of them is asked for. */
void guest_note_sending(const ApmigEngine *engine, Guest *guest);
/* It is known where it went. */
void guest_forget_sending(Guest *guest);
/* What it is known to have, and to have had when memory of it left: its device may have been given other queues since.
 * Returns: (transfer full) (nullable): %NULL: nothing */
ApmigScope *guest_leaving_scope(const Guest *guest);
/* Whether what a guest with these queues does is asked for. */
gboolean engine_is_inquired(const ApmigEngine *engine, const Guest *guest);
