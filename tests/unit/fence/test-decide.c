/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fence/decide.h"

/* Every combination there is. */
#define FOR_EACH_CASE(verb, direction, state, session, driver)                                               \
    for (int verb = 0; verb < APMIG_N_FENCE_VERBS; verb++)                                                   \
        for (int direction = 0; direction < APMIG_N_FENCE_DIRECTIONS; direction++)                           \
            for (int state = 0; state < APMIG_N_VFIO_STATES; state++)                                        \
                for (int session = 0; session < APMIG_N_SESSIONS; session++)                                 \
                    for (int driver = 0; driver < APMIG_N_DRIVERS; driver++)

#define OTHER APMIG_DRIVER_OTHER

/* The acts that there are, one by one: what is not among them must come to none. */
static const struct {
    ApmigFenceVerb verb;
    ApmigFenceDirection direction;
    int state;   /* -1: any that is none of saving */
    int session; /* -1: any but loading, which contradicts */
    int driver;  /* -1: any */
    ApmigAct act;
} acts[] = {
    {APMIG_FENCE_FENCE, APMIG_FENCE_OUT, APMIG_VFIO_PRE_COPY, -1, OTHER, APMIG_ACT_SET_RUNNING},
    {APMIG_FENCE_FENCE, APMIG_FENCE_OUT, APMIG_VFIO_PRE_COPY_P2P, -1, OTHER, APMIG_ACT_SET_STOP},
    {APMIG_FENCE_FENCE, APMIG_FENCE_OUT, APMIG_VFIO_STOP_COPY, -1, OTHER, APMIG_ACT_SET_STOP},
    {APMIG_FENCE_FENCE, APMIG_FENCE_IN, APMIG_VFIO_RESUMING, APMIG_SESSION_LOADING, OTHER,
     APMIG_ACT_SET_STOP},
    {APMIG_FENCE_KILL_INCOMING, APMIG_FENCE_IN, -1, APMIG_SESSION_LOADING, -1, APMIG_ACT_KILL},
};

static gboolean
is_saving(int state)
{
    return state == APMIG_VFIO_PRE_COPY || state == APMIG_VFIO_PRE_COPY_P2P || state == APMIG_VFIO_STOP_COPY;
}

static ApmigDecision
decide(int verb, int direction, int state, int session, int driver)
{
    return apmig_fence_decide((ApmigFenceVerb)verb, (ApmigFenceDirection)direction, (ApmigDriver)driver,
                              (ApmigVfioState)state, (ApmigSession)session);
}

static ApmigAct
expected(int verb, int direction, int state, int session, int driver)
{
    for (guint i = 0; i < G_N_ELEMENTS(acts); i++)
        if ((int)acts[i].verb == verb && (int)acts[i].direction == direction &&
            (acts[i].state < 0 ? !is_saving(state) : acts[i].state == state) &&
            (acts[i].session < 0 ? session != APMIG_SESSION_LOADING : acts[i].session == session) &&
            (acts[i].driver < 0 || acts[i].driver == driver))
            return acts[i].act;
    return APMIG_ACT_NONE;
}

static void
test_every_act(void)
{
    guint n = 0, n_acts = 0;

    FOR_EACH_CASE(verb, direction, state, session, driver)
    {
        ApmigDecision decision = decide(verb, direction, state, session, driver);

        g_assert_cmpint(decision.act, ==, expected(verb, direction, state, session, driver));
        g_assert_nonnull(decision.why);
        g_assert_true(g_str_has_suffix(decision.why, "."));
        if (decision.act != APMIG_ACT_NONE)
            g_assert_cmpint(decision.result, ==, APMIG_FENCE_DONE);
        else if (!apmig_fence_verb_only_looks(verb))
            g_assert_cmpint(decision.result, !=, APMIG_FENCE_DONE);
        n++;
        n_acts += decision.act != APMIG_ACT_NONE;
    }
    g_assert_cmpuint(n, ==, 4 * 2 * 9 * 4 * 3);
    g_assert_cmpuint(n_acts, ==, 3 * 3 + 1 + 6 * 3);
}

/* What must never be, said without the table. */
static void
test_never(void)
{
    FOR_EACH_CASE(verb, direction, state, session, driver)
    {
        ApmigAct act = decide(verb, direction, state, session, driver).act;

        /* a look is a look */
        if (apmig_fence_verb_only_looks(verb))
            g_assert_cmpint(act, ==, APMIG_ACT_NONE);
        /* a device is set to run at the source only, and only where its guest runs */
        if (act == APMIG_ACT_SET_RUNNING)
            g_assert_true(direction == APMIG_FENCE_OUT && state == APMIG_VFIO_PRE_COPY);
        /* a source is never killed, nor anybody whose load may be finished, nor unasked */
        if (act == APMIG_ACT_KILL)
            g_assert_true(verb == APMIG_FENCE_KILL_INCOMING && direction == APMIG_FENCE_IN &&
                          session == APMIG_SESSION_LOADING);
        /* at a destination a device that runs, is stopped or has failed is left alone */
        if (verb == APMIG_FENCE_FENCE && direction == APMIG_FENCE_IN && state != APMIG_VFIO_RESUMING)
            g_assert_cmpint(act, ==, APMIG_ACT_NONE);
        /* so is one at a source that runs or is stopped */
        if (direction == APMIG_FENCE_OUT &&
            (state == APMIG_VFIO_RUNNING || state == APMIG_VFIO_STOP || state == APMIG_VFIO_RUNNING_P2P))
            g_assert_cmpint(act, ==, APMIG_ACT_NONE);
        /* no state is set that the driver does nothing with, nor out of one that is not known */
        if (driver != APMIG_DRIVER_OTHER || state == APMIG_VFIO_UNKNOWN)
            g_assert_true(act == APMIG_ACT_NONE || act == APMIG_ACT_KILL);
    }
}

static void
test_results(void)
{
    const struct {
        int verb, direction, state, session, driver;
        ApmigFenceResult result;
    } cases[] = {
        {APMIG_FENCE_INSPECT, APMIG_FENCE_OUT, APMIG_VFIO_RESUMING, APMIG_SESSION_LOADING, OTHER,
         APMIG_FENCE_DONE},
        /* what QEMU holds alone, whatever the state: that is not asked for; one that is not clear may be it */
        {APMIG_FENCE_LOOK, APMIG_FENCE_OUT, APMIG_VFIO_UNKNOWN, APMIG_SESSION_SAVING, APMIG_DRIVER_UNKNOWN,
         APMIG_FENCE_DONE},
        {APMIG_FENCE_LOOK, APMIG_FENCE_OUT, APMIG_VFIO_UNKNOWN, APMIG_SESSION_UNCLEAR, APMIG_DRIVER_UNKNOWN,
         APMIG_FENCE_DONE},
        {APMIG_FENCE_LOOK, APMIG_FENCE_OUT, APMIG_VFIO_UNKNOWN, APMIG_SESSION_LOADING, APMIG_DRIVER_UNKNOWN,
         APMIG_FENCE_NOTHING_TO_DO},
        {APMIG_FENCE_LOOK, APMIG_FENCE_OUT, APMIG_VFIO_UNKNOWN, APMIG_SESSION_NONE, APMIG_DRIVER_UNKNOWN,
         APMIG_FENCE_NOTHING_TO_DO},
        /* all of the memory's transfer on a device without pre-copy */
        {APMIG_FENCE_FENCE, APMIG_FENCE_OUT, APMIG_VFIO_RUNNING, APMIG_SESSION_NONE, OTHER,
         APMIG_FENCE_NOTHING_TO_DO},
        {APMIG_FENCE_FENCE, APMIG_FENCE_OUT, APMIG_VFIO_STOP, APMIG_SESSION_SAVING, OTHER,
         APMIG_FENCE_NOTHING_TO_DO},
        /* a guest that is not what the daemon takes it for */
        {APMIG_FENCE_FENCE, APMIG_FENCE_OUT, APMIG_VFIO_RESUMING, APMIG_SESSION_LOADING, OTHER,
         APMIG_FENCE_REFUSED},
        {APMIG_FENCE_FENCE, APMIG_FENCE_IN, APMIG_VFIO_PRE_COPY, APMIG_SESSION_SAVING, OTHER,
         APMIG_FENCE_REFUSED},
        {APMIG_FENCE_KILL_INCOMING, APMIG_FENCE_IN, APMIG_VFIO_STOP, APMIG_SESSION_SAVING, OTHER,
         APMIG_FENCE_REFUSED},
        {APMIG_FENCE_KILL_INCOMING, APMIG_FENCE_OUT, APMIG_VFIO_RUNNING, APMIG_SESSION_NONE, OTHER,
         APMIG_FENCE_REFUSED},
        /* transferred, paused */
        {APMIG_FENCE_FENCE, APMIG_FENCE_IN, APMIG_VFIO_RESUMING, APMIG_SESSION_NONE, OTHER,
         APMIG_FENCE_NOT_ABORTABLE},
        {APMIG_FENCE_KILL_INCOMING, APMIG_FENCE_IN, APMIG_VFIO_RESUMING, APMIG_SESSION_NONE, OTHER,
         APMIG_FENCE_NOT_ABORTABLE},
        /* not begun, or over */
        {APMIG_FENCE_KILL_INCOMING, APMIG_FENCE_IN, APMIG_VFIO_RUNNING, APMIG_SESSION_NONE, OTHER,
         APMIG_FENCE_NOTHING_TO_DO},
        /* it would change the state, and end nothing */
        {APMIG_FENCE_FENCE, APMIG_FENCE_IN, APMIG_VFIO_RESUMING, APMIG_SESSION_LOADING, APMIG_DRIVER_VFIO_AP,
         APMIG_FENCE_NOTHING_TO_DO},
        {APMIG_FENCE_FENCE, APMIG_FENCE_OUT, APMIG_VFIO_STOP_COPY, APMIG_SESSION_SAVING, APMIG_DRIVER_VFIO_AP,
         APMIG_FENCE_NOTHING_TO_DO},
        /* nobody knows what it would do */
        {APMIG_FENCE_FENCE, APMIG_FENCE_IN, APMIG_VFIO_RESUMING, APMIG_SESSION_LOADING, APMIG_DRIVER_UNKNOWN,
         APMIG_FENCE_FAILED},
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        ApmigDecision decision =
            decide(cases[i].verb, cases[i].direction, cases[i].state, cases[i].session, cases[i].driver);

        g_assert_cmpint(decision.result, ==, cases[i].result);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fence/decide/every-act", test_every_act);
    g_test_add_func("/fence/decide/never", test_never);
    g_test_add_func("/fence/decide/results", test_results);
    return g_test_run();
}
