/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernel's texts about crypto hardware: each form is read, and nothing else is taken for it. */
#include "ap/text.h"

#include <string.h>

#define ZEROS   "0000000000000000000000000000000000000000000000000000000000000000"
#define ALL     "0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
#define NOTHING "0x" ZEROS

static char *
variant(const char *path)
{
    g_autofree char *full = g_build_filename(SOURCE_DIR, "tests/data/ap/variants", path, NULL);
    g_autoptr(GError) error = NULL;
    char *text = NULL;

    g_file_get_contents(full, &text, NULL, &error);
    g_assert_no_error(error);
    return text;
}

/* The numbers in @mask, as "02 05 0a". */
static char *
numbers_of(const ApmigApMask *mask)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < APMIG_AP_NUMBERS; i++)
        if (apmig_ap_mask_has(mask, i))
            g_string_append_printf(text, "%s%02x", text->len > 0 ? " " : "", i);
    return g_string_free(text, FALSE);
}

static void
assert_mask(const ApmigApMask *mask, const char *numbers)
{
    g_autofree char *found = numbers_of(mask);

    g_assert_cmpstr(found, ==, numbers);
}

/* --- masks --------------------------------------------------------------------------------------- */

static void
test_mask(void)
{
    static const struct {
        const char *path;
        const char *numbers;
    } cases[] = {
        {"masks/adapters-02-05-0a.txt", "02 05 0a"},
        {"masks/control-04-05-06-2c-4f.txt", "04 05 06 2c 4f"},
        {"masks/vfio-ap-rst-example-7d.txt", "01 02 03 04 05 07"},
    };
    ApmigApMask mask;
    g_autofree char *host = variant("masks/all-host.txt");
    g_autofree char *domains = variant("masks/aqmask-minus-05-2c-4f.txt");
    g_autofree char *no_qci = variant("masks/no-qci.txt");

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text = variant(cases[i].path);

        g_assert_cmpint(apmig_ap_parse_mask(text, &mask), ==, APMIG_YES);
        assert_mask(&mask, cases[i].numbers);
    }
    g_assert_cmpint(apmig_ap_parse_mask(host, &mask), ==, APMIG_YES);
    g_assert_true(apmig_ap_mask_has(&mask, 0) && apmig_ap_mask_has(&mask, 255));
    g_assert_false(apmig_ap_mask_has(&mask, 256));
    g_assert_cmpint(apmig_ap_parse_mask(domains, &mask), ==, APMIG_YES);
    for (guint i = 0; i < APMIG_AP_NUMBERS; i++)
        g_assert_cmpint(apmig_ap_mask_has(&mask, i), ==, i != 0x05 && i != 0x2c && i != 0x4f);
    g_assert_cmpint(apmig_ap_parse_mask(no_qci, &mask), ==, APMIG_NO);
}

/* The properties APMASK and AQMASK of a uevent have the newline, CONFIG and ONLINE have not. */
static void
test_newline_may_be_missing(void)
{
    ApmigApMask mask;
    guint number;
    guint32 functions;
    g_autofree char *word = apmig_ap_parse_word("CEX8C");

    g_assert_cmpint(apmig_ap_parse_mask(ALL, &mask), ==, APMIG_YES);
    g_assert_cmpint(apmig_ap_parse_mask(ALL "\n", &mask), ==, APMIG_YES);
    g_assert_cmpint(apmig_ap_parse_mask(ALL "\n\n", &mask), ==, APMIG_UNKNOWN);
    g_assert_cmpint(apmig_ap_parse_switch("1"), ==, APMIG_YES);
    g_assert_cmpint(apmig_ap_parse_switch("0\n"), ==, APMIG_NO);
    g_assert_true(apmig_ap_parse_number("14", &number) && number == 14);
    g_assert_true(apmig_ap_parse_functions("0x93800000", &functions) && functions == 0x93800000);
    g_assert_cmpint(apmig_ap_parse_status("in use"), ==, APMIG_AP_STATUS_IN_USE);
    g_assert_cmpstr(word, ==, "CEX8C");
}

static void
test_mask_refused(void)
{
    static const char *const texts[] = {
        "",
        "\n",
        "0x",
        ZEROS,
        "0X" ZEROS,
        "0x" ZEROS "0",
        "0x" ZEROS " ",
        " 0x" ZEROS,
        NOTHING "," NOTHING,
        "0x-000000000000000000000000000000000000000000000000000000000000001",
        "0x000000000000000000000000000000000000000000000000000000000000000g",
        "not supported ",
        "not",
    };

    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        ApmigApMask mask, before;

        memset(&mask, 0x5a, sizeof mask);
        before = mask;
        g_assert_cmpint(apmig_ap_parse_mask(texts[i], &mask), ==, APMIG_UNKNOWN);
        g_assert_cmpmem(&mask, sizeof mask, &before, sizeof before);
    }
}

static void
test_config(void)
{
    g_autofree char *empty = variant("ap_config/empty.txt");
    g_autofree char *both = variant("ap_config/mdev1.txt");
    g_autofree char *only_adapters = variant("ap_config/only-adapters.txt");
    ApmigApMask adapters, domains, control_domains;

    g_assert_true(apmig_ap_parse_config(empty, &adapters, &domains, &control_domains));
    assert_mask(&adapters, "");
    g_assert_true(apmig_ap_parse_config(only_adapters, &adapters, &domains, &control_domains));
    assert_mask(&adapters, "02 05");
    assert_mask(&domains, "");
    g_assert_true(apmig_ap_parse_config(both, &adapters, &domains, &control_domains));
    assert_mask(&adapters, "02 05");
    assert_mask(&domains, "05 2c");
    assert_mask(&control_domains, "05 2c");

    g_assert_false(apmig_ap_parse_config("", &adapters, &domains, &control_domains));
    g_assert_false(apmig_ap_parse_config(ALL "," ALL, &adapters, &domains, &control_domains));
    g_assert_false(apmig_ap_parse_config(ALL ", " ALL "," ALL, &adapters, &domains, &control_domains));
    g_assert_false(apmig_ap_parse_config(ALL "," ALL "," ALL "," ALL, &adapters, &domains, &control_domains));
    assert_mask(&adapters, "02 05");
}

/* --- matrices ------------------------------------------------------------------------------------ */

static void
assert_matrix(const char *text, const char *scope, const char *adapters, const char *domains)
{
    ApmigApMask adapter_mask, domain_mask;
    g_autoptr(ApmigScope) queues = apmig_ap_parse_matrix(text, &adapter_mask, &domain_mask);

    g_assert_nonnull(queues);
    g_assert_cmpstr(apmig_scope_to_string(queues), ==, scope);
    assert_mask(&adapter_mask, adapters);
    assert_mask(&domain_mask, domains);
}

static void
test_matrix(void)
{
    g_autofree char *full = variant("matrix/full-product.txt");
    g_autofree char *filtered = variant("matrix/guest_matrix-adapter-05-filtered.txt");
    g_autofree char *only_adapters = variant("matrix/adapters-only.txt");
    g_autofree char *only_domains = variant("matrix/domains-only.txt");
    g_autofree char *empty = variant("matrix/empty.txt");

    assert_matrix(full, "02.0005,02.002c,05.0005,05.002c", "02 05", "05 2c");
    assert_matrix(filtered, "02.0005,02.002c", "02", "05 2c");
    assert_matrix(only_adapters, "none", "02 05", "");
    assert_matrix(only_domains, "none", "", "05 2c");
    assert_matrix(empty, "none", "", "");
    assert_matrix("ff.00ff\n00.0000\n", "00.0000,ff.00ff", "00 ff", "00 ff");
}

static void
test_matrix_refused(void)
{
    static const char *const texts[] = {
        "\n",         ".\n",         "02.0005",    "02.0005\n\n",    "02.0005\n05.0005", "02.0005 \n",
        " 02.0005\n", "2.0005\n",    "002.0005\n", "02.005\n",       "02.00005\n",       "02.0100\n",
        "02.ffff\n",  "0g.0005\n",   "02,0005\n",  "02.0005\n05.\n", "02.\n.0005\n",     "02.0005\r\n",
        "-2.0005\n",  "0x02.0005\n", "all\n",
    };

    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        ApmigApMask adapters = {{1}}, domains = {{2}};

        if (apmig_ap_parse_matrix(texts[i], &adapters, &domains) != NULL)
            g_error("\"%s\" was taken for a matrix", texts[i]);
        g_assert_cmpuint(adapters.bytes[0] + domains.bytes[0], ==, 3);
    }
}

/* As many queues as the kernel's page holds; with one more it is cut off within a line, and is no matrix. */
static void
test_matrix_that_fills_a_page(void)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(ApmigScope) queues = NULL;

    for (guint i = 0; i < 511; i++)
        g_string_append_printf(text, "%02x.%04x\n", i / 85, i % 85);
    queues = apmig_ap_parse_matrix(text->str, NULL, NULL);
    g_assert_nonnull(queues);
    g_assert_true(apmig_scope_contains(queues, 510 / 85, 510 % 85));
    g_string_append(text, "06.0001");
    g_assert_cmpuint(text->len, ==, APMIG_AP_TEXT_MAX - 1);
    g_assert_null(apmig_ap_parse_matrix(text->str, NULL, NULL));
    g_string_append(text, "\n");
    g_assert_null(apmig_ap_parse_matrix(text->str, NULL, NULL));
}

static void
test_control_domains(void)
{
    ApmigApMask domains;

    g_assert_true(apmig_ap_parse_control_domains("0005\n002c\n", &domains));
    assert_mask(&domains, "05 2c");
    g_assert_false(apmig_ap_parse_control_domains("0005\n002c", &domains));
    g_assert_false(apmig_ap_parse_control_domains("0005\n0100\n", &domains));
    g_assert_false(apmig_ap_parse_control_domains("05\n", &domains));
    g_assert_false(apmig_ap_parse_control_domains(".0005\n", &domains));
    assert_mask(&domains, "05 2c");
    g_assert_true(apmig_ap_parse_control_domains("", &domains));
    assert_mask(&domains, "");
}

/* --- single values ------------------------------------------------------------------------------- */

static void
test_numbers(void)
{
    guint number = 77;
    guint32 functions = 77;
    static const char *const numbers[] = {"",   "\n",  "-1",    "+1",         " 1",
                                          "1 ", "0x1", "1\n\n", "2147483648", "99999999999999999999"};
    static const char *const words[] = {"",           "0x9380000",  "0x938000000", "93800000",
                                        "0X93800000", "0x9380000g", "0x93800000 ", "-0x3800000"};

    for (gsize i = 0; i < G_N_ELEMENTS(numbers); i++)
        g_assert_false(apmig_ap_parse_number(numbers[i], &number));
    for (gsize i = 0; i < G_N_ELEMENTS(words); i++)
        g_assert_false(apmig_ap_parse_functions(words[i], &functions));
    g_assert_cmpuint(number, ==, 77);
    g_assert_cmpuint(functions, ==, 77);
    g_assert_true(apmig_ap_parse_number("2147483647\n", &number));
    g_assert_cmpuint(number, ==, G_MAXINT32);
    g_assert_true(apmig_ap_parse_functions("0x6A80C000\n", &functions));
    g_assert_cmphex(functions, ==, 0x6a80c000);
}

static void
test_words(void)
{
    static const char *const no_words[] = {
        "", "\n", "CEX8C CEX8P", "CEX8C\n\n", "\x1b[2J", "\xc3\xa4", "123456789012345678901234567890123"};
    static const struct {
        const char *text, *driver;
    } overrides[] = {{"", ""},
                     {"\n", ""},
                     {"(null)\n", ""},
                     {"vfio_ap\n", "vfio_ap"},
                     {"vfio_ap", "vfio_ap"},
                     {"cex4queue\n", "cex4queue"},
                     {"a b\n", ""}};

    for (gsize i = 0; i < G_N_ELEMENTS(no_words); i++) {
        g_autofree char *word = apmig_ap_parse_word(no_words[i]);

        g_assert_cmpstr(word, ==, "");
    }
    for (gsize i = 0; i < G_N_ELEMENTS(overrides); i++) {
        g_autofree char *driver = apmig_ap_parse_driver_override(overrides[i].text);

        g_assert_cmpstr(driver, ==, overrides[i].driver);
    }
    g_assert_cmpint(apmig_ap_parse_switch("2\n"), ==, APMIG_UNKNOWN);
    g_assert_cmpint(apmig_ap_parse_switch("10"), ==, APMIG_UNKNOWN);
    g_assert_cmpint(apmig_ap_parse_switch(""), ==, APMIG_UNKNOWN);
}

static void
test_status(void)
{
    static const struct {
        const char *path;
        ApmigApStatus status;
    } cases[] = {
        {"queue/vfio_ap-status-unassigned.txt", APMIG_AP_STATUS_UNASSIGNED},
        {"queue/vfio_ap-status-assigned.txt", APMIG_AP_STATUS_ASSIGNED},
        {"queue/vfio_ap-status-in-use.txt", APMIG_AP_STATUS_IN_USE},
        {"queue/driver_override-empty.txt", APMIG_AP_STATUS_UNKNOWN},
        {"queue/driver_override-vfio_ap.txt", APMIG_AP_STATUS_UNKNOWN},
        {"queue/se_bind-bound.txt", APMIG_AP_STATUS_UNKNOWN},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text = variant(cases[i].path);

        g_assert_cmpint(apmig_ap_parse_status(text), ==, cases[i].status);
    }
    g_assert_cmpint(apmig_ap_parse_status("in"), ==, APMIG_AP_STATUS_UNKNOWN);
    g_assert_cmpint(apmig_ap_parse_status(""), ==, APMIG_AP_STATUS_UNKNOWN);
}

static void
test_features(void)
{
    g_autofree char *migratable = variant("bus/features-v4-migratable.txt");
    g_autofree char *none = variant("bus/features-no-qci.txt");

    g_assert_true(apmig_ap_has_feature(migratable, "migratable"));
    g_assert_true(apmig_ap_has_feature(migratable, "guest_matrix"));
    g_assert_false(apmig_ap_has_feature(none, "migratable"));
    g_assert_false(apmig_ap_has_feature("guest_matrix hotplug ap_config\n", "migratable"));
    g_assert_false(apmig_ap_has_feature("migratable-not\n", "migratable"));
    g_assert_false(apmig_ap_has_feature("", "migratable"));
}

static void
test_modes(void)
{
    g_assert_cmpint(apmig_ap_mode_from_type("CEX8C"), ==, APMIG_AP_MODE_CCA);
    g_assert_cmpint(apmig_ap_mode_from_type("CEX8P"), ==, APMIG_AP_MODE_EP11);
    g_assert_cmpint(apmig_ap_mode_from_type("CEX10A"), ==, APMIG_AP_MODE_ACCELERATOR);
    g_assert_cmpint(apmig_ap_mode_from_type("CEXC"), ==, APMIG_AP_MODE_UNKNOWN);
    g_assert_cmpint(apmig_ap_mode_from_type("CEX8"), ==, APMIG_AP_MODE_UNKNOWN);
    g_assert_cmpint(apmig_ap_mode_from_type("CEX8CC"), ==, APMIG_AP_MODE_UNKNOWN);
    g_assert_cmpint(apmig_ap_mode_from_type(""), ==, APMIG_AP_MODE_UNKNOWN);
    g_assert_cmpint(apmig_ap_mode_from_functions(0x93800000), ==, APMIG_AP_MODE_CCA);
    g_assert_cmpint(apmig_ap_mode_from_functions(0x86800000), ==, APMIG_AP_MODE_EP11);
    g_assert_cmpint(apmig_ap_mode_from_functions(0x6a800000), ==, APMIG_AP_MODE_ACCELERATOR);
    g_assert_cmpint(apmig_ap_mode_from_functions(0x83800000), ==, APMIG_AP_MODE_UNKNOWN);
    g_assert_cmpint(apmig_ap_mode_from_functions(0x97800000), ==, APMIG_AP_MODE_UNKNOWN);
}

static void
test_names(void)
{
    static const char *const no_queues[] = {"",       "02",      "02.",       ".002c",    "02.2c",
                                            "2.002c", "02.002C", "0A.002c",   "02.002c ", "02.002c/..",
                                            "..002c", "card02",  "02.002c\n", "02.012c",  "02-002c"};
    static const char *const no_cards[] = {"",        "card",   "card2", "card0A",   "card002",
                                           "card02 ", "CARD02", "02",    "card02/.."};
    ApmigApqn queue = {7, 7};
    guint adapter = 7;

    for (gsize i = 0; i < G_N_ELEMENTS(no_queues); i++)
        g_assert_false(apmig_ap_parse_queue_name(no_queues[i], &queue));
    for (gsize i = 0; i < G_N_ELEMENTS(no_cards); i++)
        g_assert_false(apmig_ap_parse_card_name(no_cards[i], &adapter));
    g_assert_cmpuint(queue.adapter + queue.domain + adapter, ==, 21);
    for (guint i = 0; i < APMIG_AP_NUMBERS; i++) {
        g_autofree char *name = apmig_ap_queue_name(i, 255 - i);
        g_autofree char *card = g_strdup_printf("card%02x", i);

        g_assert_true(apmig_ap_parse_queue_name(name, &queue));
        g_assert_true(queue.adapter == i && queue.domain == 255 - i);
        g_assert_true(apmig_ap_parse_card_name(card, &adapter));
        g_assert_cmpuint(adapter, ==, i);
    }
}

/* --- hostile ------------------------------------------------------------------------------------- */

typedef gboolean (*Parser)(const char *text);

static gboolean
takes_mask(const char *text)
{
    ApmigApMask mask;

    return apmig_ap_parse_mask(text, &mask) != APMIG_UNKNOWN;
}

static gboolean
takes_config(const char *text)
{
    ApmigApMask a, b, c;

    return apmig_ap_parse_config(text, &a, &b, &c);
}

static gboolean
takes_matrix(const char *text)
{
    g_autoptr(ApmigScope) queues = apmig_ap_parse_matrix(text, NULL, NULL);

    return queues != NULL;
}

static gboolean
takes_functions(const char *text)
{
    guint32 functions;

    return apmig_ap_parse_functions(text, &functions);
}

/* Nothing that is cut off, or has one wrong byte, is taken for something else than it could be. */
static void
test_damaged(void)
{
    static const struct {
        Parser takes;
        const char *text;
        gboolean newline_may_be_missing;
        const char *alphabet;
    } cases[] = {
        {takes_mask, ALL "\n", TRUE, "0123456789abcdefABCDEF"},
        {takes_config, ALL "," NOTHING "," ALL "\n", TRUE, "0123456789abcdefABCDEF"},
        {takes_functions, "0x93800000\n", TRUE, "0123456789abcdefABCDEF"},
        {takes_matrix, "02.0005\n05.0005\n", FALSE, "0123456789abcdefABCDEF"},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        gsize length = strlen(cases[i].text);

        g_assert_true(cases[i].takes(cases[i].text));
        for (gsize at = 0; at < length; at++) {
            g_autofree char *cut = g_strndup(cases[i].text, at);
            gboolean whole = (at + 1 == length && cases[i].newline_may_be_missing) ||
                             (cases[i].takes == takes_matrix && at % strlen("02.0005\n") == 0);

            g_assert_cmpint(cases[i].takes(cut), ==, whole);
            for (guint byte = 1; byte < 256; byte++) {
                g_autofree char *wrong = g_strdup(cases[i].text);
                gboolean same = (char)byte == cases[i].text[at];

                wrong[at] = (char)byte;
                if (!same && strchr(cases[i].alphabet, (char)byte) == NULL)
                    g_assert_false(cases[i].takes(wrong));
            }
        }
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ap-text/mask", test_mask);
    g_test_add_func("/ap-text/newline-may-be-missing", test_newline_may_be_missing);
    g_test_add_func("/ap-text/mask-refused", test_mask_refused);
    g_test_add_func("/ap-text/config", test_config);
    g_test_add_func("/ap-text/matrix", test_matrix);
    g_test_add_func("/ap-text/matrix-refused", test_matrix_refused);
    g_test_add_func("/ap-text/matrix-that-fills-a-page", test_matrix_that_fills_a_page);
    g_test_add_func("/ap-text/control-domains", test_control_domains);
    g_test_add_func("/ap-text/numbers", test_numbers);
    g_test_add_func("/ap-text/words", test_words);
    g_test_add_func("/ap-text/status", test_status);
    g_test_add_func("/ap-text/features", test_features);
    g_test_add_func("/ap-text/modes", test_modes);
    g_test_add_func("/ap-text/names", test_names);
    g_test_add_func("/ap-text/damaged", test_damaged);
    return g_test_run();
}
