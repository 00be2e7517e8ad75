/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Declarations as apmigctl takes them, from an option and from a file: every line counts, or nothing does. */
#include "ctl/declare.h"
#include "ctl/format.h"

#include <string.h>

/* The pairs, "|" between all of them. */
static char *
show(GPtrArray *pairs)
{
    g_ptr_array_add(pairs, NULL);
    return g_strjoinv("|", (char **)pairs->pdata);
}

static void
test_lines(void)
{
    static const char text[] =
        "# from the TKE\n\n 02.002c:APKA = 0x01  # first\r\n*.002c : WK=0x02=#\n05.0001:AES=0x03";
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) pairs = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *shown = NULL;

    g_assert_true(ctl_declare_add_lines(pairs, text, strlen(text), &error));
    g_assert_no_error(error);
    shown = show(pairs);
    g_assert_cmpstr(shown, ==, "02.002c APKA|0x01|*.002c WK|0x02=|05.0001 AES|0x03");
}

#define GOOD "04.0012:AES=0x01\n"

static void
test_refused(void)
{
    static const struct {
        const char *text;
        gsize length;
        const char *says;
    } cases[] = {
#define CASE(text, says) {text, sizeof text - 1, says}
        CASE(GOOD "04.0012", "line 2: '04.0012' is no declaration"),
        CASE(GOOD GOOD "04.0012:AES", "line 3: "),
        CASE("04.0012=0x01:AES", "line 1: "),
        CASE("\xff:AES=0x01", "line 1: "),
        CASE("\x1b[31m", "'\\u{1b}[31m'"),
        CASE(GOOD "\0" GOOD, "byte 18"),
        CASE("0\0"
             "4\0:\0",
             "byte 2"), /* of UTF-16 */
#undef CASE
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GPtrArray) pairs = g_ptr_array_new_with_free_func(g_free);

        g_assert_false(ctl_declare_add_lines(pairs, cases[i].text, cases[i].length, &error));
        g_assert_error(error, CTL_ERROR, CTL_EXIT_USAGE);
        if (!strstr(error->message, cases[i].says))
            g_error("case %zu: \"%s\" lacks \"%s\"", i, error->message, cases[i].says);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/declare/lines", test_lines);
    g_test_add_func("/declare/refused", test_refused);
    return g_test_run();
}
