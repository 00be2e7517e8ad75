/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What one host answers to the fleet's document: how it stands with each of the fleet's locks, and what it knows of its
 * master keys. Every answer names the store and the revision that it answers; it speaks of nothing later.
 *
 * Plain values. Times in texts are realtime, usec, by the clock of the host that wrote them; they are shown, and nothing is
 * decided by them.
 */
#pragma once

#include "ap/scope.h"
#include "fleet/document.h"
#include "keys/evidence.h"

#define APMIG_FLEET_MAX_BLOCKERS      64   /* of a lock's blockers, of its permits, of its departed */
#define APMIG_FLEET_MAX_CLAUSE_LENGTH 1024 /* bytes of each of them, and of a problem with the hook */
#define APMIG_FLEET_MAX_KEYS          3072 /* that a host tells of: one for each queue and key class */

/* What both kinds of answers begin with. */
typedef struct {
    char *fleet;        /* the name of the fleet */
    char *host;         /* who answers: the id of a member; the name of one where the caller knows no more */
    char *cluster_id;   /* of the store, 1 to 20 decimal digits; without a store, of the run that asks */
    gint64 revision;    /* of the document that is answered; from 1 on */
    gint64 received_at; /* not in the text: when it was received, by the clock of whoever judges, usec */
    char *
        problem; /* (nullable): a clause: why there is no answer, or none that can be parsed: the rest counts for nothing */
} ApmigFleetHead;

/* How a lock of the fleet stands on a host. */
typedef enum {
    APMIG_FLEET_HOST_REQUESTED,
    APMIG_FLEET_HOST_DRAINING,
    APMIG_FLEET_HOST_HELD,
    APMIG_FLEET_HOST_PERMITTED,
    APMIG_FLEET_HOST_UNPROVEN,
    APMIG_FLEET_HOST_BREACHED,
    APMIG_FLEET_HOST_VERIFYING,
    APMIG_FLEET_HOST_RECOVERED,   /* it stands for a damaged one */
    APMIG_FLEET_HOST_RELEASED,    /* the document asked for that */
    APMIG_FLEET_HOST_FORCED_OPEN, /* released by force on that host: whoever relied on GO has to know */
} ApmigFleetHostState;

typedef struct {
    char *id;                  /* in the document */
    char *local_id;            /* on that host; "" when it has none */
    ApmigScope *scope;         /* in which the host holds it */
    ApmigFleetHostState state; /* now */
    gint64 held_at;            /* 0: never */
    guint breaches;            /* so far */
    GStrv blockers;            /* clauses: what is in progress, or may be */
    GStrv permits;             /* clauses: permits that are open */
    GStrv departed;            /* clauses: guests that are not there any more, unacknowledged */
} ApmigFleetLockAnswer;

typedef struct {
    ApmigFleetHead head;
    char *boot_id;      /* of the running system, a UUID in lower case; "" where it is not known */
    char *apmigd;       /* the version of its apmigd, to be shown */
    char *hook_problem; /* a clause: why nothing keeps incoming migrations out; "" when the hook does */
    GPtrArray *locks;   /* of ApmigFleetLockAnswer */
} ApmigFleetAnswer;

typedef struct {
    ApmigFleetHead head;
    GPtrArray *
        records; /* of ApmigEvidenceRecord: of each queue and key class at most one; of unknown evidence where the
                           host has such a queue and nothing is known */
} ApmigFleetKeys;

/* "requested", "draining", "held", "permitted", "unproven", "breached", "verifying", "recovered", "released",
 * "forced-open". */
const char *apmig_fleet_host_state_to_string(ApmigFleetHostState state);
/* Returns: FALSE when @text names none; @ret_state is then untouched. */
gboolean apmig_fleet_host_state_from_string(const char *text, ApmigFleetHostState *ret_state);

/**
 * apmig_fleet_answer_new:
 * @host: who answers, or should have
 * @problem: (nullable): a clause: why it gives no answer, such as "ssh ended with status 255"
 *
 * Returns: (transfer full): an answer that names no store and no lock.
 */
ApmigFleetAnswer *apmig_fleet_answer_new(const char *host, const char *problem);
/* @answer: (nullable) */
void apmig_fleet_answer_free(ApmigFleetAnswer *answer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigFleetAnswer, apmig_fleet_answer_free)

/* Returns: (transfer full): without a scope, in the state requested, its lists empty. */
ApmigFleetLockAnswer *apmig_fleet_lock_answer_new(const char *id);
/* @answer: (nullable) */
void apmig_fleet_lock_answer_free(ApmigFleetLockAnswer *answer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigFleetLockAnswer, apmig_fleet_lock_answer_free)

/* As apmig_fleet_answer_new(), for an answer about keys. */
ApmigFleetKeys *apmig_fleet_keys_new(const char *host, const char *problem);
/* @keys: (nullable) */
void apmig_fleet_keys_free(ApmigFleetKeys *keys);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigFleetKeys, apmig_fleet_keys_free)

/**
 * apmig_fleet_answer_parse:
 * @text: JSON; need not be terminated, nor UTF-8
 * @length: its bytes, at most %APMIG_FLEET_MAX_BYTES
 * @origin: what it is called in errors, such as the key of the store
 * @error: #APMIG_ERROR_INVALID_OPTION; the sentence says where in the text what is wrong
 *
 * Strict, as apmig_fleet_document_parse(). Whoever cannot parse an answer hands on apmig_fleet_answer_new() with that
 * problem: a host whose answer is not understood has not answered.
 *
 * Returns: (transfer full) (nullable): the answer, received at 0.
 */
ApmigFleetAnswer *apmig_fleet_answer_parse(const char *text, gsize length, const char *origin,
                                           GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Returns: (transfer full) (nullable): the text, of which apmig_fleet_answer_parse() makes the same answer; NULL, with
 * its error, where that would not parse it. */
char *apmig_fleet_answer_write(const ApmigFleetAnswer *answer, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* As apmig_fleet_answer_parse(), for an answer about keys. */
ApmigFleetKeys *apmig_fleet_keys_parse(const char *text, gsize length, const char *origin,
                                       GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* As apmig_fleet_answer_write(), for an answer about keys. */
char *apmig_fleet_keys_write(const ApmigFleetKeys *keys, GError **error) G_GNUC_WARN_UNUSED_RESULT;
