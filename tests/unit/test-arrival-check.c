/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is found of a guest that would come in: each finding by its code, and that an admission says the same. */
#include "ap-fixture.h"
#include "engine.h"

#define G1       "c7a5fdbd-edaf-9455-926a-d65c16db1809"
#define MDEV     "aaaaaaaa-1234-9455-926a-d65c16db1809"
#define SOURCE   "11111111-1111-4111-8111-111111111111"
#define HERE     "22222222-2222-4222-8222-222222222222"
#define REALTIME G_GINT64_CONSTANT(1800000000000000)

#define NO_OTHER                                                                                             \
    "APKA NEW: empty -\nAPKA CUR: invalid -\nAPKA OLD: invalid -\n"                                          \
    "ASYM NEW: empty -\nASYM CUR: invalid -\nASYM OLD: invalid -\n"
#define KEY_A "AES NEW: empty -\nAES CUR: valid 0x00000000000000a1\nAES OLD: invalid -\n" NO_OTHER
#define KEY_B "AES NEW: empty -\nAES CUR: valid 0x00000000000000b2\nAES OLD: invalid -\n" NO_OTHER
#define KEY_A_TO_B                                                                                           \
    "AES NEW: full 0x00000000000000b2\nAES CUR: valid 0x00000000000000a1\nAES OLD: invalid -\n" NO_OTHER
#define KEY_B_AFTER                                                                                          \
    "AES NEW: empty -\nAES CUR: valid 0x00000000000000b2\nAES OLD: valid 0x00000000000000a1\n" NO_OTHER

/* A guest with a vfio-ap device that has 04.0012 at its source, with key A, and a host that has the same. */
typedef struct {
    ApmigEngine *engine;
    ApmigPolicy *policy;
    GPtrArray *actions;
    ApmigApHost *host;
    ApmigEvidence *here, *there;
    ApmigStamp *stamp;
    ApmigArrival arrival;
    ApmigScope *all;
    ApmigAffected affected;
    gboolean restore;
    ApmigArrivalCheck *check; /* the last one */
} Fixture;

static void
tell(Fixture *fixture, ApmigEvent event)
{
    event.now = G_USEC_PER_SEC;
    event.realtime = REALTIME;
    apmig_engine_handle(fixture->engine, &event, fixture->actions);
}

static void
know(ApmigEvidence *evidence, const char *text)
{
    ApmigMkvps mkvps = mkvps_of(text);

    apmig_evidence_add_reading(evidence, 4, 0x12, &mkvps, REALTIME - 1, NULL);
}

static void
restamp(Fixture *fixture, gint64 written_at, ApmigStampLock *lock)
{
    apmig_stamp_free(fixture->stamp);
    fixture->stamp = apmig_stamp_new(
        SOURCE, written_at, apmig_ap_view_new_of_device(fixture->host, fixture->host->devices->pdata[0]),
        fixture->there, lock);
    fixture->arrival.stamp = fixture->stamp;
}

static void
set_up(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GPtrArray) none = g_ptr_array_new();

    fixture->policy = apmig_policy_new_default();
    fixture->engine = apmig_engine_new(fixture->policy, "5708");
    fixture->actions = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_action_free);
    fixture->host = host_new();
    host_add_card(fixture->host, 4, "CEX8C");
    host_add_queue(fixture->host, 4, 0x12, "vfio_ap");
    host_add_device(fixture->host, MDEV, "04.0012");
    fixture->host->can_migrate = TRUE;
    fixture->here = apmig_evidence_new();
    fixture->there = apmig_evidence_new();
    know(fixture->here, KEY_A);
    know(fixture->there, KEY_A);
    restamp(fixture, REALTIME, NULL);
    fixture->arrival = (ApmigArrival){.has_device = TRUE,
                                      .device = MDEV,
                                      .stamp = fixture->stamp,
                                      .evidence = fixture->here,
                                      .host = fixture->host,
                                      .host_id = HERE};
    fixture->all = apmig_scope_new_all();
    fixture->affected = APMIG_AFFECTED_YES;
    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_STORE_LOADED, .store_loaded = {none, none}});
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    apmig_arrival_check_free(fixture->check);
    apmig_stamp_free(fixture->stamp);
    apmig_evidence_free(fixture->here);
    apmig_evidence_free(fixture->there);
    apmig_ap_host_free(fixture->host);
    g_ptr_array_unref(fixture->actions);
    apmig_engine_free(fixture->engine);
    apmig_policy_free(fixture->policy);
    apmig_scope_unref(fixture->all);
}

static void
set_policy(Fixture *fixture)
{
    tell(fixture, (ApmigEvent){.type = APMIG_EVENT_POLICY_CHANGED, .policy = fixture->policy});
}

static void
take(Fixture *fixture, const char *id, const char *scope)
{
    g_autoptr(ApmigScope) parsed = scope_of(scope);

    tell(fixture,
         (ApmigEvent){
             .type = APMIG_EVENT_TAKE,
             .take = {.id = id, .scope = parsed, .reason = "AES rotation", .user = "cora", .no_wait = TRUE}});
}

static ApmigEvent
arrive(const Fixture *fixture)
{
    return (ApmigEvent){
        .type = APMIG_EVENT_ADMIT,
        .now = G_USEC_PER_SEC,
        .realtime = REALTIME,
        .admit = {.caller = 7,
                  .uuid = G1,
                  .name = "g1",
                  .restore = fixture->restore,
                  .facts = {fixture->affected, fixture->affected == APMIG_AFFECTED_YES ? fixture->all : NULL},
                  .arrival = fixture->arrival}};
}

/* The answer of an admission; NULL: it is being written. */
static const ApmigAction *
admit(Fixture *fixture)
{
    g_ptr_array_set_size(fixture->actions, 0);
    tell(fixture, arrive(fixture));
    for (guint i = 0; i < fixture->actions->len; i++) {
        const ApmigAction *action = fixture->actions->pdata[i];

        if (action->type == APMIG_ACTION_REPLY_ADMIT)
            return action;
    }
    return NULL;
}

static guint
count_doubts(const Fixture *fixture)
{
    guint n = 0;

    for (guint i = 0; i < fixture->actions->len; i++) {
        const ApmigAction *action = fixture->actions->pdata[i];

        n += action->type == APMIG_ACTION_LOG && action->log == APMIG_LOG_ADMISSION_DOUBTFUL;
    }
    return n;
}

/* Checks, and that an admission which follows comes to the same, in the same words. */
static void
check(Fixture *fixture)
{
    const ApmigEvent event = arrive(fixture);
    const ApmigAction *reply;

    apmig_arrival_check_free(fixture->check);
    fixture->check = apmig_engine_check_arrival(fixture->engine, &event);
    g_assert_cmpint(apmig_findings_severity(fixture->check->findings) == APMIG_SEVERITY_ERROR, ==,
                    fixture->check->refusal != NULL);
    reply = admit(fixture);
    if (fixture->check->refusal) {
        g_assert_nonnull(reply);
        g_assert_false(reply->allowed);
        g_assert_cmpstr(reply->message, ==, fixture->check->refusal);
    } else {
        g_assert_true(!reply || reply->allowed);
        g_assert_cmpuint(count_doubts(fixture), ==, fixture->check->doubts->len);
    }
}

static const ApmigFinding *
find(const Fixture *fixture, const char *subject, const char *code)
{
    for (guint i = 0; i < fixture->check->findings->len; i++) {
        const ApmigFinding *finding = fixture->check->findings->pdata[i];

        if (g_str_equal(finding->subject, subject) && g_str_equal(finding->code, code))
            return finding;
    }
    return NULL;
}

static void
assert_found(const Fixture *fixture, ApmigSeverity severity, const char *subject, const char *code,
             const char *source, const char *destination)
{
    const ApmigFinding *finding = find(fixture, subject, code);

    for (guint i = 0; !finding && i < fixture->check->findings->len; i++) {
        const ApmigFinding *other = fixture->check->findings->pdata[i];

        g_test_message("%s %s: %s, %s", other->subject, other->code, other->source, other->destination);
    }
    g_assert_nonnull(finding);
    g_assert_cmpint(finding->severity, ==, severity);
    g_assert_cmpstr(finding->source, ==, source);
    g_assert_cmpstr(finding->destination, ==, destination);
    /* Whoever reads it knows what to do. */
    g_assert_cmpint(*finding->remedy != '\0', ==, severity != APMIG_SEVERITY_NONE);
}

/* --- the tests ------------------------------------------------------------------------------------ */

static void
test_all_well(Fixture *fixture, gconstpointer data)
{
    check(fixture);
    g_assert_null(fixture->check->refusal);
    g_assert_cmpuint(fixture->check->findings->len, ==, 4);
    assert_found(fixture, APMIG_SEVERITY_NONE, "lock", "not-locked", "", "none");
    assert_found(fixture, APMIG_SEVERITY_NONE, "stamp", "stamp-counts", "written at 2027-01-15 08:00:00 UTC",
                 "");
    assert_found(fixture, APMIG_SEVERITY_NONE, "queue 04.0012", "keys-agree",
                 "AES 0x00000000000000a1, verified", "AES 0x00000000000000a1, verified");
    assert_found(fixture, APMIG_SEVERITY_NONE, "queue 04.0012", "hardware-fits", "CCA, AP type 14",
                 "CCA, AP type 14");
}

static void
test_keys(Fixture *fixture, gconstpointer data)
{
    know(fixture->here, KEY_B);
    check(fixture);
    assert_found(fixture, APMIG_SEVERITY_ERROR, "queue 04.0012", "keys-differ",
                 "AES 0x00000000000000a1, verified", "AES 0x00000000000000b2, verified");
    fixture->policy->keys_differ = APMIG_STAMP_WARN;
    set_policy(fixture);
    check(fixture);
    g_assert_null(fixture->check->refusal);
    assert_found(fixture, APMIG_SEVERITY_WARNING, "queue 04.0012", "keys-differ",
                 "AES 0x00000000000000a1, verified", "AES 0x00000000000000b2, verified");
    know(fixture->here, KEY_B_AFTER);
    check(fixture);
    g_assert_nonnull(find(fixture, "queue 04.0012", "keys-source-behind"));
    know(fixture->here, KEY_A_TO_B);
    check(fixture);
    assert_found(fixture, APMIG_SEVERITY_WARNING, "queue 04.0012", "keys-change-pending",
                 "AES 0x00000000000000a1, verified",
                 "AES 0x00000000000000a1, NEW full 0x00000000000000b2, verified");
    know(fixture->there, KEY_B_AFTER);
    restamp(fixture, REALTIME, NULL);
    know(fixture->here, KEY_A);
    check(fixture);
    g_assert_nonnull(find(fixture, "queue 04.0012", "keys-source-ahead"));
}

static void
test_keys_unknown(Fixture *fixture, gconstpointer data)
{
    static const struct {
        ApmigStampAnswer policy;
        ApmigSeverity severity;
    } cases[] = {
        {APMIG_STAMP_OK, APMIG_SEVERITY_NONE},
        {APMIG_STAMP_WARN, APMIG_SEVERITY_WARNING},
        {APMIG_STAMP_DENY, APMIG_SEVERITY_ERROR},
    };

    fixture->arrival.evidence = NULL;
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        const ApmigFinding *finding;

        fixture->policy->keys_unknown = cases[i].policy;
        set_policy(fixture);
        check(fixture);
        finding = find(fixture, "queue 04.0012", "keys-unknown");
        g_assert_nonnull(finding);
        g_assert_cmpint(finding->severity, ==, cases[i].severity);
        g_assert_cmpstr(finding->source, ==, "known");
        g_assert_cmpstr(finding->destination, ==, "unknown: AES, APKA, ASYM");
    }
}

static void
test_stamp(Fixture *fixture, gconstpointer data)
{
    fixture->policy->stamp_missing = APMIG_STAMP_DENY;
    set_policy(fixture);
    fixture->arrival.host_id = SOURCE;
    check(fixture);
    assert_found(fixture, APMIG_SEVERITY_ERROR, "stamp", "stamp-own", "written at 2027-01-15 08:00:00 UTC",
                 "");
    fixture->arrival.host_id = HERE;
    restamp(fixture, 1, NULL);
    check(fixture);
    assert_found(fixture, APMIG_SEVERITY_ERROR, "stamp", "stamp-old", "written at 1970-01-01 00:00:00 UTC",
                 "");
    fixture->arrival.stamp = NULL;
    check(fixture);
    assert_found(fixture, APMIG_SEVERITY_ERROR, "stamp", "stamp-missing", "none", "");
    g_assert_nonnull(find(fixture, "host", "hardware-not-compared"));
    fixture->arrival.stamp_problem = "<queue> has no at";
    check(fixture);
    assert_found(fixture, APMIG_SEVERITY_ERROR, "stamp", "stamp-unreadable", "<queue> has no at", "");
    fixture->restore = TRUE; /* which comes back without one */
    check(fixture);
    g_assert_null(fixture->check->refusal);
}

static void
test_locks(Fixture *fixture, gconstpointer data)
{
    ApmigStampLock *lock = g_new0(ApmigStampLock, 1);

    lock->id = g_strdup("0123456f");
    lock->owner = g_strdup("anna");
    lock->reason = g_strdup("APKA rotation");
    restamp(fixture, 1, lock);
    check(fixture);
    assert_found(fixture, APMIG_SEVERITY_ERROR, "lock 0123456f", "locked-at-source",
                 "of anna: \"APKA rotation\"", "");
    assert_says(fixture->check->refusal, find(fixture, "lock 0123456f", "locked-at-source")->remedy);
    take(fixture, "bbbbbbbb", "04.*");
    take(fixture, "cccccccc", "05.*");
    check(fixture);
    assert_says(fixture->check->refusal, "lock bbbbbbbb");
    assert_found(fixture, APMIG_SEVERITY_ERROR, "lock bbbbbbbb", "locked-at-destination", "",
                 "of cora: \"AES rotation\"");
    g_assert_nonnull(find(fixture, "lock 0123456f", "locked-at-source"));
    g_assert_nonnull(
        find(fixture, "lock cccccccc", "locked-at-destination")); /* so old a stamp tells no queues */
    restamp(fixture, REALTIME, NULL);
    check(fixture);
    g_assert_null(find(fixture, "lock cccccccc", "locked-at-destination"));
}

static void
test_hardware(Fixture *fixture, gconstpointer data)
{
    ApmigApHost *other = host_new();

    host_add_card(other, 4, "CEX8P");
    host_add_queue(other, 4, 0x12, "cex4queue");
    other->can_migrate = FALSE;
    fixture->arrival.host = other;
    check(fixture);
    assert_found(fixture, APMIG_SEVERITY_ERROR, "device", "device-absent", MDEV, "none of that UUID");
    assert_found(fixture, APMIG_SEVERITY_ERROR, "queue 04.0012", "queue-not-vfio-ap", "vfio_ap", "cex4queue");
    assert_found(fixture, APMIG_SEVERITY_ERROR, "queue 04.0012", "mode", "CCA", "EP11");
    assert_found(fixture, APMIG_SEVERITY_WARNING, "host", "not-migratable", "yes", "not announced");
    g_assert_null(find(fixture, "queue 04.0012", "hardware-fits"));
    g_assert_nonnull(find(fixture, "queue 04.0012", "keys-agree"));
    fixture->arrival.host = NULL;
    check(fixture);
    g_assert_null(fixture->check->refusal);
    apmig_ap_host_free(other);
}

static void
test_dry_run(Fixture *fixture, gconstpointer data)
{
    const ApmigEvent event = arrive(fixture);
    g_autoptr(GPtrArray) migrations = NULL;

    fixture->policy->max_admissions = 1;
    set_policy(fixture);
    for (guint i = 0; i < 3; i++) {
        g_autoptr(ApmigArrivalCheck) found = apmig_engine_check_arrival(fixture->engine, &event);

        g_assert_null(found->refusal);
    }
    migrations = apmig_engine_list_migrations(fixture->engine);
    g_assert_cmpuint(migrations->len, ==, 0);
    check(fixture);
    check(fixture); /* now one is open */
    assert_found(fixture, APMIG_SEVERITY_ERROR, "host", "admissions-full", "", "max-admissions are open");
    fixture->affected = APMIG_AFFECTED_NO;
    take(fixture, "bbbbbbbb", "all");
    check(fixture);
    g_assert_null(fixture->check->refusal);
    g_assert_cmpuint(fixture->check->findings->len, ==, 1);
    g_assert_nonnull(find(fixture, "guest", "not-affected"));
}

static void
test_before_the_locks_are_read(void)
{
    g_autoptr(ApmigPolicy) policy = apmig_policy_new_default();
    g_autoptr(ApmigEngine) engine = apmig_engine_new(policy, "5708");
    const ApmigEvent event = {.type = APMIG_EVENT_ADMIT, .admit = {.uuid = G1, .name = "g1"}};
    g_autoptr(ApmigArrivalCheck) found = apmig_engine_check_arrival(engine, &event);

    assert_says(found->refusal, "has not read its locks yet");
}

/* The stamp that a guest would get now, whatever the policy has written. */
static void
test_plan_of_a_stamp(Fixture *fixture, gconstpointer data)
{
    g_autoptr(ApmigAction) full = NULL;
    g_autoptr(ApmigAction) digest = NULL;

    fixture->policy->stamp = APMIG_STAMP_OFF;
    set_policy(fixture);
    take(fixture, "bbbbbbbb", "04.*");
    full = apmig_engine_plan_stamp(fixture->engine);
    g_assert_cmpint(full->form, ==, APMIG_STAMP_FULL);
    g_assert_cmpuint(full->locks->len, ==, 1);
    fixture->policy->stamp = APMIG_STAMP_DIGEST;
    set_policy(fixture);
    digest = apmig_engine_plan_stamp(fixture->engine);
    g_assert_cmpint(digest->form, ==, APMIG_STAMP_DIGEST);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, func) g_test_add("/arrival-check/" path, Fixture, NULL, set_up, func, tear_down)
    ADD("all-well", test_all_well);
    ADD("keys", test_keys);
    ADD("keys-unknown", test_keys_unknown);
    ADD("stamp", test_stamp);
    ADD("locks", test_locks);
    ADD("hardware", test_hardware);
    ADD("dry-run", test_dry_run);
    ADD("plan-of-a-stamp", test_plan_of_a_stamp);
#undef ADD
    g_test_add_func("/arrival-check/before-the-locks-are-read", test_before_the_locks_are_read);
    return g_test_run();
}
