/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/metrics-text.h"

#define NO_LABEL NULL

static void
append_head(GString *text, const char *name, const char *type, const char *help)
{
    g_string_append_printf(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* @label: (nullable): with @value, both fixed words that need no escape */
static void
append_sample(GString *text, const char *name, const char *label, const char *value, guint64 number)
{
    g_string_append(text, name);
    if (label)
        g_string_append_printf(text, "{%s=\"%s\"}", label, value);
    g_string_append_printf(text, " %" G_GUINT64_FORMAT "\n", number);
}

static void
append_gauge(GString *text, const char *name, const char *help, guint64 number)
{
    append_head(text, name, "gauge", help);
    append_sample(text, name, NO_LABEL, NULL, number);
}

static void
append_locks(GString *text, const GPtrArray *locks)
{
    static const char *const states[] = {"requested", "draining",  "held",     "permitted",
                                         "breached",  "verifying", "recovered"};
    guint overdue = 0;
    gint64 oldest = 0;

    append_head(text, "apmigd_locks", "gauge", "Locks on master keys, by state.");
    for (guint i = 0; i < G_N_ELEMENTS(states); i++) {
        guint n = 0;

        for (guint j = 0; j < locks->len; j++)
            n += g_str_equal(apmig_lock_state_to_string(g_ptr_array_index(locks, j)), states[i]);
        append_sample(text, "apmigd_locks", "state", states[i], n);
    }
    for (guint i = 0; i < locks->len; i++) {
        const ApmigLock *lock = g_ptr_array_index(locks, i);

        overdue += lock->overdue;
        if (oldest == 0 || lock->record->requested_at < oldest)
            oldest = lock->record->requested_at;
    }
    append_gauge(text, "apmigd_locks_overdue", "Locks that are older than was announced with them.", overdue);
    append_gauge(text, "apmigd_oldest_lock_requested_timestamp_seconds",
                 "When the oldest lock was requested; 0 without one.", (guint64)(oldest / G_USEC_PER_SEC));
}

static void
append_migrations(GString *text, const GPtrArray *migrations)
{
    guint out = 0;

    for (guint i = 0; i < migrations->len; i++)
        out += ((const ApmigMigration *)g_ptr_array_index(migrations, i))->outgoing;
    append_head(text, "apmigd_migrations", "gauge",
                "Migrations of affected guests in progress, open admissions included, by direction.");
    append_sample(text, "apmigd_migrations", "direction", "in", migrations->len - out);
    append_sample(text, "apmigd_migrations", "direction", "out", out);
}

static void
append_events(GString *text, const ApmigMetricsSource *source)
{
    append_head(text, "apmigd_events_total", "counter",
                "Entries in the journal since the start of apmigd, by event.");
    for (guint i = 0; i < APMIG_N_LOGS; i++) {
        if (source->events[i])
            append_sample(text, "apmigd_events_total", "event", source->events[i], source->counts[i]);
    }
}

char *
apmig_metrics_format(const ApmigMetricsSource *source)
{
    g_autoptr(GPtrArray) locks = apmig_engine_list_locks(source->engine);
    g_autoptr(GPtrArray) migrations = apmig_engine_list_migrations(source->engine);
    GString *text = g_string_new(NULL);

    append_locks(text, locks);
    append_migrations(text, migrations);
    append_gauge(text, "apmigd_hypervisor_connected", "Whether libvirt is reached.",
                 !g_str_equal(apmig_engine_view_state(source->engine), "disconnected"));
    append_gauge(text, "apmigd_hook_last_called_timestamp_seconds",
                 "When libvirt's hook was called last; 0: not since the start of apmigd.",
                 (guint64)(source->hook_called_at / G_USEC_PER_SEC));
    append_gauge(text, "apmigd_start_timestamp_seconds", "When apmigd was started.",
                 (guint64)(source->started_at / G_USEC_PER_SEC));
    append_events(text, source);
    return g_string_free(text, FALSE);
}
