/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The main loop of a run: a queue of what is to happen in virtual time, and the engines' deadlines.
 */
#include "fleet.h"

#include <stdarg.h>

#define CALM_USEC  (4 * 3600 * SECOND) /* at most, for every officer to come to his end */
#define MAX_EVENTS 2000000
#define TAIL       60 /* lines of the shortened trace */

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

void
sim_later(Sim *sim, gint64 delay, Happening func, gpointer object, guint64 number, GDestroyNotify destroy)
{
    Item item = {sim->now + delay, ++sim->n_queued, func, object, number, destroy};
    guint at = sim->queue->len;

    g_assert(delay >= 0);
    g_array_append_val(sim->queue, item);
    for (; at > 0; at = (at - 1) / 2) {
        if (!comes_before(&g_array_index(sim->queue, Item, at),
                          &g_array_index(sim->queue, Item, (at - 1) / 2)))
            break;
        swap(sim, at, (at - 1) / 2);
    }
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

/* --- reporting ----------------------------------------------------------------------------------- */

void
sim_trace(Sim *sim, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    if (!sim->trace && !sim->trace_tail)
        return;
    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    if (sim->trace)
        fprintf(sim->trace, "%11.6f  %s\n", (double)sim->now / SECOND, text);
    if (!sim->trace_tail)
        return;
    g_queue_push_tail(sim->trace_tail, g_strdup_printf("%11.6f  %s", (double)sim->now / SECOND, text));
    if (g_queue_get_length(sim->trace_tail) > TAIL)
        g_free(g_queue_pop_head(sim->trace_tail));
}

void
sim_violation(Sim *sim, const char *rule, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    if (sim->violation ||
        (sim->harm_alone && !g_str_equal(rule, RULE_OVER_ALL) && !g_str_equal(rule, RULE_RELEASE)))
        return;
    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    sim->violation = g_strdup_printf("%s: %s", rule, text);
    sim_trace(sim, "VIOLATION of %s", sim->violation);
}

gint64
sim_realtime(const Sim *sim)
{
    return G_GINT64_CONSTANT(1790000000) * SECOND + sim->now;
}

/* --- a run --------------------------------------------------------------------------------------- */

static void
scopes_init(Sim *sim)
{
    for (guint mask = 1; mask <= ALL_QUEUES; mask++) {
        g_autoptr(GString) text = g_string_new(NULL);

        for (guint i = 0; i < N_QUEUES; i++)
            if (mask & (1u << i))
                g_string_append_printf(text, "%s%02x.%04x", text->len ? "," : "", keys_adapter(i),
                                       keys_domain(i));
        sim->scopes[mask] = apmig_scope_parse(text->str, NULL);
    }
    sim->scopes[0] = apmig_scope_new_none();
}

Sim *
sim_new(guint64 seed, guint64 *met)
{
    Sim *sim = g_new0(Sim, 1);

    sim->seed = seed;
    sim->dice.state = seed * G_GUINT64_CONSTANT(0x2545f4914f6cdd1d);
    sim->met = met;
    sim->now = 100 * SECOND;
    sim->queue = g_array_new(FALSE, FALSE, sizeof(Item));
    sim->actions = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_action_free);
    scopes_init(sim);
    profile_init(sim);
    hosts_init(sim);
    keys_init(sim);
    guests_init(sim);
    officers_init(sim);
    misfortune_init(sim);
    return sim;
}

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

void
sim_free(Sim *sim)
{
    for (guint i = 0; i < N_CONSOLES; i++)
        console_end(sim, &sim->consoles[i]);
    free_queue(sim);
    hosts_free(sim);
    g_ptr_array_unref(sim->actions);
    for (guint mask = 0; mask <= ALL_QUEUES; mask++)
        apmig_scope_unref(sim->scopes[mask]);
    if (sim->trace_tail)
        g_queue_free_full(sim->trace_tail, g_free);
    g_free(sim->violation);
    g_free(sim);
}

/* Returns: (nullable): the host whose engine's deadline is first. */
static Host *
first_deadline(Sim *sim, gint64 *ret_time)
{
    Host *first = NULL;

    *ret_time = G_MAXINT64;
    for (guint i = 0; i < sim->n_hosts; i++) {
        Host *host = &sim->hosts[i];
        gint64 time = host->engine && host->deadline != G_MAXINT64
                          ? MAX(host->deadline + host->boot_base, sim->now)
                          : G_MAXINT64;

        if (time < *ret_time) {
            *ret_time = time;
            first = host;
        }
    }
    return first;
}

static void
run_until(Sim *sim, gint64 end, gboolean (*is_over)(const Sim *sim))
{
    while (!sim->violation && (!is_over || !is_over(sim))) {
        gint64 deadline;
        Host *host = first_deadline(sim, &deadline);
        gint64 next = sim->queue->len ? g_array_index(sim->queue, Item, 0).time : G_MAXINT64;

        if (MIN(deadline, next) > end)
            break;
        if (host && deadline < next) {
            sim->now = deadline;
            host_deadline(sim, host);
        } else {
            Item item = pop(sim);

            sim->now = item.time;
            item.func(sim, item.object, item.number);
            if (item.destroy)
                item.destroy(item.object);
        }
        if (sim->n_events > MAX_EVENTS)
            sim_violation(sim, "live", "%d events in one run: an engine or the simulation spins", MAX_EVENTS);
    }
}

void
sim_run(Sim *sim)
{
    run_until(sim, sim->now + sim->profile.length, NULL);
    if (!sim->violation)
        misfortune_ends(sim);
    run_until(sim, sim->now + CALM_USEC, officers_are_idle);
    run_until(sim, sim->now + 60 * SECOND, NULL);
    if (!sim->violation)
        check_end(sim);
}
