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
