/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Connections from a console to hosts, one call at a time on each. A connection may be lost, which is told, be slow, or
 * hang, which is not; what hangs arrives late, if the console is still there. With the console all of them end; with
 * strays, a release that it has sent arrives nevertheless, as the kernel may still deliver what a dead process has written.
 */
#include "fleet.h"

struct Call {
    Console *console;
    guint run;
    guint member; /* of the list */
    Host *host;   /* to which its name leads */
    CallKind kind;
    guint64 turn;
    gint64 revision;
    char lock_id[9], local_id[9];
    /* what came of it */
    gboolean failed, differs, made;
    ApmigFleetAnswer *answer;
    ApmigFleetKeys *keys;
    gboolean is_ready;
    gint64 seen_at;
};

static void
call_clear(gpointer data)
{
    Call *call = data;

    apmig_fleet_answer_free(call->answer);
    apmig_fleet_keys_free(call->keys);
}

static void
call_unref(gpointer call)
{
    g_rc_box_release_full(call, call_clear);
}

static Slot *
slot_of(const Call *call)
{
    return &call->console->slots[call->member];
}

static gboolean
is_alive(const Call *call)
{
    return call->console->run == call->run && call->console->phase != PHASE_OVER;
}

/* How long something takes now between a console and @host. */
static gint64
way(Sim *sim, const Host *host)
{
    const gint64 delay = host->link == LINK_SLOW ? dice_spread(&sim->dice, 100 * MSEC, 8 * SECOND)
                                                 : dice_spread(&sim->dice, 500, 20 * MSEC);

    return delay + (host->link == LINK_HANGS ? MAX(host->link_until - sim->now, 0) : 0);
}

/* --- the console has its answer ------------------------------------------------------------------ */

static gboolean
is_waiting(const Sim *sim, const Console *console)
{
    for (guint i = 0; i < sim->n_hosts; i++)
        if (console->slots[i].pending)
            return TRUE;
    return FALSE;
}

static void
all_are_done(Sim *sim, gpointer object, guint64 run)
{
    Console *console = object;

    if (console->run == run && console->phase != PHASE_OVER)
        console_next(sim, console);
}

/* The call has come to its end, or is given up. */
static void
end_call(Sim *sim, const Call *call)
{
    Console *console = call->console;
    Slot *slot = slot_of(call);
    gint64 delay = 0;

    if (slot->turn != call->turn || !slot->pending)
        return;
    slot->pending = FALSE;
    if (is_waiting(sim, console))
        return;
    if (!sim->calm && dice_chance(&sim->dice, sim->profile.late_console)) {
        delay = dice_spread(&sim->dice, 1 * SECOND, 300 * SECOND);
        sim_met(sim, MET_CONSOLE_SLEEP);
        sim_trace(sim, "%s: the console stands still", console->owner);
    }
    sim_later(sim, delay, all_are_done, console, console->run, NULL);
}

static void
keep_answers(Sim *sim, Call *call)
{
    Slot *slot = slot_of(call);
    const gboolean is_meant = call->host->index == call->member;

    if (call->answer && (!slot->answer || slot->answer->head.revision <= call->revision)) {
        console_head(sim, call->console, &call->answer->head, call->member, call->revision);
        apmig_fleet_answer_free(slot->answer);
        slot->answer = g_steal_pointer(&call->answer);
        slot->seen_revision = is_meant ? call->revision : 0;
        slot->seen_at = call->seen_at;
        slot->seen_ready = call->is_ready;
    }
    if (call->keys && (!slot->keys || slot->keys->head.revision <= call->revision)) {
        console_head(sim, call->console, &call->keys->head, call->member, call->revision);
        apmig_fleet_keys_free(slot->keys);
        slot->keys = g_steal_pointer(&call->keys);
        slot->read_revision = is_meant ? call->revision : 0;
    }
}

/* As of a host that could not be reached. */
static void
give_up(Sim *sim, const Call *call, const char *problem)
{
    Slot *slot = slot_of(call);

    slot->failed = TRUE;
    if (call->kind == CALL_TAKE || call->kind == CALL_FIND)
        slot->untaken = TRUE;
    if (call->kind == CALL_CHECK) {
        apmig_fleet_answer_free(slot->answer);
        slot->answer = apmig_fleet_answer_new(call->host->name, problem);
        console_head(sim, call->console, &slot->answer->head, call->member, call->revision);
    }
    if (call->kind == CALL_KEYS) {
        apmig_fleet_keys_free(slot->keys);
        slot->keys = apmig_fleet_keys_new(call->host->name, problem);
        console_head(sim, call->console, &slot->keys->head, call->member, call->revision);
    }
}

static void
returned(Sim *sim, gpointer object, guint64 number)
{
    Call *call = object;
    Slot *slot = slot_of(call);

    if (!is_alive(call))
        return;
    if (slot->turn != call->turn || !slot->pending)
        sim_met(sim, MET_LATE_ANSWER);
    else if (call->failed)
        give_up(sim, call, "ssh ended with status 255");
    slot->differs |= call->differs && slot->turn == call->turn;
    keep_answers(sim, call);
    if (call->kind == CALL_TAKE && !call->failed && *call->local_id) {
        g_strlcpy(slot->local_id, call->local_id, sizeof(slot->local_id));
        slot->made |= call->made;
    }
    if (call->kind == CALL_FIND && !call->failed)
        g_strlcpy(slot->local_id, call->local_id, sizeof(slot->local_id));
    if (!call->failed)
        g_strlcpy(slot->host_id, call->host->id, sizeof(slot->host_id));
    end_call(sim, call);
}

/* Nobody waits for it any longer; whether that is written down as an answer is up to who asked. */
static void
is_late(Sim *sim, gpointer object, guint64 number)
{
    Call *call = object;
    Slot *slot = slot_of(call);

    if (!is_alive(call) || slot->turn != call->turn || !slot->pending)
        return;
    slot->failed = TRUE;
    if (dice_chance(&sim->dice, 500) || call->kind == CALL_TAKE || call->kind == CALL_FIND)
        give_up(sim, call, "it has not answered in time");
    end_call(sim, call);
}

/* --- the host's side ----------------------------------------------------------------------------- */

/* @call: (transfer full) */
static void
go_back(Sim *sim, Call *call)
{
    if (call->host->link == LINK_LOST) {
        call->failed = TRUE;
        sim_later(sim, dice_spread(&sim->dice, 100 * MSEC, 3 * SECOND), returned, call, 0, call_unref);
    } else
        sim_later(sim, way(sim, call->host), returned, call, 0, call_unref);
}

static void
answered(Sim *sim, Host *host, const ApmigAction *reply, gpointer data)
{
    Call *call = data;
    const gboolean is_error = !reply || reply->type == APMIG_ACTION_REPLY_ERROR;

    call->failed = !reply || (is_error && call->kind != CALL_CHECK);
    if (is_error && reply && call->kind == CALL_RELEASE)
        call->differs = reply->reply.code == APMIG_ERROR_KEYS_DIFFER ||
                        reply->reply.code == APMIG_ERROR_KEY_CHANGE_UNFINISHED;
    if (reply && is_error && reply->reply.code == APMIG_ERROR_NO_SUCH_LOCK)
        call->failed = FALSE;
    if (reply && is_error && reply->reply.code == APMIG_ERROR_LOCKED)
        sim_met(sim, MET_LOCKED);
    if (is_error && reply)
        sim_trace(sim, "%s: %s is told: %s", host->name, call->console->owner, reply->reply.message);
    if (reply && call->kind == CALL_TAKE && !is_error) {
        g_strlcpy(call->local_id, reply->reply.id, sizeof(call->local_id));
        call->made = TRUE;
    }
    if (reply && call->kind == CALL_CHECK) {
        call->answer = answer_new(host, reply, call->lock_id, call->local_id);
        call->is_ready = !is_error && reply->reply.allowed;
        call->seen_at = sim->now;
    }
    go_back(sim, g_rc_box_acquire(call));
}

/* Returns: (transfer none) (nullable): the id of the lock of this change. */
static const char *
find_lock(const Host *host, const Console *console)
{
    g_autoptr(GPtrArray) locks = apmig_engine_list_locks(host->engine);

    for (guint i = 0; i < locks->len; i++) {
        const ApmigLock *lock = g_ptr_array_index(locks, i);

        if (g_str_equal(lock->record->change_id, console->change_id) &&
            g_str_equal(lock->record->owner_name, console->owner))
            return lock->record->id;
    }
    return NULL;
}

static void
take(Sim *sim, Call *call)
{
    Host *host = call->host;
    const Console *console = call->console;
    const char *found = find_lock(host, console);
    g_autofree char *id = g_strdup_printf("%08x", (guint32)dice_next(&sim->dice));
    ApmigEvent event = {.type = APMIG_EVENT_TAKE};

    if (found) {
        sim_met(sim, MET_FOUND);
        g_strlcpy(call->local_id, found, sizeof(call->local_id));
        go_back(sim, g_rc_box_acquire(call));
        return;
    }
    event.take.id = id;
    event.take.scope = sim->scopes[console->mask];
    event.take.reason = "a rotation";
    event.take.change_id = console->change_id;
    event.take.uid = 1000 + console->index;
    event.take.user = console->owner;
    event.take.no_wait = console->no_wait;
    event.take.hook_problem = host->hook || console->missing_hook ? NULL : "its script is missing";
    host_ask(sim, host, &event, answered, g_rc_box_acquire(call), call_unref);
}

static void
check(Sim *sim, Call *call)
{
    ApmigEvent event = {.type = APMIG_EVENT_CHECK};

    if (!*call->local_id) { /* what it has not is not asked about */
        call->answer = answer_new(call->host, NULL, call->lock_id, "");
        call->seen_at = sim->now;
        go_back(sim, g_rc_box_acquire(call));
        return;
    }
    event.check.id = call->local_id;
    event.check.limit_usec = 5 * SECOND;
    host_ask(sim, call->host, &event, answered, g_rc_box_acquire(call), call_unref);
}

static void
release(Sim *sim, Call *call)
{
    ApmigEvent event = {.type = APMIG_EVENT_RELEASE};

    check_release_asked(sim, call->console, call->host);
    event.release.id = call->local_id;
    event.release.force = call->kind == CALL_FORCE;
    host_ask(sim, call->host, &event, answered, g_rc_box_acquire(call), call_unref);
}

static void
find(Sim *sim, Call *call)
{
    const char *found = find_lock(call->host, call->console);

    call->failed = !apmig_engine_is_loaded(call->host->engine);
    g_strlcpy(call->local_id, found ? found : "", sizeof(call->local_id));
    go_back(sim, g_rc_box_acquire(call));
}

static void
arrive(Sim *sim, gpointer object, guint64 number)
{
    Call *call = object;

    if ((!is_alive(call) && !(sim->strays && call->kind == CALL_RELEASE)) || !call->host->up)
        return;
    if (!call->host->engine) {
        call->failed = TRUE;
        go_back(sim, g_rc_box_acquire(call));
        return;
    }
    switch (call->kind) {
    case CALL_TAKE:
        take(sim, call);
        break;
    case CALL_FIND:
        find(sim, call);
        break;
    case CALL_CHECK:
        check(sim, call);
        break;
    case CALL_KEYS:
        call->keys = keys_answer(call->host);
        go_back(sim, g_rc_box_acquire(call));
        break;
    case CALL_RELEASE:
    case CALL_FORCE:
        release(sim, call);
        break;
    }
}

/* --- beginning and end --------------------------------------------------------------------------- */

void
link_call(Sim *sim, Console *console, guint member, CallKind kind)
{
    static const gint64 patience[] = {
        [CALL_TAKE] = 30 * SECOND, [CALL_FIND] = 10 * SECOND,    [CALL_CHECK] = 10 * SECOND,
        [CALL_KEYS] = 10 * SECOND, [CALL_RELEASE] = 45 * SECOND, [CALL_FORCE] = 45 * SECOND,
    };
    Call *call = g_rc_box_new0(Call);
    Slot *slot = &console->slots[member];

    call->console = console;
    call->run = console->run;
    call->member = member;
    call->host = &sim->hosts[console->leads_to[member]];
    call->kind = kind;
    call->revision = console->revision;
    g_strlcpy(call->lock_id, console->lock_id, sizeof(call->lock_id));
    g_strlcpy(call->local_id, slot->local_id, sizeof(call->local_id));
    slot->turn = call->turn = ++sim->last_turn;
    slot->pending = TRUE;
    slot->failed = slot->differs = FALSE;
    if (kind == CALL_TAKE)
        console->touched |= 1u << call->host->index;
    sim_later(sim, patience[kind], is_late, g_rc_box_acquire(call), 0, call_unref);
    if (call->host->link == LINK_LOST) {
        call->failed = TRUE;
        sim_later(sim, dice_spread(&sim->dice, 100 * MSEC, 3 * SECOND), returned, call, 0, call_unref);
    } else
        sim_later(sim, way(sim, call->host), arrive, call, 0, call_unref);
}

static gboolean
is_of_console(gpointer data, gpointer who)
{
    return ((const Call *)data)->console == who;
}

void
link_drop(Sim *sim, Console *console)
{
    for (guint i = 0; i < sim->n_hosts; i++)
        host_hang_up(sim, &sim->hosts[i], answered, is_of_console, console);
}
