/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A caller's domain XML, read in a thread: anybody may send one that is much work, and the main loop has a gate to keep.
 * One at a time, so that it is no more than one processor's work, and root's first.
 */
#include "base/mailbox.h"
#include "guest/xml.h"
#include "server/private.h"

#include <string.h>

struct ApmigReadings {
    GThreadPool *pool;
};

typedef struct {
    ApmigCall *call; /* NULL: it is over; the main loop's alone, as the next */
    ApmigReadingFunc func;
    gint is_over;
    gboolean is_roots;
    char *xml;
    ApmigGuest *guest;
    GError *error;
} Reading;

static void
reading_free(gpointer data)
{
    Reading *reading = data;

    g_clear_pointer(&reading->guest, apmig_guest_free);
    g_clear_error(&reading->error);
    g_free(reading->xml);
    g_free(reading);
}

/* The call is over before its XML was read. */
static void
reading_leave(gpointer data)
{
    Reading *reading = data;

    reading->call = NULL;
    g_atomic_int_set(&reading->is_over, TRUE);
}

static void
hand_over(gpointer data)
{
    Reading *reading = data;
    ApmigCall *call = reading->call;

    if (!call)
        return;
    call->data = NULL;
    call->free_data = NULL;
    reading->func(call, g_steal_pointer(&reading->guest), reading->error);
}

static void
read_one(gpointer data, gpointer user_data)
{
    Reading *reading = data;

    if (!g_atomic_int_get(&reading->is_over))
        reading->guest = apmig_guest_parse(reading->xml, strlen(reading->xml), &reading->error);
    apmig_post(hand_over, reading, reading_free);
}

static gint
compare_readings(gconstpointer a, gconstpointer b, gpointer user_data)
{
    return ((const Reading *)b)->is_roots - ((const Reading *)a)->is_roots;
}

ApmigReadings *
apmig_readings_new(void)
{
    ApmigReadings *readings = g_new0(ApmigReadings, 1);

    readings->pool = g_thread_pool_new(read_one, NULL, 1, FALSE, NULL);
    g_thread_pool_set_sort_function(readings->pool, compare_readings, NULL);
    return readings;
}

void
apmig_readings_free(ApmigReadings *readings)
{
    g_thread_pool_free(readings->pool, FALSE, TRUE);
    g_free(readings);
}

void
apmig_call_read_guest(ApmigCall *call, const char *xml, ApmigReadingFunc func)
{
    Reading *reading = g_new0(Reading, 1);

    reading->call = call;
    reading->func = func;
    reading->is_roots = call->uid == 0;
    reading->xml = g_strdup(xml);
    call->data = reading;
    call->free_data = reading_leave;
    g_thread_pool_push(call->server->readings->pool, reading, NULL);
}
