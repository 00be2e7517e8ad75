/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Permits: what goes through a lock, once, and what the lock says meanwhile. */
#include "ap/fixture.h"
#include "engine/fixture.h"

#define G1     "11111111-1111-4111-8111-111111111111"
#define G2     "22222222-2222-4222-8222-222222222222"
#define LOCK   "aaaaaaaa"
#define PERMIT "bbbbbbbb"
#define OTHER  "cccccccc"
#define SECOND ((gint64)G_USEC_PER_SEC)
#define MINUTE (60 * SECOND)

/* A host with guests g1 and g2, both of queue 04.0012. */
typedef struct {
    Story story;
    ApmigJob jobs[2];
} Fixture;

static const ApmigGuestName guests[] = {{G1, "g1"}, {G2, "g2"}};

static void
set_up(Fixture *fixture, gconstpointer data)
{
    *fixture = (Fixture){.jobs = {APMIG_JOB_NONE, APMIG_JOB_NONE}};
    begin(&fixture->story);
    fixture->story.now = 1000 * SECOND; /* so that what expired when the host started is long over */
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    end(&fixture->story);
}

static guint
count_permits(Story *story)
{
    g_autoptr(GPtrArray) permits = apmig_engine_list_permits(story->engine);

    return permits->len;
}

static gboolean
answer_list_of_active(Fixture *fixture)
{
    ApmigGuestName there[2];
    guint n = 0;

    for (guint i = 0; i < 2; i++)
        if (fixture->jobs[i] != APMIG_JOB_GONE)
            there[n++] = guests[i];
    return answer_list(&fixture->story, there, n);
}

/* The oldest question about that guest. */
static gboolean
answer_about(Fixture *fixture, guint guest)
{
    ApmigJob job = fixture->jobs[guest];

    return answer_query_about(
        &fixture->story, guests[guest].uuid, "04.0012",
        (ApmigEvent){.answered = {.job = job, .progress = {.data_processed = job == APMIG_JOB_OUTGOING}}});
}

/* Every question that is open or follows is answered with the truth, for as long as the clock stands still. */
static void
answer_all(Fixture *fixture)
{
    while (answer_list_of_active(fixture) || answer_about(fixture, 0) || answer_about(fixture, 1))
        ;
}

static void
go_on(Fixture *fixture, gint64 usec)
{
    pass(&fixture->story, usec);
    answer_all(fixture);
}

static void
take(Fixture *fixture, ApmigOnBusy on_busy)
{
    take_lock(&fixture->story, LOCK, "04.*", (ApmigEvent){.caller = 1, .take = {.on_busy = on_busy}});
    written(&fixture->story, APMIG_ACTION_PERSIST_LOCK, NULL);
    answer_all(fixture);
}

static void
hold(Fixture *fixture)
{
    open_view(&fixture->story);
    take(fixture, APMIG_ON_BUSY_UNSET);
    written(&fixture->story, APMIG_ACTION_PERSIST_LOCK, NULL);
    expect_state(&fixture->story, LOCK, "held");
    go_on(fixture, 50000);
    g_ptr_array_set_size(fixture->story.actions, 0);
}

static void
shut_down(Fixture *fixture, guint guest)
{
    fixture->jobs[guest] = APMIG_JOB_GONE;
    tell(&fixture->story, (ApmigEvent){.type = APMIG_EVENT_GUEST_NEWS,
                                       .news = {guests[guest].uuid, NULL, APMIG_NEWS_STOPPED}});
    written(&fixture->story, APMIG_ACTION_PERSIST_LOCK, NULL); /* without it */
    go_on(fixture, 6 * SECOND);
}

static void
ask_permit(Story *story, const char *id, const char *uuid, const char *name)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_PERMIT,
                             .caller = 2,
                             .permit = {.id = id,
                                        .uuid = uuid,
                                        .name = name,
                                        .reason = "host dies",
                                        .uid = 1001,
                                        .login_uid = 1001,
                                        .login_verified = TRUE,
                                        .user = "dora",
                                        .duration_usec = 15 * MINUTE}});
}

static void
permit(Story *story, const char *id, const char *uuid, const char *name)
{
    g_autoptr(ApmigAction) reply = NULL;

    ask_permit(story, id, uuid, name);
    expect_none(story, APMIG_ACTION_REPLY_PERMIT);
    written(story, APMIG_ACTION_PERSIST_PERMIT, NULL);
    reply = expect(story, APMIG_ACTION_REPLY_PERMIT);
    g_assert_cmpint(reply->reply.permit->until, ==, STORY_REALTIME + story->now + 15 * MINUTE);
    g_assert_true(reply->reply.permit->login_uid == 1001 && reply->reply.permit->login_verified);
    expect_log(story, APMIG_LOG_PERMIT_GIVEN, "says dora (uid 1001): \"host dies\"");
}

static void
ask_revoke(Story *story, const char *guest)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_REVOKE, .caller = 3, .revoke = {guest}});
}

static void
admit(Story *story, const char *uuid, const char *name, gboolean restore)
{
    g_autoptr(ApmigScope) scope = scope_of("04.0012");

    tell(story, (ApmigEvent){.type = APMIG_EVENT_ADMIT,
                             .caller = 4,
                             .admit = {.uuid = uuid,
                                       .name = name,
                                       .restore = restore,
                                       .facts = {APMIG_AFFECTED_YES, scope, NULL}}});
}

static void
expect_admitted(Story *story, gboolean allowed, const char *part)
{
    g_autoptr(ApmigAction) reply = expect(story, APMIG_ACTION_REPLY_ADMIT);

    g_assert_cmpint(reply->reply.allowed, ==, allowed);
    assert_says(reply->reply.message, part);
}

/* Returns: (transfer full): why the keys may not be changed; "": they may. */
static char *
ask_ready(Fixture *fixture)
{
    g_autoptr(ApmigAction) reply = NULL;

    tell(&fixture->story, (ApmigEvent){.type = APMIG_EVENT_CHECK, .caller = 5, .check = {LOCK, 5 * SECOND}});
    answer_all(fixture);
    reply = expect(&fixture->story, APMIG_ACTION_REPLY_VERDICT);
    g_assert_cmpint(reply->reply.allowed, ==, *reply->reply.message == '\0');
    return g_steal_pointer(&reply->reply.message);
}

static void
assert_not_ready(Fixture *fixture, const char *part)
{
    g_autofree char *why_not = ask_ready(fixture);

    assert_says(why_not, part);
}

/* --- what leaves ------------------------------------------------------------------------------------ */

static void
test_leaves_once_and_is_no_breach(Fixture *fixture, gconstpointer data)
{
    g_autofree char *why_not = NULL;
    Story *story = &fixture->story;

    hold(fixture);
    permit(story, PERMIT, G1, "g1");
    expect_state(story, LOCK, "held");
    assert_not_ready(fixture, "guest 'g1' may begin to migrate");
    fixture->jobs[0] = APMIG_JOB_OUTGOING;
    go_on(fixture, 6 * SECOND);
    expect_log(story, APMIG_LOG_PERMIT_USED, "guest g1 migrates out with the permit of dora");
    written(story, APMIG_ACTION_PERSIST_PERMIT, NULL);
    expect_state(story, LOCK, "permitted");
    assert_not_ready(fixture, "guest 'g1' is migrating out (which is permitted");
    g_assert_cmpuint(find_lock(story, LOCK)->record->breaches, ==, 0);
    go_on(fixture, 20 * MINUTE); /* it may take longer than the permit was open */
    expect_none(story, APMIG_ACTION_RUN_STEP);
    expect_state(story, LOCK, "permitted");
    fixture->jobs[0] = APMIG_JOB_NONE;
    go_on(fixture, 50000);
    expect_log(story, APMIG_LOG_PERMIT_ENDED, "used");
    apmig_action_free(expect(story, APMIG_ACTION_REMOVE_PERMIT));
    go_on(fixture, 50000);
    expect_state(story, LOCK, "held");
    why_not = ask_ready(fixture);
    g_assert_cmpstr(why_not, ==, "");
    fixture->jobs[0] = APMIG_JOB_OUTGOING;
    go_on(fixture, 6 * SECOND);
    expect_state(story, LOCK, "breached");
    apmig_action_free(expect(story, APMIG_ACTION_RUN_STEP));
}

/* What was read of the other guests before the migration was seen proves nothing of the time after it. */
static void
test_held_again_by_a_reading_that_began_afterwards(Fixture *fixture, gconstpointer data)
{
    Story *story = &fixture->story;

    hold(fixture);
    permit(story, PERMIT, G1, "g1");
    fixture->jobs[0] = APMIG_JOB_OUTGOING;
    pass(story, 6 * SECOND);
    g_assert_true(answer_about(fixture, 0)); /* nobody answers for the other */
    expect_state(story, LOCK, "permitted");
    fixture->jobs[0] = APMIG_JOB_NONE;
    pass(story, 50000);
    g_assert_true(answer_list(story, guests, 2));
    g_assert_true(answer_about(fixture, 0));
    expect_log(story, APMIG_LOG_PERMIT_ENDED, "used");
    g_assert_cmpuint(count_permits(story), ==, 0);
    expect_state(story, LOCK, "permitted");
}

static void
test_breach_of_another_guest_wins(Fixture *fixture, gconstpointer data)
{
    Story *story = &fixture->story;

    hold(fixture);
    permit(story, PERMIT, "", "g1");
    fixture->jobs[0] = fixture->jobs[1] = APMIG_JOB_OUTGOING;
    go_on(fixture, 6 * SECOND);
    expect_state(story, LOCK, "breached");
    g_assert_cmpuint(find_lock(story, LOCK)->record->breaches, ==, 1);
    written(story, APMIG_ACTION_PERSIST_LOCK, NULL);
    for (;;) {
        g_autoptr(ApmigAction) step = next(story, APMIG_ACTION_RUN_STEP);

        if (!step)
            break;
        g_assert_cmpstr(step->step.guest, ==, "g2");
    }
    fixture->jobs[1] = APMIG_JOB_NONE;
    go_on(fixture, 50000);
    expect_state(story, LOCK, "breached");
    fixture->jobs[0] = APMIG_JOB_NONE;
    go_on(fixture, 50000);
    go_on(fixture, 50000);
    expect_state(story, LOCK, "held");
}

/* The permit is for what has not begun, or is only waited for. */
static void
test_given_to_what_migrates_already(Fixture *fixture, gconstpointer data)
{
    Story *story = &fixture->story;

    open_view(story);
    fixture->jobs[0] = APMIG_JOB_OUTGOING;
    take(fixture, APMIG_ON_BUSY_WAIT);
    permit(story, PERMIT, G1, "g1");
    expect_log(story, APMIG_LOG_PERMIT_USED, "guest g1 migrates out");
    go_on(fixture, 50000);
    expect_state(story, LOCK, "draining");
    ask_permit(story, OTHER, G1, "g1");
    expect_error(story, 2, APMIG_ERROR_BUSY, "has a permit already, which its migration is using");
    ask_revoke(story, "g1");
    expect_error(story, 3, APMIG_ERROR_BUSY, "virsh domjobabort " G1);
    fixture->jobs[0] = APMIG_JOB_NONE;
    go_on(fixture, 50000);
    written(story, APMIG_ACTION_PERSIST_LOCK, NULL);
    expect_state(story, LOCK, "held");
    fixture->jobs[0] = APMIG_JOB_OUTGOING;
    go_on(fixture, 6 * SECOND);
    expect_state(story, LOCK, "breached");
    ask_permit(story, OTHER, G1, "g1");
    expect_error(story, 2, APMIG_ERROR_BUSY, "being ended, which cannot be called back");
}

static void
test_later_than_a_request_that_would_be_refused(Fixture *fixture, gconstpointer data)
{
    Story *story = &fixture->story;

    open_view(story);
    fixture->jobs[1] = APMIG_JOB_OUTGOING;
    permit(story, PERMIT, G1, "g1");
    take(fixture, APMIG_ON_BUSY_WAIT);
    fixture->jobs[0] = APMIG_JOB_OUTGOING;
    go_on(fixture, 50000);
    expect_state(story, LOCK, "draining"); /* the one waits, the other is permitted */
    expect_none(story, APMIG_ACTION_RUN_STEP);
    g_assert_cmpuint(find_lock(story, LOCK)->record->breaches, ==, 0);
}

/* --- what comes in ---------------------------------------------------------------------------------- */

static void
test_comes_in_once(Fixture *fixture, gconstpointer data)
{
    Story *story = &fixture->story;

    hold(fixture);
    shut_down(fixture, 0);
    permit(story, PERMIT, "", "g1"); /* this host does not know it yet */
    admit(story, G1, "g1", TRUE);
    expect_admitted(story, FALSE, "apmigctl unlock"); /* a restore is not covered */
    admit(story, G1, "g1", FALSE);
    expect_none(story, APMIG_ACTION_REPLY_ADMIT);
    expect_state(story, LOCK, "permitted");
    written(story, APMIG_ACTION_PERSIST_PERMIT, NULL);
    written(story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    expect_admitted(story, TRUE, "");
    admit(story, G1, "g1", FALSE);
    expect_admitted(story, FALSE, "apmigctl unlock");
    fixture->jobs[0] = APMIG_JOB_INCOMING;
    go_on(fixture, SECOND);
    expect_state(story, LOCK, "permitted");
    expect_none(story, APMIG_ACTION_RUN_STEP);
    fixture->jobs[0] = APMIG_JOB_NONE;
    go_on(fixture, SECOND);
    expect_log(story, APMIG_LOG_PERMIT_ENDED, "used");
    written(story, APMIG_ACTION_PERSIST_LOCK, NULL); /* that it is here */
    expect_state(story, LOCK, "held");
}

/* Else a crash would make a second one of it. */
static void
test_no_yes_before_it_is_noted_as_used(Fixture *fixture, gconstpointer data)
{
    Story *story = &fixture->story;

    hold(fixture);
    shut_down(fixture, 0);
    permit(story, PERMIT, G1, "");
    admit(story, G1, "g1", FALSE);
    written(story, APMIG_ACTION_PERSIST_PERMIT, "Input/output error");
    written(story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    expect_admitted(story, FALSE, "could not be noted as used (Input/output error)");
    g_assert_cmpuint(count_permits(story), ==, 0);
    apmig_action_free(expect(story, APMIG_ACTION_REMOVE_PERMIT));
    go_on(fixture, 50000);
    go_on(fixture, 50000);
    expect_state(story, LOCK, "held");
}

/* --- its life --------------------------------------------------------------------------------------- */

static void
test_expires_and_is_revoked(Fixture *fixture, gconstpointer data)
{
    Story *story = &fixture->story;

    open_view(story);
    permit(story, PERMIT, G1, "g1");
    g_assert_cmpint(apmig_engine_next_deadline(story->engine), ==, story->now + 15 * MINUTE);
    go_on(fixture, 15 * MINUTE);
    expect_log(story, APMIG_LOG_PERMIT_ENDED, "expired");
    apmig_action_free(expect(story, APMIG_ACTION_REMOVE_PERMIT));
    ask_revoke(story, G1);
    expect_error(story, 3, APMIG_ERROR_NO_SUCH_PERMIT, G1);
    permit(story, PERMIT, G1, "g1");
    ask_permit(story, OTHER, G1, "g1"); /* in the place of the first */
    written(story, APMIG_ACTION_PERSIST_PERMIT, NULL);
    expect_log(story, APMIG_LOG_PERMIT_ENDED, "replaced");
    apmig_action_free(expect(story, APMIG_ACTION_REPLY_PERMIT));
    apmig_action_free(expect(story, APMIG_ACTION_REMOVE_PERMIT));
    g_assert_cmpuint(count_permits(story), ==, 1);
    ask_revoke(story, "g1");
    g_assert_null(apmig_engine_find_permit(story->engine, G1));
    expect_none(story, APMIG_ACTION_REPLY_PERMIT); /* a hook would honour it while it is there */
    written(story, APMIG_ACTION_REMOVE_PERMIT, NULL);
    apmig_action_free(expect(story, APMIG_ACTION_REPLY_PERMIT));
    expect_log(story, APMIG_LOG_PERMIT_ENDED, "revoked");
    ask_permit(story, PERMIT, G1, "g1");
    written(story, APMIG_ACTION_PERSIST_PERMIT, "No space left on device");
    expect_error(story, 2, APMIG_ERROR_STATE_FAILURE, "No space left on device");
    g_assert_cmpuint(count_permits(story), ==, 0);
}

static void
test_many_are_refused(Fixture *fixture, gconstpointer data)
{
    Story *story = &fixture->story;

    open_view(story);
    for (guint i = 0; i < APMIG_PERMITS_MAX; i++) {
        g_autofree char *id = g_strdup_printf("%08x", i);
        g_autofree char *name = g_strdup_printf("h%u", i);

        permit(story, id, "", name);
    }
    ask_permit(story, PERMIT, "", "h64");
    expect_error(story, 2, APMIG_ERROR_LIMIT_EXCEEDED, "64 permits");
    permit(story, PERMIT, "", "h63"); /* in the place of another */
}

/* A name is given anew; a UUID is not, and of a guest that is active here both are known. */
static void
test_whose_it_is(Fixture *fixture, gconstpointer data)
{
    const ApmigPermit absent = {.uuid = "", .name = "g1"}, known = {.uuid = G1, .name = "g1"};
    Story *story = &fixture->story;

    g_assert_true(apmig_permit_is_for(&known, G1, "renamed"));
    g_assert_false(apmig_permit_is_for(&known, G2, "g1"));
    g_assert_true(apmig_permit_is_for(&absent, G2, "g1"));
    g_assert_false(apmig_permit_is_for(&absent, G1, "g2"));
    hold(fixture);
    permit(story, PERMIT, "", "g1");
    g_assert_nonnull(apmig_engine_find_permit(story->engine, G1));
    g_assert_nonnull(apmig_engine_find_permit(story->engine, "g1"));
    g_assert_null(apmig_engine_find_permit(story->engine, "g2"));
    permit(story, OTHER, G1, ""); /* the same guest */
    g_assert_cmpuint(count_permits(story), ==, 1);
}

/* Another guest has the name now that the permit's had when it was given. */
static void
test_name_was_given_anew(Fixture *fixture, gconstpointer data)
{
    const ApmigGuestName renamed[] = {{G2, "g1"}};
    const char *const other[] = {G2, "g1"};
    Story *story = &fixture->story;

    open_view(story);
    permit(story, PERMIT, G1, "g1");
    tell(story, (ApmigEvent){.type = APMIG_EVENT_HINT});
    g_assert_true(answer_list(story, renamed, 1));
    for (guint i = 0; i < G_N_ELEMENTS(other); i++) {
        g_assert_null(apmig_engine_find_permit(story->engine, other[i]));
        ask_revoke(story, other[i]);
        expect_error(story, 3, APMIG_ERROR_NO_SUCH_PERMIT, other[i]);
    }
    g_assert_cmpuint(count_permits(story), ==, 1);
    g_assert_nonnull(apmig_engine_find_permit(story->engine, G1));
}

/* --- after a restart -------------------------------------------------------------------------------- */

static void
restart(Fixture *fixture, const char *used_by, gboolean outgoing, gboolean admitted, gint64 expires_at)
{
    g_autoptr(GPtrArray) locks = g_ptr_array_new();
    g_autoptr(GPtrArray) permits = g_ptr_array_new();
    g_autoptr(GPtrArray) admissions = g_ptr_array_new();
    g_autoptr(ApmigScope) scope = scope_of("04.*");
    ApmigLockRecord lock = {.id = LOCK,
                            .scope = scope,
                            .reason = "AES rotation",
                            .change_id = "",
                            .owner_name = "cora",
                            .requested_at = STORY_REALTIME,
                            .held_at = STORY_REALTIME};
    ApmigAdmission admission = {.uuid = G1, .name = "g1", .scope = scope, .admitted_at = fixture->story.now};
    ApmigPermit given = {.id = PERMIT,
                         .uuid = G1,
                         .name = "g1",
                         .reason = "host dies",
                         .owner_uid = 1001,
                         .login_uid = 1001,
                         .owner_name = "dora",
                         .given_at = STORY_REALTIME,
                         .until = STORY_REALTIME,
                         .expires_at = expires_at,
                         .used_by = (char *)used_by,
                         .outgoing = outgoing};

    g_ptr_array_add(locks, &lock);
    g_ptr_array_add(permits, &given);
    if (admitted)
        g_ptr_array_add(admissions, &admission);
    tell(&fixture->story,
         (ApmigEvent){.type = APMIG_EVENT_STORE_LOADED, .store_loaded = {locks, admissions, permits}});
    tell(&fixture->story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
}

static void
test_outgoing_goes_on_over_a_restart(Fixture *fixture, gconstpointer data)
{
    Story *story = &fixture->story;

    restart(fixture, G1, TRUE, FALSE, 0);
    fixture->jobs[0] = APMIG_JOB_OUTGOING;
    answer_all(fixture);
    go_on(fixture, 50000);
    expect_none(story, APMIG_ACTION_RUN_STEP);
    g_assert_cmpuint(find_lock(story, LOCK)->record->breaches, ==, 0);
    expect_state(story, LOCK, "permitted");
    while (answer_write(story)) /* who is here */
        ;
    fixture->jobs[0] = APMIG_JOB_NONE;
    go_on(fixture, 50000);
    expect_log(story, APMIG_LOG_PERMIT_ENDED, "used");
    expect_state(story, LOCK, "held");
}

static void
test_let_in_counts_as_admitted_after_a_restart(Fixture *fixture, gconstpointer data)
{
    Story *story = &fixture->story;

    restart(fixture, G1, FALSE, TRUE, 0);
    fixture->jobs[0] = APMIG_JOB_GONE;
    answer_all(fixture);
    go_on(fixture, 30 * SECOND);
    expect_state(story, LOCK, "permitted");
    fixture->jobs[0] = APMIG_JOB_INCOMING;
    go_on(fixture, SECOND);
    expect_none(story, APMIG_ACTION_RUN_STEP);
    g_assert_cmpuint(find_lock(story, LOCK)->record->breaches, ==, 0);
    fixture->jobs[0] = APMIG_JOB_NONE;
    go_on(fixture, SECOND);
    expect_state(story, LOCK, "permitted"); /* this may have been that of another yes */
    go_on(fixture, 30 * SECOND);
    expect_log(story, APMIG_LOG_PERMIT_ENDED, "used");
    while (answer_write(story)) /* who is here */
        ;
    go_on(fixture, 50000);
    expect_state(story, LOCK, "held");
}

/* No hook had let it in: it was seen. */
static void
test_incoming_goes_on_over_a_restart(Fixture *fixture, gconstpointer data)
{
    Story *story = &fixture->story;

    restart(fixture, G1, FALSE, FALSE, 0);
    fixture->jobs[0] = APMIG_JOB_INCOMING;
    answer_all(fixture);
    go_on(fixture, MINUTE);
    expect_none(story, APMIG_ACTION_RUN_STEP);
    g_assert_cmpuint(find_lock(story, LOCK)->record->breaches, ==, 0);
    expect_state(story, LOCK, "permitted");
    fixture->jobs[0] = APMIG_JOB_GONE;
    go_on(fixture, SECOND);
    expect_log(story, APMIG_LOG_PERMIT_ENDED, "used");
    while (answer_write(story)) /* who is here */
        ;
    go_on(fixture, 50000);
    expect_state(story, LOCK, "held");
}

static void
test_open_one_counts_after_a_restart(Fixture *fixture, gconstpointer data)
{
    Story *story = &fixture->story;

    restart(fixture, NULL, FALSE, FALSE, story->now + MINUTE);
    expect_state(story, LOCK, "unproven");
    answer_all(fixture);
    while (answer_write(story)) /* who is here */
        ;
    expect_state(story, LOCK, "held");
    fixture->jobs[0] = APMIG_JOB_OUTGOING;
    go_on(fixture, 6 * SECOND);
    expect_state(story, LOCK, "permitted");
    tear_down(fixture, NULL);
    set_up(fixture, NULL);
    restart(fixture, NULL, FALSE, FALSE, story->now);
    expect_log(story, APMIG_LOG_PERMIT_ENDED, "expired");
    g_assert_cmpuint(count_permits(story), ==, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, func) g_test_add("/permits/" path, Fixture, NULL, set_up, func, tear_down)
    ADD("leaves-once-and-is-no-breach", test_leaves_once_and_is_no_breach);
    ADD("held-again-by-a-reading-that-began-afterwards", test_held_again_by_a_reading_that_began_afterwards);
    ADD("breach-of-another-guest-wins", test_breach_of_another_guest_wins);
    ADD("given-to-what-migrates-already", test_given_to_what_migrates_already);
    ADD("later-than-a-request", test_later_than_a_request_that_would_be_refused);
    ADD("comes-in-once", test_comes_in_once);
    ADD("no-yes-before-it-is-noted-as-used", test_no_yes_before_it_is_noted_as_used);
    ADD("name-was-given-anew", test_name_was_given_anew);
    ADD("expires-and-is-revoked", test_expires_and_is_revoked);
    ADD("many-are-refused", test_many_are_refused);
    ADD("whose-it-is", test_whose_it_is);
    ADD("outgoing-goes-on-over-a-restart", test_outgoing_goes_on_over_a_restart);
    ADD("let-in-counts-as-admitted-after-a-restart", test_let_in_counts_as_admitted_after_a_restart);
    ADD("incoming-goes-on-over-a-restart", test_incoming_goes_on_over_a_restart);
    ADD("open-one-counts-after-a-restart", test_open_one_counts_after_a_restart);
#undef ADD
    return g_test_run();
}
