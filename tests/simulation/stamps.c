/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The truth about stamps: what lies in each guest's metadata, who wrote it, and which lock it names. And what the engine may
 * have written, and has to. With dice of their own, and in a part of the runs, so that what else a seed does stays the same.
 */
#include "simulation.h"

#include <string.h>

#define ALL_AFTER    (10 * SECOND) /* from a connection: then every guest is looked at */
#define HOLD_BACK    (30 * SECOND) /* while a lock waits */
#define AGAIN        (10 * SECOND) /* after a failure */
#define FAILURES_MAX 2
#define PATIENCE     (2 * SECOND) /* beyond all of these, for events that come late */

typedef struct {
    guint64 op;
    Guest *guest;
    ApmigStampForm form;
    GPtrArray *locks; /* of ApmigLockRecord */
    guint incarnation, connection;
    ApmigStamping result;
} Writing;

static void
writing_clear(gpointer data)
{
    g_ptr_array_unref(((Writing *)data)->locks);
}

static void
writing_unref(gpointer writing)
{
    g_rc_box_release_full(writing, writing_clear);
}

void
stamps_init(Sim *sim)
{
    sim->stamp_dice.state = sim->seed * G_GUINT64_CONSTANT(0xd1342543de82ef95) + 2;
    sim->has_stamps = dice_chance(&sim->stamp_dice, 350);
    sim->stamp_slow = dice_chance(&sim->stamp_dice, 400) ? 200 : 0;
    sim->stamp_fails = dice_chance(&sim->stamp_dice, 400) ? 200 : 0;
}

void
stamps_choose_policy(Sim *sim, ApmigPolicy *policy)
{
    if (!sim->has_stamps)
        return;
    policy->stamp = dice_chance(&sim->stamp_dice, 100)   ? APMIG_STAMP_OFF
                    : dice_chance(&sim->stamp_dice, 300) ? APMIG_STAMP_DIGEST
                                                         : APMIG_STAMP_FULL;
}

/* --- the truth ----------------------------------------------------------------------------------- */

/* What tells one of a lock's owners and reasons from another; never 0. */
static guint
sign_of(const ApmigLockRecord *record)
{
    return (g_str_hash(record->owner_name) * 31 + g_str_hash(record->reason)) | 1;
}

void
stamps_guest_comes(Sim *sim, Guest *guest)
{
    if (!sim->has_stamps)
        return;
    guest->stamp = guest->brought;
}

/* As the daemon does it, with what is true of the guest at this moment. */
static void
apply(Sim *sim, const Writing *writing)
{
    Guest *guest = writing->guest;
    g_autoptr(ApmigStampLock) lock = NULL;
    const gboolean is_removal = writing->form == APMIG_STAMP_OFF || guest->kind != APMIG_AFFECTED_YES;

    if (is_removal && guest->stamp.any)
        sim_cover(sim, COVER_STAMP_TAKEN_AWAY);
    guest->stamp = (Stamp){.any = !is_removal};
    if (is_removal)
        return;
    sim_cover(sim, COVER_STAMPED);
    lock = apmig_stamp_choose_lock(writing->locks, sim_scope(sim, guest->mask));
    if (!lock)
        return;
    sim_cover(sim, COVER_STAMPED_LOCK);
    g_strlcpy(guest->stamp.lock, lock->id, sizeof(guest->stamp.lock));
    for (guint i = 0; i < writing->locks->len; i++) {
        const ApmigLockRecord *record = g_ptr_array_index(writing->locks, i);

        if (g_str_equal(record->id, lock->id))
            guest->stamp.sign = sign_of(record);
    }
}

static gboolean
is_current(const Sim *sim, const Writing *writing)
{
    return sim->connected && sim->incarnation == writing->incarnation &&
           sim->connection == writing->connection;
}

static void note_answer(Sim *sim, Guest *guest, guint64 op, ApmigStamping result);

static void
finished(Sim *sim, gpointer object, guint64 number)
{
    const Writing *writing = object;
    ApmigEvent event = {.type = APMIG_EVENT_STAMP_FINISHED};

    if (!is_current(sim, writing))
        return;
    event.stamping.op = writing->op;
    event.stamping.result = writing->result;
    if (sim->has_stamps)
        note_answer(sim, writing->guest, writing->op, writing->result);
    daemon_deliver(sim, &event);
}

static ApmigStamping
choose_result(Sim *sim, const Writing *writing)
{
    const Guest *guest = writing->guest;

    if (!sim->has_stamps) /* no dice are rolled for it */
        return writing->op % 3 != 0   ? APMIG_STAMPING_DONE
               : writing->op % 2 != 0 ? APMIG_STAMPING_BUSY
                                      : APMIG_STAMPING_FAILED;
    if (guest->presence == GUEST_ABSENT)
        return APMIG_STAMPING_DONE;
    if (guest_job(guest) != APMIG_JOB_NONE || guest->restoring)
        return APMIG_STAMPING_BUSY;
    return !sim->calm && dice_chance(&sim->stamp_dice, sim->stamp_fails) ? APMIG_STAMPING_FAILED
                                                                         : APMIG_STAMPING_DONE;
}

static void
write_now(Sim *sim, gpointer object, guint64 number)
{
    Writing *writing = object;

    if (!is_current(sim, writing))
        return; /* what was not begun is dropped with the connection */
    writing->result = choose_result(sim, writing);
    if (writing->result == APMIG_STAMPING_BUSY)
        sim_cover(sim, COVER_STAMP_BUSY);
    if (writing->result == APMIG_STAMPING_FAILED)
        sim_cover(sim, COVER_STAMP_FAILED);
    if (writing->result == APMIG_STAMPING_DONE && writing->guest->presence != GUEST_ABSENT)
        apply(sim, writing);
    sim_queue_for_daemon(sim, number ? (gint64)number : dice_spread(&sim->stamp_dice, 100, 5 * MSEC),
                         finished, g_rc_box_acquire(writing), 0, writing_unref);
}

void
stamps_write(Sim *sim, const ApmigAction *action)
{
    Writing *writing = g_rc_box_new0(Writing);
    const gboolean slow = sim->has_stamps && !sim->calm && dice_chance(&sim->stamp_dice, sim->stamp_slow);

    writing->op = action->op;
    writing->guest = guest_by_uuid(sim, action->stamp.uuid);
    writing->form = action->stamp.form;
    writing->locks = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_lock_record_free);
    for (guint i = 0; i < action->stamp.locks->len; i++)
        g_ptr_array_add(writing->locks, apmig_lock_record_copy(g_ptr_array_index(action->stamp.locks, i)));
    writing->incarnation = sim->incarnation;
    writing->connection = sim->connection;
    if (!sim->has_stamps)
        sim_queue(sim, 0, write_now, writing, (1 + action->op % 50) * MSEC, writing_unref);
    else
        sim_queue(sim, dice_spread(&sim->stamp_dice, 1 * MSEC, slow ? 30 * SECOND : 100 * MSEC), write_now,
                  writing, 0, writing_unref);
}

/* --- why ----------------------------------------------------------------------------------------- */

/*
 * What may have been a cause allows a write, and what must have been one demands it. The engine knows less than what it was told:
 * it forgets what a guest has when that may have come back as another. So each cause here is one or the other.
 *
 * @surely: also for the engine
 */
static void
note_cause(Sim *sim, Guest *guest, gboolean surely)
{
    Stamping *stamping = &guest->stamping;

    if (!stamping->wanted_from)
        stamping->wanted_from = sim->now;
    if (!stamping->wanted)
        stamping->again_from = sim->now;
    stamping->wanted = TRUE;
    stamping->failures = 0;
    if (surely)
        stamping->in_vain = 0;
    stamping->stopped = FALSE;
    stamping->wrong_since = 0;
}

static gboolean
are_wanted(const Sim *sim)
{
    return apmig_engine_policy(sim->engine)->stamp != APMIG_STAMP_OFF;
}

void
stamps_may_be_due(Sim *sim, Guest *guest)
{
    note_cause(sim, guest, FALSE);
}

static void
forget_all(Sim *sim, gboolean of_all)
{
    sim->first_listed_at = 0;
    for (guint i = 0; i < sim->n_guests; i++)
        sim->guests[i].stamping = (Stamping){.of_all = of_all};
}

static gboolean
is_listed(const ApmigEvent *event, const Guest *guest)
{
    for (guint i = 0; i < event->listed.n_guests; i++)
        if (g_str_equal(event->listed.guests[i].uuid, guest->uuid))
            return TRUE;
    return FALSE;
}

/* A guest that is in a list which was asked for after it stopped is there again; and in any, where the engine had nobody who could
 * stop. */
static void
note_list(Sim *sim, const ApmigEvent *event)
{
    if (!event->listed.error && !sim->first_listed_at)
        sim->first_listed_at = sim->now;
    for (guint i = 0; i < sim->n_guests; i++) {
        Guest *guest = &sim->guests[i];
        const gboolean was_listed = guest->stamping.listed;

        if (event->listed.error)
            continue;
        guest->stamping.listed = is_listed(event, guest);
        if (guest->stamping.listed && (event->listed.token > guest->told.stop_token || !was_listed))
            guest->stamping.stopped = FALSE;
    }
}

/* So is one of which an answer tells that it is there. */
static void
note_shown(Guest *guest, ApmigToken token)
{
    if (token > guest->told.stop_token)
        guest->stamping.stopped = FALSE;
}

static void
note_job(Guest *guest, const ApmigEvent *event)
{
    if (event->answered.job == APMIG_JOB_GONE)
        guest->stamping.listed = FALSE;
    else
        note_shown(guest, event->answered.token);
}

static void
note_write(Sim *sim, guint64 op)
{
    for (guint i = 0; i < sim->locks->len; i++) {
        Lock *lock = g_ptr_array_index(sim->locks, i);

        lock->hold_told |= lock->held_at && lock->hold_op == op;
    }
}

void
stamps_told(Sim *sim, const ApmigEvent *event)
{
    Guest *guest = event->type == APMIG_EVENT_GUEST_NEWS ? guest_by_uuid(sim, event->news.uuid) : NULL;

    if (!sim->has_stamps)
        return;
    if (event->type == APMIG_EVENT_VIEW_STARTED || event->type == APMIG_EVENT_VIEW_LOST)
        forget_all(sim, event->type == APMIG_EVENT_VIEW_STARTED &&
                            apmig_engine_policy(sim->engine)->stamp != APMIG_STAMP_OFF);
    if (event->type == APMIG_EVENT_VIEW_STARTED)
        sim->stamps_all_along = apmig_engine_policy(sim->engine)->stamp != APMIG_STAMP_OFF;
    if (event->type == APMIG_EVENT_POLICY_CHANGED)
        sim->stamps_all_along &= event->policy->stamp != APMIG_STAMP_OFF;
    if (event->type == APMIG_EVENT_GUESTS_LISTED)
        note_list(sim, event);
    if (event->type == APMIG_EVENT_LOCK_PERSISTED && !event->persisted.error)
        note_write(sim, event->persisted.op);
    if (event->type == APMIG_EVENT_GUEST_ANSWERED)
        note_job(guest_by_uuid(sim, event->answered.uuid), event);
    if (event->type == APMIG_EVENT_FACTS_READ)
        note_shown(guest_by_uuid(sim, event->facts_read.uuid), event->facts_read.token);
    if (guest && apmig_news_is_stop(event->news.what))
        guest->stamping =
            (Stamping){.of_all = guest->stamping.of_all, .stopped = TRUE, .listed = guest->stamping.listed};
    if (guest && (event->news.what == APMIG_NEWS_CHANGED || event->news.what == APMIG_NEWS_STARTED ||
                  event->news.what == APMIG_NEWS_ARRIVING))
        note_cause(sim, guest,
                   are_wanted(sim) && !guest_has_record(sim, guest)); /* else when that has come */
}

/* What was written since is gone. */
static void
note_stray(Sim *sim, Guest *guest)
{
    if (!guest->stamping.stopped)
        note_cause(sim, guest, are_wanted(sim) && guest->stamping.listed);
}

static void
note_answer(Sim *sim, Guest *guest, guint64 op, ApmigStamping result)
{
    Stamping *stamping = &guest->stamping;

    if (stamping->op != op) {
        if (result == APMIG_STAMPING_DONE)
            note_stray(sim, guest);
        return;
    }
    stamping->op = 0;
    stamping->wrong_since = 0;
    stamping->tried = result != APMIG_STAMPING_DONE;
    if (result == APMIG_STAMPING_DONE) {
        stamping->failures = stamping->in_vain = 0;
        stamping->wanted_from = stamping->wanted ? stamping->again_from : 0;
        return;
    }
    stamping->in_vain += result == APMIG_STAMPING_FAILED;
    if (stamping->wanted)
        return;
    stamping->failures += result == APMIG_STAMPING_FAILED;
    stamping->wanted = stamping->failures < FAILURES_MAX; /* as long as before */
    if (!stamping->wanted)
        stamping->wanted_from = 0;
}

/* --- one write ----------------------------------------------------------------------------------- */

/* It is, or was when the daemon came back; what stands for damage counts as held. */
static gboolean
is_held(const Lock *lock)
{
    return lock->was_held || lock->hold_told || lock->origin == APMIG_LOCK_RECOVERED;
}

/* Whoever has asked for @lock waits for his answer. */
static gboolean
is_awaited(const Sim *sim, const Lock *lock)
{
    for (guint i = 0; i < sim->callers->len; i++) {
        const Caller *caller = g_ptr_array_index(sim->callers, i);

        if (caller->kind == CALLER_TAKE && caller->lock == lock && !caller->gone)
            return TRUE;
    }
    return FALSE;
}

/* Somebody waits to get it, which apmigd took by itself: what changes of it meanwhile is told of when he has his answer. */
static gboolean
is_being_adopted(const Sim *sim, const Lock *lock)
{
    for (guint i = 0; i < sim->callers->len; i++) {
        const Caller *caller = g_ptr_array_index(sim->callers, i);

        if (caller->kind == CALLER_TAKE && !caller->gone && !caller->lock->living &&
            !caller->lock->by_itself && caller->lock->mask == lock->mask && lock->by_itself && !lock->adopted)
            return TRUE;
    }
    return FALSE;
}

/* Returns: (nullable): the record, as the engine has it. */
static const ApmigLockRecord *
record_of(const Sim *sim, const char *id)
{
    const ApmigLock *lock = apmig_engine_lookup_lock(sim->engine, id);

    return lock && !lock->result ? lock->record : NULL;
}

/* @surely: also as the engine has to see it */
static gboolean
a_lock_waits(Sim *sim, gboolean surely)
{
    for (guint i = 0; i < sim->locks->len; i++) {
        const Lock *lock = g_ptr_array_index(sim->locks, i);

        if (!lock->living || is_held(lock))
            continue;
        if (!surely || (lock->listed && !lock->hold_decided && !lock->removing && !lock->release_asked &&
                        !lock->write_failed && lock->state == APMIG_LOCK_DRAINING && is_awaited(sim, lock) &&
                        record_of(sim, lock->id)))
            return TRUE;
    }
    return FALSE;
}

static gboolean
is_named(const ApmigAction *action, const char *id)
{
    for (guint i = 0; i < action->stamp.locks->len; i++)
        if (g_str_equal(((const ApmigLockRecord *)g_ptr_array_index(action->stamp.locks, i))->id, id))
            return TRUE;
    return FALSE;
}

static void
check_locks_told(Sim *sim, const ApmigAction *action)
{
    for (guint i = 0; i < action->stamp.locks->len; i++) {
        const ApmigLockRecord *record = g_ptr_array_index(action->stamp.locks, i);
        const Lock *lock = known_lock(sim, record->id);
        const ApmigLockRecord *now = record_of(sim, record->id);

        if (!lock || !now || !(is_held(lock) || lock->hold_decided))
            sim_violation(sim, "stamp", "a stamp is to tell of lock %s, which is not held", record->id);
        else if (sign_of(now) != sign_of(record))
            sim_violation(sim, "stamp", "a stamp is to tell of lock %s as it was", record->id);
    }
    for (guint i = 0; i < sim->locks->len; i++) {
        const Lock *lock = g_ptr_array_index(sim->locks, i);

        if (lock->living && lock->listed && is_held(lock) && !lock->removing && !is_awaited(sim, lock) &&
            record_of(sim, lock->id) && !is_named(action, lock->id))
            sim_violation(sim, "stamp", "a stamp is not to tell of lock %s, which is held", lock->id);
    }
}

/* By the engine, and the event at hand. */
static gboolean
has_just_come(const Sim *sim, const Guest *guest)
{
    for (guint i = 0; i < sim->actions->len; i++) {
        const ApmigAction *action = g_ptr_array_index(sim->actions, i);
        const ApmigMigration *migration = action->type == APMIG_ACTION_PUBLISH_MIGRATION
                                              ? apmig_engine_lookup_migration(sim->engine, action->id)
                                              : NULL;

        if (migration && !migration->outgoing && g_str_equal(migration->uuid, guest->uuid) &&
            g_str_has_prefix(migration->result, "completed"))
            return TRUE;
    }
    return FALSE;
}

void
check_stamp(Sim *sim, const ApmigAction *action)
{
    Guest *guest = guest_by_uuid(sim, action->stamp.uuid);
    Stamping *stamping = &guest->stamping;
    const gboolean of_all =
        stamping->of_all && !stamping->stopped && sim->now >= sim->connected_at + ALL_AFTER;

    if (action->stamp.form != apmig_engine_policy(sim->engine)->stamp)
        sim_violation(sim, "stamp", "%s is to get a stamp that is not the policy's", guest->name);
    if (!sim->has_stamps)
        return;
    check_locks_told(sim, action);
    if (stamping->op)
        sim_violation(sim, "stamp", "the stamp of %s is written twice at a time", guest->name);
    if (!stamping->wanted && !of_all && !has_just_come(sim, guest))
        sim_violation(sim, "stamp", "the stamp of %s is written, and there is no cause", guest->name);
    if (of_all) {
        stamping->wanted_from =
            MIN(stamping->wanted_from ? stamping->wanted_from : G_MAXINT64, sim->connected_at + ALL_AFTER);
        stamping->failures =
            0; /* that look was a cause like any other, before this write or while it is under way */
    }
    if (a_lock_waits(sim, TRUE)) {
        if (sim->now < stamping->wanted_from + HOLD_BACK)
            sim_violation(sim, "stamp", "the stamp of %s is written while a lock waits", guest->name);
        sim_cover(sim, COVER_STAMP_HELD_BACK);
    }
    stamping->of_all &= stamping->wanted || sim->now < sim->connected_at + ALL_AFTER;
    stamping->wanted = FALSE;
    stamping->op = action->op;
    stamping->wrong_since = 0;
}

/* --- after every event --------------------------------------------------------------------------- */

/* Whether the engine has surely what it was told last of the guest. */
static gboolean
is_known(const Guest *guest)
{
    return guest->told.facts && guest->told.lasts && guest->stamping.listed;
}

static void
note_lock_changed(Sim *sim, Guest *guest, const Lock *lock)
{
    if (guest->stamping.stopped)
        return;
    if (!is_known(guest))
        note_cause(sim, guest, FALSE);
    else if (guest->told.mask & lock->mask)
        note_cause(sim, guest, are_wanted(sim) && guest->told.affected == APMIG_AFFECTED_YES);
}

static void
note_locks(Sim *sim)
{
    for (guint i = 0; i < sim->locks->len; i++) {
        Lock *lock = g_ptr_array_index(sim->locks, i);
        const ApmigLockRecord *record = lock->living ? record_of(sim, lock->id) : NULL;
        const guint sign = record && is_held(lock) && !is_awaited(sim, lock) ? sign_of(record) : 0;

        if (sign == lock->stamp_sign || (sign && lock->stamp_sign && is_being_adopted(sim, lock)))
            continue;
        lock->stamp_sign = sign;
        for (guint j = 0; j < sim->n_guests; j++)
            note_lock_changed(sim, &sim->guests[j], lock);
    }
}

static void
note_arrivals(Sim *sim)
{
    for (guint i = 0; i < sim->n_guests; i++) {
        Guest *guest = &sim->guests[i];
        const gboolean is_here = guest->presence == GUEST_ACTIVE && guest->from_afar;

        if (!has_just_come(sim, guest))
            continue;
        note_cause(sim, guest,
                   is_here); /* else offline, say: its definition alone has come, and no stamp with it */
        guest->stamping.arrived = is_here;
    }
}

/* Whether the stamp may be other than it should: something stands in its way, or nobody can know. */
static gboolean
is_hindered(Sim *sim, const Guest *guest)
{
    const Stamping *stamping = &guest->stamping;

    if (!sim->connected || !sim->loaded || !sim->first_listed_at || stamping->op ||
        stamping->in_vain >= FAILURES_MAX)
        return TRUE;
    return guest->presence != GUEST_ACTIVE || guest_job(guest) != APMIG_JOB_NONE || guest->restoring ||
           guest->changing || guest->changes_untold || guest->expected || guest->kind != APMIG_AFFECTED_YES ||
           guest_has_record(sim, guest);
}

/* Returns: (nullable): why the stamp is not as it should be. That the queues of a device are others is told by no news. */
static const char *
find_fault(Sim *sim, const Guest *guest)
{
    const Stamp *stamp = &guest->stamp;
    const Lock *named = *stamp->lock ? known_lock(sim, stamp->lock) : NULL;
    const Told *told = &guest->told;

    if (apmig_engine_policy(sim->engine)->stamp == APMIG_STAMP_OFF)
        return stamp->any && stamp->foreign && guest->stamping.arrived ? "is another host's" : NULL;
    if (!sim->stamps_all_along)
        return NULL; /* that they are wanted from now on is no cause to write them */
    if (!stamp->any || stamp->foreign)
        return "is not this host's";
    if (guest->varies || !told->facts || !told->current || told->affected != APMIG_AFFECTED_YES)
        return NULL;
    if (*stamp->lock && (!named || !(named->mask & guest->mask)))
        return "tells of a lock that is not over it";
    if (named)
        return stamp->sign != named->stamp_sign &&
                       !(named->living && (named->removing || is_being_adopted(sim, named)))
                   ? "tells of a lock as it was"
                   : NULL;
    for (guint i = 0; i < sim->locks->len; i++) {
        const Lock *lock = g_ptr_array_index(sim->locks, i);

        if (lock->living && lock->stamp_sign && !lock->removing && truth_knows(lock, guest))
            return "does not tell of the lock";
    }
    return NULL;
}

static void
check_guest(Sim *sim, Guest *guest)
{
    Stamping *stamping = &guest->stamping;
    const char *fault = is_hindered(sim, guest) ? NULL : find_fault(sim, guest);
    gint64 limit = (a_lock_waits(sim, FALSE) ? HOLD_BACK : 0) + (stamping->tried ? AGAIN : 0) + PATIENCE;

    if (!fault) {
        stamping->wrong_since = 0;
        return;
    }
    if (!stamping->wrong_since)
        stamping->wrong_since = sim->now;
    if (sim->now < sim->lock_waited_at + PATIENCE && !a_lock_waits(sim, FALSE))
        return; /* it has just become possible */
    if (sim->now > MAX(MAX(stamping->wrong_since, sim->awake_since),
                       MAX(sim->connected_at + ALL_AFTER, sim->first_listed_at)) +
                       limit)
        sim_violation(sim, "stamp", "the stamp of %s %s for long, and nothing is in its way", guest->name,
                      fault);
}

void
check_stamps(Sim *sim)
{
    if (!sim->has_stamps)
        return;
    note_locks(sim);
    note_arrivals(sim);
    if (a_lock_waits(sim, FALSE))
        sim->lock_waited_at = sim->now;
    for (guint i = 0; i < sim->n_guests && !sim->violation; i++)
        check_guest(sim, &sim->guests[i]);
}

void
stamps_guest_leaves(Sim *sim, Guest *guest)
{
    if (!sim->has_stamps || !sim->engine || guest->kind != APMIG_AFFECTED_YES ||
        apmig_engine_policy(sim->engine)->stamp == APMIG_STAMP_OFF)
        return;
    if (find_fault(sim, guest))
        sim_cover(sim, COVER_LEAVES_UNSTAMPED);
    else
        sim_cover(sim, *guest->stamp.lock ? COVER_LEAVES_STAMPED_LOCK : COVER_LEAVES_STAMPED);
}
