/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "engine/private.h"

ApmigEngine *
apmig_engine_new(const ApmigPolicy *policy, const char *run_id)
{
    ApmigEngine *engine = g_new0(ApmigEngine, 1);

    engine->policy = apmig_policy_copy(policy);
    engine->run_id = g_strdup(run_id);
    engine->locks = g_ptr_array_new_with_free_func((GDestroyNotify)lock_free);
    engine->ended_locks = g_ptr_array_new_with_free_func((GDestroyNotify)lock_free);
    engine->migrations = g_ptr_array_new_with_free_func((GDestroyNotify)migration_free);
    engine->ended_migrations = g_ptr_array_new_with_free_func((GDestroyNotify)migration_free);
    engine->pending = g_ptr_array_new_with_free_func((GDestroyNotify)pending_admission_free);
    engine->guests = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)guest_free);
    engine->gone = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)guest_free);
    engine->arrivals = engine_new_arrivals();
    engine->early_arrivals = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    engine->stamps = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    engine->stray_stamps = g_hash_table_new_full(NULL, NULL, NULL, stray_stamp_free);
    engine->lock_tellers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    engine->stamped_locks =
        g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)apmig_lock_record_free);
    engine->heard = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    engine->inquiries = engine_new_inquiries();
    engine->permits = g_ptr_array_new_with_free_func(permit_free);
    engine->plugged = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, plugged_free);
    engine->last_token = 1; /* 0 stands for no question */
    engine->view_trouble = g_strdup("not connected yet");
    engine->published_view = "disconnected";
    engine->published_trouble = g_strdup(engine->view_trouble);
    return engine;
}

void
apmig_engine_free(ApmigEngine *engine)
{
    if (!engine)
        return;
    g_ptr_array_unref(engine->locks);
    g_ptr_array_unref(engine->ended_locks);
    g_ptr_array_unref(engine->migrations);
    g_ptr_array_unref(engine->ended_migrations);
    g_ptr_array_unref(engine->pending);
    g_hash_table_unref(engine->guests);
    g_hash_table_unref(engine->gone);
    g_hash_table_unref(engine->arrivals);
    g_hash_table_unref(engine->early_arrivals);
    g_hash_table_unref(engine->stamps);
    g_hash_table_unref(engine->stray_stamps);
    g_hash_table_unref(engine->lock_tellers);
    g_hash_table_unref(engine->stamped_locks);
    g_ptr_array_unref(engine->inquiries);
    g_ptr_array_unref(engine->permits);
    g_hash_table_unref(engine->plugged);
    g_free(engine->view_trouble);
    g_free(engine->published_trouble);
    g_free(engine->looked_uuid);
    g_free(engine->step_trouble);
    g_free(engine->late);
    g_hash_table_unref(engine->heard);
    g_free(engine->run_id);
    apmig_policy_free(engine->policy);
    g_free(engine);
}

gboolean
apmig_engine_is_loaded(const ApmigEngine *engine)
{
    return engine->loaded;
}

const ApmigPolicy *
apmig_engine_policy(const ApmigEngine *engine)
{
    return engine->policy;
}

const ApmigLock *
apmig_engine_lookup_lock(const ApmigEngine *engine, const char *id)
{
    Lock *lock = engine_find_lock(engine, id);

    if (lock)
        return &lock->pub;
    for (guint i = 0; i < engine->ended_locks->len; i++) {
        lock = g_ptr_array_index(engine->ended_locks, i);
        if (g_str_equal(lock->pub.record->id, id))
            return &lock->pub;
    }
    return NULL;
}

static const ApmigMigration *
find_by_id(const GPtrArray *migrations, const char *id)
{
    for (guint i = 0; i < migrations->len; i++) {
        const Migration *migration = g_ptr_array_index(migrations, i);

        if (g_str_equal(migration->pub.id, id))
            return &migration->pub;
    }
    return NULL;
}

const ApmigMigration *
apmig_engine_lookup_migration(const ApmigEngine *engine, const char *id)
{
    const ApmigMigration *migration = find_by_id(engine->migrations, id);

    return migration ? migration : find_by_id(engine->ended_migrations, id);
}

/* The public part of a Lock or Migration is its first member, so the pointers can be handed out as they are. */
G_STATIC_ASSERT(G_STRUCT_OFFSET(Lock, pub) == 0);
G_STATIC_ASSERT(G_STRUCT_OFFSET(Migration, pub) == 0);

static GPtrArray *
copy_pointers(const GPtrArray *array)
{
    GPtrArray *copy = g_ptr_array_sized_new(array->len);

    for (guint i = 0; i < array->len; i++)
        g_ptr_array_add(copy, g_ptr_array_index(array, i));
    return copy;
}

GPtrArray *
apmig_engine_list_locks(const ApmigEngine *engine)
{
    return copy_pointers(engine->locks);
}

GPtrArray *
apmig_engine_list_migrations(const ApmigEngine *engine)
{
    return copy_pointers(engine->migrations);
}
