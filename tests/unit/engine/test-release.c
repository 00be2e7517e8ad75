/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The release of a lock that was held, as the engine has it: when the cards are asked, and what comes of each answer.
 */
#include "ap/fixture.h"
#include "engine/fixture.h"

#define G1   "11111111-1111-4111-8111-111111111111"
#define LOCK "aaaaaaaa"

#define SECOND       ((gint64)G_USEC_PER_SEC)
#define AES(n, c)    "AES NEW: " n "\nAES CUR: " c "\nAES OLD: invalid -\n"
#define STEADY       AES("empty -", "valid 0x00000000000000a1")
#define LOADED       AES("full 0x00000000000000a2", "valid 0x00000000000000a1")
#define CHANGED      AES("empty -", "valid 0x00000000000000a2")
#define NOT_VERIFIED "Not verified: "

static void
release(Story *story, ApmigCaller caller, gboolean force)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_RELEASE, .caller = caller, .release = {LOCK, force}});
}

/* Returns: the number of the reading that was asked for. */
static guint64
expect_reading(Story *story)
{
    g_autoptr(ApmigAction) action = expect(story, APMIG_ACTION_READ_KEYS);

    g_assert_cmpstr(action->reading.lock_id, ==, LOCK);
    g_assert_cmpstr(apmig_scope_to_string(action->reading.scope), ==, "*.0012");
    return action->op;
}

/* 04.0012 and 05.0012, of the host's driver. */
static ApmigApHost *
make_host(void)
{
    ApmigApHost *host = host_new();

    for (guint adapter = 4; adapter <= 5; adapter++) {
        host_add_card(host, adapter, "CEX8C");
        host_add_queue(host, adapter, 0x12, "cex4queue")->online = APMIG_YES;
    }
    return host;
}

/* @first, @second: (nullable): what the queues say; NULL: they cannot be read */
static void
answer(Story *story, guint64 op, const char *first, const char *second)
{
    g_autoptr(ApmigApHost) host = make_host();
    g_autoptr(ApmigEvidence) evidence = apmig_evidence_new();
    g_autoptr(GPtrArray) readings = g_ptr_array_new_with_free_func(g_free);
    const char *const texts[] = {first, second};

    for (guint i = 0; i < G_N_ELEMENTS(texts); i++) {
        ApmigKeyReading *reading = texts[i] ? g_new0(ApmigKeyReading, 1) : NULL;

        if (!reading)
            continue;
        reading->adapter = 4 + i;
        reading->domain = 0x12;
        reading->mkvps = mkvps_of(texts[i]);
        g_ptr_array_add(readings, reading);
    }
    tell(story,
         (ApmigEvent){.type = APMIG_EVENT_KEYS_READ, .keys_read = {op, NULL, host, readings, evidence}});
}

/* That there is no AP bus. */
static void
answer_without_cards(Story *story, guint64 op)
{
    g_autoptr(ApmigApHost) host = make_host();
    g_autoptr(ApmigEvidence) evidence = apmig_evidence_new();
    g_autoptr(GPtrArray) none = g_ptr_array_new();

    host->present = FALSE;
    tell(story, (ApmigEvent){.type = APMIG_EVENT_KEYS_READ, .keys_read = {op, NULL, host, none, evidence}});
}

static void
expect_released(Story *story, ApmigCaller caller)
{
    g_autoptr(ApmigAction) reply = expect(story, APMIG_ACTION_REPLY_RELEASED);

    g_assert_cmpuint(reply->reply.caller, ==, caller);
}

static void
list(Story *story, gboolean with_guest)
{
    const ApmigGuestName guest = {G1, "g1"};

    g_assert_true(answer_list(story, &guest, with_guest));
}

/* A lock of *.0012 that was held before a restart, and the hypervisor in view. */
static void
load_held(Story *story, ApmigLockOrigin origin)
{
    g_autoptr(ApmigScope) scope = scope_of("*.0012");
    ApmigLockRecord record = {.id = (char *)LOCK,
                              .scope = scope,
                              .reason = (char *)"AES rotation",
                              .change_id = (char *)"",
                              .origin = origin,
                              .owner_uid = 1000,
                              .owner_name = (char *)"cora",
                              .requested_at = 4,
                              .held_at = 5};

    load(story, &record, NULL);
    tell(story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
}

/* The same, held again. */
static void
begin_held(Story *story)
{
    begin(story);
    load_held(story, APMIG_LOCK_BY_REQUEST);
    list(story, FALSE);
    expect_state(story, LOCK, "held");
    g_ptr_array_set_size(story->actions, 0);
}

/* --- answers ------------------------------------------------------------------------------------- */

static void
test_answers(void)
{
    static const struct {
        const char *first, *second;
        const char *refused; /* NULL: it is released */
        ApmigError code;
        const char *unverified;
    } cases[] = {
        {STEADY, STEADY, NULL, 0, NOT_VERIFIED "AP queues 04.0012 (APKA, ASYM), 05.0012 (APKA, ASYM)"},
        {STEADY, NULL, NULL, 0, "05.0012 ("},
        {NULL, NULL, NULL, 0, NOT_VERIFIED "AP queues 04.0012, 05.0012"},
        {STEADY, LOADED, "AES NEW is full 0x00000000000000a2 in AP queue 05.0012",
         APMIG_ERROR_KEY_CHANGE_UNFINISHED, NOT_VERIFIED},
        {LOADED, NULL, "AP queue 04.0012", APMIG_ERROR_KEY_CHANGE_UNFINISHED, "05.0012 ("},
        {STEADY, CHANGED,
         "AES CUR is 0x00000000000000a1 in AP queue 04.0012 but 0x00000000000000a2 in 05.0012",
         APMIG_ERROR_KEYS_DIFFER, NOT_VERIFIED},
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        const ApmigLock *lock;
        Story story;

        begin_held(&story);
        lock = apmig_engine_lookup_lock(story.engine, LOCK);
        g_assert_cmpstr(lock->unverified, ==, "");
        release(&story, 8, FALSE);
        expect_state(&story, LOCK, "verifying");
        answer(&story, expect_reading(&story), cases[i].first, cases[i].second);
        assert_says(lock->unverified, cases[i].unverified);
        if (cases[i].refused) {
            expect_state(&story, LOCK, "held");
            expect_none(&story, APMIG_ACTION_REMOVE_LOCK);
            expect_error(&story, 8, cases[i].code, cases[i].refused);
            expect_log(&story, APMIG_LOG_RELEASE_REFUSED, cases[i].refused);
            g_assert_null(lock->result);
        } else {
            expect_state(&story, LOCK, "verifying");
            expect_none(&story, APMIG_ACTION_REPLY_RELEASED);
            written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
            expect_released(&story, 8);
            expect_log(&story, APMIG_LOG_LOCK_ENDED, lock->unverified);
            assert_says(lock->message, lock->unverified);
        }
        end(&story);
    }
}

/* Neither what cannot be read nor who does not answer keeps a lock, and neither is passed over in silence. */
static void
test_no_answer(void)
{
    Story story;

    begin_held(&story);
    release(&story, 8, FALSE);
    g_assert_cmpint(apmig_engine_next_deadline(story.engine), <=, story.now + 10 * SECOND);
    pass(&story, 10 * SECOND - 1);
    expect_none(&story, APMIG_ACTION_REMOVE_LOCK);
    pass(&story, 1);
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    expect_released(&story, 8);
    expect_log(&story, APMIG_LOG_LOCK_ENDED, NOT_VERIFIED "the cards did not answer in time");
    end(&story);

    begin_held(&story);
    release(&story, 8, FALSE);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_KEYS_READ,
                              .keys_read = {expect_reading(&story), "/sys/bus/ap: Permission denied"}});
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    expect_log(&story, APMIG_LOG_LOCK_ENDED,
               NOT_VERIFIED "the keys could not be read: /sys/bus/ap: Permission denied.");
    end(&story);

    begin_held(&story);
    release(&story, 8, FALSE);
    answer_without_cards(&story, expect_reading(&story));
    g_assert_cmpstr(apmig_engine_lookup_lock(story.engine, LOCK)->unverified, ==, "");
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    expect_log(&story, APMIG_LOG_LOCK_ENDED, "there is no AP bus on this host");
    end(&story);
}

static void
test_cards_are_not_asked(void)
{
    Story story;

    begin_held(&story);
    release(&story, 8, TRUE);
    expect_none(&story, APMIG_ACTION_READ_KEYS);
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    expect_released(&story, 8);
    expect_log(&story, APMIG_LOG_LOCK_ENDED, "released by force. " NOT_VERIFIED);
    end(&story);

    begin_held(&story);
    story.policy->on_release = APMIG_ON_RELEASE_TRUST;
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_POLICY_CHANGED, .policy = story.policy});
    release(&story, 8, FALSE);
    expect_none(&story, APMIG_ACTION_READ_KEYS);
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    expect_log(&story, APMIG_LOG_LOCK_ENDED, NOT_VERIFIED "the policy (on-release)");
    end(&story);
}

/* --- while it is being verified ------------------------------------------------------------------ */

static void
test_others_join(void)
{
    Story story;
    guint64 op;

    begin_held(&story);
    release(&story, 8, FALSE);
    op = expect_reading(&story);
    release(&story, 9, FALSE);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_CALLER_GONE, .caller = 8});
    expect_none(&story, APMIG_ACTION_READ_KEYS);
    answer(&story, op, STEADY, CHANGED);
    expect_error(&story, 8, APMIG_ERROR_KEYS_DIFFER, "04.0012");
    expect_error(&story, 9, APMIG_ERROR_KEYS_DIFFER, "04.0012");
    release(&story, 10, FALSE);
    answer(&story, expect_reading(&story), STEADY, STEADY);
    release(&story, 11, FALSE);
    expect_none(&story, APMIG_ACTION_READ_KEYS);
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    expect_released(&story, 10);
    expect_released(&story, 11);
    expect_none(&story, APMIG_ACTION_REPLY_ERROR);
    end(&story);
}

static void
test_force_overrides(void)
{
    Story story;
    guint64 op;

    begin_held(&story);
    release(&story, 8, FALSE);
    op = expect_reading(&story);
    release(&story, 9, TRUE);
    answer(&story, op, STEADY, LOADED);
    expect_none(&story, APMIG_ACTION_REPLY_ERROR);
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    expect_released(&story, 8);
    expect_released(&story, 9);
    end(&story);
}

static void
test_answer_of_an_earlier_reading(void)
{
    Story story;
    guint64 early;

    begin_held(&story);
    release(&story, 8, FALSE);
    early = expect_reading(&story);
    pass(&story, 10 * SECOND);
    written(&story, APMIG_ACTION_REMOVE_LOCK, "Read-only file system");
    expect_error(&story, 8, APMIG_ERROR_STATE_FAILURE, "Read-only");
    answer(&story, early, STEADY, STEADY);
    expect_none(&story, APMIG_ACTION_REMOVE_LOCK);
    release(&story, 9, FALSE);
    answer(&story, early, STEADY, STEADY);
    expect_state(&story, LOCK, "verifying");
    answer(&story, expect_reading(&story), STEADY, LOADED);
    expect_error(&story, 9, APMIG_ERROR_KEY_CHANGE_UNFINISHED, "05.0012");
    expect_none(&story, APMIG_ACTION_REMOVE_LOCK);
    end(&story);
}

/* Nothing is written for it, so that a restart finds the lock held; and who wants its scope meets a lock. */
static void
test_lock_is_in_force(void)
{
    g_autoptr(ApmigScope) scope = scope_of("04.0012");
    g_autoptr(ApmigAction) reply = NULL;
    Story story;

    begin_held(&story);
    release(&story, 8, FALSE);
    expect_none(&story, APMIG_ACTION_PERSIST_LOCK);
    expect_none(&story, APMIG_ACTION_REMOVE_LOCK);
    tell(&story,
         (ApmigEvent){
             .type = APMIG_EVENT_TAKE,
             .caller = 2,
             .take = {.id = "bbbbbbbb", .scope = scope, .reason = "x", .change_id = "", .user = "root"}});
    expect_error(&story, 2, APMIG_ERROR_LOCKED, "verifying");
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_ADMIT,
                              .caller = 3,
                              .admit = {.uuid = G1, .name = "g1", .facts = {APMIG_AFFECTED_YES, scope}}});
    reply = expect(&story, APMIG_ACTION_REPLY_ADMIT);
    g_assert_false(reply->reply.allowed);
    end(&story);
}

static void
test_breach_is_seen(void)
{
    const ApmigLock *lock;
    Story story;
    guint64 op;

    begin_held(&story);
    lock = apmig_engine_lookup_lock(story.engine, LOCK);
    release(&story, 8, FALSE);
    op = expect_reading(&story);
    pass(&story, 6 * SECOND); /* held-interval-usec, and some more */
    list(&story, TRUE);
    answer_query(&story, "04.0012",
                 (ApmigEvent){.answered = {.job = APMIG_JOB_OUTGOING, .progress = {.data_processed = 4096}}});
    expect_state(&story, LOCK, "verifying");
    g_assert_cmpuint(lock->record->breaches, ==, 1);
    expect_log(&story, APMIG_LOG_LOCK_BREACHED, "g1");
    apmig_action_free(expect(&story, APMIG_ACTION_RUN_STEP));
    answer(&story, op, STEADY, CHANGED);
    expect_state(&story, LOCK, "breached");
    end(&story);
}

/* --- who else wants it --------------------------------------------------------------------------- */

static void
ask_to_adopt(Story *story)
{
    g_autoptr(ApmigScope) scope = scope_of("*.0012");

    tell(story, (ApmigEvent){.type = APMIG_EVENT_TAKE,
                             .caller = 2,
                             .take = {.id = "bbbbbbbb",
                                      .scope = scope,
                                      .reason = "AES rotation",
                                      .change_id = "",
                                      .uid = 1001,
                                      .user = "anna"}});
}

static void
test_adoption(void)
{
    g_autoptr(ApmigAction) write = NULL;
    Story story;

    begin(&story);
    load_held(&story, APMIG_LOCK_BY_ITSELF);
    list(&story, FALSE);
    release(&story, 8, FALSE);
    ask_to_adopt(&story);
    expect_error(&story, 2, APMIG_ERROR_LOCKED, "verifying");
    answer(&story, expect_reading(&story), STEADY, CHANGED);
    expect_error(&story, 8, APMIG_ERROR_KEYS_DIFFER, "");
    ask_to_adopt(&story);
    list(&story, FALSE);
    write = expect(&story, APMIG_ACTION_PERSIST_LOCK);
    release(&story, 9, FALSE);
    expect_error(&story, 9, APMIG_ERROR_NOT_OWNER, "anna");
    expect_none(&story, APMIG_ACTION_READ_KEYS);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_LOCK_PERSISTED, .persisted = {write->op, NULL}});
    apmig_action_free(expect(&story, APMIG_ACTION_REPLY_TAKEN));
    release(&story, 10, FALSE);
    expect_reading(&story);
    end(&story);
}

static void
test_lock_that_was_never_held(void)
{
    g_autoptr(ApmigScope) scope = scope_of("all");
    g_autoptr(GPtrArray) none = g_ptr_array_new();
    Story story;

    begin(&story);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_STORE_LOADED, .store_loaded = {none, none}});
    tell(&story,
         (ApmigEvent){.type = APMIG_EVENT_TAKE,
                      .caller = 2,
                      .take = {.id = LOCK, .scope = scope, .reason = "x", .change_id = "", .user = "root"}});
    release(&story, 8, FALSE);
    expect_none(&story, APMIG_ACTION_READ_KEYS);
    written(&story, APMIG_ACTION_REMOVE_LOCK, NULL);
    expect_released(&story, 8);
    g_assert_cmpstr(apmig_engine_lookup_lock(story.engine, LOCK)->result, ==, "cancelled");
    end(&story);
}

/* The release overtakes the write that it is held; both fail, and it stays what it was. */
static void
test_lock_that_was_nearly_held(void)
{
    g_autoptr(ApmigAction) update = NULL;
    Story story;

    begin(&story);
    open_view(&story);
    take_lock(&story, LOCK, "all", (ApmigEvent){.caller = 2, .take = {}});
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    while (answer_list(&story, NULL, 0))
        ;
    release(&story, 8, FALSE);
    written(&story, APMIG_ACTION_PERSIST_LOCK, "no space");
    written(&story, APMIG_ACTION_REMOVE_LOCK, "no space");
    update = expect(&story, APMIG_ACTION_PERSIST_LOCK);
    g_assert_cmpint(update->lock->held_at, ==, 0);
    g_assert_cmpint(apmig_engine_lookup_lock(story.engine, LOCK)->record->held_at, ==, 0);
    expect_state(&story, LOCK, "draining");
    end(&story);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/engine-release/answers", test_answers);
    g_test_add_func("/engine-release/no-answer", test_no_answer);
    g_test_add_func("/engine-release/cards-not-asked", test_cards_are_not_asked);
    g_test_add_func("/engine-release/others-join", test_others_join);
    g_test_add_func("/engine-release/force", test_force_overrides);
    g_test_add_func("/engine-release/earlier-reading", test_answer_of_an_earlier_reading);
    g_test_add_func("/engine-release/in-force", test_lock_is_in_force);
    g_test_add_func("/engine-release/breach", test_breach_is_seen);
    g_test_add_func("/engine-release/adoption", test_adoption);
    g_test_add_func("/engine-release/never-held", test_lock_that_was_never_held);
    g_test_add_func("/engine-release/nearly-held", test_lock_that_was_nearly_held);
    return g_test_run();
}
