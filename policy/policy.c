/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "policy.h"

#include "error.h"
#include "strict-json.h"

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

/* A place in the text. */
typedef struct {
    const char *origin;
    const char *path; /* "$.steps[0]" */
    JsonObject *object;
} Place;

static gboolean G_GNUC_PRINTF(4, 5)
    fail(const Place *place, const char *key, GError **error, const char *format, ...)
{
    va_list args;
    g_autofree char *problem = NULL;

    va_start(args, format);
    problem = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION, "%s: %s.%s %s.", place->origin, place->path,
                key, problem);
    return FALSE;
}

/* @keys: ended by NULL */
static gboolean
check_keys(const Place *place, const char *const *keys, GError **error)
{
    g_autoptr(GList) members = json_object_get_members(place->object);

    for (GList *member = members; member != NULL; member = member->next) {
        if (!g_strv_contains(keys, member->data)) {
            g_autofree char *excerpt = apmig_error_excerpt(member->data);
            g_autofree char *known = g_strjoinv(", ", (char **)keys);
            return fail(place, excerpt, error, "is no key of a policy, the keys here are: %s", known);
        }
    }
    return TRUE;
}

static gboolean
read_number(const Place *place, const NumberKey *key, gint64 *ret_number, GError **error)
{
    JsonNode *node = json_object_get_member(place->object, key->key);

    if (node == NULL || json_node_get_value_type(node) != G_TYPE_INT64 ||
        json_node_get_int(node) < key->minimum || json_node_get_int(node) > key->maximum)
        return fail(place, key->key, error,
                    "must be an integer from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT, key->minimum,
                    key->maximum);
    *ret_number = json_node_get_int(node);
    return TRUE;
}

static gboolean
read_name(const Place *place, const char *key, const char *expected, const char **ret_name, GError **error)
{
    JsonNode *node = json_object_get_member(place->object, key);

    if (node == NULL || json_node_get_value_type(node) != G_TYPE_STRING)
        return fail(place, key, error, "must be a string, %s", expected);
    *ret_name = json_node_get_string(node);
    return TRUE;
}

static gboolean
read_on_busy(ApmigPolicy *policy, const Place *place, GError **error)
{
    static const char *const expected = "one of \"abort\", \"wait\" and \"refuse\"";
    const char *name = NULL;

    if (!json_object_has_member(place->object, "on-busy"))
        return TRUE;
    if (!read_name(place, "on-busy", expected, &name, error))
        return FALSE;
    if (!apmig_on_busy_from_string(name, &policy->on_busy)) {
        g_autofree char *excerpt = apmig_error_excerpt(name);
        return fail(place, "on-busy", error, "is \"%s\" but must be %s", excerpt, expected);
    }
    return TRUE;
}

static gboolean
read_on_release(ApmigPolicy *policy, const Place *place, GError **error)
{
    static const char *const expected = "\"verify\" or \"trust\"";
    const char *name = NULL;
    g_autofree char *excerpt = NULL;

    if (!json_object_has_member(place->object, "on-release"))
        return TRUE;
    if (!read_name(place, "on-release", expected, &name, error))
        return FALSE;
    for (guint i = 0; i < G_N_ELEMENTS(on_release_names); i++) {
        if (!g_str_equal(name, on_release_names[i]))
            continue;
        policy->on_release = (ApmigOnRelease)i;
        return TRUE;
    }
    excerpt = apmig_error_excerpt(name);
    return fail(place, "on-release", error, "is \"%s\" but must be %s", excerpt, expected);
}

static gboolean
read_on_unannounced(const Place *place, const char *key, ApmigOnUnannounced *ret_answer, GError **error)
{
    static const char *const expected = "one of \"warn\", \"lock\" and \"ignore\"";
    const char *name = NULL;
    g_autofree char *excerpt = NULL;

    if (!json_object_has_member(place->object, key))
        return TRUE;
    if (!read_name(place, key, expected, &name, error))
        return FALSE;
    for (guint i = 0; i < G_N_ELEMENTS(on_unannounced_names); i++) {
        if (!g_str_equal(name, on_unannounced_names[i]))
            continue;
        *ret_answer = (ApmigOnUnannounced)i;
        return TRUE;
    }
    excerpt = apmig_error_excerpt(name);
    return fail(place, key, error, "is \"%s\" but must be %s", excerpt, expected);
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
read_step(ApmigPolicy *policy, const Place *place, GError **error)
{
    static const char *const keys[] = {"step", "deadline-usec", NULL};
    static const char *const expected = "\"libvirt-abort\", \"vfio-state\" or \"kill-incoming\"";
    ApmigPolicyStep *step = &policy->steps[policy->n_steps];
    const char *name = NULL;

    if (!check_keys(place, keys, error) || !read_name(place, "step", expected, &name, error))
        return FALSE;
    if (!step_from_string(name, &step->step)) {
        g_autofree char *excerpt = apmig_error_excerpt(name);
        return fail(place, "step", error, "is \"%s\" but must be %s", excerpt, expected);
    }
    if (apmig_policy_find_step(policy, step->step))
        return fail(place, "step", error, "is \"%s\" a second time", name);
    if (!read_number(place, &step_deadline, &step->deadline_usec, error))
        return FALSE;
    policy->n_steps++;
    return TRUE;
}

static gboolean
read_steps(ApmigPolicy *policy, const Place *place, GError **error)
{
    JsonNode *node = json_object_get_member(place->object, "steps");
    JsonArray *array = NULL;

    if (node == NULL)
        return TRUE;
    array = JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
    if (array == NULL || json_array_get_length(array) < 1 ||
        json_array_get_length(array) > APMIG_POLICY_MAX_STEPS)
        return fail(place, "steps", error, "must be an array of 1 to %u steps", APMIG_POLICY_MAX_STEPS);
    policy->n_steps = 0;
    for (guint i = 0; i < json_array_get_length(array); i++) {
        JsonNode *element = json_array_get_element(array, i);
        g_autofree char *key = g_strdup_printf("steps[%u]", i);
        g_autofree char *path = g_strdup_printf("%s.%s", place->path, key);
        Place inner = {place->origin, path, NULL};

        if (!JSON_NODE_HOLDS_OBJECT(element))
            return fail(place, key, error, "must be an object with \"step\" and \"deadline-usec\"");
        inner.object = json_node_get_object(element);
        if (!read_step(policy, &inner, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
read_numbers(ApmigPolicy *policy, const Place *place, GError **error)
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
fail_word(const Place *place, const char *key, const char *word, const char *expected, GError **error)
{
    g_autofree char *excerpt = apmig_error_excerpt(word);

    return fail(place, key, error, "is \"%s\" but must be %s", excerpt, expected);
}

static gboolean
read_stamp(ApmigPolicy *policy, const Place *place, GError **error)
{
    static const char *const forms = "one of \"full\", \"digest\" and \"off\"";
    const char *word = NULL;

    if (json_object_has_member(place->object, "stamp")) {
        if (!read_name(place, "stamp", forms, &word, error))
            return FALSE;
        if (!apmig_stamp_form_from_string(word, &policy->stamp))
            return fail_word(place, "stamp", word, forms, error);
    }
    for (guint i = 0; i < G_N_ELEMENTS(answers); i++) {
        const AnswerKey *key = &answers[i];
        ApmigStampAnswer answer;

        if (!json_object_has_member(place->object, key->key))
            continue;
        if (!read_name(place, key->key, key->expected, &word, error))
            return FALSE;
        if (!apmig_stamp_answer_from_string(word, &answer) || answer < key->least)
            return fail_word(place, key->key, word, key->expected, error);
        G_STRUCT_MEMBER(ApmigStampAnswer, policy, key->offset) = answer;
    }
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
                                       NULL};
    g_autoptr(ApmigPolicy) policy = apmig_policy_copy(base != NULL ? base : &built_in);
    g_autoptr(JsonObject) object =
        apmig_strict_json_parse(json, length, APMIG_POLICY_MAX_BYTES, origin, error);
    Place place = {origin, "$", object};

    if (object == NULL || !check_keys(&place, keys, error) || !read_on_busy(policy, &place, error) ||
        !read_on_release(policy, &place, error) ||
        !read_on_unannounced(&place, "on-unannounced", &policy->on_unannounced, error) ||
        !read_on_unannounced(&place, "on-config-change", &policy->on_config_change, error) ||
        !read_steps(policy, &place, error) || !read_numbers(policy, &place, error) ||
        !read_stamp(policy, &place, error))
        return NULL;
    return g_steal_pointer(&policy);
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
    return copy;
}

void
apmig_policy_free(ApmigPolicy *policy)
{
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
