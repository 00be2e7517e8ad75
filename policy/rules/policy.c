/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rules/policy.h"

#define MILLISECOND G_GINT64_CONSTANT(1000)
#define SECOND      (1000 * MILLISECOND)

static const ApmigPolicy built_in = {
    .on_busy = APMIG_ON_BUSY_ABORT,
    .steps = {{APMIG_STEP_LIBVIRT_ABORT, 5 * SECOND},
              {APMIG_STEP_VFIO_STATE, 2 * SECOND},
              {APMIG_STEP_KILL_INCOMING, 5 * SECOND}},
    .n_steps = 3,
    .admission_usec = 60 * SECOND,
    .draining_interval_usec = 50 * MILLISECOND,
    .held_interval_usec = 5 * SECOND,
    .silence_usec = 15 * SECOND,
    .request_timeout_usec = 20 * SECOND,
    .on_release = APMIG_ON_RELEASE_VERIFY,
    .release_verify_usec = 10 * SECOND,
    .evidence_interval_usec = 30 * SECOND,
    .watch_keys_usec = 0,
    .on_unannounced = APMIG_ON_UNANNOUNCED_WARN,
    .on_config_change = APMIG_ON_UNANNOUNCED_WARN,
    .max_locks = 64,
    .max_locks_per_user = 16,
    .max_admissions = 1024,
    .stamp = APMIG_STAMP_FULL,
    .keys_differ = APMIG_STAMP_DENY,
    .keys_unknown = APMIG_STAMP_WARN,
    .stamp_missing = APMIG_STAMP_WARN,
    .stamp_fresh_seconds = 90 * 24 * 3600,
    .remap_devices = APMIG_REMAP_OFF,
};

/* --- values -------------------------------------------------------------------------------------- */

ApmigPolicy *
apmig_policy_new_default(void)
{
    return apmig_policy_copy(&built_in);
}

ApmigPolicy *
apmig_policy_copy(const ApmigPolicy *policy)
{
    ApmigPolicy *copy = g_new(ApmigPolicy, 1);

    *copy = *policy;
    if (copy->rules)
        g_ptr_array_ref(copy->rules);
    if (copy->origins)
        g_hash_table_ref(copy->origins);
    return copy;
}

void
apmig_policy_free(ApmigPolicy *policy)
{
    if (!policy)
        return;
    g_clear_pointer(&policy->rules, g_ptr_array_unref);
    g_clear_pointer(&policy->origins, g_hash_table_unref);
    g_free(policy);
}

const char *const apmig_on_busy_words[] = {
    [APMIG_ON_BUSY_UNSET] = "",
    [APMIG_ON_BUSY_ABORT] = "abort",
    [APMIG_ON_BUSY_WAIT] = "wait",
    [APMIG_ON_BUSY_REFUSE] = "refuse",
    NULL,
};

const char *
apmig_on_busy_to_string(ApmigOnBusy on_busy)
{
    g_return_val_if_fail((guint)on_busy <= APMIG_ON_BUSY_REFUSE, "");
    return apmig_on_busy_words[on_busy];
}

gboolean
apmig_on_busy_from_string(const char *text, ApmigOnBusy *ret_on_busy)
{
    for (guint i = APMIG_ON_BUSY_ABORT; apmig_on_busy_words[i]; i++) {
        if (g_str_equal(text, apmig_on_busy_words[i])) {
            *ret_on_busy = (ApmigOnBusy)i;
            return TRUE;
        }
    }
    return FALSE;
}

const char *const apmig_step_words[] = {
    [APMIG_STEP_LIBVIRT_ABORT] = "libvirt-abort",
    [APMIG_STEP_VFIO_STATE] = "vfio-state",
    [APMIG_STEP_KILL_INCOMING] = "kill-incoming",
    NULL,
};

const char *
apmig_step_to_string(ApmigStep step)
{
    g_return_val_if_fail((guint)step < APMIG_N_STEPS, "");
    return apmig_step_words[step];
}

const ApmigPolicyStep *
apmig_policy_find_step(const ApmigPolicy *policy, ApmigStep step)
{
    for (guint i = 0; i < policy->n_steps; i++)
        if (policy->steps[i].step == step)
            return &policy->steps[i];
    return NULL;
}
