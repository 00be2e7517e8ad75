/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verb that shows the policy in force. */
#include <stdio.h>
#include <string.h>

#include "ctl/bus.h"
#include "ctl/ctl.h"
#include "ctl/format.h"
#include "names.h"
#include "ctl/options.h"

static const char *const rule_titles[] = {"GUEST", "SCOPE", "SETTINGS", "FROM", NULL};
static const char *const setting_titles[] = {"KEY", "VALUE", "FROM", NULL};

/* --- rows ---------------------------------------------------------------------------------------- */

static char *
describe_steps(JsonArray *steps)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < json_array_get_length(steps); i++) {
        JsonObject *step = json_array_get_object_element(steps, i);

        g_string_append_printf(text, "%s%s %" G_GINT64_FORMAT, i ? ", " : "", ctl_string(step, "step"),
                               ctl_int(step, "deadline-usec"));
    }
    return g_string_free(text, FALSE);
}

/* Returns: (transfer full): "libvirt-abort 5000000, vfio-state 2000000" of steps, other values as JSON has them but
 * without quotation marks. */
static char *
describe_value(JsonNode *node)
{
    if (JSON_NODE_HOLDS_ARRAY(node))
        return describe_steps(json_node_get_array(node));
    if (json_node_get_value_type(node) == G_TYPE_STRING)
        return json_node_dup_string(node);
    return json_to_string(node, FALSE);
}

/* Returns: (transfer full): "on-busy: wait; admission-usec: 90000000". */
static char *
describe_settings(JsonObject *rule)
{
    static const char *const others[] = {"origin", "index", "match", NULL};
    g_autoptr(GList) keys = json_object_get_members(rule);
    GString *text = g_string_new(NULL);

    for (GList *key = keys; key; key = key->next) {
        g_autofree char *value = describe_value(json_object_get_member(rule, key->data));

        if (!g_strv_contains(others, key->data))
            g_string_append_printf(text, "%s%s: %s", text->len ? "; " : "", (char *)key->data, value);
    }
    if (text->len == 0)
        g_string_append(text, "as where no rule says otherwise");
    return g_string_free(text, FALSE);
}

static char **
rule_row(JsonObject *rule)
{
    JsonObject *match = json_object_get_object_member(rule, "match");
    char **row = g_new0(char *, G_N_ELEMENTS(rule_titles));

    row[0] = g_strdup(match && json_object_has_member(match, "guest") ? ctl_string(match, "guest") : "any");
    row[1] = g_strdup(match && json_object_has_member(match, "scope") ? ctl_string(match, "scope") : "any");
    row[2] = describe_settings(rule);
    row[3] = g_strdup_printf("%s: $.rules[%" G_GINT64_FORMAT "]", ctl_string(rule, "origin"),
                             ctl_int(rule, "index"));
    return row;
}

static char **
setting_row(JsonObject *settings, JsonObject *origins, const char *key)
{
    const char *origin = ctl_string(origins, key);
    char **row = g_new0(char *, G_N_ELEMENTS(setting_titles));

    row[0] = g_strdup(key);
    row[1] = describe_value(json_object_get_member(settings, key));
    row[2] = g_strdup(*origin ? origin : "built in");
    return row;
}

static void
print_rules(JsonArray *rules)
{
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);

    for (guint i = 0; i < json_array_get_length(rules); i++)
        g_ptr_array_add(rows, rule_row(json_array_get_object_element(rules, i)));
    if (rows->len == 0)
        puts("  No rules.");
    else
        ctl_print_table(rule_titles, rows, "  ");
}

static void
print_settings(JsonObject *settings, JsonObject *origins)
{
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);
    g_autoptr(GList) keys = json_object_get_members(settings);

    for (GList *key = keys; key; key = key->next)
        g_ptr_array_add(rows, setting_row(settings, origins, key->data));
    ctl_print_table(setting_titles, rows, "  ");
}

/* --- the verb ------------------------------------------------------------------------------------ */

/* Returns: (transfer full) (nullable): the object that the daemon describes, with all its parts. */
static JsonNode *
get_policy(sd_bus *bus, GError **error)
{
    g_autoptr(sd_bus_message) call =
        ctl_bus_new_call(bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "DescribePolicy", error);
    g_autoptr(sd_bus_message) reply = call ? ctl_bus_call(bus, call, CTL_CALL_USEC, NULL, NULL, error) : NULL;
    g_autoptr(JsonNode) node = NULL;
    JsonObject *policy;
    const char *json;

    if (!reply || !ctl_bus_check(sd_bus_message_read(reply, "s", &json), error))
        return NULL;
    node = json_from_string(json, NULL);
    policy = node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
    if (policy && json_object_has_member(policy, "settings") && json_object_has_member(policy, "origins") &&
        json_object_has_member(policy, "rules"))
        return g_steal_pointer(&node);
    g_set_error_literal(error, CTL_ERROR, CTL_EXIT_FAILURE, "apmigd's answer is no policy");
    return NULL;
}

static void
print_policy(JsonObject *policy, const char *trouble, gboolean quiet)
{
    g_autofree char *safe = ctl_escape(trouble);

    if (*safe)
        printf("This is not the policy of the files, which is not taken: %s\n\n", safe);
    if (!quiet)
        puts("Rules, of which the first that matches a guest counts:");
    print_rules(json_object_get_array_member(policy, "rules"));
    puts(quiet ? "" : "\nWhere no rule says otherwise:");
    print_settings(json_object_get_object_member(policy, "settings"),
                   json_object_get_object_member(policy, "origins"));
}

int
ctl_verb_policy(int argc, char **argv, GError **error)
{
    CtlCommon common = {0};
    const CtlUsage usage = {
        "",
        "Shows the policy in force: the rules for some guests, in order, and the settings for "
        "everything else,\n"
        "each with the file of /etc/apmigd/policy.d that it comes from.",
        NULL,
        NULL,
        0,
        0};

    if (!ctl_parse_options(&argc, &argv, &usage, &common, error))
        return CTL_EXIT_FAILURE;

    g_autoptr(sd_bus) bus = ctl_bus_open(&common, error);
    g_autoptr(JsonNode) node = bus ? get_policy(bus, error) : NULL;
    g_autoptr(JsonObject) manager = node ? ctl_bus_get_manager(bus, error) : NULL;

    if (!manager)
        return CTL_EXIT_FAILURE;
    if (common.json != CTL_JSON_OFF) {
        json_object_set_string_member(json_node_get_object(node), "trouble",
                                      ctl_string(manager, "PolicyTrouble"));
        ctl_print_json(g_steal_pointer(&node), common.json);
    } else {
        print_policy(json_node_get_object(node), ctl_string(manager, "PolicyTrouble"), common.quiet);
    }
    return CTL_EXIT_OK;
}
