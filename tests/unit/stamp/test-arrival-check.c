/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is found of a guest that would come in: each finding by its code, and that an admission says the same. */
#include "engine/arrival-fixture.h"

#define KEY_A_TO_B                                                                                           \
    "AES NEW: full 0x00000000000000b2\nAES CUR: valid 0x00000000000000a1\nAES OLD: invalid -\n" NO_OTHER
#define KEY_B_AFTER                                                                                          \
    "AES NEW: empty -\nAES CUR: valid 0x00000000000000b2\nAES OLD: valid 0x00000000000000a1\n" NO_OTHER

static void
set_up(Fixture *fixture, gconstpointer data)
{
    arrival_set_up(fixture, data);
    restamp(fixture, STORY_REALTIME, NULL);
    fixture->scope = apmig_scope_new_all();
}

static void
take(Fixture *fixture, const char *id, const char *scope)
{
    take_lock(&fixture->story, id, scope, (ApmigEvent){.take = {.no_wait = TRUE}});
}

static ApmigEvent
arrive(const Fixture *fixture)
{
    return (ApmigEvent){.type = APMIG_EVENT_ADMIT,
                        .now = G_USEC_PER_SEC,
                        .realtime = REALTIME,
                        .caller = 7,
                        .admit = {.uuid = G1,
                                  .name = "g1",
                                  .restore = fixture->restore,
                                  .facts = {fixture->affected,
                                            fixture->affected == APMIG_AFFECTED_YES ? fixture->scope : NULL},
                                  .arrival = fixture->arrival}};
}

/* The answer of an admission; NULL: it is being written. */
static const ApmigAction *
admit(Fixture *fixture)
{
    g_ptr_array_set_size(fixture->story.actions, 0);
    tell(&fixture->story, arrive(fixture));
    for (guint i = 0; i < fixture->story.actions->len; i++) {
        const ApmigAction *action = fixture->story.actions->pdata[i];

        if (action->type == APMIG_ACTION_REPLY_ADMIT)
            return action;
    }
    return NULL;
}

static guint
count_doubts(const Fixture *fixture)
{
    guint n = 0;

    for (guint i = 0; i < fixture->story.actions->len; i++) {
        const ApmigAction *action = fixture->story.actions->pdata[i];

        n += action->type == APMIG_ACTION_LOG && action->entry.log == APMIG_LOG_ADMISSION_DOUBTFUL;
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
    fixture->check = apmig_engine_check_arrival(fixture->story.engine, &event);
    g_assert_cmpint(apmig_findings_severity(fixture->check->findings) == APMIG_SEVERITY_ERROR, ==,
                    fixture->check->refusal != NULL);
    reply = admit(fixture);
    if (fixture->check->refusal) {
        g_assert_nonnull(reply);
        g_assert_false(reply->reply.allowed);
        g_assert_cmpstr(reply->reply.message, ==, fixture->check->refusal);
    } else {
        g_assert_true(!reply || reply->reply.allowed);
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
    fixture->story.policy->keys_differ = APMIG_STAMP_WARN;
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
    restamp(fixture, STORY_REALTIME, NULL);
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

        fixture->story.policy->keys_unknown = cases[i].policy;
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
    fixture->story.policy->stamp_missing = APMIG_STAMP_DENY;
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
    restamp(fixture, STORY_REALTIME, NULL);
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

    fixture->story.policy->max_admissions = 1;
    set_policy(fixture);
    for (guint i = 0; i < 3; i++) {
        g_autoptr(ApmigArrivalCheck) found = apmig_engine_check_arrival(fixture->story.engine, &event);

        g_assert_null(found->refusal);
    }
    migrations = apmig_engine_list_migrations(fixture->story.engine);
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

/* The engine has heard nothing since: the question has its own time. */
static void
test_permit_that_has_just_expired(Fixture *fixture, gconstpointer data)
{
    ApmigEvent event = arrive(fixture);
    ApmigArrivalCheck *found;

    take(fixture, "aaaaaaaa", "all");
    permit(fixture);
    written(&fixture->story, APMIG_ACTION_PERSIST_PERMIT, NULL);
    for (guint i = 0; i < 2; i++) {
        event.now = fixture->story.now + (i == 0 ? 59 : 60) * G_USEC_PER_SEC;
        found = apmig_engine_check_arrival(fixture->story.engine, &event);
        g_assert_cmpint(found->refusal != NULL, ==, i == 1);
        apmig_arrival_check_free(found);
    }
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

    fixture->story.policy->stamp = APMIG_STAMP_OFF;
    set_policy(fixture);
    take(fixture, "bbbbbbbb", "04.*");
    full = apmig_engine_plan_stamp(fixture->story.engine);
    g_assert_cmpint(full->stamp.form, ==, APMIG_STAMP_FULL);
    g_assert_cmpuint(full->stamp.locks->len, ==, 1);
    fixture->story.policy->stamp = APMIG_STAMP_DIGEST;
    set_policy(fixture);
    digest = apmig_engine_plan_stamp(fixture->story.engine);
    g_assert_cmpint(digest->stamp.form, ==, APMIG_STAMP_DIGEST);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, func) g_test_add("/arrival-check/" path, Fixture, NULL, set_up, func, arrival_tear_down)
    ADD("all-well", test_all_well);
    ADD("keys", test_keys);
    ADD("keys-unknown", test_keys_unknown);
    ADD("stamp", test_stamp);
    ADD("locks", test_locks);
    ADD("hardware", test_hardware);
    ADD("dry-run", test_dry_run);
    ADD("permit-that-has-just-expired", test_permit_that_has_just_expired);
    ADD("plan-of-a-stamp", test_plan_of_a_stamp);
#undef ADD
    g_test_add_func("/arrival-check/before-the-locks-are-read", test_before_the_locks_are_read);
    return g_test_run();
}
