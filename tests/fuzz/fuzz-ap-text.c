/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Any text may stand in any of sysfs' files about crypto hardware: what is read of it, written as the kernel does, is
 * the text itself, but for the case of hexadecimal digits and a missing newline; what is not read leaves no trace.
 */
#include "fuzz.h"
#include "ap/text.h"

#include <string.h>

#define WORD_LENGTH 32

/* The kernel ends each line, and this module takes one that has no end. */
static void
assert_is_line(const char *text, const char *printed)
{
    g_autofree char *line = g_str_has_suffix(text, "\n") ? g_strndup(text, strlen(text) - 1) : g_strdup(text);

    g_assert_true(g_ascii_strcasecmp(line, printed) == 0);
}

static void
append_mask(GString *text, const ApmigApMask *mask)
{
    g_string_append(text, "0x");
    for (gsize i = 0; i < sizeof mask->bytes; i++)
        g_string_append_printf(text, "%02x", mask->bytes[i]);
}

/* --- masks --------------------------------------------------------------------------------------- */

static void
check_mask(const char *text)
{
    static const ApmigApMask untouched = {{0x5a, 0xa5}};
    ApmigApMask mask = untouched;
    ApmigKnown known = apmig_ap_parse_mask(text, &mask);
    g_autoptr(GString) printed = g_string_new(NULL);

    if (known == APMIG_YES) {
        append_mask(printed, &mask);
        assert_is_line(text, printed->str);
        return;
    }
    g_assert_cmpmem(&mask, sizeof mask, &untouched, sizeof untouched);
    g_assert_true((known == APMIG_NO) ==
                  (g_str_equal(text, "not supported") || g_str_equal(text, "not supported\n")));
}

static void
check_config(const char *text)
{
    ApmigApMask adapters = {{1}}, domains = {{2}}, control_domains = {{3}};
    g_autoptr(GString) printed = g_string_new(NULL);

    if (!apmig_ap_parse_config(text, &adapters, &domains, &control_domains)) {
        g_assert_true(adapters.bytes[0] == 1 && domains.bytes[0] == 2 && control_domains.bytes[0] == 3);
        return;
    }
    append_mask(printed, &adapters);
    g_string_append_c(printed, ',');
    append_mask(printed, &domains);
    g_string_append_c(printed, ',');
    append_mask(printed, &control_domains);
    assert_is_line(text, printed->str);
}

/* --- lists --------------------------------------------------------------------------------------- */

/* As vfio_ap_mdev_matrix_show() does it. */
static char *
print_matrix(const ApmigScope *queues, const ApmigApMask *adapters, const ApmigApMask *domains)
{
    GString *text = g_string_new(NULL);
    gboolean has_queues = !apmig_scope_is_none(queues);

    for (guint i = 0; i < APMIG_AP_NUMBERS; i++) {
        if (!has_queues && apmig_ap_mask_has(adapters, i))
            g_string_append_printf(text, "%02x.\n", i);
        if (!has_queues && apmig_ap_mask_has(domains, i))
            g_string_append_printf(text, ".%04x\n", i);
        for (guint j = 0; has_queues && j < APMIG_AP_NUMBERS; j++)
            if (apmig_scope_contains(queues, i, j))
                g_string_append_printf(text, "%02x.%04x\n", i, j);
    }
    return g_string_free(text, FALSE);
}

static guint
count_lines(const char *text)
{
    guint n = 0;

    for (; *text != '\0'; text++)
        n += *text == '\n';
    return n;
}

static void
check_matrix(const char *text)
{
    ApmigApMask adapters = {{1}}, domains = {{2}}, again_adapters, again_domains;
    g_autoptr(ApmigScope) queues = apmig_ap_parse_matrix(text, &adapters, &domains);
    g_autoptr(ApmigScope) again = NULL;
    g_autofree char *printed = NULL;

    if (queues == NULL) {
        g_assert_true(adapters.bytes[0] == 1 && domains.bytes[0] == 2);
        return;
    }
    printed = print_matrix(queues, &adapters, &domains);
    /* Lines in another order, or twice, are the same set. */
    g_assert_cmpuint(count_lines(printed), <=, count_lines(text));
    g_assert_true((*printed == '\0') == (*text == '\0'));
    again = apmig_ap_parse_matrix(printed, &again_adapters, &again_domains);
    g_assert_nonnull(again);
    g_assert_true(apmig_scope_equal(queues, again));
    g_assert_cmpmem(&adapters, sizeof adapters, &again_adapters, sizeof again_adapters);
    g_assert_cmpmem(&domains, sizeof domains, &again_domains, sizeof again_domains);
}

static void
check_control_domains(const char *text)
{
    ApmigApMask domains = {{1}}, again;
    g_autoptr(GString) printed = g_string_new(NULL);

    if (!apmig_ap_parse_control_domains(text, &domains)) {
        g_assert_true(domains.bytes[0] == 1);
        return;
    }
    for (guint i = 0; i < APMIG_AP_NUMBERS; i++)
        if (apmig_ap_mask_has(&domains, i))
            g_string_append_printf(printed, "%04x\n", i);
    g_assert_cmpuint(printed->len, <=, strlen(text));
    g_assert_true(apmig_ap_parse_control_domains(printed->str, &again));
    g_assert_cmpmem(&domains, sizeof domains, &again, sizeof again);
}

/* --- single values ------------------------------------------------------------------------------- */

static void
check_numbers(const char *text)
{
    guint32 functions = 7;
    guint number = 7, again = 0;

    if (apmig_ap_parse_functions(text, &functions)) {
        g_autofree char *printed = g_strdup_printf("0x%08X", functions);

        assert_is_line(text, printed);
    } else {
        g_assert_cmpuint(functions, ==, 7);
    }
    if (apmig_ap_parse_number(text, &number)) {
        g_autofree char *printed = g_strdup_printf("%u\n", number);

        g_assert_cmpuint(number, <=, G_MAXINT32);
        g_assert_true(apmig_ap_parse_number(printed, &again) && again == number);
    } else {
        g_assert_cmpuint(number, ==, 7);
    }
}

static void
check_words(const char *text)
{
    ApmigKnown known = apmig_ap_parse_switch(text);
    ApmigApStatus status = apmig_ap_parse_status(text);
    g_autofree char *word = apmig_ap_parse_word(text);
    g_autofree char *again = apmig_ap_parse_word(word);

    if (known != APMIG_UNKNOWN)
        assert_is_line(text, known == APMIG_YES ? "1" : "0");
    if (status != APMIG_AP_STATUS_UNKNOWN)
        assert_is_line(text, apmig_ap_status_to_string(status));
    g_assert_cmpuint(strlen(word), <=, WORD_LENGTH);
    g_assert_cmpstr(word, ==, again);
    if (*word != '\0')
        assert_is_line(text, word);
    if (apmig_ap_mode_from_type(word) != APMIG_AP_MODE_UNKNOWN)
        g_assert_true(g_str_has_prefix(word, "CEX"));
    g_assert_true(!apmig_ap_has_feature(text, "migratable") || strstr(text, "migratable") != NULL);
}

static void
check_names(const char *text)
{
    ApmigApqn queue = {G_MAXUINT, G_MAXUINT};
    guint adapter = G_MAXUINT;

    if (apmig_ap_parse_queue_name(text, &queue)) {
        g_autofree char *name = apmig_ap_queue_name(queue.adapter, queue.domain);

        g_assert_cmpstr(text, ==, name);
        g_assert_true(queue.adapter < APMIG_AP_NUMBERS && queue.domain < APMIG_AP_NUMBERS);
    } else {
        g_assert_true(queue.adapter == G_MAXUINT && queue.domain == G_MAXUINT);
    }
    if (apmig_ap_parse_card_name(text, &adapter)) {
        g_autofree char *name = apmig_ap_card_name(adapter);

        g_assert_cmpstr(text, ==, name);
        g_assert_cmpuint(adapter, <, APMIG_AP_NUMBERS);
    } else {
        g_assert_cmpuint(adapter, ==, G_MAXUINT);
    }
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autofree char *text = fuzz_terminate(data, size);

    check_mask(text);
    check_config(text);
    check_matrix(text);
    check_control_domains(text);
    check_numbers(text);
    check_words(text);
    check_names(text);
    return 0;
}
