/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the engine makes of guests whose device is taken away, and given back, under locks. */
#include "engine/fixture.h"

#define G1 "11111111-1111-4111-8111-111111111111"
#define D1 "a1b2c3d4-f1bb-47f0-914d-000000000101"
#define D2 "a1b2c3d4-f1bb-47f0-914d-000000000102"

typedef struct {
    Story story;
    /* the only guest, as the hypervisor would tell */
    const char *device; /* NULL: it has none, and no queues */
    const char *scope;
    gboolean is_active;
    ApmigJob job;
} Fixture;

static gboolean
answer(Fixture *fixture)
{
    const ApmigGuestName guests[] = {{G1, "g1"}};
    const char *const devices[] = {fixture->device, NULL};
    ApmigEvent guest = {.answered = {.job = fixture->job, .facts = {.devices = devices}}};

    return answer_list(&fixture->story, guests, fixture->is_active ? 1 : 0) ||
           answer_query(&fixture->story, fixture->device ? fixture->scope : NULL, guest) ||
           answer_write(&fixture->story);
}

/* Everything is answered, over several readings. */
static void
settle(Fixture *fixture)
{
    for (guint i = 0; i < 3; i++) {
        while (answer(fixture))
            ;
        pass(&fixture->story, 6 * G_USEC_PER_SEC);
    }
    while (answer(fixture))
        ;
}

static void
set_up(Fixture *fixture, gconstpointer data)
{
    begin(&fixture->story);
    fixture->is_active = TRUE;
    fixture->device = D1;
    fixture->scope = "04.0012";
    open_view(&fixture->story);
}

static void
tear_down(Fixture *fixture, gconstpointer data)
{
    end(&fixture->story);
}

static void
hold(Fixture *fixture, const char *id, const char *scope)
{
    take_lock(&fixture->story, id, scope, (ApmigEvent){.caller = 1, .take = {.no_wait = TRUE}});
    settle(fixture);
    g_assert_cmpint(apmig_engine_lookup_lock(fixture->story.engine, id)->state, ==, APMIG_LOCK_HELD);
}

static void
release(Fixture *fixture, const char *id)
{
    tell(&fixture->story, (ApmigEvent){.type = APMIG_EVENT_RELEASE, .caller = 2, .release = {id, TRUE}});
    settle(fixture);
    g_assert_nonnull(apmig_engine_lookup_lock(fixture->story.engine, id)->result);
}

static void
plug(Fixture *fixture, const char *device)
{
    fixture->device = device;
    tell(&fixture->story,
         (ApmigEvent){.type = APMIG_EVENT_GUEST_NEWS, .news = {G1, NULL, APMIG_NEWS_PLUGGED}});
    settle(fixture);
}

/* How many such entries there are for the guest; they are taken away. */
static guint
count_logs(Fixture *fixture, ApmigLog log)
{
    guint n = 0;

    for (guint i = fixture->story.actions->len; i > 0; i--) {
        const ApmigAction *action = fixture->story.actions->pdata[i - 1];

        if (action->type != APMIG_ACTION_LOG || action->entry.log != log)
            continue;
        g_assert_cmpstr(action->entry.uuid, ==, G1);
        g_ptr_array_remove_index(fixture->story.actions, i - 1);
        n++;
    }
    return n;
}

static void
migrate(Fixture *fixture)
{
    fixture->job = APMIG_JOB_OUTGOING;
    tell(&fixture->story, (ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {G1, "g1"}});
    settle(fixture);
}

static gboolean
is_aborted(Fixture *fixture)
{
    g_autoptr(ApmigAction) step = next(&fixture->story, APMIG_ACTION_RUN_STEP);

    return step && step->step.kind == APMIG_STEP_LIBVIRT_ABORT;
}

/* --- taken away ---------------------------------------------------------------------------------- */

static void
test_taken_away_under_a_lock(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GPtrArray) migrations = NULL;

    hold(fixture, "aaaaaaaa", "04.*");
    plug(fixture, NULL);
    g_assert_cmpint(apmig_engine_lookup_lock(fixture->story.engine, "aaaaaaaa")->state, ==, APMIG_LOCK_HELD);
    migrate(fixture);
    g_assert_cmpint(apmig_engine_lookup_lock(fixture->story.engine, "aaaaaaaa")->state, ==,
                    APMIG_LOCK_BREACHED);
    g_assert_true(is_aborted(fixture));
    migrations = apmig_engine_list_migrations(fixture->story.engine);
    g_assert_cmpuint(migrations->len, ==, 1);
    g_assert_cmpstr(apmig_scope_to_string(((const ApmigMigration *)migrations->pdata[0])->scope), ==,
                    "04.0012");
}

/* A lock over other queues is no reason, nor is one that came later. */
static void
test_taken_away_without_a_lock(Fixture *fixture, gconstpointer data)
{
    hold(fixture, "aaaaaaaa", "05.*");
    plug(fixture, NULL);
    hold(fixture, "bbbbbbbb", "04.*");
    migrate(fixture);
    g_assert_false(is_aborted(fixture));
    g_assert_cmpint(apmig_engine_lookup_lock(fixture->story.engine, "bbbbbbbb")->state, ==, APMIG_LOCK_HELD);
}

static void
test_until_the_lock_ends(Fixture *fixture, gconstpointer data)
{
    hold(fixture, "aaaaaaaa", "04.*");
    plug(fixture, NULL);
    release(fixture, "aaaaaaaa");
    hold(fixture, "bbbbbbbb", "04.*");
    migrate(fixture);
    g_assert_false(is_aborted(fixture));
    g_assert_cmpint(apmig_engine_lookup_lock(fixture->story.engine, "bbbbbbbb")->state, ==, APMIG_LOCK_HELD);
}

/* Its migration goes on beyond the lock, and is then that of a guest of which nothing is known yet. */
static void
test_migration_outlives_the_lock(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GPtrArray) migrations = NULL;

    hold(fixture, "aaaaaaaa", "04.*");
    plug(fixture, NULL);
    migrate(fixture);
    tell(&fixture->story,
         (ApmigEvent){.type = APMIG_EVENT_RELEASE, .caller = 2, .release = {"aaaaaaaa", TRUE}});
    g_assert_true(answer_write(&fixture->story));
    migrations = apmig_engine_list_migrations(fixture->story.engine);
    g_assert_cmpuint(migrations->len, ==, 1);
    g_assert_false(((const ApmigMigration *)migrations->pdata[0])->scope_known);
    settle(fixture);
    g_clear_pointer(&migrations, g_ptr_array_unref);
    migrations = apmig_engine_list_migrations(fixture->story.engine);
    g_assert_cmpuint(migrations->len, ==, 0); /* it has no AP queues */
}

/* libvirtd restarts in between. */
static void
test_over_a_lost_view(Fixture *fixture, gconstpointer data)
{
    hold(fixture, "aaaaaaaa", "04.*");
    tell(&fixture->story, (ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {"it went away"}});
    fixture->device = NULL;
    tell(&fixture->story, (ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
    settle(fixture);
    migrate(fixture);
    g_assert_true(is_aborted(fixture));
}

/* What starts without a device is another matter. */
static void
test_stopped(Fixture *fixture, gconstpointer data)
{
    hold(fixture, "aaaaaaaa", "04.*");
    fixture->is_active = FALSE;
    fixture->job = APMIG_JOB_GONE;
    tell(&fixture->story,
         (ApmigEvent){.type = APMIG_EVENT_GUEST_NEWS, .news = {G1, NULL, APMIG_NEWS_STOPPED}});
    settle(fixture);
    fixture->is_active = TRUE;
    fixture->job = APMIG_JOB_NONE;
    fixture->device = NULL;
    tell(&fixture->story,
         (ApmigEvent){.type = APMIG_EVENT_GUEST_NEWS, .news = {G1, NULL, APMIG_NEWS_STARTED}});
    settle(fixture);
    migrate(fixture);
    g_assert_false(is_aborted(fixture));
    g_assert_cmpuint(count_logs(fixture, APMIG_LOG_GUEST_REPLUGGED), ==, 0);
}

/* --- given back ---------------------------------------------------------------------------------- */

static void
test_given_back(Fixture *fixture, gconstpointer data)
{
    hold(fixture, "aaaaaaaa", "04.*");
    g_assert_cmpuint(count_logs(fixture, APMIG_LOG_GUEST_REPLUGGED), ==, 0); /* it has it all the time */
    plug(fixture, D1);                                                       /* a disk, perhaps */
    plug(fixture, NULL);
    g_assert_cmpuint(count_logs(fixture, APMIG_LOG_GUEST_REPLUGGED), ==, 0);
    plug(fixture, D1);
    g_assert_cmpuint(count_logs(fixture, APMIG_LOG_GUEST_REPLUGGED), ==, 1);
    plug(fixture, D2); /* in exchange for another one */
    g_assert_cmpuint(count_logs(fixture, APMIG_LOG_GUEST_REPLUGGED), ==, 1);
    g_assert_false(is_aborted(fixture));
    g_assert_cmpint(apmig_engine_lookup_lock(fixture->story.engine, "aaaaaaaa")->state, ==, APMIG_LOCK_HELD);
}

static void
test_given_back_elsewhere(Fixture *fixture, gconstpointer data)
{
    hold(fixture, "aaaaaaaa", "05.*");
    plug(fixture, NULL);
    plug(fixture, D1);
    g_assert_cmpuint(count_logs(fixture, APMIG_LOG_GUEST_REPLUGGED), ==, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, func) g_test_add("/engine-unplug/" path, Fixture, NULL, set_up, func, tear_down)
    ADD("taken-away-under-a-lock", test_taken_away_under_a_lock);
    ADD("taken-away-without-a-lock", test_taken_away_without_a_lock);
    ADD("until-the-lock-ends", test_until_the_lock_ends);
    ADD("migration-outlives-the-lock", test_migration_outlives_the_lock);
    ADD("over-a-lost-view", test_over_a_lost_view);
    ADD("stopped", test_stopped);
    ADD("given-back", test_given_back);
    ADD("given-back-elsewhere", test_given_back_elsewhere);
#undef ADD
    return g_test_run();
}
