/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is durable on a host. Each folder is written in order; the answer comes a little later, and a crash may fall in
 * between.
 */
#include "fleet.h"

typedef struct {
    Host *host;
    Writer *writer;
    ApmigActionType type;
    guint64 op;
    ApmigLockRecord *record;
    ApmigAdmission *admission;
    ApmigPermit *permit;
    guint incarnation;
} Write;

static void
write_free(gpointer data)
{
    Write *write = data;

    apmig_lock_record_free(write->record);
    apmig_admission_free(write->admission);
    apmig_permit_free(write->permit);
    g_free(write);
}

static void
apply(const Write *write)
{
    Host *host = write->host;

    switch (write->type) {
    case APMIG_ACTION_PERSIST_LOCK:
        g_hash_table_replace(host->locks, g_strdup(write->record->id), apmig_lock_record_copy(write->record));
        break;
    case APMIG_ACTION_REMOVE_LOCK:
        g_hash_table_remove(host->locks, write->record->id);
        break;
    case APMIG_ACTION_PERSIST_ADMISSION:
        g_hash_table_replace(host->admissions, g_strdup(write->admission->uuid),
                             apmig_admission_copy(write->admission));
        break;
    case APMIG_ACTION_REMOVE_ADMISSION:
        g_hash_table_remove(host->admissions, write->admission->uuid);
        break;
    case APMIG_ACTION_PERSIST_PERMIT:
        g_hash_table_replace(host->permits, g_strdup(write->permit->id), apmig_permit_copy(write->permit));
        break;
    default:
        g_hash_table_remove(host->permits, write->permit->id);
        break;
    }
}

static void
answer(Sim *sim, gpointer object, guint64 number)
{
    const Write *write = object;
    ApmigEvent event = {0};

    if (write->incarnation != write->host->incarnation || !write->op)
        return;
    event.type = write->permit                              ? APMIG_EVENT_PERMIT_WRITTEN
                 : write->type == APMIG_ACTION_PERSIST_LOCK ? APMIG_EVENT_LOCK_PERSISTED
                 : write->type == APMIG_ACTION_REMOVE_LOCK  ? APMIG_EVENT_LOCK_REMOVED
                                                            : APMIG_EVENT_ADMISSION_PERSISTED;
    event.persisted.op = write->op;
    host_tell(sim, write->host, &event);
}

static void next_write(Sim *sim, gpointer object, guint64 incarnation);

static void
start_next(Sim *sim, Host *host, Writer *writer)
{
    gint64 slowest = !sim->calm && dice_chance(&sim->dice, sim->profile.slow) ? 5 * SECOND : 20 * MSEC;

    if (writer->writes.length > 0)
        sim_later(sim, dice_spread(&sim->dice, 100, slowest), next_write, writer, host->incarnation, NULL);
}

static void
next_write(Sim *sim, gpointer object, guint64 incarnation)
{
    Writer *writer = object;
    Write *write = g_queue_peek_head(&writer->writes);
    Host *host;
    gint64 at = sim->now + dice_spread(&sim->dice, 20, 5 * MSEC);

    if (!write || write->incarnation != incarnation)
        return;
    g_queue_pop_head(&writer->writes);
    host = write->host;
    apply(write);
    writer->last_answer_at = MAX(writer->last_answer_at, at);
    /* Not removals of admissions, which nobody waits for. */
    if (write->type == APMIG_ACTION_REMOVE_ADMISSION)
        write->op = 0;
    sim_later(sim, writer->last_answer_at - sim->now, answer, write, 0, write_free);
    start_next(sim, host, writer);
}

void
disk_write(Sim *sim, Host *host, const ApmigAction *action)
{
    Write *write = g_new0(Write, 1);

    write->host = host;
    write->type = action->type;
    write->op = action->op;
    write->incarnation = host->incarnation;
    if (action->type == APMIG_ACTION_PERSIST_LOCK || action->type == APMIG_ACTION_REMOVE_LOCK)
        write->record = apmig_lock_record_copy(action->lock);
    else if (action->type == APMIG_ACTION_PERSIST_ADMISSION || action->type == APMIG_ACTION_REMOVE_ADMISSION)
        write->admission = apmig_admission_copy(action->admission);
    else
        write->permit = apmig_permit_copy(action->permit);
    write->writer = write->record ? &host->state : &host->runtime;
    g_queue_push_tail(&write->writer->writes, write);
    if (write->writer->writes.length == 1)
        start_next(sim, host, write->writer);
}

void
disk_drop_writes(Host *host)
{
    g_queue_clear_full(&host->state.writes, write_free);
    g_queue_clear_full(&host->runtime.writes, write_free);
}
