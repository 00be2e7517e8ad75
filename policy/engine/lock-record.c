/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is written of a lock. */
#include "engine/private.h"

/* What happens under a lock is the engine's to say, whoever owns it. */
static void
carry_over(const Lock *lock, ApmigLockRecord *heir)
{
    const ApmigLockRecord *record = lock->pub.record;
    gboolean acknowledged = lock->acknowledged && lock->acknowledged == record->departed;

    heir->breaches = record->breaches;
    heir->attempts = record->attempts;
    heir->held_at = record->held_at;
    g_clear_pointer(&heir->guests, g_ptr_array_unref);
    g_clear_pointer(&heir->departed, g_ptr_array_unref);
    heir->guests = record->guests ? g_ptr_array_ref(record->guests) : NULL;
    heir->departed = record->departed && !acknowledged ? g_ptr_array_ref(record->departed) : NULL;
}

void
lock_install_heir(Lock *lock)
{
    ApmigLockRecord *heir = g_steal_pointer(&lock->heir);

    carry_over(lock, heir);
    apmig_lock_record_free(lock->pub.record);
    lock->pub.record = heir;
    g_clear_pointer(&lock->acknowledged, g_ptr_array_unref);
}

void
lock_write(ApmigEngine *engine, Lock *lock, Write write)
{
    ApmigAction *action =
        engine_act(engine, write == WRITE_REMOVE ? APMIG_ACTION_REMOVE_LOCK : APMIG_ACTION_PERSIST_LOCK);

    if (write == WRITE_ADOPT || write == WRITE_AMEND)
        carry_over(lock, lock->heir);
    action->op = ++engine->last_op;
    action->lock =
        apmig_lock_record_copy(write == WRITE_ADOPT || write == WRITE_AMEND ? lock->heir : lock->pub.record);
    if (!lock->op)
        lock->disk_since = engine->now;
    lock->op = action->op;
    if (write == WRITE_CREATE)
        lock->create_op = action->op;
    lock->write = write;
    lock->update_due = FALSE;
}

/* A write under way is not overtaken, for somebody waits for its answer; but it has a copy of the record from before. */
void
lock_update(ApmigEngine *engine, Lock *lock)
{
    if (lock->pub.record->origin == APMIG_LOCK_RECOVERED || lock->ending)
        return;
    if (lock->op)
        lock->update_due = TRUE;
    else
        lock_write(engine, lock, WRITE_UPDATE);
}
