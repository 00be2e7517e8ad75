/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ap/scope.h"

#include "base/error.h"

#include <string.h>

static ApmigScope *
scope_of(const char *text)
{
    g_autoptr(GError) error = NULL;
    ApmigScope *scope = apmig_scope_parse(text, &error);

    g_assert_no_error(error);
    g_assert_nonnull(scope);
    return scope;
}

static void
assert_survives_storing(const ApmigScope *scope)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigScope) again = apmig_scope_parse_stored(apmig_scope_to_string(scope), &error);

    g_assert_no_error(error);
    g_assert_true(apmig_scope_equal(scope, again));
    g_assert_cmpstr(apmig_scope_to_string(scope), ==, apmig_scope_to_string(again));
}

/* --- the grammar and its canonical form ----------------------------------------------------------- */

static void
test_canonical(void)
{
    static const struct {
        const char *text;
        const char *canonical;
    } cases[] = {
        {"all", "all"},
        {"*.*", "all"},
        {"0-ff.0-ff", "all"},
        {"00-7f.*,80-ff.*", "all"},
        {"*.0000-007f,*.0080-00ff", "all"},
        {"04.0012", "04.0012"},
        {"4.12", "04.0012"},
        {"0A.00fF", "0a.00ff"},
        {"ff.00ff", "ff.00ff"},
        {"04.*", "04.*"},
        {"04.0-ff", "04.*"},
        {"*.0012", "*.0012"},
        {"0-ff.12", "*.0012"},
        {"04-07.0010-001f", "04-07.0010-001f"},
        {"4-4.12-12", "04.0012"},
        {"04.0012,04.0012", "04.0012"},
        {"05.0012,04.0012", "04-05.0012"},
        {"04.0011,04.0010", "04.0010-0011"},
        {"04.0010,06.0010", "04.0010,06.0010"},
        {"06.0010,04.0010", "04.0010,06.0010"},
        {"04.*,*.0012", "*.0012,04.*"},
        {"*.0012,04.0013", "*.0012,04.0013"},
        {"04-07.0010-001f,*.0012", "*.0012,04-07.0010-001f"},
        {"*.0012,00.0010-0013", "00.0010-0013,*.0012"},
        {"04.0010-0013,05.0012-0015", "04.0010-0013,05.0012-0015"},
        {"04-07.003e-0041", "04-07.003e-0041"}, /* over the edge of a word */
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(ApmigScope) scope = scope_of(cases[i].text);

        g_assert_cmpstr(apmig_scope_to_string(scope), ==, cases[i].canonical);
        assert_survives_storing(scope);
    }
}

static void
test_refused(void)
{
    static const struct {
        const char *text;
        const char *place; /* in the sentence */
    } cases[] = {
        {"", "position 1: expected an adapter of 1 to 2 hexadecimal digits or \"*\", found its end"},
        {"none", "position 1: expected an adapter"},
        {"ALL", "position 2: expected \".\" and a domain after the adapter, found \"LL\""},
        {" 04.0012",
         "position 1: expected an adapter of 1 to 2 hexadecimal digits or \"*\", found \" 04.0012\""},
        {"04.0012 ", "position 8: expected \",\" or the end after a queue, found \" \""},
        {"04", "position 3: expected \".\""},
        {"04.", "position 4: expected a domain of 1 to 4 hexadecimal digits or \"*\", found its end"},
        {".0012", "position 1: expected an adapter"},
        {"004.0012", "position 1: an adapter has at most 2 hexadecimal digits"},
        {"0x04.0012", "position 2: expected \".\" and a domain after the adapter, found \"x04.0012\""},
        {"04.00012", "position 4: a domain has at most 4 hexadecimal digits"},
        {"04.0100",
         "position 4: a domain has at most 4 hexadecimal digits and is at most ff, found \"0100\""},
        {"04.ffffffffffffffffffff", "position 4: a domain has at most"},
        {"07-04.0012", "position 1: the range 7-4 runs backwards, write 4-7"},
        {"04.0012,04.001f-0010", "position 12: the range 1f-10 runs backwards, write 10-1f"},
        {"04-.0012", "position 4: expected an adapter"},
        {"04-*.0012", "position 4: expected an adapter"},
        {"-04.0012", "position 1: expected an adapter"},
        {"*-04.0012", "position 2: expected \".\""},
        {"**.0012", "position 2: expected \".\""},
        {"04.0012-", "position 9: expected a domain"},
        {"04.0012-0013-0014", "position 13: expected \",\""},
        {"04.0012,", "position 9: expected an adapter"},
        {",04.0012", "position 1: expected an adapter of 1 to 2 hexadecimal digits or \"*\", found \",\""},
        {"04.0012,,05.0012", "position 9: expected an adapter"},
        {"04.0012;05.0012", "position 8: expected \",\" or the end after a queue, found \";05.0012\""},
        {"04.0012.0013", "position 8: expected \",\""},
        {"all,04.0012", "position 1: \"all\" stands alone"},
        {"04.0012,all", "position 9: \"all\" stands alone"},
        {"allow", "position 1: \"all\" stands alone"},
        {"04.0012,\xc3\xa4",
         "position 9: expected an adapter of 1 to 2 hexadecimal digits or \"*\", found \"\\303\\244\""},
        {"04.\xff\n",
         "position 4: expected a domain of 1 to 4 hexadecimal digits or \"*\", found \"\\377\\n\""},
        {"04.0012\n", "position 8: expected \",\" or the end after a queue, found \"\\n\""},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_null(apmig_scope_parse(cases[i].text, &error));
        g_assert_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_SCOPE);
        if (strstr(error->message, cases[i].place) == NULL)
            g_error("case %zu: \"%s\" lacks \"%s\"", i, error->message, cases[i].place);
    }
}

/* The sentence stays short and printable, whatever the text is. */
static void
test_refused_is_bounded(void)
{
    g_autofree char *text = g_strnfill(APMIG_SCOPE_MAX_LENGTH, '\x01');
    g_autoptr(GError) error = NULL;

    g_assert_null(apmig_scope_parse(text, &error));
    g_assert_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_SCOPE);
    g_assert_cmpuint(strlen(error->message), <, 400);
    for (const char *p = error->message; *p != '\0'; p++)
        g_assert_true(g_ascii_isprint(*p));
}

/* Returns: (transfer full): a valid scope of @length bytes, which is a multiple of 4, less 1. */
static char *
long_text(gsize length)
{
    GString *text = g_string_new("0.0");

    while (text->len < length)
        g_string_append(text, ",4.2");
    g_assert_cmpuint(text->len, ==, length);
    return g_string_free(text, FALSE);
}

static void
test_length(void)
{
    g_autofree char *longest = long_text(APMIG_SCOPE_MAX_LENGTH - 1);
    g_autofree char *exact = g_strconcat(longest, "2", NULL);
    g_autofree char *longer = g_strconcat(exact, "-", NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigScope) scope = scope_of(exact);
    g_autoptr(ApmigScope) stored = apmig_scope_parse_stored(exact, NULL);

    g_assert_cmpstr(apmig_scope_to_string(scope), ==, "00.0000,04.0002,04.0022");
    g_assert_true(apmig_scope_equal(scope, stored));
    g_assert_null(apmig_scope_parse(longer, &error));
    g_assert_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_SCOPE);
    g_assert_nonnull(strstr(error->message, "position 4097: it has 4097 bytes and at most 4096 are allowed"));
}

static void
test_stored_length(void)
{
    g_autofree char *text = long_text(APMIG_SCOPE_MAX_STORED_LENGTH + 3);
    g_autoptr(GError) error = NULL;

    g_assert_null(apmig_scope_parse_stored(text, &error));
    g_assert_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_SCOPE);
    g_assert_nonnull(strstr(error->message, "position 1048577:"));
}

/* --- the set -------------------------------------------------------------------------------------- */

static void
test_none(void)
{
    g_autoptr(ApmigScope) none = apmig_scope_new_none();
    g_autoptr(ApmigScope) all = apmig_scope_new_all();
    g_autoptr(ApmigScope) both = apmig_scope_union(none, all);

    g_assert_cmpstr(apmig_scope_to_string(none), ==, "none");
    g_assert_true(apmig_scope_is_none(none));
    g_assert_false(apmig_scope_is_none(all));
    g_assert_false(apmig_scope_overlaps(none, all));
    g_assert_false(apmig_scope_overlaps(none, none));
    g_assert_true(apmig_scope_equal(both, all));
    assert_survives_storing(none);
    assert_survives_storing(all);
}

static void
test_contains(void)
{
    g_autoptr(ApmigScope) scope = scope_of("04-05.0010-0011,ff.00ff");

    for (guint adapter = 0; adapter < 300; adapter++) {
        for (guint domain = 0; domain < 300; domain++) {
            gboolean expected = ((adapter == 4 || adapter == 5) && (domain == 0x10 || domain == 0x11)) ||
                                (adapter == 0xff && domain == 0xff);
            g_assert_cmpint(apmig_scope_contains(scope, adapter, domain), ==, expected);
        }
    }
    g_assert_false(apmig_scope_contains(scope, G_MAXUINT, G_MAXUINT));
}

static void
test_overlaps(void)
{
    static const struct {
        const char *a;
        const char *b;
        gboolean overlaps;
    } cases[] = {
        {"all", "04.0012", TRUE},
        {"04.*", "*.0012", TRUE},
        {"04.*", "05.*", FALSE},
        {"*.0012", "*.0013", FALSE},
        {"04-07.0010-001f", "07-08.001f-0020", TRUE},
        {"04-07.0010-001f", "08.*,*.0020", FALSE},
        {"ff.00ff", "ff.00ff", TRUE},
        {"00.0000", "ff.00ff", FALSE},
        {"04.003f", "04.0040", FALSE},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(ApmigScope) a = scope_of(cases[i].a);
        g_autoptr(ApmigScope) b = scope_of(cases[i].b);

        g_assert_cmpint(apmig_scope_overlaps(a, b), ==, cases[i].overlaps);
        g_assert_cmpint(apmig_scope_overlaps(b, a), ==, cases[i].overlaps);
        g_assert_false(apmig_scope_equal(a, b) && g_strcmp0(cases[i].a, cases[i].b) != 0);
    }
}

static void
test_from_queues(void)
{
    static const ApmigApqn queues[] = {
        {4, 0x12}, {0xff, 0xff}, {4, 0x13}, {0, 0}, {4, 0x12}, {256, 0}, {0, 256}, {G_MAXUINT, G_MAXUINT},
    };
    g_autoptr(ApmigScope) scope = apmig_scope_new_from_queues(queues, G_N_ELEMENTS(queues));
    g_autoptr(ApmigScope) none = apmig_scope_new_from_queues(NULL, 0);

    g_assert_cmpstr(apmig_scope_to_string(scope), ==, "00.0000,04.0012-0013,ff.00ff");
    assert_survives_storing(scope);
    g_assert_true(apmig_scope_is_none(none));
}

static void
test_reference(void)
{
    ApmigScope *scope = scope_of("04.0012");

    g_assert_true(apmig_scope_ref(scope) == scope);
    apmig_scope_unref(scope);
    g_assert_true(apmig_scope_contains(scope, 4, 0x12));
    apmig_scope_unref(scope);
    apmig_scope_unref(NULL);
}

static gpointer
ask_text(gpointer data)
{
    return (gpointer)apmig_scope_to_string(data);
}

/* The first call works the text out; many at once get the same one. */
static void
test_text_from_threads(void)
{
    g_autoptr(ApmigScope) scope = scope_of("04-07.0010-001f,*.0012,09.*");
    GThread *threads[8];
    gpointer texts[G_N_ELEMENTS(threads)];

    for (gsize i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("text", ask_text, scope);
    for (gsize i = 0; i < G_N_ELEMENTS(threads); i++)
        texts[i] = g_thread_join(threads[i]);
    for (gsize i = 1; i < G_N_ELEMENTS(threads); i++)
        g_assert_true(texts[i] == texts[0]);
}

/* --- properties of any set ------------------------------------------------------------------------ */

/* A set as the test sees it: one byte for a queue. */
typedef struct {
    guint8 has[256][256];
} Model;

static int
random_number(void)
{
    return g_test_rand_int_range(0, 256);
}

static void
add_random_element(Model *model, GString *text)
{
    int a = random_number(), b = g_test_rand_bit() ? a : random_number();
    int c = random_number(), d = g_test_rand_bit() ? c : random_number();
    int kind = g_test_rand_int_range(0, 10);

    if (kind == 0)
        a = 0, b = 255;
    if (kind == 1)
        c = 0, d = 255;
    for (int adapter = MIN(a, b); adapter <= MAX(a, b); adapter++) {
        for (int domain = MIN(c, d); domain <= MAX(c, d); domain++)
            model->has[adapter][domain] = 1;
    }
    if (text->len > 0)
        g_string_append_c(text, ',');
    if (kind == 0)
        g_string_append_printf(text, "*.%x-%04x", MIN(c, d), MAX(c, d));
    else if (kind == 1)
        g_string_append_printf(text, "%02X-%x.*", MIN(a, b), MAX(a, b));
    else
        g_string_append_printf(text, "%x-%02x.%04x-%X", MIN(a, b), MAX(a, b), MIN(c, d), MAX(c, d));
}

static ApmigScope *
random_scope(Model *model)
{
    g_autoptr(GString) text = g_string_new(NULL);
    int elements = g_test_rand_int_range(1, 12);

    memset(model, 0, sizeof *model);
    for (int i = 0; i < elements; i++)
        add_random_element(model, text);
    return scope_of(text->str);
}

static void
assert_is_model(const ApmigScope *scope, const Model *model)
{
    for (guint adapter = 0; adapter < 256; adapter++) {
        for (guint domain = 0; domain < 256; domain++)
            g_assert_cmpint(apmig_scope_contains(scope, adapter, domain), ==, model->has[adapter][domain]);
    }
}

static void
assert_is_union(const ApmigScope *a, const ApmigScope *b, const ApmigScope *both)
{
    g_autoptr(ApmigScope) again = apmig_scope_union(a, b);

    g_assert_true(apmig_scope_equal(again, both));
}

static void
test_random_rectangles(void)
{
    for (int round = 0; round < 300; round++) {
        g_autofree Model *a_model = g_new(Model, 1);
        g_autofree Model *b_model = g_new(Model, 1);
        g_autoptr(ApmigScope) a = random_scope(a_model);
        g_autoptr(ApmigScope) b = random_scope(b_model);
        g_autoptr(ApmigScope) both = apmig_scope_union(a, b);
        g_autoptr(ApmigScope) left = apmig_scope_without(both, b);
        gboolean overlaps = FALSE, equal = memcmp(a_model, b_model, sizeof *a_model) == 0;

        assert_is_model(a, a_model);
        assert_survives_storing(a);
        for (gsize i = 0; i < sizeof *a_model; i++) {
            overlaps |= (&a_model->has[0][0])[i] & (&b_model->has[0][0])[i];
            (&a_model->has[0][0])[i] |= (&b_model->has[0][0])[i];
        }
        assert_is_model(both, a_model);
        assert_survives_storing(both);
        g_assert_false(apmig_scope_overlaps(left, b));
        g_assert_true(apmig_scope_is_within(left, a));
        assert_is_union(left, b, both);
        g_assert_cmpint(apmig_scope_overlaps(a, b), ==, overlaps);
        g_assert_cmpint(apmig_scope_equal(a, b), ==, equal);
        g_assert_cmpint(g_str_equal(apmig_scope_to_string(a), apmig_scope_to_string(b)), ==, equal);
    }
}

/* Each queue by itself with a chance of @percent: the longest texts there are. */
static ApmigScope *
random_dots(int percent)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (guint adapter = 0; adapter < 256; adapter++) {
        for (guint domain = 0; domain < 256; domain++) {
            if (g_test_rand_int_range(0, 100) < percent)
                g_string_append_printf(text, "%s%x.%x", text->len > 0 ? "," : "", adapter, domain);
        }
    }
    return apmig_scope_parse_stored(text->len > 0 ? text->str : "none", NULL);
}

static void
test_random_dots(void)
{
    static const int percents[] = {1, 10, 30, 50, 70, 90, 99};

    for (gsize i = 0; i < G_N_ELEMENTS(percents); i++) {
        g_autoptr(ApmigScope) scope = random_dots(percents[i]);

        g_assert_nonnull(scope);
        assert_survives_storing(scope);
        g_test_message("%d %%: %zu bytes", percents[i], strlen(apmig_scope_to_string(scope)));
    }
}

/* No two queues side by side: no rectangle holds more than one. */
static void
test_checkerboard(void)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(ApmigScope) scope = NULL;

    for (guint adapter = 0; adapter < 256; adapter++) {
        for (guint domain = adapter % 2; domain < 256; domain += 2)
            g_string_append_printf(text, "%s%02x.%04x", text->len > 0 ? "," : "", adapter, domain);
    }
    scope = apmig_scope_parse_stored(text->str, NULL);
    g_assert_nonnull(scope);
    g_assert_cmpstr(apmig_scope_to_string(scope), ==, text->str);
    g_assert_cmpuint(text->len, >, APMIG_SCOPE_MAX_LENGTH);
    assert_survives_storing(scope);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/scope/canonical", test_canonical);
    g_test_add_func("/scope/refused", test_refused);
    g_test_add_func("/scope/refused-is-bounded", test_refused_is_bounded);
    g_test_add_func("/scope/length", test_length);
    g_test_add_func("/scope/stored-length", test_stored_length);
    g_test_add_func("/scope/none", test_none);
    g_test_add_func("/scope/contains", test_contains);
    g_test_add_func("/scope/overlaps", test_overlaps);
    g_test_add_func("/scope/from-queues", test_from_queues);
    g_test_add_func("/scope/reference", test_reference);
    g_test_add_func("/scope/text-from-threads", test_text_from_threads);
    g_test_add_func("/scope/random-rectangles", test_random_rectangles);
    g_test_add_func("/scope/random-dots", test_random_dots);
    g_test_add_func("/scope/checkerboard", test_checkerboard);
    return g_test_run();
}
