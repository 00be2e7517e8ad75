/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A policy read from JSON: its rules, and the whole.
 */
#include "base/error.h"
#include "rules/private.h"
#include "rules/rules.h"

#include <string.h>

/* --- rules ------------------------------------------------------------------------------------- */

/* --- rules --------------------------------------------------------------------------------------- */

static gboolean
read_match_guest(ApmigPolicyRule *rule, const ApmigJsonPlace *place, GError **error)
{
    static const char *const expected = "a guest's UUID, or its name with * and ? for what may vary";
    const char *guest = NULL;

    if (!json_object_has_member(place->object, "guest"))
        return TRUE;
    if (!apmig_json_read_string(place, "guest", expected, &guest, error))
        return FALSE;
    if (*guest == '\0' || strlen(guest) > APMIG_RULE_MAX_GUEST)
        return apmig_json_fail(place, "guest", error, "must be 1 to %u bytes, %s", APMIG_RULE_MAX_GUEST,
                               expected);
    apmig_policy_rule_set_guest(rule, guest);
    return TRUE;
}

static gboolean
read_match_scope(ApmigPolicyRule *rule, const ApmigJsonPlace *place, GError **error)
{
    const char *scope = NULL;
    g_autoptr(GError) cause = NULL;

    if (!json_object_has_member(place->object, "scope"))
        return TRUE;
    if (!apmig_json_read_string(place, "scope", "AP queues such as \"04.*\"", &scope, error))
        return FALSE;
    rule->scope = apmig_scope_parse(scope, &cause);
    return rule->scope ||
           apmig_json_fail(place, "scope", error, "does not read: %.*s", (int)strlen(cause->message) - 1,
                           cause->message); /* its full stop */
}

static gboolean
read_match(ApmigPolicyRule *rule, const ApmigJsonPlace *place, GError **error)
{
    static const char *const keys[] = {"guest", "scope", NULL};
    g_autofree char *path = g_strdup_printf("%s.match", place->path);
    JsonNode *node = json_object_get_member(place->object, "match");
    ApmigJsonPlace inner = {place->origin, path, NULL};

    if (node && JSON_NODE_HOLDS_OBJECT(node))
        inner.object = json_node_get_object(node);
    if (!inner.object || json_object_get_size(inner.object) == 0)
        return apmig_json_fail(
            place, "match", error,
            "must be an object with \"guest\", \"scope\" or both, for what holds for all guests "
            "stands at the top level");
    return apmig_json_check_keys(&inner, keys, POLICY_NOT_A_KEY, error) &&
           read_match_guest(rule, &inner, error) && read_match_scope(rule, &inner, error);
}

/* A key of locks or of the host means nothing for one guest, and one of the gates would be dodged by who chooses a
 * name. */
static gboolean
refuse_keys_of_all(const ApmigJsonPlace *place, const char *const *keys, const char *const *top_keys,
                   GError **error)
{
    g_autoptr(GList) members = json_object_get_members(place->object);

    for (GList *member = members; member; member = member->next)
        if (g_strv_contains(top_keys, member->data) && !g_strv_contains(keys, member->data))
            return apmig_json_fail(place, member->data, error,
                                   "does not depend on the guest: it stands at the top level alone");
    return TRUE;
}

static gboolean
read_rule_settings(ApmigPolicyRule *rule, const ApmigJsonPlace *place, GError **error)
{
    ApmigPolicy own = {.on_busy = APMIG_ON_BUSY_UNSET};

    if (!policy_read_settings(&own, place, error))
        return FALSE;
    rule->on_busy = own.on_busy;
    memcpy(rule->steps, own.steps, sizeof rule->steps);
    rule->n_steps = own.n_steps;
    rule->admission_usec = own.admission_usec;
    return TRUE;
}

/* @n_before: rules of other files */
static gboolean
refuse_match_twice(const GPtrArray *rules, guint n_before, const ApmigPolicyRule *rule,
                   const ApmigJsonPlace *place, GError **error)
{
    for (guint i = n_before; i < rules->len; i++)
        if (apmig_policy_rule_has_match_of(g_ptr_array_index(rules, i), rule))
            return apmig_json_fail(
                place, "match", error,
                "is that of $.rules[%u], which comes first and so is the only one that counts: "
                "make one rule of the two",
                i - n_before);
    return TRUE;
}

static ApmigPolicyRule *
read_rule(const ApmigJsonPlace *place, guint index, const char *const *top_keys, GError **error)
{
    static const char *const keys[] = {"match", "on-busy", "steps", "admission-usec", NULL};
    g_autoptr(ApmigPolicyRule) rule = apmig_policy_rule_new(place->origin, index);

    if (!refuse_keys_of_all(place, keys, top_keys, error) ||
        !apmig_json_check_keys(place, keys, POLICY_NOT_A_KEY, error) || !read_match(rule, place, error) ||
        !read_rule_settings(rule, place, error))
        return NULL;
    return g_steal_pointer(&rule);
}

static gboolean
add_rule(GPtrArray *rules, guint n_before, const ApmigJsonPlace *place, JsonNode *element,
         const char *const *top_keys, GError **error)
{
    guint index = rules->len - n_before;
    g_autofree char *key = g_strdup_printf("rules[%u]", index);
    g_autofree char *path = g_strdup_printf("%s.%s", place->path, key);
    ApmigJsonPlace inner = {place->origin, path, NULL};
    g_autoptr(ApmigPolicyRule) rule = NULL;

    if (!JSON_NODE_HOLDS_OBJECT(element))
        return apmig_json_fail(place, key, error, "must be an object with \"match\" and settings");
    inner.object = json_node_get_object(element);
    rule = read_rule(&inner, index, top_keys, error);
    if (!rule || !refuse_match_twice(rules, n_before, rule, &inner, error))
        return FALSE;
    g_ptr_array_add(rules, g_steal_pointer(&rule));
    return TRUE;
}

static gboolean
read_rules(ApmigPolicy *policy, const ApmigJsonPlace *place, const char *const *top_keys, GError **error)
{
    JsonNode *node = json_object_get_member(place->object, "rules");
    g_autoptr(GPtrArray) rules = NULL;
    JsonArray *array = NULL;
    guint n_before;

    if (!node)
        return TRUE;
    if (!JSON_NODE_HOLDS_ARRAY(node))
        return apmig_json_fail(place, "rules", error, "must be an array of rules");
    array = json_node_get_array(node);
    rules = apmig_policy_rules_copy(policy->rules);
    n_before = rules->len;
    if (json_array_get_length(array) > APMIG_POLICY_MAX_RULES - n_before)
        return apmig_json_fail(place, "rules", error,
                               "has %u rules, and the files before have %u: at most %u are allowed in all",
                               json_array_get_length(array), n_before, APMIG_POLICY_MAX_RULES);
    for (guint i = 0; i < json_array_get_length(array); i++)
        if (!add_rule(rules, n_before, place, json_array_get_element(array, i), top_keys, error))
            return FALSE;
    g_clear_pointer(&policy->rules, g_ptr_array_unref);
    policy->rules = g_steal_pointer(&rules);
    return TRUE;
}

/* --- the whole --------------------------------------------------------------------------------- */

ApmigPolicy *
apmig_policy_parse(const char *json, gsize length, const char *origin, const ApmigPolicy *base,
                   GError **error)
{
    g_auto(GStrv) settings = policy_setting_keys();
    g_autofree const char **keys = g_new0(const char *, g_strv_length(settings) + 2);
    g_autoptr(ApmigPolicy) policy = base ? apmig_policy_copy(base) : apmig_policy_new_default();
    g_autoptr(JsonObject) object =
        apmig_strict_json_parse(json, length, APMIG_POLICY_MAX_BYTES, origin, error);
    ApmigJsonPlace place = {origin, "$", object};

    for (guint i = 0; settings[i]; i++)
        keys[i] = settings[i];
    keys[g_strv_length(settings)] = "rules";
    if (!object || !apmig_json_check_keys(&place, keys, POLICY_NOT_A_KEY, error) ||
        !policy_read_settings(policy, &place, error) || !read_rules(policy, &place, keys, error))
        return NULL;
    policy_note_origins(policy, object, origin);
    return g_steal_pointer(&policy);
}
