/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The keys of a policy but for its rules: a table of them, by which they are read and told.
 */
#include "rules/private.h"

#include "base/error.h"

#define MILLISECOND G_GINT64_CONSTANT(1000)
#define SECOND      (1000 * MILLISECOND)
#define MINUTE      (60 * SECOND)
#define DECADE      (10 * 365 * 24 * 60 * MINUTE)

#define MEMBER(name) G_STRUCT_OFFSET(ApmigPolicy, name)

/* --- words ----------------------------------------------------------------------------------------- */

static const char *const on_release_words[] = {
    [APMIG_ON_RELEASE_VERIFY] = "verify",
    [APMIG_ON_RELEASE_TRUST] = "trust",
    NULL,
};

static const char *const on_unannounced_words[] = {
    [APMIG_ON_UNANNOUNCED_WARN] = "warn",
    [APMIG_ON_UNANNOUNCED_LOCK] = "lock",
    [APMIG_ON_UNANNOUNCED_IGNORE] = "ignore",
    NULL,
};

/* A key with an enum for its member: a value's word is the one of its number. */
typedef struct {
    const char *key;
    gsize offset;
    const char *const *words;
    guint least; /* number of the first that is a value of this key */
} WordKey;

G_STATIC_ASSERT(sizeof(ApmigOnBusy) == sizeof(guint));

static const WordKey words[] = {
    {"on-busy", MEMBER(on_busy), apmig_on_busy_words, APMIG_ON_BUSY_ABORT},
    {"on-release", MEMBER(on_release), on_release_words, 0},
    {"on-unannounced", MEMBER(on_unannounced), on_unannounced_words, 0},
    {"on-config-change", MEMBER(on_config_change), on_unannounced_words, 0},
    {"stamp", MEMBER(stamp), apmig_stamp_form_words, 0},
    {"keys-differ", MEMBER(keys_differ), apmig_stamp_answer_words, APMIG_STAMP_WARN},
    {"keys-unknown", MEMBER(keys_unknown), apmig_stamp_answer_words, 0},
    {"stamp-missing", MEMBER(stamp_missing), apmig_stamp_answer_words, 0},
    {"remap-devices", MEMBER(remap_devices), apmig_remap_words, 0},
};

static const WordKey step_name = {"step", 0, apmig_step_words, 0};

/* --- numbers ------------------------------------------------------------------------------------- */

typedef struct {
    const char *key;
    gsize offset; /* of the member it fills */
    gint64 minimum;
    gint64 maximum;
} NumberKey;

static const NumberKey times[] = {
    {"admission-usec", MEMBER(admission_usec), SECOND, 3600 * SECOND},
    {"draining-interval-usec", MEMBER(draining_interval_usec), 10 * MILLISECOND, 10 * SECOND},
    {"held-interval-usec", MEMBER(held_interval_usec), 100 * MILLISECOND, 60 * SECOND},
    {"silence-usec", MEMBER(silence_usec), SECOND, 300 * SECOND},
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

static const NumberKey step_deadline = {"deadline-usec", 0, 100 * MILLISECOND, 600 * SECOND};

#undef MEMBER

/* --- reading ------------------------------------------------------------------------------------- */

/* Returns: (transfer full): "one of "a", "b" and "c"", or ""a" or "b"" */
static char *
tell_words(const WordKey *key)
{
    guint n = g_strv_length((char **)key->words) - key->least;
    g_autoptr(GString) text = g_string_new(n > 2 ? "one of " : NULL);

    for (guint i = 0; i < n; i++)
        g_string_append_printf(text, "%s\"%s\"",
                               i == 0      ? ""
                               : i + 1 < n ? ", "
                               : n > 2     ? " and "
                                           : " or ",
                               key->words[key->least + i]);
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static gboolean
read_word(const ApmigJsonPlace *place, const WordKey *key, guint *ret_number, GError **error)
{
    g_autofree char *expected = tell_words(key);
    g_autofree char *excerpt = NULL;
    const char *word = NULL;

    if (!apmig_json_read_string(place, key->key, expected, &word, error))
        return FALSE;
    for (guint i = key->least; key->words[i]; i++) {
        if (!g_str_equal(word, key->words[i]))
            continue;
        *ret_number = i;
        return TRUE;
    }
    excerpt = apmig_error_excerpt(word);
    return apmig_json_fail(place, key->key, error, "is \"%s\" but must be %s", excerpt, expected);
}

static gboolean
read_words(ApmigPolicy *policy, const ApmigJsonPlace *place, GError **error)
{
    for (guint i = 0; i < G_N_ELEMENTS(words); i++)
        if (json_object_has_member(place->object, words[i].key) &&
            !read_word(place, &words[i], &G_STRUCT_MEMBER(guint, policy, words[i].offset), error))
            return FALSE;
    return TRUE;
}

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
read_step(ApmigPolicy *policy, const ApmigJsonPlace *place, GError **error)
{
    static const char *const keys[] = {"step", "deadline-usec", NULL};
    ApmigPolicyStep *step = &policy->steps[policy->n_steps];
    guint number = 0;

    if (!apmig_json_check_keys(place, keys, POLICY_NOT_A_KEY, error) ||
        !read_word(place, &step_name, &number, error))
        return FALSE;
    if (apmig_policy_find_step(policy, (ApmigStep)number))
        return apmig_json_fail(place, "step", error, "is \"%s\" a second time", apmig_step_words[number]);
    step->step = (ApmigStep)number;
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

    if (!node)
        return TRUE;
    array = JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
    if (!array || json_array_get_length(array) < 1 || json_array_get_length(array) > APMIG_POLICY_MAX_STEPS)
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

gboolean
policy_read_settings(ApmigPolicy *policy, const ApmigJsonPlace *place, GError **error)
{
    return read_words(policy, place, error) && read_steps(policy, place, error) &&
           read_numbers(policy, place, error) && check_overdue(policy, place, error);
}

GStrv
policy_setting_keys(void)
{
    g_autoptr(GPtrArray) keys = g_ptr_array_new();

    for (guint i = 0; i < G_N_ELEMENTS(words); i++)
        g_ptr_array_add(keys, g_strdup(words[i].key));
    g_ptr_array_add(keys, g_strdup("steps"));
    for (guint i = 0; i < G_N_ELEMENTS(times); i++)
        g_ptr_array_add(keys, g_strdup(times[i].key));
    for (guint i = 0; i < G_N_ELEMENTS(limits); i++)
        g_ptr_array_add(keys, g_strdup(limits[i].key));
    g_ptr_array_add(keys, NULL);
    return (GStrv)g_ptr_array_free(g_steal_pointer(&keys), FALSE);
}

/* --- telling ------------------------------------------------------------------------------------- */

void
policy_tell_steps(JsonObject *object, const ApmigPolicyStep *steps, guint n_steps)
{
    JsonArray *array = json_array_new();

    for (guint i = 0; i < n_steps; i++) {
        JsonObject *step = json_object_new();

        json_object_set_string_member(step, "step", apmig_step_to_string(steps[i].step));
        json_object_set_int_member(step, "deadline-usec", steps[i].deadline_usec);
        json_array_add_object_element(array, step);
    }
    json_object_set_array_member(object, "steps", array);
}

JsonObject *
policy_tell_settings(const ApmigPolicy *policy)
{
    JsonObject *object = json_object_new();

    for (guint i = 0; i < G_N_ELEMENTS(words); i++)
        json_object_set_string_member(object, words[i].key,
                                      words[i].words[G_STRUCT_MEMBER(guint, policy, words[i].offset)]);
    policy_tell_steps(object, policy->steps, policy->n_steps);
    for (guint i = 0; i < G_N_ELEMENTS(times); i++)
        json_object_set_int_member(object, times[i].key, G_STRUCT_MEMBER(gint64, policy, times[i].offset));
    for (guint i = 0; i < G_N_ELEMENTS(limits); i++)
        json_object_set_int_member(object, limits[i].key, G_STRUCT_MEMBER(guint, policy, limits[i].offset));
    return object;
}
