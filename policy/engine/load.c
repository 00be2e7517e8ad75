/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an earlier run of apmigd left: locks, admissions and permits, as they were read from the disk. */
#include "engine/private.h"

static void
load_lock(ApmigEngine *engine, const ApmigLockRecord *record)
{
    Lock *lock = lock_new(engine, apmig_lock_record_copy(record));
    gboolean recovered = record->origin == APMIG_LOCK_RECOVERED;

    lock->durable = TRUE;
    lock->no_wait = TRUE;
    lock->was_held = recovered || record->held_at != 0;
    lock_set_standing(lock, lock->was_held ? APMIG_LOCK_UNPROVEN : APMIG_LOCK_DRAINING);
    lock_begin_round(engine, lock);
    lock_expect_end(engine, lock, engine->now + record->requested_at - engine->realtime);
    if (recovered)
        engine_log(engine, APMIG_LOG_LOCK_RECOVERED, LOG_ERR, lock, NULL,
                   "%s: affected guests are locked until it is released with: apmigctl unlock --force %s",
                   record->reason, record->id);
}

/* Whether an unaffected guest of that UUID may have come in since the start: then the admission is perhaps that of another
 * attempt. */
static gboolean
is_doubtful(const ApmigEngine *engine, const ApmigAdmission *admission)
{
    return g_hash_table_contains(engine->early_arrivals, admission->uuid) ||
           g_hash_table_size(engine->early_arrivals) >= EARLY_ARRIVALS_MAX;
}

static void
load_unaffected(ApmigEngine *engine, const ApmigAdmission *admission)
{
    const ApmigGuestSettings settings =
        apmig_policy_for_guest(engine->policy, admission->uuid, admission->name, NULL);

    engine_load_unaffected(engine, admission, settings.admission_usec);
}

/* Without devices its guest is waited for and left alone. */
static void
load_admission(ApmigEngine *engine, const ApmigAdmission *admission)
{
    Migration *migration;

    if (admission->unaffected) {
        load_unaffected(engine, admission);
        return;
    }
    migration =
        migration_new(engine, admission->uuid, admission->name, APMIG_MIGRATION_ADMITTED, admission->scope,
                      is_doubtful(engine, admission) ? NULL : (const char *const *)admission->devices);

    migration_promise(migration, (const char *const *)admission->devices);
    migration->grants = 1;
    migration->restored = TRUE; /* a QEMU that is here now may be that of another yes */
    migration->was_resting = TRUE;
    migration->granted_at = engine->now; /* its hook ended with the earlier run, at the latest */
    migration->admit_token = engine->last_token;
    migration->admitted_until = MIN(admission->admitted_at, engine->now) + migration->settings.admission_usec;
}

/* What uses it may still be under way; that comes in by an admission, or was seen without one. */
static void
load_user(ApmigEngine *engine, Permit *permit)
{
    const ApmigPermit *record = permit->pub;
    const char *name = *record->name ? record->name : record->used_by;
    Migration *migration = engine_find_migration(engine, record->used_by, record->outgoing);

    if (!migration) {
        migration =
            migration_new(engine, record->used_by, name,
                          record->outgoing ? APMIG_MIGRATION_OUTGOING : APMIG_MIGRATION_INCOMING, NULL, NULL);
        migration->incoming_seen = !record->outgoing;
    }
    migration->pub.permitted = TRUE;
}

/* A crash may have left one that was replaced. */
static void
load_open(ApmigEngine *engine, Permit *permit)
{
    Permit *rival = permit_find_rival(engine, permit->pub);

    if (rival && rival->pub->given_at <= permit->pub->given_at) {
        permit_end(engine, rival, "replaced");
    } else if (rival) {
        permit_end(engine, permit, "replaced");
        return;
    }
    permit_open(engine, permit);
}

static void
load_permit(ApmigEngine *engine, const ApmigPermit *record)
{
    Permit *permit = g_new0(Permit, 1);

    permit->pub = apmig_permit_copy(record);
    permit->durable = TRUE;
    g_ptr_array_add(engine->permits, permit);
    engine->permits_dirty = TRUE;
    if (record->used_by)
        load_user(engine, permit);
    else
        load_open(engine, permit);
}

/* Those in use first: an open one is not used by what has one already. */
static void
load_permits(ApmigEngine *engine, const GPtrArray *permits, gboolean used)
{
    for (guint i = 0; permits && i < permits->len; i++) {
        const ApmigPermit *record = g_ptr_array_index(permits, i);

        if (!record->used_by == !used)
            load_permit(engine, record);
    }
}

void
engine_load(ApmigEngine *engine, const ApmigEvent *event)
{
    g_return_if_fail(!engine->loaded);

    for (guint i = 0; i < event->store_loaded.locks->len; i++)
        load_lock(engine, g_ptr_array_index(event->store_loaded.locks, i));
    for (guint i = 0; i < event->store_loaded.admissions->len; i++)
        load_admission(engine, g_ptr_array_index(event->store_loaded.admissions, i));
    g_hash_table_remove_all(engine->early_arrivals);
    load_permits(engine, event->store_loaded.permits, TRUE);
    load_permits(engine, event->store_loaded.permits, FALSE);
    engine->loaded = TRUE;
    engine_read_guests(engine);
}
