/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "policy.h"

#include "error.h"
#include "policy-private.h"
#include "policy-rules.h"
#include "strict-json.h"

#include <string.h>

#define MILLISECOND G_GINT64_CONSTANT(1000)
#define SECOND      (1000 * MILLISECOND)
#define MINUTE      (60 * SECOND)
#define DECADE      (10 * 365 * 24 * 60 * MINUTE)

#define NOT_A_KEY "no key of a policy"

static const ApmigPolicy built_in = {
    .on_busy = APMIG_ON_BUSY_ABORT,
    .steps = {{APMIG_STEP_LIBVIRT_ABORT, 5 * SECOND},
              {APMIG_STEP_VFIO_STATE, 2 * SECOND},
              {APMIG_STEP_KILL_INCOMING, 5 * SECOND}},
    .n_steps = 3,
    .admission_usec = 60 * SECOND,
    .draining_interval_usec = 50 * MILLISECOND,
    .held_interval_usec = 5 * SECOND,
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

static const char *const on_busy_names[] = {
    [APMIG_ON_BUSY_UNSET] = "",
    [APMIG_ON_BUSY_ABORT] = "abort",
    [APMIG_ON_BUSY_WAIT] = "wait",
    [APMIG_ON_BUSY_REFUSE] = "refuse",
};

static const char *const on_release_names[] = {
    [APMIG_ON_RELEASE_VERIFY] = "verify",
    [APMIG_ON_RELEASE_TRUST] = "trust",
};

static const char *const on_unannounced_names[] = {
    [APMIG_ON_UNANNOUNCED_WARN] = "warn",
    [APMIG_ON_UNANNOUNCED_LOCK] = "lock",
    [APMIG_ON_UNANNOUNCED_IGNORE] = "ignore",
};

static const char *const step_names[] = {
    [APMIG_STEP_LIBVIRT_ABORT] = "libvirt-abort",
    [APMIG_STEP_VFIO_STATE] = "vfio-state",
    [APMIG_STEP_KILL_INCOMING] = "kill-incoming",
};

/* --- numbers ------------------------------------------------------------------------------------- */

typedef struct {
    const char *key;
    gsize offset; /* of the member it fills */
    gint64 minimum;
    gint64 maximum;
} NumberKey;

#define MEMBER(name) G_STRUCT_OFFSET(ApmigPolicy, name)

static const NumberKey times[] = {
    {"admission-usec", MEMBER(admission_usec), SECOND, 3600 * SECOND},
    {"draining-interval-usec", MEMBER(draining_interval_usec), 10 * MILLISECOND, 10 * SECOND},
    {"held-interval-usec", MEMBER(held_interval_usec), 100 * MILLISECOND, 60 * SECOND},
    {"request-timeout-usec", MEMBER(request_timeout_usec), 100 * MILLISECOND, 24 * 3600 * SECOND},
    {"release-verify-usec", MEMBER(release_verify_usec), 100 * MILLISECOND, 600 * SECOND},
    {"evidence-interval-usec", MEMBER(evidence_interval_usec), SECOND, 24 * 3600 * SECOND},
    {"watch-keys-usec", MEMBER(watch_keys_usec), 0, 24 * 3600 * SECOND},
    {"overdue-usec", MEMBER(overdue_usec), 0, DECADE},
    {"overdue-again-usec", MEMBER(overdue_again_usec), 0, DECADE},
};

static const NumberKey limits[] = {
    {"max-locks", MEMBER(max_locks), 1, 1024},
    {"max-locks-per-user", MEMBER(max_locks_per_user), 1, 1024},
    {"max-admissions", MEMBER(max_admissions), 1, 65536},
    {"stamp-fresh-sec", MEMBER(stamp_fresh_seconds), 0, 10 * 365 * 24 * 3600},
};

/* --- answers to a stamp -------------------------------------------------------------------------- */

typedef struct {
    const char *key;
    gsize offset;
    ApmigStampAnswer least;
    const char *expected;
} AnswerKey;

static const AnswerKey answers[] = {
    {"keys-differ", MEMBER(keys_differ), APMIG_STAMP_WARN, "\"warn\" or \"deny\""},
    {"keys-unknown", MEMBER(keys_unknown), APMIG_STAMP_OK, "one of \"allow\", \"warn\" and \"deny\""},
    {"stamp-missing", MEMBER(stamp_missing), APMIG_STAMP_OK, "one of \"allow\", \"warn\" and \"deny\""},
};

#undef MEMBER

static const NumberKey step_deadline = {"deadline-usec", 0, 100 * MILLISECOND, 600 * SECOND};

/* --- reading ------------------------------------------------------------------------------------- */

static gboolean
read_number(const ApmigJsonPlace *place, const NumberKey *key, gint64 *ret_number, GError **error)
{
    gint64 number;

    if (!apmig_json_get_integer(place, key->key, &number) || number < key->minimum || number > key->maximum)
        return apmig_json_fail(place, key->key, error,
                               "must be an integer from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT,
                               key->minimum, key->maximum);
    *ret_number = number;
    return TRUE;
}

static gboolean
read_on_busy(ApmigPolicy *policy, const ApmigJsonPlace *place, GError **error)
{
    static const char *const expected = "one of \"abort\", \"wait\" and \"refuse\"";
    const char *name = NULL;

    if (!json_object_has_member(place->object, "on-busy"))
        return TRUE;
    if (!apmig_json_read_string(place, "on-busy", expected, &name, error))
        return FALSE;
    if (!apmig_on_busy_from_string(name, &policy->on_busy)) {
        g_autofree char *excerpt = apmig_error_excerpt(name);
        return apmig_json_fail(place, "on-busy", error, "is \"%s\" but must be %s", excerpt, expected);
    }
    return TRUE;
}

static gboolean
read_on_release(ApmigPolicy *policy, const ApmigJsonPlace *place, GError **error)
{
    static const char *const expected = "\"verify\" or \"trust\"";
    const char *name = NULL;
    g_autofree char *excerpt = NULL;

    if (!json_object_has_member(place->object, "on-release"))
        return TRUE;
    if (!apmig_json_read_string(place, "on-release", expected, &name, error))
        return FALSE;
    for (guint i = 0; i < G_N_ELEMENTS(on_release_names); i++) {
        if (!g_str_equal(name, on_release_names[i]))
            continue;
        policy->on_release = (ApmigOnRelease)i;
        return TRUE;
    }
    excerpt = apmig_error_excerpt(name);
    return apmig_json_fail(place, "on-release", error, "is \"%s\" but must be %s", excerpt, expected);
}

static gboolean
read_on_unannounced(const ApmigJsonPlace *place, const char *key, ApmigOnUnannounced *ret_answer,
                    GError **error)
{
    static const char *const expected = "one of \"warn\", \"lock\" and \"ignore\"";
    const char *name = NULL;
    g_autofree char *excerpt = NULL;

    if (!json_object_has_member(place->object, key))
        return TRUE;
    if (!apmig_json_read_string(place, key, expected, &name, error))
        return FALSE;
    for (guint i = 0; i < G_N_ELEMENTS(on_unannounced_names); i++) {
        if (!g_str_equal(name, on_unannounced_names[i]))
            continue;
        *ret_answer = (ApmigOnUnannounced)i;
        return TRUE;
    }
    excerpt = apmig_error_excerpt(name);
    return apmig_json_fail(place, key, error, "is \"%s\" but must be %s", excerpt, expected);
}

static gboolean
step_from_string(const char *name, ApmigStep *ret_step)
{
    for (guint i = 0; i < G_N_ELEMENTS(step_names); i++) {
        if (!g_str_equal(name, step_names[i]))
            continue;
        *ret_step = (ApmigStep)i;
        return TRUE;
    }
    return FALSE;
}

static gboolean
read_step(ApmigPolicy *policy, const ApmigJsonPlace *place, GError **error)
{
    static const char *const keys[] = {"step", "deadline-usec", NULL};
    static const char *const expected = "\"libvirt-abort\", \"vfio-state\" or \"kill-incoming\"";
    ApmigPolicyStep *step = &policy->steps[policy->n_steps];
    const char *name = NULL;

    if (!apmig_json_check_keys(place, keys, NOT_A_KEY, error) ||
        !apmig_json_read_string(place, "step", expected, &name, error))
        return FALSE;
    if (!step_from_string(name, &step->step)) {
        g_autofree char *excerpt = apmig_error_excerpt(name);
        return apmig_json_fail(place, "step", error, "is \"%s\" but must be %s", excerpt, expected);
    }
    if (apmig_policy_find_step(policy, step->step))
        return apmig_json_fail(place, "step", error, "is \"%s\" a second time", name);
    if (!read_number(place, &step_deadline, &step->deadline_usec, error))
        return FALSE;
    policy->n_steps++;
    return TRUE;
}

static gboolean
read_steps(ApmigPolicy *policy, const ApmigJsonPlace *place, GError **error)
{
    JsonNode *node = json_object_get_member(place->object, "steps");
    JsonArray *array = NULL;

    if (node == NULL)
        return TRUE;
    array = JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
    if (array == NULL || json_array_get_length(array) < 1 ||
        json_array_get_length(array) > APMIG_POLICY_MAX_STEPS)
        return apmig_json_fail(place, "steps", error, "must be an array of 1 to %u steps",
                               APMIG_POLICY_MAX_STEPS);
    policy->n_steps = 0;
    for (guint i = 0; i < json_array_get_length(array); i++) {
        g_autofree char *path = NULL;
        ApmigJsonPlace inner;

        if (!apmig_json_enter(place, "steps", i, "an object with \"step\" and \"deadline-usec\"", &path,
                              &inner, error) ||
            !read_step(policy, &inner, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
read_numbers(ApmigPolicy *policy, const ApmigJsonPlace *place, GError **error)
{
    gint64 number = 0;

    for (guint i = 0; i < G_N_ELEMENTS(times); i++) {
        if (!json_object_has_member(place->object, times[i].key))
            continue;
        if (!read_number(place, &times[i], &number, error))
            return FALSE;
        G_STRUCT_MEMBER(gint64, policy, times[i].offset) = number;
    }
    for (guint i = 0; i < G_N_ELEMENTS(limits); i++) {
        if (!json_object_has_member(place->object, limits[i].key))
            continue;
        if (!read_number(place, &limits[i], &number, error))
            return FALSE;
        G_STRUCT_MEMBER(guint, policy, limits[i].offset) = (guint)number;
    }
    return TRUE;
}

static gboolean
fail_word(const ApmigJsonPlace *place, const char *key, const char *word, const char *expected,
          GError **error)
{
    g_autofree char *excerpt = apmig_error_excerpt(word);

    return apmig_json_fail(place, key, error, "is \"%s\" but must be %s", excerpt, expected);
}

static gboolean
read_stamp(ApmigPolicy *policy, const ApmigJsonPlace *place, GError **error)
{
    static const char *const forms = "one of \"full\", \"digest\" and \"off\"";
    const char *word = NULL;

    if (json_object_has_member(place->object, "stamp")) {
        if (!apmig_json_read_string(place, "stamp", forms, &word, error))
            return FALSE;
        if (!apmig_stamp_form_from_string(word, &policy->stamp))
            return fail_word(place, "stamp", word, forms, error);
    }
    for (guint i = 0; i < G_N_ELEMENTS(answers); i++) {
        const AnswerKey *key = &answers[i];
        ApmigStampAnswer answer;

        if (!json_object_has_member(place->object, key->key))
            continue;
        if (!apmig_json_read_string(place, key->key, key->expected, &word, error))
            return FALSE;
        if (!apmig_stamp_answer_from_string(word, &answer) || answer < key->least)
            return fail_word(place, key->key, word, key->expected, error);
        G_STRUCT_MEMBER(ApmigStampAnswer, policy, key->offset) = answer;
    }
    return TRUE;
}

static gboolean
read_remap_devices(ApmigPolicy *policy, const ApmigJsonPlace *place, GError **error)
{
    static const char *const expected = "one of \"off\", \"matching\" and \"matching-or-empty\"";
    const char *word = NULL;

    if (!json_object_has_member(place->object, "remap-devices"))
        return TRUE;
    if (!apmig_json_read_string(place, "remap-devices", expected, &word, error))
        return FALSE;
    return apmig_remap_from_string(word, &policy->remap_devices) ||
           fail_word(place, "remap-devices", word, expected, error);
}

/* Said again more often it would only fill the journal. */
static gboolean
check_overdue(const ApmigPolicy *policy, const ApmigJsonPlace *place, GError **error)
{
    if (policy->overdue_again_usec == 0 || policy->overdue_again_usec >= MINUTE)
        return TRUE;
    return apmig_json_fail(place, "overdue-again-usec", error,
                           "must be 0 or an integer from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT, MINUTE,
                           DECADE);
}

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
    return rule->scope != NULL ||
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

    if (node != NULL && JSON_NODE_HOLDS_OBJECT(node))
        inner.object = json_node_get_object(node);
    if (inner.object == NULL || json_object_get_size(inner.object) == 0)
        return apmig_json_fail(
            place, "match", error,
            "must be an object with \"guest\", \"scope\" or both, for what holds for all guests "
            "stands at the top level");
    return apmig_json_check_keys(&inner, keys, NOT_A_KEY, error) && read_match_guest(rule, &inner, error) &&
           read_match_scope(rule, &inner, error);
}

/* A key of locks or of the host means nothing for one guest, and one of the gates would be dodged by who chooses a
 * name. */
static gboolean
refuse_keys_of_all(const ApmigJsonPlace *place, const char *const *keys, const char *const *top_keys,
                   GError **error)
{
    g_autoptr(GList) members = json_object_get_members(place->object);

    for (GList *member = members; member != NULL; member = member->next)
        if (g_strv_contains(top_keys, member->data) && !g_strv_contains(keys, member->data))
            return apmig_json_fail(place, member->data, error,
                                   "does not depend on the guest: it stands at the top level alone");
    return TRUE;
}

static gboolean
read_rule_settings(ApmigPolicyRule *rule, const ApmigJsonPlace *place, GError **error)
{
    ApmigPolicy own = {.on_busy = APMIG_ON_BUSY_UNSET};

    if (!read_on_busy(&own, place, error) || !read_steps(&own, place, error) ||
        !read_numbers(&own, place, error))
        return FALSE;
    if (apmig_policy_find_step(&own, APMIG_STEP_KILL_INCOMING) &&
        !apmig_policy_find_step(&own, APMIG_STEP_VFIO_STATE))
        return apmig_json_fail(place, "steps", error,
                               "has \"kill-incoming\", which is tried only after \"vfio-state\": add that");
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
        !apmig_json_check_keys(place, keys, NOT_A_KEY, error) || !read_match(rule, place, error) ||
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
    if (rule == NULL || !refuse_match_twice(rules, n_before, rule, &inner, error))
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

    if (node == NULL)
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

ApmigPolicy *
apmig_policy_parse(const char *json, gsize length, const char *origin, const ApmigPolicy *base,
                   GError **error)
{
    static const char *const keys[] = {"on-busy",
                                       "steps",
                                       "admission-usec",
                                       "draining-interval-usec",
                                       "held-interval-usec",
                                       "request-timeout-usec",
                                       "on-release",
                                       "release-verify-usec",
                                       "evidence-interval-usec",
                                       "watch-keys-usec",
                                       "on-unannounced",
                                       "on-config-change",
                                       "max-locks",
                                       "max-locks-per-user",
                                       "max-admissions",
                                       "stamp",
                                       "keys-differ",
                                       "keys-unknown",
                                       "stamp-missing",
                                       "stamp-fresh-sec",
                                       "remap-devices",
                                       "overdue-usec",
                                       "overdue-again-usec",
                                       "rules",
                                       NULL};
    g_autoptr(ApmigPolicy) policy = apmig_policy_copy(base != NULL ? base : &built_in);
    g_autoptr(JsonObject) object =
        apmig_strict_json_parse(json, length, APMIG_POLICY_MAX_BYTES, origin, error);
    ApmigJsonPlace place = {origin, "$", object};

    if (object == NULL || !apmig_json_check_keys(&place, keys, NOT_A_KEY, error) ||
        !read_on_busy(policy, &place, error) || !read_on_release(policy, &place, error) ||
        !read_on_unannounced(&place, "on-unannounced", &policy->on_unannounced, error) ||
        !read_on_unannounced(&place, "on-config-change", &policy->on_config_change, error) ||
        !read_steps(policy, &place, error) || !read_numbers(policy, &place, error) ||
        !read_stamp(policy, &place, error) || !read_remap_devices(policy, &place, error) ||
        !check_overdue(policy, &place, error) || !read_rules(policy, &place, keys, error))
        return NULL;
    policy_note_origins(policy, object, origin);
    return g_steal_pointer(&policy);
}

/* --- telling ------------------------------------------------------------------------------------- */

JsonObject *
policy_tell_settings(const ApmigPolicy *policy)
{
    JsonObject *object = json_object_new();

    json_object_set_string_member(object, "on-busy", apmig_on_busy_to_string(policy->on_busy));
    policy_tell_steps(object, policy->steps, policy->n_steps);
    json_object_set_string_member(object, "on-release", on_release_names[policy->on_release]);
    json_object_set_string_member(object, "on-unannounced", on_unannounced_names[policy->on_unannounced]);
    json_object_set_string_member(object, "on-config-change", on_unannounced_names[policy->on_config_change]);
    for (guint i = 0; i < G_N_ELEMENTS(times); i++)
        json_object_set_int_member(object, times[i].key, G_STRUCT_MEMBER(gint64, policy, times[i].offset));
    for (guint i = 0; i < G_N_ELEMENTS(limits); i++)
        json_object_set_int_member(object, limits[i].key, G_STRUCT_MEMBER(guint, policy, limits[i].offset));
    json_object_set_string_member(object, "stamp", apmig_stamp_form_to_string(policy->stamp));
    for (guint i = 0; i < G_N_ELEMENTS(answers); i++) {
        ApmigStampAnswer answer = G_STRUCT_MEMBER(ApmigStampAnswer, policy, answers[i].offset);

        json_object_set_string_member(object, answers[i].key, apmig_stamp_answer_to_string(answer));
    }
    json_object_set_string_member(object, "remap-devices", apmig_remap_to_string(policy->remap_devices));
    return object;
}

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

const char *
apmig_on_busy_to_string(ApmigOnBusy on_busy)
{
    g_return_val_if_fail((guint)on_busy < G_N_ELEMENTS(on_busy_names), "");
    return on_busy_names[on_busy];
}

gboolean
apmig_on_busy_from_string(const char *text, ApmigOnBusy *ret_on_busy)
{
    for (guint i = APMIG_ON_BUSY_ABORT; i < G_N_ELEMENTS(on_busy_names); i++) {
        if (g_str_equal(text, on_busy_names[i])) {
            *ret_on_busy = (ApmigOnBusy)i;
            return TRUE;
        }
    }
    return FALSE;
}

const char *
apmig_step_to_string(ApmigStep step)
{
    g_return_val_if_fail((guint)step < G_N_ELEMENTS(step_names), "");
    return step_names[step];
}

const ApmigPolicyStep *
apmig_policy_find_step(const ApmigPolicy *policy, ApmigStep step)
{
    for (guint i = 0; i < policy->n_steps; i++)
        if (policy->steps[i].step == step)
            return &policy->steps[i];
    return NULL;
}
