/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who uses a queue and is not in the view. */
#include "ap/use.h"

#define D1 "a1b2c3d4-f1bb-47f0-914d-000000000101"
#define D2 "a1b2c3d4-f1bb-47f0-914d-000000000102"

static ApmigApDevice *
add_device(ApmigApHost *host, const char *uuid, const char *queues)
{
    ApmigApDevice *device = apmig_ap_device_new(uuid);

    device->queues = queues ? apmig_scope_parse(queues, NULL) : NULL;
    g_ptr_array_add(host->devices, device);
    return device;
}

static void
add_queue(ApmigApHost *host, guint adapter, guint domain, ApmigApStatus status)
{
    ApmigApQueue *queue = apmig_ap_queue_new(adapter, domain);

    queue->status = status;
    g_ptr_array_add(host->queues, queue);
}

/* D1 has 02.0005 and 02.002c, D2 has 05.0005, all of them in use; 05.002c is in use by nobody that can be read. */
static ApmigApHost *
host_new(void)
{
    ApmigApHost *host = apmig_ap_host_new();

    host->present = TRUE;
    add_device(host, D1, "02.0005,02.002c");
    add_device(host, D2, "05.0005");
    add_queue(host, 2, 0x04, APMIG_AP_STATUS_UNKNOWN);
    add_queue(host, 2, 0x05, APMIG_AP_STATUS_IN_USE);
    add_queue(host, 2, 0x2c, APMIG_AP_STATUS_IN_USE);
    add_queue(host, 2, 0x4f, APMIG_AP_STATUS_ASSIGNED);
    add_queue(host, 5, 0x05, APMIG_AP_STATUS_IN_USE);
    add_queue(host, 5, 0x2c, APMIG_AP_STATUS_IN_USE);
    add_queue(host, 5, 0x4f, APMIG_AP_STATUS_UNASSIGNED);
    return host;
}

/* @devices: of the guests in the view, separated by commas. @uses: as "XX.YYYY=DEVICE " */
static void
assert_uses(const ApmigApHost *host, const char *devices, const char *uses)
{
    g_auto(GStrv) list = g_strsplit(devices, ",", -1);
    g_autoptr(GPtrArray) found = apmig_ap_list_unseen_uses(host, (const char *const *)list);
    g_autoptr(GString) text = g_string_new(NULL);

    for (guint i = 0; i < found->len; i++) {
        const ApmigApUse *use = found->pdata[i];

        g_string_append_printf(text, "%02x.%04x=%s ", use->queue.adapter, use->queue.domain, use->device);
    }
    g_assert_cmpstr(text->str, ==, uses);
}

static void
test_uses(void)
{
    g_autoptr(ApmigApHost) host = host_new();
    g_autoptr(ApmigApHost) nothing = apmig_ap_host_new();
    g_autoptr(ApmigApHost) copy = apmig_ap_host_copy(host);

    assert_uses(host, "", "02.0005=" D1 " 02.002c=" D1 " 05.0005=" D2 " 05.002c= ");
    assert_uses(host, D1, "05.0005=" D2 " 05.002c= ");
    assert_uses(host, D1 "," D2, "05.002c= ");
    assert_uses(host, "c7a5fdbd-edaf-9455-926a-d65c16db1809," D2, "02.0005=" D1 " 02.002c=" D1 " 05.002c= ");
    assert_uses(nothing, D1, "");
    assert_uses(copy, D1, "05.0005=" D2 " 05.002c= ");
}

/* What may be a known guest's accuses nobody. */
static void
test_device_that_cannot_be_read(void)
{
    g_autoptr(ApmigApHost) host = host_new();
    ApmigApDevice *device = host->devices->pdata[0];

    g_clear_pointer(&device->queues, apmig_scope_unref);
    assert_uses(host, D1, "");
    assert_uses(host, D2, "02.0005= 02.002c= 05.002c= ");
    device->has_config = APMIG_YES; /* what is assigned can */
    apmig_ap_mask_add(&device->adapters, 2);
    apmig_ap_mask_add(&device->domains, 0x05);
    assert_uses(host, D1, "02.002c= 05.0005=" D2 " 05.002c= ");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ap-use/uses", test_uses);
    g_test_add_func("/ap-use/device-that-cannot-be-read", test_device_that_cannot_be_read);
    return g_test_run();
}
