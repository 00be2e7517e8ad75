/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is durable. Locks are written in order, one at a time, and so is what lies in the runtime folder; the answer comes a
 * little later, or after minutes, and a crash may fall in between.
 */
#include "simulation.h"

typedef struct {
    ApmigActionType type;
    guint64 op;
    ApmigLockRecord *record;
    ApmigAdmission *admission;
    ApmigPermit *permit;
    guint incarnation;
    gboolean failed;
} Write;

static void
write_free(Write *write)
{
    apmig_lock_record_free(write->record);
    apmig_admission_free(write->admission);
    apmig_permit_free(write->permit);
    g_free(write);
}

/* --- how it is ----------------------------------------------------------------------------------- */

static gboolean
is_busy(const Writer *writer)
{
    return writer->writes.length > 0 || writer->unanswered > 0;
}

gboolean
disk_is_busy(const Sim *sim)
{
    return is_busy(&sim->writers[WRITER_STATE]) || is_busy(&sim->writers[WRITER_RUNTIME]);
}

gboolean
disk_is_late(const Sim *sim, const Caller *caller)
{
    gboolean is_runtime = caller->kind == CALLER_PERMIT || caller->kind == CALLER_REVOKE;
    const Writer *writer = &sim->writers[is_runtime ? WRITER_RUNTIME : WRITER_STATE];
    gint64 limit = caller->kind == CALLER_TAKE && caller->timeout ? caller->timeout : APMIG_DISK_LIMIT_USEC;

    return is_busy(writer) &&
           (sim->now >= caller->opened_at + limit || sim->now >= writer->busy_since + APMIG_DISK_LIMIT_USEC);
}

void
disk_set_state(Sim *sim, DiskState state)
{
    if (state != sim->disk)
        sim_trace(sim, "the disk is %s",
                  state == DISK_GOOD   ? "good"
                  : state == DISK_FULL ? "full"
                                       : "read-only");
    sim->disk = state;
}

/* --- writing ------------------------------------------------------------------------------------- */

static Writer *
writer_of(Sim *sim, const Write *write)
{
    return &sim->writers[write->record ? WRITER_STATE : WRITER_RUNTIME];
}

static gboolean
is_removal(const Write *write)
{
    return write->type == APMIG_ACTION_REMOVE_LOCK || write->type == APMIG_ACTION_REMOVE_ADMISSION ||
           write->type == APMIG_ACTION_REMOVE_PERMIT;
}

/* Admissions and permits are in memory (tmpfs): a state folder that is full or read-only does not concern them, but that
 * one may be full, too. */
static gboolean
write_fails(Sim *sim, const Write *write)
{
    if (sim->disk == DISK_GOOD || (is_removal(write) && !write->record))
        return FALSE;
    if (!write->record)
        return dice_chance(&sim->dice, 500);
    return sim->disk == DISK_READONLY || !is_removal(write);
}

static void
lock_is_durable(Sim *sim, Lock *lock, const Write *write)
{
    const ApmigLockRecord *record = write->record;

    if (!lock->durable_at)
        lock->durable_at = lock->counts_from = sim->now;
    lock->held_at = record->held_at;
    if (record->held_at && !lock->hold_told)
        lock->hold_op = write->op;
    lock->on_busy = record->on_busy;
}

static void
apply(Sim *sim, Write *write)
{
    const char *id = write->record ? write->record->id : NULL;
    Lock *lock = id ? known_lock(sim, id) : NULL;

    switch (write->type) {
    case APMIG_ACTION_PERSIST_LOCK:
        g_hash_table_replace(sim->durable_locks, g_strdup(id), apmig_lock_record_copy(write->record));
        if (lock && !write->failed)
            lock_is_durable(sim, lock, write);
        break;
    case APMIG_ACTION_REMOVE_LOCK:
        g_hash_table_remove(sim->durable_locks, id);
        if (lock)
            lock->durable_at = 0;
        break;
    case APMIG_ACTION_PERSIST_ADMISSION:
        g_hash_table_replace(sim->durable_admissions, g_strdup(write->admission->uuid),
                             apmig_admission_copy(write->admission));
        break;
    case APMIG_ACTION_PERSIST_PERMIT:
        g_hash_table_replace(sim->durable_permits, g_strdup(write->permit->id),
                             apmig_permit_copy(write->permit));
        break;
    case APMIG_ACTION_REMOVE_PERMIT:
        g_hash_table_remove(sim->durable_permits, write->permit->id);
        break;
    default:
        g_hash_table_remove(sim->durable_admissions, write->admission->uuid);
        break;
    }
}

static void
carry_out(Sim *sim, Write *write)
{
    Lock *lock = write->record ? known_lock(sim, write->record->id) : NULL;

    write->failed = write_fails(sim, write);
    if (write->failed) {
        if (lock && is_removal(write))
            lock->removal_failed = TRUE;
        else if (lock) {
            lock->write_failed = TRUE;
            lock->hold_decided = lock->held_at != 0;
        }
    }
    /* A write that failed in its last step may be there all the same. */
    if (!write->failed || (!is_removal(write) && dice_chance(&sim->dice, 200)))
        apply(sim, write);
    sim_trace(sim, "disk: op %" G_GUINT64_FORMAT " %s", write->op, write->failed ? "failed" : "is durable");
}

static void
answer(Sim *sim, gpointer object, guint64 number)
{
    Write *write = object;
    ApmigEvent event = {0};

    if (write->incarnation != sim->incarnation)
        return;
    writer_of(sim, write)->unanswered--;
    sim->disk_idle_since = sim->now;
    sim->disk_faults += write->failed;
    if (write->failed && is_removal(write) && write->record)
        release_over(known_lock(sim, write->record->id));
    if (write->type == APMIG_ACTION_PERSIST_PERMIT && !write->permit->used_by && !write->failed)
        permits_created(sim, write->permit->id);
    event.type = write->permit                              ? APMIG_EVENT_PERMIT_WRITTEN
                 : write->type == APMIG_ACTION_PERSIST_LOCK ? APMIG_EVENT_LOCK_PERSISTED
                 : write->type == APMIG_ACTION_REMOVE_LOCK  ? APMIG_EVENT_LOCK_REMOVED
                                                            : APMIG_EVENT_ADMISSION_PERSISTED;
    event.persisted.op = write->op;
    event.persisted.error = write->failed ? "No space left on device" : NULL;
    daemon_deliver(sim, &event);
}

static void next_write(Sim *sim, gpointer object, guint64 incarnation);

static void
start_next(Sim *sim, Writer *writer)
{
    gint64 slowest = sim->calm ? 20 * MSEC : sim->profile.disk_slowest;

    if (writer->writes.length == 0)
        return;
    if (!sim->calm && sim->now >= writer->hangs_until && dice_chance(&sim->dice, sim->profile.disk_hangs)) {
        writer->hangs_until = sim->now + dice_spread(&sim->dice, 1 * SECOND, 300 * SECOND);
        sim_trace(sim, "the disk hangs");
    }
    sim_queue_for_daemon(sim, dice_spread(&sim->dice, 100, slowest), next_write, writer, sim->incarnation,
                         NULL);
}

static void
next_write(Sim *sim, gpointer object, guint64 incarnation)
{
    Writer *writer = object;
    Write *write;

    if (sim->incarnation != incarnation)
        return;
    if (!sim->calm && sim->now < writer->hangs_until) {
        sim_queue_for_daemon(sim, 500 * MSEC, next_write, writer, incarnation, NULL);
        return;
    }
    write = g_queue_pop_head(&writer->writes);
    carry_out(sim, write);
    if (write->type == APMIG_ACTION_REMOVE_ADMISSION || !write->op)
        write_free(write);
    else {
        writer->unanswered++;
        gint64 at = sim->now + dice_spread(&sim->dice, 20, 5 * MSEC);

        writer->last_answer_at = MAX(writer->last_answer_at, at);
        sim_queue_for_daemon(sim, writer->last_answer_at - sim->now, answer, write, 0,
                             (GDestroyNotify)write_free);
    }
    sim->disk_idle_since = sim->now;
    start_next(sim, writer);
    if (!sim->calm && dice_chance(&sim->dice, sim->profile.crash_on_write)) {
        if (writer->unanswered)
            sim_cover(sim, COVER_CRASH_UNANSWERED);
        daemon_crash(sim);
    }
}

gboolean
disk_has_admission(const Sim *sim, const char *uuid)
{
    const ApmigAdmission *record = g_hash_table_lookup(sim->durable_admissions, uuid);

    return record && !record->unaffected;
}

void
disk_write(Sim *sim, const ApmigAction *action)
{
    Write *write = g_new0(Write, 1);
    Writer *writer;

    write->type = action->type;
    write->op = action->op;
    if (action->type == APMIG_ACTION_PERSIST_LOCK || action->type == APMIG_ACTION_REMOVE_LOCK)
        write->record = apmig_lock_record_copy(action->lock);
    else if (action->type == APMIG_ACTION_PERSIST_ADMISSION || action->type == APMIG_ACTION_REMOVE_ADMISSION)
        write->admission = apmig_admission_copy(action->admission);
    else
        write->permit = apmig_permit_copy(action->permit);
    write->incarnation = sim->incarnation;
    writer = writer_of(sim, write);
    if (!is_busy(writer))
        writer->busy_since = sim->now;
    g_queue_push_tail(&writer->writes, write);
    if (writer->writes.length == 1)
        start_next(sim, writer);
}

void
disk_drop_writes(Sim *sim)
{
    for (guint i = 0; i < N_WRITERS; i++) {
        g_queue_clear_full(&sim->writers[i].writes, (GDestroyNotify)write_free);
        sim->writers[i].unanswered = 0;
    }
    sim->disk_idle_since = sim->now;
}
