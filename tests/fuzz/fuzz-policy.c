/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any bytes are a policy with every member in its range, or an error whose sentence is short and printable. */
#include "policy.h"

#include "error.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

static void
check_sentence(const GError *error)
{
    g_assert_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION);
    g_assert_true(g_str_has_prefix(error->message, "fuzz.json:"));
    g_assert_cmpuint(strlen(error->message), <, 512);
    for (const char *p = error->message; *p != '\0'; p++)
        g_assert_true(g_ascii_isprint(*p));
}

static void
check_policy(const ApmigPolicy *policy)
{
    g_assert_cmpint(policy->on_busy, >=, APMIG_ON_BUSY_ABORT);
    g_assert_cmpint(policy->on_busy, <=, APMIG_ON_BUSY_REFUSE);
    g_assert_cmpuint(policy->n_steps, >=, 1);
    g_assert_cmpuint(policy->n_steps, <=, APMIG_POLICY_MAX_STEPS);
    for (guint i = 0; i < policy->n_steps; i++) {
        g_assert_cmpint(policy->steps[i].step, ==, APMIG_STEP_LIBVIRT_ABORT);
        g_assert_cmpint(policy->steps[i].deadline_usec, >=, 100000);
    }
    g_assert_cmpint(policy->admission_usec, >=, 1000000);
    g_assert_cmpint(policy->draining_interval_usec, >=, 10000);
    g_assert_cmpint(policy->held_interval_usec, >=, 100000);
    g_assert_cmpint(policy->request_timeout_usec, >=, 100000);
    g_assert_cmpuint(policy->max_locks - 1, <, 1024);
    g_assert_cmpuint(policy->max_locks_per_user - 1, <, 1024);
    g_assert_cmpuint(policy->max_admissions - 1, <, 65536);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigPolicy) policy = apmig_policy_parse((const char *)data, size, "fuzz.json", NULL, &error);

    if (policy == NULL)
        check_sentence(error);
    else
        check_policy(policy);
    return 0;
}
