/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two queues' registers of one class: are their keys in step, and if not, who has still to do what. CCA copies CUR to
 * OLD and NEW to CUR when a key is set; keys under OLD work until the next change. EP11 has no OLD.
 *
 * Sources: cca_findcard2() in drivers/s390/crypto/zcrypt_ccamisc.c and ep11_findcard2() in zcrypt_ep11misc.c of Linux
 * 6.12; cross_check_apqns() in zkey/utils.c and the page zkey(1) of s390-tools.
 */
#include "keys/mkvp.h"

#include <string.h>

/* One side. */
typedef struct {
    const char *name;
    const ApmigKeyRegister *reg_new, *cur, *old;
} Side;

static const struct {
    const char *name;
    ApmigSeverity severity;
} verdicts[] = {
    [APMIG_KEYS_UNKNOWN] = {"unknown", APMIG_SEVERITY_WARNING},
    [APMIG_KEYS_NO_KEY] = {"no-key", APMIG_SEVERITY_WARNING},
    [APMIG_KEYS_AGREE] = {"agree", APMIG_SEVERITY_NONE},
    [APMIG_KEYS_AGREE_NEW_UNKNOWN] = {"agree-new-unknown", APMIG_SEVERITY_WARNING},
    [APMIG_KEYS_AGREE_UPPER_HALF] = {"agree-upper-half", APMIG_SEVERITY_WARNING},
    [APMIG_KEYS_AGREE_OLD_DIFFERS] = {"agree-old-differs", APMIG_SEVERITY_WARNING},
    [APMIG_KEYS_AGREE_CHANGE_PENDING] = {"agree-change-pending", APMIG_SEVERITY_WARNING},
    [APMIG_KEYS_AGREE_WILL_DIVERGE] = {"agree-will-diverge", APMIG_SEVERITY_ERROR},
    [APMIG_KEYS_DIFFER] = {"differ", APMIG_SEVERITY_ERROR},
    [APMIG_KEYS_DIFFER_B_AHEAD] = {"differ-b-ahead", APMIG_SEVERITY_ERROR},
    [APMIG_KEYS_DIFFER_B_BEHIND] = {"differ-b-behind", APMIG_SEVERITY_ERROR},
};

const char *
apmig_key_verdict_to_string(ApmigKeyVerdict verdict)
{
    g_return_val_if_fail((guint)verdict < G_N_ELEMENTS(verdicts), "");
    return verdicts[verdict].name;
}

void
apmig_key_comparison_free(ApmigKeyComparison *comparison)
{
    if (!comparison)
        return;
    g_free(comparison->sentence);
    g_free(comparison);
}

/* --- words --------------------------------------------------------------------------------------- */

/* "full 0x...", "empty"; of CUR and OLD the pattern alone. */
static char *
describe(const ApmigKeyRegister *reg)
{
    g_autofree char *pattern = apmig_key_pattern_to_string(reg);
    const char *state = apmig_key_state_to_string(reg->state);

    if (reg->length == 0 && reg->state == APMIG_KEY_STATE_VALID)
        return g_strdup("valid without a pattern");
    if (reg->length == 0)
        return g_strdup(state);
    if (reg->state == APMIG_KEY_STATE_VALID || reg->state == APMIG_KEY_STATE_UNKNOWN)
        return g_steal_pointer(&pattern);
    return g_strdup_printf("%s %s", state, pattern);
}

/* "AES CUR is 0x... on A and 0x... on B" */
static void
append_both(GString *text, const char *what, const Side *a, const ApmigKeyRegister *of_a, const Side *b,
            const ApmigKeyRegister *of_b)
{
    g_autofree char *at_a = describe(of_a);
    g_autofree char *at_b = describe(of_b);

    if (g_str_equal(at_a, at_b))
        g_string_append_printf(text, "%s is %s on %s and on %s", what, at_a, a->name, b->name);
    else
        g_string_append_printf(text, "%s is %s on %s and %s on %s", what, at_a, a->name, at_b, b->name);
}

/* --- keys that agree ----------------------------------------------------------------------------- */

static ApmigKeyVerdict
judge_new(ApmigKeyClass key_class, const Side *a, const Side *b, GString *text)
{
    gboolean pending = apmig_key_register_is_pending(a->reg_new) || apmig_key_register_is_pending(b->reg_new);
    gboolean loaded = a->reg_new->length > 0 && b->reg_new->length > 0;

    if (pending) {
        g_string_append(text, "; a change is pending: ");
        append_both(text, "NEW", a, a->reg_new, b, b->reg_new);
        if (loaded && !apmig_key_pattern_equal(key_class, a->reg_new, b->reg_new)) {
            g_string_append(text, ", so the keys will differ as soon as these are set");
            return APMIG_KEYS_AGREE_WILL_DIVERGE;
        }
        return APMIG_KEYS_AGREE_CHANGE_PENDING;
    }
    if (a->reg_new->state == APMIG_KEY_STATE_UNKNOWN || b->reg_new->state == APMIG_KEY_STATE_UNKNOWN) {
        g_string_append(text, "; whether a change is pending is not known: ");
        append_both(text, "NEW", a, a->reg_new, b, b->reg_new);
        return APMIG_KEYS_AGREE_NEW_UNKNOWN;
    }
    return APMIG_KEYS_AGREE;
}

static ApmigKeyVerdict
judge_old(ApmigKeyClass key_class, const Side *a, const Side *b, GString *text)
{
    if (a->old->state == APMIG_KEY_STATE_UNKNOWN || b->old->state == APMIG_KEY_STATE_UNKNOWN ||
        (a->old->length == 0 && b->old->length == 0) || apmig_key_pattern_equal(key_class, a->old, b->old))
        return APMIG_KEYS_AGREE;
    g_string_append(text, "; ");
    append_both(text, "OLD", a, a->old, b, b->old);
    g_string_append(text, ", so keys not yet re-enciphered from an OLD that only one has break on the other");
    return APMIG_KEYS_AGREE_OLD_DIFFERS;
}

static ApmigKeyVerdict
judge_upper_half(const Side *a, const Side *b, GString *text)
{
    if (a->cur->length != b->cur->length || memcmp(a->cur->pattern, b->cur->pattern, a->cur->length) == 0)
        return APMIG_KEYS_AGREE;
    g_string_append_printf(
        text, "; that is equal in the first %d bytes, which the kernel compares, but not after them",
        APMIG_MKVP_WK_BYTES);
    return APMIG_KEYS_AGREE_UPPER_HALF;
}

static ApmigKeyVerdict
judge_equal(ApmigKeyClass key_class, const Side *a, const Side *b, GString *text)
{
    ApmigKeyVerdict upper_half = judge_upper_half(a, b, text);
    ApmigKeyVerdict old = judge_old(key_class, a, b, text);
    ApmigKeyVerdict reg_new = judge_new(key_class, a, b, text);

    return MAX(MAX(upper_half, old), reg_new);
}

/* --- keys that differ ---------------------------------------------------------------------------- */

static ApmigKeyVerdict
judge_different(ApmigKeyClass key_class, const Side *a, const Side *b, GString *text)
{
    gboolean a_in_new = apmig_key_pattern_equal(key_class, a->cur, b->reg_new);
    gboolean b_in_new = apmig_key_pattern_equal(key_class, b->cur, a->reg_new);
    gboolean a_in_old = apmig_key_pattern_equal(key_class, a->cur, b->old);
    gboolean b_in_old = apmig_key_pattern_equal(key_class, b->cur, a->old);

    if (a_in_new)
        g_string_append_printf(text, "; %s still has to set its NEW, and keys of %s fail there until then",
                               b->name, a->name);
    if (b_in_new)
        g_string_append_printf(text, "; %s still has to set its NEW, and keys of %s fail there until then",
                               a->name, b->name);
    if (a_in_old)
        g_string_append_printf(text, "; keys of %s work on %s through OLD alone, until its next change",
                               a->name, b->name);
    if (b_in_old)
        g_string_append_printf(text, "; keys of %s work on %s through OLD alone, until its next change",
                               b->name, a->name);
    if (key_class == APMIG_KEY_WK)
        g_string_append(text, "; EP11 has no OLD, so keys of either fail on the other");
    else if (!a_in_new && !b_in_new && !a_in_old && !b_in_old)
        g_string_append(text, "; keys of either fail on the other");
    if (a_in_old || b_in_new)
        return APMIG_KEYS_DIFFER_B_AHEAD;
    return a_in_new || b_in_old ? APMIG_KEYS_DIFFER_B_BEHIND : APMIG_KEYS_DIFFER;
}

/* --- the verdict --------------------------------------------------------------------------------- */

static gboolean
is_known(const ApmigKeyRegister *cur)
{
    return apmig_key_register_is_empty(cur) || (cur->state == APMIG_KEY_STATE_VALID && cur->length > 0);
}

static ApmigKeyVerdict
judge(ApmigKeyClass key_class, const Side *a, const Side *b, GString *text)
{
    if (!is_known(a->cur) || !is_known(b->cur)) {
        g_string_append(text, "; whether they agree is not known");
        return APMIG_KEYS_UNKNOWN;
    }
    if (apmig_key_register_is_empty(a->cur) && apmig_key_register_is_empty(b->cur)) {
        g_string_append(text, "; there is no master key on either, which is no agreement");
        return APMIG_KEYS_NO_KEY;
    }
    if (apmig_key_pattern_equal(key_class, a->cur, b->cur))
        return judge_equal(key_class, a, b, text);
    return judge_different(key_class, a, b, text);
}

ApmigKeyComparison *
apmig_keys_compare(ApmigKeyClass key_class, const ApmigKeyRegister *a, const char *a_name,
                   const ApmigKeyRegister *b, const char *b_name)
{
    Side of_a = {a_name, &a[APMIG_REGISTER_NEW], &a[APMIG_REGISTER_CUR], &a[APMIG_REGISTER_OLD]};
    Side of_b = {b_name, &b[APMIG_REGISTER_NEW], &b[APMIG_REGISTER_CUR], &b[APMIG_REGISTER_OLD]};
    ApmigKeyComparison *comparison = g_new0(ApmigKeyComparison, 1);
    g_autofree char *what = g_strdup_printf("%s CUR", apmig_key_class_to_string(key_class));
    GString *text = g_string_new(NULL);

    append_both(text, what, &of_a, of_a.cur, &of_b, of_b.cur);
    comparison->verdict = judge(key_class, &of_a, &of_b, text);
    comparison->severity = verdicts[comparison->verdict].severity;
    g_string_append_c(text, '.');
    comparison->sentence = g_string_free(text, FALSE);
    return comparison;
}
