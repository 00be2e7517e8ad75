/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Any bytes are what the file mkvps of a queue may give. What is known of it has one of the kernel's forms, does not
 * depend on the order of lines, and is the same when it is written as the kernel does and read again. Keys of two
 * queues agree only when both are known; the second queue's file stands after an empty line.
 */
#include "fuzz.h"
#include "keys/mkvp.h"
#include "base/text.h"

#include <string.h>

#define SEPARATOR    "\n\n"
#define MAX_SENTENCE 1024

/* --- one queue ----------------------------------------------------------------------------------- */

static gboolean
may_have_pattern(ApmigKeyState state)
{
    return state == APMIG_KEY_STATE_FULL || state == APMIG_KEY_STATE_UNCOMMITTED ||
           state == APMIG_KEY_STATE_COMMITTED || state == APMIG_KEY_STATE_VALID;
}

static void
check_register(ApmigKeyClass key_class, ApmigRegister reg, const ApmigKeyRegister *found)
{
    static const ApmigKeyRegister unknown;
    static const guint8 zeros[APMIG_MKVP_MAX_BYTES];

    if (found->state == APMIG_KEY_STATE_UNKNOWN) {
        g_assert_cmpmem(found, sizeof *found, &unknown, sizeof unknown);
        return;
    }
    g_assert_false(key_class == APMIG_KEY_WK && reg == APMIG_REGISTER_OLD);
    g_assert_cmpint(found->state, <=, APMIG_KEY_STATE_VALID);
    g_assert_true(reg != APMIG_REGISTER_NEW || found->state < APMIG_KEY_STATE_INVALID);
    g_assert_true(reg == APMIG_REGISTER_NEW || !apmig_key_register_is_pending(found));
    g_assert_true(found->length == 0 || found->length == apmig_key_class_pattern_bytes(key_class));
    g_assert_true(found->length == 0 || may_have_pattern(found->state));
    /* All zeros is what the kernel shows where there is no key. */
    g_assert_true((found->length > 0) == (memcmp(found->pattern, zeros, sizeof zeros) != 0));
    g_assert_cmpmem(found->pattern + found->length, sizeof zeros - found->length, zeros,
                    sizeof zeros - found->length);
}

static char *
print(const ApmigMkvps *mkvps)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < APMIG_N_KEY_CLASSES; i++) {
        for (guint j = 0; j < APMIG_N_REGISTERS; j++) {
            const ApmigKeyRegister *reg = &mkvps->registers[i][j];
            g_autofree char *pattern = apmig_key_pattern_to_string(reg);

            if (reg->state != APMIG_KEY_STATE_UNKNOWN)
                g_string_append_printf(text, "%s %s: %s %s\n", apmig_key_class_to_string((ApmigKeyClass)i),
                                       apmig_register_to_string((ApmigRegister)j),
                                       apmig_key_state_to_string(reg->state), pattern);
        }
    }
    return g_string_free(text, FALSE);
}

static void
assert_gives(const char *text, const ApmigMkvps *expected)
{
    ApmigMkvps mkvps;

    apmig_mkvps_parse(text, strlen(text), &mkvps);
    g_assert_cmpmem(&mkvps, sizeof mkvps, expected, sizeof *expected);
}

/* @text: without NUL, and short enough to count */
static void
check_lines(const char *text, const ApmigMkvps *mkvps)
{
    static const ApmigMkvps unknown;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    guint n_lines = g_strv_length(lines);
    g_autofree char *reversed = NULL;
    g_autofree char *twice = g_strdup_printf("%s\n%s", text, text);

    for (guint i = 0; i < n_lines / 2; i++) {
        char *line = lines[i];

        lines[i] = lines[n_lines - 1 - i];
        lines[n_lines - 1 - i] = line;
    }
    reversed = g_strjoinv("\n", lines);
    assert_gives(reversed, mkvps);
    assert_gives(twice, &unknown);
}

static void
check_queue(const char *text, gsize size, ApmigMkvps *ret_mkvps)
{
    static const ApmigMkvps unknown;
    g_autofree char *terminated = fuzz_terminate((const guint8 *)text, size);
    g_autofree char *printed = NULL;

    memset(ret_mkvps, 0xa5, sizeof *ret_mkvps);
    apmig_mkvps_parse(text, size, ret_mkvps);
    for (guint i = 0; i < APMIG_N_KEY_CLASSES; i++)
        for (guint j = 0; j < APMIG_N_REGISTERS; j++)
            check_register((ApmigKeyClass)i, (ApmigRegister)j, &ret_mkvps->registers[i][j]);
    printed = print(ret_mkvps);
    assert_gives(printed, ret_mkvps);
    if (size > APMIG_MKVPS_MAX_BYTES || strlen(terminated) != size)
        g_assert_cmpmem(ret_mkvps, sizeof *ret_mkvps, &unknown, sizeof unknown);
    else
        check_lines(terminated, ret_mkvps);
}

/* --- two queues ---------------------------------------------------------------------------------- */

static gboolean
is_ahead(ApmigKeyClass key_class, const ApmigKeyRegister *a, const ApmigKeyRegister *b)
{
    return apmig_key_pattern_equal(key_class, &a[APMIG_REGISTER_CUR], &b[APMIG_REGISTER_OLD]) ||
           apmig_key_pattern_equal(key_class, &b[APMIG_REGISTER_CUR], &a[APMIG_REGISTER_NEW]);
}

static gboolean
is_known(const ApmigKeyRegister *cur)
{
    return apmig_key_register_is_empty(cur) || cur->length > 0;
}

static void
check_verdict(ApmigKeyClass key_class, const ApmigKeyRegister *a, const ApmigKeyRegister *b,
              const ApmigKeyComparison *comparison)
{
    const ApmigKeyRegister *a_cur = &a[APMIG_REGISTER_CUR], *b_cur = &b[APMIG_REGISTER_CUR];
    ApmigKeyVerdict verdict = comparison->verdict;
    gboolean agree = verdict >= APMIG_KEYS_AGREE && verdict <= APMIG_KEYS_AGREE_WILL_DIVERGE;

    g_assert_true((verdict == APMIG_KEYS_UNKNOWN) == (!is_known(a_cur) || !is_known(b_cur)));
    g_assert_true(agree == apmig_key_pattern_equal(key_class, a_cur, b_cur));
    g_assert_true((comparison->severity == APMIG_SEVERITY_NONE) == (verdict == APMIG_KEYS_AGREE));
    g_assert_true((comparison->severity == APMIG_SEVERITY_ERROR) ==
                  (verdict >= APMIG_KEYS_AGREE_WILL_DIVERGE));
    g_assert_true(verdict != APMIG_KEYS_DIFFER_B_AHEAD || is_ahead(key_class, a, b));
    g_assert_true(verdict != APMIG_KEYS_DIFFER_B_BEHIND || is_ahead(key_class, b, a));
    g_assert_true(verdict != APMIG_KEYS_DIFFER || (!is_ahead(key_class, a, b) && !is_ahead(key_class, b, a)));
    g_assert_true(apmig_text_is_plain(comparison->sentence, MAX_SENTENCE));
    g_assert_true(g_str_has_suffix(comparison->sentence, "."));
}

static void
check_class(ApmigKeyClass key_class, const ApmigKeyRegister *a, const ApmigKeyRegister *b)
{
    g_autoptr(ApmigKeyComparison) one = apmig_keys_compare(key_class, a, "the source", b, "this host");
    g_autoptr(ApmigKeyComparison) other = apmig_keys_compare(key_class, b, "this host", a, "the source");
    g_autoptr(ApmigKeyComparison) same = apmig_keys_compare(key_class, a, "the source", a, "itself");

    check_verdict(key_class, a, b, one);
    check_verdict(key_class, b, a, other);
    check_verdict(key_class, a, a, same);
    /* Who is ahead changes with the point of view, and nothing else does. */
    g_assert_true(one->verdict == other->verdict || one->verdict > APMIG_KEYS_DIFFER);
    g_assert_true((one->verdict > APMIG_KEYS_DIFFER) == (other->verdict > APMIG_KEYS_DIFFER));
    g_assert_cmpint(one->severity, ==, other->severity);
    g_assert_cmpint(same->verdict, <, APMIG_KEYS_AGREE_WILL_DIVERGE);
    g_assert_cmpint(same->verdict, !=, APMIG_KEYS_AGREE_UPPER_HALF);
    g_assert_cmpint(same->verdict, !=, APMIG_KEYS_AGREE_OLD_DIFFERS);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    const char *text = (const char *)data;
    const char *end = memmem(data, size, SEPARATOR, strlen(SEPARATOR));
    ApmigMkvps a, b;

    if (end == NULL) {
        check_queue(text, size, &a);
        b = a;
    } else {
        const char *second = end + strlen(SEPARATOR);

        check_queue(text, (gsize)(end + 1 - text), &a);
        check_queue(second, size - (gsize)(second - text), &b);
    }
    for (guint i = 0; i < APMIG_N_KEY_CLASSES; i++)
        check_class((ApmigKeyClass)i, a.registers[i], b.registers[i]);
    return 0;
}
