/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Permits: what goes through a lock, once, and what the lock says meanwhile. */
#include "engine.h"

#include <string.h>

#define G1       "11111111-1111-4111-8111-111111111111"
#define G2       "22222222-2222-4222-8222-222222222222"
#define LOCK     "aaaaaaaa"
#define PERMIT   "bbbbbbbb"
#define OTHER    "cccccccc"
#define SECOND   ((gint64)G_USEC_PER_SEC)
#define MINUTE   (60 * SECOND)
#define REALTIME (G_GINT64_CONSTANT(1800000000) * SECOND)

/* A host with guests g1 and g2, both of queue 04.0012. */
typedef struct {
    ApmigEngine *engine;
    ApmigPolicy *policy;
    GPtrArray *actions; /* not yet looked at */
    gint64 now;
    ApmigJob jobs[2];
} Story;

static const ApmigGuestName guests[] = {{G1, "g1"}, {G2, "g2"}};

static void
tell(Story *story, ApmigEvent event)
{
    event.now = story->now;
    event.realtime = REALTIME + story->now;
    apmig_engine_handle(story->engine, &event, story->actions);
}

/* Returns: (transfer full) (nullable): the oldest action of @type not yet looked at. */
static ApmigAction *
next(Story *story, ApmigActionType type)
{
    for (guint i = 0; i < story->actions->len; i++)
        if (((ApmigAction *)g_ptr_array_index(story->actions, i))->type == type)
            return g_ptr_array_steal_index(story->actions, i);
    return NULL;
}

static ApmigAction *
expect(Story *story, ApmigActionType type)
{
    ApmigAction *action = next(story, type);

    g_assert_nonnull(action);
    return action;
}

static void
expect_none(Story *story, ApmigActionType type)
{
    g_autoptr(ApmigAction) action = next(story, type);

    g_assert_null(action);
}

static void
assert_says(const char *text, const char *part)
{
    if (!strstr(text, part))
        g_error("\"%s\" does not say \"%s\"", text, part);
}

static void
expect_error(Story *story, ApmigError code, const char *part)
{
    g_autoptr(ApmigAction) reply = expect(story, APMIG_ACTION_REPLY_ERROR);

    g_assert_cmpstr(apmig_error_name(reply->code), ==, apmig_error_name(code));
    assert_says(reply->message, part);
}

static void
expect_log(Story *story, ApmigLog log, const char *part)
{
    for (;;) {
        g_autoptr(ApmigAction) entry = expect(story, APMIG_ACTION_LOG);

        if (entry->log != log)
            continue;
        assert_says(entry->message, part);
        return;
    }
}

static const ApmigLock *
the_lock(Story *story)
{
    const ApmigLock *lock = apmig_engine_lookup_lock(story->engine, LOCK);

    g_assert_nonnull(lock);
    return lock;
}

static void
assert_state(Story *story, const char *state)
{
    g_assert_cmpstr(apmig_lock_state_to_string(the_lock(story)), ==, state);
}

static guint
count_permits(Story *story)
{
    g_autoptr(GPtrArray) permits = apmig_engine_list_permits(story->engine);

    return permits->len;
}

/* Every question that is open or follows is answered with the truth, for as long as the clock stands still. */
static void
answer_all(Story *story)
{
    g_autoptr(ApmigScope) scope = apmig_scope_parse("04.0012", NULL);

    for (;;) {
        g_autoptr(ApmigAction) list = next(story, APMIG_ACTION_LIST_GUESTS);
        g_autoptr(ApmigAction) query = next(story, APMIG_ACTION_QUERY_GUEST);
        ApmigGuestName there[2];
        guint n = 0;

        if (!list && !query)
            return;
        for (guint i = 0; i < 2; i++)
            if (story->jobs[i] != APMIG_JOB_GONE)
                there[n++] = guests[i];
        if (list)
            tell(story,
                 (ApmigEvent){.type = APMIG_EVENT_GUESTS_LISTED, .listed = {list->token, NULL, there, n}});
        if (query)
            tell(story, (ApmigEvent){.type = APMIG_EVENT_GUEST_ANSWERED,
                                     .answered = {.token = query->token,
                                                  .uuid = query->uuid,
                                                  .job = story->jobs[g_str_equal(query->uuid, G2)],
                                                  .facts_read = query->want_facts,
                                                  .facts = {APMIG_AFFECTED_YES, scope, NULL}}});
    }
}

static void
written(Story *story, ApmigActionType type, const char *error)
{
    g_autoptr(ApmigAction) action = expect(story, type);
    ApmigEventType answer = type == APMIG_ACTION_PERSIST_LOCK        ? APMIG_EVENT_LOCK_PERSISTED
                            : type == APMIG_ACTION_PERSIST_ADMISSION ? APMIG_EVENT_ADMISSION_PERSISTED
                                                                     : APMIG_EVENT_PERMIT_WRITTEN;

    tell(story, (ApmigEvent){.type = answer, .persisted = {action->op, error}});
}

static void
pass(Story *story, gint64 usec)
{
    story->now += usec;
    tell(story, (ApmigEvent){.type = APMIG_EVENT_DEADLINE});
    answer_all(story);
}

static void
load(Story *story, GPtrArray *locks, const ApmigPermit *permit)
{
    g_autoptr(GPtrArray) nothing = g_ptr_array_new();
    g_autoptr(GPtrArray) permits = g_ptr_array_new();

    if (permit)
        g_ptr_array_add(permits, (gpointer)permit);
    tell(story, (ApmigEvent){.type = APMIG_EVENT_STORE_LOADED,
                             .store_loaded = {locks ? locks : nothing, nothing, permits}});
}

static void
prepare(Story *story)
{
    *story = (Story){.now = 1000 * SECOND};
    story->policy = apmig_policy_new_default();
    story->policy->stamp = APMIG_STAMP_OFF;
    story->engine = apmig_engine_new(story->policy, "5708");
    story->actions = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_action_free);
}

static void
begin(Story *story)
{
    prepare(story);
    load(story, NULL, NULL);
    tell(story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
}

static void
end(Story *story)
{
    apmig_engine_free(story->engine);
    apmig_policy_free(story->policy);
    g_ptr_array_unref(story->actions);
}

static void
take(Story *story, ApmigOnBusy on_busy)
{
    g_autoptr(ApmigScope) scope = apmig_scope_parse("04.*", NULL);

    tell(story, (ApmigEvent){.type = APMIG_EVENT_TAKE,
                             .take = {.caller = 1,
                                      .id = LOCK,
                                      .scope = scope,
                                      .reason = "AES rotation",
                                      .change_id = "",
                                      .uid = 1000,
                                      .user = "cora",
                                      .on_busy = on_busy}});
    written(story, APMIG_ACTION_PERSIST_LOCK, NULL);
    answer_all(story);
}

static void
hold(Story *story)
{
    begin(story);
    take(story, APMIG_ON_BUSY_UNSET);
    pass(story, 50000);
    written(story, APMIG_ACTION_PERSIST_LOCK, NULL);
    assert_state(story, "held");
    g_ptr_array_set_size(story->actions, 0);
}

static void
ask_permit(Story *story, const char *id, const char *uuid, const char *name)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_PERMIT,
                             .permit = {.caller = 2,
                                        .id = id,
                                        .uuid = uuid,
                                        .name = name,
                                        .reason = "host dies",
                                        .uid = 1001,
                                        .login_uid = 1001,
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
    g_assert_cmpint(reply->permit->until, ==, REALTIME + story->now + 15 * MINUTE);
    expect_log(story, APMIG_LOG_PERMIT_GIVEN, "says dora (uid 1001): \"host dies\"");
}

static void
ask_revoke(Story *story, const char *guest)
{
    tell(story, (ApmigEvent){.type = APMIG_EVENT_REVOKE, .revoke = {3, guest}});
}

static void
admit(Story *story, const char *uuid, const char *name, gboolean restore)
{
    g_autoptr(ApmigScope) scope = apmig_scope_parse("04.0012", NULL);

    tell(story, (ApmigEvent){.type = APMIG_EVENT_ADMIT,
                             .admit = {.caller = 4,
                                       .uuid = uuid,
                                       .name = name,
                                       .restore = restore,
                                       .facts = {APMIG_AFFECTED_YES, scope, NULL}}});
}

static void
expect_admitted(Story *story, gboolean allowed, const char *part)
{
    g_autoptr(ApmigAction) reply = expect(story, APMIG_ACTION_REPLY_ADMIT);

    g_assert_cmpint(reply->allowed, ==, allowed);
    assert_says(reply->message, part);
}

/* Returns: (transfer full): why the keys may not be changed; "": they may. */
static char *
ask_ready(Story *story)
{
    g_autoptr(ApmigAction) reply = NULL;

    tell(story, (ApmigEvent){.type = APMIG_EVENT_CHECK, .check = {5, LOCK, 5 * SECOND}});
    answer_all(story);
    reply = expect(story, APMIG_ACTION_REPLY_VERDICT);
    g_assert_cmpint(reply->allowed, ==, *reply->message == '\0');
    return g_steal_pointer(&reply->message);
}

static void
assert_not_ready(Story *story, const char *part)
{
    g_autofree char *why_not = ask_ready(story);

    assert_says(why_not, part);
}

/* --- what leaves ------------------------------------------------------------------------------------ */

static void
test_leaves_once_and_is_no_breach(void)
{
    g_autofree char *why_not = NULL;
    Story story;

    hold(&story);
    permit(&story, PERMIT, G1, "g1");
    assert_state(&story, "held");
    assert_not_ready(&story, "guest 'g1' may begin to migrate");
    story.jobs[0] = APMIG_JOB_OUTGOING;
    pass(&story, 6 * SECOND);
    expect_log(&story, APMIG_LOG_PERMIT_USED, "guest g1 migrates out with the permit of dora");
    written(&story, APMIG_ACTION_USE_PERMIT, NULL);
    assert_state(&story, "permitted");
    assert_not_ready(&story, "guest 'g1' is migrating out (which is permitted");
    g_assert_cmpuint(the_lock(&story)->record->breaches, ==, 0);
    pass(&story, 20 * MINUTE); /* it may take longer than the permit was open */
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    assert_state(&story, "permitted");
    story.jobs[0] = APMIG_JOB_NONE;
    pass(&story, 50000);
    expect_log(&story, APMIG_LOG_PERMIT_ENDED, "used");
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_PERMIT));
    pass(&story, 50000);
    assert_state(&story, "held");
    why_not = ask_ready(&story);
    g_assert_cmpstr(why_not, ==, "");
    story.jobs[0] = APMIG_JOB_OUTGOING;
    pass(&story, 6 * SECOND);
    assert_state(&story, "breached");
    apmig_action_free(expect(&story, APMIG_ACTION_RUN_STEP));
    end(&story);
}

/* Answers the oldest question about a guest. */
static void
answer_one(Story *story, const char *uuid)
{
    ApmigAction *query = expect(story, APMIG_ACTION_QUERY_GUEST);

    while (!g_str_equal(query->uuid, uuid)) { /* nobody answers for the other */
        apmig_action_free(query);
        query = expect(story, APMIG_ACTION_QUERY_GUEST);
    }
    tell(story,
         (ApmigEvent){
             .type = APMIG_EVENT_GUEST_ANSWERED,
             .answered = {.token = query->token, .uuid = uuid, .job = story->jobs[g_str_equal(uuid, G2)]}});
    apmig_action_free(query);
}

/* What was read of the other guests before the migration was seen proves nothing of the time after it. */
static void
test_held_again_by_a_reading_that_began_afterwards(void)
{
    g_autoptr(ApmigAction) list = NULL;
    Story story;

    hold(&story);
    permit(&story, PERMIT, G1, "g1");
    story.jobs[0] = APMIG_JOB_OUTGOING;
    story.now += 6 * SECOND;
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_DEADLINE});
    answer_one(&story, G1);
    assert_state(&story, "permitted");
    story.jobs[0] = APMIG_JOB_NONE;
    story.now += 50000;
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_DEADLINE});
    list = expect(&story, APMIG_ACTION_LIST_GUESTS);
    tell(&story, (ApmigEvent){.type = APMIG_EVENT_GUESTS_LISTED, .listed = {list->token, NULL, guests, 2}});
    answer_one(&story, G1);
    expect_log(&story, APMIG_LOG_PERMIT_ENDED, "used");
    g_assert_cmpuint(count_permits(&story), ==, 0);
    assert_state(&story, "permitted");
    end(&story);
}

static void
test_breach_of_another_guest_wins(void)
{
    Story story;

    hold(&story);
    permit(&story, PERMIT, "", "g1");
    story.jobs[0] = story.jobs[1] = APMIG_JOB_OUTGOING;
    pass(&story, 6 * SECOND);
    assert_state(&story, "breached");
    g_assert_cmpuint(the_lock(&story)->record->breaches, ==, 1);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    for (;;) {
        g_autoptr(ApmigAction) step = next(&story, APMIG_ACTION_RUN_STEP);

        if (!step)
            break;
        g_assert_cmpstr(step->guest, ==, "g2");
    }
    story.jobs[1] = APMIG_JOB_NONE;
    pass(&story, 50000);
    assert_state(&story, "breached");
    story.jobs[0] = APMIG_JOB_NONE;
    pass(&story, 50000);
    pass(&story, 50000);
    assert_state(&story, "held");
    end(&story);
}

/* The permit is for what has not begun, or is only waited for. */
static void
test_given_to_what_migrates_already(void)
{
    Story story;

    begin(&story);
    story.jobs[0] = APMIG_JOB_OUTGOING;
    take(&story, APMIG_ON_BUSY_WAIT);
    permit(&story, PERMIT, G1, "g1");
    expect_log(&story, APMIG_LOG_PERMIT_USED, "guest g1 migrates out");
    pass(&story, 50000);
    assert_state(&story, "draining");
    ask_permit(&story, OTHER, G1, "g1");
    expect_error(&story, APMIG_ERROR_BUSY, "has a permit already, which its migration is using");
    ask_revoke(&story, "g1");
    expect_error(&story, APMIG_ERROR_BUSY, "virsh domjobabort g1");
    story.jobs[0] = APMIG_JOB_NONE;
    pass(&story, 50000);
    written(&story, APMIG_ACTION_PERSIST_LOCK, NULL);
    assert_state(&story, "held");
    story.jobs[0] = APMIG_JOB_OUTGOING;
    pass(&story, 6 * SECOND);
    assert_state(&story, "breached");
    ask_permit(&story, OTHER, G1, "g1");
    expect_error(&story, APMIG_ERROR_BUSY, "being ended, which cannot be called back");
    end(&story);
}

static void
test_later_than_a_request_that_would_be_refused(void)
{
    Story story;

    begin(&story);
    story.jobs[1] = APMIG_JOB_OUTGOING;
    permit(&story, PERMIT, G1, "g1");
    take(&story, APMIG_ON_BUSY_WAIT);
    story.jobs[0] = APMIG_JOB_OUTGOING;
    pass(&story, 50000);
    assert_state(&story, "draining"); /* the one waits, the other is permitted */
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    g_assert_cmpuint(the_lock(&story)->record->breaches, ==, 0);
    end(&story);
}

/* --- what comes in ---------------------------------------------------------------------------------- */

static void
test_comes_in_once(void)
{
    Story story;

    hold(&story);
    story.jobs[0] = APMIG_JOB_GONE;
    pass(&story, 6 * SECOND);
    permit(&story, PERMIT, "", "g1"); /* this host does not know it yet */
    admit(&story, G1, "g1", TRUE);
    expect_admitted(&story, FALSE, "apmigctl unlock"); /* a restore is not covered */
    admit(&story, G1, "g1", FALSE);
    expect_none(&story, APMIG_ACTION_REPLY_ADMIT);
    assert_state(&story, "permitted");
    written(&story, APMIG_ACTION_USE_PERMIT, NULL);
    written(&story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    expect_admitted(&story, TRUE, "");
    admit(&story, G1, "g1", FALSE);
    expect_admitted(&story, FALSE, "apmigctl unlock");
    story.jobs[0] = APMIG_JOB_INCOMING;
    pass(&story, SECOND);
    assert_state(&story, "permitted");
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    story.jobs[0] = APMIG_JOB_NONE;
    pass(&story, SECOND);
    expect_log(&story, APMIG_LOG_PERMIT_ENDED, "used");
    pass(&story, 50000);
    assert_state(&story, "held");
    end(&story);
}

/* Else a crash would make a second one of it. */
static void
test_no_yes_before_it_is_noted_as_used(void)
{
    Story story;

    hold(&story);
    story.jobs[0] = APMIG_JOB_GONE;
    pass(&story, 6 * SECOND);
    permit(&story, PERMIT, G1, "");
    admit(&story, G1, "g1", FALSE);
    written(&story, APMIG_ACTION_USE_PERMIT, "Input/output error");
    written(&story, APMIG_ACTION_PERSIST_ADMISSION, NULL);
    expect_admitted(&story, FALSE, "could not be noted as used (Input/output error)");
    g_assert_cmpuint(count_permits(&story), ==, 0);
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_PERMIT));
    pass(&story, 50000);
    pass(&story, 50000);
    assert_state(&story, "held");
    end(&story);
}

/* --- its life --------------------------------------------------------------------------------------- */

static void
test_expires_and_is_revoked(void)
{
    Story story;

    begin(&story);
    permit(&story, PERMIT, G1, "g1");
    g_assert_cmpint(apmig_engine_next_deadline(story.engine), ==, story.now + 15 * MINUTE);
    pass(&story, 15 * MINUTE);
    expect_log(&story, APMIG_LOG_PERMIT_ENDED, "expired");
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_PERMIT));
    ask_revoke(&story, G1);
    expect_error(&story, APMIG_ERROR_NO_SUCH_PERMIT, G1);
    permit(&story, PERMIT, G1, "g1");
    ask_permit(&story, OTHER, G1, "g1"); /* in the place of the first */
    written(&story, APMIG_ACTION_PERSIST_PERMIT, NULL);
    expect_log(&story, APMIG_LOG_PERMIT_ENDED, "replaced");
    apmig_action_free(expect(&story, APMIG_ACTION_REPLY_PERMIT));
    apmig_action_free(expect(&story, APMIG_ACTION_REMOVE_PERMIT));
    g_assert_cmpuint(count_permits(&story), ==, 1);
    ask_revoke(&story, "g1");
    g_assert_null(apmig_engine_find_permit(story.engine, G1));
    expect_none(&story, APMIG_ACTION_REPLY_PERMIT); /* a hook would honour it while it is there */
    written(&story, APMIG_ACTION_REMOVE_PERMIT, NULL);
    apmig_action_free(expect(&story, APMIG_ACTION_REPLY_PERMIT));
    expect_log(&story, APMIG_LOG_PERMIT_ENDED, "revoked");
    ask_permit(&story, PERMIT, G1, "g1");
    written(&story, APMIG_ACTION_PERSIST_PERMIT, "No space left on device");
    expect_error(&story, APMIG_ERROR_STATE_FAILURE, "No space left on device");
    g_assert_cmpuint(count_permits(&story), ==, 0);
    end(&story);
}

static void
test_many_are_refused(void)
{
    Story story;

    begin(&story);
    for (guint i = 0; i < APMIG_PERMITS_MAX; i++) {
        g_autofree char *id = g_strdup_printf("%08x", i);
        g_autofree char *name = g_strdup_printf("h%u", i);

        permit(&story, id, "", name);
    }
    ask_permit(&story, PERMIT, "", "h64");
    expect_error(&story, APMIG_ERROR_LIMIT_EXCEEDED, "64 permits");
    permit(&story, PERMIT, "", "h63"); /* in the place of another */
    end(&story);
}

/* A name is given anew; a UUID is not, and of a guest that is active here both are known. */
static void
test_whose_it_is(void)
{
    const ApmigPermit absent = {.uuid = "", .name = "g1"}, known = {.uuid = G1, .name = "g1"};
    Story story;

    g_assert_true(apmig_permit_is_for(&known, G1, "renamed"));
    g_assert_false(apmig_permit_is_for(&known, G2, "g1"));
    g_assert_true(apmig_permit_is_for(&absent, G2, "g1"));
    g_assert_false(apmig_permit_is_for(&absent, G1, "g2"));
    hold(&story);
    permit(&story, PERMIT, "", "g1");
    g_assert_nonnull(apmig_engine_find_permit(story.engine, G1));
    g_assert_nonnull(apmig_engine_find_permit(story.engine, "g1"));
    g_assert_null(apmig_engine_find_permit(story.engine, "g2"));
    permit(&story, OTHER, G1, ""); /* the same guest */
    g_assert_cmpuint(count_permits(&story), ==, 1);
    end(&story);
}

/* --- after a restart -------------------------------------------------------------------------------- */

static ApmigLockRecord *
held_record(void)
{
    ApmigLockRecord *record = g_new0(ApmigLockRecord, 1);

    record->id = g_strdup(LOCK);
    record->scope = apmig_scope_parse("04.*", NULL);
    record->reason = g_strdup("AES rotation");
    record->change_id = g_strdup("");
    record->owner_name = g_strdup("cora");
    record->requested_at = record->held_at = REALTIME;
    return record;
}

static void
restart(Story *story, const char *used_by, gboolean outgoing, gint64 expires_at)
{
    g_autoptr(GPtrArray) locks = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_lock_record_free);
    const ApmigPermit record = {
        PERMIT,   G1,       "g1",       "host dies",     1001,     1001, "dora",
        REALTIME, REALTIME, expires_at, (char *)used_by, outgoing,
    };

    prepare(story);
    g_ptr_array_add(locks, held_record());
    load(story, locks, &record);
    tell(story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
}

static void
test_outgoing_goes_on_over_a_restart(void)
{
    Story story;

    restart(&story, G1, TRUE, 0);
    story.jobs[0] = APMIG_JOB_OUTGOING;
    answer_all(&story);
    pass(&story, 50000);
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    g_assert_cmpuint(the_lock(&story)->record->breaches, ==, 0);
    assert_state(&story, "draining"); /* that there is no other has not been proven since */
    story.jobs[0] = APMIG_JOB_NONE;
    pass(&story, 50000);
    expect_log(&story, APMIG_LOG_PERMIT_ENDED, "used");
    assert_state(&story, "held");
    end(&story);
}

/* A hook that found no daemon let it in. */
static void
test_used_by_a_hook_counts_as_admitted(void)
{
    Story story;

    restart(&story, G1, FALSE, 0);
    story.jobs[0] = APMIG_JOB_GONE;
    answer_all(&story);
    pass(&story, 30 * SECOND);
    assert_state(&story, "draining");
    story.jobs[0] = APMIG_JOB_INCOMING;
    pass(&story, SECOND);
    expect_none(&story, APMIG_ACTION_RUN_STEP);
    g_assert_cmpuint(the_lock(&story)->record->breaches, ==, 0);
    story.jobs[0] = APMIG_JOB_NONE;
    pass(&story, SECOND);
    expect_log(&story, APMIG_LOG_PERMIT_ENDED, "used");
    pass(&story, 50000);
    assert_state(&story, "held");
    end(&story);
}

static void
test_open_one_counts_after_a_restart(void)
{
    Story story;

    restart(&story, NULL, FALSE, 1000 * SECOND + MINUTE);
    answer_all(&story);
    assert_state(&story, "held");
    story.jobs[0] = APMIG_JOB_OUTGOING;
    pass(&story, 6 * SECOND);
    assert_state(&story, "permitted");
    end(&story);
    restart(&story, NULL, FALSE, 1000 * SECOND);
    expect_log(&story, APMIG_LOG_PERMIT_ENDED, "expired");
    g_assert_cmpuint(count_permits(&story), ==, 0);
    end(&story);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/permits/leaves-once-and-is-no-breach", test_leaves_once_and_is_no_breach);
    g_test_add_func("/permits/held-again-by-a-reading-that-began-afterwards",
                    test_held_again_by_a_reading_that_began_afterwards);
    g_test_add_func("/permits/breach-of-another-guest-wins", test_breach_of_another_guest_wins);
    g_test_add_func("/permits/given-to-what-migrates-already", test_given_to_what_migrates_already);
    g_test_add_func("/permits/later-than-a-request", test_later_than_a_request_that_would_be_refused);
    g_test_add_func("/permits/comes-in-once", test_comes_in_once);
    g_test_add_func("/permits/no-yes-before-it-is-noted-as-used", test_no_yes_before_it_is_noted_as_used);
    g_test_add_func("/permits/expires-and-is-revoked", test_expires_and_is_revoked);
    g_test_add_func("/permits/many-are-refused", test_many_are_refused);
    g_test_add_func("/permits/whose-it-is", test_whose_it_is);
    g_test_add_func("/permits/outgoing-goes-on-over-a-restart", test_outgoing_goes_on_over_a_restart);
    g_test_add_func("/permits/used-by-a-hook-counts-as-admitted", test_used_by_a_hook_counts_as_admitted);
    g_test_add_func("/permits/open-one-counts-after-a-restart", test_open_one_counts_after_a_restart);
    return g_test_run();
}
