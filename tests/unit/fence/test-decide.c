/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fence/decide.h"

/* Every combination there is. */
#define FOR_EACH_CASE(verb, direction, state, session, fenced)                                               \
    for (int verb = 0; verb < APMIG_N_FENCE_VERBS; verb++)                                                   \
        for (int direction = 0; direction < APMIG_N_FENCE_DIRECTIONS; direction++)                           \
            for (int state = 0; state < APMIG_N_VFIO_STATES; state++)                                        \
                for (int session = 0; session < APMIG_N_SESSIONS; session++)                                 \
                    for (int fenced = 0; fenced < 2; fenced++)

/* The acts that there are, one by one: what is not among them must come to none. */
static const struct {
    ApmigFenceVerb verb;
    ApmigFenceDirection direction;
    ApmigVfioState state;
    int session; /* -1: any but loading, which contradicts */
    int fenced;  /* -1: either */
    ApmigAct act;
} acts[] = {
    {APMIG_FENCE_FENCE, APMIG_FENCE_OUT, APMIG_VFIO_PRE_COPY, -1, -1, APMIG_ACT_SET_RUNNING},
    {APMIG_FENCE_FENCE, APMIG_FENCE_OUT, APMIG_VFIO_PRE_COPY_P2P, -1, -1, APMIG_ACT_SET_STOP},
    {APMIG_FENCE_FENCE, APMIG_FENCE_OUT, APMIG_VFIO_STOP_COPY, -1, -1, APMIG_ACT_SET_STOP},
    {APMIG_FENCE_FENCE, APMIG_FENCE_IN, APMIG_VFIO_RESUMING, APMIG_SESSION_LOADING, -1, APMIG_ACT_SET_STOP},
    {APMIG_FENCE_KILL_INCOMING, APMIG_FENCE_IN, APMIG_VFIO_RESUMING, APMIG_SESSION_LOADING, -1,
     APMIG_ACT_KILL},
    {APMIG_FENCE_KILL_INCOMING, APMIG_FENCE_IN, APMIG_VFIO_STOP, APMIG_SESSION_LOADING, 1, APMIG_ACT_KILL},
    {APMIG_FENCE_KILL_INCOMING, APMIG_FENCE_IN, APMIG_VFIO_ERROR, APMIG_SESSION_LOADING, 1, APMIG_ACT_KILL},
};

static ApmigDecision
decide(int verb, int direction, int state, int session, int fenced)
{
    return apmig_fence_decide((ApmigFenceVerb)verb, (ApmigFenceDirection)direction, (ApmigVfioState)state,
                              (ApmigSession)session, fenced);
}

static ApmigAct
expected(int verb, int direction, int state, int session, int fenced)
{
    for (guint i = 0; i < G_N_ELEMENTS(acts); i++)
        if ((int)acts[i].verb == verb && (int)acts[i].direction == direction && (int)acts[i].state == state &&
            (acts[i].session < 0 ? session != APMIG_SESSION_LOADING : acts[i].session == session) &&
            (acts[i].fenced < 0 || acts[i].fenced == fenced))
            return acts[i].act;
    return APMIG_ACT_NONE;
}

static void
test_every_act(void)
{
    guint n = 0, n_acts = 0;

    FOR_EACH_CASE(verb, direction, state, session, fenced)
    {
        ApmigDecision decision = decide(verb, direction, state, session, fenced);

        g_assert_cmpint(decision.act, ==, expected(verb, direction, state, session, fenced));
        g_assert_nonnull(decision.why);
        g_assert_true(g_str_has_suffix(decision.why, "."));
        if (decision.act != APMIG_ACT_NONE)
            g_assert_cmpint(decision.result, ==, APMIG_FENCE_DONE);
        else if (verb != APMIG_FENCE_INSPECT)
            g_assert_cmpint(decision.result, !=, APMIG_FENCE_DONE);
        n++;
        n_acts += decision.act != APMIG_ACT_NONE;
    }
    g_assert_cmpuint(n, ==, 3 * 2 * 9 * 4 * 2);
    g_assert_cmpuint(n_acts, ==, 3 * 3 * 2 + 2 + 2 + 1 + 1);
}

/* What must never be, said without the table. */
static void
test_never(void)
{
    FOR_EACH_CASE(verb, direction, state, session, fenced)
    {
        ApmigAct act = decide(verb, direction, state, session, fenced).act;

        /* a look is a look */
        if (verb == APMIG_FENCE_INSPECT)
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
        /* nothing is done to a guest that runs, nor in a state that is not known */
        if (direction == APMIG_FENCE_IN && state == APMIG_VFIO_RUNNING)
            g_assert_cmpint(act, ==, APMIG_ACT_NONE);
        if (state == APMIG_VFIO_UNKNOWN)
            g_assert_cmpint(act, ==, APMIG_ACT_NONE);
    }
}

static void
test_results(void)
{
    const struct {
        int verb, direction, state, session, fenced;
        ApmigFenceResult result;
    } cases[] = {
        {APMIG_FENCE_INSPECT, APMIG_FENCE_OUT, APMIG_VFIO_RESUMING, APMIG_SESSION_LOADING, 0,
         APMIG_FENCE_DONE},
        /* all of the memory's transfer on a device without pre-copy */
        {APMIG_FENCE_FENCE, APMIG_FENCE_OUT, APMIG_VFIO_RUNNING, APMIG_SESSION_NONE, 0,
         APMIG_FENCE_NOTHING_TO_DO},
        {APMIG_FENCE_FENCE, APMIG_FENCE_OUT, APMIG_VFIO_STOP, APMIG_SESSION_SAVING, 0,
         APMIG_FENCE_NOTHING_TO_DO},
        /* a guest that is not what the daemon takes it for */
        {APMIG_FENCE_FENCE, APMIG_FENCE_OUT, APMIG_VFIO_RESUMING, APMIG_SESSION_LOADING, 0,
         APMIG_FENCE_REFUSED},
        {APMIG_FENCE_FENCE, APMIG_FENCE_IN, APMIG_VFIO_PRE_COPY, APMIG_SESSION_SAVING, 0,
         APMIG_FENCE_REFUSED},
        {APMIG_FENCE_KILL_INCOMING, APMIG_FENCE_IN, APMIG_VFIO_STOP, APMIG_SESSION_SAVING, 1,
         APMIG_FENCE_REFUSED},
        {APMIG_FENCE_KILL_INCOMING, APMIG_FENCE_OUT, APMIG_VFIO_RUNNING, APMIG_SESSION_NONE, 0,
         APMIG_FENCE_REFUSED},
        /* transferred, paused */
        {APMIG_FENCE_FENCE, APMIG_FENCE_IN, APMIG_VFIO_RESUMING, APMIG_SESSION_NONE, 0,
         APMIG_FENCE_NOT_ABORTABLE},
        {APMIG_FENCE_KILL_INCOMING, APMIG_FENCE_IN, APMIG_VFIO_RESUMING, APMIG_SESSION_NONE, 0,
         APMIG_FENCE_NOT_ABORTABLE},
        {APMIG_FENCE_KILL_INCOMING, APMIG_FENCE_IN, APMIG_VFIO_RUNNING, APMIG_SESSION_NONE, 1,
         APMIG_FENCE_NOT_ABORTABLE},
        /* stopped, but not by us */
        {APMIG_FENCE_KILL_INCOMING, APMIG_FENCE_IN, APMIG_VFIO_STOP, APMIG_SESSION_LOADING, 0,
         APMIG_FENCE_NOT_ABORTABLE},
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        ApmigDecision decision =
            decide(cases[i].verb, cases[i].direction, cases[i].state, cases[i].session, cases[i].fenced);

        g_assert_cmpint(decision.result, ==, cases[i].result);
    }
}

/* QEMU is frozen exactly where it could come to an act. */
static void
test_may_act(void)
{
    FOR_EACH_CASE(verb, direction, state, session, fenced)
    {
        if (expected(verb, direction, state, session, fenced) != APMIG_ACT_NONE)
            g_assert_true(apmig_fence_may_act((ApmigFenceVerb)verb, (ApmigFenceDirection)direction,
                                              (ApmigVfioState)state, fenced));
    }
    g_assert_false(apmig_fence_may_act(APMIG_FENCE_FENCE, APMIG_FENCE_OUT, APMIG_VFIO_RUNNING, FALSE));
    g_assert_false(apmig_fence_may_act(APMIG_FENCE_INSPECT, APMIG_FENCE_IN, APMIG_VFIO_RESUMING, FALSE));
    g_assert_false(apmig_fence_may_act(APMIG_FENCE_KILL_INCOMING, APMIG_FENCE_IN, APMIG_VFIO_STOP, FALSE));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fence/decide/every-act", test_every_act);
    g_test_add_func("/fence/decide/never", test_never);
    g_test_add_func("/fence/decide/results", test_results);
    g_test_add_func("/fence/decide/may-act", test_may_act);
    return g_test_run();
}
