/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The stamp: what a guest's host says of the guest's AP queues and master keys, for the host where the guest goes. It
 * travels in the guest's metadata, which everybody may write who may edit guests, and which can be dropped. So it can
 * forbid what this host would allow by itself, and never allow what this host forbids; a stamp that is missing, of
 * another host, or old tells nothing, and the policy says what follows.
 *
 * Whether the hardware fits is another question: see ap-compat.h, with the stamp's view. How a stamp is written and read
 * is not decided here: whoever reads one has bounded its texts and made them fit to be shown.
 */
#pragma once

#include "ap/view.h"
#include "keys/evidence.h"
#include "stamp/finding.h"

/* The lock at the source that forbids the migration. */
typedef struct {
    char *id;
    char *reason;
    char *owner;  /* the user's name */
    gint64 since; /* realtime, usec */
} ApmigStampLock;

/* @lock: (nullable) */
void apmig_stamp_lock_free(ApmigStampLock *lock);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigStampLock, apmig_stamp_lock_free)

typedef struct {
    char *host_id;        /* UUID, lower case, of the host that wrote it */
    char *host_name;      /* (nullable): what people call that one */
    gint64 written_at;    /* realtime, usec */
    ApmigApView *view;    /* what the guest has there; NULL: not known */
    char *device;         /* (nullable): UUID, lower case, of the mediated device that is or was its */
    ApmigEvidence *keys;  /* of these queues; NULL: the digest is all there is */
    char *digest;         /* apmig_stamp_digest() of view and keys; "" without a view */
    ApmigStampLock *lock; /* NULL: migration is not locked there */
    /* The view is what that host has of the queues that the guest declares, and no device's: it is made anew where the
     * guest arrives, and makes no guest an affected one. */
    gboolean is_declared;
} ApmigStamp;

/**
 * apmig_stamp_new:
 * @host_id: of the host that writes it
 * @written_at: realtime, usec
 * @view: (transfer full) (nullable): what the guest has
 * @evidence: what this host knows of its queues' keys; what it knows of the guest's is copied
 * @lock: (transfer full) (nullable): the lock that forbids the guest to migrate
 *
 * Returns: (transfer full)
 */
ApmigStamp *apmig_stamp_new(const char *host_id, gint64 written_at, ApmigApView *view,
                            const ApmigEvidence *evidence, ApmigStampLock *lock);
/* @stamp: (nullable) */
void apmig_stamp_free(ApmigStamp *stamp);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigStamp, apmig_stamp_free)

/**
 * apmig_stamp_canonical_keys:
 * @view: whose queues, in this order
 * @keys: what is known of them, at one host or another
 *
 * The text that a digest is made of. It has the keys alone and not where their knowledge comes from, so that two hosts
 * with the same keys in the same queues have the same text: "apmigd-keys 1", and a line "04.0012 AES 0x..." for each
 * queue and key class that its mode has, with "none" where CUR has no key and "unknown" where it is not known. Of a WK
 * it has the bytes that the kernel compares.
 *
 * Returns: (transfer full)
 */
char *apmig_stamp_canonical_keys(const ApmigApView *view, const ApmigEvidence *keys);
/* Returns: (transfer full): SHA-256 of that text, in hexadecimal. */
char *apmig_stamp_digest(const ApmigApView *view, const ApmigEvidence *keys);

/* How much of it is written. */
typedef enum {
    APMIG_STAMP_OFF,
    APMIG_STAMP_DIGEST, /* no keys, and of the queues only what the digest is made of: their numbers and modes */
    APMIG_STAMP_FULL,
} ApmigStampForm;

/* By number, NULL-terminated. */
extern const char *const apmig_stamp_form_words[];
/* Returns: FALSE when @text names none; @ret_form is then untouched. */
gboolean apmig_stamp_form_from_string(const char *text, ApmigStampForm *ret_form);

/* --- the judgement ------------------------------------------------------------------------------- */

/* The later, the stricter. */
typedef enum {
    APMIG_STAMP_OK,
    APMIG_STAMP_WARN,
    APMIG_STAMP_DENY,
} ApmigStampAnswer;

/* By number, NULL-terminated: "allow", "warn", "deny". */
extern const char *const apmig_stamp_answer_words[];

typedef struct {
    ApmigStampAnswer keys_differ; /* warn or deny; it is never less than warn */
    ApmigStampAnswer keys_unknown;
    ApmigStampAnswer missing; /* also for a stamp that does not count */
    guint fresh_seconds;      /* what an older one says of keys does not count; 0: any age does */
    const char *
        source_host_id; /* (nullable): where the guest comes from, if that is known: no other host's counts */
    const char
        *own_host_id; /* (nullable): this host's: its own is left over from when the guest was here before */
    gboolean own_lock_is_known; /* the lock that the stamp names lives or lived on this host */
} ApmigStampPolicy;

typedef struct {
    ApmigStampAnswer answer;
    char *sentence; /* or several, also when it is allowed; "" when keys are known to agree */
    /* of ApmigFinding: what was compared, also what agrees; the weightiest is the answer */
    GPtrArray *findings;
} ApmigStampVerdict;

/**
 * apmig_stamp_judge:
 * @stamp: (nullable): what the guest brought; %NULL: none, or one that does not read
 * @evidence: what this host knows of the keys of its own queues
 * @now: realtime, usec
 *
 * A lock at the source forbids it, however long ago that was written: the stamp is written anew when the lock is
 * released, so one that is old tells of a lock that lasts, or of a host that has not run apmigd since, of which nothing
 * else is known either. That goes for a stamp of this host's id as well, unless its lock is one of this host's: two hosts
 * can have the same id, and the worse of the two answers counts.
 *
 * Returns: (transfer full): may the guest come in, as far as its stamp is concerned?
 */
ApmigStampVerdict *apmig_stamp_judge(const ApmigStamp *stamp, const ApmigEvidence *evidence, gint64 now,
                                     const ApmigStampPolicy *policy);
/* Returns: whether what @stamp says of the guest's queues and keys counts. */
gboolean apmig_stamp_counts(const ApmigStamp *stamp, gint64 now, const ApmigStampPolicy *policy);
/* @verdict: (nullable) */
void apmig_stamp_verdict_free(ApmigStampVerdict *verdict);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigStampVerdict, apmig_stamp_verdict_free)

/* --- what names a lock, in stamps and everywhere else ---------------------------------------------- */

#define APMIG_LOCK_ID_LENGTH 8 /* lower-case hexadecimal digits */
/* Whether @text has the form of a lock's id: exactly APMIG_LOCK_ID_LENGTH lower-case hexadecimal digits. */
gboolean apmig_lock_id_is_valid(const char *text);
