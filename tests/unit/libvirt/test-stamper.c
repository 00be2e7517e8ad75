/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a guest's stamp is to say, of hardware in a folder in the place of sysfs. */
#include "libvirt/guest-queues.h"
#include "libvirt/stamper.h"

#include <string.h>

#define HOST_A SOURCE_DIR "/tests/data/ap/hostA/sys"
#define DEVICE "a1b2c3d4-f1bb-47f0-914d-000000000101"
#define UUID   "c7a5fdbd-edaf-9455-926a-d65c16db1809"
#define HERE   "22222222-2222-4222-8222-222222222222"
#define THERE  "11111111-1111-4111-8111-111111111111"
#define NOW    G_GINT64_CONSTANT(1800000000000000)

#define AP(uuid)                                                                                             \
    "<hostdev mode='subsystem' type='mdev' model='vfio-ap'><source><address uuid='" uuid                     \
    "'/></source></hostdev>"
#define OTHER(uuid)                                                                                          \
    "<hostdev mode='subsystem' type='mdev' model='vfio-pci'><source><address uuid='" uuid                    \
    "'/></source></hostdev>"
#define KEYS "<a:keys xmlns:a='urn:apmigd:1' scope='04.0012'/>"

typedef struct {
    ApmigStampHost *host;
    ApmigAction *action;
    ApmigEvidence *evidence;
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
    fixture->host = new_host();
    fixture->evidence = apmig_evidence_new();
    fixture->action = g_new0(ApmigAction, 1);
    fixture->action->stamp.form = APMIG_STAMP_FULL;
    fixture->action->stamp.locks = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_lock_record_free);
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    apmig_stamp_host_unref(fixture->host);
    apmig_evidence_free(fixture->evidence);
    apmig_action_free(fixture->action);
}

static void
add_lock(Fixture *fixture, const char *id, const char *scope)
{
    ApmigLockRecord *record = g_new0(ApmigLockRecord, 1);

    record->id = g_strdup(id);
    record->scope = apmig_scope_parse(scope, NULL);
    record->reason = g_strdup("AES rotation");
    record->owner_name = g_strdup("anna");
    record->requested_at = NOW - 5;
    g_ptr_array_add(fixture->action->stamp.locks, record);
}

static ApmigGuest *
parse_only(const char *metadata, const char *devices)
{
    g_autofree char *xml = g_strdup_printf("<domain><name>g1</name><uuid>" UUID
                                           "</uuid><metadata>%s</metadata><devices>%s</devices>"
                                           "</domain>",
                                           metadata, devices);
    ApmigGuest *guest = apmig_guest_parse(xml, strlen(xml), NULL);

    g_assert_nonnull(guest);
    return guest;
}

static ApmigGuest *
parse(const char *metadata, const char *devices)
{
    ApmigGuest *guest = parse_only(metadata, devices);

    read_queues(guest, HOST_A);
    return guest;
}

/* As libvirt does it: virXMLInjectNamespace(). */
static char *
inject_namespace(const char *xml)
{
    g_auto(GStrv) open = g_strsplit(xml, "<", -1);
    g_autoptr(GString) text = g_string_new(NULL);

    for (guint i = 1; open[i]; i++)
        g_string_append_printf(text, "<%sapmigd:%s", *open[i] == '/' ? "/" : "",
                               *open[i] == '/' ? open[i] + 1 : open[i]);
    g_string_insert(text, strlen("<apmigd:stamp"), " xmlns:apmigd='urn:apmigd:stamp:1'");
    return g_string_free(g_steal_pointer(&text), FALSE);
}

/* What the guest is to do with its stamp, in the name of @host_id. */
static ApmigStampChange
compose(Fixture *fixture, const char *host_id, const char *metadata, const char *devices, char **ret_element)
{
    g_autoptr(ApmigStampOrder) order =
        apmig_stamp_order_new(fixture->action, host_id, "zhost1", NOW, fixture->evidence);
    g_autoptr(ApmigGuest) guest = parse(metadata, devices);
    g_autofree char *xml = NULL;
    ApmigStampChange change = apmig_stamp_compose(guest, fixture->host, order, &xml);

    g_assert_cmpint(xml != NULL, ==, change == APMIG_STAMP_WRITE);
    if (ret_element)
        *ret_element = xml ? inject_namespace(xml) : NULL;
    return change;
}

/* Returns: (transfer full): the metadata that are then the guest's, and what is then read of it. */
static char *
write_stamp(Fixture *fixture, const char *host_id, const char *metadata, const char *devices,
            ApmigGuest **ret_guest)
{
    char *element = NULL;

    g_assert_cmpint(compose(fixture, host_id, metadata, devices, &element), ==, APMIG_STAMP_WRITE);
    *ret_guest = parse(element, devices);
    g_assert_nonnull((*ret_guest)->stamp);
    g_assert_cmpstr((*ret_guest)->stamp->host_id, ==, host_id);
    g_assert_cmpstr((*ret_guest)->stamp->host_name, ==, "zhost1");
    return element;
}

static void
know(ApmigEvidence *evidence, const ApmigApViewQueue *queue, guint8 pattern)
{
    ApmigEvidenceRecord record = {.adapter = queue->adapter,
                                  .domain = queue->domain,
                                  .key_class = APMIG_KEY_AES,
                                  .evidence = APMIG_EVIDENCE_DECLARED,
                                  .at = NOW - 1,
                                  .source = (char *)"anna"};

    record.registers[APMIG_REGISTER_CUR].state = APMIG_KEY_STATE_VALID;
    record.registers[APMIG_REGISTER_CUR].length = 8;
    record.registers[APMIG_REGISTER_CUR].pattern[7] = pattern;
    apmig_evidence_add(evidence, &record, NULL);
}

static const ApmigApViewQueue *
first_queue(const ApmigStamp *stamp)
{
    g_assert_nonnull(stamp->view);
    g_assert_cmpuint(stamp->view->queues->len, >, 0);
    return &g_array_index(stamp->view->queues, ApmigApViewQueue, 0);
}

/* --- with a device ------------------------------------------------------------------------------- */

static void
test_device(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigGuest) guest = NULL;
    g_autofree char *element = write_stamp(fixture, HERE, "", AP(DEVICE), &guest);
    g_autoptr(ApmigScope) stamped = apmig_ap_view_scope(guest->stamp->view);
    g_autofree char *locked = NULL;

    g_assert_true(apmig_scope_equal(stamped, guest->scope)); /* which was read of sysfs */
    g_assert_true(guest->stamp->view->has_control_domains == APMIG_YES);
    g_assert_cmpint(first_queue(guest->stamp)->mode, !=, APMIG_AP_MODE_UNKNOWN);
    g_assert_null(guest->stamp->lock);
    g_assert_cmpstr(guest->stamp->device, ==, DEVICE);
    g_assert_cmpint(compose(fixture, HERE, element, AP(DEVICE), NULL), ==, APMIG_STAMP_KEEP);

    know(fixture->evidence, first_queue(guest->stamp), 0xa1);
    g_assert_cmpint(compose(fixture, HERE, element, AP(DEVICE), NULL), ==, APMIG_STAMP_WRITE);
    add_lock(fixture, "aaaaaaaa", "fe.00fe");
    add_lock(fixture, "bbbbbbbb", "all");
    add_lock(fixture, "cccccccc", "all");
    g_clear_pointer(&guest, apmig_guest_free);
    locked = write_stamp(fixture, HERE, element, AP(DEVICE), &guest);
    g_assert_cmpstr(guest->stamp->lock->id, ==, "bbbbbbbb");
    g_assert_nonnull(strstr(locked, "00000000000000a1"));
    g_assert_cmpint(compose(fixture, HERE, locked, AP(DEVICE), NULL), ==, APMIG_STAMP_KEEP);
    g_ptr_array_set_size(fixture->action->stamp.locks, 0);
    g_assert_cmpint(compose(fixture, HERE, locked, AP(DEVICE), NULL), ==, APMIG_STAMP_WRITE);
}

/* Another host's, one that does not read, one of another form. */
static void
test_what_was_there_goes(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigGuest) guest = NULL;
    g_autofree char *other = write_stamp(fixture, THERE, "", AP(DEVICE), &guest);
    g_autofree char *own = NULL;

    g_assert_cmpint(compose(fixture, HERE, other, AP(DEVICE), &own), ==, APMIG_STAMP_WRITE);
    g_assert_cmpint(compose(fixture, HERE, "<s:stamp xmlns:s='urn:apmigd:stamp:1'/>", AP(DEVICE), NULL), ==,
                    APMIG_STAMP_WRITE);
    fixture->action->stamp.form = APMIG_STAMP_DIGEST;
    g_assert_cmpint(compose(fixture, HERE, own, AP(DEVICE), NULL), ==, APMIG_STAMP_WRITE);
    fixture->action->stamp.form = APMIG_STAMP_OFF;
    g_assert_cmpint(compose(fixture, HERE, other, AP(DEVICE), NULL), ==, APMIG_STAMP_REMOVE);
    g_assert_cmpint(compose(fixture, HERE, "<s:stamp xmlns:s='urn:apmigd:stamp:1'/>", AP(DEVICE), NULL), ==,
                    APMIG_STAMP_REMOVE);
    g_assert_cmpint(compose(fixture, HERE, "", AP(DEVICE), NULL), ==, APMIG_STAMP_KEEP);
    fixture->action->stamp.form = APMIG_STAMP_FULL;
    g_assert_cmpint(compose(fixture, NULL, other, AP(DEVICE), NULL), ==, APMIG_STAMP_REMOVE);
}

/* Under another model, beside one that is none of vfio_ap's: sysfs tells. */
static void
test_device_of_another_model(Fixture *fixture, gconstpointer data)
{
    static const char devices[] = OTHER("bbbbbbbb-0000-4000-8000-000000000001") OTHER(DEVICE);
    g_autoptr(ApmigGuest) guest = NULL;
    g_autofree char *element = write_stamp(fixture, HERE, KEYS, devices, &guest);
    g_autoptr(ApmigScope) stamped = apmig_ap_view_scope(guest->stamp->view);

    g_assert_false(apmig_scope_is_none(stamped));
    g_assert_cmpstr(guest->stamp->device, ==, DEVICE);
    g_assert_cmpint(compose(fixture, HERE, element, devices, NULL), ==, APMIG_STAMP_KEEP);
}

/* Its queues cannot be told: the stamp tells of the lock alone. */
static void
test_unknown_device(Fixture *fixture, gconstpointer data)
{
    static const char *const devices[] = {AP("bbbbbbbb-0000-4000-8000-000000000001"), AP("no uuid"),
                                          AP(DEVICE) AP("a1b2c3d4-f1bb-47f0-914d-000000000102")};

    add_lock(fixture, "aaaaaaaa", "all");
    for (guint i = 0; i < G_N_ELEMENTS(devices); i++) {
        g_autoptr(ApmigGuest) guest = NULL;
        g_autofree char *element = write_stamp(fixture, HERE, KEYS, devices[i], &guest);

        g_assert_null(guest->stamp->view);
        g_assert_cmpstr(guest->stamp->lock->id, ==, "aaaaaaaa");
    }
}

/* --- without a device ---------------------------------------------------------------------------- */

static void
test_declared(Fixture *fixture, gconstpointer data)
{
    g_autofree char *element = NULL;

    add_lock(fixture, "aaaaaaaa", "05.0012");
    g_assert_cmpint(compose(fixture, HERE, KEYS, "", &element), ==, APMIG_STAMP_WRITE);
    g_assert_null(strstr(element, "lock"));
    add_lock(fixture, "bbbbbbbb", "04.0012");
    g_clear_pointer(&element, g_free);
    g_assert_cmpint(compose(fixture, HERE, KEYS, "", &element), ==, APMIG_STAMP_WRITE);
    g_assert_nonnull(strstr(element, "id=\"bbbbbbbb\""));
    g_assert_null(strstr(element, "queue"));
}

/* Of what it declares, the queues that this host has, with what is known of their keys here. */
static void
test_declared_queues(Fixture *fixture, gconstpointer data)
{
    static const char keys[] = "<a:keys xmlns:a='urn:apmigd:1' scope='02.0004-0005,0a.0004,fe.*'/>";
    const ApmigApViewQueue own = {.adapter = 0x02, .domain = 0x04},
                           foreign = {.adapter = 0x05, .domain = 0x04};
    g_autoptr(ApmigGuest) there = NULL;
    g_autoptr(ApmigGuest) here = NULL;
    g_autofree char *first = NULL;
    g_autofree char *second = NULL;
    g_autofree char *with_keys = NULL;

    know(fixture->evidence, &own, 0xa1);
    know(fixture->evidence, &foreign, 0xc3);
    first = write_stamp(fixture, THERE, keys, "", &there);
    g_assert_true(there->stamp->is_declared);
    g_assert_cmpuint(there->stamp->view->queues->len, ==, 3);
    g_assert_cmpuint(first_queue(there->stamp)->adapter, ==, 0x02);
    g_assert_cmpint(first_queue(there->stamp)->mode, ==, APMIG_AP_MODE_CCA);
    g_assert_true(there->stamp->view->has_control_domains == APMIG_UNKNOWN);
    g_assert_nonnull(strstr(first, "00000000000000a1"));
    g_assert_null(strstr(first, "00000000000000c3"));
    g_assert_cmpint(there->affected, ==, APMIG_AFFECTED_NO); /* by its stamp alone */

    with_keys = g_strconcat(keys, first, NULL);
    g_assert_cmpint(compose(fixture, THERE, with_keys, "", NULL), ==, APMIG_STAMP_KEEP);
    g_assert_cmpint(compose(fixture, THERE, first, "", NULL), ==, APMIG_STAMP_REMOVE);
    know(fixture->evidence, &own, 0xb2); /* which are others where it has gone */
    second = write_stamp(fixture, HERE, with_keys, "", &here);
    g_assert_null(strstr(second, "00000000000000a1"));
    g_assert_nonnull(strstr(second, "00000000000000b2"));
}

/* However much it declares. */
static void
test_declares_all(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigGuest) guest = NULL;
    g_autoptr(ApmigGuest) with_device = NULL;
    g_autofree char *element =
        write_stamp(fixture, HERE, "<a:keys xmlns:a='urn:apmigd:1' scope='all'/>", "", &guest);
    g_autofree char *of_device = NULL;

    g_assert_cmpuint(guest->stamp->view->queues->len, ==, 12);
    of_device = write_stamp(fixture, HERE, element, AP(DEVICE), &with_device);
    g_assert_false(with_device->stamp->is_declared);
    g_assert_cmpuint(with_device->stamp->view->queues->len, ==, 4);
}

static void
test_unaffected(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigGuest) guest = NULL;
    g_autofree char *element = write_stamp(fixture, HERE, KEYS, "", &guest);

    g_assert_cmpint(compose(fixture, HERE, "", "", NULL), ==, APMIG_STAMP_KEEP);
    g_assert_cmpint(compose(fixture, HERE, element, "", NULL), ==,
                    APMIG_STAMP_REMOVE); /* its keys were taken away */
}

/* What it had where its device was taken away goes with it, from host to host, with each one's lock. */
static void
test_detached(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigGuest) with_device = NULL;
    g_autoptr(ApmigGuest) detached = NULL;
    g_autoptr(ApmigGuest) moved = NULL;
    g_autofree char *first = NULL;
    g_autofree char *attached = write_stamp(fixture, THERE, "", AP(DEVICE), &with_device);
    g_autofree char *second = NULL;

    know(fixture->evidence, first_queue(with_device->stamp), 0xa1);
    first = write_stamp(fixture, THERE, attached, AP(DEVICE), &detached);
    g_assert_cmpint(compose(fixture, THERE, first, "", NULL), ==, APMIG_STAMP_KEEP);

    apmig_evidence_free(fixture->evidence);
    fixture->evidence = apmig_evidence_new();
    know(fixture->evidence, first_queue(with_device->stamp), 0xb2); /* other keys */
    add_lock(fixture, "aaaaaaaa", "all");
    second = write_stamp(fixture, HERE, first, "", &moved);
    g_assert_cmpstr(moved->stamp->digest, ==, detached->stamp->digest);
    g_assert_cmpstr(moved->stamp->device, ==, DEVICE);
    g_assert_nonnull(strstr(second, "00000000000000a1"));
    g_assert_null(strstr(second, "00000000000000b2"));
    g_assert_cmpstr(moved->stamp->lock->id, ==, "aaaaaaaa");
    g_assert_true(apmig_scope_equal(moved->scope, detached->scope));
}

static void
test_detached_digest(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigGuest) before = NULL;
    g_autoptr(ApmigGuest) after = NULL;
    g_autofree char *first = NULL;
    g_autofree char *second = NULL;

    fixture->action->stamp.form = APMIG_STAMP_DIGEST;
    first = write_stamp(fixture, THERE, "", AP(DEVICE), &before);
    fixture->action->stamp.form = APMIG_STAMP_FULL;
    second = write_stamp(fixture, HERE, first, "", &after);
    g_assert_null(after->stamp->keys);
    g_assert_cmpstr(after->stamp->digest, ==, before->stamp->digest);
}

/* It has its device in its persistent configuration alone: its stamp says what that has. */
static void
test_unplugged(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigStampOrder) order =
        apmig_stamp_order_new(fixture->action, HERE, "zhost1", NOW, fixture->evidence);
    g_autoptr(ApmigGuest) guest = parse_only("", "");
    g_autoptr(ApmigGuest) persistent = parse_only("", AP(DEVICE));
    g_autofree char *xml = NULL;
    g_autofree char *element = NULL;
    g_autoptr(ApmigGuest) stamped = NULL;

    apmig_guest_add_persistent(guest, persistent);
    read_queues(guest, HOST_A);
    g_assert_cmpint(apmig_stamp_compose(guest, fixture->host, order, &xml), ==, APMIG_STAMP_WRITE);
    element = inject_namespace(xml);
    stamped = parse(element, ""); /* as the destination sees it */
    g_assert_cmpint(stamped->affected, ==, APMIG_AFFECTED_YES);
    g_assert_true(apmig_scope_equal(stamped->scope, guest->scope));

    /* Where the device is to be made yet, the stamp is what tells. */
    g_clear_pointer(&persistent, apmig_guest_free);
    persistent = parse_only("", AP("bbbbbbbb-0000-4000-8000-000000000001"));
    apmig_guest_add_persistent(stamped, persistent);
    read_queues(stamped, HOST_A);
    g_assert_true(apmig_scope_equal(stamped->scope, guest->scope));
}

/* The keys of its stamp are compared when it has got its device back, or was started, and not otherwise. */
static void
test_other_keys(Fixture *fixture, gconstpointer data)
{
    static const struct {
        ApmigNews change;
        const char *devices;
        guint8 pattern; /* here; there it is 0xa1 */
        gboolean told;
    } cases[] = {
        {APMIG_NEWS_PLUGGED, AP(DEVICE), 0xb2, TRUE},  {APMIG_NEWS_STARTED, AP(DEVICE), 0xb2, TRUE},
        {APMIG_NEWS_CHANGED, AP(DEVICE), 0xb2, FALSE}, {APMIG_NEWS_PLUGGED, AP(DEVICE), 0xa1, FALSE},
        {APMIG_NEWS_PLUGGED, "", 0xb2, FALSE}, /* it was another device */
    };
    g_autoptr(ApmigGuest) bare = NULL;
    g_autoptr(ApmigGuest) before = NULL;
    g_autofree char *first = write_stamp(fixture, THERE, "", AP(DEVICE), &bare);
    g_autofree char *stamp = NULL;

    know(fixture->evidence, first_queue(bare->stamp), 0xa1);
    add_lock(fixture, "aaaaaaaa", "all"); /* which says nothing of keys */
    stamp = write_stamp(fixture, THERE, first, AP(DEVICE), &before);
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(ApmigStampOrder) order = NULL;
        g_autoptr(ApmigGuest) guest = parse(stamp, cases[i].devices);
        g_autoptr(ApmigOtherKeys) other = NULL;

        apmig_evidence_free(fixture->evidence);
        fixture->evidence = apmig_evidence_new();
        know(fixture->evidence, first_queue(before->stamp), cases[i].pattern);
        fixture->action->stamp.change = cases[i].change;
        order = apmig_stamp_order_new(fixture->action, HERE, "zhost1", NOW, fixture->evidence);
        other = apmig_stamp_find_other_keys(guest, order);
        g_assert_cmpint(other != NULL, ==, cases[i].told);
        if (!other)
            continue;
        g_assert_cmpstr(other->name, ==, "g1");
        g_assert_cmpint(other->change, ==, cases[i].change);
        g_assert_nonnull(strstr(other->sentence, "00000000000000b2"));
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, func) g_test_add("/stamper/" path, Fixture, NULL, set_up, func, tear_down)
    ADD("device", test_device);
    ADD("what-was-there", test_what_was_there_goes);
    ADD("device-of-another-model", test_device_of_another_model);
    ADD("unknown-device", test_unknown_device);
    ADD("declared", test_declared);
    ADD("declared-queues", test_declared_queues);
    ADD("declares-all", test_declares_all);
    ADD("unaffected", test_unaffected);
    ADD("detached", test_detached);
    ADD("detached-digest", test_detached_digest);
    ADD("unplugged", test_unplugged);
    ADD("other-keys", test_other_keys);
#undef ADD
    return g_test_run();
}
