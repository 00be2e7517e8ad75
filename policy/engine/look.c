/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * While QEMU saves a device it answers nobody, so that libvirt tells the job of its guest when the save is over. Meanwhile
 * /proc/PID/fd shows the saving session: when an answer is late, the helper looks there. A session says that the guest's
 * memory leaves, to another host or into a file, and not which of them: that is said, and asked for, as after libvirt's own
 * event of it. Where libvirt has told that the guest was stopped for its switchover, and nothing since, it is a migration,
 * which is ended as any other: a save is never touched.
 */
#include "engine/private.h"

/* A look is a process of the helper's: at least so long until the next, and as long as the answer has been owed, for a
 * hypervisor may hang for hours. */
#define AGAIN_USEC (2 * (gint64)G_USEC_PER_SEC)
/* For how long libvirt's word counts that a guest was stopped for its switchover: one whose migration broke there stays
 * paused, and may be saved later. */
#define SWITCHOVER_USEC (60 * (gint64)G_USEC_PER_SEC)

/* Whether what its device does tells something of @guest that nothing else does, for as long as libvirt says nothing. */
static gboolean
guest_is_worth_a_look(const ApmigEngine *engine, const Guest *guest)
{
    return guest->owed_since && !guest->stopped && guest->affected == APMIG_AFFECTED_YES &&
           guest->devices[0] && engine_overlapping_lock(engine, guest->scope) &&
           !engine_guest_migrates(engine, guest->uuid);
}

/* Returns: boot time; a look at it before this answer was owed says nothing of this one. */
static gint64
look_due_at(const Guest *guest)
{
    if (guest->looked_at < guest->owed_since + ANSWER_LATE_USEC)
        return guest->owed_since + ANSWER_LATE_USEC;
    return guest->looked_at + MAX(AGAIN_USEC, guest->looked_at - guest->owed_since);
}

/* Returns: (nullable): the one whose look is due first. @ret_due: (out): boot time at which that is, or at which more may be known;
 * G_MAXINT64: never */
static Guest *
find_first(const ApmigEngine *engine, gint64 *ret_due)
{
    GHashTableIter iter;
    Guest *guest, *first = NULL;

    *ret_due = G_MAXINT64;
    g_hash_table_iter_init(&iter, engine->guests);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&guest)) {
        gboolean is_worth = guest_is_worth_a_look(engine, guest);
        gint64 due = is_worth ? look_due_at(guest) : engine->now + ANSWER_LATE_USEC;

        if (!guest->owed_since || due >= *ret_due)
            continue;
        *ret_due = due;
        first = is_worth ? guest : NULL;
    }
    return first;
}

static void
look_at(ApmigEngine *engine, const Guest *guest)
{
    ApmigAction *action = engine_act(engine, APMIG_ACTION_LOOK_AT_GUEST);

    action->op = engine->look_op = ++engine->last_op;
    action->look.uuid = g_strdup(guest->uuid);
    action->look.guest = g_strdup(guest->name);
    action->look.device = g_strdup(guest->devices[0]);
    engine->looked_after = guest->answer_token;
    g_free(engine->looked_uuid);
    engine->looked_uuid = g_strdup(guest->uuid);
}

void
engine_settle_looks(ApmigEngine *engine)
{
    Guest *guest;

    if (engine->look_op || !engine->connected || engine->locks->len == 0 || engine->now < engine->look_at)
        return;
    guest = find_first(engine, &engine->look_at);
    if (guest && engine->now >= engine->look_at)
        look_at(engine, guest);
}

gint64
engine_looks_next_deadline(const ApmigEngine *engine)
{
    return engine->look_op || !engine->connected || engine->locks->len == 0 ? G_MAXINT64 : engine->look_at;
}

/* --- what was seen ------------------------------------------------------------------------------- */

static gboolean
guest_is_in_its_switchover(const ApmigEngine *engine, const Guest *guest)
{
    return guest->suspended && guest->answer_token <= guest->suspended_token &&
           engine->now <= guest->suspended_at + SWITCHOVER_USEC;
}

static void
note_saving(ApmigEngine *engine, Guest *guest)
{
    ApmigLogEntry *entry;

    guest_note_sending(engine, guest);
    if (guest->saving || !guest->sending)
        return;
    guest->saving = TRUE;
    entry = engine_log(engine, APMIG_LOG_VIEW_LATE, LOG_WARNING, NULL, NULL,
                       "the device of guest %s is being saved, for another host or into a file, and libvirt "
                       "does not tell its job meanwhile: nothing is done to it before libvirt does",
                       guest->name);
    entry_set_guest(entry, guest->uuid, guest->name);
    entry_add_locks(entry, engine, guest->scope);
}

/* An answer that has come meanwhile is newer than what was seen. */
void
engine_looked_at(ApmigEngine *engine, const ApmigEvent *event)
{
    Guest *guest = engine->looked_uuid ? g_hash_table_lookup(engine->guests, engine->looked_uuid) : NULL;

    if (!engine->look_op || event->looked_at.op != engine->look_op)
        return;
    engine->look_op = 0;
    engine->look_at = engine->now;
    if (!guest)
        return;
    guest->looked_at = engine->now;
    if (!event->looked_at.saving || guest->answer_token != engine->looked_after ||
        !guest_is_worth_a_look(engine, guest))
        return;
    if (guest_is_in_its_switchover(engine, guest))
        engine_migrations_guest_switches(engine, guest);
    else
        note_saving(engine, guest);
}
