/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The truth about master keys: what each queue has in its registers, and whether the host can read it. And what the
 * daemon learns of it: queue after queue, late, never, or not at all.
 */
#include "ap/fixture.h"
#include "simulation.h"

#include <string.h>

typedef struct {
    guint64 op;
    char *lock;
    guint mask;
    guint incarnation;
    gboolean fails;
    KeyQueue seen[MAX_QUEUES]; /* what each was when it was read */
} Reading;

/* --- the truth ----------------------------------------------------------------------------------- */

void
cards_init(Sim *sim)
{
    for (guint i = 0; i < sim->n_queues; i++)
        sim->queues[i] = (KeyQueue){.readable = dice_chance(&sim->dice, 750), .cur = 1};
}

static void
bring_into_step(Sim *sim)
{
    guint cur = (guint)dice_roll(&sim->dice, 1, 3);

    for (guint i = 0; i < sim->n_queues; i++) {
        sim->queues[i].cur = cur;
        sim->queues[i].pending = FALSE;
        sim->queues[i].since = sim->now;
    }
}

void
cards_change(Sim *sim)
{
    gint64 what = dice_roll(&sim->dice, 0, 99);
    KeyQueue *queue = &sim->queues[dice_roll(&sim->dice, 0, sim->n_queues - 1)];

    if (what < 30)
        queue->pending = !queue->pending;
    else if (what < 50)
        queue->cur = (guint)dice_roll(&sim->dice, 1, 3);
    else if (what < 65)
        queue->readable = !queue->readable;
    else
        bring_into_step(sim);
    queue->since = sim->now;
    sim_trace(sim, "keys change");
}

void
cards_calm_down(Sim *sim)
{
    bring_into_step(sim);
}

static gboolean
is_seen(const Sim *sim, guint mask, guint i)
{
    return !sim->profile.no_ap && (mask & (1u << i)) && sim->queues[i].readable;
}

gboolean
cards_are_unfinished(const Sim *sim, guint mask, gint64 since)
{
    for (guint i = 0; i < sim->n_queues; i++)
        if (is_seen(sim, mask, i) && sim->queues[i].pending && sim->queues[i].since <= since)
            return TRUE;
    return FALSE;
}

gboolean
cards_differ(const Sim *sim, guint mask, gint64 since)
{
    for (guint i = 0; i < sim->n_queues; i++)
        for (guint j = 0; j < i; j++)
            if (sim_domain(i) == sim_domain(j) && is_seen(sim, mask, i) && is_seen(sim, mask, j) &&
                sim->queues[i].cur != sim->queues[j].cur &&
                MAX(sim->queues[i].since, sim->queues[j].since) <= since)
                return TRUE;
    return FALSE;
}

gboolean
cards_changed(const Sim *sim, guint mask, gint64 since)
{
    for (guint i = 0; i < sim->n_queues; i++)
        if ((mask & (1u << i)) && sim->queues[i].since > since)
            return TRUE;
    return FALSE;
}

gboolean
cards_are_named(const Sim *sim, guint mask, gint64 since, const char *text)
{
    if (strstr(text, " more")) /* a sentence names a few */
        return TRUE;
    for (guint i = 0; i < sim->n_queues; i++) {
        g_autofree char *name = g_strdup_printf("%02x.%04x", sim_adapter(i), sim_domain(i));

        if ((mask & (1u << i)) && !sim->queues[i].readable && sim->queues[i].since <= since &&
            !strstr(text, name))
            return FALSE;
    }
    return TRUE;
}

/* --- reading it ---------------------------------------------------------------------------------- */

static void
reading_clear(gpointer data)
{
    g_free(((Reading *)data)->lock);
}

static void
reading_unref(gpointer reading)
{
    g_rc_box_release_full(reading, reading_clear);
}

static ApmigApHost *
describe_host(const Sim *sim)
{
    ApmigApHost *host = host_new();

    host->present = !sim->profile.no_ap;
    if (!host->present)
        return host;
    for (guint i = 0; i < sim->n_queues; i += 2)
        host_add_card(host, sim_adapter(i), "CEX8C");
    for (guint i = 0; i < sim->n_queues; i++)
        host_add_queue(host, sim_adapter(i), sim_domain(i), sim->queues[i].readable ? "cex4queue" : "vfio_ap")
            ->online = APMIG_YES;
    return host;
}

/* Returns: (transfer full) (element-type ApmigKeyReading) */
static GPtrArray *
describe_readings(const Sim *sim, const Reading *reading)
{
    GPtrArray *readings = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < sim->n_queues; i++) {
        const KeyQueue *seen = &reading->seen[i];
        g_autofree char *text =
            g_strdup_printf("AES NEW: %s\nAES CUR: valid 0x000000000000000%u\nAES OLD: invalid -\n",
                            seen->pending ? "full 0x00000000000000aa" : "empty -", seen->cur);
        ApmigKeyReading *key_reading;

        if (!seen->readable)
            continue;
        key_reading = g_new0(ApmigKeyReading, 1);
        key_reading->adapter = sim_adapter(i);
        key_reading->domain = sim_domain(i);
        key_reading->mkvps = mkvps_of(text);
        g_ptr_array_add(readings, key_reading);
    }
    return readings;
}

static void
answer(Sim *sim, gpointer object, guint64 number)
{
    const Reading *reading = object;
    ApmigEvent event = {.type = APMIG_EVENT_KEYS_READ};
    g_autoptr(GPtrArray) readings = NULL;
    g_autoptr(ApmigEvidence) evidence = NULL;
    ApmigApHost *host;

    if (sim->incarnation != reading->incarnation)
        return;
    check_keys_answer(sim, known_lock(sim, reading->lock), reading->op, reading->fails);
    host = describe_host(sim);
    readings = describe_readings(sim, reading);
    evidence = apmig_evidence_new();
    event.keys_read.op = reading->op;
    event.keys_read.error = reading->fails ? "the bus is not there" : NULL;
    event.keys_read.host = reading->fails ? NULL : host;
    event.keys_read.readings = reading->fails ? NULL : readings;
    event.keys_read.evidence = reading->fails ? NULL : evidence;
    daemon_deliver(sim, &event);
    apmig_ap_host_free(host);
}

static void
look(Sim *sim, gpointer object, guint64 number)
{
    Reading *reading = object;

    reading->seen[number] = sim->queues[number];
    reading->seen[number].readable = is_seen(sim, reading->mask, (guint)number);
}

void
cards_read(Sim *sim, const ApmigAction *action)
{
    const Profile *profile = &sim->profile;
    gboolean slow = !sim->calm && dice_chance(&sim->dice, profile->slow_cards);
    Reading *reading = g_rc_box_new0(Reading);
    gint64 delay = 0;

    reading->op = action->op;
    reading->lock = g_strdup(action->reading.lock_id);
    reading->mask = known_lock(sim, action->reading.lock_id)->mask;
    reading->incarnation = sim->incarnation;
    reading->fails = !sim->calm && dice_chance(&sim->dice, profile->failing_cards);
    for (guint i = 0; i < sim->n_queues; i++) {
        delay += dice_spread(&sim->dice, 1 * MSEC, slow ? 20 * SECOND : 50 * MSEC);
        sim_queue(sim, delay, look, g_rc_box_acquire(reading), i, reading_unref);
    }
    if (sim->calm || !dice_chance(&sim->dice, profile->silent_cards))
        sim_queue_for_daemon(sim, delay + dice_spread(&sim->dice, 1, 5 * MSEC), answer,
                             g_rc_box_acquire(reading), 0, reading_unref);
    reading_unref(reading);
}
