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
    /* One that was held is in one of these four for the rest of its life, the worst that applies. */
    APMIG_LOCK_PERMITTED, /* held, but for migrations that were permitted */
    APMIG_LOCK_UNPROVEN,  /* the gate is shut as before, and what goes on is not known */
    APMIG_LOCK_BREACHED,
    APMIG_LOCK_VERIFYING, /* release asked, in force as before; or its removal is being written */
} ApmigLockState;

typedef enum {
    APMIG_LOCK_BY_REQUEST,
    APMIG_LOCK_BY_ITSELF, /* apmigd took it; the first administrator who asks for its scope adopts it */
    APMIG_LOCK_RECOVERED, /* stands for a damaged or unreadable one: scope all, owner 0, forced release only */
} ApmigLockOrigin;

/* An affected guest, by what it was called when it was seen last. */
typedef struct {
    char *uuid;
    char *name;
} ApmigLockGuest;

#define APMIG_LOCK_MAX_GUESTS 4096

/* Lists of them are shared between records: none is changed once it is in one, there is another one instead. */
GPtrArray *apmig_lock_guests_new(void);
/* Returns: FALSE when it is full. */
gboolean apmig_lock_guests_append(GPtrArray *guests, const char *uuid, const char *name);
/* @guests: (nullable): none. Returns: (nullable): the guest of that UUID. */
const ApmigLockGuest *apmig_lock_guests_find(const GPtrArray *guests, const char *uuid);
/* Returns: (transfer full): those of @guests (nullable) but for that of @uuid (nullable). */
GPtrArray *apmig_lock_guests_copy_without(const GPtrArray *guests, const char *uuid);

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
    guint attempts;      /* migrations that were ended before memory left */
    GPtrArray *guests;   /* (nullable): affected ones that are here since it was held */
    GPtrArray *departed; /* (nullable): of those: not here any more, and nobody saw how they went */
} ApmigLockRecord;

ApmigLockRecord *apmig_lock_record_copy(const ApmigLockRecord *record);
void apmig_lock_record_free(ApmigLockRecord *record);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigLockRecord, apmig_lock_record_free)

typedef struct {
    ApmigLockRecord *record;
    ApmigLockState state;
    gboolean overdue;
    gint64 proven_at; /* realtime, usec: that nothing was in progress was last known of then; 0: never */
    char *unproven;   /* with APMIG_LOCK_UNPROVEN, a clause: what is not known; "" else */
    char *result;  /* NULL while it lives; then "released", "cancelled", "timeout", "busy", "failed", ... */
    char *message; /* the sentence to it */
    /* What was not verified of the keys when a release was asked last: a sentence; "" when nothing, or never asked */
    char *unverified;
    char *
        warnings; /* to what was declared of its keys with the last such request: sentences; "" when there are none */
} ApmigLock;

/* "requested", "draining", "held", "permitted", "unproven", "breached", "verifying"; "recovered" is the state shown of such a lock;
 * "ended" once it has a result. */
const char *apmig_lock_state_to_string(const ApmigLock *lock);
const char *apmig_lock_origin_to_string(ApmigLockOrigin origin);
gboolean apmig_lock_origin_from_string(const char *text, ApmigLockOrigin *ret_origin);
