/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ap/fixture.h"
#include "keys/declaration.h"
#include "base/error.h"
#include "keys/evidence.h"
#include "base/sentence.h"

#define K1      "0x00000000000000a1"
#define K2      "0x00000000000000a2"
#define WK_HALF "0xf9d6ef6c1e0bb9fc1a37ebdd2d4e1a01"
#define WK      WK_HALF "c0ffee00c0ffee00c0ffee00c0ffee00"

#define SECOND G_USEC_PER_SEC

/* What is said of 04.0012, AES. */
static ApmigEvidenceRecord
word_of(ApmigEvidenceClass evidence, const char *pattern, gint64 at)
{
    ApmigEvidenceRecord record = {4, 0x12, APMIG_KEY_AES, evidence};

    record.registers[APMIG_REGISTER_CUR].state = APMIG_KEY_STATE_VALID;
    g_assert_true(apmig_key_pattern_parse(pattern, 8, &record.registers[APMIG_REGISTER_CUR]));
    record.at = at;
    record.source = (char *)(evidence == APMIG_EVIDENCE_ATTESTED ? "tke-export" : "anna");
    record.uid = evidence == APMIG_EVIDENCE_ATTESTED ? 990 : 1000;
    return record;
}

static void
add(ApmigEvidence *evidence, ApmigEvidenceClass class, const char *pattern, gint64 at, GPtrArray *alarms)
{
    ApmigEvidenceRecord record = word_of(class, pattern, at);

    apmig_evidence_add(evidence, &record, alarms);
}

static void
declare(ApmigEvidence *evidence, const char *pattern, gint64 at, GPtrArray *warnings)
{
    ApmigEvidenceRecord record = word_of(APMIG_EVIDENCE_DECLARED, pattern, at);

    apmig_evidence_declare(evidence, &record, TRUE, warnings);
}

/* As a program does time and again, whether a key was changed or not. */
static void
attest(ApmigEvidence *evidence, const char *pattern, gint64 at, GPtrArray *warnings)
{
    ApmigEvidenceRecord record = word_of(APMIG_EVIDENCE_ATTESTED, pattern, at);

    apmig_evidence_declare(evidence, &record, FALSE, warnings);
}

static void
read_card(ApmigEvidence *evidence, const char *aes_cur, gint64 at, GPtrArray *alarms)
{
    g_autofree char *text = g_strdup_printf("AES NEW: empty -\nAES CUR: %s\nAES OLD: invalid -\n", aes_cur);
    ApmigMkvps mkvps = mkvps_of(text);

    apmig_evidence_add_reading(evidence, 4, 0x12, &mkvps, at, alarms);
}

/* "declared 0x...", or "unknown". */
static void
assert_known(const ApmigEvidence *evidence, const char *expected)
{
    const ApmigEvidenceRecord *record = apmig_evidence_lookup(evidence, 4, 0x12, APMIG_KEY_AES);
    g_autofree char *pattern =
        record != NULL ? apmig_key_pattern_to_string(&record->registers[APMIG_REGISTER_CUR]) : NULL;
    g_autofree char *shown =
        record != NULL ? g_strdup_printf("%s %s", apmig_evidence_class_to_string(record->evidence), pattern)
                       : g_strdup("unknown");

    g_assert_cmpstr(shown, ==, expected);
}

static void
test_strength(void)
{
    g_autoptr(ApmigEvidence) evidence = apmig_evidence_new();
    g_autoptr(GPtrArray) list = NULL;

    assert_known(evidence, "unknown");
    add(evidence, APMIG_EVIDENCE_DECLARED, K1, 30, NULL);
    assert_known(evidence, "declared " K1);
    add(evidence, APMIG_EVIDENCE_ATTESTED, K1, 20, NULL);
    assert_known(evidence, "attested " K1);
    read_card(evidence, "valid " K1, 10, NULL);
    assert_known(evidence, "verified " K1);
    /* within a class the newer counts, in whatever order they come */
    add(evidence, APMIG_EVIDENCE_ATTESTED, K2, 19, NULL);
    add(evidence, APMIG_EVIDENCE_DECLARED, K2, 31, NULL);
    list = apmig_evidence_list(evidence);
    g_assert_cmpuint(list->len, ==, 3);
    for (guint i = 0; i < list->len; i++)
        g_assert_cmpint(((ApmigEvidenceRecord *)list->pdata[i])->evidence, ==, APMIG_EVIDENCE_VERIFIED - i);
    /* a queue that can be read no more is not verified: its keys can now change unseen */
    apmig_evidence_add_reading(evidence, 4, 0x12, NULL, 40, NULL);
    assert_known(evidence, "attested " K1);
    /* nor is what the latest reading does not tell */
    read_card(evidence, "valid " K1, 50, NULL);
    read_card(evidence, "- -", 60, NULL);
    assert_known(evidence, "attested " K1);
    read_card(evidence, "valid " K1, 55, NULL);
    read_card(evidence, "invalid -", 70, NULL);
    assert_known(evidence, "verified -");
}

static void
test_keys_are_apart(void)
{
    g_autoptr(ApmigEvidence) evidence = apmig_evidence_new();
    g_autoptr(GPtrArray) list = NULL;
    ApmigMkvps cca = mkvps_of("AES CUR: valid " K1 "\nAPKA CUR: valid " K2 "\n");
    ApmigMkvps ep11 = mkvps_of("WK CUR: valid " WK "\nWK NEW: empty -\n");

    apmig_evidence_add_reading(evidence, 0xff, 0xff, &ep11, 1, NULL);
    apmig_evidence_add_reading(evidence, 4, 0x13, &cca, 1, NULL);
    apmig_evidence_add_reading(evidence, 4, 0x12, &cca, 1, NULL);
    add(evidence, APMIG_EVIDENCE_DECLARED, K2, 2, NULL);
    g_assert_null(apmig_evidence_lookup(evidence, 4, 0x12, APMIG_KEY_ASYM));
    g_assert_null(apmig_evidence_lookup(evidence, 0x12, 4, APMIG_KEY_AES));
    g_assert_null(apmig_evidence_lookup(evidence, 0xff, 0xff, APMIG_KEY_AES));
    g_assert_nonnull(apmig_evidence_lookup(evidence, 0xff, 0xff, APMIG_KEY_WK));
    list = apmig_evidence_list(evidence);
    g_assert_cmpuint(list->len, ==, 6);
}

static void
test_contradiction(void)
{
    g_autoptr(ApmigEvidence) evidence = apmig_evidence_new();
    g_autoptr(GPtrArray) alarms = g_ptr_array_new_with_free_func(g_free);

    add(evidence, APMIG_EVIDENCE_DECLARED, K1, 10 * SECOND, alarms);
    add(evidence, APMIG_EVIDENCE_ATTESTED, K2, 20 * SECOND, alarms);
    g_assert_cmpuint(alarms->len, ==, 0);
    read_card(evidence, "valid " K2, 30 * SECOND, alarms);
    g_assert_cmpuint(alarms->len, ==, 1);
    g_assert_cmpstr(
        alarms->pdata[0], ==,
        "AP queue 04.0012: the card has " K2 " in AES CUR, read at 1970-01-01 00:00:30 UTC, but " K1
        " was declared by anna (uid 1000) at 1970-01-01 00:00:10 UTC. The card counts: either that was "
        "wrong, or the key was changed since.");
    /* once, and not at every reading */
    read_card(evidence, "valid " K2, 40 * SECOND, alarms);
    g_assert_cmpuint(alarms->len, ==, 1);
    read_card(evidence, "invalid -", 50 * SECOND, alarms);
    g_assert_cmpuint(alarms->len, ==, 2);
    assert_says(alarms->pdata[1], "the card has no key in AES CUR, read at 1970-01-01 00:00:50 UTC, but " K2
                                  " was attested by tke-export (uid 990)");
    /* neither of the two counts when the card is out of sight again */
    apmig_evidence_add_reading(evidence, 4, 0x12, NULL, 60 * SECOND, alarms);
    assert_known(evidence, "unknown");
    g_assert_cmpuint(alarms->len, ==, 2);
    add(evidence, APMIG_EVIDENCE_DECLARED, K2, 70 * SECOND, alarms);
    assert_known(evidence, "declared " K2);
    /* what was said after the reading is not contradicted by it, only by the next one */
    read_card(evidence, "valid " K1, 69 * SECOND, alarms);
    g_assert_cmpuint(alarms->len, ==, 2);
    read_card(evidence, "valid " K1, 80 * SECOND, alarms);
    g_assert_cmpuint(alarms->len, ==, 3);
    /* a card that came round to what both had said */
    read_card(evidence, "valid " K2, 90 * SECOND, alarms);
    apmig_evidence_add_reading(evidence, 4, 0x12, NULL, 91 * SECOND, alarms);
    assert_known(evidence, "attested " K2);
    g_assert_cmpuint(alarms->len, ==, 3);
}

/* It says the same again and again, which is no cause to warn; a weaker word against it is. */
static void
test_attesting(void)
{
    g_autoptr(ApmigEvidence) evidence = apmig_evidence_new();
    g_autoptr(GPtrArray) warnings = g_ptr_array_new_with_free_func(g_free);

    declare(evidence, K1, 10 * SECOND, warnings);
    attest(evidence, K2, 20 * SECOND, warnings);
    attest(evidence, K2, 30 * SECOND, warnings);
    assert_known(evidence, "attested " K2);
    g_assert_cmpuint(warnings->len, ==, 0);
    declare(evidence, K1, 40 * SECOND, warnings);
    assert_known(evidence, "attested " K2);
    g_assert_cmpuint(warnings->len, ==, 1);
    g_assert_cmpstr(warnings->pdata[0], ==,
                    "AP queue 04.0012: " K1 " in AES CUR is declared only, but " K2 " was attested by "
                    "tke-export (uid 990) at 1970-01-01 00:00:30 UTC, and counts until the key is attested "
                    "anew.");
    attest(evidence, K1, 50 * SECOND, warnings);
    assert_known(evidence, "attested " K1);
    read_card(evidence, "valid " K2, 60 * SECOND, warnings);
    g_assert_cmpuint(warnings->len, ==, 3); /* the card contradicts both */
    attest(evidence, K1, 70 * SECOND, warnings);
    assert_known(evidence, "verified " K2);
    assert_says(warnings->pdata[3], "the card has " K2 " in AES CUR");
}

static void
test_declaring(void)
{
    g_autoptr(ApmigEvidence) evidence = apmig_evidence_new();
    g_autoptr(GPtrArray) warnings = g_ptr_array_new_with_free_func(g_free);
    const ApmigEvidenceRecord *record;
    g_autofree char *before = NULL;
    g_autofree char *words = NULL;

    declare(evidence, K1, 10 * SECOND, warnings);
    record = apmig_evidence_lookup(evidence, 4, 0x12, APMIG_KEY_AES);
    g_assert_cmpuint(record->before.length, ==, 0);
    declare(evidence, K2, 20 * SECOND, warnings);
    g_assert_cmpuint(warnings->len, ==, 0);
    record = apmig_evidence_lookup(evidence, 4, 0x12, APMIG_KEY_AES);
    before = apmig_key_pattern_to_string(&record->before);
    g_assert_cmpstr(before, ==, K1);
    words = apmig_evidence_record_describe(record);
    g_assert_cmpstr(words, ==, "declared by anna (uid 1000) at 1970-01-01 00:00:20 UTC");
    declare(evidence, K2, 30 * SECOND, warnings);
    g_assert_cmpuint(warnings->len, ==, 1);
    assert_says(warnings->pdata[0], "AP queue 04.0012: " K2 " in AES CUR is unchanged");
    /* the card is there to be asked */
    read_card(evidence, "valid " K2, 40 * SECOND, warnings);
    declare(evidence, K1, 50 * SECOND, warnings);
    g_assert_cmpuint(warnings->len, ==, 2);
    assert_says(warnings->pdata[1], "the card has " K2 " in AES CUR");
    assert_known(evidence, "verified " K2);
    g_free(words);
    words = apmig_evidence_record_describe(apmig_evidence_lookup(evidence, 4, 0x12, APMIG_KEY_AES));
    g_assert_cmpstr(words, ==, "verified, read from the card at 1970-01-01 00:00:40 UTC");
}

static void
test_class_names(void)
{
    ApmigEvidenceClass class = APMIG_EVIDENCE_VERIFIED;

    for (int i = 0; i < APMIG_N_EVIDENCE_CLASSES; i++) {
        g_assert_true(
            apmig_evidence_class_from_string(apmig_evidence_class_to_string((ApmigEvidenceClass)i), &class));
        g_assert_cmpint(class, ==, i);
    }
    g_assert_false(apmig_evidence_class_from_string("proven", &class));
    g_assert_cmpint(class, ==, APMIG_EVIDENCE_VERIFIED);
}

static void
test_unknown_in_words(void)
{
    ApmigApHost *host = host_new();

    host_add_card(host, 4, "CEX8C");
    host_add_card(host, 0xa, "CEX7A");
    host_add_queue(host, 4, 0x12, "vfio_ap");
    host_add_queue(host, 4, 0x13, "");
    host_add_queue(host, 4, 0x14, "cex4queue");
    host_add_queue(host, 4, 0x15, "cex4queue")->online = APMIG_NO;
    host_add_queue(host, 4, 0x16, "cex4queue")->config = APMIG_NO;
    host_add_queue(host, 4, 0x17, "cex4queue")->chkstop = APMIG_YES;
    host_add_queue(host, 0xa, 0x12, "vfio_ap");
    assert_says(apmig_evidence_explain_unknown(host, 4, 0x12),
                "set aside for guests (driver vfio_ap), so this host");
    assert_says(apmig_evidence_explain_unknown(host, 4, 0x13), "has no driver");
    assert_says(apmig_evidence_explain_unknown(host, 4, 0x14), "gave no answer");
    assert_says(apmig_evidence_explain_unknown(host, 4, 0x15), "is offline");
    assert_says(apmig_evidence_explain_unknown(host, 4, 0x16), "is deconfigured");
    assert_says(apmig_evidence_explain_unknown(host, 4, 0x17), "is checkstopped");
    assert_says(apmig_evidence_explain_unknown(host, 0xa, 0x12), "accelerator");
    assert_says(apmig_evidence_explain_unknown(host, 5, 0x12), "is not on this host");
    apmig_ap_host_free(host);
}

/* --- declarations -------------------------------------------------------------------------------- */

static void
test_declaration_forms(void)
{
    static const struct {
        const char *text, *key, *value;
        const char *queues;
        ApmigKeyClass key_class;
        const char *cur;
    } cases[] = {
        {"04.0012:AES=" K1, "04.0012 AES", K1, "04.0012", APMIG_KEY_AES, K1},
        {"*.12:APKA=0x00000000000000Af", "*.12 APKA", "0x00000000000000aF", "*.0012", APMIG_KEY_APKA,
         "0x00000000000000af"},
        {"04-05.0012,06.0013:ASYM=" WK_HALF, "04-05.0012,06.0013 ASYM", WK_HALF, "04-05.0012,06.0013",
         APMIG_KEY_ASYM, WK_HALF},
        {"all:WK=" WK, "all WK", WK, "all", APMIG_KEY_WK, WK},
        {"04.0012:WK=" WK_HALF, "04.0012 WK", WK_HALF, "04.0012", APMIG_KEY_WK, WK_HALF},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        for (guint form = 0; form < 2; form++) {
            g_autoptr(GError) error = NULL;
            g_autoptr(ApmigDeclaration) declaration =
                form == 0 ? apmig_declaration_parse(cases[i].text, &error)
                          : apmig_declaration_parse_pair(cases[i].key, cases[i].value, &error);
            g_autofree char *cur = NULL;

            g_assert_no_error(error);
            cur = apmig_key_pattern_to_string(&declaration->cur);
            g_assert_cmpstr(apmig_scope_to_string(declaration->queues), ==, cases[i].queues);
            g_assert_cmpint(declaration->key_class, ==, cases[i].key_class);
            g_assert_cmpint(declaration->cur.state, ==, APMIG_KEY_STATE_VALID);
            g_assert_cmpstr(cur, ==, cases[i].cur);
        }
    }
}

static void
test_declarations_refused(void)
{
    static const struct {
        const char *text, *value; /* @value: of a pair, or NULL */
        const char *problem;
    } cases[] = {
        {"", NULL, "The declaration \"\" must have the form QUEUES:CLASS=PATTERN, as in 04.0012:AES=0x"},
        {"04.0012=AES:" K1, NULL, "must have the form"},
        {"04.0012:AES", NULL, "must have the form"},
        {"04.0012 AES=" K1, NULL, "must have the form"},
        {"04:AES=" K1, NULL, "names no AP queues: The scope is wrong at position 3: expected \".\""},
        {":AES=" K1, NULL, "names no AP queues"},
        {"none:AES=" K1, NULL, "names no AP queues"},
        {"04.0012:aes=" K1, NULL, "names the key class \"aes\" but must name one of AES, APKA and ASYM"},
        {"04.0012:=" K1, NULL, "names the key class \"\" but"},
        {"04.0012:DES=" K1, NULL, "names the key class \"DES\", which no host can check"},
        {"04.0012:SYM=" K1, NULL, "leave the SYM (DES) master key out"},
        {"04.0012:AES=", NULL, "has the pattern \"\" but must have \"0x\" and 16 hexadecimal digits for AES"},
        {"04.0012:AES=00000000000000a1", NULL, "has the pattern \"00000000000000a1\" but"},
        {"04.0012:AES=" K1 "0", NULL, "has the pattern \"" K1 "0\" but"},
        {"04.0012:ASYM=" K1, NULL, "32 hexadecimal digits for ASYM"},
        {"04.0012:WK=" K1, NULL, "64 hexadecimal digits for WK"},
        {"04.0012:AES=0x0000000000000000", NULL, "has a pattern of zeros"},
        {"\xff\n:AES=" K1, NULL, "The declaration \"\\377\\n:AES=" K1 "\" names no AP queues"},
        {"04.0012", K1, "must name queues and a key class with a space between, as in \"04.0012 AES\""},
        {"04.0012  AES", K1, "names the key class \" AES\" but"},
        {"04.0012 AES ", K1, "names the key class \"AES \" but"},
        {"04.0012 AES", "a1", "The declaration \"04.0012 AES\" has the pattern \"a1\" but"},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;

        if (cases[i].value == NULL)
            g_assert_null(apmig_declaration_parse(cases[i].text, &error));
        else
            g_assert_null(apmig_declaration_parse_pair(cases[i].text, cases[i].value, &error));
        g_assert_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION);
        assert_says(error->message, cases[i].problem);
        g_assert_true(g_str_has_suffix(error->message, "."));
    }
}

/* @texts: ended by NULL. Returns: "04.0012 AES 0x..., ..." or the sentence of the error. */
static char *
expand(const ApmigApHost *host, const char *const *texts)
{
    g_autoptr(GPtrArray) declarations =
        g_ptr_array_new_with_free_func((GDestroyNotify)apmig_declaration_free);
    const ApmigEvidenceRecord origin = word_of(APMIG_EVIDENCE_ATTESTED, K1, 7);
    g_autoptr(GPtrArray) records = NULL;
    g_autoptr(GError) error = NULL;
    GString *shown = g_string_new(NULL);

    for (; *texts != NULL; texts++)
        g_ptr_array_add(declarations, apmig_declaration_parse(*texts, NULL));
    records = apmig_declarations_expand(declarations, host, NULL, &origin, &error);
    for (guint i = 0; records != NULL && i < records->len; i++) {
        const ApmigEvidenceRecord *record = records->pdata[i];
        g_autofree char *cur = apmig_key_pattern_to_string(&record->registers[APMIG_REGISTER_CUR]);

        g_assert_cmpint(record->evidence, ==, APMIG_EVIDENCE_ATTESTED);
        g_assert_cmpuint(record->uid, ==, 990);
        g_assert_cmpstr(record->source, ==, "tke-export");
        g_assert_cmpint(record->at, ==, 7);
        g_string_append_printf(shown, "%s%02x.%04x %s %s", i > 0 ? ", " : "", record->adapter, record->domain,
                               apmig_key_class_to_string(record->key_class), cur);
    }
    if (error != NULL) {
        g_assert_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION);
        g_string_append(shown, error->message);
    }
    return g_string_free(shown, FALSE);
}

static void
test_expansion(void)
{
    static const struct {
        const char *texts[4];
        const char *result;
    } cases[] = {
        {{NULL}, ""},
        {{"04.0012:AES=" K1}, "04.0012 AES " K1},
        /* every adapter that has such keys, and no accelerator */
        {{"*.0012:AES=" K1}, "04.0012 AES " K1 ", 05.0012 AES " K1 ", 07.0012 AES " K1},
        {{"*.0012:WK=" WK}, "06.0012 WK " WK ", 07.0012 WK " WK},
        {{"04.0012:AES=" K1, "05.0012:AES=" K2, "04.0012:APKA=" K2},
         "04.0012 AES " K1 ", 05.0012 AES " K2 ", 04.0012 APKA " K2},
        /* twice the same is once */
        {{"04.0012:AES=" K1, "04-05.0012:AES=" K1}, "04.0012 AES " K1 ", 05.0012 AES " K1},
        {{"*.0012:AES=" K1, "05.0012:AES=" K2},
         "Two declarations contradict each other: AP queue 05.0012 cannot have both " K1 " and " K2
         " in AES CUR."},
        {{"04.0012:AES=" K1, "04.0099:AES=" K1},
         "The declaration of AES for \"04.0099\" means no AP queue of this host with AES master keys: see "
         "the queues "
         "and modes with lszcrypt."},
        {{"06.0012:AES=" K1},
         "The declaration of AES for \"06.0012\" means no AP queue of this host with AES master "
         "keys: see the queues and modes with lszcrypt."},
    };
    ApmigApHost *host = host_new();
    ApmigApCard *unreadable;

    host_add_card(host, 4, "CEX8C");
    host_add_card(host, 5, "CEX7C");
    host_add_card(host, 6, "CEX8P");
    unreadable = host_add_card(host, 7, "CEX8C");
    unreadable->has_functions = APMIG_UNKNOWN;
    *unreadable->type = '\0';
    host_add_card(host, 8, "CEX7A");
    for (guint adapter = 4; adapter <= 8; adapter++)
        host_add_queue(host, adapter, 0x12, "vfio_ap");
    host_add_queue(host, 4, 0x13, "vfio_ap");
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *result = expand(host, cases[i].texts);

        g_assert_cmpstr(result, ==, cases[i].result);
    }
    apmig_ap_host_free(host);
}

static void
test_few(void)
{
    static const char *const results[] = {"", "a", "a, b", "a, b, c", "a, b, c, d", "a, b, c, d and 1 more"};
    g_autoptr(GPtrArray) items = g_ptr_array_new();

    for (gsize i = 0; i < G_N_ELEMENTS(results); i++) {
        g_autofree char *text = apmig_sentence_few(items, ", ");

        g_assert_cmpstr(text, ==, results[i]);
        g_ptr_array_add(items, (gpointer)(const char *const[]){"a", "b", "c", "d", "e", "f"}[i]);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/evidence/strength", test_strength);
    g_test_add_func("/evidence/keys-are-apart", test_keys_are_apart);
    g_test_add_func("/evidence/contradiction", test_contradiction);
    g_test_add_func("/evidence/attesting", test_attesting);
    g_test_add_func("/evidence/declaring", test_declaring);
    g_test_add_func("/evidence/class-names", test_class_names);
    g_test_add_func("/evidence/unknown-in-words", test_unknown_in_words);
    g_test_add_func("/declaration/forms", test_declaration_forms);
    g_test_add_func("/declaration/refused", test_declarations_refused);
    g_test_add_func("/declaration/expansion", test_expansion);
    g_test_add_func("/sentence/few", test_few);
    return g_test_run();
}
