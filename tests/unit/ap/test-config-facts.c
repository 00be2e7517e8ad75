/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which changes of the AP configuration are told, and when: under what, and between which readings. */
#include "ap/config-facts.h"

#include "ap/fixture.h"

#define D1 "a1b2c3d4-f1bb-47f0-914d-000000000101"
#define D2 "a1b2c3d4-f1bb-47f0-914d-000000000102"

/* 02.0005 and 02.002c are of D1, 05.0005 of D2. */
static ApmigApHost *
make_host(void)
{
    ApmigApHost *host = host_new();

    host_add_card(host, 2, "CEX8C");
    host_add_card(host, 5, "CEX8P");
    host_add_queue(host, 2, 5, "vfio_ap");
    host_add_queue(host, 2, 0x2c, "vfio_ap");
    host_add_queue(host, 5, 5, "vfio_ap");
    host_add_device(host, D1, "02.0005,02.002c");
    host_add_device(host, D2, "05.0005");
    return host;
}

static ApmigApQueue *
queue_of(ApmigApHost *host, guint index)
{
    return host->queues->pdata[index];
}

static ApmigApDevice *
device_of(ApmigApHost *host, guint index)
{
    return host->devices->pdata[index];
}

static ApmigWatch *
watch_new(void)
{
    return apmig_watch_new(&apmig_config_kind);
}

/* Two readings that agree: by the first nobody is told of anything. */
static ApmigWatchChanges *
observe_host(ApmigWatch *watch, const ApmigApHost *host, gint64 asked_at)
{
    g_autoptr(GHashTable) facts = apmig_config_facts(host);

    g_assert_null(apmig_watch_observe(watch, facts, asked_at, asked_at));
    return apmig_watch_observe(watch, facts, asked_at, asked_at);
}

/* --- one comparison ------------------------------------------------------------------------------ */

static void
nothing(ApmigApHost *host)
{
}

static void
start_guest(ApmigApHost *host)
{
    queue_of(host, 0)->status = APMIG_AP_STATUS_IN_USE;
    queue_of(host, 0)->online = APMIG_YES;
}

static void
reserve(ApmigApHost *host)
{
    apmig_ap_mask_add(&host->adapters_default, 2);
    apmig_ap_mask_add(&host->domains_default, 5);
}

static void
hide_masks(ApmigApHost *host)
{
    reserve(host);
    host->has_default_masks = APMIG_UNKNOWN;
}

static void
rebind(ApmigApHost *host)
{
    g_free(queue_of(host, 0)->driver);
    queue_of(host, 0)->driver = g_strdup("cex4queue");
}

static void
take_device_away(ApmigApHost *host)
{
    g_ptr_array_remove_index(host->devices, 1);
}

static void
take_over(ApmigApHost *host)
{
    take_device_away(host);
    apmig_ap_mask_add(&device_of(host, 0)->adapters, 5);
    apmig_scope_unref(device_of(host, 0)->queues);
    device_of(host, 0)->queues = scope_of("02.0005,02.002c,05.0005");
}

static void
filter(ApmigApHost *host)
{
    apmig_scope_unref(device_of(host, 1)->queues);
    device_of(host, 1)->queues = apmig_scope_new_none();
}

static void
hide_device(ApmigApHost *host)
{
    filter(host);
    g_clear_pointer(&device_of(host, 1)->queues, apmig_scope_unref);
    device_of(host, 1)->has_config = APMIG_UNKNOWN;
}

static void
deconfigure_card(ApmigApHost *host)
{
    ((ApmigApCard *)host->cards->pdata[1])->config = APMIG_NO;
}

static void
stop_queue(ApmigApHost *host)
{
    queue_of(host, 2)->chkstop = APMIG_YES;
}

static void
stop_queue_and_reserve(ApmigApHost *host)
{
    stop_queue(host);
    reserve(host);
}

static void
remove_queue(ApmigApHost *host)
{
    g_ptr_array_remove_index(host->queues, 2);
}

static void
test_compare(void)
{
    static const char *const only_d1[] = {D1, NULL};
    static const struct {
        void (*change)(ApmigApHost *host);
        const char *const *expected;
        const char *queue; /* NULL: no finding */
        const char *was, *is;
    } cases[] = {
        {nothing, NULL, NULL, NULL, NULL},
        {start_guest, NULL, NULL, NULL, NULL},
        {reserve, NULL, "02.0005", "set aside for guests", "reserved for the host's drivers"},
        {hide_masks, NULL, NULL, NULL, NULL},
        {rebind, NULL, "02.0005", "bound to vfio_ap", "bound to cex4queue"},
        {take_device_away, NULL, "05.0005", "assigned to mediated device " D2,
         "assigned to no mediated device"},
        {take_over, NULL, "05.0005", "assigned to mediated device " D2, "assigned to mediated device " D1},
        {take_over, only_d1, NULL, NULL, NULL},
        {take_device_away, only_d1, "05.0005", "assigned to mediated device " D2,
         "assigned to no mediated device"},
        {filter, NULL, "05.0005", "for the guest of mediated device " D2, "for no guest"},
        {hide_device, NULL, NULL, NULL, NULL},
        {deconfigure_card, NULL, "05.0005", "configured", "deconfigured"},
        {stop_queue, NULL, "05.0005", "not checkstopped", "checkstopped"},
        {remove_queue, NULL, "05.0005", "there", "gone"},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(ApmigApHost) before = make_host();
        g_autoptr(ApmigApHost) now = make_host();
        g_autoptr(ApmigWatch) watch = watch_new();
        g_autoptr(ApmigScope) all = scope_of("all");
        g_autoptr(ApmigWatchChanges) changes = NULL;
        g_autofree char *sentence = NULL;

        apmig_watch_begin(watch, "l", "under lock l", all, cases[i].expected, 1);
        g_assert_null(observe_host(watch, before, 2));
        cases[i].change(now);
        changes = observe_host(watch, now, 3);
        g_assert_cmpint(changes != NULL, ==, cases[i].queue != NULL);
        if (!changes)
            continue;
        sentence = g_strdup_printf("The AP configuration changes under lock l: AP queue %s was %s and is %s.",
                                   cases[i].queue, cases[i].was, cases[i].is);
        g_assert_cmpstr(changes->message, ==, sentence);
        g_assert_cmpstr(apmig_scope_to_string(changes->queues), ==, cases[i].queue);
    }
}

/* --- over time ----------------------------------------------------------------------------------- */

static ApmigWatchChanges *
observe(ApmigWatch *watch, void (*change)(ApmigApHost *host), gint64 asked_at)
{
    g_autoptr(ApmigApHost) host = make_host();

    change(host);
    return observe_host(watch, host, asked_at);
}

static void
test_under_a_lock(void)
{
    g_autoptr(ApmigWatch) watch = watch_new();
    g_autoptr(ApmigScope) scope = scope_of("05.*");

    g_assert_null(observe(watch, nothing, 1));
    g_assert_true(apmig_watch_begin(watch, "l", "under lock l", scope, NULL, 2));
    g_assert_false(apmig_watch_begin(watch, "l", "under lock l", scope, NULL, 3));
    g_assert_null(observe(watch, stop_queue, 4));             /* it may have been so before the lock */
    g_assert_null(observe(watch, stop_queue_and_reserve, 5)); /* of a queue that the lock does not cover */
}

static void
test_told_once(void)
{
    g_autoptr(ApmigWatch) watch = watch_new();
    g_autoptr(ApmigScope) scope = scope_of("05.*");
    g_autoptr(ApmigWatchChanges) changes = NULL;

    apmig_watch_begin(watch, "m", "while guest g migrates out", scope, NULL, 1);
    apmig_watch_begin(watch, "l", "under lock l", scope, NULL, 1);
    g_assert_null(observe(watch, nothing, 2));
    changes = observe(watch, stop_queue, 3);
    g_assert_nonnull(changes);
    g_assert_cmpstr(apmig_scope_to_string(changes->queues), ==, "05.0005");
    g_assert_cmpstr(
        changes->message, ==,
        "The AP configuration changes under lock l, while guest g migrates out: AP queue 05.0005 was "
        "not checkstopped and is checkstopped.");
    g_assert_null(observe(watch, stop_queue, 4));
}

/* What is read because of the end still counts; what is read later does not, and an id may come again. */
static void
test_end(void)
{
    g_autoptr(ApmigWatch) watch = watch_new();
    g_autoptr(ApmigScope) scope = scope_of("all");
    g_autoptr(ApmigWatchChanges) late = NULL;
    g_autoptr(ApmigWatchChanges) again = NULL;

    apmig_watch_begin(watch, "l", "under lock l", scope, NULL, 1);
    g_assert_null(observe(watch, nothing, 2));
    g_assert_true(apmig_watch_end(watch, "l", 4));
    g_assert_false(apmig_watch_end(watch, "l", 5));
    g_assert_false(apmig_watch_end(watch, "another", 5));
    late = observe(watch, rebind, 3);
    assert_says(late->message, "AP queue 02.0005 was bound to vfio_ap and is bound to cex4queue");
    g_assert_null(observe(watch, stop_queue, 6));
    g_assert_true(apmig_watch_begin(watch, "l", "under lock l", scope, NULL, 7));
    g_assert_null(observe(watch, nothing, 8));
    again = observe(watch, stop_queue, 9);
    assert_says(again->message, "05.0005");
}

/* The device of a guest that comes in is given its source's queues, which is no change for any lock. */
static void
test_incoming_guest(void)
{
    static const char *const devices[] = {D1, NULL};
    g_autoptr(ApmigWatch) watch = watch_new();
    g_autoptr(ApmigScope) all = scope_of("all");
    g_autoptr(ApmigWatchChanges) other = NULL;

    apmig_watch_begin(watch, "l", "under lock l", all, NULL, 1);
    apmig_watch_begin(watch, "m", "while guest g migrates in", all, devices, 1);
    g_assert_null(observe(watch, nothing, 2));
    g_assert_null(observe(watch, take_over, 3));
    other = observe(watch, filter, 4); /* D2 is there again, without queues for its guest */
    g_assert_null(other);
    other = observe(watch, deconfigure_card, 5);
    assert_says(other->message, "05.0005");
}

/* A card more, many queues: the first few are named. */
static void
test_many(void)
{
    g_autoptr(ApmigWatch) watch = watch_new();
    g_autoptr(ApmigScope) all = scope_of("all");
    g_autoptr(ApmigApHost) before = host_new();
    g_autoptr(ApmigApHost) now = host_new();
    g_autoptr(ApmigWatchChanges) changes = NULL;

    host_add_card(now, 9, "CEX8C");
    for (guint domain = 0; domain < 10; domain++)
        host_add_queue(now, 9, domain, "vfio_ap");
    apmig_watch_begin(watch, "l", "under lock l", all, NULL, 1);
    g_assert_null(observe_host(watch, before, 2));
    changes = observe_host(watch, now, 3);
    assert_says(changes->message, "AP queue 09.0000 was not there and is there; AP queue 09.0001");
    assert_says(changes->message, " and 6 more.");
    g_assert_cmpstr(apmig_scope_to_string(changes->queues), ==, "09.0000-0009");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/config-facts/compare", test_compare);
    g_test_add_func("/config-facts/under-a-lock", test_under_a_lock);
    g_test_add_func("/config-facts/told-once", test_told_once);
    g_test_add_func("/config-facts/end", test_end);
    g_test_add_func("/config-facts/incoming-guest", test_incoming_guest);
    g_test_add_func("/config-facts/many", test_many);
    return g_test_run();
}
