/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any bytes are a policy with every member in its range, or an error that can be shown and names the file. */
#include "fuzz.h"
#include "policy.h"

static void
check_steps(const ApmigPolicy *policy)
{
    g_assert_cmpuint(policy->n_steps - 1, <, APMIG_POLICY_MAX_STEPS);
    for (guint i = 0; i < policy->n_steps; i++) {
        const ApmigPolicyStep *step = &policy->steps[i];

        g_assert_cmpuint(step->step, <, APMIG_N_STEPS);
        g_assert_cmpint(step->deadline_usec, >=, 100 * 1000);
        g_assert_cmpint(step->deadline_usec, <=, 600 * G_USEC_PER_SEC);
        g_assert_true(apmig_policy_find_step(policy, step->step) == step); /* none twice */
    }
}

static void
check_policy(const ApmigPolicy *policy)
{
    ApmigOnBusy on_busy = APMIG_ON_BUSY_UNSET;

    g_assert_true(apmig_on_busy_from_string(apmig_on_busy_to_string(policy->on_busy), &on_busy));
    g_assert_cmpint(on_busy, ==, policy->on_busy);
    check_steps(policy);
    g_assert_cmpint(policy->admission_usec, >=, G_USEC_PER_SEC);
    g_assert_cmpint(policy->admission_usec, <=, 3600 * (gint64)G_USEC_PER_SEC);
    g_assert_cmpint(policy->draining_interval_usec, >=, 10 * 1000);
    g_assert_cmpint(policy->draining_interval_usec, <=, 10 * G_USEC_PER_SEC);
    g_assert_cmpint(policy->held_interval_usec, >=, 100 * 1000);
    g_assert_cmpint(policy->held_interval_usec, <=, 60 * G_USEC_PER_SEC);
    g_assert_cmpint(policy->request_timeout_usec, >=, 100 * 1000);
    g_assert_cmpint(policy->request_timeout_usec, <=, 24 * 3600 * (gint64)G_USEC_PER_SEC);
    g_assert_cmpuint(policy->max_locks - 1, <, 1024);
    g_assert_cmpuint(policy->max_locks_per_user - 1, <, 1024);
    g_assert_cmpuint(policy->max_admissions - 1, <, 65536);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigPolicy) policy = apmig_policy_parse((const char *)data, size, "fuzz.json", NULL, &error);

    if (policy) {
        g_assert_no_error(error);
        check_policy(policy);
    } else {
        fuzz_check_error(error, APMIG_ERROR_INVALID_OPTION);
        g_assert_true(g_str_has_prefix(error->message, "fuzz.json:"));
    }
    return 0;
}
