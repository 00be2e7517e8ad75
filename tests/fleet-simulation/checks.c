/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rules that are judged by what is true. Over all of them: no affected guest ever moves between hosts of different keys
 * while GO is relied upon.
 *
 * Who has a lock opened by force, or permits a migration, after a host has answered answers for that himself: GO speaks of
 * the moment at which hosts looked, and the next question tells. Nor does it promise anything of a host that is left out: its
 * gate is open, and what goes there is ended by the engine at the source if that is in time. How often it is not is counted.
 */
#include "fleet.h"

/* --- what was met -------------------------------------------------------------------------------- */

void
sim_met(Sim *sim, guint met)
{
    sim->met[met]++;
}

const char *
met_name(guint met)
{
    static const char *const names[] = {
        [MET_MOVE] = "guests that moved",
        [MET_REFUSED_MOVE] = "migrations refused at the destination",
        [MET_ABORTED_MOVE] = "migrations ended at the source",
        [MET_PERMITTED_MOVE] = "guests that moved by a permit",
        [MET_MOVE_OUT] = "guests that moved to a host that is left out, and has other keys",
        [MET_DAEMON_DEATH] = "deaths of a daemon",
        [MET_HOST_DEATH] = "deaths of a host",
        [MET_CONSOLE_DEATH] = "deaths of a console",
        [MET_CONSOLE_SLEEP] = "consoles that stood still",
        [MET_LATE_ANSWER] = "answers that came late",
        [MET_FOUND] = "locks found by their change id",
        [MET_LOCKED] = "locks that another had",
        [MET_GO] = "GO",
        [MET_GO_EXCEPT] = "GO-EXCEPT",
        [MET_NO_GO] = "NO-GO",
        [MET_CHANGE] = "steps of a key change",
        [MET_GO_HALF_WAY] = "NO-GO half way",
        [MET_ROLLBACK] = "roll-backs",
        [MET_FORCED_UNDER_GO] = "locks opened by force under GO",
        [MET_GIVEN_UP] = "plans given up",
        [MET_ACKNOWLEDGED] = "guests looked for",
        [MET_RELEASE_UNANSWERED] = "releases without all keys",
        [MET_RELEASE_REFUSED] = "releases refused",
        [MET_RELEASE_IN_STEP] = "releases in step",
        [MET_RELEASE_TOO_SOON] = "releases judged before they were asked for",
        [MET_GO_TOO_LATE] = "questions after a release was asked for",
        [MET_PLAN_DONE] = "plans that came to their end",
    };

    return met < MET_REASON ? names[met]
                            : apmig_fleet_reason_kind_to_string((ApmigFleetReasonKind)(met - MET_REASON));
}

/* --- moves --------------------------------------------------------------------------------------- */

/* Before it happens. */
void
check_move(Sim *sim, const Guest *guest)
{
    const Host *source = guest->source, *dest = guest->dest;

    for (guint i = 0; i < N_CONSOLES; i++) {
        const Console *console = &sim->consoles[i];
        const guint mask = guest->mask & console->mask;
        const guint queue = keys_differ(source, dest, mask);

        if (queue < N_QUEUES && (console->relied & (1u << source->index)) &&
            (console->except & (1u << dest->index)))
            sim_met(sim, MET_MOVE_OUT);
        if (!mask || !(console->relied & (1u << dest->index)) ||
            guest->permitted_at > console->relied_from[dest->index])
            continue;
        if (queue < N_QUEUES)
            sim_violation(sim, RULE_OVER_ALL,
                          "%s moves from %s to %s, whose keys of %02x.%04x differ, while %s relies on GO",
                          guest->name, source->name, dest->name, keys_adapter(queue), keys_domain(queue),
                          console->owner);
        else
            sim_violation(sim, "F1", "%s moves from %s to %s while %s relies on GO", guest->name,
                          source->name, dest->name, console->owner);
    }
}

/* --- GO ------------------------------------------------------------------------------------------ */

/* On the disk, over all that was asked for. */
static gboolean
has_lock(const Sim *sim, const Host *host, const Console *console)
{
    const ApmigLockRecord *record = host_disk_lock(host, console);

    return record && record->held_at > 0 && apmig_scope_equal(record->scope, sim->scopes[console->mask]);
}

static gboolean
is_coming(const Guest *guest, const Host *host, const Console *console)
{
    return (guest->mask & console->mask) && guest->dest == host && guest->stage >= STAGE_ALLOWED &&
           guest->stage < STAGE_ARRIVED;
}

static void
check_host(Sim *sim, const Console *console, guint index)
{
    const Slot *slot = &console->slots[index];
    const Host *host = &sim->hosts[index];
    const gint64 forced_at = host->forced_at[console->index];

    if (forced_at >= slot->seen_at && forced_at > sim->now - MAX_AGE)
        return;
    if (!has_lock(sim, host, console))
        sim_violation(sim, "F1", "GO is said to %s, and %s has no lock", console->owner, host->name);
    if (!host->hook)
        sim_violation(sim, "F1", "GO is said to %s, and the gate of %s is open", console->owner, host->name);
    if (slot->seen_revision != console->revision)
        sim_violation(sim, "F6", "GO is said to %s, and %s has not answered", console->owner, host->name);
    if (slot->seen_at < sim->now - MAX_AGE)
        sim_violation(sim, "F6", "GO is said to %s, and %s answered long ago", console->owner, host->name);
    if (!slot->seen_ready)
        sim_violation(sim, "F1", "GO is said to %s, and %s said that it is not ready", console->owner,
                      host->name);
    for (guint i = 0; i < sim->n_guests; i++)
        if (is_coming(&sim->guests[i], host, console) && sim->guests[i].permitted_at <= slot->seen_at)
            sim_violation(sim, "F1", "GO is said to %s, and %s is coming to %s", console->owner,
                          sim->guests[i].name, host->name);
}

void
check_go(Sim *sim, const Console *console, const ApmigFleetVerdict *verdict)
{
    guint n = 0;

    if (console->state != APMIG_FLEET_LOCKED)
        sim_violation(sim, "F8", "GO is said to %s, who has asked for the release", console->owner);
    if (verdict->go == APMIG_FLEET_GO && console->except)
        sim_violation(sim, "F1", "GO is said to %s, and hosts are left out", console->owner);
    for (guint i = 0; i < sim->n_hosts; i++) {
        if (verdict->go == APMIG_FLEET_GO_EXCEPT && (console->except & (1u << i)))
            continue;
        check_host(sim, console, i);
        n++;
    }
    if (n == 0)
        sim_violation(sim, "F1", "GO is said to %s, and no host is locked", console->owner);
}

/* --- release ------------------------------------------------------------------------------------- */

void
check_release_asked(Sim *sim, const Console *console, const Host *host)
{
    if (console->relied & (1u << host->index))
        sim_violation(sim, "F8", "%s asks %s for a release, and relies on GO", console->owner, host->name);
}

static gboolean
is_known(const Key *key, gint64 since)
{
    return key->readable && key->since <= since;
}

static void
check_keys(Sim *sim, const Console *console, guint index, guint queue)
{
    const Host *host = &sim->hosts[index];
    const Key *key = &host->keys[queue], *beside = &host->keys[(queue + 2) % N_QUEUES];

    if (!is_known(key, console->asked_at))
        return;
    if (key->pending)
        sim_violation(sim, RULE_RELEASE, "%s may release, and a key on %s is not set", console->owner,
                      host->name);
    if (is_known(beside, console->asked_at) && key->cur != beside->cur)
        sim_violation(sim, RULE_RELEASE, "%s may release, and two adapters of %s differ", console->owner,
                      host->name);
    for (guint i = 0; i < index; i++) {
        const Key *other = &sim->hosts[i].keys[queue];

        if (!(console->except & (1u << i)) && is_known(other, console->asked_at) && other->cur != key->cur)
            sim_violation(sim, RULE_RELEASE, "%s may release, and %s and %s have different keys",
                          console->owner, sim->hosts[i].name, host->name);
    }
}

void
check_release(Sim *sim, const Console *console, const ApmigFleetRelease *release)
{
    for (guint i = 0; i < sim->n_hosts; i++) {
        if (console->except & (1u << i))
            continue;
        if (console->slots[i].read_revision != console->revision)
            sim_violation(sim, "F6", "%s may release, and %s has not told its keys", console->owner,
                          sim->hosts[i].name);
        for (guint queue = 0; queue < N_QUEUES; queue++)
            if (console->mask & (1u << queue))
                check_keys(sim, console, i, queue);
    }
}

/* --- the end ------------------------------------------------------------------------------------- */

void
check_end(Sim *sim)
{
    for (guint i = 0; i < N_CONSOLES; i++)
        if (sim->consoles[i].want != WANT_NOTHING)
            sim_violation(sim, "live", "%s does not come to an end", sim->consoles[i].owner);
    for (guint i = 0; i < sim->n_hosts; i++)
        if (g_hash_table_size(sim->hosts[i].locks) > 0)
            sim_violation(sim, "live", "a lock is left on %s", sim->hosts[i].name);
}
