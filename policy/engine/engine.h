/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The engine: decides everything about locks, admissions and migrations, and does nothing. It is handed
 * events, with the time, and appends actions to be carried out; the answer to an action is another event.
 * It reads no clock, file, bus or hypervisor: the same events give the same actions.
 *
 * Readings. The engine asks for a list of active guests and for the job state of single guests, and gives
 * each question a token, a number that only grows. What an answer proves, it proves of the time after its
 * question was put; so an answer counts for a lock only if its token was given out after the lock was
 * durable. One question per guest is under way at a time. Answers may come in any order, late or never.
 *
 * Ownership: events are borrowed for the call; what the engine keeps it copies. Actions own what they hold.
 * Not thread-safe: one thread, the main loop's, owns an engine.
 */
#pragma once

#include "stamp/stamp.h"
#include "stamp/arrival-check.h"
#include "base/error.h"
#include "engine/lock.h"
#include "engine/migration.h"
#include "engine/permit.h"
#include "rules/policy.h"
#include "keys/release-check.h"
#include "ap/scope.h"

typedef struct ApmigEngine ApmigEngine;

/* --- what is known of a guest ------------------------------------------------------------------- */

typedef enum {
    APMIG_AFFECTED_UNKNOWN, /* counts as scope all, is never acted on */
    APMIG_AFFECTED_NO,
    APMIG_AFFECTED_YES,
} ApmigAffected;

typedef struct {
    ApmigAffected affected;
    ApmigScope *scope;          /* (nullable): with APMIG_AFFECTED_YES; what cannot be read is scope all */
    const char *const *devices; /* (nullable): UUIDs of its mediated devices */
    gboolean scope_varies;      /* @scope changes without an event: it is told again with every answer */
} ApmigGuestFacts;

/* What has happened to a guest that is to be looked at again. */
typedef enum {
    APMIG_CHANGE_OTHER, /* its devices or its metadata, or nothing is known of it */
    APMIG_CHANGE_STARTED,
    APMIG_CHANGE_PLUGGED, /* a device was added that may be a mediated one */
} ApmigGuestChange;

/* What a guest brings that comes in, and what this host knows to compare it with. Zeroed: neither. */
typedef struct {
    gboolean has_device;           /* one of vfio-ap: its facts' scope is all, whatever its metadata says */
    const char *device;            /* (nullable): UUID of its one device whose queues travel */
    const ApmigScope *declared;    /* (nullable): what it has besides the device's queues */
    const ApmigStamp *stamp;       /* (nullable) */
    const char *stamp_problem;     /* (nullable): why the one that it brings does not read, as a clause */
    const ApmigEvidence *evidence; /* (nullable): of this host's keys */
    const ApmigApHost *host;       /* (nullable): this host's hardware; NULL: whether the guest fits is not looked at */
    const char *const *in_use;     /* (nullable): UUIDs of active guests' mediated devices; NULL: not known */
    gint64 asked_at;               /* boot time: when these began to be asked for */
    const char *host_id;           /* (nullable): this host's */
} ApmigArrival;

typedef enum {
    APMIG_JOB_NONE,     /* active, and no job */
    APMIG_JOB_OUTGOING, /* a job with operation "migration out", in whatever phase */
    APMIG_JOB_INCOMING, /* VIR_ERR_OPERATION_UNSUPPORTED on an active guest */
    APMIG_JOB_OTHER,    /* save, dump, snapshot, backup, ... */
    APMIG_JOB_GONE,     /* no such guest any more, or it is not active */
    APMIG_JOB_UNKNOWN,  /* the question failed */
} ApmigJob;

typedef struct {
    const char *uuid;
    const char *name;
} ApmigGuestName;

/* --- events -------------------------------------------------------------------------------------- */

typedef enum {
    APMIG_EVENT_STORE_LOADED,
    APMIG_EVENT_TAKE,
    APMIG_EVENT_RELEASE,
    APMIG_EVENT_AMEND,
    APMIG_EVENT_CHECK,
    APMIG_EVENT_PERMIT,
    APMIG_EVENT_REVOKE,
    APMIG_EVENT_CALLER_GONE,
    APMIG_EVENT_ADMIT,
    APMIG_EVENT_LOCK_PERSISTED,
    APMIG_EVENT_LOCK_REMOVED,
    APMIG_EVENT_ADMISSION_PERSISTED,
    APMIG_EVENT_PERMIT_WRITTEN,
    APMIG_EVENT_VIEW_STARTED,
    APMIG_EVENT_VIEW_LOST,
    APMIG_EVENT_GUESTS_LISTED,
    APMIG_EVENT_GUEST_ANSWERED,
    APMIG_EVENT_GUEST_CHANGED,
    APMIG_EVENT_GUEST_STOPPED,
    APMIG_EVENT_HINT,
    APMIG_EVENT_STEP_FINISHED,
    APMIG_EVENT_KEYS_READ,
    APMIG_EVENT_STAMP_FINISHED,
    APMIG_EVENT_USES_READ,
    APMIG_EVENT_HARDWARE_CHANGED,
    APMIG_EVENT_POLICY_CHANGED,
    APMIG_EVENT_DEADLINE,
} ApmigEventType;

/* What came of writing a guest's stamp. */
typedef enum {
    APMIG_STAMPING_DONE, /* it says what it should, or the guest is not affected, or it is not active here any more */
    APMIG_STAMPING_BUSY, /* the guest has a job: libvirt would wait 30 s for its end, and fail */
    APMIG_STAMPING_FAILED,
} ApmigStamping;

/* What is changed of a lock that is there. */
typedef enum {
    APMIG_AMEND_OWNER,    /* it becomes the caller's */
    APMIG_AMEND_DURATION, /* when it is expected to be released */
    APMIG_AMEND_REASON,   /* what others read */
} ApmigAmendment;

/* What a lock that is only rehearsed would do about a migration in progress. */
typedef enum {
    APMIG_WOULD_END,
    APMIG_WOULD_WAIT,   /* for its end; @why says why, if it was to be ended */
    APMIG_WOULD_REFUSE, /* the request */
} ApmigTreatment;

typedef struct {
    char *migration_id;
    char *uuid;
    char *guest;
    gboolean outgoing;
    ApmigTreatment treatment;
    ApmigStep steps[APMIG_POLICY_MAX_STEPS]; /* with APMIG_WOULD_END, in the policy's order */
    guint n_steps;
    char *why; /* a clause; "" if there is none */
} ApmigRehearsed;

void apmig_rehearsed_free(ApmigRehearsed *finding);
/* "end", "wait", "refuse". */
const char *apmig_treatment_to_string(ApmigTreatment treatment);

/* An admission as kept in the runtime directory. */
typedef struct {
    char *uuid;
    char *name;
    ApmigScope *scope;
    GStrv devices;
    gint64 admitted_at; /* boot time, usec */
} ApmigAdmission;

ApmigAdmission *apmig_admission_copy(const ApmigAdmission *admission);
void apmig_admission_free(ApmigAdmission *admission);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigAdmission, apmig_admission_free)

/* A question or request of a caller gets a number of the caller's choice, unique among those open and not 0;
 * the reply action carries it. */
typedef guint64 ApmigCaller;

typedef struct {
    ApmigEventType type;
    gint64 now;      /* boot time (CLOCK_BOOTTIME), usec: never goes back */
    gint64 realtime; /* usec; may jump */
    union {
        struct {
            GPtrArray *locks;      /* of ApmigLockRecord; a damaged one comes as APMIG_LOCK_RECOVERED */
            GPtrArray *admissions; /* of ApmigAdmission */
            GPtrArray *permits;    /* (nullable): of ApmigPermit */
        } store_loaded;
        struct {
            ApmigCaller caller;
            const char *id; /* fresh: in no lock that is on disk or readable */
            ApmigScope *scope;
            const char *reason;
            const char *change_id;
            ApmigLockOrigin origin; /* APMIG_LOCK_BY_REQUEST or APMIG_LOCK_BY_ITSELF */
            guint32 uid;
            const char *user;
            ApmigOnBusy on_busy;
            gint64 timeout_usec; /* 0: the policy's, or none with no_wait */
            gint64 expected_duration_usec;
            gboolean no_wait;
            gboolean rehearse; /* nothing is taken: REPLY_VERDICT says what would be done */
            const char
                *hook_problem; /* (nullable): why the hook would not be called; NULL also when the caller
                                         allowed a missing hook or the driver has none */
        } take;
        struct {
            ApmigCaller caller;
            const char *id;
            gboolean force;
            const char *warnings; /* (nullable): sentences: what is odd about what was declared with it */
        } release; /* the caller is authorized already */
        struct {
            ApmigCaller caller;
            const char *id;
            ApmigAmendment what;
            guint32 uid; /* the caller's */
            const char *user;
            guint32 owner_uid;    /* of whom the caller may change it, but for APMIG_AMEND_OWNER */
            const char *text;     /* OWNER: why; REASON: what is said */
            gboolean replace;     /* REASON: in place of what was said; else after it */
            gint64 duration_usec; /* DURATION: from now */
        } amend;                  /* the caller is authorized already */
        struct {
            ApmigCaller caller;
            const char *id;
            gint64 limit_usec; /* of the reading that answers it */
        } check;
        struct {
            ApmigCaller caller;
            const char *id;   /* fresh, as of a lock */
            const char *uuid; /* of the guest; "": not known, as the next, but not both */
            const char *name;
            const char *reason;
            guint32 uid; /* the caller's, as the next two */
            guint32 login_uid;
            const char *user;
            gint64 duration_usec;
        } permit; /* the caller is authorized already */
        struct {
            ApmigCaller caller;
            const char *guest; /* its name or UUID */
        } revoke;              /* the caller is authorized already */
        struct {
            ApmigCaller caller;
        } caller_gone;
        struct {
            ApmigCaller caller;
            const char *uuid;
            const char *name;
            gboolean restore; /* else a migration */
            ApmigGuestFacts facts;
            ApmigArrival arrival;
        } admit;
        struct {
            guint64 op;
            const char *error; /* (nullable): NULL is success */
        } persisted;           /* LOCK_PERSISTED, LOCK_REMOVED, ADMISSION_PERSISTED, PERMIT_WRITTEN */
        struct {
            const char *reason; /* why, as a clause: "libvirtd closed the connection" */
        } view_lost;
        struct {
            guint64 token;
            const char *error; /* (nullable): NULL is success */
            const ApmigGuestName *guests;
            guint n_guests;
        } listed;
        struct {
            guint64 token;
            const char *uuid;
            ApmigJob job;
            gboolean postcopy;
            gboolean stranded;   /* paused for a migration, and no job: libvirt does not know where it runs */
            gboolean facts_read; /* @facts is new */
            ApmigGuestFacts facts;
            ApmigProgress progress;
            const char *error; /* (nullable): with APMIG_JOB_UNKNOWN, as a clause */
        } answered;
        struct {
            const char *uuid; /* GUEST_CHANGED: it has started, or its devices or metadata are to be read again */
            ApmigGuestChange change;
        } changed;
        struct {
            const char *uuid;
            gboolean
                migrated; /* VIR_DOMAIN_EVENT_STOPPED_MIGRATED; else it failed, crashed or was destroyed */
        } stopped;
        struct {
            const char *uuid; /* (nullable) */
            const char *name; /* (nullable); both NULL: anything may have changed */
        } hint;
        struct {
            guint64 op;
            ApmigStepOutcome outcome;
            const char *message;
        } step;
        struct {
            guint64 op;
            const char *error;       /* (nullable): why nothing could be read, as a clause; NULL is success */
            const ApmigApHost *host; /* with success, like the next two */
            const GPtrArray *readings; /* (element-type ApmigKeyReading) */
            const ApmigEvidence *evidence;
        } keys_read;
        struct {
            guint64 op;
            ApmigStamping result;
            const char *message; /* (nullable): with APMIG_STAMPING_FAILED, as a clause */
        } stamping;
        struct {
            guint64 op;
            const ApmigApHost *host; /* (nullable): NULL: @error says why, as a clause */
            const char *error;
        } uses_read;
        struct {
            gboolean has_guest_queues; /* they can be passed through to guests; FALSE at first */
        } hardware;
        const ApmigPolicy *policy;
    };
} ApmigEvent;

/* --- actions ------------------------------------------------------------------------------------- */

typedef enum {
    APMIG_ACTION_PERSIST_LOCK, /* op, record; then LOCK_PERSISTED. Carried out in order with REMOVE_LOCK */
    APMIG_ACTION_REMOVE_LOCK,  /* op, record; then LOCK_REMOVED */
    APMIG_ACTION_PERSIST_ADMISSION, /* op, admission; then ADMISSION_PERSISTED */
    APMIG_ACTION_REMOVE_ADMISSION,  /* admission->uuid; no answer */
    APMIG_ACTION_PERSIST_PERMIT, /* op, permit; then PERMIT_WRITTEN, as of the next. Carried out in order with admissions */
    APMIG_ACTION_USE_PERMIT,     /* op, permit: notes by whom it is used */
    APMIG_ACTION_REMOVE_PERMIT,  /* op, permit, used or not; no answer when op is 0 */
    APMIG_ACTION_LIST_GUESTS,       /* token; then GUESTS_LISTED */
    APMIG_ACTION_QUERY_GUEST,       /* token, uuid, want_facts; then GUEST_ANSWERED */
    APMIG_ACTION_RUN_STEP,    /* op, step, migration_id, uuid, guest, device, outgoing; then STEP_FINISHED */
    APMIG_ACTION_READ_KEYS,   /* op, id of the lock, scope, limit_usec; then KEYS_READ */
    APMIG_ACTION_STAMP_GUEST, /* op, uuid, change, form, locks: see apmig_stamp_choose_lock(); then STAMP_FINISHED */
    APMIG_ACTION_READ_USES, /* op, id of the lock, limit_usec: reads the AP bus from now on; then USES_READ */
    APMIG_ACTION_REPLY_TAKEN, /* caller, id */
    APMIG_ACTION_REPLY_RELEASED,    /* caller */
    APMIG_ACTION_REPLY_AMENDED,     /* caller, id */
    APMIG_ACTION_REPLY_VERDICT, /* caller, allowed, message (why not; ""), read_at; findings of a rehearsal */
    APMIG_ACTION_REPLY_PERMIT,      /* caller, permit: it was given, or revoked */
    APMIG_ACTION_REPLY_ADMIT,       /* caller, allowed, message (the reason; "" when allowed), device_map */
    APMIG_ACTION_REPLY_ERROR,       /* caller, code, message */
    APMIG_ACTION_PUBLISH_LOCK,      /* id: look it up; new, changed or just ended */
    APMIG_ACTION_FORGET_LOCK,       /* id: an ended lock is no longer readable */
    APMIG_ACTION_PUBLISH_MIGRATION, /* id */
    APMIG_ACTION_FORGET_MIGRATION,  /* id */
    APMIG_ACTION_PUBLISH_PERMITS,   /* there are others now */
    APMIG_ACTION_PUBLISH_VIEW,      /* the hypervisor state changed */
    APMIG_ACTION_LOG, /* log, message, lock id, change id, migration id, uuid, guest, result; locks: others it concerns */
} ApmigActionType;

/* What happened, for the journal: one message id each. */
typedef enum {
    APMIG_LOG_LOCK_REQUESTED,
    APMIG_LOG_LOCK_HELD,
    APMIG_LOG_LOCK_ENDED,
    APMIG_LOG_RELEASE_REFUSED,
    APMIG_LOG_LOCK_BREACHED,
    APMIG_LOG_BREACH_OVER,
    APMIG_LOG_LOCK_OVERDUE,
    APMIG_LOG_LOCK_RECOVERED,
    APMIG_LOG_LOCK_ADOPTED,
    APMIG_LOG_STATE_FAILURE,
    APMIG_LOG_ADMISSION_DENIED,
    APMIG_LOG_ADMISSION_ALLOWED,
    APMIG_LOG_ADMISSION_DOUBTFUL,
    APMIG_LOG_MIGRATION_SEEN,
    APMIG_LOG_MIGRATION_ENDED,
    APMIG_LOG_STEP_STARTED,
    APMIG_LOG_STEP_FINISHED,
    APMIG_LOG_VIEW_STARTED,
    APMIG_LOG_VIEW_LOST,
    APMIG_LOG_STAMP_FAILED,
    APMIG_LOG_KEYS_DECLARED,
    APMIG_LOG_KEYS_CONTRADICTED,
    APMIG_LOG_KEYS_CHANGED,
    APMIG_LOG_LOCK_TAKEN_OVER,
    APMIG_LOG_LOCK_AMENDED,
    APMIG_LOG_REQUEST_MADE,
    APMIG_LOG_REQUEST_REFUSED,
    APMIG_LOG_CONFIG_CHANGED,
    APMIG_LOG_GUEST_REPLUGGED,
    APMIG_LOG_GUEST_STARTED,
    APMIG_LOG_PERMIT_GIVEN,
    APMIG_LOG_PERMIT_USED,
    APMIG_LOG_PERMIT_ENDED,
} ApmigLog;

#define APMIG_N_LOGS (APMIG_LOG_PERMIT_ENDED + 1)

typedef struct {
    ApmigActionType type;
    guint64 op; /* numbers an action that is answered */
    guint64 token;
    ApmigCaller caller;
    ApmigError code;
    gboolean allowed;
    gboolean want_facts;
    ApmigStep step;
    ApmigLog log;
    int priority; /* of a log entry: LOG_ERR .. LOG_INFO of syslog(3) */
    char *id;     /* of a lock, or of a migration for those actions that concern one */
    ApmigScope *scope;
    gint64 limit_usec; /* an answer after that comes too late */
    char *change_id;   /* (nullable): of the lock, in a log entry */
    char *migration_id;
    char *uuid;
    char *guest;
    char *device; /* (nullable): a mediated device of the guest */
    gboolean outgoing;
    char *message;
    char *result; /* (nullable): of the lock, migration or permit that has ended, in a log entry */
    ApmigLockRecord *record;
    ApmigAdmission *admission;
    ApmigPermit *permit;
    ApmigStampForm form; /* off: what stamp there is is taken away */
    GPtrArray *locks;    /* of ApmigLockRecord, oldest first */
    GHashTable *device_map; /* (nullable): UUID of the guest's mediated device -> of the one in its place */
    gint64 read_at;      /* realtime: what is said is of after that */
    GPtrArray *findings; /* (nullable): of ApmigRehearsed */
    ApmigGuestChange change; /* the cause of a stamp */
} ApmigAction;

/**
 * apmig_stamp_choose_lock:
 * @locks: (element-type ApmigLockRecord): those of APMIG_ACTION_STAMP_GUEST
 * @scope: the queues of the guest as they were read for its stamp
 *
 * Returns: (transfer full) (nullable): the lock that the stamp is to name.
 */
ApmigStampLock *apmig_stamp_choose_lock(const GPtrArray *locks, const ApmigScope *scope);

void apmig_action_free(ApmigAction *action);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigAction, apmig_action_free)

/* --- the engine ---------------------------------------------------------------------------------- */

/**
 * apmig_engine_new:
 * @policy: copied
 * @run_id: prefix of migration ids, unlike that of any earlier run; lower-case hexadecimal digits
 */
ApmigEngine *apmig_engine_new(const ApmigPolicy *policy, const char *run_id);
void apmig_engine_free(ApmigEngine *engine);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigEngine, apmig_engine_free)

/**
 * apmig_engine_handle:
 * @event: what happened; its @now is not before that of the event before
 * @actions: (element-type ApmigAction): what is to be done is appended, in order
 */
void apmig_engine_handle(ApmigEngine *engine, const ApmigEvent *event, GPtrArray *actions);

/* Returns: the boot time (usec) at which APMIG_EVENT_DEADLINE is due, or G_MAXINT64 for never. */
gint64 apmig_engine_next_deadline(const ApmigEngine *engine);

/* Returns: (transfer none): the policy in force, valid until the next event. */
const ApmigPolicy *apmig_engine_policy(const ApmigEngine *engine);

/* Lookups return what the engine owns, valid until the next event; ended objects are found until forgotten. */
const ApmigLock *apmig_engine_lookup_lock(const ApmigEngine *engine, const char *id);
const ApmigMigration *apmig_engine_lookup_migration(const ApmigEngine *engine, const char *id);

/* Returns: (transfer container) (element-type ApmigLock): living locks, oldest first. */
GPtrArray *apmig_engine_list_locks(const ApmigEngine *engine);
/* Returns: (transfer container) (element-type ApmigMigration): migrations in progress, oldest first. */
GPtrArray *apmig_engine_list_migrations(const ApmigEngine *engine);

/* Returns: (transfer container) (element-type ApmigPermit): those that count, open or in use, in the order they were given. */
GPtrArray *apmig_engine_list_permits(const ApmigEngine *engine);
/* Returns: (transfer none) (nullable): the open permit of the guest that goes by that name or UUID. */
const ApmigPermit *apmig_engine_find_permit(const ApmigEngine *engine, const char *guest);

/* Returns: (transfer container) (element-type ApmigMigration): what stands between @lock and held. */
GPtrArray *apmig_engine_blockers(const ApmigEngine *engine, const ApmigLock *lock);

/* Returns: (transfer full): a sentence on what @lock waits for; "" when for nothing. It also names guests that
 * have not answered and a view that is missing, which are no migrations. */
char *apmig_engine_describe_wait(const ApmigEngine *engine, const ApmigLock *lock);

/**
 * apmig_engine_check_guest: the dry run of an admission
 * @ret_reason: (out) (transfer full): why not; "" when allowed
 *
 * Returns: (transfer container) (element-type ApmigLock): the locks in the way; empty: allowed.
 */
GPtrArray *apmig_engine_check_guest(const ApmigEngine *engine, const ApmigGuestFacts *facts,
                                    char **ret_reason);

/**
 * apmig_engine_check_arrival: the dry run of an admission from another host
 * @event: an APMIG_EVENT_ADMIT with its times, as apmig_engine_handle() would get it; its caller does not matter
 *
 * Returns: (transfer full): what the admission would go by, and say.
 */
ApmigArrivalCheck *apmig_engine_check_arrival(const ApmigEngine *engine, const ApmigEvent *event);

/**
 * apmig_engine_plan_stamp:
 *
 * Returns: (transfer full): an APMIG_ACTION_STAMP_GUEST for no guest and without an answer: what the stamp of any guest
 * would be made of now. Its form is never off; its locks are all there are, for a guest that leaves under one that is
 * not held yet is ended as well.
 */
ApmigAction *apmig_engine_plan_stamp(const ApmigEngine *engine);

/* "disconnected"; "connected": nothing needs to be read; "reading"; "complete": the job state of every guest that
 * matters is known. */
const char *apmig_engine_view_state(const ApmigEngine *engine);
