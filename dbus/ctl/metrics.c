/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The verb that tells apmigd's state as metrics, in the text format of Prometheus
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). Names are part of the interface: they are added to.
 */
#include <stdio.h>

#include "ctl/bus.h"
#include "ctl/ctl.h"
#include "ctl/lock.h"
#include "ctl/options.h"

/* --- the text ------------------------------------------------------------------------------------ */

static void
append_head(GString *text, const char *name, const char *type, const char *help)
{
    g_string_append_printf(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void
append_gauge(GString *text, const char *name, const char *help, gint64 number)
{
    append_head(text, name, "gauge", help);
    g_string_append_printf(text, "%s %" G_GINT64_FORMAT "\n", name, number);
}

/* @label, @value: words that need no escape */
static void
append_labelled(GString *text, const char *name, const char *label, const char *value, gint64 number)
{
    g_string_append_printf(text, "%s{%s=\"%s\"} %" G_GINT64_FORMAT "\n", name, label, value, number);
}

static guint
count(GPtrArray *objects, const char *property, const char *value)
{
    guint n = 0;

    for (guint i = 0; i < objects->len; i++)
        n += g_str_equal(ctl_string(g_ptr_array_index(objects, i), property), value);
    return n;
}

static void
append_locks(GString *text, GPtrArray *locks)
{
    static const char *const states[] = {"requested", "draining", "held",      "permitted",
                                         "unproven",  "breached", "verifying", "recovered"};
    gint64 oldest = locks->len > 0 ? ctl_int(g_ptr_array_index(locks, 0), "RequestedAt") : 0;
    guint n_overdue = 0;

    append_head(text, "apmigd_locks", "gauge", "Locks on master keys, by state.");
    for (guint i = 0; i < G_N_ELEMENTS(states); i++)
        append_labelled(text, "apmigd_locks", "state", states[i], count(locks, "State", states[i]));
    for (guint i = 0; i < locks->len; i++)
        n_overdue += ctl_bool(g_ptr_array_index(locks, i), "Overdue");
    append_gauge(text, "apmigd_locks_overdue", "Locks that are older than was announced with them.",
                 n_overdue);
    append_gauge(text, "apmigd_oldest_lock_requested_timestamp_seconds",
                 "When the oldest lock was requested; 0 without one.", oldest / G_USEC_PER_SEC);
}

/* Of the locks that there are: what ends with one is not told any more. */
static void
append_lock_facts(GString *text, GPtrArray *locks)
{
    gint64 n_attempts = 0, n_departed = 0, n_empty = 0;

    for (guint i = 0; i < locks->len; i++) {
        JsonObject *lock = g_ptr_array_index(locks, i);

        n_attempts += ctl_int(lock, "Attempts");
        n_departed += ctl_lock_n_departed(lock);
        n_empty += ctl_lock_covers_nothing(lock);
    }
    append_gauge(
        text, "apmigd_locks_attempts",
        "Migrations under the locks there are that were ended before memory left, and guests refused again.",
        n_attempts);
    append_gauge(text, "apmigd_locks_departed_guests",
                 "Affected guests that have gone under a lock, and nobody saw how.", n_departed);
    append_gauge(text, "apmigd_locks_covering_nothing",
                 "Locks that cover no AP queue of this host and no guest on it.", n_empty);
}

static void
append_migrations(GString *text, GPtrArray *migrations)
{
    static const char *const directions[] = {"in", "out"};

    append_head(text, "apmigd_migrations", "gauge",
                "Migrations of affected guests in progress, open admissions included, by direction.");
    for (guint i = 0; i < G_N_ELEMENTS(directions); i++)
        append_labelled(text, "apmigd_migrations", "direction", directions[i],
                        count(migrations, "Direction", directions[i]));
}

static void
append_events(GString *text, JsonObject *manager)
{
    JsonNode *node = json_object_get_member(manager, "Counters");
    JsonObjectIter iter;
    const char *event;

    if (!node || !JSON_NODE_HOLDS_OBJECT(node))
        return;
    append_head(text, "apmigd_events_total", "counter",
                "Entries in the journal since the start of apmigd, by event.");
    json_object_iter_init_ordered(&iter, json_node_get_object(node));
    while (json_object_iter_next_ordered(&iter, &event, &node))
        append_labelled(text, "apmigd_events_total", "event", event, json_node_get_int(node));
}

static void
append_answer(GString *text, JsonObject *manager, GPtrArray *locks, GPtrArray *migrations)
{
    append_locks(text, locks);
    append_lock_facts(text, locks);
    append_migrations(text, migrations);
    append_gauge(text, "apmigd_hypervisor_connected", "Whether libvirt is reached.",
                 !g_str_equal(ctl_string(manager, "HypervisorState"), "disconnected"));
    append_gauge(text, "apmigd_hook_last_called_timestamp_seconds",
                 "When libvirt's hook was called last; 0: not since the start of apmigd.",
                 ctl_int(manager, "HookLastCalled") / G_USEC_PER_SEC);
    append_gauge(text, "apmigd_start_timestamp_seconds", "When apmigd was started.",
                 ctl_int(manager, "StartedAt") / G_USEC_PER_SEC);
    append_events(text, manager);
}

/* Looking whether apmigd runs does not start it. Returns: (transfer full) */
static char *
make_text(sd_bus *bus)
{
    g_autofree char *owner = bus ? ctl_bus_get_owner(bus, NULL) : NULL;
    g_autoptr(JsonObject) manager = owner ? ctl_bus_get_manager(bus, NULL) : NULL;
    g_autoptr(GPtrArray) locks = NULL;
    g_autoptr(GPtrArray) migrations = NULL;
    GString *text = g_string_new(NULL);
    gboolean up = manager && ctl_bus_get_objects(bus, CTL_CALL_USEC, FALSE, &locks, &migrations, NULL);

    append_gauge(text, "apmigd_up", "Whether apmigd answers.", up);
    if (up)
        append_answer(text, manager, locks, migrations);
    return g_string_free(text, FALSE);
}

/* --- the verb ------------------------------------------------------------------------------------ */

static const char metrics_summary[] =
    "Prints metrics of locks, migrations and apmigd itself in Prometheus' text format. When apmigd does not\n"
    "answer, it says so with 'apmigd_up 0', and exits with 0 all the same; it does not start apmigd.";

int
ctl_verb_metrics(int argc, char **argv, GError **error)
{
    g_auto(CtlCommon) common = {0};
    g_autofree char *output = NULL;
    const GOptionEntry entries[] = {
        {"output", 0, 0, G_OPTION_ARG_FILENAME, &output,
         "Write them to FILE, which is replaced at once, for the node exporter's textfile collector", "FILE"},
        {NULL},
    };
    const CtlUsage usage = {"", metrics_summary, NULL, entries, 0, 0};

    if (!ctl_parse_options(&argc, &argv, &usage, &common, error))
        return CTL_EXIT_USAGE;
    if (common.json != CTL_JSON_OFF) {
        g_set_error_literal(error, CTL_ERROR, CTL_EXIT_USAGE,
                            "metrics have a format of their own; for JSON: apmigctl status --json=short");
        return CTL_EXIT_USAGE;
    }

    g_autoptr(sd_bus) bus = ctl_bus_open(&common, NULL);
    g_autofree char *text = make_text(bus);

    if (!output) {
        fputs(text, stdout);
        return CTL_EXIT_OK;
    }
    return g_file_set_contents_full(output, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0644, error)
               ? CTL_EXIT_OK
               : CTL_EXIT_FAILURE;
}
