/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ap/fixture.h"
#include "stamp/stamp.h"

#include <string.h>

#define K1      "0x00000000000000a1"
#define K2      "0x00000000000000a2"
#define K3      "0x00000000000000a3"
#define WK_HALF "0xf9d6ef6c1e0bb9fc1a37ebdd2d4e1a01"
#define WK      WK_HALF "c0ffee00c0ffee00c0ffee00c0ffee00"
#define WK2     WK_HALF "00000000000000000000000000000000"

#define SOURCE "11111111-1111-4111-8111-111111111111"
#define HERE   "22222222-2222-4222-8222-222222222222"
#define OTHER  "33333333-3333-4333-8333-333333333333"

#define SECOND G_USEC_PER_SEC
#define NOW    (1000 * SECOND)

#define AES(new, cur, old) "AES NEW: " new "\nAES CUR: " cur "\nAES OLD: " old "\n"
#define NO_OTHER                                                                                             \
    "APKA NEW: empty -\nAPKA CUR: invalid -\nAPKA OLD: invalid -\n"                                          \
    "ASYM NEW: empty -\nASYM CUR: invalid -\nASYM OLD: invalid -\n"
#define STEADY AES("empty -", "valid " K1, "valid " K2) NO_OTHER
#define NO_KEY AES("empty -", "invalid -", "invalid -") NO_OTHER

static const ApmigStampPolicy strict = {
    .keys_differ = APMIG_STAMP_DENY,
    .keys_unknown = APMIG_STAMP_WARN,
    .missing = APMIG_STAMP_WARN,
    .fresh_seconds = 100,
    .own_host_id = HERE,
};

/* A guest of 04.0012 (CCA), what its source knows of it, and what this host does. */
typedef struct {
    ApmigStamp *stamp;
    ApmigEvidence *source, *here;
} Fixture;

static ApmigApView *
make_view(ApmigApMode mode)
{
    ApmigApView *view = apmig_ap_view_new();
    const ApmigApViewQueue queue = {.adapter = 4, .domain = 0x12, .mode = mode};

    g_array_append_val(view->queues, queue);
    return view;
}

static void
restamp(Fixture *fixture, ApmigApMode mode, ApmigStampLock *lock)
{
    g_clear_pointer(&fixture->stamp, apmig_stamp_free);
    fixture->stamp = apmig_stamp_new(SOURCE, NOW, make_view(mode), fixture->source, lock);
}

static void
read_queue(ApmigEvidence *evidence, const char *text)
{
    ApmigMkvps mkvps = mkvps_of(text);

    apmig_evidence_add_reading(evidence, 4, 0x12, &mkvps, NOW, NULL);
}

static void
set_up(Fixture *fixture, gconstpointer data)
{
    fixture->source = apmig_evidence_new();
    fixture->here = apmig_evidence_new();
    fixture->stamp = NULL;
    read_queue(fixture->source, STEADY);
    read_queue(fixture->here, STEADY);
    restamp(fixture, APMIG_AP_MODE_CCA, NULL);
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    apmig_stamp_free(fixture->stamp);
    apmig_evidence_free(fixture->source);
    apmig_evidence_free(fixture->here);
}

static void
assert_judged(const Fixture *fixture, const ApmigStamp *stamp, const ApmigStampPolicy *policy,
              ApmigStampAnswer answer, const char *sentence)
{
    g_autoptr(ApmigStampVerdict) verdict = apmig_stamp_judge(stamp, fixture->here, NOW, policy);

    g_assert_cmpstr(verdict->sentence, ==, sentence);
    g_assert_cmpstr(apmig_stamp_answer_words[verdict->answer], ==, apmig_stamp_answer_words[answer]);
}

/* --- does it count? ------------------------------------------------------------------------------ */

#define OLD_TIME    "1970-01-01 00:14:59 UTC" /* 899 s */
#define FUTURE_TIME "1970-01-01 00:18:21 UTC" /* 1101 s */

static void
test_what_does_not_count(Fixture *fixture, gconstpointer data)
{
    static const struct {
        const char *host_id, *source_host_id;
        gint64 written_at;
        guint fresh_seconds;
        const char *sentence; /* NULL: it counts */
    } cases[] = {
        {SOURCE, NULL, NOW, 100, NULL},
        {SOURCE, SOURCE, NOW, 100, NULL},
        {SOURCE, NULL, NOW - 100 * SECOND, 100, NULL},
        {SOURCE, NULL, NOW + 100 * SECOND, 100, NULL},
        {SOURCE, NULL, 1, 0, NULL},
        {SOURCE, NULL, 899 * SECOND, 100,
         "The guest's stamp does not count: it was written at " OLD_TIME ", more than 100 s ago."},
        {SOURCE, NULL, 1101 * SECOND, 100,
         "The guest's stamp does not count: it was written at " FUTURE_TIME
         ", which is yet to come; see that the "
         "hosts' clocks agree."},
        {SOURCE, NULL, G_MAXINT64, 100,
         "The guest's stamp does not count: it was written at an unknown time, which is yet to come; see "
         "that the "
         "hosts' clocks agree."},
        {SOURCE, NULL, G_MININT64, G_MAXUINT,
         "The guest's stamp does not count: it was written at an unknown time, more than 4294967295 s ago."},
        {OTHER, SOURCE, NOW, 100,
         "The guest's stamp does not count: it is of host " OTHER ", and the guest comes from " SOURCE "."},
        {HERE, NULL, NOW, 100,
         "The guest's stamp is this host's own, left over from before: its source host wrote none."},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        ApmigStampPolicy policy = strict;

        g_free(fixture->stamp->host_id);
        fixture->stamp->host_id = g_strdup(cases[i].host_id);
        fixture->stamp->written_at = cases[i].written_at;
        policy.source_host_id = cases[i].source_host_id;
        policy.fresh_seconds = cases[i].fresh_seconds;
        for (guint missing = APMIG_STAMP_OK; missing <= APMIG_STAMP_DENY; missing++) {
            policy.missing = (ApmigStampAnswer)missing;
            assert_judged(fixture, fixture->stamp, &policy,
                          cases[i].sentence != NULL ? policy.missing : APMIG_STAMP_OK,
                          cases[i].sentence != NULL ? cases[i].sentence : "");
        }
    }
}

static void
test_missing(Fixture *fixture, gconstpointer data)
{
    ApmigStampPolicy policy = strict;

    policy.missing = APMIG_STAMP_DENY;
    assert_judged(fixture, NULL, &policy, APMIG_STAMP_DENY,
                  "The guest brings no stamp of its source host, so its master keys there are not known.");
}

static void
test_damaged(Fixture *fixture, gconstpointer data)
{
    fixture->stamp->digest[0] = fixture->stamp->digest[0] == '0' ? '1' : '0';
    assert_judged(fixture, fixture->stamp, &strict, APMIG_STAMP_WARN,
                  "The guest's stamp does not count: its digest does not fit what it says.");
    /* the lock does not depend on it */
    fixture->stamp->lock = g_new0(ApmigStampLock, 1);
    fixture->stamp->lock->id = g_strdup("0123456f");
    fixture->stamp->lock->reason = g_strdup("AES rotation");
    fixture->stamp->lock->owner = g_strdup("anna");
    fixture->stamp->lock->since = 900 * SECOND;
    assert_judged(fixture, fixture->stamp, &strict, APMIG_STAMP_DENY,
                  "Migration is locked at the source, host " SOURCE
                  ": lock 0123456f of anna since 1970-01-01 00:15:00 UTC: \"AES rotation\".");
}

/* Whatever the policy is, and whether or not the keys agree. */
static void
test_locked(Fixture *fixture, gconstpointer data)
{
    static const ApmigStampPolicy lenient = {.keys_differ = APMIG_STAMP_WARN};
    ApmigStampLock *lock = g_new0(ApmigStampLock, 1);
    g_autoptr(ApmigStampVerdict) verdict = NULL;

    lock->id = g_strdup("0123456f");
    lock->reason = g_strdup("AES rotation");
    lock->owner = g_strdup("anna");
    restamp(fixture, APMIG_AP_MODE_CCA, lock);
    verdict = apmig_stamp_judge(fixture->stamp, fixture->here, NOW, &lenient);
    g_assert_cmpint(verdict->answer, ==, APMIG_STAMP_DENY);
    assert_says(verdict->sentence, "since an unknown time: \"AES rotation\"");
}

/* What is old or odd of it says nothing of the lock; that it is a lock of our own does. */
static void
test_a_lock_has_no_age(Fixture *fixture, gconstpointer data)
{
    ApmigStampLock *lock = g_new0(ApmigStampLock, 1);
    ApmigStampPolicy policy = strict;

    lock->id = g_strdup("0123456f");
    lock->reason = g_strdup("AES rotation");
    lock->owner = g_strdup("anna");
    lock->since = 900 * SECOND;
    restamp(fixture, APMIG_AP_MODE_CCA, lock);
    fixture->stamp->written_at = 1;
    g_assert_false(apmig_stamp_counts(fixture->stamp, NOW, &policy));
    assert_judged(fixture, fixture->stamp, &policy, APMIG_STAMP_DENY,
                  "Migration is locked at the source, host " SOURCE
                  ": lock 0123456f of anna since 1970-01-01 00:15:00 UTC: \"AES rotation\".");
    policy.own_host_id = SOURCE; /* as of a clone */
    assert_judged(
        fixture, fixture->stamp, &policy, APMIG_STAMP_DENY,
        "Migration is locked at the source, host " SOURCE
        ": lock 0123456f of anna since 1970-01-01 00:15:00 UTC: \"AES rotation\". This host has the same "
        "id, but knows no such lock: another host has it too, or the lock has ended here long ago.");
    policy.own_lock_is_known = TRUE;
    assert_judged(fixture, fixture->stamp, &policy, APMIG_STAMP_WARN,
                  "The guest's stamp is this host's own, left over from before: its source host wrote none.");
}

/* --- the keys ------------------------------------------------------------------------------------ */

#define QUEUE       "AP queue 04.0012: "
#define SIDES(a, b) " is " a " on the source (verified) and " b " on this host (verified)"
#define UNKNOWN     "Whether the master keys of these AP queues agree with the source's is not known: "

static const struct {
    ApmigApMode mode;
    const char *there, *here; /* NULL: passed through, nothing is known */
    ApmigStampAnswer answer;  /* under the policy above */
    const char *sentence;
} keys[] = {
    {APMIG_AP_MODE_CCA, STEADY, STEADY, APMIG_STAMP_OK, ""},
    {APMIG_AP_MODE_CCA, STEADY, AES("empty -", "valid " K3, "valid " K2) NO_OTHER, APMIG_STAMP_DENY,
     "Master keys differ: " QUEUE "AES CUR" SIDES(K1, K3) "; keys of either fail on the other."},
    {APMIG_AP_MODE_CCA, STEADY, AES("empty -", "valid " K3, "valid " K1) NO_OTHER, APMIG_STAMP_DENY,
     "Master keys differ: " QUEUE
     "AES CUR" SIDES(K1, K3) "; keys of the source (verified) work on this host (verified) through OLD "
                             "alone, until its next change."},
    {APMIG_AP_MODE_CCA, STEADY, NO_KEY, APMIG_STAMP_DENY,
     "Master keys differ: " QUEUE "AES CUR" SIDES(K1, "invalid") "; keys of either fail on the other."},
    /* they agree, and will not */
    {APMIG_AP_MODE_CCA, AES("full " K2, "valid " K1, "invalid -") NO_OTHER,
     AES("full " K3, "valid " K1, "invalid -") NO_OTHER, APMIG_STAMP_DENY,
     "Master keys differ: " QUEUE "AES CUR is " K1
     " on the source (verified) and on this host (verified); a change is "
     "pending: NEW" SIDES("full " K2, "full " K3) ", so the keys will differ as soon as these are set."},
    {APMIG_AP_MODE_CCA, AES("partial -", "valid " K1, "valid " K2) NO_OTHER, STEADY, APMIG_STAMP_WARN,
     "Master keys agree for now: " QUEUE "AES CUR is " K1
     " on the source (verified) and on this host (verified); a change is pending: NEW" SIDES("partial",
                                                                                             "empty") "."},
    {APMIG_AP_MODE_EP11, "WK NEW: empty -\nWK CUR: valid " WK "\n",
     "WK NEW: empty -\nWK CUR: valid " WK2 "\n", APMIG_STAMP_WARN,
     "Master keys agree for now: " QUEUE "WK CUR" SIDES(
         WK, WK2) "; that is equal in the first 16 bytes, which the kernel compares, but not after them."},
    /* what is not known is not agreed, and neither are keys that are on neither */
    {APMIG_AP_MODE_CCA, NULL, NULL, APMIG_STAMP_WARN, UNKNOWN "04.0012."},
    {APMIG_AP_MODE_CCA, STEADY, NULL, APMIG_STAMP_WARN, UNKNOWN "04.0012."},
    {APMIG_AP_MODE_CCA, NULL, STEADY, APMIG_STAMP_WARN, UNKNOWN "04.0012."},
    {APMIG_AP_MODE_UNKNOWN, NULL, NULL, APMIG_STAMP_WARN, UNKNOWN "04.0012."},
    {APMIG_AP_MODE_CCA, STEADY, AES("empty -", "valid " K1, "valid " K2), APMIG_STAMP_WARN,
     UNKNOWN "04.0012 (APKA, ASYM)."},
    {APMIG_AP_MODE_CCA, NO_KEY, NO_KEY, APMIG_STAMP_WARN, UNKNOWN "04.0012 (no master key)."},
    {APMIG_AP_MODE_CCA, STEADY, AES("empty -", "valid " K3, "invalid -"), APMIG_STAMP_DENY,
     "Master keys differ: " QUEUE "AES CUR" SIDES(K1, K3) "; keys of either fail on the other. " UNKNOWN
                                                          "04.0012 (APKA, ASYM)."},
    {APMIG_AP_MODE_UNKNOWN, STEADY, STEADY, APMIG_STAMP_OK, ""},
    {APMIG_AP_MODE_ACCELERATOR, NULL, NULL, APMIG_STAMP_OK, ""},
};

static void
test_keys(Fixture *fixture, gconstpointer data)
{
    for (gsize i = 0; i < G_N_ELEMENTS(keys); i++) {
        ApmigStampPolicy lenient = strict;
        gboolean differ = keys[i].answer == APMIG_STAMP_DENY;
        gboolean unknown = g_str_has_prefix(keys[i].sentence, UNKNOWN);

        g_test_message("case %zu", i);
        apmig_evidence_add_reading(fixture->source, 4, 0x12, NULL, NOW, NULL);
        apmig_evidence_add_reading(fixture->here, 4, 0x12, NULL, NOW, NULL);
        if (keys[i].there != NULL)
            read_queue(fixture->source, keys[i].there);
        if (keys[i].here != NULL)
            read_queue(fixture->here, keys[i].here);
        restamp(fixture, keys[i].mode, NULL);
        assert_judged(fixture, fixture->stamp, &strict, keys[i].answer, keys[i].sentence);
        lenient.keys_differ = APMIG_STAMP_OK; /* and still no less than a warning */
        lenient.keys_unknown = APMIG_STAMP_OK;
        assert_judged(fixture, fixture->stamp, &lenient,
                      differ    ? APMIG_STAMP_WARN
                      : unknown ? APMIG_STAMP_OK
                                : keys[i].answer,
                      keys[i].sentence);
    }
}

/* Somebody's word against the card's: CUR is all that is known of it. */
static void
test_declared(Fixture *fixture, gconstpointer data)
{
    ApmigEvidenceRecord record = {4, 0x12, APMIG_KEY_AES, APMIG_EVIDENCE_DECLARED};

    record.at = NOW;
    record.registers[APMIG_REGISTER_CUR].state = APMIG_KEY_STATE_VALID;
    g_assert_true(apmig_key_pattern_parse(K1, 8, &record.registers[APMIG_REGISTER_CUR]));
    apmig_evidence_add_reading(fixture->here, 4, 0x12, NULL, NOW, NULL);
    apmig_evidence_add(fixture->here, &record, NULL);
    assert_judged(fixture, fixture->stamp, &strict, APMIG_STAMP_WARN, UNKNOWN "04.0012 (APKA, ASYM).");
    g_assert_true(apmig_key_pattern_parse(K3, 8, &record.registers[APMIG_REGISTER_CUR]));
    apmig_evidence_add(fixture->here, &record, NULL);
    assert_judged(fixture, fixture->stamp, &strict, APMIG_STAMP_DENY,
                  "Master keys differ: " QUEUE "AES CUR is " K1 " on the source (verified) and " K3
                  " on this host (declared); keys of either fail on the other. " UNKNOWN
                  "04.0012 (APKA, ASYM).");
}

static void
test_no_view(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigStamp) stamp = apmig_stamp_new(SOURCE, NOW, NULL, fixture->source, NULL);

    g_assert_cmpstr(stamp->digest, ==, "");
    assert_judged(fixture, stamp, &strict, APMIG_STAMP_WARN,
                  UNKNOWN "all, for the source does not know which the guest has.");
}

/* --- the digest ---------------------------------------------------------------------------------- */

static void
test_canonical(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigApView) view = make_view(APMIG_AP_MODE_CCA);
    const ApmigApViewQueue more[] = {
        {.adapter = 5, .domain = 0x12, .mode = APMIG_AP_MODE_EP11},
        {.adapter = 0xa, .domain = 0x12, .mode = APMIG_AP_MODE_ACCELERATOR},
        {.adapter = 256, .domain = 0, .mode = APMIG_AP_MODE_EP11},
    };
    ApmigMkvps ep11 = mkvps_of("WK NEW: empty -\nWK CUR: valid " WK "\n");
    g_autofree char *text = NULL;
    g_autofree char *digest = NULL;
    g_autofree char *again = NULL;

    read_queue(fixture->here, AES("full " K2, "valid " K1, "valid " K3) "APKA CUR: invalid -\n");
    apmig_evidence_add_reading(fixture->here, 5, 0x12, &ep11, NOW, NULL);
    g_array_append_vals(view->queues, more, G_N_ELEMENTS(more));
    text = apmig_stamp_canonical_keys(view, fixture->here);
    g_assert_cmpstr(text, ==,
                    "apmigd-keys 1\n04.0012 AES " K1 "\n04.0012 APKA none\n04.0012 ASYM unknown\n"
                    "05.0012 WK " WK_HALF "\n100.0000 WK unknown\n");
    digest = apmig_stamp_digest(view, fixture->here);
    again = g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);
    g_assert_cmpstr(digest, ==, again);
}

/* A stamp that has a digest in place of the keys. */
static void
test_digest_alone(Fixture *fixture, gconstpointer data)
{
    static const char unfit[] =
        UNKNOWN "all, for the source sent a digest alone, and it does not fit this host's.";

    g_clear_pointer(&fixture->stamp->keys, apmig_evidence_free);
    assert_judged(fixture, fixture->stamp, &strict, APMIG_STAMP_OK, "");
    read_queue(fixture->here, AES("empty -", "valid " K3, "valid " K1) NO_OTHER);
    assert_judged(fixture, fixture->stamp, &strict, APMIG_STAMP_WARN, unfit);
    /* two hosts that know nothing, or that have no keys, have the same digest, which is no agreement */
    read_queue(fixture->source, NO_KEY);
    read_queue(fixture->here, NO_KEY);
    restamp(fixture, APMIG_AP_MODE_CCA, NULL);
    g_clear_pointer(&fixture->stamp->keys, apmig_evidence_free);
    assert_judged(fixture, fixture->stamp, &strict, APMIG_STAMP_WARN, unfit);
    apmig_evidence_add_reading(fixture->source, 4, 0x12, NULL, NOW, NULL);
    apmig_evidence_add_reading(fixture->here, 4, 0x12, NULL, NOW, NULL);
    restamp(fixture, APMIG_AP_MODE_CCA, NULL);
    g_clear_pointer(&fixture->stamp->keys, apmig_evidence_free);
    assert_judged(fixture, fixture->stamp, &strict, APMIG_STAMP_WARN, unfit);
}

/* A stamp has the guest's queues and no others. */
static void
test_copies_the_guests_keys(Fixture *fixture, gconstpointer data)
{
    ApmigMkvps mkvps = mkvps_of(STEADY);
    g_autoptr(GPtrArray) list = NULL;

    apmig_evidence_add_reading(fixture->source, 4, 0x13, &mkvps, NOW, NULL);
    restamp(fixture, APMIG_AP_MODE_CCA, NULL);
    list = apmig_evidence_list(fixture->stamp->keys);
    g_assert_cmpuint(list->len, ==, 3);
    for (guint i = 0; i < list->len; i++)
        g_assert_cmpuint(((const ApmigEvidenceRecord *)list->pdata[i])->domain, ==, 0x12);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, test) g_test_add(path, Fixture, NULL, set_up, test, tear_down)
    ADD("/ap-stamp/what-does-not-count", test_what_does_not_count);
    ADD("/ap-stamp/missing", test_missing);
    ADD("/ap-stamp/damaged", test_damaged);
    ADD("/ap-stamp/locked", test_locked);
    ADD("/ap-stamp/locked-long-ago", test_a_lock_has_no_age);
    ADD("/ap-stamp/keys", test_keys);
    ADD("/ap-stamp/declared", test_declared);
    ADD("/ap-stamp/no-view", test_no_view);
    ADD("/ap-stamp/canonical", test_canonical);
    ADD("/ap-stamp/digest-alone", test_digest_alone);
    ADD("/ap-stamp/copies-the-guests-keys", test_copies_the_guests_keys);
#undef ADD
    return g_test_run();
}
