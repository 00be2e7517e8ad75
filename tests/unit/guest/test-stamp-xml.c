/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The stamp as XML: what is written is read again, and what others write is read strictly or not at all. */
#include "ap/fixture.h"
#include "guest/xml.h"
#include "base/error.h"
#include "guest/stamp-xml.h"

#include <string.h>

#define UUID   "c7a5fdbd-edaf-9455-926a-d65c16db1809"
#define MDEV   "aaaaaaaa-1234-9455-926a-d65c16db1809"
#define SOURCE "11111111-1111-4111-8111-111111111111"
#define DIGEST "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define NOW    G_GINT64_CONSTANT(1800000000000000)

#define AP                                                                                                   \
    "<devices><hostdev mode='subsystem' type='mdev' model='vfio-ap'><source><address uuid='" MDEV            \
    "'/></source></hostdev></devices>"
#define STAMP(attributes, children)                                                                          \
    "<apmigd:stamp xmlns:apmigd='urn:apmigd:stamp:1' " attributes ">" children "</apmigd:stamp>"
#define HEAD(form, digest)                                                                                   \
    "form='" form "' host='" SOURCE "' written-at='1800000000000000' digest='" digest "'"
#define QUEUE(at, more) "<apmigd:queue at='" at "' " more
#define FULL_QUEUE      "mode='CCA' functions='0x93800000' known='0xffffffff' raw-hwtype='14'"
#define LOCK(id, more)  "<apmigd:lock id='" id "' owner='anna' since='17' " more "/>"

static const char mkvps[] =
    "AES NEW: partial 0x00000000000000a3\nAES CUR: valid 0x00000000000000a1\nAES OLD: valid "
    "0x00000000000000a2\n"
    "APKA NEW: empty -\nAPKA CUR: invalid -\nAPKA OLD: invalid -\n"
    "ASYM NEW: empty -\nASYM CUR: valid 0xf9d6ef6c1e0bb9fc1a37ebdd2d4e1a01\nASYM OLD: invalid -\n";

static ApmigGuest *
parse_domain(const char *domain)
{
    g_autoptr(GError) error = NULL;
    ApmigGuest *guest = apmig_guest_parse(domain, strlen(domain), &error);

    g_assert_no_error(error);
    return guest;
}

static char *
make_domain(const char *metadata, const char *devices)
{
    return g_strdup_printf("<domain><name>g1</name><uuid>" UUID "</uuid><metadata>%s</metadata>%s</domain>",
                           metadata, devices);
}

static ApmigGuest *
parse(const char *metadata, const char *devices)
{
    g_autofree char *domain = make_domain(metadata, devices);

    return parse_domain(domain);
}

/* As libvirt does it: virXMLInjectNamespace(). Whatever is written is what may be written. */
static char *
inject_namespace(const char *xml)
{
    g_auto(GStrv) open = g_strsplit(xml, "<", -1);
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigStamp) stamp = apmig_stamp_from_xml(xml, &error);

    g_assert_no_error(error);
    g_assert_nonnull(stamp);

    for (guint i = 1; open[i]; i++)
        g_string_append_printf(text, "<%sapmigd:%s", *open[i] == '/' ? "/" : "",
                               *open[i] == '/' ? open[i] + 1 : open[i]);
    g_string_insert(text, strlen("<apmigd:stamp"), " xmlns:apmigd='" APMIG_STAMP_NAMESPACE "'");
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static ApmigStampLock *
make_lock(const char *reason)
{
    ApmigStampLock *lock = g_new0(ApmigStampLock, 1);

    lock->id = g_strdup("0123456f");
    lock->owner = g_strdup("anna");
    lock->reason = g_strdup(reason);
    lock->since = NOW - 5;
    return lock;
}

/* A guest of a CCA and an EP11 queue, of which the keys of one are known from the card and those of the other said. */
static ApmigStamp *
make_stamp(const char *reason)
{
    ApmigApHost *host = host_new();
    g_autoptr(ApmigEvidence) evidence = apmig_evidence_new();
    ApmigEvidenceRecord said = {.adapter = 5, .domain = 0x12, .key_class = APMIG_KEY_WK, .at = NOW - 9};
    ApmigMkvps read = mkvps_of(mkvps);
    ApmigApDevice *device;
    ApmigStamp *stamp;

    host_add_card(host, 4, "CEX8C");
    host_add_card(host, 5, "CEX7P");
    host_add_queue(host, 4, 0x12, "vfio_ap");
    host_add_queue(host, 5, 0x12, "vfio_ap");
    device = host_add_device(host, MDEV, "04-05.0012");
    apmig_ap_mask_add(&device->control_domains, 0x12);
    apmig_ap_mask_add(&host->control_domains, 0x12);
    apmig_evidence_add_reading(evidence, 4, 0x12, &read, NOW - 7, NULL);
    said.evidence = APMIG_EVIDENCE_ATTESTED;
    said.source = (char *)"<tke> & \"co\" \xc3\xa9";
    said.registers[APMIG_REGISTER_CUR].state = APMIG_KEY_STATE_VALID;
    said.registers[APMIG_REGISTER_CUR].length = 32;
    memset(said.registers[APMIG_REGISTER_CUR].pattern, 0xab, 32);
    apmig_evidence_add(evidence, &said, NULL);
    stamp = apmig_stamp_new(SOURCE, NOW, apmig_ap_view_new_of_device(host, device), evidence,
                            reason ? make_lock(reason) : NULL);
    stamp->host_name = g_strdup("zhost1 <&>");
    apmig_ap_host_free(host);
    return stamp;
}

/* Everything that a stamp says, in one text. */
static char *
show(const ApmigStamp *stamp)
{
    GString *text = g_string_new(NULL);
    g_autoptr(GPtrArray) records = stamp->keys ? apmig_evidence_list(stamp->keys) : g_ptr_array_new();

    g_string_append_printf(text, "%s %s %" G_GINT64_FORMAT " %s\n", stamp->host_id,
                           stamp->host_name ? stamp->host_name : "-", stamp->written_at, stamp->digest);
    if (stamp->lock)
        g_string_append_printf(text, "lock %s %s %" G_GINT64_FORMAT " %s\n", stamp->lock->id,
                               stamp->lock->owner, stamp->lock->since, stamp->lock->reason);
    for (guint i = 0; stamp->view && i < stamp->view->queues->len; i++) {
        const ApmigApViewQueue *queue = &g_array_index(stamp->view->queues, ApmigApViewQueue, i);

        g_string_append_printf(text, "%u.%u %x %x %u %d\n", queue->adapter, queue->domain, queue->functions,
                               queue->known_functions, queue->raw_hwtype, queue->mode);
    }
    for (guint i = 0; stamp->view && i < APMIG_AP_NUMBERS; i++)
        if (apmig_ap_view_has_control_domain(stamp->view, i))
            g_string_append_printf(text, "control domain %u\n", i);
    for (guint i = 0; i < records->len; i++) {
        const ApmigEvidenceRecord *record = records->pdata[i];
        g_autofree char *where = apmig_evidence_record_describe(record);

        g_string_append_printf(text, "%u.%u %d %s\n", record->adapter, record->domain, record->key_class,
                               where);
        for (guint j = 0; j < APMIG_N_REGISTERS; j++) {
            g_autofree char *pattern = apmig_key_pattern_to_string(&record->registers[j]);

            g_string_append_printf(text, "  %d %s\n", record->registers[j].state, pattern);
        }
    }
    return g_string_free(text, FALSE);
}

/* --- there and back ------------------------------------------------------------------------------- */

static void
test_round_trip(void)
{
    g_autoptr(ApmigStamp) stamp = make_stamp("AES rotation, \"phase\" <2> & more \xc3\xa9");
    g_autofree char *xml = apmig_stamp_to_xml(stamp, APMIG_STAMP_FULL);
    g_autofree char *element = inject_namespace(xml);
    g_autofree char *domain = make_domain(element, AP);
    g_autofree char *reduced = apmig_guest_reduce(domain, strlen(domain), NULL);
    g_autoptr(ApmigGuest) guest = parse_domain(domain);
    g_autoptr(ApmigGuest) again = parse_domain(reduced);
    g_autofree char *written = show(stamp);
    g_autofree char *read = NULL, *passed_on = NULL;

    g_assert_cmpstr(guest->stamp_problem, ==, NULL);
    g_assert_nonnull(guest->stamp);
    g_assert_nonnull(again->stamp);
    read = show(guest->stamp);
    passed_on = show(again->stamp);
    g_assert_cmpstr(read, ==, written);
    g_assert_cmpstr(passed_on, ==, written);
    assert_says(written, "zhost1 <&>");
    assert_says(written, "control domain 18");
    assert_says(written, "<tke> & \"co\" \xc3\xa9");
    g_assert_true(guest->stamp->view->has_control_domains == APMIG_YES);
}

static void
test_digest(void)
{
    g_autoptr(ApmigStamp) stamp = make_stamp("AES rotation");
    g_autofree char *xml = apmig_stamp_to_xml(stamp, APMIG_STAMP_DIGEST);
    g_autofree char *element = inject_namespace(xml);
    g_autoptr(ApmigGuest) guest = parse(element, AP);

    g_assert_null(strstr(xml, "0x"));
    g_assert_nonnull(guest->stamp);
    g_assert_null(guest->stamp->keys);
    g_assert_cmpuint(guest->stamp->view->queues->len, ==, 2);
    g_assert_cmpstr(guest->stamp->digest, ==, stamp->digest);
    g_assert_cmpstr(guest->stamp->lock->reason, ==, "AES rotation");
}

/* What the digest is not made of is not passed on with it, so it is not taken from whoever has written it there. */
static void
test_digest_with_control_domains(void)
{
    static const char xml[] = STAMP(HEAD("digest", DIGEST),
                                    "<apmigd:queues control-domains="
                                    "'0x8000000000000000000000000000000000000000000000000000000000000000'/>");
    g_autoptr(ApmigGuest) guest = parse(xml, AP);

    g_assert_nonnull(guest->stamp);
    g_assert_cmpint(guest->stamp->view->has_control_domains, ==, APMIG_UNKNOWN);
}

static void
test_lock_alone(void)
{
    g_autoptr(ApmigEvidence) nothing = apmig_evidence_new();
    g_autoptr(ApmigStamp) stamp = apmig_stamp_new(SOURCE, NOW, NULL, nothing, make_lock("AES rotation"));
    g_autofree char *xml = apmig_stamp_to_xml(stamp, APMIG_STAMP_FULL);
    g_autofree char *element = inject_namespace(xml);
    g_autoptr(ApmigGuest) guest = parse(element, "");

    g_assert_nonnull(guest->stamp);
    g_assert_null(guest->stamp->view);
    g_assert_cmpstr(guest->stamp->lock->id, ==, "0123456f");
    /* it names no queues, so it makes no guest an affected one */
    g_assert_cmpint(guest->affected, ==, APMIG_AFFECTED_NO);
}

/* Of a WK the first half may be all that was said, and it is all that the kernel compares. */
static void
test_half_a_pattern(void)
{
    g_autoptr(ApmigStamp) stamp = make_stamp(NULL);
    ApmigEvidenceRecord said = {.adapter = 5, .domain = 0x12, .key_class = APMIG_KEY_WK, .at = NOW - 1};
    g_autofree char *xml = NULL, *element = NULL;
    g_autoptr(ApmigGuest) guest = NULL;
    const ApmigEvidenceRecord *read;

    said.evidence = APMIG_EVIDENCE_ATTESTED;
    said.source = (char *)"tke";
    g_assert_true(apmig_key_pattern_parse("0x00112233445566778899aabbccddeeff", APMIG_MKVP_WK_BYTES,
                                          &said.registers[APMIG_REGISTER_CUR]));
    said.registers[APMIG_REGISTER_CUR].state = APMIG_KEY_STATE_VALID;
    apmig_evidence_add(stamp->keys, &said, NULL);
    xml = apmig_stamp_to_xml(stamp, APMIG_STAMP_FULL);
    element = inject_namespace(xml);
    guest = parse(element, AP);
    g_assert_cmpstr(guest->stamp_problem, ==, NULL);
    read = apmig_evidence_lookup(guest->stamp->keys, 5, 0x12, APMIG_KEY_WK);
    g_assert_cmpmem(read->registers, sizeof read->registers, said.registers, sizeof said.registers);
}

/* U+FFFE and U+FFFF are UTF-8 that no XML may have: libvirt would not take the stamp, nor the lock in it. */
static void
test_characters_that_are_none_of_xml(void)
{
    g_autoptr(ApmigStamp) stamp = make_stamp("AES\xef\xbf\xbe rotation \xef\xbf\xbf\xef\xbf\xbc");
    g_autofree char *xml = apmig_stamp_to_xml(stamp, APMIG_STAMP_FULL);
    g_autofree char *element = inject_namespace(xml);
    g_autoptr(ApmigGuest) guest = parse(element, AP);

    g_assert_cmpstr(guest->stamp_problem, ==, NULL);
    g_assert_cmpstr(guest->stamp->lock->reason, ==, "AES\xef\xbf\xbd rotation \xef\xbf\xbd\xef\xbf\xbc");
}

/* As many queues as there can be: the digest's form, or none at all, always with the lock. */
static void
test_size(void)
{
    g_autoptr(ApmigStamp) stamp = make_stamp("AES rotation");

    for (guint n = 1000; n <= APMIG_STAMP_MAX_QUEUES; n = n * 65 + 536) {
        g_autofree char *xml = NULL;
        g_autofree char *element = NULL;
        g_autoptr(ApmigGuest) guest = NULL;

        g_array_set_size(stamp->view->queues, 0);
        for (guint i = 0; i < n; i++) {
            const ApmigApViewQueue queue = {i / 256, i % 256, .mode = APMIG_AP_MODE_CCA};

            g_array_append_val(stamp->view->queues, queue);
        }
        xml = apmig_stamp_to_xml(stamp, APMIG_STAMP_FULL);
        element = inject_namespace(xml);
        guest = parse(element, "");
        g_assert_cmpuint(strlen(xml), <=, APMIG_STAMP_MAX_BYTES);
        g_assert_cmpstr(guest->stamp->lock->id, ==, "0123456f");
        g_assert_cmpint(guest->stamp->view != NULL, ==, n == 1000);
    }
}

/* --- what a guest with one is --------------------------------------------------------------------- */

static void
test_detached_guest_keeps_its_queues(void)
{
    g_autoptr(ApmigStamp) stamp = make_stamp(NULL);
    g_autofree char *xml = apmig_stamp_to_xml(stamp, APMIG_STAMP_FULL);
    g_autofree char *element = inject_namespace(xml);
    g_autofree char *with_keys =
        g_strconcat("<a:keys xmlns:a='urn:apmigd:1' scope='06.0001'/>", element, NULL);
    const struct {
        const char *metadata, *devices, *scope;
    } cases[] = {
        {element, "", "04-05.0012"},
        {with_keys, "", "06.0001,04-05.0012"},
        {element, AP, "all"},
        {with_keys, AP, "all"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *domain = make_domain(cases[i].metadata, cases[i].devices);
        g_autofree char *reduced = apmig_guest_reduce(domain, strlen(domain), NULL);
        const char *const texts[] = {domain, reduced};

        for (guint j = 0; j < G_N_ELEMENTS(texts); j++) {
            g_autoptr(ApmigGuest) guest = parse_domain(texts[j]);
            g_autoptr(ApmigScope) expected = scope_of(cases[i].scope);

            g_assert_cmpint(guest->affected, ==, APMIG_AFFECTED_YES);
            g_assert_true(apmig_scope_equal(guest->scope, expected));
        }
    }
}

/* What it declared at its source is its own only as long as it declares it. */
static void
test_declared_queues_are_no_device_s(void)
{
    g_autoptr(ApmigStamp) stamp = make_stamp(NULL);
    g_autofree char *xml = NULL;
    g_autofree char *element = NULL;
    g_autofree char *with_keys = NULL;
    g_autofree char *domain = NULL;
    g_autofree char *reduced = NULL;
    g_autoptr(ApmigGuest) guest = NULL;
    g_autoptr(ApmigGuest) without_keys = NULL;
    g_autoptr(ApmigScope) declared = scope_of("06.0001");

    stamp->is_declared = TRUE;
    xml = apmig_stamp_to_xml(stamp, APMIG_STAMP_DIGEST);
    element = inject_namespace(xml);
    with_keys = g_strconcat("<a:keys xmlns:a='urn:apmigd:1' scope='06.0001'/>", element, NULL);
    domain = make_domain(with_keys, "");
    reduced = apmig_guest_reduce(domain, strlen(domain), NULL);
    guest = parse_domain(reduced);
    without_keys = parse(element, "");
    g_assert_true(guest->stamp->is_declared);
    g_assert_true(apmig_scope_equal(guest->scope, declared));
    g_assert_cmpint(without_keys->affected, ==, APMIG_AFFECTED_NO);
}

/* --- what does not read --------------------------------------------------------------------------- */

static const struct {
    const char *xml;
    const char *problem; /* NULL: it reads */
} cases[] = {
    {STAMP(HEAD("full", ""), ""), NULL},
    {STAMP(HEAD("full", "") " newer='1'", "<apmigd:newer/><x/>text<apmigd:lock2/>"), NULL},
    {STAMP(HEAD("digest", ""), ""), NULL},
    {STAMP("", ""), "form"},
    {STAMP(HEAD("short", ""), ""), "form"},
    {STAMP("form='full' written-at='1' digest=''", ""), "host"},
    {STAMP("form='full' host='x' written-at='1' digest=''", ""), "host"},
    {STAMP("form='full' host='" SOURCE "' host-name='a&#10;b' written-at='1' digest=''", ""), "host-name"},
    {STAMP("form='full' host='" SOURCE "' digest=''", ""), "written-at"},
    {STAMP("form='full' host='" SOURCE "' written-at='-1' digest=''", ""), "written-at"},
    {STAMP("form='full' host='" SOURCE "' written-at=' 1' digest=''", ""), "written-at"},
    {STAMP("form='full' host='" SOURCE "' written-at='99999999999999999999' digest=''", ""), "written-at"},
    {STAMP("form='full' host='" SOURCE "' written-at='1'", ""), "digest"},
    {STAMP(HEAD("full", DIGEST), ""), "digest"}, /* of nothing */
    {STAMP(HEAD("full", ""), "<apmigd:queues/>"), "digest"},
    {STAMP(HEAD("full", DIGEST), "<apmigd:queues/>"), NULL},
    {STAMP(HEAD("full", DIGEST), "<apmigd:queues/><apmigd:queues/>"), "queues"},
    {STAMP(HEAD("full", DIGEST), "<apmigd:queues device='04.0012'/>"), "device"},
    {STAMP(HEAD("full", DIGEST), "<apmigd:queues declared='yes'/>"), NULL},
    {STAMP(HEAD("full", DIGEST), "<apmigd:queues declared='no'/>"), "declared"},
    {STAMP(HEAD("full", DIGEST), "<apmigd:queues control-domains='0x00'/>"), "control-domains"},
    {STAMP(HEAD("full", DIGEST), "<apmigd:queues control-domains='not supported'/>"), "control-domains"},
    {STAMP(HEAD("full", ""), LOCK("0123456f", "reason='r'")), NULL},
    {STAMP(HEAD("full", ""), LOCK("0123456f", "reason='r'") LOCK("0123456f", "reason='r'")), "lock"},
    {STAMP(HEAD("full", ""), LOCK("0123456F", "reason='r'")), "id"},
    {STAMP(HEAD("full", ""), LOCK("0123456f", "")), "reason"},
    {STAMP(HEAD("full", ""), LOCK("0123456f", "reason='a&#10;b'")), "reason"},
    {STAMP(HEAD("full", ""), LOCK("0123456f", "reason='a&#x9b;b'")), "reason"},
    {STAMP(HEAD("full", DIGEST), "<apmigd:queues>" QUEUE("04.0012", FULL_QUEUE "/>") "</apmigd:queues>"),
     NULL},
    {STAMP(HEAD("digest", DIGEST), "<apmigd:queues>" QUEUE("04.0012", "mode='EP11'/>") "</apmigd:queues>"),
     NULL},
    {STAMP(HEAD("full", DIGEST), "<apmigd:queues>" QUEUE("04.0012", "mode='EP11'/>") "</apmigd:queues>"),
     "functions"},
    {STAMP(HEAD("digest", DIGEST), "<apmigd:queues>" QUEUE("04.0012", "mode='ep11'/>") "</apmigd:queues>"),
     "mode"},
    {STAMP(HEAD("digest", DIGEST), "<apmigd:queues>" QUEUE("4.12", "mode='EP11'/>") "</apmigd:queues>"),
     "at"},
    {STAMP(HEAD("digest", DIGEST), "<apmigd:queues>" QUEUE("04.0112", "mode='EP11'/>") "</apmigd:queues>"),
     "at"},
    {STAMP(HEAD("digest", DIGEST), "<apmigd:queues>" QUEUE("04.0012", "mode='EP11'/>")
                                       QUEUE("04.0012", "mode='EP11'/>") "</apmigd:queues>"),
     "at"},
    {STAMP(HEAD("full", DIGEST),
           "<apmigd:queues>" QUEUE(
               "04.0012",
               "mode='CCA' functions='0x93800000' known='0x0' raw-hwtype='14'/>") "</apmigd:queues>"),
     "known"},
    {STAMP(HEAD("full", DIGEST),
           "<apmigd:queues>" QUEUE("04.0012", "mode='CCA' functions='0x93800000' known='0x00800000' "
                                              "raw-hwtype='14'/>") "</apmigd:queues>"),
     "known"},
#define KEY(attributes)                                                                                      \
    STAMP(HEAD("full", DIGEST),                                                                              \
          "<apmigd:queues>" QUEUE("04.0012", FULL_QUEUE ">") "<apmigd:key " attributes                       \
                                                             "/></apmigd:queue></apmigd:queues>")
    {KEY("class='AES' evidence='verified' at='1' source='' cur='valid 0x00000000000000a1'"), NULL},
    {KEY("class='AES' evidence='verified' at='1' source='' cur='valid'"), NULL},
    {KEY("class='DES' evidence='verified' at='1' source='' cur='valid'"), "class"},
    {KEY("class='AES' evidence='unknown' at='1' source='' cur='valid'"), "evidence"},
    {KEY("class='AES' evidence='verified' at='1' cur='valid'"), "source"},
    {KEY("class='AES' evidence='verified' source='' cur='valid'"), "at"},
    {KEY("class='AES' evidence='verified' at='1' source=''"), "cur"},
    {KEY("class='AES' evidence='verified' at='1' source='' cur='valid 0x00a1'"), "cur"},
    {KEY("class='AES' evidence='verified' at='1' source='' cur='valid  0x00000000000000a1'"), "cur"},
    {KEY("class='AES' evidence='verified' at='1' source='' cur='empty 0x00000000000000a1'"), "cur"},
    {KEY("class='AES' evidence='verified' at='1' source='' cur='valid' new='whatever'"), "new"},
    {KEY("class='AES' evidence='verified' at='1' source='' cur='valid' old=''"), "old"},
    {STAMP(HEAD("full", ""), "") STAMP(HEAD("full", ""), ""), "more than one"},
    {STAMP("unreadable='so&#x9b;2J'", ""), "so\\xc2\\x9b2J"},
};

/* The reason survives the hook's reduction, and never comes with a stamp. */
static void
test_strict(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *domain = make_domain(cases[i].xml, AP);
        g_autofree char *reduced = apmig_guest_reduce(domain, strlen(domain), NULL);
        g_autoptr(ApmigGuest) guest = parse_domain(domain);
        g_autoptr(ApmigGuest) again = parse_domain(reduced);

        g_assert_cmpstr(again->stamp_problem, ==, guest->stamp_problem);
        g_assert_cmpint(guest->stamp != NULL, ==, cases[i].problem == NULL);
        g_assert_cmpint(again->stamp != NULL, ==, cases[i].problem == NULL);
        if (cases[i].problem)
            assert_says(guest->stamp_problem, cases[i].problem);
        else
            g_assert_null(guest->stamp_problem);
    }
}

static void
test_long_texts(void)
{
    g_autofree char *long_text = g_strnfill(300, 'r');
    g_autofree char *stamp =
        g_strdup_printf(STAMP(HEAD("full", ""), LOCK("0123456f", "reason='%s'")), long_text);
    g_autoptr(ApmigGuest) guest = parse(stamp, "");
    g_autoptr(ApmigStamp) written = make_stamp(long_text);
    g_autofree char *xml = apmig_stamp_to_xml(written, APMIG_STAMP_FULL);
    g_autofree char *element = inject_namespace(xml);
    g_autoptr(ApmigGuest) again = parse(element, "");

    assert_says(guest->stamp_problem, "reason");
    assert_says(again->stamp->lock->reason, "...");
}

/* A stamp of another namespace, or outside of the metadata, is none. */
static void
test_not_ours(void)
{
    g_autoptr(ApmigGuest) foreign = parse("<s:stamp xmlns:s='urn:apmigd:1' form='full'/><stamp/>", "");
    g_autoptr(ApmigGuest) outside = parse("", STAMP(HEAD("full", ""), ""));

    g_assert_null(foreign->stamp);
    g_assert_null(foreign->stamp_problem);
    g_assert_null(outside->stamp);
}

/* --- the corpus ----------------------------------------------------------------------------------- */

/* Files called good-* read, the others do not, and none does harm. */
static void
test_corpus(void)
{
    g_autoptr(GDir) dir = g_dir_open(SOURCE_DIR "/tests/data/stamp", 0, NULL);
    guint n = 0;

    g_assert_nonnull(dir);
    for (const char *name = g_dir_read_name(dir); name; name = g_dir_read_name(dir)) {
        g_autofree char *path = g_build_filename(SOURCE_DIR "/tests/data/stamp", name, NULL);
        g_autofree char *xml = NULL;
        g_autoptr(ApmigGuest) guest = NULL;

        if (!g_str_has_suffix(name, ".xml"))
            continue;
        g_assert_true(g_file_get_contents(path, &xml, NULL, NULL));
        g_test_message("%s", name);
        guest = parse_domain(xml);
        g_assert_cmpint(guest->stamp != NULL, ==, g_str_has_prefix(name, "good-"));
        g_assert_cmpint(guest->stamp_problem != NULL, ==, !g_str_has_prefix(name, "good-"));
        if (guest->stamp && guest->stamp->view && guest->stamp->keys) {
            g_autofree char *digest = apmig_stamp_digest(guest->stamp->view, guest->stamp->keys);

            g_assert_cmpstr(digest, ==, guest->stamp->digest);
        }
        n++;
    }
    g_assert_cmpuint(n, >=, 6);
}

/* --- what may be written --------------------------------------------------------------------------- */

static void
assert_is_none(const char *text, const char *problem)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigStamp) stamp = apmig_stamp_from_xml(text, &error);

    g_test_message("%.200s", text); /* some are of 256 KiB */
    g_assert_null(stamp);
    g_assert_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_GUEST);
    g_assert_nonnull(strstr(error->message, problem));
}

/* @old: in it. Returns: (transfer full) */
static char *
with(const char *xml, const char *old, const char *replacement)
{
    g_auto(GStrv) parts = g_strsplit(xml, old, 2);

    g_assert_nonnull(parts[1]);
    return g_strjoinv(replacement, parts);
}

/* Not a byte but what apmigd writes. */
static void
test_what_may_be_written(void)
{
    static const struct {
        const char *old, *replacement, *problem;
    } changes[] = {
        {"<stamp ", "<?x y?><stamp ", "not one element"},
        {"<stamp ", "<!DOCTYPE stamp [<!ENTITY a 'b'>]><stamp ", "not one element"},
        {"<stamp ", "<a/><stamp ", "not one element"},
        {"</stamp>", "</stamp><stamp/>", "not one element"},
        {"</stamp>", "</stamp>\n", "more in it"},
        {"</stamp>", "<evil xmlns='urn:evil:1'/></stamp>", "more in it"},
        {"</stamp>", "<newer/></stamp>", "more in it"},
        {"<stamp ", "<stamp xmlns='urn:evil:1' ", "not one element"},
        {"<stamp ", "<stamp newer='1' ", "more in it"},
        {"form=\"full\"", "form='full'", "more in it"},
        {"form=\"full\"", "form=\"short\"", "form"},
        {"<queues ", "<queues xmlns:e='urn:evil:1' e:a='1' ", "more in it"},
    };
    g_autoptr(ApmigStamp) stamp = make_stamp("AES rotation");
    g_autofree char *xml = apmig_stamp_to_xml(stamp, APMIG_STAMP_FULL);
    g_autofree char *large = g_strnfill(APMIG_STAMP_MAX_BYTES + 1, ' ');

    for (guint i = 0; i < G_N_ELEMENTS(changes); i++) {
        g_autofree char *changed = with(xml, changes[i].old, changes[i].replacement);

        assert_is_none(changed, changes[i].problem);
    }
    assert_is_none("", "not one element");
    assert_is_none("<stamp/>", "form");
    assert_is_none("<keys scope='all'/>", "not one element");
    memcpy(large, "<stamp", strlen("<stamp"));
    memcpy(large + APMIG_STAMP_MAX_BYTES - 1, "/>", 2);
    assert_is_none(large, "not one element");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/stamp-xml/round-trip", test_round_trip);
    g_test_add_func("/stamp-xml/digest", test_digest);
    g_test_add_func("/stamp-xml/digest-with-control-domains", test_digest_with_control_domains);
    g_test_add_func("/stamp-xml/lock-alone", test_lock_alone);
    g_test_add_func("/stamp-xml/half-a-pattern", test_half_a_pattern);
    g_test_add_func("/stamp-xml/characters", test_characters_that_are_none_of_xml);
    g_test_add_func("/stamp-xml/size", test_size);
    g_test_add_func("/stamp-xml/detached-guest", test_detached_guest_keeps_its_queues);
    g_test_add_func("/stamp-xml/declared-queues", test_declared_queues_are_no_device_s);
    g_test_add_func("/stamp-xml/strict", test_strict);
    g_test_add_func("/stamp-xml/long-texts", test_long_texts);
    g_test_add_func("/stamp-xml/not-ours", test_not_ours);
    g_test_add_func("/stamp-xml/corpus", test_corpus);
    g_test_add_func("/stamp-xml/what-may-be-written", test_what_may_be_written);
    return g_test_run();
}
