/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * No silence over a gap. The affected guests that are here under a lock that was held are kept in its record; one that is
 * missing afterwards, and of which nobody saw how it went, may have moved: it is named until somebody says that he knows.
 */
#include "engine/private.h"

/* libvirt's event of how a guest stopped and a list without it travel on different paths: how long the event may come
 * later. */
#define STOP_EVENT_GRACE_USEC (200 * 1000)

/* --- who is here --------------------------------------------------------------------------------- */

static gboolean
overlaps(const Lock *lock, const Guest *guest)
{
    return apmig_scope_overlaps(lock->pub.record->scope, guest->scope);
}

/* Whether the guest of the record stays in it; also when it is not there, which is looked into. */
static gboolean
is_kept(const ApmigEngine *engine, const Lock *lock, const ApmigLockGuest *kept)
{
    const Guest *guest = g_hash_table_lookup(engine->guests, kept->uuid);

    return !guest || guest->affected == APMIG_AFFECTED_UNKNOWN || overlaps(lock, guest);
}

void
lock_refresh_guests(ApmigEngine *engine, Lock *lock)
{
    ApmigLockRecord *record = lock->pub.record;
    g_autoptr(GHashTable) kept = g_hash_table_new(g_str_hash, g_str_equal);
    GPtrArray *now = apmig_lock_guests_new();
    gboolean changed = FALSE;
    GHashTableIter iter;
    Guest *guest;

    for (guint i = 0; record->guests && i < record->guests->len; i++) {
        const ApmigLockGuest *old = g_ptr_array_index(record->guests, i);

        changed |= !is_kept(engine, lock, old);
        if (is_kept(engine, lock, old) && apmig_lock_guests_append(now, old->uuid, old->name))
            g_hash_table_add(kept, old->uuid);
    }
    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest))
        if (guest->affected == APMIG_AFFECTED_YES && !guest->stopped && guest->job != APMIG_JOB_INCOMING &&
            overlaps(lock, guest) && !g_hash_table_contains(kept, guest->uuid))
            changed |= apmig_lock_guests_append(now, guest->uuid, guest->name);
    if (changed) {
        g_clear_pointer(&record->guests, g_ptr_array_unref);
        record->guests = g_steal_pointer(&now);
    }
    g_clear_pointer(&now, g_ptr_array_unref);
    if (changed && lock->was_held)
        lock_update(engine, lock);
}

/* --- who went ------------------------------------------------------------------------------------ */

static gboolean
forget_guest(Lock *lock, const char *uuid)
{
    ApmigLockRecord *record = lock->pub.record;
    GPtrArray *others;

    g_hash_table_remove(lock->missing, uuid);
    if (!apmig_lock_guests_find(record->guests, uuid))
        return FALSE;
    others = apmig_lock_guests_copy_without(record->guests, uuid);
    g_ptr_array_unref(record->guests);
    record->guests = others;
    return TRUE;
}

void
engine_forget_departing(ApmigEngine *engine, const char *uuid)
{
    for (guint i = 0; i < engine->locks->len; i++) {
        Lock *lock = g_ptr_array_index(engine->locks, i);

        if (forget_guest(lock, uuid) && lock->was_held && !lock->ending)
            lock_update(engine, lock);
    }
}

static void
note_departed(ApmigEngine *engine, Lock *lock, const char *uuid, const char *name, const char *how)
{
    GPtrArray *departed = apmig_lock_guests_copy_without(lock->pub.record->departed, uuid);

    apmig_lock_guests_append(departed, uuid, name);
    g_clear_pointer(&lock->pub.record->departed, g_ptr_array_unref);
    lock->pub.record->departed = departed;
    lock->dirty = TRUE;
    entry_set_guest(
        engine_log(engine, APMIG_LOG_GUEST_DEPARTED, LOG_ALERT, lock, NULL,
                   "guest %s (%s), which was here under lock %s, is not here any more: %s; it may have "
                   "migrated: look where it runs, and say that you know with: apmigctl annotate %s TEXT",
                   name, uuid, lock->pub.record->id, how, lock->pub.record->id),
        uuid, name);
    forget_guest(lock, uuid);
    lock_update(engine, lock);
}

void
engine_note_departed(ApmigEngine *engine, const char *uuid, const char *name, const char *how)
{
    for (guint i = 0; i < engine->locks->len; i++) {
        Lock *lock = g_ptr_array_index(engine->locks, i);
        const ApmigLockGuest *known = apmig_lock_guests_find(lock->pub.record->guests, uuid);
        g_autofree char *called = g_strdup(name ? name : known ? known->name : uuid);

        if (lock->was_held && !lock->ending)
            note_departed(engine, lock, uuid, called, how);
    }
}

/* --- who is missing ------------------------------------------------------------------------------ */

static void
look_for_missing(ApmigEngine *engine, Lock *lock)
{
    const GPtrArray *guests = lock->pub.record->guests;

    for (guint i = 0; guests && i < guests->len; i++) {
        const ApmigLockGuest *guest = g_ptr_array_index(guests, i);

        if (g_hash_table_contains(engine->guests, guest->uuid))
            g_hash_table_remove(lock->missing, guest->uuid);
        else if (!g_hash_table_contains(lock->missing, guest->uuid)) {
            gint64 *since = g_new(gint64, 1);

            *since = engine->now;
            g_hash_table_insert(lock->missing, g_strdup(guest->uuid), since);
        }
    }
}

/* Returns: (transfer full) (nullable): a guest that has been missing for long enough, and since when. */
static char *
find_departed(const ApmigEngine *engine, const Lock *lock, gint64 *ret_since)
{
    GHashTableIter iter;
    const char *uuid;
    const gint64 *since;

    g_hash_table_iter_init(&iter, lock->missing);
    while (g_hash_table_iter_next(&iter, (gpointer *)&uuid, (gpointer *)&since))
        if (engine->now >= *since + STOP_EVENT_GRACE_USEC) {
            *ret_since = *since;
            return g_strdup(uuid);
        }
    return NULL;
}

void
engine_settle_departed(ApmigEngine *engine, Lock *lock)
{
    char *uuid;
    gint64 since;

    if (!lock->was_held || lock->ending || !engine->connected || !engine->list_token)
        return;
    if (engine->rosters_dirty) {
        lock_refresh_guests(engine, lock);
        look_for_missing(engine, lock);
    }
    while ((uuid = find_departed(engine, lock, &since))) {
        const ApmigLockGuest *guest = apmig_lock_guests_find(lock->pub.record->guests, uuid);
        g_autofree char *name = g_strdup(guest ? guest->name : uuid);

        if (guest && since > engine->view_started_at)
            engine_guest_went_unseen(engine, name);
        if (guest)
            note_departed(engine, lock, uuid, name, "nobody saw how it went");
        g_hash_table_remove(lock->missing, uuid);
        g_free(uuid);
    }
}

gint64
lock_next_departure(const ApmigEngine *engine, const Lock *lock)
{
    gint64 next = G_MAXINT64;
    GHashTableIter iter;
    const gint64 *since;

    if (!lock->was_held || lock->ending || !engine->connected || !engine->list_token)
        return next;
    g_hash_table_iter_init(&iter, lock->missing);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&since))
        engine_earlier(&next, *since + STOP_EVENT_GRACE_USEC);
    return next;
}
