/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What else happens: daemons, hosts and consoles die, connections fail, somebody opens a lock by force, permits a migration,
 * or takes the hook away where nothing is locked. How much of it, each run draws.
 */
#include "fleet.h"

static guint
some(Sim *sim, guint permille)
{
    return dice_chance(&sim->dice, 500) ? permille : 0;
}

void
profile_init(Sim *sim)
{
    Profile *profile = &sim->profile;

    profile->length = dice_roll(&sim->dice, 120, 900) * SECOND;
    profile->move_pause = dice_spread(&sim->dice, 500 * MSEC, 30 * SECOND);
    profile->misfortune_pause = dice_spread(&sim->dice, 5 * SECOND, 120 * SECOND);
    profile->link_pause = dice_spread(&sim->dice, 5 * SECOND, 120 * SECOND);
    profile->plan_pause = dice_spread(&sim->dice, 5 * SECOND, 60 * SECOND);
    profile->slow = some(sim, 20);
    profile->failing = some(sim, 10);
    profile->silent = some(sim, 1);
    profile->late_console = some(sim, 20);
    profile->console_dies = some(sim, 300);
    profile->daemon_dies = some(sim, 150);
    profile->host_dies = some(sim, 50);
    profile->forces = some(sim, 60);
    profile->permits = some(sim, 200);
    profile->hooks = some(sim, 150);
    profile->hangs = some(sim, 50);
    profile->cuts = some(sim, 50);
    profile->alias = some(sim, 150);
    profile->except = some(sim, 200);
    profile->mistakes = some(sim, 400);
    profile->careless = some(sim, 300);
    profile->gives_up = 300;
    profile->stamps = dice_chance(&sim->dice, 300);
}

static Host *
any_host(Sim *sim)
{
    return &sim->hosts[dice_roll(&sim->dice, 0, sim->n_hosts - 1)];
}

/* --- people -------------------------------------------------------------------------------------- */

static void
console_dies(Sim *sim)
{
    Console *console = &sim->consoles[dice_roll(&sim->dice, 0, N_CONSOLES - 1)];

    if (console->phase == PHASE_OVER)
        return;
    sim_trace(sim, "%s: the console dies", console->owner);
    sim_met(sim, MET_CONSOLE_DEATH);
    console_end(sim, console);
    link_drop(sim, console);
    officer_left_alone(sim, console);
}

static void
no_matter(Sim *sim, Host *host, const ApmigAction *reply, gpointer data)
{
}

/* Whoever relied on GO no longer can, for that host. */
static void
force_open(Sim *sim)
{
    Host *host = any_host(sim);
    g_autoptr(GPtrArray) locks = host->engine ? apmig_engine_list_locks(host->engine) : NULL;
    ApmigEvent event = {.type = APMIG_EVENT_RELEASE, .release = {NULL, TRUE, NULL}};
    const ApmigLock *lock;

    if (!locks || !locks->len)
        return;
    lock = g_ptr_array_index(locks, dice_roll(&sim->dice, 0, locks->len - 1));
    for (guint i = 0; i < N_CONSOLES; i++) {
        Console *console = &sim->consoles[i];

        if (!g_str_equal(lock->record->change_id, console->change_id))
            continue;
        host->forced_at[i] = sim->now;
        if (console->relied & (1u << host->index))
            sim_met(sim, MET_FORCED_UNDER_GO);
        console->relied &= ~(1u << host->index);
    }
    sim_trace(sim, "somebody opens lock %s on %s by force", lock->record->id, host->name);
    event.release.id = lock->record->id;
    host_ask(sim, host, &event, no_matter, NULL, NULL);
}

static void
permitted(Sim *sim, Host *host, const ApmigAction *reply, gpointer data)
{
    const Guest *guest = data;

    if (!reply || reply->type != APMIG_ACTION_REPLY_PERMIT)
        return;
    host->permit_at[guest->index] = sim->now;
    sim_trace(sim, "%s may go through on %s", guest->name, host->name);
}

static void
permit(Sim *sim, Host *host, Guest *guest)
{
    g_autofree char *id = g_strdup_printf("%08x", (guint32)dice_next(&sim->dice));
    ApmigEvent event = {.type = APMIG_EVENT_PERMIT};

    if (!host->engine)
        return;
    event.permit.id = id;
    event.permit.uuid = guest->uuid;
    event.permit.name = guest->name;
    event.permit.reason = "the host is to be switched off";
    event.permit.user = "anna";
    event.permit.duration_usec = dice_spread(&sim->dice, 1 * SECOND, 300 * SECOND);
    host_ask(sim, host, &event, permitted, guest, NULL);
}

static void
move_it(Sim *sim, gpointer object, guint64 host)
{
    guest_migrate(sim, object, &sim->hosts[host]);
}

static void
permit_move(Sim *sim)
{
    Guest *guest = &sim->guests[dice_roll(&sim->dice, 0, sim->n_guests - 1)];
    Host *dest = any_host(sim);

    permit(sim, dest, guest);
    if (guest->host && guest->host != dest && dice_chance(&sim->dice, 800))
        permit(sim, guest->host, guest);
    sim_later(sim, dice_spread(&sim->dice, 100 * MSEC, 60 * SECOND), move_it, guest, dest->index, NULL);
}

/* Nobody takes it away under a lock: that is no mishap, but somebody's will. */
static void
change_hook(Sim *sim)
{
    Host *host = any_host(sim);
    g_autoptr(GPtrArray) locks = host->engine ? apmig_engine_list_locks(host->engine) : NULL;

    if (host->hook &&
        (!locks || locks->len || g_hash_table_size(host->locks) || !apmig_engine_is_loaded(host->engine)))
        return;
    host->hook = !host->hook;
    sim_trace(sim, "%s has %s hook", host->name, host->hook ? "its" : "no");
}

/* --- machines ------------------------------------------------------------------------------------ */

static void
hang(Sim *sim)
{
    Host *host = any_host(sim);

    host->hangs_until = sim->now + dice_spread(&sim->dice, 1 * SECOND, 60 * SECOND);
    sim_trace(sim, "%s: libvirt hangs", host->name);
}

static void
act(Sim *sim, gpointer object, guint64 number)
{
    const Profile *profile = &sim->profile;

    if (sim->calm)
        return;
    if (dice_chance(&sim->dice, profile->console_dies))
        console_dies(sim);
    if (dice_chance(&sim->dice, profile->daemon_dies))
        host_daemon_dies(sim, any_host(sim));
    if (dice_chance(&sim->dice, profile->host_dies))
        host_dies(sim, any_host(sim));
    if (dice_chance(&sim->dice, profile->forces))
        force_open(sim);
    if (dice_chance(&sim->dice, profile->permits))
        permit_move(sim);
    if (dice_chance(&sim->dice, profile->hooks))
        change_hook(sim);
    if (dice_chance(&sim->dice, profile->hangs))
        hang(sim);
    if (dice_chance(&sim->dice, profile->cuts))
        libvirt_cut(sim, any_host(sim));
    sim_later(sim, dice_roll(&sim->dice, 10 * MSEC, 2 * profile->misfortune_pause), act, NULL, 0, NULL);
}

/* --- connections --------------------------------------------------------------------------------- */

static void
link_mends(Sim *sim, gpointer object, guint64 number)
{
    Host *host = object;

    if (sim->now >= host->link_until)
        host->link = LINK_GOOD;
}

static void
link_fails(Sim *sim, gpointer object, guint64 number)
{
    static const char *const words[] = {"well", "slowly", "not", "without an answer"};
    Host *host = any_host(sim);
    const gint64 duration = dice_spread(&sim->dice, 1 * SECOND, 120 * SECOND);

    if (sim->calm)
        return;
    host->link = (LinkState)dice_roll(&sim->dice, LINK_SLOW, LINK_HANGS);
    host->link_until = sim->now + duration;
    sim_trace(sim, "%s is reached %s", host->name, words[host->link]);
    sim_later(sim, duration, link_mends, host, 0, NULL);
    sim_later(sim, dice_roll(&sim->dice, 10 * MSEC, 2 * sim->profile.link_pause), link_fails, NULL, 0, NULL);
}

void
misfortune_init(Sim *sim)
{
    sim_later(sim, 10 * SECOND, act, NULL, 0, NULL);
    if (dice_chance(&sim->dice, 700))
        sim_later(sim, 10 * SECOND, link_fails, NULL, 0, NULL);
}

/* What hangs for ever does so until its connection is cut. */
void
misfortune_ends(Sim *sim)
{
    sim_trace(sim, "from now on all goes well");
    sim->calm = TRUE;
    for (guint i = 0; i < sim->n_hosts; i++) {
        Host *host = &sim->hosts[i];

        host->hook = TRUE;
        host->link = LINK_GOOD;
        host->link_until = host->hangs_until = 0;
        libvirt_cut(sim, host);
    }
}
