/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The main loop of a run: a queue of what is to happen in virtual time, and the engine's deadline.
 */
#include "simulation.h"

#include <stdarg.h>

#define CALM_USEC     (240 * SECOND) /* for admissions to expire, jobs to end and locks to become held */
#define RELEASE_USEC  (30 * SECOND)
#define RETAINED_USEC (20 * 60 * SECOND)
#define MAX_EVENTS    2000000
#define TAIL          60 /* lines of the shortened trace */

/* --- the queue ----------------------------------------------------------------------------------- */

static gboolean
comes_before(const Item *a, const Item *b)
{
    return a->time != b->time ? a->time < b->time : a->order < b->order;
}

static void
swap(Sim *sim, guint a, guint b)
{
    Item item = g_array_index(sim->queue, Item, a);

    g_array_index(sim->queue, Item, a) = g_array_index(sim->queue, Item, b);
    g_array_index(sim->queue, Item, b) = item;
}

static void
push(Sim *sim, Item item)
{
    guint at = sim->queue->len;

    item.order = ++sim->n_queued;
    g_array_append_val(sim->queue, item);
    for (; at > 0; at = (at - 1) / 2) {
        guint parent = (at - 1) / 2;

        if (!comes_before(&g_array_index(sim->queue, Item, at), &g_array_index(sim->queue, Item, parent)))
            break;
        swap(sim, at, parent);
    }
}

void
sim_queue(Sim *sim, gint64 delay, void (*func)(Sim *sim, gpointer object, guint64 number), gpointer object,
          guint64 number, GDestroyNotify destroy)
{
    g_assert(delay >= 0);
    push(sim, (Item){sim->now + delay, 0, func, object, number, destroy, FALSE});
}

void
sim_queue_for_daemon(Sim *sim, gint64 delay, void (*func)(Sim *sim, gpointer object, guint64 number),
                     gpointer object, guint64 number, GDestroyNotify destroy)
{
    g_assert(delay >= 0);
    push(sim, (Item){sim->now + delay, 0, func, object, number, destroy, TRUE});
}

static Item
pop(Sim *sim)
{
    Item first = g_array_index(sim->queue, Item, 0);
    guint at = 0;

    swap(sim, 0, sim->queue->len - 1);
    g_array_set_size(sim->queue, sim->queue->len - 1);
    for (;;) {
        guint next = at;

        for (guint child = 2 * at + 1; child <= 2 * at + 2 && child < sim->queue->len; child++)
            if (comes_before(&g_array_index(sim->queue, Item, child), &g_array_index(sim->queue, Item, next)))
                next = child;
        if (next == at)
            return first;
        swap(sim, at, next);
        at = next;
    }
}

void
sim_suspend(Sim *sim, gint64 duration)
{
    sim_trace(sim, "the host is suspended for %d s", (int)(duration / SECOND));
    sim->now += duration;
    sim->awake_since = MAX(sim->awake_since, sim->now);
    for (guint i = 0; i < sim->queue->len; i++)
        g_array_index(sim->queue, Item, i).time += duration;
    sim->last_event_at += duration;
    for (guint i = 0; i < N_WRITERS; i++) {
        sim->writers[i].last_answer_at += duration;
        sim->writers[i].hangs_until += duration;
    }
    for (guint i = 0; i < sim->n_guests; i++)
        sim->guests[i].frozen_until += duration;
}

/* --- reporting ----------------------------------------------------------------------------------- */

G_GNUC_PRINTF(2, 0)
static void
add_line(Sim *sim, const char *format, va_list args)
{
    g_autofree char *text = g_strdup_vprintf(format, args);

    if (sim->trace)
        fprintf(sim->trace, "%11.6f  %s\n", (double)sim->now / SECOND, text);
    if (sim->trace_tail) {
        g_queue_push_tail(sim->trace_tail, g_strdup_printf("%11.6f  %s", (double)sim->now / SECOND, text));
        if (g_queue_get_length(sim->trace_tail) > TAIL)
            g_free(g_queue_pop_head(sim->trace_tail));
    }
}

void
sim_trace(Sim *sim, const char *format, ...)
{
    va_list args;

    if (!sim->trace && !sim->trace_tail)
        return;
    va_start(args, format);
    add_line(sim, format, args);
    va_end(args);
}

void
sim_violation(Sim *sim, const char *rule, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    if (sim->violation)
        return;
    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    sim->violation = g_strdup_printf("%s: %s", rule, text);
    sim_trace(sim, "VIOLATION of %s", sim->violation);
}

/* --- time and scopes ------------------------------------------------------------------------------- */

gint64
sim_boot_time(const Sim *sim)
{
    return sim->now - sim->boot_base;
}

gint64
sim_realtime(const Sim *sim)
{
    return G_GINT64_CONSTANT(1790000000) * SECOND + sim->now + sim->realtime_offset;
}

guint
sim_adapter(guint queue)
{
    return 4 + queue / 2;
}

guint
sim_domain(guint queue)
{
    return 1 + queue % 2;
}

ApmigScope *
sim_scope(Sim *sim, guint mask)
{
    ApmigScope *scope =
        mask < FEW_SCOPES ? sim->few_scopes[mask] : g_hash_table_lookup(sim->scopes, GUINT_TO_POINTER(mask));
    g_autoptr(GString) text = NULL;

    if (scope)
        return scope;
    text = g_string_new(NULL);
    for (guint i = 0; i < sim->n_queues; i++)
        if (mask & (1u << i))
            g_string_append_printf(text, "%s%02x.%04x", text->len ? "," : "", sim_adapter(i), sim_domain(i));
    if (mask & ~((1u << sim->n_queues) - 1))
        scope = apmig_scope_new_all();
    else
        scope = mask ? apmig_scope_parse(text->str, NULL) : apmig_scope_new_none();
    g_assert(scope);
    if (mask < FEW_SCOPES)
        sim->few_scopes[mask] = scope;
    else
        g_hash_table_insert(sim->scopes, GUINT_TO_POINTER(mask), scope);
    return scope;
}

/* --- a run --------------------------------------------------------------------------------------- */

static void
free_queue(Sim *sim)
{
    for (guint i = 0; i < sim->queue->len; i++) {
        Item *item = &g_array_index(sim->queue, Item, i);

        if (item->destroy)
            item->destroy(item->object);
    }
    g_array_unref(sim->queue);
}

Sim *
sim_new(World world, guint64 seed, guint64 *counts)
{
    Sim *sim = g_new0(Sim, 1);

    sim->seed = seed;
    sim->world = world;
    sim->n_queues = world == WORLD_CROWD ? MAX_QUEUES : 4;
    sim->mask_all = (2u << sim->n_queues) - 1;
    sim->scopes = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)apmig_scope_unref);
    sim->dice.state = seed * G_GUINT64_CONSTANT(0x2545f4914f6cdd1d);
    sim->counts = counts;
    sim->now = 100 * SECOND;
    sim->queue = g_array_new(FALSE, FALSE, sizeof(Item));
    sim->migrations = g_ptr_array_new_with_free_func(g_free);
    sim->durable_locks =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)apmig_lock_record_free);
    sim->durable_admissions =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)apmig_admission_free);
    sim->efforts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    sim->actions = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_action_free);
    sim->callers = g_ptr_array_new_with_free_func(g_free);
    sim->locks = g_ptr_array_new_with_free_func((GDestroyNotify)known_lock_free);
    sim->libvirtd_up = TRUE;
    stamps_init(sim);
    actors_init(sim);
    if (dice_chance(&sim->dice, 100)) {
        sim->realtime_offset = -dice_roll(&sim->dice, 1789000000, 1789990000) * SECOND;
        sim_cover(sim, COVER_CLOCK_WRONG);
    }
    cards_init(sim);
    strangers_init(sim);
    guests_init(sim);
    arrivals_init(sim);
    permits_init(sim);
    daemon_start(sim, 0);
    return sim;
}

void
sim_free(Sim *sim)
{
    disk_drop_writes(sim);
    free_queue(sim);
    apmig_engine_free(sim->engine);
    apmig_policy_free(sim->policy);
    g_ptr_array_unref(sim->migrations);
    for (guint i = 0; i < sim->n_guests; i++)
        if (sim->guests[i].sent_under)
            g_ptr_array_unref(sim->guests[i].sent_under);
    g_hash_table_unref(sim->durable_locks);
    g_clear_pointer(&sim->older_locks, g_hash_table_unref);
    g_hash_table_unref(sim->durable_admissions);
    g_hash_table_unref(sim->efforts);
    permits_free(sim);
    g_ptr_array_unref(sim->actions);
    g_ptr_array_unref(sim->callers);
    g_ptr_array_unref(sim->locks);
    for (guint i = 0; i < FEW_SCOPES; i++)
        g_clear_pointer(&sim->few_scopes[i], apmig_scope_unref);
    g_hash_table_unref(sim->scopes);
    if (sim->trace_tail)
        g_queue_free_full(sim->trace_tail, g_free);
    g_free(sim->violation);
    g_free(sim);
}

/* Returns: the virtual time of the engine's deadline, or G_MAXINT64. */
static gint64
deadline_time(const Sim *sim)
{
    if (!sim->engine || sim->deadline == G_MAXINT64)
        return G_MAXINT64;
    return MAX(sim->deadline + sim->boot_base + sim->deadline_late, MAX(sim->now, sim->stands_until));
}

static void
run_until(Sim *sim, gint64 end)
{
    while (!sim->violation) {
        gint64 deadline = deadline_time(sim);
        gint64 next = sim->queue->len ? g_array_index(sim->queue, Item, 0).time : G_MAXINT64;

        if (MIN(deadline, next) > end)
            break;
        if (deadline < next) {
            sim->now = deadline;
            daemon_deadline(sim);
        } else {
            Item item = pop(sim);

            sim->now = item.time;
            if (item.waits && sim->now < sim->stands_until) {
                item.time = sim->stands_until;
                push(sim, item);
                continue;
            }
            item.func(sim, item.object, item.number);
            if (item.destroy)
                item.destroy(item.object);
        }
        if (sim->n_events > MAX_EVENTS)
            sim_violation(sim, "live", "%d events in one run: the engine or the simulation spins",
                          MAX_EVENTS);
    }
    sim->now = MAX(sim->now, end);
}

void
sim_run(Sim *sim)
{
    run_until(sim, sim->now + sim->profile.length);
    if (!sim->violation)
        actors_calm_down(sim);
    run_until(sim, sim->now + CALM_USEC);
    if (!sim->violation)
        check_calm(sim);
    if (!sim->violation)
        actors_release_all(sim);
    run_until(sim, sim->now + RELEASE_USEC);
    run_until(sim, sim->now + RETAINED_USEC);
    if (!sim->violation)
        check_idle(sim);
}
