/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is written of a lock. */
#include "engine/private.h"

void
lock_write(ApmigEngine *engine, Lock *lock, Write write)
{
    ApmigAction *action =
        engine_act(engine, write == WRITE_REMOVE ? APMIG_ACTION_REMOVE_LOCK : APMIG_ACTION_PERSIST_LOCK);

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
    if (lock->pub.record->origin == APMIG_LOCK_RECOVERED)
        return;
    if (lock->op)
        lock->update_due = TRUE;
    else
        lock_write(engine, lock, WRITE_UPDATE);
}
