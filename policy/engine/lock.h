/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A lock as the engine knows it: what is durable (the record) and what is not. Read-only outside policy/.
 */
#pragma once

#include "rules/policy.h"
#include "ap/scope.h"

#define APMIG_REASON_MAX_LENGTH 256
#define APMIG_CHANGE_MAX_LENGTH 128

typedef enum {
    APMIG_LOCK_REQUESTED, /* gate closed, not yet durable */
    APMIG_LOCK_DRAINING,
    APMIG_LOCK_HELD,
    APMIG_LOCK_PERMITTED, /* held, but for migrations that were permitted */
    APMIG_LOCK_BREACHED,
    APMIG_LOCK_VERIFYING, /* release asked, in force as before; or its removal is being written */
} ApmigLockState;

typedef enum {
    APMIG_LOCK_BY_REQUEST,
    APMIG_LOCK_BY_ITSELF, /* apmigd took it; the first administrator who asks for its scope adopts it */
    APMIG_LOCK_RECOVERED, /* stands for a damaged or unreadable one: scope all, owner 0, forced release only */
} ApmigLockOrigin;

/* What is written to disk. */
typedef struct {
    char *id;
    ApmigScope *scope;
    char *reason;    /* UTF-8 without control characters, at most APMIG_REASON_MAX_LENGTH bytes */
    char *change_id; /* "" when there is none */
    ApmigLockOrigin origin;
    guint32 owner_uid;
    char *owner_name;
    ApmigOnBusy on_busy;
    gint64 requested_at;           /* realtime, usec */
    gint64 held_at;                /* realtime, usec; 0: never held */
    gint64 expected_duration_usec; /* 0: not announced */
    guint breaches;
} ApmigLockRecord;

ApmigLockRecord *apmig_lock_record_copy(const ApmigLockRecord *record);
void apmig_lock_record_free(ApmigLockRecord *record);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigLockRecord, apmig_lock_record_free)

typedef struct {
    ApmigLockRecord *record;
    ApmigLockState state;
    gboolean overdue;
    char *result;  /* NULL while it lives; then "released", "cancelled", "timeout", "busy", "failed", ... */
    char *message; /* the sentence to it */
    /* What was not verified of the keys when a release was asked last: a sentence; "" when nothing, or never asked */
    char *unverified;
    char *
        warnings; /* to what was declared of its keys with the last such request: sentences; "" when there are none */
} ApmigLock;

/* "requested", "draining", "held", "permitted", "breached", "verifying"; "recovered" is the state shown of such a lock;
 * "ended" once it has a result. */
const char *apmig_lock_state_to_string(const ApmigLock *lock);
const char *apmig_lock_origin_to_string(ApmigLockOrigin origin);
gboolean apmig_lock_origin_from_string(const char *text, ApmigLockOrigin *ret_origin);
