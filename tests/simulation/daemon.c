/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon without its daemon: hands events to the engine, carries out its actions, dies at any moment and
 * starts again from what is durable.
 */
#include "simulation.h"

/* --- callers ------------------------------------------------------------------------------------- */

Caller *
daemon_new_caller(Sim *sim, CallerKind kind)
{
    Caller *caller = g_new0(Caller, 1);

    caller->number = ++sim->last_caller;
    caller->kind = kind;
    caller->opened_at = sim->now;
    caller->faults = sim->disk_faults;
    g_ptr_array_add(sim->callers, caller);
    return caller;
}

Caller *
daemon_find_caller(Sim *sim, ApmigCaller number)
{
    for (guint i = 0; i < sim->callers->len; i++) {
        Caller *caller = g_ptr_array_index(sim->callers, i);

        if (caller->number == number)
            return caller;
    }
    return NULL;
}

void
daemon_close_caller(Sim *sim, ApmigCaller number)
{
    Caller *caller = daemon_find_caller(sim, number);

    if (caller)
        g_ptr_array_remove(sim->callers, caller);
}

void
daemon_caller_gone(Sim *sim, ApmigCaller number)
{
    Caller *caller = daemon_find_caller(sim, number);
    ApmigEvent event = {.type = APMIG_EVENT_CALLER_GONE};

    if (!caller || caller->gone)
        return;
    if (caller->kind == CALLER_TAKE && !caller->no_wait && caller->lock->living &&
        !caller->lock->hold_decided && !caller->lock->told && !replies_is_asked_again(sim, caller)) {
        caller->lock->gone_early = TRUE;
        if (caller->lock->state == APMIG_LOCK_DRAINING)
            sim_cover(sim, COVER_CALLER_GONE);
    }
    caller->gone = TRUE;
    caller->migration = NULL;
    event.caller = number;
    daemon_deliver(sim, &event);
}

static void
hook_ended(Sim *sim, gpointer object, guint64 number)
{
    ApmigEvent event = {.type = APMIG_EVENT_CALLER_GONE, .caller = number};

    daemon_deliver(sim, &event);
}

void
daemon_hook_ends(Sim *sim, ApmigCaller number)
{
    gint64 delay = dice_chance(&sim->dice, 950) ? dice_roll(&sim->dice, 1 * MSEC, 20 * MSEC)
                                                : dice_spread(&sim->dice, 20 * MSEC, 90 * SECOND);

    sim_queue_for_daemon(sim, delay, hook_ended, NULL, number, NULL);
}

/* --- events and actions ---------------------------------------------------------------------------- */

static void
answer_hook(Sim *sim, const ApmigAction *action)
{
    Caller *caller = daemon_find_caller(sim, action->reply.caller);
    Migration *migration = caller ? caller->migration : NULL;
    Guest *restored = caller && caller->restore && !caller->gone ? caller->guest : NULL;
    gboolean allowed = action->type == APMIG_ACTION_REPLY_ADMIT && action->reply.allowed;

    daemon_close_caller(sim, action->reply.caller);
    if (migration && !allowed)
        guest_refused(sim, migration->guest);
    if (migration)
        migration_answered(sim, migration, allowed);
    if (restored && allowed)
        guest_restore(sim, restored);
}

static void
carry_out(Sim *sim, const ApmigAction *action)
{
    switch (action->type) {
    case APMIG_ACTION_PERSIST_LOCK:
    case APMIG_ACTION_REMOVE_LOCK:
    case APMIG_ACTION_PERSIST_ADMISSION:
    case APMIG_ACTION_REMOVE_ADMISSION:
    case APMIG_ACTION_PERSIST_PERMIT:
    case APMIG_ACTION_REMOVE_PERMIT:
        disk_write(sim, action);
        break;
    case APMIG_ACTION_LIST_GUESTS:
        hypervisor_list(sim, action->query.token);
        break;
    case APMIG_ACTION_QUERY_GUEST:
        hypervisor_query(sim, action->query.token, guest_by_uuid(sim, action->query.uuid),
                         action->query.want_facts);
        break;
    case APMIG_ACTION_HEARTBEAT:
        hypervisor_heartbeat(sim, action->query.token);
        break;
    case APMIG_ACTION_RUN_STEP:
        if (action->step.kind == APMIG_STEP_LIBVIRT_ABORT)
            hypervisor_step(sim, action->op, guest_by_uuid(sim, action->step.uuid));
        else
            helper_run(sim, action, guest_by_uuid(sim, action->step.uuid));
        break;
    case APMIG_ACTION_LOOK_AT_GUEST:
        helper_look(sim, action->op, guest_by_uuid(sim, action->look.uuid));
        break;
    case APMIG_ACTION_READ_KEYS:
        cards_read(sim, action);
        break;
    case APMIG_ACTION_READ_USES:
        strangers_read(sim, action);
        break;
    case APMIG_ACTION_STAMP_GUEST:
        stamps_write(sim, action);
        break;
    case APMIG_ACTION_REPLY_TAKEN:
    case APMIG_ACTION_REPLY_RELEASED:
    case APMIG_ACTION_REPLY_AMENDED:
    case APMIG_ACTION_REPLY_VERDICT:
    case APMIG_ACTION_REPLY_PERMIT:
        daemon_close_caller(sim, action->reply.caller);
        break;
    case APMIG_ACTION_REPLY_ADMIT:
    case APMIG_ACTION_REPLY_ERROR:
        answer_hook(sim, action);
        break;
    default:
        break;
    }
}

static void
note_deadline(Sim *sim)
{
    gint64 deadline = apmig_engine_next_deadline(sim->engine);

    if (deadline == sim->deadline)
        return;
    sim->deadline = deadline;
    sim->deadline_late = dice_chance(&sim->dice, 100) ? dice_spread(&sim->dice, 10, 20 * MSEC) : 0;
}

void
daemon_deliver(Sim *sim, ApmigEvent *event)
{
    if (!sim->engine || sim->violation)
        return;
    event->now = sim_boot_time(sim);
    event->realtime = sim_realtime(sim);
    sim->n_events++;
    trace_event(sim, event);
    if (event->type == APMIG_EVENT_STEP_FINISHED)
        check_step_answer(sim, event->step.op, event->step.outcome);
    if (event->type == APMIG_EVENT_VIEW_LOST)
        check_steps_lost(sim);
    stamps_told(sim, event);
    g_ptr_array_set_size(sim->actions, 0);
    sim->event = event->type;
    sim->was_open = has_open(sim);
    apmig_engine_handle(sim->engine, event, sim->actions);
    if (event->type == APMIG_EVENT_STORE_LOADED)
        sim->loaded = TRUE;
    for (guint i = 0; i < sim->actions->len && !sim->violation; i++) {
        const ApmigAction *action = g_ptr_array_index(sim->actions, i);

        trace_action(sim, action);
        check_action(sim, action);
        if (!sim->violation)
            carry_out(sim, action);
    }
    if (!sim->violation)
        check_unplugged(sim, event);
    if (!sim->violation)
        check_state(sim, event);
    note_deadline(sim);
}

void
daemon_deadline(Sim *sim)
{
    ApmigEvent event = {.type = APMIG_EVENT_DEADLINE};

    daemon_deliver(sim, &event);
    if (sim->engine && sim->deadline <= sim_boot_time(sim))
        sim->deadlines_in_place++;
    else
        sim->deadlines_in_place = 0;
    if (sim->deadlines_in_place > 3)
        sim_violation(sim, "live", "the engine's deadline has passed, and stays so however often it is told");
}

/* --- start and end ----------------------------------------------------------------------------------- */

/* A lock file that cannot be read any more, as the store reports it. */
static void
damage(Sim *sim, ApmigLockRecord *record)
{
    Lock *lock = known_lock(sim, record->id);

    if (record->origin == APMIG_LOCK_RECOVERED || !dice_chance(&sim->dice, sim->profile.damage))
        return;
    sim_trace(sim, "the file of lock %s is damaged", record->id);
    record->origin = APMIG_LOCK_RECOVERED;
    apmig_scope_unref(record->scope);
    record->scope = apmig_scope_ref(sim_scope(sim, sim->mask_all));
    g_free(record->reason);
    record->reason = g_strdup("its file is damaged");
    record->owner_uid = 0;
    record->on_busy = APMIG_ON_BUSY_UNSET;
    record->requested_at = record->held_at = record->expected_duration_usec = 0;
    record->breaches = record->attempts = 0;
    g_clear_pointer(&record->guests, g_ptr_array_unref);
    g_clear_pointer(&record->departed, g_ptr_array_unref);
    lock->left = lock->roster = lock->departed = 0;
    lock->origin = APMIG_LOCK_RECOVERED;
    lock->mask = sim->mask_all;
    lock->held_at = 0;
    lock->on_busy = APMIG_ON_BUSY_UNSET;
    sim_cover(sim, COVER_RECOVERED);
}

/* The disk may have hung before what the hook asked last, and the end of what it asked before, were written. */
static void
note_record(Sim *sim, const ApmigAdmission *record)
{
    Guest *guest = guest_by_uuid(sim, record->uuid);

    if (record->unaffected)
        return;
    if (guest->in_mask && apmig_scope_equal(record->scope, sim_scope(sim, guest->in_mask)))
        return;
    guest->in_mask = sim->mask_all;
    guest->in_mixed = TRUE;
}

/* --- a state folder that is older ---------------------------------------------------------------- */

static GHashTable *
copy_locks(GHashTable *locks)
{
    GHashTable *copy =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)apmig_lock_record_free);
    GHashTableIter iter;
    const ApmigLockRecord *record;

    g_hash_table_iter_init(&iter, locks);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&record))
        g_hash_table_insert(copy, g_strdup(record->id), apmig_lock_record_copy(record));
    return copy;
}

void
daemon_back_up(Sim *sim)
{
    g_clear_pointer(&sim->older_locks, g_hash_table_unref);
    sim->older_locks = copy_locks(sim->durable_locks);
}

static ApmigLockRecord *
damage_new(Sim *sim, const char *id)
{
    ApmigLockRecord *record = g_new0(ApmigLockRecord, 1);

    record->id = g_strdup(id);
    record->scope = apmig_scope_ref(sim_scope(sim, sim->mask_all));
    record->reason = g_strdup("the state folder is older than it was");
    record->change_id = g_strdup("");
    record->owner_name = g_strdup("root");
    record->origin = APMIG_LOCK_RECOVERED;
    return record;
}

/* As it was at the backup, and a lock that stands for what is not known; the store notices by what the runtime folder has. */
static void
restore_backup(Sim *sim)
{
    g_autofree char *id = g_strdup_printf("%08x", (guint32)dice_next(&sim->dice));

    if (!sim->older_locks || !dice_chance(&sim->dice, sim->profile.state_older) || known_lock(sim, id))
        return;
    sim_trace(sim, "the state folder is an older one");
    sim_cover(sim, COVER_STATE_OLDER);
    g_hash_table_unref(sim->durable_locks);
    sim->durable_locks = copy_locks(sim->older_locks);
    g_hash_table_insert(sim->durable_locks, g_strdup(id), damage_new(sim, id));
    known_lock_new(sim, id, sim->mask_all)->origin = APMIG_LOCK_RECOVERED;
    for (guint i = 0; i < sim->locks->len; i++) {
        Lock *lock = g_ptr_array_index(sim->locks, i);
        const ApmigLockRecord *record = g_hash_table_lookup(sim->durable_locks, lock->id);

        release_over(lock);
        lock->adopted = record && record->origin == APMIG_LOCK_BY_REQUEST;
        if (record)
            lock->mask = record->origin == APMIG_LOCK_RECOVERED ? sim->mask_all : lock->asked_mask;
    }
    truth_crash(sim);
}

static void
load(Sim *sim, gpointer object, guint64 incarnation)
{
    g_autoptr(GPtrArray) locks = g_ptr_array_new();
    g_autoptr(GPtrArray) admissions = g_ptr_array_new();
    g_autoptr(GPtrArray) permits = g_ptr_array_new();
    ApmigEvent event = {.type = APMIG_EVENT_STORE_LOADED};
    GHashTableIter iter;
    gpointer value;

    if (sim->incarnation != incarnation || !sim->engine)
        return;
    restore_backup(sim);
    g_hash_table_iter_init(&iter, sim->durable_locks);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        damage(sim, value);
        g_ptr_array_add(locks, value);
    }
    g_hash_table_iter_init(&iter, sim->durable_admissions);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        note_record(sim, value);
        g_ptr_array_add(admissions, value);
    }
    g_hash_table_iter_init(&iter, sim->durable_permits);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        g_ptr_array_add(permits, value);
    event.store_loaded.permits = permits;
    event.store_loaded.locks = locks;
    event.store_loaded.admissions = admissions;
    check_loaded(sim);
    daemon_deliver(sim, &event);
}

static void
start(Sim *sim, gpointer object, guint64 incarnation)
{
    g_autofree char *run_id = g_strdup_printf("%04x", sim->incarnation);

    if (sim->incarnation != incarnation || sim->engine)
        return;
    sim_trace(sim, "the daemon starts");
    sim->engine = apmig_engine_new(sim->policy, run_id);
    sim->loaded = sim->no_steps = FALSE;
    sim->deadline = G_MAXINT64;
    sim->started_at = sim->now;
    if (sim->has_guest_queues)
        daemon_deliver(sim, &(ApmigEvent){.type = APMIG_EVENT_HARDWARE_CHANGED, .hardware = {TRUE}});
    if (dice_chance(&sim->dice, 800))
        load(sim, NULL, incarnation);
    else
        sim_queue_for_daemon(sim, dice_spread(&sim->dice, 1 * MSEC, 3 * SECOND), load, NULL, incarnation,
                             NULL);
    hypervisor_connect(sim, dice_spread(&sim->dice, 5 * MSEC, 2 * SECOND));
}

void
daemon_start(Sim *sim, gint64 delay)
{
    sim->incarnation++;
    sim_queue(sim, delay, start, NULL, sim->incarnation, NULL);
}

/* Clients see their connection end; for the hook that is a no. */
static void
drop_callers(Sim *sim)
{
    while (sim->callers->len) {
        Caller *caller = g_ptr_array_index(sim->callers, 0);
        Migration *migration = caller->migration;

        g_ptr_array_remove_index(sim->callers, 0);
        if (migration)
            migration_answered(sim, migration, FALSE);
    }
}

static void
die(Sim *sim, gboolean reboot)
{
    check_crash(sim, reboot);
    g_clear_pointer(&sim->engine, apmig_engine_free);
    sim->loaded = FALSE;
    sim->stands_until = 0;
    sim->deadlines_in_place = 0;
    disk_drop_writes(sim);
    hypervisor_forget(sim);
    g_hash_table_remove_all(sim->efforts);
    drop_callers(sim);
    daemon_start(sim, dice_spread(&sim->dice, 5 * MSEC, 20 * SECOND));
}

/* With the admissions and permits that were in it. Nobody can know any more what the hook was told. */
static void
lose_runtime(Sim *sim)
{
    sim_trace(sim, "the runtime folder is lost");
    sim_cover(sim, COVER_RUNTIME_LOST);
    g_hash_table_remove_all(sim->durable_admissions);
    g_hash_table_remove_all(sim->durable_permits);
    for (guint i = 0; i < sim->n_guests; i++) {
        Guest *guest = &sim->guests[i];

        if (guest->expected)
            guest->expected->forgotten = TRUE;
        if (guest->migration && !guest->migration->outgoing)
            guest->migration->stray = TRUE;
    }
}

void
daemon_crash(Sim *sim)
{
    if (!sim->engine)
        return;
    sim_trace(sim, "the daemon dies");
    die(sim, FALSE);
    if (dice_chance(&sim->dice, sim->profile.runtime_lost))
        lose_runtime(sim);
}

gboolean
daemon_is_there(const Sim *sim)
{
    return sim->engine && sim->now >= sim->stands_until;
}

void
daemon_stand_still(Sim *sim)
{
    if (!daemon_is_there(sim))
        return;
    sim->stands_until = sim->now + dice_spread(&sim->dice, 100 * MSEC, 60 * SECOND);
    sim->awake_since = sim->stands_until;
    sim_trace(sim, "the daemon stands still until %" G_GINT64_FORMAT, sim->stands_until);
}

void
daemon_reboot(Sim *sim)
{
    if (!sim->engine)
        return;
    sim_trace(sim, "the host reboots");
    die(sim, TRUE);
    guests_reboot(sim);
    g_hash_table_remove_all(sim->durable_admissions);
    g_hash_table_remove_all(sim->durable_permits);
    sim->boot_base = sim->now - 5 * SECOND;
}
