/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keys/mkvp.h"

#include <string.h>

#define DATA SOURCE_DIR "/tests/data/ap"

static char *
read_file(const char *path, gsize *ret_length)
{
    g_autoptr(GError) error = NULL;
    char *text = NULL;

    g_file_get_contents(path, &text, ret_length, &error);
    g_assert_no_error(error);
    return text;
}

static ApmigMkvps
parse_file(const char *path)
{
    gsize length = 0;
    g_autofree char *text = read_file(path, &length);
    ApmigMkvps mkvps;

    apmig_mkvps_parse(text, length, &mkvps);
    return mkvps;
}

static ApmigMkvps
parse(const char *text)
{
    ApmigMkvps mkvps;

    apmig_mkvps_parse(text, strlen(text), &mkvps);
    return mkvps;
}

/* Every known register, in the order of the types: "AES NEW empty -, AES CUR valid 0x..." */
static char *
show(const ApmigMkvps *mkvps)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < APMIG_N_KEY_CLASSES; i++) {
        for (guint j = 0; j < APMIG_N_REGISTERS; j++) {
            const ApmigKeyRegister *reg = &mkvps->registers[i][j];
            g_autofree char *pattern = apmig_key_pattern_to_string(reg);

            if (reg->state == APMIG_KEY_STATE_UNKNOWN) {
                g_assert_cmpuint(reg->length, ==, 0);
                continue;
            }
            g_string_append_printf(
                text, "%s%s %s %s %s", text->len > 0 ? ", " : "", apmig_key_class_to_string((ApmigKeyClass)i),
                apmig_register_to_string((ApmigRegister)j), apmig_key_state_to_string(reg->state), pattern);
        }
    }
    return g_string_free(text, FALSE);
}

/* Calls @check for every entry of the folder. Returns: their number. */
static guint
for_each_entry(const char *folder, void (*check)(const char *folder, const char *name))
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GDir) dir = g_dir_open(folder, 0, &error);
    const char *name;
    guint n = 0;

    g_assert_no_error(error);
    for (; (name = g_dir_read_name(dir)) != NULL; n++)
        check(folder, name);
    return n;
}

/* --- the file ------------------------------------------------------------------------------------ */

#define AES_OLD_KEY        "valid 0xb072bc5c245aac8a"
#define AES_KEY            "valid 0xb2732827c67f8ef9"
#define AES_NEXT           "0xc0de1122334455aa"
#define APKA               ", APKA NEW empty -, APKA CUR valid 0x755cb8e7740d0001, APKA OLD invalid -"
#define NO_APKA            ", APKA NEW empty -, APKA CUR invalid -, APKA OLD invalid -"
#define NO_ASYM            ", ASYM NEW empty -, ASYM CUR invalid -, ASYM OLD invalid -"
#define WK                 "0xf9d6ef6c1e0bb9fc1a37ebdd2d4e1a01c0ffee00c0ffee00c0ffee00c0ffee00"
#define WK_NEXT            "0xa5107b2e77441908e1f0aa3bd2c954020badcafe0badcafe0badcafe0badcafe"
#define AES(new, cur, old) "AES NEW " new ", AES CUR " cur ", AES OLD " old

static const struct {
    const char *file;
    const char *registers;
} variants[] = {
    {"cca-01-no-keys.txt", AES("empty -", "invalid -", "invalid -") NO_APKA NO_ASYM},
    {"cca-02-steady.txt", AES("empty -", AES_KEY, AES_OLD_KEY) APKA NO_ASYM},
    {"cca-03-new-partial.txt", AES("partial -", AES_KEY, AES_OLD_KEY) APKA NO_ASYM},
    {"cca-04-new-full.txt", AES("full " AES_NEXT, AES_KEY, AES_OLD_KEY) APKA NO_ASYM},
    {"cca-05-after-set.txt", AES("empty -", "valid " AES_NEXT, AES_KEY) APKA NO_ASYM},
    {"cca-06-first-key-full.txt", AES("full 0xb2732827c67f8ef9", "invalid -", "invalid -") APKA NO_ASYM},
    {"cca-07-first-key-set.txt", AES("empty -", AES_KEY, "invalid -") APKA NO_ASYM},
    {"cca-619-asym-empty-dash.txt",
     AES("empty -", AES_KEY, AES_OLD_KEY) APKA ", ASYM NEW empty -, ASYM CUR empty -, ASYM OLD empty -"},
    {"cca-all-dashes.txt", ""},
    {"cca-asym-set.txt", AES("empty -", AES_KEY, AES_OLD_KEY) APKA
     ", ASYM NEW empty -, ASYM CUR valid 0x101112131415161718191a1b1c1d1e1f, ASYM OLD invalid -"},
    {"cca-mixed-second-query-failed.txt", AES("empty -", AES_KEY, AES_OLD_KEY) NO_ASYM},
    {"cca-old-kernel-no-asym.txt", AES("empty -", AES_KEY, AES_OLD_KEY) APKA},
    {"cca-oldest-aes-only.txt", AES("empty -", AES_KEY, AES_OLD_KEY)},
    {"ep11-01-imprint-or-no-wk.txt", "WK NEW empty -, WK CUR invalid -"},
    {"ep11-02-steady.txt", "WK NEW empty -, WK CUR valid " WK},
    {"ep11-03-new-uncommitted.txt", "WK NEW uncommitted " WK_NEXT ", WK CUR valid " WK},
    {"ep11-04-new-committed.txt", "WK NEW committed " WK_NEXT ", WK CUR valid " WK},
    {"ep11-05-after-activate.txt", "WK NEW empty -, WK CUR valid " WK_NEXT},
    {"ep11-all-dashes.txt", ""},
};

static void
check_variant(const char *folder, const char *name)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    ApmigMkvps mkvps = parse_file(path);
    g_autofree char *shown = show(&mkvps);

    for (gsize i = 0; i < G_N_ELEMENTS(variants); i++) {
        if (g_str_equal(variants[i].file, name)) {
            g_assert_cmpstr(shown, ==, variants[i].registers);
            return;
        }
    }
    g_error("%s is in no table", name);
}

static void
test_variants(void)
{
    g_assert_cmpuint(for_each_entry(DATA "/mkvps", check_variant), ==, G_N_ELEMENTS(variants));
}

/* What is not in the kernel's form is unknown, and harms no other register. */
static void
test_by_key(void)
{
    static const struct {
        const char *text;
        const char *registers;
    } cases[] = {
        {"", ""},
        {"\n\n", ""},
        /* another order, unknown lines, no newline at the end */
        {"Kyber CUR: valid 0x00\nAES OLD: invalid 0x0000000000000000\nAES NEXT: full 0x0000000000000001\n"
         "AES\nAES CUR: valid 0xB2732827c67f8ef9",
         "AES CUR valid 0xb2732827c67f8ef9, AES OLD invalid -"},
        {"WK OLD: valid " WK "\n", ""},
        /* words and values of the wrong form, each beside one that is right */
        {"AES NEW: loading 0x0000000000000001\nAES CUR: invalid -\n", "AES CUR invalid -"},
        {"AES NEW: valid 0x0000000000000001\nAES CUR: full 0x0000000000000001\nAES OLD: invalid -\n",
         "AES OLD invalid -"},
        {"AES NEW: unknown -\nAES OLD: invalid -\n", "AES OLD invalid -"},
        {"AES CUR: valid 0xb2732827c67f8ef\nAES OLD: invalid -\n", "AES OLD invalid -"},
        {"AES CUR: valid 0xb2732827c67f8ef90\nAES OLD: invalid -\n", "AES OLD invalid -"},
        {"AES CUR: valid 0xb2732827c67f8efg\nAES OLD: invalid -\n", "AES OLD invalid -"},
        {"AES CUR: valid b2732827c67f8ef9\nAES OLD: invalid -\n", "AES OLD invalid -"},
        {"AES CUR: valid 0Xb2732827c67f8ef9\nAES OLD: invalid -\n", "AES OLD invalid -"},
        {"AES CUR: valid 0x+2732827c67f8ef9\nAES OLD: invalid -\n", "AES OLD invalid -"},
        {"AES CUR: valid 0xb2732827c67f8ef9 \nAES OLD: invalid -\n", "AES OLD invalid -"},
        {"AES CUR: valid 0xb2732827c67f8ef9\r\nAES OLD: invalid -\n", "AES OLD invalid -"},
        {"AES CUR: valid\nAES CUR valid 0xb2732827c67f8ef9\nAES OLD: invalid -\n", "AES OLD invalid -"},
        {"aes CUR: valid 0xb2732827c67f8ef9\nAES OLD: invalid -\n", "AES OLD invalid -"},
        {"ASYM CUR: valid 0x1011121314151617\nASYM OLD: invalid -\n", "ASYM OLD invalid -"},
        {"WK CUR: valid 0xf9d6ef6c1e0bb9fc1a37ebdd2d4e1a01\nWK NEW: empty -\n", "WK NEW empty -"},
        /* twice, even when both say the same */
        {"AES CUR: valid 0xb2732827c67f8ef9\nAES CUR: valid 0xb2732827c67f8ef9\nAES OLD: invalid -\n",
         "AES OLD invalid -"},
        /* a key has a pattern, and zeros are none; what is loaded is not empty */
        {"AES CUR: valid 0x0000000000000000\nAES OLD: valid -\n", "AES CUR valid -, AES OLD valid -"},
        {"AES NEW: empty 0x0000000000000001\nAES OLD: empty 0x0000000000000001\n", ""},
        {"AES NEW: partial 0x0000000000000001\nAES CUR: invalid 0x0000000000000001\n",
         "AES NEW partial -, AES CUR invalid -"},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        ApmigMkvps mkvps = parse(cases[i].text);
        g_autofree char *shown = show(&mkvps);

        if (!g_str_equal(shown, cases[i].registers))
            g_error("case %zu: \"%s\" instead of \"%s\"", i, shown, cases[i].registers);
    }
}

static void
test_bounds(void)
{
    static const char line[] = "AES CUR: valid 0xb2732827c67f8ef9\n";
    g_autofree char *text = g_malloc(APMIG_MKVPS_MAX_BYTES + 1);
    ApmigMkvps mkvps;

    memset(text, '\n', APMIG_MKVPS_MAX_BYTES + 1);
    memcpy(text, line, strlen(line));
    apmig_mkvps_parse(text, APMIG_MKVPS_MAX_BYTES, &mkvps);
    g_assert_cmpint(mkvps.registers[APMIG_KEY_AES][APMIG_REGISTER_CUR].state, ==, APMIG_KEY_STATE_VALID);
    apmig_mkvps_parse(text, APMIG_MKVPS_MAX_BYTES + 1, &mkvps);
    g_assert_cmpint(mkvps.registers[APMIG_KEY_AES][APMIG_REGISTER_CUR].state, ==, APMIG_KEY_STATE_UNKNOWN);
    text[strlen(line)] = '\0';
    apmig_mkvps_parse(text, APMIG_MKVPS_MAX_BYTES, &mkvps);
    g_assert_cmpint(mkvps.registers[APMIG_KEY_AES][APMIG_REGISTER_CUR].state, ==, APMIG_KEY_STATE_UNKNOWN);
}

/* A reading that was cut short at any byte knows less, and nothing else. */
static void
test_cut_short(void)
{
    gsize length = 0;
    g_autofree char *text = read_file(DATA "/mkvps/cca-04-new-full.txt", &length);
    ApmigMkvps whole;

    apmig_mkvps_parse(text, length, &whole);
    for (gsize i = 0; i < length; i++) {
        g_autofree char *cut = g_malloc(MAX(i, 1));
        ApmigMkvps mkvps;

        memcpy(cut, text, i);
        apmig_mkvps_parse(cut, i, &mkvps);
        for (guint j = 0; j < APMIG_N_KEY_CLASSES * APMIG_N_REGISTERS; j++) {
            const ApmigKeyRegister *found = &mkvps.registers[j / APMIG_N_REGISTERS][j % APMIG_N_REGISTERS];
            const ApmigKeyRegister *right = &whole.registers[j / APMIG_N_REGISTERS][j % APMIG_N_REGISTERS];

            if (found->state != APMIG_KEY_STATE_UNKNOWN)
                g_assert_cmpmem(found, sizeof *found, right, sizeof *right);
        }
    }
}

/* --- names and patterns -------------------------------------------------------------------------- */

static void
test_names(void)
{
    ApmigKeyClass key_class = APMIG_KEY_WK;
    ApmigRegister reg = APMIG_REGISTER_OLD;
    ApmigKeyState state = APMIG_KEY_STATE_VALID;
    g_autoptr(GHashTable) verdicts = g_hash_table_new(g_str_hash, g_str_equal);

    for (int i = 0; i < APMIG_N_KEY_CLASSES; i++) {
        g_assert_true(apmig_key_class_from_string(apmig_key_class_to_string((ApmigKeyClass)i), &key_class));
        g_assert_cmpint(key_class, ==, i);
    }
    for (int i = 0; i < APMIG_N_REGISTERS; i++) {
        g_assert_true(apmig_register_from_string(apmig_register_to_string((ApmigRegister)i), &reg));
        g_assert_cmpint(reg, ==, i);
    }
    for (int i = 0; i <= APMIG_KEY_STATE_VALID; i++) {
        g_assert_true(apmig_key_state_from_string(apmig_key_state_to_string((ApmigKeyState)i), &state));
        g_assert_cmpint(state, ==, i);
    }
    for (int i = 0; i <= APMIG_KEYS_DIFFER_B_BEHIND; i++)
        g_assert_true(g_hash_table_add(verdicts, (gpointer)apmig_key_verdict_to_string((ApmigKeyVerdict)i)));
    g_assert_false(apmig_key_class_from_string("SYM", &key_class));
    g_assert_false(apmig_key_class_from_string("aes", &key_class));
    g_assert_false(apmig_register_from_string("", &reg));
    g_assert_false(apmig_key_state_from_string("-", &state));
    g_assert_cmpint(key_class, ==, APMIG_KEY_WK);
    g_assert_cmpint(reg, ==, APMIG_REGISTER_OLD);
    g_assert_cmpint(state, ==, APMIG_KEY_STATE_VALID);
}

static void
test_patterns(void)
{
    ApmigKeyRegister a = {APMIG_KEY_STATE_VALID}, b = a;
    g_autofree char *text = NULL;

    g_assert_true(apmig_key_pattern_parse("0x00FFa5000000000d", 8, &a));
    text = apmig_key_pattern_to_string(&a);
    g_assert_cmpstr(text, ==, "0x00ffa5000000000d");
    g_assert_true(apmig_key_pattern_parse(text, 8, &b));
    g_assert_cmpmem(&a, sizeof a, &b, sizeof b);
    g_assert_true(apmig_key_pattern_equal(APMIG_KEY_AES, &a, &b));
    /* what is refused changes nothing */
    g_assert_false(apmig_key_pattern_parse("0x00FFa5000000000d", 16, &b));
    g_assert_false(apmig_key_pattern_parse("", 0, &b));
    g_assert_cmpmem(&a, sizeof a, &b, sizeof b);
    /* zeros are no pattern, and equal nothing */
    g_assert_true(apmig_key_pattern_parse("0x0000000000000000", 8, &a));
    g_assert_cmpuint(a.length, ==, 0);
    b = a;
    g_assert_false(apmig_key_pattern_equal(APMIG_KEY_AES, &a, &b));
    /* of a WK the first half counts, whether or not the other is known */
    g_assert_true(apmig_key_pattern_parse(WK, 32, &a));
    g_assert_true(apmig_key_pattern_parse("0xf9d6ef6c1e0bb9fc1a37ebdd2d4e1a01", 16, &b));
    g_assert_true(apmig_key_pattern_equal(APMIG_KEY_WK, &a, &b));
    g_assert_false(apmig_key_pattern_equal(APMIG_KEY_ASYM, &a, &b));
    g_assert_true(apmig_key_pattern_parse("0xf9d6ef6c1e0bb9fc1a37ebdd2d4e1a00", 16, &b));
    g_assert_false(apmig_key_pattern_equal(APMIG_KEY_WK, &a, &b));
}

/* --- pairs --------------------------------------------------------------------------------------- */

#define NOT_ASKED APMIG_KEYS_UNKNOWN /* neither file has a line of that class */

/* The samples' own words, and what they come to for each class. */
static const struct {
    const char *name;
    const char *expected;
    ApmigKeyVerdict verdicts[APMIG_N_KEY_CLASSES];
    const char *sentence; /* part of the one of the first class that is known */
} pairs[] = {
    {"01-equal",
     "agree",
     {APMIG_KEYS_AGREE, APMIG_KEYS_AGREE, APMIG_KEYS_NO_KEY, NOT_ASKED},
     "AES CUR is 0xb2732827c67f8ef9 on A and on B."},
    {"02-A-set-B-full",
     "differ: B still has to SET; A->B unsafe, B->A works only through A.OLD",
     {APMIG_KEYS_DIFFER_B_BEHIND, APMIG_KEYS_AGREE, APMIG_KEYS_NO_KEY, NOT_ASKED},
     "AES CUR is 0xc0de1122334455aa on A and 0xb2732827c67f8ef9 on B; B still has to set its NEW, and keys "
     "of A fail "
     "there until then; keys of B work on A through OLD alone, until its next change."},
    {"03-both-full-same-new",
     "agree on CUR, change pending on both",
     {APMIG_KEYS_AGREE_CHANGE_PENDING, APMIG_KEYS_AGREE, APMIG_KEYS_NO_KEY, NOT_ASKED},
     "a change is pending: NEW is full 0xc0de1122334455aa on A and on B."},
    {"04-both-full-different-new",
     "agree on CUR, but NEW differ: will diverge at SET",
     {APMIG_KEYS_AGREE_WILL_DIVERGE, APMIG_KEYS_AGREE, APMIG_KEYS_NO_KEY, NOT_ASKED},
     "NEW is full 0xc0de1122334455aa on A and full 0xdead00000000beef on B, so the keys will differ"},
    {"05-cur-equal-old-differ",
     "agree on CUR; OLD differ: keys not yet re-enciphered from OLD break",
     {APMIG_KEYS_AGREE_OLD_DIFFERS, APMIG_KEYS_AGREE, APMIG_KEYS_NO_KEY, NOT_ASKED},
     "OLD is 0xb072bc5c245aac8a on A and 0x1111111111111111 on B"},
    {"06-B-unknown",
     "unknown (never report agree)",
     {APMIG_KEYS_UNKNOWN, APMIG_KEYS_UNKNOWN, APMIG_KEYS_UNKNOWN, NOT_ASKED},
     "AES CUR is 0xb2732827c67f8ef9 on A and unknown on B; whether they agree is not known."},
    {"07-B-no-asym-lines",
     "AES/APKA agree; ASYM unknown on B",
     {APMIG_KEYS_AGREE, APMIG_KEYS_AGREE, APMIG_KEYS_UNKNOWN, NOT_ASKED},
     "AES CUR is 0xb2732827c67f8ef9 on A and on B."},
    {"08-both-invalid",
     "zero == zero is NOT agreement: no master key set",
     {APMIG_KEYS_NO_KEY, APMIG_KEYS_AGREE, APMIG_KEYS_NO_KEY, NOT_ASKED},
     "AES CUR is invalid on A and on B; there is no master key on either, which is no agreement."},
    {"09-ep11-differ-after-activate",
     "differ; EP11 has no OLD: both directions break",
     {NOT_ASKED, NOT_ASKED, NOT_ASKED, APMIG_KEYS_DIFFER_B_BEHIND},
     "EP11 has no OLD, so keys of either fail on the other."},
    {"10-ep11-upper-half-differs",
     "agree on the 16 bytes the kernel and zkey compare; full 32-byte string differs: warn",
     {NOT_ASKED, NOT_ASKED, NOT_ASKED, APMIG_KEYS_AGREE_UPPER_HALF},
     "equal in the first 16 bytes, which the kernel compares, but not after them."},
};

static ApmigSeverity
severity_of(ApmigKeyVerdict verdict)
{
    if (verdict == APMIG_KEYS_AGREE)
        return APMIG_SEVERITY_NONE;
    return verdict >= APMIG_KEYS_AGREE_WILL_DIVERGE ? APMIG_SEVERITY_ERROR : APMIG_SEVERITY_WARNING;
}

static ApmigKeyComparison *
compare(const ApmigMkvps *a, const ApmigMkvps *b, guint key_class)
{
    ApmigKeyComparison *comparison = apmig_keys_compare((ApmigKeyClass)key_class, a->registers[key_class],
                                                        "A", b->registers[key_class], "B");

    g_assert_true(g_str_has_suffix(comparison->sentence, "."));
    g_assert_true(
        g_str_has_prefix(comparison->sentence, apmig_key_class_to_string((ApmigKeyClass)key_class)));
    g_assert_cmpint(comparison->severity, ==, severity_of(comparison->verdict));
    return comparison;
}

static guint
find_pair(const char *name)
{
    for (guint i = 0; i < G_N_ELEMENTS(pairs); i++)
        if (g_str_equal(pairs[i].name, name))
            return i;
    g_error("the pair %s is in no table", name);
}

static void
check_pair(const char *folder, const char *name)
{
    guint i = find_pair(name), asked = G_MAXUINT;
    g_autofree char *a_path = g_build_filename(folder, name, "A.mkvps", NULL);
    g_autofree char *b_path = g_build_filename(folder, name, "B.mkvps", NULL);
    g_autofree char *expected_path = g_build_filename(folder, name, "EXPECTED.txt", NULL);
    g_autofree char *expected = g_strchomp(read_file(expected_path, NULL));
    ApmigMkvps a = parse_file(a_path), b = parse_file(b_path);

    g_assert_cmpstr(expected, ==, pairs[i].expected);
    for (guint j = 0; j < APMIG_N_KEY_CLASSES; j++) {
        g_autoptr(ApmigKeyComparison) comparison = compare(&a, &b, j);

        g_assert_cmpstr(apmig_key_verdict_to_string(comparison->verdict), ==,
                        apmig_key_verdict_to_string(pairs[i].verdicts[j]));
        if (asked != G_MAXUINT || a.registers[j][APMIG_REGISTER_CUR].state == APMIG_KEY_STATE_UNKNOWN)
            continue;
        asked = j;
        if (strstr(comparison->sentence, pairs[i].sentence) == NULL)
            g_error("%s: \"%s\" lacks \"%s\"", name, comparison->sentence, pairs[i].sentence);
    }
    g_assert_cmpuint(asked, !=, G_MAXUINT);
}

static void
test_pairs(void)
{
    g_assert_cmpuint(for_each_entry(DATA "/pairs", check_pair), ==, G_N_ELEMENTS(pairs));
}

#define AES_LINES(new, cur, old) "AES NEW: " new "\nAES CUR: " cur "\nAES OLD: " old "\n"
#define K0                       "0x00000000000000a0"
#define K1                       "0x00000000000000a1"
#define K2                       "0x00000000000000a2"
#define K3                       "0x00000000000000a3"

/* What the samples do not have. */
static void
test_verdicts(void)
{
    static const struct {
        const char *a;
        const char *b;
        guint key_class;
        ApmigKeyVerdict verdict;
        ApmigKeyVerdict reversed;
    } cases[] = {
        {AES_LINES("empty -", "valid " K1, "valid " K0), AES_LINES("empty -", "valid " K3, "valid " K2),
         APMIG_KEY_AES, APMIG_KEYS_DIFFER, APMIG_KEYS_DIFFER},
        /* set on one, where the other was never loaded */
        {AES_LINES("empty -", "valid " K1, "valid " K0), AES_LINES("empty -", "valid " K2, "valid " K1),
         APMIG_KEY_AES, APMIG_KEYS_DIFFER_B_AHEAD, APMIG_KEYS_DIFFER_B_BEHIND},
        /* a first key, set on one */
        {AES_LINES("empty -", "valid " K1, "invalid -"), AES_LINES("full " K1, "invalid -", "invalid -"),
         APMIG_KEY_AES, APMIG_KEYS_DIFFER_B_BEHIND, APMIG_KEYS_DIFFER_B_AHEAD},
        {AES_LINES("empty -", "valid " K1, "invalid -"), AES_LINES("empty -", "invalid -", "invalid -"),
         APMIG_KEY_AES, APMIG_KEYS_DIFFER, APMIG_KEYS_DIFFER},
        {AES_LINES("empty -", "valid " K1, "invalid -"), AES_LINES("empty -", "empty -", "empty -"),
         APMIG_KEY_AES, APMIG_KEYS_DIFFER, APMIG_KEYS_DIFFER},
        {AES_LINES("empty -", "empty -", "empty -"), AES_LINES("empty -", "invalid -", "invalid -"),
         APMIG_KEY_AES, APMIG_KEYS_NO_KEY, APMIG_KEYS_NO_KEY},
        /* a change that has begun on one only, or nobody knows */
        {AES_LINES("empty -", "valid " K1, "valid " K0), AES_LINES("partial -", "valid " K1, "valid " K0),
         APMIG_KEY_AES, APMIG_KEYS_AGREE_CHANGE_PENDING, APMIG_KEYS_AGREE_CHANGE_PENDING},
        {AES_LINES("full " K2, "valid " K1, "valid " K0), AES_LINES("partial -", "valid " K1, "valid " K0),
         APMIG_KEY_AES, APMIG_KEYS_AGREE_CHANGE_PENDING, APMIG_KEYS_AGREE_CHANGE_PENDING},
        {AES_LINES("empty -", "valid " K1, "valid " K0), AES_LINES("- -", "valid " K1, "valid " K0),
         APMIG_KEY_AES, APMIG_KEYS_AGREE_NEW_UNKNOWN, APMIG_KEYS_AGREE_NEW_UNKNOWN},
        {AES_LINES("full " K2, "valid " K1, "valid " K0), AES_LINES("- -", "valid " K1, "valid " K0),
         APMIG_KEY_AES, APMIG_KEYS_AGREE_CHANGE_PENDING, APMIG_KEYS_AGREE_CHANGE_PENDING},
        /* the worse of two */
        {AES_LINES("full " K2, "valid " K1, "valid " K0), AES_LINES("full " K3, "valid " K1, "invalid -"),
         APMIG_KEY_AES, APMIG_KEYS_AGREE_WILL_DIVERGE, APMIG_KEYS_AGREE_WILL_DIVERGE},
        {AES_LINES("empty -", "valid " K1, "valid " K0), AES_LINES("empty -", "valid " K1, "invalid -"),
         APMIG_KEY_AES, APMIG_KEYS_AGREE_OLD_DIFFERS, APMIG_KEYS_AGREE_OLD_DIFFERS},
        {AES_LINES("empty -", "valid " K1, "valid " K0), AES_LINES("empty -", "valid " K1, "- -"),
         APMIG_KEY_AES, APMIG_KEYS_AGREE, APMIG_KEYS_AGREE},
        /* valid, and no pattern to compare */
        {AES_LINES("empty -", "valid -", "invalid -"), AES_LINES("empty -", "valid -", "invalid -"),
         APMIG_KEY_AES, APMIG_KEYS_UNKNOWN, APMIG_KEYS_UNKNOWN},
        {"", "", APMIG_KEY_AES, APMIG_KEYS_UNKNOWN, APMIG_KEYS_UNKNOWN},
        {"WK CUR: valid " WK "\nWK NEW: committed " WK_NEXT, "WK CUR: valid " WK_NEXT "\nWK NEW: empty -",
         APMIG_KEY_WK, APMIG_KEYS_DIFFER_B_AHEAD, APMIG_KEYS_DIFFER_B_BEHIND},
        {"WK CUR: valid " WK "\nWK NEW: empty -", "WK CUR: invalid -\nWK NEW: empty -", APMIG_KEY_WK,
         APMIG_KEYS_DIFFER, APMIG_KEYS_DIFFER},
        {"WK CUR: valid " WK "\nWK NEW: committed " WK_NEXT,
         "WK CUR: valid " WK "\nWK NEW: uncommitted " WK_NEXT, APMIG_KEY_WK, APMIG_KEYS_AGREE_CHANGE_PENDING,
         APMIG_KEYS_AGREE_CHANGE_PENDING},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        ApmigMkvps a = parse(cases[i].a), b = parse(cases[i].b);
        g_autoptr(ApmigKeyComparison) comparison = compare(&a, &b, cases[i].key_class);
        g_autoptr(ApmigKeyComparison) reversed = compare(&b, &a, cases[i].key_class);

        g_test_message("case %zu: %s", i, comparison->sentence);
        g_assert_cmpstr(apmig_key_verdict_to_string(comparison->verdict), ==,
                        apmig_key_verdict_to_string(cases[i].verdict));
        g_assert_cmpstr(apmig_key_verdict_to_string(reversed->verdict), ==,
                        apmig_key_verdict_to_string(cases[i].reversed));
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/mkvp/variants", test_variants);
    g_test_add_func("/mkvp/by-key", test_by_key);
    g_test_add_func("/mkvp/bounds", test_bounds);
    g_test_add_func("/mkvp/cut-short", test_cut_short);
    g_test_add_func("/mkvp/names", test_names);
    g_test_add_func("/mkvp/patterns", test_patterns);
    g_test_add_func("/mkvp/pairs", test_pairs);
    g_test_add_func("/mkvp/verdicts", test_verdicts);
    return g_test_run();
}
