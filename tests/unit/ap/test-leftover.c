/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ap/leftover.h"

#include "ap/fixture.h"

#define UUID "aaaaaaaa-0000-4000-8000-000000000001"

/* @adapter, @domain, @control_domain: -1: none */
static ApmigApDevice *
device_with(int adapter, int domain, int control_domain)
{
    ApmigApDevice *device = apmig_ap_device_new(UUID);

    device->has_config = APMIG_YES;
    if (adapter >= 0)
        apmig_ap_mask_add(&device->adapters, (guint)adapter);
    if (domain >= 0)
        apmig_ap_mask_add(&device->domains, (guint)domain);
    if (control_domain >= 0)
        apmig_ap_mask_add(&device->control_domains, (guint)control_domain);
    return device;
}

static void
test_nothing_left(void)
{
    g_autoptr(ApmigApDevice) empty = device_with(-1, -1, -1), full = device_with(4, 0x12, -1);
    g_autoptr(ApmigApDevice) unread = device_with(4, 0x12, -1);

    unread->has_config = APMIG_UNKNOWN;
    g_assert_null(apmig_leftover_describe(empty, empty, "g1"));
    g_assert_null(apmig_leftover_describe(full, full, "g1"));
    g_assert_null(apmig_leftover_describe(empty, unread, "g1"));
    g_assert_null(apmig_leftover_describe(unread, empty, "g1"));
}

static void
test_something_left(void)
{
    g_autoptr(ApmigApDevice) empty = device_with(-1, -1, -1), full = device_with(4, 0x12, -1);
    g_autoptr(ApmigApDevice) other = device_with(4, 0x12, 0x13);
    g_autofree char *filled = apmig_leftover_describe(empty, full, "g1");
    g_autofree char *changed = apmig_leftover_describe(full, other, "g1");

    assert_says(filled, "Mediated device " UUID " has kept what guest g1 brought");
    assert_says(filled, "it has adapters 04, domains 0012, and had nothing.");
    assert_says(filled, "mdevctl start --uuid " UUID ".");
    assert_says(changed,
                "it has adapters 04, domains 0012, control domains 0013, and had adapters 04, domains 0012.");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ap/leftover/nothing", test_nothing_left);
    g_test_add_func("/ap/leftover/something", test_something_left);
    return g_test_run();
}
