/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What `apmigctl --hosts` does: takes the lock on the first host, then on the others, asks each anew whether it is ready, and
 * leaves the decision to the judge; on GO it tells the officer, and asks again before each of his steps; and asks for the
 * release by keys that were read after that. It remembers nothing: run again, it finds the locks of its change id.
 */
#include "fleet.h"

/* --- a run --------------------------------------------------------------------------------------- */

static void
slot_clear(Slot *slot)
{
    apmig_fleet_answer_free(slot->answer);
    apmig_fleet_keys_free(slot->keys);
    *slot = (Slot){0};
}

void
console_end(Sim *sim, Console *console)
{
    if (console->phase == PHASE_OVER)
        return;
    console->phase = PHASE_OVER;
    for (guint i = 0; i < MAX_HOSTS; i++)
        slot_clear(&console->slots[i]);
}

void
console_head(const Sim *sim, const Console *console, ApmigFleetHead *head, guint host, gint64 revision)
{
    g_free(head->fleet);
    g_free(head->host);
    g_free(head->cluster_id);
    head->fleet = g_strdup(FLEET);
    head->host = g_strdup(sim->hosts[host].name);
    head->cluster_id = g_strdup(console->cluster_id);
    head->revision = revision;
    head->received_at = sim->now;
}

/* Bits by host. */
static guint
all_hosts(const Sim *sim)
{
    return (1u << sim->n_hosts) - 1;
}

static guint
asked_hosts(const Sim *sim, const Console *console)
{
    return all_hosts(sim) & ~console->except;
}

static void
go_on(Sim *sim, gpointer object, guint64 run)
{
    Console *console = object;

    if (console->run == run && console->phase != PHASE_OVER)
        console_next(sim, console);
}

static void
call(Sim *sim, Console *console, guint hosts, CallKind kind, Phase phase)
{
    console->phase = phase;
    if (kind == CALL_CHECK || kind == CALL_KEYS) {
        console->revision++;
        console->asked_at = sim->now;
    }
    for (guint i = 0; i < sim->n_hosts; i++)
        if (hosts & (1u << i))
            link_call(sim, console, i, kind);
    if (!hosts)
        sim_later(sim, 0, go_on, console, console->run, NULL);
}

static void
take_first(Sim *sim, Console *console)
{
    const guint hosts = asked_hosts(sim, console);

    call(sim, console, hosts & (~hosts + 1), CALL_TAKE, PHASE_FIRST);
}

static void
find_all(Sim *sim, Console *console)
{
    call(sim, console, asked_hosts(sim, console) | console->touched, CALL_FIND, PHASE_FIND);
}

static void
ask_ready(Sim *sim, Console *console)
{
    call(sim, console, asked_hosts(sim, console), CALL_CHECK, PHASE_READY);
}

/* Keys of hosts that are left out are asked for as well: what they are is shown. */
static void
ask_keys(Sim *sim, Console *console, Phase phase)
{
    call(sim, console, all_hosts(sim), CALL_KEYS, phase);
}

/* Whatever relies on GO ends before. */
static void
ask_release(Sim *sim, Console *console)
{
    console->relied = 0;
    console->want = WANT_RELEASE;
    console->state = APMIG_FLEET_RELEASING;
    ask_keys(sim, console, PHASE_KEYS);
}

void
console_start(Sim *sim, Console *console)
{
    if (console->phase != PHASE_OVER)
        return;
    console->run++;
    console->revision = 0;
    console->state = APMIG_FLEET_LOCKED;
    console->requested_at = sim_realtime(sim);
    console->had_go = FALSE;
    console->patience = (guint)dice_roll(&sim->dice, 2, 8);
    g_snprintf(console->cluster_id, sizeof(console->cluster_id), "%" G_GUINT64_FORMAT, dice_next(&sim->dice));
    g_snprintf(console->lock_id, sizeof(console->lock_id), "%08x", (guint32)dice_next(&sim->dice));
    sim_trace(sim, "%s: the console begins with %s", console->owner, console->change_id);
    if (console->want == WANT_CHANGE)
        take_first(sim, console);
    else
        find_all(sim, console);
}

static void
end(Sim *sim, Console *console)
{
    console_end(sim, console);
    officer_left_alone(sim, console);
}

/* --- what is judged ------------------------------------------------------------------------------ */

static ApmigFleetLock *
lock_new(const Sim *sim, const Console *console)
{
    ApmigFleetLock *lock = apmig_fleet_lock_new();

    g_free(lock->id);
    g_free(lock->change_id);
    g_free(lock->owner);
    lock->id = g_strdup(console->lock_id);
    lock->change_id = g_strdup(console->change_id);
    lock->owner = g_strdup(console->owner);
    lock->scope = apmig_scope_ref(sim->scopes[console->mask]);
    lock->requested_at = console->requested_at;
    lock->state = console->state;
    for (guint i = 0; i < sim->n_hosts; i++)
        if (console->except & (1u << i))
            apmig_fleet_lock_leave_out(lock, sim->hosts[i].name, console->owner, "it is out of order",
                                       console->requested_at);
    return lock;
}

static ApmigFleetDocument *
document_new(const Sim *sim, const Console *console)
{
    ApmigFleetDocument *document = apmig_fleet_document_new(FLEET);

    for (guint i = 0; i < sim->n_hosts; i++)
        apmig_fleet_document_add_member(document, console->tells_ids ? console->slots[i].host_id : "",
                                        sim->hosts[i].name);
    g_ptr_array_add(document->locks, lock_new(sim, console));
    return document;
}

static ApmigFleetSnapshot
snapshot_of(const Sim *sim, const Console *console, const ApmigFleetDocument *document)
{
    return (ApmigFleetSnapshot){.cluster_id = console->cluster_id,
                                .revision = console->revision,
                                .document = document,
                                .now = sim->now,
                                .max_age_usec = MAX_AGE};
}

static ApmigFleetVerdict *
judge(const Sim *sim, const Console *console)
{
    g_autoptr(ApmigFleetDocument) document = document_new(sim, console);
    g_autoptr(ApmigFleetLock) lock = lock_new(sim, console);
    g_autoptr(GPtrArray) answers = g_ptr_array_new();
    const ApmigFleetQuestion question = {console->cluster_id, console->revision, lock};
    const ApmigFleetSnapshot snapshot = snapshot_of(sim, console, document);

    for (guint i = 0; i < sim->n_hosts; i++)
        if (console->slots[i].answer)
            g_ptr_array_add(answers, console->slots[i].answer);
    return apmig_fleet_judge(&question, &snapshot, answers);
}

static ApmigFleetRelease *
judge_release(const Sim *sim, const Console *console)
{
    g_autoptr(ApmigFleetDocument) document = document_new(sim, console);
    g_autoptr(ApmigFleetLock) lock = lock_new(sim, console);
    g_autoptr(GPtrArray) keys = g_ptr_array_new();
    const ApmigFleetQuestion question = {console->cluster_id, console->revision, lock};
    const ApmigFleetSnapshot snapshot = snapshot_of(sim, console, document);

    for (guint i = 0; i < sim->n_hosts; i++)
        if (console->slots[i].keys)
            g_ptr_array_add(keys, console->slots[i].keys);
    return apmig_fleet_judge_release(&question, &snapshot, keys);
}

/* --- GO or NO-GO --------------------------------------------------------------------------------- */

/* Of whom GO speaks; not of one that somebody has opened by force since it looked, of which the next question tells. */
static void
rely(Sim *sim, Console *console, const ApmigFleetVerdict *verdict)
{
    console->relied = 0;
    for (guint i = 0; i < sim->n_hosts; i++) {
        const Slot *slot = &console->slots[i];
        const gint64 forced_at = sim->hosts[i].forced_at[console->index];
        const gboolean is_left_out =
            verdict->go != APMIG_FLEET_GO &&
            g_ptr_array_find_with_equal_func(verdict->left_out, sim->hosts[i].name, g_str_equal, NULL);

        if (is_left_out || (forced_at && forced_at >= slot->seen_at))
            continue;
        console->relied |= 1u << i;
        console->relied_from[i] = slot->seen_at;
    }
    console->had_go = console->ever_relied = TRUE;
}

static void
go(Sim *sim, Console *console, const ApmigFleetVerdict *verdict)
{
    sim_met(sim, verdict->go == APMIG_FLEET_GO ? MET_GO : MET_GO_EXCEPT);
    rely(sim, console, verdict);
    console->phase = PHASE_WAITING;
    if (officer_works(sim, console))
        return;
    if (!sim->calm && dice_chance(&sim->dice, sim->profile.careless))
        ask_keys(sim, console, PHASE_TOO_SOON);
    else
        ask_release(sim, console);
}

static void
again(Sim *sim, gpointer object, guint64 run)
{
    Console *console = object;

    if (console->run != run || console->phase != PHASE_WAITING)
        return;
    if (console->state == APMIG_FLEET_RELEASING)
        ask_keys(sim, console, PHASE_KEYS);
    else
        ask_ready(sim, console);
}

static void
wait(Sim *sim, Console *console)
{
    if (console->patience-- == 0) {
        end(sim, console);
        return;
    }
    officer_acknowledges(sim, console);
    console->phase = PHASE_WAITING;
    sim_later(sim, dice_spread(&sim->dice, 1 * SECOND, 20 * SECOND), again, console, console->run, NULL);
}

static void
roll_back(Sim *sim, Console *console)
{
    guint hosts = 0;

    for (guint i = 0; i < sim->n_hosts; i++)
        if (console->slots[i].made)
            hosts |= 1u << i;
    sim_met(sim, MET_ROLLBACK);
    call(sim, console, hosts, CALL_RELEASE, PHASE_ROLLBACK);
}

static gboolean
is_untaken(const Console *console)
{
    for (guint i = 0; i < MAX_HOSTS; i++)
        if (console->slots[i].untaken)
            return TRUE;
    return FALSE;
}

static void
no_go(Sim *sim, Console *console)
{
    sim_met(sim, MET_NO_GO);
    if (console->ever_relied)
        sim_met(sim, MET_GO_HALF_WAY);
    if (is_untaken(console) && !console->had_go)
        roll_back(sim, console);
    else
        wait(sim, console);
}

static void
ready_is_answered(Sim *sim, Console *console)
{
    g_autoptr(ApmigFleetVerdict) verdict = judge(sim, console);

    sim_trace(sim, "%s: %s", console->owner, verdict->sentence);
    for (guint i = 0; i < verdict->reasons->len; i++)
        sim_met(sim, MET_REASON + ((const ApmigFleetReason *)g_ptr_array_index(verdict->reasons, i))->kind);
    if (verdict->go != APMIG_FLEET_NO_GO)
        check_go(sim, console, verdict);
    if (console->state == APMIG_FLEET_RELEASING) { /* it should have taken that back first */
        sim_met(sim, MET_GO_TOO_LATE);
        console->state = APMIG_FLEET_LOCKED;
        ask_ready(sim, console);
    } else if (verdict->go != APMIG_FLEET_NO_GO)
        go(sim, console, verdict);
    else
        no_go(sim, console);
}

void
console_goes_on(Sim *sim, Console *console)
{
    if (console->phase == PHASE_WAITING)
        ask_ready(sim, console);
}

/* --- the release --------------------------------------------------------------------------------- */

/* Nobody has asked for it yet, and that is the answer. */
static void
keys_came_too_soon(Sim *sim, Console *console)
{
    g_autoptr(ApmigFleetRelease) release = judge_release(sim, console);

    sim_met(sim, MET_RELEASE_TOO_SOON);
    if (release->standing == APMIG_FLEET_RELEASE_IN_STEP)
        sim_violation(sim, "F8", "%s may release a lock while GO is relied upon", console->owner);
    ask_release(sim, console);
}

/* What is not in step is mended under the lock, which has to be asked for anew. */
static void
refused(Sim *sim, Console *console)
{
    sim_met(sim, MET_RELEASE_REFUSED);
    officer_mends(sim, console);
    if (!sim->calm && dice_chance(&sim->dice, sim->profile.careless)) {
        ask_ready(sim, console);
        return;
    }
    console->state = APMIG_FLEET_LOCKED;
    take_first(sim, console);
}

static void
open_all(Sim *sim, Console *console, const ApmigFleetRelease *release)
{
    guint hosts = 0;

    sim_met(sim, MET_RELEASE_IN_STEP);
    check_release(sim, console, release);
    for (guint i = 0; i < sim->n_hosts; i++)
        if (*console->slots[i].local_id && !(console->except & (1u << i)))
            hosts |= 1u << i;
    call(sim, console, hosts, CALL_RELEASE, PHASE_OPENING);
}

static void
keys_are_answered(Sim *sim, Console *console)
{
    g_autoptr(ApmigFleetRelease) release = judge_release(sim, console);

    sim_trace(sim, "%s: release: %s", console->owner, *release->message ? release->message : "in step");
    switch (release->standing) {
    case APMIG_FLEET_RELEASE_UNANSWERED:
        sim_met(sim, MET_RELEASE_UNANSWERED);
        wait(sim, console);
        break;
    case APMIG_FLEET_RELEASE_REFUSED:
        refused(sim, console);
        break;
    case APMIG_FLEET_RELEASE_IN_STEP:
        open_all(sim, console, release);
        break;
    }
}

static void
are_open(Sim *sim, Console *console)
{
    gboolean failed = is_untaken(console), differs = FALSE;

    for (guint i = 0; i < sim->n_hosts; i++) {
        failed |= console->slots[i].failed && !(console->except & (1u << i));
        differs |= console->slots[i].differs;
    }
    if (differs)
        officer_mends(sim, console);
    console_end(sim, console);
    if (failed)
        officer_left_alone(sim, console);
    else
        officer_is_done(sim, console);
}

/* --- steps --------------------------------------------------------------------------------------- */

static void
are_found(Sim *sim, Console *console)
{
    guint hosts = 0;

    if (console->want == WANT_RELEASE) {
        ask_release(sim, console);
        return;
    }
    for (guint i = 0; i < sim->n_hosts; i++)
        if (*console->slots[i].local_id)
            hosts |= 1u << i;
    call(sim, console, hosts, CALL_FORCE, PHASE_ROLLBACK);
}

static void
is_rolled_back(Sim *sim, Console *console)
{
    gboolean failed = is_untaken(console);
    const gboolean is_out = console->want == WANT_OUT;

    for (guint i = 0; i < sim->n_hosts; i++)
        failed |= console->slots[i].failed;
    console_end(sim, console);
    if (is_out && !failed)
        officer_is_done(sim, console);
    else
        officer_left_alone(sim, console);
}

/* On one host that another has, nothing more is taken; the judge would say no. */
static void
first_is_taken(Sim *sim, Console *console)
{
    const guint hosts = asked_hosts(sim, console);

    if (is_untaken(console) && dice_chance(&sim->dice, 700))
        roll_back(sim, console);
    else
        call(sim, console, hosts & (hosts - 1), CALL_TAKE, PHASE_REST);
}

void
console_next(Sim *sim, Console *console)
{
    switch (console->phase) {
    case PHASE_FIRST:
        first_is_taken(sim, console);
        break;
    case PHASE_REST:
        ask_ready(sim, console);
        break;
    case PHASE_READY:
        ready_is_answered(sim, console);
        break;
    case PHASE_TOO_SOON:
        keys_came_too_soon(sim, console);
        break;
    case PHASE_FIND:
        are_found(sim, console);
        break;
    case PHASE_KEYS:
        keys_are_answered(sim, console);
        break;
    case PHASE_OPENING:
        are_open(sim, console);
        break;
    case PHASE_ROLLBACK:
        is_rolled_back(sim, console);
        break;
    case PHASE_WAITING:
    case PHASE_OVER:
        break;
    }
}
