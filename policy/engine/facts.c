/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finders and predicates: what is known, and changes nothing. */
#include "engine/private.h"

#define SCOPE_SHOWN 200 /* bytes of a scope in a sentence */

Lock *
engine_find_lock(const ApmigEngine *engine, const char *id)
{
    for (guint i = 0; i < engine->locks->len; i++) {
        Lock *lock = g_ptr_array_index(engine->locks, i);

        if (g_str_equal(lock->pub.record->id, id))
            return lock;
    }
    return NULL;
}

Lock *
engine_overlapping_lock(const ApmigEngine *engine, const ApmigScope *scope)
{
    for (guint i = 0; i < engine->locks->len; i++) {
        Lock *lock = g_ptr_array_index(engine->locks, i);

        if (apmig_scope_overlaps(lock->pub.record->scope, scope))
            return lock;
    }
    return NULL;
}

gboolean
lock_is_awaited(const Lock *lock)
{
    return lock->taker || lock->again->len > 0;
}

Lock *
engine_find_lock_written(const ApmigEngine *engine, guint64 op)
{
    for (guint i = 0; i < engine->locks->len; i++) {
        Lock *lock = g_ptr_array_index(engine->locks, i);

        if (lock->op == op)
            return lock;
    }
    return NULL;
}

gboolean
lock_is_blocked_by(const Lock *lock, const Migration *migration)
{
    return apmig_scope_overlaps(lock->pub.record->scope, migration->pub.scope);
}

gboolean
lock_waits_for_reading(const Lock *lock)
{
    return !lock->ending &&
           (lock->standing == APMIG_LOCK_DRAINING || lock->standing == APMIG_LOCK_PERMITTED ||
            lock->standing == APMIG_LOCK_UNPROVEN || lock->standing == APMIG_LOCK_BREACHED || lock->suitor);
}

ApmigToken
lock_awaited_token(const Lock *lock)
{
    return lock->suitor ? MAX(lock->proof_token, lock->adopt_token) : lock->proof_token;
}

void
lock_set_standing(Lock *lock, ApmigLockState standing)
{
    lock->standing = standing;
    if (!lock->keys_op && !lock->ending)
        lock->pub.state = standing;
    lock->dirty = TRUE;
}

char *
lock_describe(const Lock *lock)
{
    const ApmigLockRecord *record = lock->pub.record;
    g_autoptr(GDateTime) since = g_date_time_new_from_unix_utc(record->requested_at / G_USEC_PER_SEC);
    g_autofree char *since_text = since ? g_date_time_format(since, "%Y-%m-%d %H:%M:%S UTC") : g_strdup("?");

    return g_strdup_printf(
        "lock %s (%s, scope %.*s) of %s since %s: \"%s\"", record->id, apmig_lock_state_to_string(&lock->pub),
        SCOPE_SHOWN, apmig_scope_to_string(record->scope), record->owner_name, since_text, record->reason);
}

Migration *
engine_find_migration(const ApmigEngine *engine, const char *uuid, gboolean outgoing)
{
    for (guint i = 0; i < engine->migrations->len; i++) {
        Migration *migration = g_ptr_array_index(engine->migrations, i);

        if (!migration->pub.outgoing == !outgoing && g_str_equal(migration->pub.uuid, uuid))
            return migration;
    }
    return NULL;
}

gboolean
engine_guest_migrates(const ApmigEngine *engine, const char *uuid)
{
    return engine_find_migration(engine, uuid, TRUE) || engine_find_migration(engine, uuid, FALSE);
}

gboolean
migration_was_asked_to_end(const Migration *migration)
{
    for (guint i = 0; i < migration->pub.steps->len; i++) {
        const ApmigStepRecord *record = g_ptr_array_index(migration->pub.steps, i);

        if (record->outcome == APMIG_STEP_REQUESTED || record->outcome == APMIG_STEP_LATE)
            return TRUE;
    }
    return FALSE;
}

gboolean
migration_is_being_ended(const Migration *migration)
{
    gboolean under_way = FALSE;

    for (guint step = 0; step < APMIG_N_STEPS; step++)
        under_way |= migration->steps[step].op != 0;
    return under_way || migration_was_asked_to_end(migration);
}

gboolean
admission_is_pending(const ApmigEngine *engine, const char *uuid)
{
    for (guint i = 0; i < engine->pending->len; i++) {
        const PendingAdmission *pending = g_ptr_array_index(engine->pending, i);

        if (g_str_equal(pending->uuid, uuid))
            return TRUE;
    }
    return FALSE;
}

static guint
count_admissions(const ApmigEngine *engine)
{
    guint count = engine->pending->len;

    for (guint i = 0; i < engine->migrations->len; i++)
        count += ((Migration *)g_ptr_array_index(engine->migrations, i))->admitted_until != 0;
    return count;
}

gboolean
engine_admissions_are_full(const ApmigEngine *engine)
{
    return count_admissions(engine) >= engine->policy->max_admissions;
}

char *
engine_describe_denial(const Lock *lock)
{
    g_autofree char *description = lock_describe(lock);

    return g_strdup_printf("%s; when the keys are in step it is released with: apmigctl unlock %s",
                           description, lock->pub.record->id);
}

Guest *
engine_find_guest_by_name(const ApmigEngine *engine, const char *name)
{
    GHashTableIter iter;
    Guest *guest;

    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        if (g_str_equal(guest->name, name))
            return guest;
    return NULL;
}

const Guest *
engine_find_guest(const ApmigEngine *engine, const char *uuid, const char *name)
{
    return *uuid ? g_hash_table_lookup(engine->guests, uuid) : engine_find_guest_by_name(engine, name);
}

gboolean
engine_guest_is_active(const ApmigEngine *engine, const char *uuid)
{
    const Guest *guest = g_hash_table_lookup(engine->guests, uuid);

    return guest && !guest->stopped;
}

void
guest_forget_facts(Guest *guest, ApmigToken token)
{
    g_clear_pointer(&guest->scope, apmig_scope_unref);
    g_clear_pointer(&guest->devices, g_strfreev);
    guest->affected = APMIG_AFFECTED_UNKNOWN;
    guest->scope = apmig_scope_new_all();
    guest->scope_varies = FALSE;
    guest->devices = g_new0(char *, 1);
    guest->facts_token = token;
}

/* Whether its job is known to be another than a migration: what was told before the last sign of a job may be over. */
static gboolean
is_known_to_save(const Guest *guest)
{
    return guest->job == APMIG_JOB_OTHER && guest->answer_token > guest->hint_token;
}

ApmigScope *
guest_leaving_scope(const Guest *guest)
{
    ApmigScope *known = guest->affected == APMIG_AFFECTED_YES ? guest->scope : NULL;

    if (known && guest->sent_scope)
        return apmig_scope_union(known, guest->sent_scope);
    known = known ? known : guest->sent_scope;
    return known ? apmig_scope_ref(known) : NULL;
}

void
guest_note_sending(const ApmigEngine *engine, Guest *guest)
{
    ApmigScope *scope;

    guest->saving &= guest->sending;
    guest->sent = TRUE;
    guest->sending |= !is_known_to_save(guest);
    guest->sending_token = engine->last_token;
    scope = guest_leaving_scope(guest);
    g_clear_pointer(&guest->sent_scope, apmig_scope_unref);
    guest->sent_scope = scope;
}

void
guest_forget_sending(Guest *guest)
{
    guest->sending = guest->sent = FALSE;
    g_clear_pointer(&guest->sent_scope, apmig_scope_unref);
}

/* Guests that a lock covers are read for that lock. */
gboolean
engine_is_inquired(const ApmigEngine *engine, const Guest *guest)
{
    for (guint i = 0; i < engine->inquiries->len; i++) {
        const Inquiry *inquiry = g_ptr_array_index(engine->inquiries, i);

        if (inquiry->scope && (guest->scope_varies || apmig_scope_overlaps(inquiry->scope, guest->scope)))
            return TRUE;
    }
    return FALSE;
}
