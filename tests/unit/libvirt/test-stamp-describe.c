/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a guest is described as, before it moves: as it would be if its stamp were written now and it left. */
#include "libvirt/guest-queues.h"
#include "guest/stamp-xml.h"
#include "libvirt/stamper.h"

#include <string.h>

#define HOST_A SOURCE_DIR "/tests/data/ap/hostA/sys"
#define DEVICE "a1b2c3d4-f1bb-47f0-914d-000000000101"
#define UUID   "c7a5fdbd-edaf-9455-926a-d65c16db1809"
#define HERE   "22222222-2222-4222-8222-222222222222"
#define NOW    G_GINT64_CONSTANT(1800000000000000)

#define AP(uuid)                                                                                             \
    "<hostdev mode='subsystem' type='mdev' model='vfio-ap'><source><address uuid='" uuid                     \
    "'/></source></hostdev>"
#define KEYS "<a:keys xmlns:a='urn:apmigd:1' scope='04.0012'/>"
#define OLD_STAMP                                                                                            \
    "<a:stamp xmlns:a='urn:apmigd:stamp:1' form='full' host='" HERE "' written-at='1' digest=''/>"
#define BAD_STAMP "<a:stamp xmlns:a='urn:apmigd:stamp:1'/>"

typedef struct {
    ApmigStampHost *host;
    ApmigStampOrder *order;
} Fixture;

static void
read_queues(ApmigGuest *guest, const char *root)
{
    g_autoptr(ApmigSysfs) sysfs = apmig_sysfs_new(root);

    apmig_guest_read_queues(guest, sysfs);
}

static ApmigStampHost *
new_host(void)
{
    g_autoptr(ApmigSysfs) sysfs = apmig_sysfs_new(HOST_A);

    return apmig_stamp_host_new(sysfs);
}

static void
set_up(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigEvidence) nothing = apmig_evidence_new();
    g_autoptr(ApmigAction) plan = g_new0(ApmigAction, 1);
    ApmigLockRecord *record = g_new0(ApmigLockRecord, 1);

    record->id = g_strdup("0123456f");
    record->scope = apmig_scope_parse("02.*", NULL);
    record->reason = g_strdup("AES rotation");
    record->owner_name = g_strdup("anna");
    plan->stamp.form = APMIG_STAMP_FULL;
    plan->stamp.locks = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_lock_record_free);
    g_ptr_array_add(plan->stamp.locks, record);
    fixture->host = new_host();
    fixture->order = apmig_stamp_order_new(plan, HERE, "zhost1", NOW, nothing);
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    apmig_stamp_host_unref(fixture->host);
    apmig_stamp_order_free(fixture->order);
}

static ApmigGuest *
parse(const char *xml)
{
    g_autoptr(GError) error = NULL;
    ApmigGuest *guest = apmig_guest_parse(xml, strlen(xml), &error);

    g_assert_no_error(error);
    read_queues(guest, HOST_A);
    return guest;
}

/* Returns: (transfer full): the guest as it is described. */
static ApmigGuest *
describe(const Fixture *fixture, const char *metadata, const char *devices, char **ret_written)
{
    g_autofree char *xml = g_strdup_printf("<domain><name>g1</name><uuid>" UUID
                                           "</uuid><metadata>%s</metadata><memory>1</memory><devices>%s"
                                           "</devices></domain>",
                                           metadata, devices);
    g_autoptr(ApmigGuest) guest = parse(xml);
    g_autoptr(GError) error = NULL;
    g_autofree char *description = apmig_stamp_describe(xml, guest, fixture->host, fixture->order, &error);

    g_assert_no_error(error);
    g_assert_null(strstr(description, "memory"));
    *ret_written = NULL;
    apmig_stamp_compose(guest, fixture->host, fixture->order, ret_written);
    return parse(description);
}

static void
assert_as_written(const Fixture *fixture, const char *metadata, const char *devices)
{
    g_autofree char *written = NULL;
    g_autofree char *told = NULL;
    g_autoptr(ApmigGuest) guest = describe(fixture, metadata, devices, &written);

    g_assert_nonnull(guest->stamp);
    told = apmig_stamp_to_xml(guest->stamp, fixture->order->form);
    g_assert_cmpstr(told, ==, written);
}

static void
test_as_it_would_be_written(Fixture *fixture, gconstpointer data)
{
    static const char *const metadata[] = {"", KEYS, OLD_STAMP, BAD_STAMP, KEYS OLD_STAMP};

    for (guint i = 0; i < G_N_ELEMENTS(metadata); i++) {
        fixture->order->form = APMIG_STAMP_FULL;
        assert_as_written(fixture, metadata[i], AP(DEVICE));
        fixture->order->form = APMIG_STAMP_DIGEST;
        assert_as_written(fixture, metadata[i], AP(DEVICE));
    }
    assert_as_written(fixture, KEYS, "");
}

static void
test_what_it_tells(Fixture *fixture, gconstpointer data)
{
    g_autofree char *written = NULL;
    g_autoptr(ApmigGuest) guest = describe(fixture, KEYS BAD_STAMP, AP(DEVICE), &written);

    g_assert_cmpstr(guest->stamp->lock->id, ==, "0123456f");
    g_assert_cmpuint(guest->stamp->view->queues->len, ==, 4);
    g_assert_cmpstr(apmig_scope_to_string(guest->declared), ==, "04.0012");
    g_assert_cmpstr(guest->devices[0], ==, DEVICE);
}

/* Whoever has nothing to say says nothing, also when something was said before. */
static void
test_without_a_stamp(Fixture *fixture, gconstpointer data)
{
    g_autofree char *nothing = NULL, *neither = NULL;
    g_autoptr(ApmigGuest) unaffected = describe(fixture, OLD_STAMP, "", &nothing);
    g_autoptr(ApmigGuest) without_id = NULL;

    g_assert_cmpint(unaffected->affected, ==, APMIG_AFFECTED_NO);
    g_assert_null(unaffected->stamp);
    g_clear_pointer(&fixture->order->host_id, g_free);
    without_id = describe(fixture, OLD_STAMP, AP(DEVICE), &neither);
    g_assert_null(without_id->stamp);
    g_assert_null(without_id->stamp_problem);
}

static ApmigStamp *
make_large(guint n_adapters)
{
    g_autoptr(ApmigEvidence) nothing = apmig_evidence_new();
    ApmigApView *view = apmig_ap_view_new();

    for (guint adapter = 0; adapter < n_adapters; adapter++) {
        for (guint domain = 0; domain < APMIG_AP_NUMBERS; domain++) {
            const ApmigApViewQueue queue = {adapter, domain, .mode = APMIG_AP_MODE_CCA};

            g_array_append_val(view->queues, queue);
        }
    }
    return apmig_stamp_new(HERE, NOW, view, nothing, NULL);
}

/* A stamp that is too long is cut down as it would be where it is written. */
static void
test_fit(void)
{
    static const struct {
        guint n_adapters;
        gboolean has_keys, has_view;
    } cases[] = {{1, TRUE, TRUE}, {16, FALSE, TRUE}, {256, FALSE, FALSE}};

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(ApmigStamp) stamp = make_large(cases[i].n_adapters);
        g_autofree char *whole = apmig_stamp_to_xml(stamp, APMIG_STAMP_FULL);
        g_autofree char *fit = NULL;

        apmig_stamp_fit(stamp, APMIG_STAMP_FULL);
        fit = apmig_stamp_to_xml(stamp, APMIG_STAMP_FULL);
        g_assert_cmpstr(fit, ==, whole);
        g_assert_cmpint(stamp->keys != NULL, ==, cases[i].has_keys);
        g_assert_cmpint(stamp->view != NULL, ==, cases[i].has_view);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, func) g_test_add("/stamp-describe/" path, Fixture, NULL, set_up, func, tear_down)
    ADD("as-it-would-be-written", test_as_it_would_be_written);
    ADD("what-it-tells", test_what_it_tells);
    ADD("without-a-stamp", test_without_a_stamp);
#undef ADD
    g_test_add_func("/stamp-describe/fit", test_fit);
    return g_test_run();
}
