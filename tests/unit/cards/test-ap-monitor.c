/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How often, and for what, the monitor of crypto hardware calls. There need be no udev. */
#include "cards/ap-monitor.h"

#define PAUSE_USEC (APMIG_AP_MONITOR_PAUSE_MS * G_TIME_SPAN_MILLISECOND)

typedef struct {
    guint n_calls;
    gint64 last_at;
    gint64 shortest; /* between two calls */
} Calls;

static void
on_change(gpointer user_data)
{
    Calls *calls = user_data;
    gint64 now = g_get_monotonic_time();

    if (calls->n_calls++ > 0)
        calls->shortest = MIN(calls->shortest, now - calls->last_at);
    calls->last_at = now;
}

static gboolean
wake_up(gpointer user_data)
{
    return G_SOURCE_CONTINUE;
}

/* Runs the main loop for as long; with @action taken again and again. */
static void
run(ApmigApMonitor *monitor, gint64 usec, const char *action)
{
    gint64 end = g_get_monotonic_time() + usec;
    guint ticks = g_timeout_add(5, wake_up, NULL);

    while (g_get_monotonic_time() < end) {
        if (action != NULL)
            apmig_ap_monitor_take(monitor, action);
        g_main_context_iteration(NULL, TRUE);
    }
    g_source_remove(ticks);
}

static void
await(const Calls *calls, guint n_calls)
{
    gint64 end = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
    guint ticks = g_timeout_add(5, wake_up, NULL);

    while (calls->n_calls < n_calls && g_get_monotonic_time() < end)
        g_main_context_iteration(NULL, TRUE);
    g_source_remove(ticks);
    g_assert_cmpuint(calls->n_calls, ==, n_calls);
}

static void
test_burst(void)
{
    Calls calls = {.shortest = G_MAXINT64};
    g_autoptr(ApmigApMonitor) monitor = apmig_ap_monitor_new(on_change, &calls);
    gint64 begin = g_get_monotonic_time();

    for (guint i = 0; i < 1000; i++)
        apmig_ap_monitor_take(monitor, i % 2 ? "add" : "change");
    g_assert_cmpuint(calls.n_calls, ==, 0); /* nothing from within the call */
    await(&calls, 1);
    g_assert_cmpint(calls.last_at - begin, >=, PAUSE_USEC - 2000);
    run(monitor, 2 * PAUSE_USEC, NULL);
    g_assert_cmpuint(calls.n_calls, ==, 1);

    /* The last event of all is followed by a call. */
    apmig_ap_monitor_take(monitor, "unbind");
    await(&calls, 2);
}

static void
test_flood(void)
{
    Calls calls = {.shortest = G_MAXINT64};
    g_autoptr(ApmigApMonitor) monitor = apmig_ap_monitor_new(on_change, &calls);

    run(monitor, 5 * PAUSE_USEC, "bind");
    g_assert_cmpuint(calls.n_calls, >=, 2);
    g_assert_cmpuint(calls.n_calls, <=, 5);
    g_assert_cmpint(calls.shortest, >=, PAUSE_USEC - 2000);
}

static void
test_other_actions(void)
{
    Calls calls = {.shortest = G_MAXINT64};
    g_autoptr(ApmigApMonitor) monitor = apmig_ap_monitor_new(on_change, &calls);

    run(monitor, 2 * PAUSE_USEC, "offline");
    run(monitor, PAUSE_USEC / 10, "");
    g_assert_cmpuint(calls.n_calls, ==, 0);
}

static void
test_freed_with_a_call_due(void)
{
    Calls calls = {.shortest = G_MAXINT64};
    ApmigApMonitor *monitor = apmig_ap_monitor_new(on_change, &calls);

    apmig_ap_monitor_take(monitor, "remove");
    apmig_ap_monitor_free(monitor);
    run(NULL, 2 * PAUSE_USEC, NULL);
    g_assert_cmpuint(calls.n_calls, ==, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ap-monitor/burst", test_burst);
    g_test_add_func("/ap-monitor/flood", test_flood);
    g_test_add_func("/ap-monitor/other-actions", test_other_actions);
    g_test_add_func("/ap-monitor/freed-with-a-call-due", test_freed_with_a_call_due);
    return g_test_run();
}
