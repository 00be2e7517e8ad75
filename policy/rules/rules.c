/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rules/rules.h"

#include <string.h>

/* --- one rule ------------------------------------------------------------------------------------ */

ApmigPolicyRule *
apmig_policy_rule_new(const char *origin, guint index)
{
    ApmigPolicyRule *rule = g_atomic_rc_box_new0(ApmigPolicyRule);

    rule->origin = g_strdup(origin);
    rule->index = index;
    return rule;
}

static void
rule_clear(gpointer data)
{
    ApmigPolicyRule *rule = data;

    g_free(rule->origin);
    g_free(rule->guest);
    g_clear_pointer(&rule->pattern, g_pattern_spec_free);
    apmig_scope_unref(rule->scope);
}

void
apmig_policy_rule_unref(ApmigPolicyRule *rule)
{
    g_atomic_rc_box_release_full(rule, rule_clear);
}

void
apmig_policy_rule_set_guest(ApmigPolicyRule *rule, const char *guest)
{
    rule->guest = g_strdup(guest);
    if (!g_uuid_string_is_valid(guest))
        rule->pattern = g_pattern_spec_new(guest);
}

static gboolean
has_guest_of(const ApmigPolicyRule *rule, const ApmigPolicyRule *other)
{
    if (!rule->guest || !other->guest || rule->pattern || other->pattern)
        return g_strcmp0(rule->guest, other->guest) == 0;
    return g_ascii_strcasecmp(rule->guest, other->guest) == 0;
}

gboolean
apmig_policy_rule_has_match_of(const ApmigPolicyRule *rule, const ApmigPolicyRule *other)
{
    if (!has_guest_of(rule, other) || !rule->scope != !other->scope)
        return FALSE;
    return !rule->scope || apmig_scope_equal(rule->scope, other->scope);
}

GPtrArray *
apmig_policy_rules_copy(const GPtrArray *rules)
{
    GPtrArray *copy = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_policy_rule_unref);

    for (guint i = 0; rules && i < rules->len; i++)
        g_ptr_array_add(copy, g_atomic_rc_box_acquire(g_ptr_array_index(rules, i)));
    return copy;
}

/* --- a guest and its rule ------------------------------------------------------------------------ */

/* GPatternSpec takes what it is given for UTF-8, and would read past the end of a name that is cut within a character. */
static gboolean
is_name(const char *name)
{
    gsize length = strnlen(name, APMIG_RULE_MAX_NAME + 1);

    return length <= APMIG_RULE_MAX_NAME && g_utf8_validate(name, (gssize)length, NULL);
}

/* @name: (nullable): NULL when it is none that a pattern could match */
static gboolean
rule_matches(const ApmigPolicyRule *rule, const char *uuid, const char *name, const ApmigScope *scope)
{
    if (rule->pattern && !(name && g_pattern_match_string(rule->pattern, name)))
        return FALSE;
    if (rule->guest && !rule->pattern && g_ascii_strcasecmp(rule->guest, uuid) != 0)
        return FALSE;
    return !rule->scope || apmig_scope_is_within(scope, rule->scope);
}

static const ApmigPolicyRule *
find_rule(const ApmigPolicy *policy, const char *uuid, const char *name, const ApmigScope *scope)
{
    g_autoptr(ApmigScope) queues = scope ? apmig_scope_ref((ApmigScope *)scope) : apmig_scope_new_all();
    const char *usable_name = is_name(name) ? name : NULL;

    for (guint i = 0; i < policy->rules->len; i++) {
        const ApmigPolicyRule *rule = g_ptr_array_index(policy->rules, i);

        if (rule_matches(rule, uuid, usable_name, queues))
            return rule;
    }
    return NULL;
}

ApmigGuestSettings
apmig_policy_for_guest(const ApmigPolicy *policy, const char *uuid, const char *name, const ApmigScope *scope)
{
    const ApmigPolicyRule *rule =
        policy->rules && policy->rules->len ? find_rule(policy, uuid, name, scope) : NULL;
    gboolean own_steps = rule && rule->n_steps;
    ApmigGuestSettings settings = {
        .rule = rule,
        .on_busy = rule && rule->on_busy != APMIG_ON_BUSY_UNSET ? rule->on_busy : policy->on_busy,
        .n_steps = own_steps ? rule->n_steps : policy->n_steps,
        .admission_usec = rule && rule->admission_usec ? rule->admission_usec : policy->admission_usec,
    };

    memcpy(settings.steps, own_steps ? rule->steps : policy->steps, sizeof settings.steps);
    return settings;
}

const ApmigPolicyStep *
apmig_guest_settings_find_step(const ApmigGuestSettings *settings, ApmigStep step)
{
    for (guint i = 0; i < settings->n_steps; i++)
        if (settings->steps[i].step == step)
            return &settings->steps[i];
    return NULL;
}

gboolean
apmig_policy_may_refuse(const ApmigPolicy *policy)
{
    for (guint i = 0; policy->rules && i < policy->rules->len; i++)
        if (((const ApmigPolicyRule *)g_ptr_array_index(policy->rules, i))->on_busy == APMIG_ON_BUSY_REFUSE)
            return TRUE;
    return policy->on_busy == APMIG_ON_BUSY_REFUSE;
}
