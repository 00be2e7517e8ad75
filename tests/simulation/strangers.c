/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QEMUs that are not of the hypervisor: which queues they use, and what a reading of the AP bus says of that. With dice
 * of their own, so that what else a seed does stays the same.
 */
#include "ap/fixture.h"
#include "simulation.h"

#define STRANGE_DEVICE "ffffffff-ffff-4fff-8fff-ffffffffffff"

typedef struct {
    guint64 op;
    char *lock;
    guint incarnation;
    gboolean fails;
    guint strange; /* when it was looked at: queues of strangers alone */
    guint hanging;
    gint64 looked_at;
    ApmigApHost *host; /* then */
} Look;

static void
look_clear(gpointer data)
{
    Look *look = data;

    g_free(look->lock);
    apmig_ap_host_free(look->host);
}

static void
look_unref(gpointer look)
{
    g_rc_box_release_full(look, look_clear);
}

/* --- the truth ----------------------------------------------------------------------------------- */

static void
change(Sim *sim, gpointer object, guint64 number)
{
    if (sim->calm)
        return;
    sim->strange =
        dice_chance(&sim->strange_dice, 600) ? 0 : 1u << dice_roll(&sim->strange_dice, 0, sim->n_queues - 1);
    sim->hanging =
        dice_chance(&sim->strange_dice, 850) ? 0 : 1u << dice_roll(&sim->strange_dice, 0, sim->n_queues - 1);
    sim_trace(sim, "strangers use queues %02x, and sysfs hangs for %02x", sim->strange, sim->hanging);
    sim_queue(sim, dice_spread(&sim->strange_dice, 500 * MSEC, 60 * SECOND), change, NULL, 0, NULL);
}

void
strangers_init(Sim *sim)
{
    sim->strange_dice.state = ~sim->seed;
    sim->has_guest_queues = dice_chance(&sim->strange_dice, 300);
    if (sim->has_guest_queues)
        change(sim, NULL, 0);
}

void
strangers_calm_down(Sim *sim)
{
    sim->strange = sim->hanging = 0;
}

/* --- reading it ---------------------------------------------------------------------------------- */

static void
add_device(ApmigApHost *host, const char *uuid, guint mask, Sim *sim)
{
    if (mask)
        host_add_device(host, uuid, apmig_scope_to_string(sim_scope(sim, mask)));
}

/* What a guest uses whose devices can be read. */
static guint
mask_of(const Sim *sim, const Guest *guest)
{
    gboolean is_seen =
        guest->presence != GUEST_ABSENT && guest->kind == APMIG_AFFECTED_YES && *guest->device.uuid;

    return is_seen ? guest->mask & ((1u << sim->n_queues) - 1) : 0;
}

static ApmigApHost *
describe(Sim *sim, guint *ret_strange)
{
    ApmigApHost *host = host_new();
    guint used = 0;

    for (guint i = 0; i < sim->n_guests; i++) {
        add_device(host, sim->guests[i].device.uuid, mask_of(sim, &sim->guests[i]), sim);
        used |= mask_of(sim, &sim->guests[i]);
    }
    *ret_strange = sim->strange & ~used;
    add_device(host, STRANGE_DEVICE, *ret_strange, sim);
    for (guint i = 0; i < sim->n_queues; i += 2)
        host_add_card(host, sim_adapter(i), "CEX8C");
    for (guint i = 0; i < sim->n_queues; i++) {
        ApmigApQueue *queue = host_add_queue(host, sim_adapter(i), sim_domain(i), "vfio_ap");

        queue->status = (used | sim->strange) & (1u << i) ? APMIG_AP_STATUS_IN_USE : APMIG_AP_STATUS_ASSIGNED;
        if (sim->hanging & (1u << i)) {
            queue->status = APMIG_AP_STATUS_UNKNOWN;
            queue->hangs = TRUE;
        }
    }
    return host;
}

static void
answer(Sim *sim, gpointer object, guint64 number)
{
    const Look *look = object;
    ApmigEvent event = {.type = APMIG_EVENT_USES_READ};
    Lock *lock = known_lock(sim, look->lock);

    if (sim->incarnation != look->incarnation || !lock)
        return;
    if (!look->fails && (look->strange & lock->mask))
        sim_cover(sim, COVER_STRANGER);
    else if (!look->fails && (look->hanging & lock->mask))
        sim_cover(sim, COVER_SYSFS_HANGS_USES);
    else if (!look->fails && look->looked_at >= lock->counts_from)
        lock->uses_incarnation = sim->incarnation;
    event.uses_read.op = look->op;
    event.uses_read.host = look->fails ? NULL : look->host;
    event.uses_read.error = look->fails ? "sysfs is late" : NULL;
    daemon_deliver(sim, &event);
}

static void
look_now(Sim *sim, gpointer object, guint64 delay)
{
    Look *look = object;

    look->host = describe(sim, &look->strange);
    look->hanging = sim->hanging;
    look->looked_at = sim->now;
    sim_queue_for_daemon(sim, (gint64)delay, answer, g_rc_box_acquire(look), 0, look_unref);
}

/* One that is late has failed. */
void
strangers_read(Sim *sim, const ApmigAction *action)
{
    Look *look = g_rc_box_new0(Look);
    gboolean slow = !sim->calm && dice_chance(&sim->strange_dice, 100);
    gint64 before = dice_spread(&sim->strange_dice, 1, slow ? action->reading.limit_usec / 2 : 5 * MSEC);
    gint64 after = dice_spread(&sim->strange_dice, 1, slow ? action->reading.limit_usec / 2 : 50 * MSEC);

    look->op = action->op;
    look->lock = g_strdup(action->reading.lock_id);
    look->incarnation = sim->incarnation;
    look->fails = !sim->calm && dice_chance(&sim->strange_dice, 50);
    sim_queue(sim, before, look_now, look, (guint64)after, look_unref);
}

/* --- what follows -------------------------------------------------------------------------------- */

/* @lock becomes held, and was not breached or held before. */
void
check_strangers(Sim *sim, const Lock *lock)
{
    gboolean was_proven =
        lock->listed && (lock->state == APMIG_LOCK_BREACHED || lock->state == APMIG_LOCK_PERMITTED ||
                         lock->state == APMIG_LOCK_UNPROVEN || lock->state == APMIG_LOCK_VERIFYING);

    if (sim->has_guest_queues && !was_proven && lock->uses_incarnation != sim->incarnation)
        sim_violation(sim, "I1", "lock %s becomes held, and strangers may use its queues", lock->id);
}
