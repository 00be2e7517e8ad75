/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Migrations that begin under a lock. Each is said at its first sight. It is counted as a breach as soon as it is known that
 * memory may have left, and as an attempt when it has ended and is known to have sent none; what is not known is a breach.
 */
#include "engine/private.h"

#define ATTEMPTS_MAX      256                   /* guests of a lock whose attempts are told together */
#define SAY_ATTEMPTS_USEC (10 * G_USEC_PER_SEC) /* and how often, while they go on */

gboolean
lock_is_older(const Lock *lock, const Migration *migration)
{
    if (migration->pub.phase == APMIG_MIGRATION_ADMITTED)
        return FALSE;
    return lock->was_held || migration->began_after > lock->request_token;
}

gboolean
lock_is_breached_by(const Lock *lock, const Migration *migration)
{
    /* What comes in can be read only when it has come. */
    return !migration->pub.permitted && (migration->pub.outgoing || migration->pub.scope_known) &&
           lock_is_older(lock, migration);
}

/* --- breaches ------------------------------------------------------------------------------------ */

static BreachState
breach_state(const Lock *lock, const Migration *migration)
{
    return (BreachState)GPOINTER_TO_INT(g_hash_table_lookup(lock->breached_by, migration->pub.id));
}

static void
set_breach_state(Lock *lock, const Migration *migration, BreachState state)
{
    g_hash_table_replace(lock->breached_by, g_strdup(migration->pub.id), GINT_TO_POINTER(state));
}

static void
count(ApmigEngine *engine, Lock *lock)
{
    lock->pub.record->breaches++;
    lock->dirty = TRUE;
    lock_update(engine, lock);
}

void
lock_note_breach(ApmigEngine *engine, Lock *lock, const Migration *migration)
{
    BreachState state = breach_state(lock, migration);

    if (!state)
        engine_log(
            engine, APMIG_LOG_LOCK_BREACHED, LOG_ALERT, lock, migration,
            "migration %s of guest %s is in progress under lock %s: do not change keys until it is over",
            apmig_migration_direction(&migration->pub), migration->pub.guest, lock->pub.record->id);
    if (state != BREACH_COUNTED &&
        (!migration->pub.outgoing || migration->memory_sent || migration->pub.postcopy)) {
        set_breach_state(lock, migration, BREACH_COUNTED);
        count(engine, lock);
    } else if (!state) {
        set_breach_state(lock, migration, BREACH_SAID);
    }
}

/* --- attempts ------------------------------------------------------------------------------------ */

/* Of one guest under one lock. */
typedef struct {
    guint n;
    gint64 first_at;
    gint64 said_at;
} Attempts;

void
attempts_free(gpointer data)
{
    g_free(data);
}

/* Returns: (nullable): NULL: it is too early to say so again. */
static const Attempts *
note_attempt(ApmigEngine *engine, Lock *lock, const char *uuid)
{
    Attempts *attempts = g_hash_table_lookup(lock->attempts, uuid);

    if (!attempts && g_hash_table_size(lock->attempts) >= ATTEMPTS_MAX)
        g_hash_table_remove_all(lock->attempts);
    if (!attempts) {
        attempts = g_new0(Attempts, 1);
        attempts->first_at = engine->now;
        g_hash_table_insert(lock->attempts, g_strdup(uuid), attempts);
    }
    lock->pub.record->attempts++;
    lock->dirty = TRUE;
    attempts->n++;
    if (attempts->n > 1 && engine->now < attempts->said_at + SAY_ATTEMPTS_USEC)
        return NULL;
    attempts->said_at = engine->now;
    return attempts;
}

static void
log_attempts(ApmigEngine *engine, const Lock *lock, const Migration *migration, const char *uuid,
             const char *name, const Attempts *attempts, const char *what)
{
    ApmigLogEntry *entry;

    if (attempts->n == 1)
        entry = engine_log(engine, APMIG_LOG_LOCK_ATTEMPTED, LOG_WARNING, lock, migration,
                           "guest %s %s under lock %s", name, what, lock->pub.record->id);
    else
        entry = engine_log(engine, APMIG_LOG_LOCK_ATTEMPTED, LOG_WARNING, lock, migration,
                           "guest %s %s under lock %s, %u times in %d s", name, what, lock->pub.record->id,
                           attempts->n, (int)((engine->now - attempts->first_at) / G_USEC_PER_SEC));
    entry_set_guest(entry, uuid, name);
}

static void
count_attempt(ApmigEngine *engine, Lock *lock, const Migration *migration)
{
    const Attempts *attempts = note_attempt(engine, lock, migration->pub.uuid);

    if (attempts)
        log_attempts(engine, lock, migration, migration->pub.uuid, migration->pub.guest, attempts,
                     "has tried to leave, and no memory was sent,");
    lock_update(engine, lock);
}

void
lock_count_refusal(ApmigEngine *engine, Lock *lock, const char *uuid, const char *name, const char *from)
{
    const Attempts *attempts = note_attempt(engine, lock, uuid);
    g_autofree char *what = from ? g_strdup_printf("from %s was refused", from) : g_strdup("was refused");

    if (attempts && attempts->n > 1)
        log_attempts(engine, lock, NULL, uuid, name, attempts, what);
}

/* --- the end ------------------------------------------------------------------------------------- */

/* Whether it is known that the guest is here and its memory, too. */
static gboolean
nothing_left(const ApmigEngine *engine, const Migration *migration, const char *result)
{
    return migration->pub.outgoing && !migration->memory_sent && !migration->pub.postcopy && !engine->late &&
           engine->connected && (g_str_equal(result, "aborted") || g_str_equal(result, "failed")) &&
           engine_guest_is_active(engine, migration->pub.uuid);
}

void
engine_judge_migration(ApmigEngine *engine, const Migration *migration, const char *result)
{
    for (guint i = 0; i < engine->locks->len; i++) {
        Lock *lock = g_ptr_array_index(engine->locks, i);
        BreachState state = breach_state(lock, migration);

        if (!lock->ending && state != BREACH_COUNTED && !g_str_equal(result, "unaffected") &&
            lock_is_blocked_by(lock, migration) && lock_is_breached_by(lock, migration)) {
            if (nothing_left(engine, migration, result))
                count_attempt(engine, lock, migration);
            else {
                if (!state)
                    engine_log(
                        engine, APMIG_LOG_LOCK_BREACHED, LOG_ALERT, lock, migration,
                        "guest %s has migrated %s under lock %s, and nothing showed it while it did: %s",
                        migration->pub.guest, apmig_migration_direction(&migration->pub),
                        lock->pub.record->id, result);
                count(engine, lock);
            }
        }
        g_hash_table_remove(lock->breached_by, migration->pub.id);
    }
}

void
engine_judge_arrival(ApmigEngine *engine, Guest *guest)
{
    for (guint i = 0; i < engine->locks->len; i++) {
        Lock *lock = g_ptr_array_index(engine->locks, i);

        if (!lock->was_held || lock->ending || lock->held_token >= guest->came_token ||
            guest->affected != APMIG_AFFECTED_YES ||
            !apmig_scope_overlaps(lock->pub.record->scope, guest->scope))
            continue;
        entry_set_guest(
            engine_log(engine, APMIG_LOG_LOCK_BREACHED, LOG_ALERT, lock, NULL,
                       "guest %s has come in under lock %s, and the hook was not asked: see apmigctl doctor",
                       guest->name, lock->pub.record->id),
            guest->uuid, guest->name);
        count(engine, lock);
    }
    guest->came_token = 0;
}
