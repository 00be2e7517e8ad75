/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is read of a domain XML, which may be hostile, and what the hook passes on of it. */
#include "base/error.h"
#include "guest/document.h"
#include "guest/xml.h"

#include <string.h>

#define UUID      "c7a5fdbd-edaf-9455-926a-d65c16db1809"
#define MDEV      "aaaaaaaa-1234-9455-926a-d65c16db1809"
#define MDEV2     "bbbbbbbb-1234-9455-926a-d65c16db1809"
#define IDENTITY  "<name>g1</name><uuid>" UUID "</uuid>"
#define DOMAIN(x) "<domain type='kvm'>" IDENTITY x "</domain>"
#define AP(uuid)                                                                                             \
    "<hostdev mode='subsystem' type='mdev' managed='no' model='vfio-ap'>"                                    \
    "<source><address uuid='" uuid "'/></source></hostdev>"
#define KEYS(scope) "<metadata><apmigd:keys xmlns:apmigd='urn:apmigd:1' scope='" scope "'/></metadata>"

static ApmigGuest *
parse(const char *xml)
{
    g_autoptr(GError) error = NULL;
    ApmigGuest *guest = apmig_guest_parse(xml, strlen(xml), &error);

    g_assert_no_error(error);
    g_assert_nonnull(guest);
    return guest;
}

/* The guest is the same after the hook has reduced its XML. */
static void
assert_guest(const char *xml, const char *scope, const char *devices)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *reduced = apmig_guest_reduce(xml, strlen(xml), &error);
    const char *const texts[] = {xml, reduced};

    g_assert_no_error(error);
    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autoptr(ApmigGuest) guest = parse(texts[i]);
        g_autofree char *joined = g_strjoinv(",", guest->devices);

        g_assert_cmpstr(guest->name, ==, "g1");
        g_assert_cmpstr(guest->uuid, ==, UUID);
        g_assert_cmpint(guest->affected, ==, scope ? APMIG_AFFECTED_YES : APMIG_AFFECTED_NO);
        g_assert_cmpstr(guest->scope ? apmig_scope_to_string(guest->scope) : NULL, ==, scope);
        g_assert_cmpstr(joined, ==, devices);
    }
}

static void
assert_refused(const char *xml, gssize length, const char *hint)
{
    gsize bytes = length < 0 ? strlen(xml) : (gsize)length;
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) same = NULL;

    g_assert_null(apmig_guest_parse(xml, bytes, &error));
    g_assert_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_GUEST);
    if (!strstr(error->message, hint))
        g_error("\"%s\" does not say \"%s\"", error->message, hint);
    g_assert_cmpuint(strlen(error->message), <, 400);
    g_assert_true(g_utf8_validate(error->message, -1, NULL));
    g_assert_null(strchr(error->message, '\n'));
    g_assert_null(apmig_guest_reduce(xml, bytes, &same));
    g_assert_error(same, APMIG_ERROR, APMIG_ERROR_INVALID_GUEST);
}

/* That it has neither a vfio-ap device nor an element of ours is told, and no more has to be. */
static void
assert_unaffected(const char *xml, gssize length)
{
    gsize bytes = length < 0 ? strlen(xml) : (gsize)length;
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigGuest) guest = apmig_guest_parse(xml, bytes, &error);
    g_autofree char *reduced = apmig_guest_reduce(xml, bytes, NULL);

    g_assert_no_error(error);
    for (guint i = 0; i < 2; i++) {
        g_assert_cmpint(guest->affected, ==, APMIG_AFFECTED_NO);
        g_assert_null(guest->scope);
        g_assert_null(guest->devices[0]);
        apmig_guest_free(guest);
        guest = parse(reduced);
    }
}

/* --- affected, and not ---------------------------------------------------------------------------- */

static void
test_devices(void)
{
    assert_guest(DOMAIN(""), NULL, "");
    assert_guest(DOMAIN("<devices/>"), NULL, "");
    assert_guest(DOMAIN("<devices>" AP(MDEV) "</devices>"), "all", MDEV);
    assert_guest(DOMAIN("<devices>" AP("AAAAAAAA-1234-9455-926A-D65C16DB1809") "</devices>"), "all", MDEV);
    assert_guest(DOMAIN("<devices>" AP(MDEV) AP(MDEV2) AP(MDEV) "</devices>"), "all", MDEV "," MDEV2);
    assert_guest(DOMAIN("<devices/><devices>" AP(MDEV) "</devices>"), "all", MDEV);
    assert_guest(DOMAIN("<devices><hostdev type='mdev' model='vfio-ap'/></devices>"), "all", "");
    assert_guest(DOMAIN("<devices>" AP("no uuid") "</devices>"), "all", "");
    assert_guest(DOMAIN("<devices>" AP("") AP(MDEV) "</devices>"), "all", MDEV);
}

static void
test_other_devices(void)
{
    assert_guest(
        DOMAIN("<devices><hostdev mode='subsystem' type='mdev' model='vfio-ccw'><source><address uuid='" MDEV
               "'/></source></hostdev></devices>"),
        NULL, "");
    assert_guest(DOMAIN("<devices><hostdev mode='subsystem' type='mdev' model='vfio-pci'/></devices>"), NULL,
                 "");
    assert_guest(DOMAIN("<devices><hostdev mode='subsystem' type='pci'/></devices>"), NULL, "");
    assert_guest(DOMAIN("<devices><hostdev mode='capabilities' type='mdev' model='vfio-ap'/></devices>"),
                 NULL, "");
    assert_guest(DOMAIN(AP(MDEV)), NULL, ""); /* no device: not under <devices> */
    assert_guest(DOMAIN("<description>"
                        "&lt;hostdev model='vfio-ap'/&gt; urn:apmigd:1</description>"),
                 NULL, "");
}

static void
test_declared(void)
{
    assert_guest(DOMAIN(KEYS("04.0012")), "04.0012", "");
    assert_guest(DOMAIN(KEYS("4.12,04.0012,*.0001")), "*.0001,04.0012", "");
    assert_guest(DOMAIN(KEYS("all")), "all", "");
    assert_guest(DOMAIN(KEYS("04.0012") "<devices>" AP(MDEV) "</devices>"), "all", MDEV);
}

static void
test_declared_garbage_is_all(void)
{
    g_autofree char *long_scope = g_strnfill(100000, '4');
    g_autofree char *xml = g_strdup_printf(DOMAIN(KEYS("%s")), long_scope);

    assert_guest(DOMAIN(KEYS("")), "all", "");
    assert_guest(DOMAIN(KEYS("none")), "all", "");
    assert_guest(DOMAIN(KEYS("04.0012,")), "all", "");
    assert_guest(DOMAIN(KEYS("\xc3\xa9&#10;")), "all", "");
    assert_guest(DOMAIN("<metadata><a:keys xmlns:a='urn:apmigd:1'/></metadata>"), "all", "");
    assert_guest(DOMAIN("<metadata><a:keys xmlns:a='urn:apmigd:1' a:scope='04.0012'/></metadata>"), "all",
                 "");
    assert_guest(DOMAIN(KEYS("04.0012") KEYS("05.0012")), "all", "");
    assert_guest(xml, "all", "");
}

/* The name counts, not the prefix. */
static void
test_namespaces(void)
{
    assert_guest(DOMAIN("<metadata><x:keys xmlns:x='urn:apmigd:1' scope='04.0012'/></metadata>"), "04.0012",
                 "");
    assert_guest(DOMAIN("<metadata><keys xmlns='urn:apmigd:1' scope='04.0012'/></metadata>"), "04.0012", "");
    assert_guest("<domain xmlns:q='urn:apmigd:1'>" IDENTITY
                 "<metadata><q:keys scope='04.0012'/></metadata></domain>",
                 "04.0012", "");
    assert_guest(DOMAIN("<metadata><apmigd:keys xmlns:apmigd='urn:other:1' scope='all'/></metadata>"), NULL,
                 "");
    assert_guest(DOMAIN("<metadata><keys scope='all'/></metadata>"), NULL, "");
    assert_guest(DOMAIN("<metadata><a:lock xmlns:a='urn:apmigd:1' scope='all'/></metadata>"), NULL, "");
    assert_guest(DOMAIN("<devices><n:hostdev xmlns:n='urn:n' type='mdev' model='vfio-ap'/></devices>"), NULL,
                 "");
    assert_refused("<domain xmlns='urn:x'>" IDENTITY KEYS("all") "</domain>", -1, "no <domain>");
}

#define QEMU(args)                                                                                           \
    "<domain xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>" IDENTITY                                 \
    "<q:commandline><q:arg value='-device'/>" args "</q:commandline></domain>"

/* QEMU gets these as they are, and its JSON can escape letters. */
static void
test_command_line(void)
{
    assert_guest(QEMU("<q:arg value='vfio-ap,sysfsdev=/sys/bus/mdev/devices/" MDEV "'/>"), "all", "");
    assert_guest(QEMU("<q:arg value='{\"driver\":\"vfio-ap\",\"id\":\"x\"}'/>"), "all", "");
    assert_guest(QEMU("<q:arg value='{\"driver\":\"vfio\\u002Dap\"}'/>"), "all", "");
    assert_guest(QEMU("<q:arg value='vfio&#45;ap'/>"), "all", "");
    assert_guest(QEMU("<q:arg value='vfio-pci,sysfsdev=/sys/x\\u002'/>"), NULL, "");
    assert_guest(QEMU("<q:env name='NOTE' value='vfio-ap'/>"), NULL, "");
    assert_guest(DOMAIN("<commandline><arg value='vfio-ap'/></commandline>"), NULL, "");
}

/* What libvirt would read so, though the bytes do not have it. */
static void
test_hidden(void)
{
    static const char utf7[] = "<?xml version='1.0' encoding='UTF-7'?><domain>" IDENTITY
                               "<devices><hostdev type='mdev' model='vfio+AC0-ap'/></devices></domain>";

    assert_guest(DOMAIN("<devices><hostdev type='&#109;dev' model='vfio&#x2d;ap'/></devices>"), "all", "");
    assert_guest(DOMAIN("<metadata><a:keys xmlns:a='urn&#58;apmigd:1' scope='04.0012'/></metadata>"),
                 "04.0012", "");
    assert_guest("<!DOCTYPE domain [<!ATTLIST hostdev model CDATA 'vfio&#45;ap'>]>" DOMAIN(
                     "<devices><hostdev type='mdev'/></devices>"),
                 "all", "");
    assert_guest(utf7, "all", "");
}

/* --- who it is ------------------------------------------------------------------------------------ */

static void
test_identity(void)
{
    g_autofree char *long_name = g_strnfill(256, 'n');
    g_autofree char *long_xml =
        g_strdup_printf("<domain><name>%s</name><uuid>" UUID "</uuid></domain>", long_name);
    g_autoptr(ApmigGuest) guest = parse("<domain><uuid>C7A5FDBD-EDAF-9455-926A-D65C16DB1809</uuid>"
                                        "<name>&lt;K\xc3\xb6nig&amp;<![CDATA[<]]></name></domain>");

    g_assert_cmpstr(guest->name, ==, "<K\xc3\xb6nig&<");
    g_assert_cmpstr(guest->uuid, ==, UUID);
}

/* Libvirt reads and writes such ones, for all guests but ours. */
static void
test_odd_identity(void)
{
    static const struct {
        const char *identity;
        const char *hint;
    } odd[] = {
        {"<name>g1</name>", "no <uuid>"},
        {"<uuid>" UUID "</uuid>", "its name in the domain XML, \"\", is empty"},
        {"<name/><uuid>" UUID "</uuid>", "--dname"},
        {"<name>g1</name><uuid>5</uuid>", "\"5\", is no UUID"},
        {"<name>g1</name><uuid>" UUID "0</uuid>", "is no UUID"},
        {"<name>a&#10;b</name><uuid>" UUID "</uuid>", "\"a\\x0ab\""},
        {"<name>a\tb\r</name><uuid>" UUID "</uuid>", "control"},
        {"<name>a\xc2\x9b"
         "2J</name><uuid>" UUID "</uuid>",
         "control"},
        {IDENTITY "<name>g2</name>", "more than one <name>"},
        {IDENTITY "<uuid>" MDEV "</uuid>", "more than one <uuid>"},
    };
    g_autofree char *long_name = g_strnfill(256, 'n');
    g_autofree char *long_xml =
        g_strdup_printf("<domain><name>%s</name><uuid>" UUID "</uuid>" KEYS("all") "</domain>", long_name);

    assert_refused(long_xml, -1, "longer");
    for (guint i = 0; i < G_N_ELEMENTS(odd); i++) {
        g_autofree char *affected = g_strconcat("<domain>", odd[i].identity, KEYS("all"), "</domain>", NULL);
        g_autofree char *other = g_strconcat("<domain>", odd[i].identity, "</domain>", NULL);

        assert_refused(affected, -1, odd[i].hint);
        assert_unaffected(other, -1);
    }
}

/* As virUUIDParse() takes them. */
static void
test_spellings_of_uuids(void)
{
    static const char *const spellings[] = {
        "C7A5FDBD-EDAF-9455-926A-D65C16DB1809",
        "c7a5fdbdedaf9455926ad65c16db1809",
        "\n c7a5fdbd edaf 9455 926a d65c16db1809 \t",
        "--c7-a5-fd-bd-ed-af-94-55-92-6a-d6-5c-16-db-18-09",
    };
    static const char *const others[] = {"c7a5fdbd-edaf-9455-926a-d65c16db180", UUID "-",
                                         "c-7a5fdbd-edaf-9455-926a-d65c16db1809"};

    for (guint i = 0; i < G_N_ELEMENTS(spellings); i++) {
        g_autofree char *xml = g_strdup_printf(
            "<domain><name>g1</name><uuid>%s</uuid><devices><hostdev type='mdev' "
            "model='vfio-ap'><source><address uuid='%s'/></source></hostdev></devices></domain>",
            spellings[i], spellings[i]);

        assert_guest(xml, "all", UUID);
    }
    for (guint i = 0; i < G_N_ELEMENTS(others); i++) {
        g_autofree char *xml =
            g_strdup_printf("<domain><name>g1</name><uuid>%s</uuid>" KEYS("all") "</domain>", others[i]);

        assert_refused(xml, -1, "no UUID");
    }
}

static void
test_reduced_carries_nothing_else(void)
{
    static const char xml[] = DOMAIN(KEYS("04.0012") "<devices><graphics type='vnc' passwd='geheim'/>" AP(
        MDEV) "<disk><auth><secret usage='geheim'/></auth></disk></devices><!-- geheim --><?geheim?>");
    g_autofree char *reduced = apmig_guest_reduce(xml, strlen(xml), NULL);

    g_assert_nonnull(strstr(reduced, MDEV));
    g_assert_nonnull(strstr(reduced, "urn:apmigd:1"));
    g_assert_null(strstr(reduced, "geheim"));
    g_assert_null(strstr(reduced, "disk"));
}

/* Its queues are not known, so it counts beside one that has a UUID. */
static void
test_reduced_keeps_an_unnamed_device(void)
{
    static const char xml[] = DOMAIN("<devices>" AP(MDEV) AP("?") "</devices>");
    g_autofree char *reduced = apmig_guest_reduce(xml, strlen(xml), NULL);
    g_autoptr(ApmigGuest) guest = parse(xml);
    g_autoptr(ApmigGuest) again = parse(reduced);

    g_assert_true(guest->has_unnamed);
    g_assert_true(again->has_unnamed);
    g_assert_cmpuint(again->n_ap_devices, ==, 1);
}

/* --- other devices ------------------------------------------------------------------------------- */

#define THERE "cccccccc-1234-9455-926a-d65c16db1809"

static char *
replace(const char *xml, const char *own, GError **error)
{
    g_autoptr(GHashTable) map = g_hash_table_new(g_str_hash, g_str_equal);

    g_hash_table_insert(map, (gpointer)own, (gpointer)THERE);
    return apmig_guest_replace_devices(xml, strlen(xml), map, error);
}

/* All else stays, byte by byte, but for quotes, the declaration and the place of namespaces, where libxml2 has a way
 * of its own. */
static void
test_replaced_device(void)
{
    static const char before[] =
        "<domain xmlns:qemu=\"http://libvirt.org/schemas/domain/qemu/1.0\" type=\"kvm\" id=\"7\">\n "
        " " IDENTITY "\n  <metadata>\n    <app:x xmlns:app=\"urn:x\" "
        "a=\"&lt;&amp;&#10;&quot;\"><![CDATA[<&]]>\xc3\xbc &gt;</app:x>"
        "\n  </metadata><!-- a: " MDEV " -->\n  <?pi " MDEV "?>\n  <devices>\n"
        "    <graphics type=\"vnc\" passwd=\"geheim\"/>\n"
        "    <hostdev mode=\"subsystem\" type=\"mdev\" managed=\"no\" model=\"vfio-ap\">\n"
        "      <source>\n        <address uuid=\"%s\"/>\n      </source>\n      <alias name=\"hostdev0\"/>\n"
        "    </hostdev>\n"
        "    <hostdev mode=\"subsystem\" type=\"pci\"><source><address uuid=\"" MDEV
        "\"/></source></hostdev>\n"
        "    <x><hostdev type=\"mdev\"><source><address uuid=\"" MDEV "\"/></source></hostdev></x>\n"
        "  </devices>\n  <qemu:override><qemu:device alias=\"ua-" MDEV "\"/></qemu:override>\n</domain>\n";
    static const char declaration[] = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    const char *const spellings[] = {MDEV, "AAAAAAAA-1234-9455-926A-D65C16DB1809"};
    g_autofree char *expected = g_strdup_printf(before, THERE);

    for (guint i = 0; i < G_N_ELEMENTS(spellings); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *xml = g_strdup_printf(before, spellings[i]);
        g_autofree char *changed = replace(xml, MDEV, &error);

        g_assert_no_error(error);
        g_assert_true(g_str_has_prefix(changed, declaration));
        g_assert_cmpstr(changed + strlen(declaration), ==, expected);
    }
}

static void
test_no_device_to_replace(void)
{
    g_autoptr(GError) absent = NULL;
    g_autoptr(GError) broken = NULL;
    g_autofree char *none = replace(DOMAIN("<devices>" AP(MDEV2) "</devices>"), MDEV, &absent);

    g_assert_null(none);
    g_assert_error(absent, APMIG_ERROR, APMIG_ERROR_INVALID_GUEST);
    none = replace("<domain>", MDEV, &broken);
    g_assert_null(none);
    g_assert_error(broken, APMIG_ERROR, APMIG_ERROR_INVALID_GUEST);
}

/* --- hostile -------------------------------------------------------------------------------------- */

static void
test_no_xml(void)
{
#define ODD(x)                                                                                               \
    {                                                                                                        \
        "no domain" x, "<domain>" x, "<network>" IDENTITY x "</network>", DOMAIN(x) "<domain/>",             \
            DOMAIN("\xff" x), DOMAIN("&undeclared;" x), "<domain><\x1b[2J>" x "</domain>",                   \
            "<?xml version='1.0' encoding='UTF-16'?>\xff\xfe<domain>" x "</domain>",                         \
            "<?xml version='1.0' encoding='no-such-one'?><domain>" x "</domain>",                            \
    }
    static const char *const others[] = ODD("");
    static const char *const affected[] = ODD("<devices>" AP(MDEV) "</devices>");
    static const char *const declared[] = ODD(KEYS("04.0012"));

    for (guint i = 0; i < G_N_ELEMENTS(others); i++) {
        assert_unaffected(others[i], -1);
        assert_refused(affected[i], -1, "");
        assert_refused(declared[i], -1, "");
    }
    assert_unaffected("", -1);
    assert_refused("<domain>" KEYS("all"), -1, "line 1");
    assert_refused("<domain>" KEYS("all"), -1, "hook scripts that run before");
    assert_unaffected(DOMAIN("\0"), sizeof(DOMAIN("\0")) - 1);
    assert_refused(DOMAIN("\0" KEYS("all")), sizeof(DOMAIN("\0" KEYS("all"))) - 1, "");
}

/* One without entities hides nothing, and nothing of it is fetched. */
static void
test_document_types(void)
{
    assert_guest("<!DOCTYPE domain>" DOMAIN(""), NULL, "");
    assert_guest("<!DOCTYPE domain SYSTEM 'file:///no/such.dtd'>" DOMAIN(KEYS("04.0012")), "04.0012", "");
    assert_guest("<!DOCTYPE domain [<!ELEMENT domain ANY><?x?>]>" DOMAIN(""), NULL, "");
    assert_refused("<!DOCTYPE d [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><domain><name>&x;</name><uuid>" UUID
                   "</uuid></domain>",
                   -1, "entities");
    assert_refused("<!DOCTYPE d [<!ENTITY a 'vfio-'><!ENTITY b 'ap'>]>" DOMAIN(
                       "<devices><hostdev type='mdev' model='&a;&b;'/></devices>"),
                   -1, "entities");
    assert_refused("<!DOCTYPE d [<!ENTITY % p SYSTEM 'http://127.0.0.1:1/x'> %p;]>" DOMAIN(""), -1,
                   "entities");
}

static void
test_entity_bomb(void)
{
    g_autoptr(GString) xml = g_string_new("<?xml version='1.0'?><!DOCTYPE d [<!ENTITY a0 'lol'>");
    gint64 start = g_get_monotonic_time();

    for (guint i = 1; i < 30; i++) {
        g_string_append_printf(xml, "<!ENTITY a%u '", i);
        for (guint k = 0; k < 10; k++)
            g_string_append_printf(xml, "&a%u;", i - 1);
        g_string_append(xml, "'>");
    }
    g_string_append(xml, "]><domain a='&a29;'><name>&a29;</name></domain>");
    assert_refused(xml->str, xml->len, "entities");
    g_assert_cmpint(g_get_monotonic_time() - start, <, G_USEC_PER_SEC);
}

/* @middle, in a domain that is too long to be kept as a tree. */
static char *
enlarge(const char *beginning, const char *middle)
{
    g_autofree char *spaces = g_strnfill(APMIG_GUEST_XML_MAX_BYTES, ' ');

    return g_strconcat(beginning, "<domain xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>", IDENTITY,
                       spaces, middle, "</domain>", NULL);
}

static void
test_large(void)
{
    static const char *const affected[] = {
        "<devices>" AP(MDEV) "</devices>",
        "<devices><hostdev type='mdev' model='vfio&#45;ap'/></devices>",
        KEYS("04.0012"),
        "<metadata><a:keys xmlns:a='urn&#58;apmigd:1'/></metadata>",
        "<q:commandline><q:arg value='{\"driver\":\"vfio\\u002dap\"}'/></q:commandline>",
        "<devices>" AP(MDEV),
    };
    static const char *const others[] = {"", "<name>&#10;</name><a b='c' d='&#233;'/>", "<open>"};
    g_autofree char *entities = enlarge("<!DOCTYPE d [<!ENTITY a 'b'>]>", "");
    g_autofree char *comment = g_strnfill(20 * 1024 * 1024, 'x');
    g_autofree char *long_comment = g_strconcat(DOMAIN(""), "<!--", comment, "-->", NULL);

    for (guint i = 0; i < G_N_ELEMENTS(affected); i++) {
        g_autofree char *xml = enlarge("", affected[i]);

        assert_refused(xml, -1, "more than 4194304");
    }
    for (guint i = 0; i < G_N_ELEMENTS(others); i++) {
        g_autofree char *xml = enlarge("", others[i]);

        assert_unaffected(xml, -1);
    }
    assert_refused(entities, -1, "bytes");
    assert_unaffected(long_comment, -1);
}

static void
test_too_many_devices(void)
{
    g_autoptr(GString) many = g_string_new("<domain>" IDENTITY "<devices>");

    for (guint i = 0; i <= APMIG_GUEST_MAX_DEVICES; i++)
        g_string_append(many, AP(MDEV));
    g_string_append(many, "</devices></domain>");
    assert_refused(many->str, many->len, "more than 16");
}

/* As many as an admission can keep, vfio-ap first, and each once. */
static void
test_many_devices(void)
{
    g_autoptr(GString) xml = g_string_new("<domain>" IDENTITY KEYS("04.0012") "<devices>");
    g_autoptr(GString) expected = g_string_new(NULL);

    for (guint i = 0; i < 20; i++)
        g_string_append_printf(
            xml, "<hostdev type='mdev' model='%s'><source><address uuid='%08x%s'/></source></hostdev>",
            i < 9 ? "vfio-pci" : "vfio-ap", i == 8 ? 9 : i, &UUID[8]);
    g_string_append(xml, "</devices></domain>");
    for (guint i = 0; i < APMIG_GUEST_MAX_DEVICES; i++)
        g_string_append_printf(expected, "%s%08x%s", i > 0 ? "," : "", i < 11 ? i + 9 : i - 11, &UUID[8]);
    assert_guest(xml->str, "all", expected->str);
}

/* Deeper than libxml2 goes, for libvirt as for us. */
static void
test_deep(void)
{
    g_autoptr(GString) deep = g_string_new("<domain>" IDENTITY "<metadata>");

    for (guint i = 0; i < 200000; i++)
        g_string_append(deep, "<a>");
    assert_unaffected(deep->str, deep->len);
    g_string_append(deep, AP(MDEV));
    assert_refused(deep->str, deep->len, "");
}

/* Nothing that is cut off anywhere is taken for a guest, and for none that is affected without a sign of it. */
static void
test_cut(void)
{
    static const char xml[] = DOMAIN(KEYS("04.0012") "<devices>" AP(MDEV) "</devices>");
    const gsize sign = strstr(xml, "urn:apmigd:") + strlen("urn:apmigd:") - xml;

    for (gsize length = 0; length < sign; length++)
        assert_unaffected(xml, length);
    for (gsize length = sign; length < sizeof(xml) - 1; length++)
        assert_refused(xml, length, "");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/guest-xml/devices", test_devices);
    g_test_add_func("/guest-xml/other-devices", test_other_devices);
    g_test_add_func("/guest-xml/declared", test_declared);
    g_test_add_func("/guest-xml/declared-garbage-is-all", test_declared_garbage_is_all);
    g_test_add_func("/guest-xml/namespaces", test_namespaces);
    g_test_add_func("/guest-xml/command-line", test_command_line);
    g_test_add_func("/guest-xml/hidden", test_hidden);
    g_test_add_func("/guest-xml/identity", test_identity);
    g_test_add_func("/guest-xml/odd-identity", test_odd_identity);
    g_test_add_func("/guest-xml/spellings-of-uuids", test_spellings_of_uuids);
    g_test_add_func("/guest-xml/reduced-carries-nothing-else", test_reduced_carries_nothing_else);
    g_test_add_func("/guest-xml/reduced-keeps-an-unnamed-device", test_reduced_keeps_an_unnamed_device);
    g_test_add_func("/guest-xml/replaced-device", test_replaced_device);
    g_test_add_func("/guest-xml/no-device-to-replace", test_no_device_to_replace);
    g_test_add_func("/guest-xml/no-xml", test_no_xml);
    g_test_add_func("/guest-xml/document-types", test_document_types);
    g_test_add_func("/guest-xml/entity-bomb", test_entity_bomb);
    g_test_add_func("/guest-xml/large", test_large);
    g_test_add_func("/guest-xml/too-many-devices", test_too_many_devices);
    g_test_add_func("/guest-xml/many-devices", test_many_devices);
    g_test_add_func("/guest-xml/deep", test_deep);
    g_test_add_func("/guest-xml/cut", test_cut);
    return g_test_run();
}
