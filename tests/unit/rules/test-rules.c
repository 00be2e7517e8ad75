/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rules of a policy: how they are read, which one is a guest's, and what is told of them. What names and scopes are taken
 * from guests may be anything.
 */
#include "rules/rules.h"

#include "base/error.h"

#include <json-glib/json-glib.h>
#include <string.h>

#define G1 "11111111-1111-4111-8111-11111111111a"
#define G2 "22222222-2222-4222-8222-222222222222"

static ApmigPolicy *
parse(const char *json, const char *origin, const ApmigPolicy *base)
{
    g_autoptr(GError) error = NULL;
    ApmigPolicy *policy = apmig_policy_parse(json, strlen(json), origin, base, &error);

    g_assert_no_error(error);
    g_assert_nonnull(policy);
    return policy;
}

/* @scope: (nullable) */
static ApmigGuestSettings
settings_of(const ApmigPolicy *policy, const char *uuid, const char *name, const char *scope)
{
    g_autoptr(ApmigScope) queues = scope ? apmig_scope_parse(scope, NULL) : NULL;

    return apmig_policy_for_guest(policy, uuid, name, queues);
}

/* Returns: the number of the rule in its file; -1: none. */
static int
rule_of(const ApmigPolicy *policy, const char *uuid, const char *name, const char *scope)
{
    ApmigGuestSettings settings = settings_of(policy, uuid, name, scope);

    return settings.rule ? (int)settings.rule->index : -1;
}

/* --- which rule is a guest's ---------------------------------------------------------------------- */

static void
test_first_match_counts(void)
{
    g_autoptr(ApmigPolicy) policy = parse(
        "{\"on-busy\":\"wait\",\"rules\":["
        "{\"match\":{\"guest\":\"web-special\"}},"
        "{\"match\":{\"guest\":\"web-*\"},\"on-busy\":\"refuse\",\"admission-usec\":2000000},"
        "{\"match\":{\"guest\":\"*\"},\"steps\":[{\"step\":\"vfio-state\",\"deadline-usec\":300000}]}]}",
        "a.json", NULL);
    ApmigGuestSettings web = settings_of(policy, G1, "web-7", "04.0012");
    ApmigGuestSettings special = settings_of(policy, G1, "web-special", "04.0012");
    ApmigGuestSettings other = settings_of(policy, G1, "db", NULL);

    g_assert_cmpuint(web.rule->index, ==, 1);
    g_assert_cmpint(web.on_busy, ==, APMIG_ON_BUSY_REFUSE);
    g_assert_cmpint(web.admission_usec, ==, 2000000);
    g_assert_cmpuint(web.n_steps, ==, 3); /* not those of the rule after it */
    /* a rule without settings is an exception from those after it */
    g_assert_cmpuint(special.rule->index, ==, 0);
    g_assert_cmpint(special.on_busy, ==, APMIG_ON_BUSY_WAIT);
    g_assert_cmpint(special.admission_usec, ==, policy->admission_usec);
    g_assert_cmpuint(other.n_steps, ==, 1);
    g_assert_cmpint(apmig_guest_settings_find_step(&other, APMIG_STEP_VFIO_STATE)->deadline_usec, ==, 300000);
    g_assert_null(apmig_guest_settings_find_step(&other, APMIG_STEP_LIBVIRT_ABORT));
    g_assert_cmpint(other.on_busy, ==, APMIG_ON_BUSY_WAIT);
}

/* Files add their rules after those before; keys of the top level replace. */
static void
test_files(void)
{
    g_autoptr(ApmigPolicy) first =
        parse("{\"on-busy\":\"wait\",\"rules\":[{\"match\":{\"guest\":\"a\"},\"on-busy\":\"refuse\"}]}",
              "1.json", NULL);
    g_autoptr(ApmigPolicy) second = parse("{\"on-busy\":\"abort\",\"rules\":[{\"match\":{\"guest\":\"a\"}},"
                                          "{\"match\":{\"guest\":\"b\"},\"on-busy\":\"wait\"}]}",
                                          "2.json", first);
    g_autoptr(ApmigPolicy) third = parse("{\"max-locks\":3}", "3.json", second);
    ApmigGuestSettings a = settings_of(third, G1, "a", NULL);
    ApmigGuestSettings b = settings_of(third, G1, "b", NULL);

    g_assert_cmpstr(a.rule->origin, ==, "1.json");
    g_assert_cmpint(a.on_busy, ==, APMIG_ON_BUSY_REFUSE);
    g_assert_cmpstr(b.rule->origin, ==, "2.json");
    g_assert_cmpuint(b.rule->index, ==, 1);
    g_assert_cmpint(settings_of(third, G1, "c", NULL).on_busy, ==, APMIG_ON_BUSY_ABORT);
    g_assert_cmpuint(third->rules->len, ==, 3);
    g_assert_cmpuint(first->rules->len, ==, 1); /* the base is as it was */
    g_assert_cmpuint(g_hash_table_size(first->origins), ==, 1);
    g_assert_cmpstr(g_hash_table_lookup(third->origins, "on-busy"), ==, "2.json");
    g_assert_cmpstr(g_hash_table_lookup(third->origins, "max-locks"), ==, "3.json");
    g_assert_null(g_hash_table_lookup(third->origins, "steps"));
}

static void
test_guests(void)
{
    g_autoptr(ApmigPolicy) policy =
        parse("{\"rules\":[{\"match\":{\"guest\":\"11111111-1111-4111-8111-11111111111A\"}},"
              "{\"match\":{\"guest\":\"db-?\"}},{\"match\":{\"guest\":\"\u00e4*\u00f6\"}}]}",
              "a.json", NULL);
    g_autofree char *long_name = g_strnfill(APMIG_RULE_MAX_NAME - 1, 'x');
    g_autofree char *longest = g_strconcat("\u00e4", long_name + 3, "\u00f6", NULL);
    g_autofree char *too_long = g_strconcat("\u00e4", long_name, "\u00f6", NULL);

    g_assert_cmpint(rule_of(policy, G1, "anything", NULL), ==, 0); /* in either case */
    g_assert_cmpint(rule_of(policy, G2, G1, NULL), ==, -1);        /* a name that looks like a UUID is none */
    g_assert_cmpint(rule_of(policy, G2, "db-1", NULL), ==, 1);
    g_assert_cmpint(rule_of(policy, G2, "db-\u00e4", NULL), ==, 1);
    g_assert_cmpint(rule_of(policy, G2, "db-", NULL), ==, -1);
    g_assert_cmpint(rule_of(policy, G2, "db-12", NULL), ==, -1);
    g_assert_cmpint(rule_of(policy, G2, "DB-1", NULL), ==, -1);
    g_assert_cmpint(rule_of(policy, G2, "", NULL), ==, -1);
    g_assert_cmpint(rule_of(policy, G2, "\u00e4\u00f6", NULL), ==, 2);
    /* no UTF-8: GPatternSpec would read beyond the end of the first */
    g_assert_cmpint(rule_of(policy, G2, "db-\xf0", NULL), ==, -1);
    g_assert_cmpint(rule_of(policy, G2, "\u00e4\xff\u00f6", NULL), ==, -1);
    g_assert_cmpuint(strlen(longest), ==, APMIG_RULE_MAX_NAME);
    g_assert_cmpint(rule_of(policy, G2, longest, NULL), ==, 2);
    g_assert_cmpint(rule_of(policy, G2, too_long, NULL), ==, -1);
}

/* All of a guest's queues are to be in the rule's scope; of one whose queues are not known that is never said. */
static void
test_scopes(void)
{
    g_autoptr(ApmigPolicy) policy = parse(
        "{\"rules\":[{\"match\":{\"scope\":\"04.*\",\"guest\":\"db-*\"}},{\"match\":{\"scope\":\"04-05.*\"}},"
        "{\"match\":{\"scope\":\"*.0012\"}}]}",
        "a.json", NULL);
    g_autoptr(ApmigPolicy) of_all = parse("{\"rules\":[{\"match\":{\"scope\":\"all\"}}]}", "a.json", NULL);

    g_assert_cmpint(rule_of(policy, G1, "db-1", "04.0012,04.0013"), ==, 0);
    g_assert_cmpint(rule_of(policy, G1, "web", "04.0012,04.0013"), ==, 1);
    g_assert_cmpint(rule_of(policy, G1, "db-1", "04.0012,05.0012"), ==, 1);
    g_assert_cmpint(rule_of(policy, G1, "db-1", "04-06.0012"), ==, 2);
    g_assert_cmpint(rule_of(policy, G1, "db-1", "04.0012,06.0013"), ==, -1);
    g_assert_cmpint(rule_of(policy, G1, "db-1", "all"), ==, -1);
    g_assert_cmpint(rule_of(policy, G1, "db-1", NULL), ==, -1);
    g_assert_cmpint(rule_of(of_all, G1, "db-1", NULL), ==, 0);
}

/* However a name and a pattern are made up, they are soon compared. */
static void
test_hostile_pattern(void)
{
    g_autofree char *name = g_strnfill(APMIG_RULE_MAX_NAME, 'a');
    GString *json = g_string_new("{\"rules\":[{\"match\":{\"guest\":\"");
    g_autofree char *text = NULL;
    g_autoptr(ApmigPolicy) policy = NULL;
    gint64 begin;

    for (guint i = 0; i < APMIG_RULE_MAX_GUEST / 2; i++)
        g_string_append(json, "*a");
    g_string_append(json, "b\"}}]}");
    text = g_string_free(json, FALSE);
    policy = parse(text, "a.json", NULL);
    begin = g_get_monotonic_time();
    g_assert_cmpint(rule_of(policy, G1, name, NULL), ==, -1);
    g_assert_cmpint(g_get_monotonic_time() - begin, <, 5 * G_USEC_PER_SEC);
}

static void
test_may_refuse(void)
{
    g_autoptr(ApmigPolicy) none = apmig_policy_new_default();
    g_autoptr(ApmigPolicy) top = parse("{\"on-busy\":\"refuse\"}", "a.json", NULL);
    g_autoptr(ApmigPolicy) rule = parse("{\"rules\":[{\"match\":{\"guest\":\"a\"},\"on-busy\":\"wait\"},"
                                        "{\"match\":{\"guest\":\"b\"},\"on-busy\":\"refuse\"}]}",
                                        "a.json", NULL);

    g_assert_false(apmig_policy_may_refuse(none));
    g_assert_true(apmig_policy_may_refuse(top));
    g_assert_true(apmig_policy_may_refuse(rule));
}

/* --- what is refused ------------------------------------------------------------------------------ */

static void
assert_refused(const char *json, const ApmigPolicy *base, const char *place)
{
    g_autoptr(GError) error = NULL;

    g_assert_null(apmig_policy_parse(json, strlen(json), "test.json", base, &error));
    g_assert_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION);
    if (!g_str_has_prefix(error->message, place))
        g_error("%.80s: \"%s\" does not begin with \"%s\"", json, error->message, place);
    g_assert_true(g_str_has_suffix(error->message, ".") && !g_str_has_suffix(error->message, ".."));
    g_assert_cmpuint(strlen(error->message), <, 512);
}

static void
test_refused(void)
{
    static const struct {
        const char *rules;
        const char *place;
    } inputs[] = {
        {"{}", "test.json: $.rules must be an array of rules."},
        {"[1]", "test.json: $.rules[0] must be an object with \"match\" and settings."},
        {"[{}]", "test.json: $.rules[0].match must be an object with \"guest\", \"scope\" or both,"},
        {"[{\"match\":{}}]", "test.json: $.rules[0].match must be an object with"},
        {"[{\"match\":\"web-*\"}]", "test.json: $.rules[0].match must be an object with"},
        {"[{\"match\":{\"guests\":\"a\"}}]",
         "test.json: $.rules[0].match.guests is no key of a policy, the keys here are: guest, scope."},
        {"[{\"match\":{\"guest\":1}}]",
         "test.json: $.rules[0].match.guest must be a string, a guest's UUID, or"},
        {"[{\"match\":{\"guest\":\"\"}}]", "test.json: $.rules[0].match.guest must be 1 to 255 bytes"},
        {"[{\"match\":{\"scope\":[]}}]", "test.json: $.rules[0].match.scope must be a string, AP queues"},
        {"[{\"match\":{\"scope\":\"04\"}}]",
         "test.json: $.rules[0].match.scope does not read: The scope is wrong at position 3: "},
        {"[{\"match\":{\"scope\":\"none\"}}]", "test.json: $.rules[0].match.scope does not read: "},
        {"[{\"match\":{\"guest\":\"a\"},\"on-buzy\":\"wait\"}]",
         "test.json: $.rules[0].on-buzy is no key of a policy, the keys here are: match, on-busy, steps, "
         "admission-usec."},
        {"[{\"match\":{\"guest\":\"a\"},\"on-busy\":\"\"}]",
         "test.json: $.rules[0].on-busy is \"\" but must be"},
        {"[{\"match\":{\"guest\":\"a\"},\"max-locks\":1}]",
         "test.json: $.rules[0].max-locks does not depend on the guest: it stands at the top level alone."},
        {"[{\"match\":{\"guest\":\"a\"},\"keys-differ\":\"warn\"}]",
         "test.json: $.rules[0].keys-differ does not"},
        {"[{\"match\":{\"guest\":\"a\"},\"rules\":[]}]", "test.json: $.rules[0].rules does not depend"},
        {"[{\"match\":{\"guest\":\"a\"},\"admission-usec\":999999}]",
         "test.json: $.rules[0].admission-usec must be an integer from 1000000 to 3600000000."},
        {"[{\"match\":{\"guest\":\"a\"}},{\"match\":{\"guest\":\"b\"}},{\"match\":{\"guest\":\"c\"},"
         "\"steps\":"
         "[{\"step\":\"vfio-state\",\"deadline-usec\":1}]}]",
         "test.json: $.rules[2].steps[0].deadline-usec must be an integer from 100000 to 600000000."},
        {"[{\"match\":{\"guest\":\"a\"},\"steps\":[]}]",
         "test.json: $.rules[0].steps must be an array of 1 to 3"},
        {"[{\"match\":{\"guest\":\"a\",\"scope\":\"4.12\"}},{\"match\":{\"guest\":\"a\"}},"
         "{\"match\":{\"guest\":\"a\",\"scope\":\"04.0012\"}}]",
         "test.json: $.rules[2].match is that of $.rules[0], which comes first"},
        {"[{\"match\":{\"guest\":\"11111111-1111-4111-8111-11111111111a\"}},"
         "{\"match\":{\"guest\":\"11111111-1111-4111-8111-11111111111A\"}}]",
         "test.json: $.rules[1].match is that of $.rules[0]"},
    };
    g_autofree char *too_long = g_strnfill(APMIG_RULE_MAX_GUEST + 1, 'a');
    g_autofree char *of_long = g_strdup_printf("{\"rules\":[{\"match\":{\"guest\":\"%s\"}}]}", too_long);

    for (guint i = 0; i < G_N_ELEMENTS(inputs); i++) {
        g_autofree char *json = g_strdup_printf("{\"rules\":%s}", inputs[i].rules);

        assert_refused(json, NULL, inputs[i].place);
    }
    assert_refused(of_long, NULL, "test.json: $.rules[0].match.guest must be 1 to 255 bytes");
    assert_refused(
        "{\"overdue-again-usec\":59999999}", NULL,
        "test.json: $.overdue-again-usec must be 0 or an integer from 60000000 to 315360000000000.");
    assert_refused("{\"overdue-usec\":315360000000001}", NULL,
                   "test.json: $.overdue-usec must be an integer from 0");
}

static void
test_too_many(void)
{
    GString *json = g_string_new("{\"rules\":[");
    g_autofree char *full = NULL;
    g_autoptr(ApmigPolicy) policy = NULL;

    for (guint i = 0; i < APMIG_POLICY_MAX_RULES; i++)
        g_string_append_printf(json, "%s{\"match\":{\"guest\":\"g%u\"}}", i ? "," : "", i);
    g_string_append(json, "]}");
    full = g_string_free(json, FALSE);
    policy = parse(full, "a.json", NULL);
    g_assert_cmpint(rule_of(policy, G1, "g255", NULL), ==, 255);
    assert_refused(
        "{\"rules\":[{\"match\":{\"guest\":\"x\"}}]}", policy,
        "test.json: $.rules has 1 rules, and the files before have 256: at most 256 are allowed in all.");
}

/* --- what is told --------------------------------------------------------------------------------- */

/* Every key that there is, with its value: what is shipped, from a base that is otherwise. */
static void
test_description_has_every_key(void)
{
    g_autoptr(ApmigPolicy) policy = apmig_policy_new_default();
    g_autofree char *json = apmig_policy_describe(policy);
    g_autoptr(JsonNode) described = json_from_string(json, NULL);
    g_autofree char *file = NULL;
    g_autoptr(JsonNode) shipped = NULL;
    g_autoptr(GError) error = NULL;

    g_file_get_contents(SOURCE_DIR "/policy/rules/default.json", &file, NULL, &error);
    g_assert_no_error(error);
    shipped = json_from_string(file, &error);
    g_assert_no_error(error);
    g_assert_true(
        json_node_equal(json_object_get_member(json_node_get_object(described), "settings"), shipped));
}

static void
test_description(void)
{
    g_autoptr(ApmigPolicy) first = parse("{\"on-busy\":\"wait\"}", "/etc/1.json", NULL);
    g_autoptr(ApmigPolicy) policy =
        parse("{\"rules\":[{\"match\":{\"scope\":\"4.12\"}},{\"match\":{\"guest\":\"a\\u001b*\"},\"on-busy\":"
              "\"refuse\","
              "\"admission-usec\":1000000,\"steps\":[{\"step\":\"vfio-state\",\"deadline-usec\":300000}]}]}",
              "/etc/\xff.json", first);
    g_autofree char *json = apmig_policy_describe(policy);
    g_autoptr(JsonNode) described = json_from_string(json, NULL);
    g_autoptr(JsonNode) rules = json_from_string(
        "[{\"origin\":\"/etc/\ufffd.json\",\"index\":0,\"match\":{\"scope\":\"04.0012\"}},"
        "{\"origin\":\"/etc/"
        "\ufffd.json\",\"index\":1,\"match\":{\"guest\":\"a\\u001b*\"},\"on-busy\":\"refuse\","
        "\"steps\":[{\"step\":\"vfio-state\",\"deadline-usec\":300000}],\"admission-usec\":1000000}]",
        NULL);
    g_autoptr(JsonNode) origins = json_from_string("{\"on-busy\":\"/etc/1.json\"}", NULL);
    JsonObject *object = json_node_get_object(described);

    g_assert_true(json_node_equal(json_object_get_member(object, "rules"), rules));
    g_assert_true(json_node_equal(json_object_get_member(object, "origins"), origins));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/policy-rules/first-match-counts", test_first_match_counts);
    g_test_add_func("/policy-rules/files", test_files);
    g_test_add_func("/policy-rules/guests", test_guests);
    g_test_add_func("/policy-rules/scopes", test_scopes);
    g_test_add_func("/policy-rules/hostile-pattern", test_hostile_pattern);
    g_test_add_func("/policy-rules/may-refuse", test_may_refuse);
    g_test_add_func("/policy-rules/refused", test_refused);
    g_test_add_func("/policy-rules/too-many", test_too_many);
    g_test_add_func("/policy-rules/description-has-every-key", test_description_has_every_key);
    g_test_add_func("/policy-rules/description", test_description);
    return g_test_run();
}
