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

#include "engine/action.h"
#include "stamp/arrival-check.h"

typedef struct ApmigEngine ApmigEngine;

/* How long anybody waits for what he asked for to be on the disk, where he gave no deadline. */
#define APMIG_DISK_LIMIT_USEC (20 * (gint64)G_USEC_PER_SEC)

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

/* Whether it knows what was on disk. Until then there may be locks that it does not know. */
gboolean apmig_engine_is_loaded(const ApmigEngine *engine);

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

/**
 * apmig_engine_list_covered:
 *
 * Returns: (transfer full) (nullable) (element-type utf8): the names of the active guests that are affected, as far as is
 * known, and have queues of @lock, in alphabetical order; %NULL: libvirt has not listed its guests.
 */
GPtrArray *apmig_engine_list_covered(const ApmigEngine *engine, const ApmigLock *lock);

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

/* Returns: (transfer none): a clause on why the hypervisor is not reached, or does not list all guests; "": nothing is
 * known to be in the way. */
const char *apmig_engine_view_trouble(const ApmigEngine *engine);
