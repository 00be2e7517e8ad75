/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who has the master keys changed. His plan outlives his console: which queues, on which hosts, to which key, and how far he
 * has come. He changes keys host by host, loads first and sets later, each step only after GO was said anew; and makes
 * mistakes, which the comparison is to find.
 */
#include "fleet.h"

#define DOMAIN_1 0x5u
#define DOMAIN_2 0xau

static void run_again(Sim *sim, gpointer object, guint64 plan);

static void
start_later(Sim *sim, Console *console, gint64 most)
{
    sim_later(sim, dice_spread(&sim->dice, 1 * SECOND, most), run_again, console, console->plan, NULL);
}

/* --- the plan ------------------------------------------------------------------------------------ */

static guint
choose_except(Sim *sim)
{
    guint except = 0;

    if (!dice_chance(&sim->dice, sim->profile.except))
        return 0;
    if (dice_chance(&sim->dice, 50))
        return (1u << sim->n_hosts) - 1;
    except = 1u << dice_roll(&sim->dice, 0, sim->n_hosts - 1);
    if (dice_chance(&sim->dice, 200))
        except |= 1u << dice_roll(&sim->dice, 0, sim->n_hosts - 1);
    return except;
}

/* A name of the list may lead to another host of it, which is counted twice then. */
static void
choose_hosts(Sim *sim, Console *console)
{
    const guint one = (guint)dice_roll(&sim->dice, 0, sim->n_hosts - 1);
    const guint other = (guint)dice_roll(&sim->dice, 0, sim->n_hosts - 1);

    console->except = choose_except(sim);
    for (guint i = 0; i < sim->n_hosts; i++)
        console->leads_to[i] = i;
    if (dice_chance(&sim->dice, sim->profile.alias) && !(console->except & ((1u << one) | (1u << other))))
        console->leads_to[one] = other;
}

static guint
choose_mask(Sim *sim)
{
    static const guint masks[] = {DOMAIN_1, DOMAIN_2, ALL_QUEUES};

    return masks[dice_roll(&sim->dice, 0, 2)];
}

static void
plan_new(Sim *sim, Console *console)
{
    console->plan++;
    console->want = WANT_CHANGE;
    g_snprintf(console->change_id, sizeof(console->change_id), "CHG-%u-%u", console->index, console->plan);
    console->mask = choose_mask(sim);
    choose_hosts(sim, console);
    console->tells_ids = dice_chance(&sim->dice, 500);
    console->missing_hook = dice_chance(&sim->dice, 500);
    console->no_wait = dice_chance(&sim->dice, 500);
    console->target = ++sim->last_key;
    console->mistake = dice_chance(&sim->dice, sim->profile.mistakes)
                           ? (Mistake)dice_roll(&sim->dice, MISTAKE_HOST, MISTAKE_CLEAR)
                           : MISTAKE_NONE;
    console->mistake_at = (guint)dice_roll(&sim->dice, 0, sim->n_hosts - 1);
    console->ever_relied = FALSE;
    console->attempts = console->touched = console->relied = 0;
    for (guint i = 0; i < MAX_HOSTS; i++)
        console->todo[i] = TODO_LOAD;
    for (guint i = 0; i < sim->n_hosts; i++)
        sim->hosts[i].forced_at[console->index] = 0;
    sim_trace(sim, "%s plans to change keys %x to %u", console->owner, console->mask, console->target);
}

static void
begin_plan(Sim *sim, gpointer object, guint64 plan)
{
    Console *console = object;

    if (sim->calm || console->plan != plan || console->want != WANT_NOTHING)
        return;
    plan_new(sim, console);
    console_start(sim, console);
}

/* --- by hand ------------------------------------------------------------------------------------- */

/* Which queues he has in mind on that host. */
static guint
queues_at(const Console *console, guint host)
{
    if (console->mistake == MISTAKE_HOST && console->mistake_at == host)
        return 0;
    if (console->mistake == MISTAKE_QUEUE && console->mistake_at == host)
        return console->mask & (console->mask - 1);
    if (console->mistake == MISTAKE_ADAPTER)
        return console->mask & 0x3;
    return console->mask;
}

static void
load(Sim *sim, Console *console, guint host)
{
    const guint queues = queues_at(console, host);

    console->todo[host] = queues ? TODO_SET : TODO_DONE;
    for (guint queue = 0; queue < N_QUEUES; queue++) {
        const Key *key = &sim->hosts[host].keys[queue];

        if ((queues & (1u << queue)) && key->cur != console->target)
            keys_set(sim, &sim->hosts[host], queue, key->cur, TRUE);
    }
}

static void
set(Sim *sim, Console *console, guint host)
{
    const guint queues = queues_at(console, host);
    const gboolean is_mistaken = console->mistake_at == host;

    console->todo[host] = TODO_DONE;
    if (is_mistaken && console->mistake == MISTAKE_SET)
        return;
    for (guint queue = 0; queue < N_QUEUES; queue++)
        if (queues & (1u << queue))
            keys_set(sim, &sim->hosts[host], queue,
                     is_mistaken && console->mistake == MISTAKE_CLEAR ? 0 : console->target, FALSE);
}

static void
act(Sim *sim, gpointer object, guint64 host)
{
    Console *console = object;

    console->busy = FALSE;
    sim_met(sim, MET_CHANGE);
    if (console->todo[host] == TODO_LOAD)
        load(sim, console, (guint)host);
    else
        set(sim, console, (guint)host);
    console_goes_on(sim, console);
}

gboolean
officer_works(Sim *sim, Console *console)
{
    for (guint i = 0; i < sim->n_hosts && !console->busy; i++) {
        if (!(console->relied & (1u << i)) || console->todo[i] == TODO_DONE)
            continue;
        console->busy = TRUE;
        sim_later(sim, dice_spread(&sim->dice, 100 * MSEC, 15 * SECOND), act, console, i, NULL);
    }
    return console->busy;
}

void
officer_mends(Sim *sim, Console *console)
{
    console->want = WANT_CHANGE;
    console->mistake = MISTAKE_NONE;
    for (guint i = 0; i < MAX_HOSTS; i++)
        console->todo[i] = TODO_LOAD;
}

static void
no_matter(Sim *sim, Host *host, const ApmigAction *reply, gpointer data)
{
}

void
officer_acknowledges(Sim *sim, Console *console)
{
    for (guint i = 0; i < sim->n_hosts; i++) {
        const ApmigLockRecord *record = host_disk_lock(&sim->hosts[i], console);
        ApmigEvent event = {.type = APMIG_EVENT_AMEND};

        if (!record || !record->departed || !record->departed->len || !dice_chance(&sim->dice, 600))
            continue;
        sim_met(sim, MET_ACKNOWLEDGED);
        event.amend.id = record->id;
        event.amend.what = APMIG_AMEND_REASON;
        event.amend.uid = event.amend.owner_uid = 1000 + console->index;
        event.amend.user = console->owner;
        event.amend.text = "seen";
        event.amend.replace = TRUE;
        host_ask(sim, &sim->hosts[i], &event, no_matter, NULL, NULL);
    }
}

/* --- again --------------------------------------------------------------------------------------- */

/* Not while he is at the keys. */
static void
run_again(Sim *sim, gpointer object, guint64 plan)
{
    Console *console = object;

    if (console->plan != plan || console->want == WANT_NOTHING || console->phase != PHASE_OVER)
        return;
    if (console->busy)
        start_later(sim, console, 2 * SECOND);
    else
        console_start(sim, console);
}

/* What cannot be reached, and never was, may be left out. */
static void
leave_out(Sim *sim, Console *console)
{
    const guint host = (guint)dice_roll(&sim->dice, 0, sim->n_hosts - 1);

    if ((console->touched & (1u << host)) || sim->hosts[host].link == LINK_GOOD)
        return;
    sim_trace(sim, "%s leaves %s out", console->owner, sim->hosts[host].name);
    console->except |= 1u << host;
}

/* Before he has relied on anything he may correct himself, in spite of the change id. */
static void
reconsider(Sim *sim, Console *console)
{
    if (console->ever_relied || sim->calm)
        return;
    if (console->leads_to[0] == 0 && dice_chance(&sim->dice, sim->profile.except))
        leave_out(sim, console);
    if (dice_chance(&sim->dice, sim->profile.mistakes / 2))
        console->mask = choose_mask(sim);
}

/* Before he ever had GO. Later only where two have each taken a host of the other's, which somebody had opened by force:
 * people talk then, and one of them gives way. */
static gboolean
gives_up(Sim *sim, const Console *console)
{
    if (console->want != WANT_CHANGE)
        return FALSE;
    if (console->ever_relied)
        return sim->calm && console->attempts > 60 && console->index > 0;
    return console->attempts > 3 && dice_chance(&sim->dice, sim->profile.gives_up);
}

void
officer_left_alone(Sim *sim, Console *console)
{
    if (console->want == WANT_NOTHING)
        return;
    console->attempts++;
    reconsider(sim, console);
    if (console->attempts > 1 && dice_chance(&sim->dice, 500))
        for (guint i = 0; i < sim->n_hosts; i++)
            console->leads_to[i] = i;
    if (gives_up(sim, console)) {
        sim_met(sim, MET_GIVEN_UP);
        sim_trace(sim, "%s gives it up", console->owner);
        console->want = WANT_OUT;
        console->relied = 0;
    }
    start_later(sim, console, 30 * SECOND);
}

void
officer_is_done(Sim *sim, Console *console)
{
    sim_met(sim, MET_PLAN_DONE);
    sim_trace(sim, "%s is done", console->owner);
    console->want = WANT_NOTHING;
    console->relied = 0;
    if (!sim->calm)
        sim_later(sim, dice_spread(&sim->dice, 1 * SECOND, sim->profile.plan_pause), begin_plan, console,
                  console->plan, NULL);
}

gboolean
officers_are_idle(const Sim *sim)
{
    for (guint i = 0; i < N_CONSOLES; i++)
        if (sim->consoles[i].want != WANT_NOTHING)
            return FALSE;
    return TRUE;
}

void
officers_init(Sim *sim)
{
    const guint n = dice_chance(&sim->dice, 600) ? 2 : 1;

    for (guint i = 0; i < N_CONSOLES; i++) {
        Console *console = &sim->consoles[i];

        console->index = i;
        g_strlcpy(console->owner, i ? "carl" : "cora", sizeof(console->owner));
        if (i < n)
            sim_later(sim, dice_spread(&sim->dice, 1 * SECOND, 30 * SECOND), begin_plan, console, 0, NULL);
    }
}
