/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any bytes are a policy with every member in its range, or an error that can be shown and names the file. */
#include "fuzz.h"
#include "rules/rules.h"

#include <json-glib/json-glib.h>
#include <string.h>

#define UUID "11111111-1111-4111-8111-111111111111"

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

/* The settings of whatever guest are as good as those of the top level. */
static void
check_guest(const ApmigPolicy *policy, const char *name)
{
    ApmigGuestSettings settings = apmig_policy_for_guest(policy, UUID, name, NULL);

    g_assert_cmpint(settings.on_busy, !=, APMIG_ON_BUSY_UNSET);
    g_assert_cmpuint(settings.n_steps - 1, <, APMIG_POLICY_MAX_STEPS);
    for (guint i = 0; i < settings.n_steps; i++)
        g_assert_true(apmig_guest_settings_find_step(&settings, settings.steps[i].step) ==
                      &settings.steps[i]);
    g_assert_cmpint(settings.admission_usec, >=, G_USEC_PER_SEC);
    g_assert_cmpint(settings.admission_usec, <=, 3600 * (gint64)G_USEC_PER_SEC);
    g_assert_true(!settings.rule || settings.rule->pattern || settings.rule->scope ||
                  g_ascii_strcasecmp(settings.rule->guest, UUID) == 0);
}

/* Each pattern is a hostile name, too, and so is a piece of one. */
static void
check_rules(const ApmigPolicy *policy)
{
    g_autofree char *json = apmig_policy_describe(policy);
    g_autoptr(JsonNode) node = json_from_string(json, NULL);

    g_assert_nonnull(node);
    check_guest(policy, "g1");
    for (guint i = 0; policy->rules && i < policy->rules->len; i++) {
        const ApmigPolicyRule *rule = g_ptr_array_index(policy->rules, i);
        g_autofree char *piece = rule->guest ? g_strndup(rule->guest, strlen(rule->guest) - 1) : NULL;

        g_assert_true(rule->guest || rule->scope);
        if (!rule->guest)
            continue;
        check_guest(policy, rule->guest);
        check_guest(policy, piece);
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
    check_rules(policy);
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
