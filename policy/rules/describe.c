/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A policy told as JSON, and where each part of it comes from.
 */
#include "rules/private.h"
#include "rules/rules.h"

/* --- origins ------------------------------------------------------------------------------------- */

/* The base's are left as they are, others may have them. */
void
policy_note_origins(ApmigPolicy *policy, JsonObject *object, const char *origin)
{
    GHashTable *origins = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_autoptr(GList) members = json_object_get_members(object);
    GHashTableIter iter;
    gpointer key, earlier;

    if (policy->origins)
        g_hash_table_iter_init(&iter, policy->origins);
    while (policy->origins && g_hash_table_iter_next(&iter, &key, &earlier))
        g_hash_table_insert(origins, g_strdup(key), g_strdup(earlier));
    for (GList *member = members; member; member = member->next)
        if (!g_str_equal(member->data, "rules"))
            g_hash_table_insert(origins, g_strdup(member->data), g_utf8_make_valid(origin, -1));
    g_clear_pointer(&policy->origins, g_hash_table_unref);
    policy->origins = origins;
}

static JsonObject *
tell_origins(const ApmigPolicy *policy)
{
    JsonObject *object = json_object_new();
    GHashTableIter iter;
    gpointer key, origin;

    if (!policy->origins)
        return object;
    g_hash_table_iter_init(&iter, policy->origins);
    while (g_hash_table_iter_next(&iter, &key, &origin))
        json_object_set_string_member(object, key, origin);
    return object;
}

/* --- telling ------------------------------------------------------------------------------------- */

static JsonObject *
tell_rule(const ApmigPolicyRule *rule)
{
    g_autofree char *origin = g_utf8_make_valid(rule->origin, -1);
    JsonObject *object = json_object_new();
    JsonObject *match = json_object_new();

    json_object_set_string_member(object, "origin", origin);
    json_object_set_int_member(object, "index", rule->index);
    if (rule->guest)
        json_object_set_string_member(match, "guest", rule->guest);
    if (rule->scope)
        json_object_set_string_member(match, "scope", apmig_scope_to_string(rule->scope));
    json_object_set_object_member(object, "match", match);
    if (rule->on_busy != APMIG_ON_BUSY_UNSET)
        json_object_set_string_member(object, "on-busy", apmig_on_busy_to_string(rule->on_busy));
    if (rule->n_steps)
        policy_tell_steps(object, rule->steps, rule->n_steps);
    if (rule->admission_usec)
        json_object_set_int_member(object, "admission-usec", rule->admission_usec);
    return object;
}

char *
apmig_policy_describe(const ApmigPolicy *policy)
{
    g_autoptr(JsonNode) root = json_node_new(JSON_NODE_OBJECT);
    JsonObject *object = json_object_new();
    JsonArray *rules = json_array_new();

    json_node_take_object(root, object);
    json_object_set_object_member(object, "settings", policy_tell_settings(policy));
    json_object_set_object_member(object, "origins", tell_origins(policy));
    for (guint i = 0; policy->rules && i < policy->rules->len; i++)
        json_array_add_object_element(rules, tell_rule(g_ptr_array_index(policy->rules, i)));
    json_object_set_array_member(object, "rules", rules);
    return json_to_string(root, FALSE);
}
