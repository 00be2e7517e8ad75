/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A watch of the host: of each AP queue what two readings in a row say otherwise than those before them, told once, where
 * somebody has a reason to be told. One reading alone is no change: it is not of one moment, so it may have caught the
 * host while it was being configured. What is compared belongs to a kind of watch: see config-facts.h and keys/facts.h.
 *
 * Times are handed in: of one clock, whichever. Not thread-safe: one thread owns a watch.
 */
#pragma once

#include "ap/ap.h"

#define APMIG_WATCH_ASPECTS 8 /* of a queue, at most */

/* What one reading says of one queue. */
typedef struct {
    ApmigApqn queue;
    char *clauses[APMIG_WATCH_ASPECTS]; /* by aspect; NULL: not known */
} ApmigQueueFacts;

/* Returns: (transfer full): what one reading says: a table of ApmigQueueFacts, of no queue yet. */
GHashTable *apmig_facts_new(void);
/* Returns: (transfer none): those of a queue, all unknown when it is new there. */
ApmigQueueFacts *apmig_facts_of_queue(GHashTable *facts, guint adapter, guint domain);

typedef struct {
    const char *subject;   /* how the sentence begins: "The AP configuration changes" */
    const char *separator; /* between what it names */
    /* What counts for the clause of a queue that was in no reading before; NULL: nothing is known. */
    const char *initial[APMIG_WATCH_ASPECTS];
    gboolean is_complete; /* of a queue that a reading lacks, @initial is said by it */
    /* Aspects before this one, a bit each: when one of them has changed, this one has changed with it. */
    guint explained_by[APMIG_WATCH_ASPECTS];
    /* Returns: whether @is is news to somebody who knows @was; (nullable): when they are not equal. */
    gboolean (*differs)(guint aspect, const char *was, const char *is);
    /* Adds clauses to @places. @was, @is: by aspect; both NULL where there is nothing to tell */
    void (*describe)(const ApmigApqn *queue, char *const *was, char *const *is, GPtrArray *places);
} ApmigWatchKind;

/* What was found, all of one reading. */
typedef struct {
    ApmigScope *queues; /* that have changed */
    char *message;      /* a sentence that says for what reason they are told of, and names the first few */
} ApmigWatchChanges;

/* @changes: (nullable) */
void apmig_watch_changes_free(ApmigWatchChanges *changes);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigWatchChanges, apmig_watch_changes_free)

typedef struct ApmigWatch ApmigWatch;

/* @kind: borrowed, to outlive it */
ApmigWatch *apmig_watch_new(const ApmigWatchKind *kind);
/* @watch: (nullable) */
void apmig_watch_free(ApmigWatch *watch);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigWatch, apmig_watch_free)

/**
 * apmig_watch_begin: there is a reason to be told of changes; or its queues are others now
 * @id: of the reason
 * @what: a clause that follows the subject: "under lock 0123abcd"
 * @expected: (nullable) (array zero-terminated=1): a change from or to a clause that ends in one of these is nobody's
 *   concern: UUIDs of mediated devices that may be given other queues
 *
 * Returns: whether it is new: then a reading is due, with which later ones are compared.
 */
gboolean apmig_watch_begin(ApmigWatch *watch, const char *id, const char *what, ApmigScope *scope,
                           const char *const *expected, gint64 at);

/* Returns: whether it had begun. What readings see that were asked for until @at still counts. */
gboolean apmig_watch_end(ApmigWatch *watch, const char *id, gint64 at);

/* What was read of these queues in this aspect is not compared with what comes. */
void apmig_watch_forget(ApmigWatch *watch, const ApmigScope *scope, guint aspect);

/**
 * apmig_watch_observe:
 * @facts: what was read
 * @asked_at: when the reading was asked for; not before that of the one observed last
 * @began_at: when it began, not before that and not before the one observed last had ended
 *
 * A change concerns whoever's reason had begun before the last reading that did not see it, and had not ended before the
 * first that did: what was changed just before a lock was held, or just after its end, is nobody's concern, and is taken
 * over. What concerns somebody needs another reading: it is told of when that agrees, forgotten when that and the next
 * one do not see it, and of several readings that never agree the fifth counts, or the next one that says otherwise. What
 * is not known is no change, and will be compared with what was known before.
 *
 * Returns: (transfer full) (nullable): NULL when nothing has changed that concerns anybody; every change is told once.
 */
ApmigWatchChanges *apmig_watch_observe(ApmigWatch *watch, GHashTable *facts, gint64 asked_at,
                                       gint64 began_at);

/* Returns: whether the reading observed last says something that another one has to agree with: it is due at once. */
gboolean apmig_watch_is_unsettled(const ApmigWatch *watch);
