/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ap/fixture.h"
#include "keys/release-check.h"

#define K1   "0x00000000000000a1"
#define K2   "0x00000000000000a2"
#define K3   "0x00000000000000a3"
#define ASYM "0x101112131415161718191a1b1c1d1e1f"
#define W1   "0xf9d6ef6c1e0bb9fc1a37ebdd2d4e1a01c0ffee00c0ffee00c0ffee00c0ffee00"
#define W2   "0xa5107b2e77441908e1f0aa3bd2c954020badcafe0badcafe0badcafe0badcafe"

#define AES(new, cur, old) "AES NEW: " new "\nAES CUR: " cur "\nAES OLD: " old "\n"
#define NO_OTHER                                                                                             \
    "APKA NEW: empty -\nAPKA CUR: invalid -\nAPKA OLD: invalid -\n"                                          \
    "ASYM NEW: empty -\nASYM CUR: invalid -\nASYM OLD: invalid -\n"
#define STEADY       AES("empty -", "valid " K1, "valid " K2) NO_OTHER
#define WK(new, cur) "WK CUR: " cur "\nWK NEW: " new "\n"
#define WK_STEADY    WK("empty -", "valid " W1)
#define NO_SYM       "the SYM (DES) master key of any CCA queue (no host can)"
#define SET_OR_CLEAR "; set the new keys on every adapter, or clear NEW, and release the lock again."
#define LOAD_THE_SAME                                                                                        \
    "; load and set the same keys on every adapter of the domain and release the lock again, or force "
#define MEANT_TO_DIFFER "the release where they are meant to differ."

typedef struct {
    ApmigApHost *host;
    GPtrArray *readings;
    ApmigEvidence *evidence;
} Fixture;

/* Adapters 2 and 3: CCA, 5: EP11, a: accelerator; domain 4 of the host, 5 of guests. */
static void
set_up(Fixture *fixture, gconstpointer data)
{
    static const char *const types[] = {[2] = "CEX8C", [3] = "CEX8C", [5] = "CEX8P", [0xa] = "CEX7A"};

    fixture->host = host_new();
    fixture->readings = g_ptr_array_new_with_free_func(g_free);
    fixture->evidence = apmig_evidence_new();
    for (guint i = 0; i < G_N_ELEMENTS(types); i++) {
        if (types[i] == NULL)
            continue;
        host_add_card(fixture->host, i, types[i]);
        host_add_queue(fixture->host, i, 4, "cex4queue")->online = APMIG_YES;
        host_add_queue(fixture->host, i, 5, "vfio_ap");
    }
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    apmig_ap_host_free(fixture->host);
    g_ptr_array_unref(fixture->readings);
    apmig_evidence_free(fixture->evidence);
}

static void
read_queue(Fixture *fixture, guint adapter, guint domain, const char *text)
{
    ApmigKeyReading *reading = g_new0(ApmigKeyReading, 1);

    reading->adapter = adapter;
    reading->domain = domain;
    reading->mkvps = mkvps_of(text);
    g_ptr_array_add(fixture->readings, reading);
}

static ApmigReleaseCheck *
check(const Fixture *fixture, const char *scope)
{
    g_autoptr(ApmigScope) parsed = scope_of(scope);
    ApmigReleaseCheck *result =
        apmig_release_check(parsed, fixture->host, fixture->readings, fixture->evidence);

    g_assert_cmpint(result->in_step, ==, *result->message == '\0');
    return result;
}

/* --- the decision -------------------------------------------------------------------------------- */

/* What 02.0004, 03.0004 and 05.0004 tell, and what comes of it for the lock of @scope. */
static const struct {
    const char *cca, *other_cca, *ep11;
    const char *scope;
    const char *message; /* "": in step */
    ApmigError code;
} cases[] = {
    {STEADY, STEADY, WK_STEADY, "all", ""},
    {NULL, NULL, NULL, "all", ""},
    /* a change is loaded, and not set */
    {AES("partial -", "valid " K1, "valid " K2) NO_OTHER, STEADY, WK_STEADY, "*.0004",
     "A key change is unfinished: AES NEW is partial in AP queue 02.0004" SET_OR_CLEAR,
     APMIG_ERROR_KEY_CHANGE_UNFINISHED},
    {STEADY, AES("full " K3, "valid " K1, "valid " K2) NO_OTHER, WK("uncommitted " W2, "valid " W1), "all",
     "A key change is unfinished: AES NEW is full " K3 " in AP queue 03.0004, WK NEW is uncommitted " W2
     " in AP queue 05.0004" SET_OR_CLEAR,
     APMIG_ERROR_KEY_CHANGE_UNFINISHED},
    {STEADY, STEADY, WK("committed " W2, "valid " W1), "05.0004",
     "A key change is unfinished: WK NEW is committed " W2 " in AP queue 05.0004" SET_OR_CLEAR,
     APMIG_ERROR_KEY_CHANGE_UNFINISHED},
    /* set on one and loaded on the other: unfinished before it is different */
    {AES("empty -", "valid " K3, "valid " K1) NO_OTHER, AES("full " K3, "valid " K1, "valid " K2) NO_OTHER,
     NULL, "all", "A key change is unfinished: AES NEW is full " K3 " in AP queue 03.0004" SET_OR_CLEAR,
     APMIG_ERROR_KEY_CHANGE_UNFINISHED},
    /* of another lock's queues */
    {AES("full " K3, "valid " K1, "valid " K2) NO_OTHER, STEADY, WK_STEADY, "05.0004,*.0005", ""},
    /* a key that is missing */
    {AES("empty -", "invalid -", "invalid -") NO_OTHER, NULL, NULL, "all",
     "The master keys are not in step: CUR is not valid for any key in AP queue 02.0004" LOAD_THE_SAME
         MEANT_TO_DIFFER,
     APMIG_ERROR_KEYS_DIFFER},
    {NULL, NULL, WK("empty -", "invalid -"), "all",
     "The master keys are not in step: CUR is not valid for any key in AP queue 05.0004" LOAD_THE_SAME
         MEANT_TO_DIFFER,
     APMIG_ERROR_KEYS_DIFFER},
    {AES("empty -", "invalid -", "valid " K1) "APKA NEW: empty -\nAPKA CUR: valid " K1 "\n", NULL, NULL,
     "all",
     "The master keys are not in step: AES CUR is invalid in AP queue 02.0004, although OLD has a "
     "key" LOAD_THE_SAME MEANT_TO_DIFFER,
     APMIG_ERROR_KEYS_DIFFER},
    /* adapters of one domain that disagree */
    {STEADY, AES("empty -", "valid " K3, "valid " K1) NO_OTHER, WK_STEADY, "all",
     "The master keys are not in step: AES CUR is " K1 " in AP queue 02.0004 but " K3
     " in 03.0004" LOAD_THE_SAME MEANT_TO_DIFFER,
     APMIG_ERROR_KEYS_DIFFER},
    {STEADY, STEADY "ASYM CUR: valid " ASYM "\n", NULL, "all", ""}, /* a register told twice is not known */
    {AES("empty -", "valid " K1, "invalid -") "ASYM NEW: empty -\nASYM CUR: invalid -\n",
     AES("empty -", "valid " K1, "invalid -") "ASYM NEW: empty -\nASYM CUR: valid " ASYM "\n", NULL, "all",
     "The master keys are not in step: ASYM CUR is " ASYM
     " in AP queue 03.0004 but invalid in 02.0004" LOAD_THE_SAME MEANT_TO_DIFFER,
     APMIG_ERROR_KEYS_DIFFER},
    /* whichever of them is the lock's */
    {STEADY, AES("empty -", "valid " K3, "valid " K1) NO_OTHER, NULL, "03.0004",
     "The master keys are not in step: AES CUR is " K3 " in AP queue 03.0004 but " K1
     " in 02.0004" LOAD_THE_SAME MEANT_TO_DIFFER,
     APMIG_ERROR_KEYS_DIFFER},
    {STEADY, AES("empty -", "valid " K3, "valid " K1) NO_OTHER, WK_STEADY, "05.0004", ""},
    /* what is not known is no difference */
    {STEADY, "AES NEW: - -\nAES CUR: - -\nAES OLD: - -\n", NULL, "all", ""},
    {STEADY, AES("empty -", "valid -", "invalid -"), NULL, "all", ""},
};

static void
test_decision(Fixture *fixture, gconstpointer data)
{
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        const char *const texts[] = {[2] = cases[i].cca, [3] = cases[i].other_cca, [5] = cases[i].ep11};
        g_autoptr(ApmigReleaseCheck) result = NULL;

        g_ptr_array_set_size(fixture->readings, 0);
        for (guint adapter = 0; adapter < G_N_ELEMENTS(texts); adapter++)
            if (texts[adapter] != NULL)
                read_queue(fixture, adapter, 4, texts[adapter]);
        result = check(fixture, cases[i].scope);
        g_test_message("case %zu", i);
        g_assert_cmpstr(result->message, ==, cases[i].message);
        if (!result->in_step)
            g_assert_cmpint(result->code, ==, cases[i].code);
    }
}

/* The same domain number on the same adapters: other domains are other keys. */
static void
test_domains_are_apart(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigReleaseCheck) result = NULL;

    read_queue(fixture, 2, 4, STEADY);
    read_queue(fixture, 3, 7, AES("empty -", "valid " K3, "valid " K1) NO_OTHER);
    result = check(fixture, "all");
    g_assert_true(result->in_step);
}

static void
test_many(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigReleaseCheck) result = NULL;

    for (guint domain = 0; domain < 85; domain++)
        read_queue(fixture, 2, domain, AES("full " K3, "valid " K1, "valid " K2) NO_OTHER);
    result = check(fixture, "all");
    assert_says(result->message, "in AP queue 02.0000, AES NEW is full");
    assert_says(result->message, "in AP queue 02.0003 and 81 more; set the new keys");
}

/* --- what nobody saw ----------------------------------------------------------------------------- */

static void
test_unverified(Fixture *fixture, gconstpointer data)
{
    const ApmigEvidenceRecord told[] = {
        {2,
         5,
         APMIG_KEY_AES,
         APMIG_EVIDENCE_DECLARED,
         {[APMIG_REGISTER_CUR] = {APMIG_KEY_STATE_VALID, {1}, 8}}},
        {5,
         5,
         APMIG_KEY_WK,
         APMIG_EVIDENCE_ATTESTED,
         {[APMIG_REGISTER_CUR] = {APMIG_KEY_STATE_VALID, {1}, 32}}},
    };
    g_autoptr(ApmigReleaseCheck) seen = NULL;
    g_autoptr(ApmigReleaseCheck) guests = NULL;
    g_autoptr(ApmigReleaseCheck) words = NULL;
    g_autoptr(ApmigReleaseCheck) partly = NULL;
    g_autoptr(ApmigReleaseCheck) ep11 = NULL;
    g_autoptr(ApmigReleaseCheck) nothing = NULL;

    read_queue(fixture, 2, 4, STEADY);
    read_queue(fixture, 3, 4,
               "AES NEW: - -\nAES CUR: valid " K1 "\nAPKA NEW: empty -\nAPKA CUR: invalid -\n");
    read_queue(fixture, 5, 4, WK_STEADY);
    seen = check(fixture, "02.0004");
    g_assert_cmpstr(seen->unverified, ==, "Not verified: " NO_SYM ".");
    partly = check(fixture, "*.0004");
    g_assert_cmpstr(
        partly->unverified, ==,
        "Not verified: AP queues 03.0004 (AES, ASYM) (each gave no answer about its master keys: look at "
        "it with lszcrypt, or try again); " NO_SYM ".");
    guests = check(fixture, "*.0005");
    g_assert_true(guests->in_step);
    g_assert_cmpstr(
        guests->unverified, ==,
        "Not verified: AP queues 02.0005, 03.0005, 05.0005 (each is set aside for guests (driver vfio_ap), "
        "so this host cannot see its master keys, which is normal: look them up on the TKE workstation or "
        "in the guest, and declare them); " NO_SYM ".");
    for (gsize i = 0; i < G_N_ELEMENTS(told); i++)
        apmig_evidence_add(fixture->evidence, &told[i], NULL);
    words = check(fixture, "*.0005");
    assert_says(words->unverified,
                "Not verified: AP queues 02.0005 (APKA, ASYM), 03.0005 (each is set aside");
    assert_says(words->unverified,
                "; AP queues 02.0005 (AES), 05.0005 (declared or attested, not read from the card); ");
    ep11 = check(fixture, "05.0004");
    g_assert_cmpstr(ep11->unverified, ==, "");
    nothing = check(fixture, "0a.*,77.*");
    g_assert_cmpstr(nothing->unverified, ==, "");
}

/* What a queue tells says which keys it has, where its card does not. */
static void
test_unknown_mode(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigReleaseCheck) seen = NULL;
    g_autoptr(ApmigReleaseCheck) unseen = NULL;

    for (guint i = 0; i < fixture->host->cards->len; i++) {
        ApmigApCard *card = fixture->host->cards->pdata[i];

        card->has_functions = APMIG_UNKNOWN;
        *card->type = '\0';
    }
    read_queue(fixture, 2, 4, STEADY);
    read_queue(fixture, 5, 4, WK_STEADY);
    seen = check(fixture, "02.0004,05.0004");
    g_assert_cmpstr(seen->unverified, ==, "Not verified: " NO_SYM ".");
    unseen = check(fixture, "03.0004");
    assert_says(unseen->unverified, "Not verified: AP queues 03.0004 (each gave no answer");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, test) g_test_add(path, Fixture, NULL, set_up, test, tear_down)
    ADD("/release-check/decision", test_decision);
    ADD("/release-check/domains-are-apart", test_domains_are_apart);
    ADD("/release-check/many", test_many);
    ADD("/release-check/unverified", test_unverified);
    ADD("/release-check/unknown-mode", test_unknown_mode);
#undef ADD
    return g_test_run();
}
