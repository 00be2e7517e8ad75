/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The scope of an active guest: the queues of its devices, and what it declares. */
#include "libvirt/guest-queues.h"

#include <string.h>

#include "cards/fixture.h"

#define D1 "a1b2c3d4-f1bb-47f0-914d-000000000101"
#define D2 "a1b2c3d4-f1bb-47f0-914d-000000000102"
#define D3 "a1b2c3d4-f1bb-47f0-914d-000000000103"

#define KEYS(scope) "<metadata><a:keys xmlns:a='urn:apmigd:1' scope='" scope "'/></metadata>"
#define MDEV(model, uuid)                                                                                    \
    "<hostdev mode='subsystem' type='mdev' model='" model "'><source><address uuid='" uuid                   \
    "'/></source></hostdev>"

static ApmigGuest *
parse(const char *metadata, const char *devices)
{
    g_autofree char *xml =
        g_strdup_printf("<domain><name>g1</name><uuid>c7a5fdbd-edaf-9455-926a-d65c16db1809</uuid>"
                        "%s<devices>%s</devices></domain>",
                        metadata, devices);
    ApmigGuest *guest = apmig_guest_parse(xml, strlen(xml), NULL);

    g_assert_nonnull(guest);
    return guest;
}

static void
read_queues(ApmigGuest *guest, const char *root)
{
    g_autoptr(ApmigSysfs) sysfs = apmig_sysfs_new(root);

    apmig_guest_read_queues(guest, sysfs);
}

static void
assert_scope(const char *root, const char *metadata, const char *devices, const char *scope, gboolean varies)
{
    g_autoptr(ApmigGuest) parsed = parse(metadata, devices);
    g_autoptr(ApmigGuest) guest = apmig_guest_copy(parsed);

    g_assert_false(parsed->scope_varies);
    for (guint i = 0; i < 2; i++) { /* again and again */
        read_queues(guest, root);
        g_assert_cmpint(guest->affected, ==, scope ? APMIG_AFFECTED_YES : APMIG_AFFECTED_NO);
        g_assert_cmpstr(guest->scope ? apmig_scope_to_string(guest->scope) : NULL, ==, scope);
        g_assert_cmpint(apmig_guest_facts(guest).scope_varies, ==, varies);
    }
}

static char *
new_host(void)
{
    char *root = sysfs_new();

    sysfs_add_device(root, D1, "02.0005\n05.0005\n", "02.0005\n");
    sysfs_add_device(root, D2, "0a.004f\n", "0a.004f\n");
    sysfs_write(root, "bus/mdev/devices/" D3 "/remove", ""); /* of another kind */
    return root;
}

static void
test_devices(void)
{
    char *root = new_host();

    assert_scope(root, "", MDEV("vfio-ap", D1), "02.0005", TRUE);
    assert_scope(root, "", MDEV("vfio-ap", D1) MDEV("vfio-ap", D2), "02.0005,0a.004f", TRUE);
    assert_scope(root, KEYS("04.0012"), MDEV("vfio-ap", D1), "02.0005,04.0012", TRUE);
    assert_scope(root, KEYS("04.0012"), "", "04.0012", FALSE);
    assert_scope(root, "", "", NULL, FALSE);
    sysfs_write(root, "bus/mdev/devices/" D1 "/guest_matrix", "");
    assert_scope(root, "", MDEV("vfio-ap", D1), "none", TRUE);
    sysfs_free(root);
}

static void
test_unreadable_is_all(void)
{
    char *root = new_host();

    assert_scope(root, "", MDEV("vfio-ap", D3), "all", TRUE);
    assert_scope(root, "", MDEV("vfio-ap", D1) MDEV("vfio-ap", "a1b2c3d4-f1bb-47f0-914d-000000000199"), "all",
                 TRUE);
    assert_scope(root, KEYS("04.0012"), MDEV("vfio-ap", "no uuid"), "all", FALSE);
    assert_scope(root, "", MDEV("vfio-ap", D1) "<hostdev type='mdev' model='vfio-ap'/>", "all", TRUE);
    assert_scope("/nonexistent", "", MDEV("vfio-ap", D1), "all", TRUE);
    sysfs_write(root, "bus/mdev/devices/" D1 "/guest_matrix", "02.0005\n05.\n");
    assert_scope(root, KEYS("04.0012"), MDEV("vfio-ap", D1), "all", TRUE);
    sysfs_free(root);
}

/* It is sysfs that tells what a device is, where libvirt has it under another model. */
static void
test_devices_of_another_model(void)
{
    char *root = new_host();

    assert_scope(root, KEYS("04.0012"), MDEV("vfio-pci", D1), "02.0005,04.0012", TRUE);
    assert_scope(root, KEYS("04.0012"), MDEV("vfio-pci", D3), "04.0012", FALSE);
    assert_scope(root, KEYS("04.0012"), MDEV("vfio-pci", D3) MDEV("vfio-ap", D2), "04.0012,0a.004f", TRUE);
    assert_scope("/nonexistent", KEYS("04.0012"), MDEV("vfio-pci", D1), "04.0012", FALSE);
    assert_scope(root, "", MDEV("vfio-pci", D1), NULL, FALSE); /* nobody says that it is about keys */
    sysfs_free(root);
}

/* What it had before its device was taken away, where that is known; by its stamp: see test-stamper.c. */
static void
test_unplugged(void)
{
    static const struct {
        const char *live, *persistent; /* devices */
        const char *metadata;
        const char *scope; /* NULL: not affected */
    } cases[] = {
        {"", MDEV("vfio-ap", D1), "", "02.0005"},
        {"", MDEV("vfio-ap", D1), KEYS("04.0012"), "02.0005,04.0012"},
        {"", MDEV("vfio-ap", D1) MDEV("vfio-ap", D2), "", "02.0005,0a.004f"},
        {"", MDEV("vfio-ap", D3), "", "all"},              /* nothing tells what it is, */
        {"", MDEV("vfio-ap", D3), KEYS("04.0012"), "all"}, /* nor does this */
        {"", MDEV("vfio-ap", "no uuid"), KEYS("04.0012"), "all"},
        {MDEV("vfio-ap", D2), MDEV("vfio-ap", D1), "", "0a.004f"}, /* it has one */
        {"", MDEV("vfio-ccw", D1), "", NULL},
        {"", "", "", NULL},
    };
    char *root = new_host();

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(ApmigGuest) live = parse(cases[i].metadata, cases[i].live);
        g_autoptr(ApmigGuest) persistent = parse("", cases[i].persistent);
        g_autoptr(ApmigGuest) guest = NULL;

        apmig_guest_add_persistent(live, persistent);
        guest = apmig_guest_copy(live);
        read_queues(guest, root);
        g_assert_cmpint(guest->affected, ==, cases[i].scope ? APMIG_AFFECTED_YES : APMIG_AFFECTED_NO);
        g_assert_cmpstr(guest->scope ? apmig_scope_to_string(guest->scope) : NULL, ==, cases[i].scope);
        g_assert_cmpint(guest->devices[0] != NULL, ==, *cases[i].live != '\0'); /* it has only these */
    }
    sysfs_free(root);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/guest-queues/devices", test_devices);
    g_test_add_func("/guest-queues/unreadable-is-all", test_unreadable_is_all);
    g_test_add_func("/guest-queues/devices-of-another-model", test_devices_of_another_model);
    g_test_add_func("/guest-queues/unplugged", test_unplugged);
    return g_test_run();
}
