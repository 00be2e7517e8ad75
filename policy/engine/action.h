/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the engine answers an event with: what is to be done, in order. Actions own what they hold.
 */
#pragma once

#include "base/error.h"
#include "engine/event.h"

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

/* An action with an op is answered with it, by the event that is named. */
typedef enum {
    /* Carried out by the store, in order. */
    APMIG_ACTION_PERSIST_LOCK,      /* op, lock; then LOCK_PERSISTED */
    APMIG_ACTION_REMOVE_LOCK,       /* op, lock; then LOCK_REMOVED */
    APMIG_ACTION_PERSIST_ADMISSION, /* op, admission; then ADMISSION_PERSISTED */
    APMIG_ACTION_REMOVE_ADMISSION,  /* admission, of which the UUID counts; no answer */
    APMIG_ACTION_PERSIST_PERMIT,    /* op, permit, given or now in use; then PERMIT_WRITTEN, as of the next */
    APMIG_ACTION_REMOVE_PERMIT,     /* op, permit; no answer when op is 0 */
    APMIG_ACTION_PERSIST_DECLARED, /* op, declared; then DECLARED_PERSISTED. The core's own, not the engine's */
    /* Asked of the hypervisor and of the cards. */
    APMIG_ACTION_LIST_GUESTS,   /* query; then GUESTS_LISTED */
    APMIG_ACTION_QUERY_GUEST,   /* query; then GUEST_ANSWERED, before it perhaps FACTS_READ */
    APMIG_ACTION_HEARTBEAT,     /* query; then HEARTBEAT_ANSWERED */
    APMIG_ACTION_RUN_STEP,      /* op, step; then STEP_FINISHED */
    APMIG_ACTION_LOOK_AT_GUEST, /* op, look: is its device being saved? Then GUEST_LOOKED_AT */
    APMIG_ACTION_READ_KEYS,     /* op, reading; then KEYS_READ */
    APMIG_ACTION_READ_USES,     /* op, reading: the AP bus, from now on; then USES_READ */
    APMIG_ACTION_STAMP_GUEST,   /* op, stamp; then STAMP_FINISHED */
    /* Said to a caller: reply. */
    APMIG_ACTION_REPLY_TAKEN, /* id */
    APMIG_ACTION_REPLY_RELEASED,
    APMIG_ACTION_REPLY_AMENDED,  /* id */
    APMIG_ACTION_REPLY_VERDICT,  /* allowed, message (why not; ""), read_at; findings of a rehearsal */
    APMIG_ACTION_REPLY_PERMIT,   /* permit: it was given, or revoked */
    APMIG_ACTION_REPLY_ADMIT,    /* allowed, message (the reason; "" when allowed), device_map */
    APMIG_ACTION_REPLY_DECLARED, /* warnings. The core's own */
    APMIG_ACTION_REPLY_ERROR,    /* code, message */
    /* Told to who listens: id, to look it up by. */
    APMIG_ACTION_PUBLISH_LOCK, /* new, changed or just ended */
    APMIG_ACTION_FORGET_LOCK,  /* an ended lock is no longer readable */
    APMIG_ACTION_PUBLISH_MIGRATION,
    APMIG_ACTION_FORGET_MIGRATION,
    APMIG_ACTION_PUBLISH_PERMITS, /* there are others now */
    APMIG_ACTION_PUBLISH_VIEW,    /* the hypervisor state changed */
    APMIG_ACTION_LOG,             /* entry */
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
    APMIG_LOG_VIEW_LATE,
    APMIG_LOG_GUEST_DEPARTED,
    APMIG_LOG_LOCK_ATTEMPTED,
    APMIG_LOG_LOCK_COVERS_NOTHING,
} ApmigLog;

#define APMIG_N_LOGS (APMIG_LOG_LOCK_COVERS_NOTHING + 1)

/* An entry of the journal; what is NULL or 0 is left out. */
typedef struct {
    ApmigLog log;
    int priority; /* LOG_ERR .. LOG_INFO of syslog(3) */
    char *message;
    char *lock_id;
    char *change_id; /* of the lock */
    char *migration_id;
    char *uuid;
    char *guest;
    char *result;     /* of the lock, migration or permit that has ended */
    GPtrArray *locks; /* of ApmigLockRecord: others that it concerns */
} ApmigLogEntry;

/* What a caller is told; which members count is said with the type of the action. */
typedef struct {
    ApmigCaller caller;
    ApmigError code;
    gboolean allowed;
    char *id; /* of a lock */
    char *message;
    gint64 read_at;         /* realtime: what is said is of after that */
    GPtrArray *findings;    /* (nullable): of ApmigRehearsed */
    GPtrArray *warnings;    /* (nullable): of sentences */
    GHashTable *device_map; /* (nullable): UUID of the guest's mediated device -> of the one in its place */
    ApmigPermit *permit;
} ApmigReply;

typedef struct {
    ApmigActionType type;
    guint64 op; /* numbers an action that is answered */
    union {
        ApmigLockRecord *lock;
        ApmigAdmission *admission;
        ApmigPermit *permit;
        GPtrArray *declared; /* of ApmigEvidenceRecord */
        struct {
            ApmigToken token;
            char *uuid;          /* with QUERY_GUEST; with HEARTBEAT (nullable): whose job is asked for */
            gboolean want_facts; /* with QUERY_GUEST */
        } query;
        struct {
            ApmigStep kind;
            char *migration_id;
            char *uuid;
            char *guest;
            char *device; /* (nullable): a mediated device of the guest */
            gboolean outgoing;
            guint64
                qemu; /* with "kill-incoming": as STEP_FINISHED told it; 0: it is to be looked for, and no more */
        } step;
        struct {
            char *uuid;
            char *guest;
            char *device; /* a mediated device of the guest */
        } look;
        struct {
            char *lock_id;
            ApmigScope *scope; /* with READ_KEYS */
            gint64 limit_usec; /* an answer after that comes too late */
        } reading;
        struct {
            char *uuid;
            ApmigStampForm form; /* off: what stamp there is is taken away */
            ApmigNews change;    /* its cause */
            GPtrArray *locks;    /* of ApmigLockRecord, oldest first: see apmig_stamp_choose_lock() */
        } stamp;
        ApmigReply reply;
        char *id;
        ApmigLogEntry entry;
    };
} ApmigAction;

/**
 * apmig_reply_get_error:
 * @reply: an APMIG_ACTION_REPLY_* of whatever kind
 *
 * Returns: (transfer full) (nullable): what an APMIG_ACTION_REPLY_ERROR says; NULL: it is an answer.
 */
GError *apmig_reply_get_error(const ApmigAction *reply);

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
