/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rules/policy.h"

#include "engine/engine.h"
#include "base/error.h"
#include "base/strict-json.h"

#include <string.h>

static ApmigPolicy *
parse(const char *json, const ApmigPolicy *base)
{
    g_autoptr(GError) error = NULL;
    ApmigPolicy *policy = apmig_policy_parse(json, strlen(json), "test.json", base, &error);

    g_assert_no_error(error);
    g_assert_nonnull(policy);
    return policy;
}

static void
assert_equal(const ApmigPolicy *a, const ApmigPolicy *b)
{
    g_assert_cmpint(a->on_busy, ==, b->on_busy);
    g_assert_cmpuint(a->n_steps, ==, b->n_steps);
    for (guint i = 0; i < a->n_steps; i++) {
        g_assert_cmpint(a->steps[i].step, ==, b->steps[i].step);
        g_assert_cmpint(a->steps[i].deadline_usec, ==, b->steps[i].deadline_usec);
    }
    g_assert_cmpint(a->admission_usec, ==, b->admission_usec);
    g_assert_cmpint(a->draining_interval_usec, ==, b->draining_interval_usec);
    g_assert_cmpint(a->held_interval_usec, ==, b->held_interval_usec);
    g_assert_cmpint(a->silence_usec, ==, b->silence_usec);
    g_assert_cmpint(a->request_timeout_usec, ==, b->request_timeout_usec);
    g_assert_cmpint(a->on_release, ==, b->on_release);
    g_assert_cmpint(a->release_verify_usec, ==, b->release_verify_usec);
    g_assert_cmpint(a->on_unannounced, ==, b->on_unannounced);
    g_assert_cmpint(a->on_config_change, ==, b->on_config_change);
    g_assert_cmpuint(a->max_locks, ==, b->max_locks);
    g_assert_cmpuint(a->max_locks_per_user, ==, b->max_locks_per_user);
    g_assert_cmpuint(a->max_admissions, ==, b->max_admissions);
    g_assert_cmpint(a->stamp, ==, b->stamp);
    g_assert_cmpint(a->keys_differ, ==, b->keys_differ);
    g_assert_cmpint(a->keys_unknown, ==, b->keys_unknown);
    g_assert_cmpint(a->stamp_missing, ==, b->stamp_missing);
    g_assert_cmpuint(a->stamp_fresh_seconds, ==, b->stamp_fresh_seconds);
    g_assert_cmpint(a->remap_devices, ==, b->remap_devices);
}

/* A policy unlike the default in every member. */
static const char unlike_default[] =
    "{\"on-busy\":\"wait\",\"steps\":[{\"deadline-usec\":100000,\"step\":\"vfio-state\"},"
    "{\"step\":\"libvirt-abort\",\"deadline-usec\":600000000}],\"admission-usec\":3600000000,"
    "\"on-release\":\"trust\",\"release-verify-usec\":600000000,"
    "\"on-unannounced\":\"ignore\",\"on-config-change\":\"lock\","
    "\"draining-interval-usec\":10000,\"held-interval-usec\":60000000,\"silence-usec\":300000000,\"request-timeout-usec\":86400000000,"
    "\"max-locks\":1,\"max-locks-per-user\":1024,\"max-admissions\":65536,"
    "\"stamp\":\"digest\",\"keys-differ\":\"warn\",\"keys-unknown\":\"allow\",\"stamp-missing\":\"deny\","
    "\"stamp-fresh-sec\":0,\"remap-devices\":\"matching-or-empty\"}";

/* --- what is read --------------------------------------------------------------------------------- */

static void
test_default_file(void)
{
    g_autoptr(ApmigPolicy) built_in = apmig_policy_new_default();
    g_autoptr(ApmigPolicy) other = parse(unlike_default, NULL);
    g_autoptr(ApmigPolicy) shipped = NULL;
    g_autofree char *json = NULL;
    g_autoptr(GError) error = NULL;

    g_file_get_contents(SOURCE_DIR "/policy/rules/default.json", &json, NULL, &error);
    g_assert_no_error(error);
    /* over another base: every key is in the file */
    shipped = parse(json, other);
    assert_equal(shipped, built_in);
}

static void
test_every_member(void)
{
    g_autoptr(ApmigPolicy) policy = parse(unlike_default, NULL);

    g_assert_cmpint(policy->on_busy, ==, APMIG_ON_BUSY_WAIT);
    g_assert_cmpuint(policy->n_steps, ==, 2);
    g_assert_cmpint(policy->steps[0].step, ==, APMIG_STEP_VFIO_STATE);
    g_assert_cmpint(policy->steps[0].deadline_usec, ==, 100000);
    g_assert_cmpint(policy->steps[1].step, ==, APMIG_STEP_LIBVIRT_ABORT);
    g_assert_cmpint(policy->steps[1].deadline_usec, ==, 600000000);
    g_assert_true(apmig_policy_find_step(policy, APMIG_STEP_VFIO_STATE) == &policy->steps[0]);
    g_assert_true(apmig_policy_find_step(policy, APMIG_STEP_LIBVIRT_ABORT) == &policy->steps[1]);
    g_assert_null(apmig_policy_find_step(policy, APMIG_STEP_KILL_INCOMING));
    g_assert_cmpint(policy->admission_usec, ==, G_GINT64_CONSTANT(3600000000));
    g_assert_cmpint(policy->on_release, ==, APMIG_ON_RELEASE_TRUST);
    g_assert_cmpint(policy->on_unannounced, ==, APMIG_ON_UNANNOUNCED_IGNORE);
    g_assert_cmpint(policy->on_config_change, ==, APMIG_ON_UNANNOUNCED_LOCK);
    g_assert_cmpint(policy->release_verify_usec, ==, 600000000);
    g_assert_cmpint(policy->draining_interval_usec, ==, 10000);
    g_assert_cmpint(policy->held_interval_usec, ==, 60000000);
    g_assert_cmpint(policy->silence_usec, ==, 300000000);
    g_assert_cmpint(policy->request_timeout_usec, ==, G_GINT64_CONSTANT(86400000000));
    g_assert_cmpuint(policy->max_locks, ==, 1);
    g_assert_cmpuint(policy->max_locks_per_user, ==, 1024);
    g_assert_cmpuint(policy->max_admissions, ==, 65536);
}

static void
test_base(void)
{
    g_autoptr(ApmigPolicy) built_in = apmig_policy_new_default();
    g_autoptr(ApmigPolicy) base = parse(unlike_default, NULL);
    g_autoptr(ApmigPolicy) of_default = parse("{}", NULL);
    g_autoptr(ApmigPolicy) of_base = parse(" \t\r\n{ } \n", base);
    g_autoptr(ApmigPolicy) changed = parse("{\"on-busy\":\"refuse\"}", base);
    g_autoptr(ApmigPolicy) steps =
        parse("{\"steps\":[{\"step\":\"libvirt-abort\",\"deadline-usec\":700000}]}", base);

    assert_equal(of_default, built_in);
    assert_equal(of_base, base);
    g_assert_cmpint(changed->on_busy, ==, APMIG_ON_BUSY_REFUSE);
    g_assert_cmpint(changed->held_interval_usec, ==, base->held_interval_usec);
    g_assert_cmpint(changed->n_steps, ==, 2);
    g_assert_cmpint(steps->n_steps, ==, 1);
    g_assert_cmpint(steps->steps[0].deadline_usec, ==, 700000);
}

/* The text need not be terminated: what follows its length is not looked at. */
static void
test_not_terminated(void)
{
    g_autofree char *json = g_strdup("{\"max-locks\":25}");
    gsize length = strlen(json);
    g_autofree char *copy = g_malloc(length);
    g_autoptr(ApmigPolicy) policy = NULL;
    g_autoptr(GError) error = NULL;

    for (gsize i = 0; i < length; i++) {
        g_autofree char *cut = g_malloc(MAX(i, 1));

        memcpy(cut, json, i);
        g_assert_null(apmig_policy_parse(cut, i, "test.json", NULL, NULL));
    }
    memcpy(copy, json, length);
    policy = apmig_policy_parse(copy, length, "test.json", NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(policy->max_locks, ==, 25);
}

/* --- what is refused ------------------------------------------------------------------------------ */

typedef struct {
    const char *json;
    const char *place; /* the beginning of the sentence */
} BadInput;

static void
assert_refused(const char *json, gsize length, const char *place)
{
    g_autoptr(ApmigPolicy) policy = NULL;
    g_autoptr(GError) error = NULL;

    policy = apmig_policy_parse(json, length, "test.json", NULL, &error);
    g_assert_null(policy);
    g_assert_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION);
    if (!g_str_has_prefix(error->message, place))
        g_error("%.60s: \"%s\" does not begin with \"%s\"", json, error->message, place);
    g_assert_cmpuint(strlen(error->message), <, 512);
    g_assert_true(g_str_has_suffix(error->message, "."));
    for (const char *p = error->message; *p != '\0'; p++)
        g_assert_true(g_ascii_isprint(*p));
}

static void
test_no_policy(void)
{
    static const BadInput inputs[] = {
        {"{\"on-buzy\":\"abort\"}",
         "test.json: $.on-buzy is no key of a policy, the keys here are: on-busy, on-release,"},
        {"{\"\":1}", "test.json: $. is no key"},
        {"{\"a\\nb\":1}", "test.json: $.a\\nb is no key"},
        {"{\"\u00e4\":1}", "test.json: $.\\303\\244 is no key"},
        {"{\"on-busy\":\"abandon\"}", "test.json: $.on-busy is \"abandon\" but must be one of \"abort\""},
        {"{\"on-busy\":\"Abort\"}", "test.json: $.on-busy is \"Abort\""},
        {"{\"on-busy\":\"\"}", "test.json: $.on-busy is \"\""},
        {"{\"on-busy\":\"abort \"}", "test.json: $.on-busy is \"abort \""},
        {"{\"on-busy\":1}", "test.json: $.on-busy must be a string"},
        {"{\"on-busy\":null}", "test.json: $.on-busy must be a string"},
        {"{\"on-busy\":[\"abort\"]}", "test.json: $.on-busy must be a string"},
        {"{\"max-locks\":0}", "test.json: $.max-locks must be an integer from 1 to 1024."},
        {"{\"max-locks\":-1}", "test.json: $.max-locks must"},
        {"{\"max-locks\":1025}", "test.json: $.max-locks must"},
        {"{\"max-locks\":4294967297}", "test.json: $.max-locks must"},
        {"{\"max-locks\":64.0}", "test.json: $.max-locks must"},
        {"{\"max-locks\":64e0}", "test.json: $.max-locks must"},
        {"{\"max-locks\":\"64\"}", "test.json: $.max-locks must"},
        {"{\"max-locks\":true}", "test.json: $.max-locks must"},
        {"{\"max-locks\":null}", "test.json: $.max-locks must"},
        {"{\"max-locks\":[64]}", "test.json: $.max-locks must"},
        {"{\"max-locks\":{}}", "test.json: $.max-locks must"},
        {"{\"max-locks-per-user\":1025}",
         "test.json: $.max-locks-per-user must be an integer from 1 to 1024."},
        {"{\"max-locks-per-user\":0}", "test.json: $.max-locks-per-user must"},
        {"{\"max-admissions\":65537}", "test.json: $.max-admissions must be an integer from 1 to 65536."},
        {"{\"max-admissions\":0}", "test.json: $.max-admissions must"},
        {"{\"stamp\":\"short\"}",
         "test.json: $.stamp is \"short\" but must be one of \"off\", \"digest\" and \"full\"."},
        {"{\"stamp\":true}", "test.json: $.stamp must be a string, one of"},
        {"{\"keys-differ\":\"allow\"}",
         "test.json: $.keys-differ is \"allow\" but must be \"warn\" or \"deny\"."},
        {"{\"keys-unknown\":\"\"}", "test.json: $.keys-unknown is \"\" but must be one of"},
        {"{\"stamp-missing\":null}", "test.json: $.stamp-missing must be a string, one of"},
        {"{\"remap-devices\":\"empty\"}",
         "test.json: $.remap-devices is \"empty\" but must be one of \"off\", \"matching\" and"},
        {"{\"stamp-fresh-sec\":-1}", "test.json: $.stamp-fresh-sec must be an integer from 0 to 315360000."},
        {"{\"admission-usec\":999999}",
         "test.json: $.admission-usec must be an integer from 1000000 to 3600000000."},
        {"{\"admission-usec\":3600000001}", "test.json: $.admission-usec must"},
        {"{\"draining-interval-usec\":9999}",
         "test.json: $.draining-interval-usec must be an integer from 10000 to 10000000."},
        {"{\"draining-interval-usec\":10000001}", "test.json: $.draining-interval-usec must"},
        {"{\"held-interval-usec\":99999}",
         "test.json: $.held-interval-usec must be an integer from 100000 to 60000000."},
        {"{\"held-interval-usec\":60000001}", "test.json: $.held-interval-usec must"},
        {"{\"silence-usec\":999999}",
         "test.json: $.silence-usec must be an integer from 1000000 to 300000000."},
        {"{\"silence-usec\":300000001}", "test.json: $.silence-usec must"},
        {"{\"on-config-change\":\"deny\"}",
         "test.json: $.on-config-change is \"deny\" but must be one of \"warn\", \"lock\" and \"ignore\"."},
        {"{\"on-release\":\"ask\"}",
         "test.json: $.on-release is \"ask\" but must be \"verify\" or \"trust\"."},
        {"{\"on-release\":true}", "test.json: $.on-release must be a string, \"verify\" or \"trust\"."},
        {"{\"release-verify-usec\":99999}",
         "test.json: $.release-verify-usec must be an integer from 100000 to 600000000."},
        {"{\"request-timeout-usec\":99999}",
         "test.json: $.request-timeout-usec must be an integer from 100000 to 86400000000."},
        {"{\"request-timeout-usec\":86400000001}", "test.json: $.request-timeout-usec must"},
        {"{\"request-timeout-usec\":999999999999999999}", "test.json: $.request-timeout-usec must"},
        {"{\"steps\":{}}", "test.json: $.steps must be an array of 1 to 3 steps."},
        {"{\"steps\":null}", "test.json: $.steps must"},
        {"{\"steps\":[]}", "test.json: $.steps must"},
        {"{\"steps\":[1,2,3,4]}", "test.json: $.steps must"},
        {"{\"steps\":[1]}", "test.json: $.steps[0] must be an object with \"step\" and \"deadline-usec\"."},
        {"{\"steps\":[[]]}", "test.json: $.steps[0] must"},
        {"{\"steps\":[null]}", "test.json: $.steps[0] must"},
        {"{\"steps\":[{}]}", "test.json: $.steps[0].step must be a string, one of \"libvirt-abort\", "
                             "\"vfio-state\" and \"kill-incoming\"."},
        {"{\"steps\":[{\"step\":\"reset\",\"deadline-usec\":5000000}]}",
         "test.json: $.steps[0].step is \"reset\" but must be one of \"libvirt-abort\", \"vfio-state\" and "
         "\"kill-incoming\"."},
        {"{\"steps\":[{\"step\":\"vfio-state\",\"deadline-usec\":100000},"
         "{\"step\":\"kill-incoming\",\"deadline-usec\":100000},"
         "{\"step\":\"vfio-state\",\"deadline-usec\":200000}]}",
         "test.json: $.steps[2].step is \"vfio-state\" a second time."},
        {"{\"steps\":[{\"step\":\"libvirt-abort\"}]}",
         "test.json: $.steps[0].deadline-usec must be an integer from 100000 to 600000000."},
        {"{\"steps\":[{\"step\":\"libvirt-abort\",\"deadline-usec\":5000000},"
         "{\"step\":\"vfio-state\",\"deadline-usec\":99999}]}",
         "test.json: $.steps[1].deadline-usec must"},
        {"{\"steps\":[{\"step\":\"libvirt-abort\",\"deadline-usec\":600000001}]}",
         "test.json: $.steps[0].deadline-usec must"},
        {"{\"steps\":[{\"step\":\"libvirt-abort\",\"deadline-usec\":5000000,\"x\":1}]}",
         "test.json: $.steps[0].x is no key of a policy, the keys here are: step, deadline-usec."},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(inputs); i++)
        assert_refused(inputs[i].json, strlen(inputs[i].json), inputs[i].place);
}

static void
test_no_json(void)
{
    static const BadInput inputs[] = {
        {"", "test.json:1:1: the text ends"},
        {" \n", "test.json:2:1: the text ends"},
        {"nul", "test.json:1:1: this is no JSON, near \"nul\"."},
        {"5", "test.json:1:1: the text is to be one object, in {}."},
        {"[]", "test.json:1:1: the text is to be one object"},
        {"\"on-busy\"", "test.json:1:1: the text is to be one object"},
        {"null{}", "test.json:1:1: the text is to be one object"},
        {"\n -0{}", "test.json:2:2: the text is to be one object"},
        {"\"step\"[]", "test.json:1:1: the text is to be one object"},
        {",{}", "test.json:1:1: the text is to be one object"},
        {"{", "test.json:1:2: the text ends before its object does."},
        {"}", "test.json:1:1: this bracket closes nothing."},
        {"{]", "test.json:1:"},
        {"{\"max-locks\":64]", "test.json:1:"},
        {"{\"max-locks\":64}}", "test.json:1:17: there is text after the end"},
        {"{} {}", "test.json:1:4: there is text after the end of the object."},
        {"{}x", "test.json:1:3: there is text after"},
        {"{\"max-locks\" 64}", "test.json:1:"},
        {"{\"max-locks\":64,}", "test.json:1:"},
        {"{\"max-locks\":64 65}", "test.json:1:"},
        {"{\"max-locks\":}", "test.json:1:"},
        {"{\"max-locks\"}", "test.json:1:"},
        {"{,}", "test.json:1:"},
        {"{\"steps\":[1,]}", "test.json:1:"},
        {"{\n  \"max-locks\": 64,\n  max-locks: 64\n}",
         "test.json:3:3: this is no JSON, near \"max-locks: 6\"."},
        {"{'max-locks':64}", "test.json:1:2: this is no JSON"},
        {"{\"on-busy\":'wait'}", "test.json:1:12: this is no JSON"},
        {"/* a comment */ {}", "test.json:1:1: this is no JSON"},
        {"{} // a comment", "test.json:1:4: there is text after"},
        {"{ # a comment\n}", "test.json:1:3: this is no JSON"},
        {"var policy = {}", "test.json:1:1: this is no JSON"},
        {"{\"max-locks\":010}", "test.json:1:14: a number does not begin with 0"},
        {"{\"max-locks\":-010}", "test.json:1:15: a number does not begin with 0"},
        {"{\"max-locks\":00}", "test.json:1:14: a number does not begin with 0"},
        {"{\"max-locks\":0x10}", "test.json:1:15: this is no JSON, near \"x10}\"."},
        {"{\"max-locks\":+64}", "test.json:1:14: this is no JSON"},
        {"{\"max-locks\":- 64}", "test.json:1:15: a digit is missing"},
        {"{\"max-locks\":--64}", "test.json:1:15: a digit is missing"},
        {"{\"max-locks\":.5}", "test.json:1:14: this is no JSON"},
        {"{\"max-locks\":5.}", "test.json:1:16: a digit is missing"},
        {"{\"max-locks\":5e}", "test.json:1:16: a digit is missing"},
        {"{\"max-locks\":5e+}", "test.json:1:17: a digit is missing"},
        {"{\"max-locks\":18446744073709551680}", "test.json:1:14: a number has at most 18 digits"},
        {"{\"max-locks\":64abc}", "test.json:1:16: this is no JSON"},
        {"{\"max-locks\":True}", "test.json:1:14: this is no JSON"},
        {"{\"max-locks\":NaN}", "test.json:1:14: this is no JSON"},
        {"{\"on-busy\":\"abort}", "test.json:1:12: this string has no end."},
        {"{\"on-busy\":\"ab\nort\"}", "test.json:1:15: a control character in a string"},
        {"{\"on-busy\":\"ab\\qort\"}", "test.json:1:15: this escape is none of JSON"},
        {"{\"on-busy\":\"abort\\u0000\"}",
         "test.json:1:18: this escape is none of JSON, is \\u0000, or a surrogate"},
        {"{\"on-busy\":\"\\ud800\"}",
         "test.json:1:13: this escape is none of JSON, is \\u0000, or a surrogate"},
        {"{\"on-busy\":\"\\u00g0\"}", "test.json:1:17: \\u needs four hexadecimal digits."},
        {"{\"on-busy\":\"\\", "test.json:1:13: this escape is none of JSON"},
        {"{\"on-busy\":\"\\u0", "test.json:1:16: \\u needs four"},
        {"{\"on-busy\":\"\xff\"}", "test.json:1:13: this byte is no UTF-8, or is 0."},
        {"\xef\xbb\xbf{}", "test.json:1:1: this is no JSON"},
        {"{\f}", "test.json:1:2: this is no JSON"},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(inputs); i++)
        assert_refused(inputs[i].json, strlen(inputs[i].json), inputs[i].place);
    assert_refused("{\"max-locks\":6\0004}", 17, "test.json:1:15: this byte is no UTF-8, or is 0.");
    assert_refused("{}\0", 3, "test.json:1:3: this byte is no UTF-8, or is 0.");
}

static void
test_key_twice(void)
{
    static const BadInput inputs[] = {
        {"{\"max-locks\":64,\"max-locks\":64}",
         "test.json:1: the key \"max-locks\" stands twice in one object, keep one."},
        {"{\n\"max-locks\":64,\n\"on-busy\":\"wait\",\n\"max-\\u006cocks\":65}",
         "test.json:4: the key \"max-locks\" stands twice"},
        {"{\"steps\":[{\"step\":\"libvirt-abort\",\"deadline-usec\":5000000,\n\"deadline-usec\":5000000}]}",
         "test.json:2: the key \"deadline-usec\" stands twice"},
        {"{\"steps\":[{\"step\":1,\"step\":1}],\"steps\":[]}", "test.json:1: the key \"step\" stands twice"},
        {"{\"steps\":[{\"step\":1}],\"steps\":[{\"step\":1,\"step\":1}]}",
         "test.json:1: the key \"step\" stands twice"},
        {"{\"x\\n\":1,\"x\\n\":1}", "test.json:1: the key \"x\\n\" stands twice"},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(inputs); i++)
        assert_refused(inputs[i].json, strlen(inputs[i].json), inputs[i].place);
}

/* What would be read in vain, or would take the stack, is refused before that. */
static void
test_bounds(void)
{
    g_autofree char *deepest = g_strnfill(APMIG_JSON_MAX_DEPTH - 1, '[');
    g_autofree char *deep = g_strdup_printf("{\"x\":%s", deepest);
    g_autofree char *deeper = g_strdup_printf("{\"x\":%s[[", deepest);
    g_autofree char *abyss = g_strnfill(APMIG_POLICY_MAX_BYTES, '[');
    g_autofree char *large = g_strnfill(APMIG_POLICY_MAX_BYTES + 1, ' ');
    g_autoptr(ApmigPolicy) policy = NULL;

    *abyss = '{';
    assert_refused(deep, strlen(deep), "test.json:1:21: the text ends");
    assert_refused(deeper, strlen(deeper), "test.json:1:21: more than 16 levels of objects and arrays.");
    assert_refused(abyss, strlen(abyss), "test.json:1:17: more than 16 levels");
    large[0] = '{';
    large[APMIG_POLICY_MAX_BYTES] = '}';
    assert_refused(large, APMIG_POLICY_MAX_BYTES + 1,
                   "test.json: it has 1048577 bytes, at most 1048576 are allowed.");
    large[APMIG_POLICY_MAX_BYTES - 1] = '}';
    policy = apmig_policy_parse(large, APMIG_POLICY_MAX_BYTES, "test.json", NULL, NULL);
    g_assert_nonnull(policy);
}

/* However long the text's parts are, the sentence is short. */
static void
test_long_parts(void)
{
    g_autofree char *part = g_strnfill(100000, 'x');
    g_autofree char *key = g_strdup_printf("{\"%s\":1}", part);
    g_autofree char *value = g_strdup_printf("{\"on-busy\":\"%s\"}", part);
    g_autofree char *no_colon = g_strdup_printf("{\"on-busy\" \"%s\\n\"}", part);
    g_autofree char *twice = g_strdup_printf("{\"%s\":1,\"%s\":1}", part, part);

    assert_refused(key, strlen(key), "test.json: $.xxxx");
    assert_refused(value, strlen(value), "test.json: $.on-busy is \"xxxx");
    assert_refused(no_colon, strlen(no_colon), "test.json:1:");
    assert_refused(twice, strlen(twice), "test.json:1: the key \"xxxx");
}

/* --- names ---------------------------------------------------------------------------------------- */

static void
test_on_busy_names(void)
{
    ApmigOnBusy on_busy = APMIG_ON_BUSY_WAIT;

    for (ApmigOnBusy i = APMIG_ON_BUSY_ABORT; i <= APMIG_ON_BUSY_REFUSE; i++) {
        g_assert_true(apmig_on_busy_from_string(apmig_on_busy_to_string(i), &on_busy));
        g_assert_cmpint(on_busy, ==, i);
    }
    g_assert_cmpstr(apmig_on_busy_to_string(APMIG_ON_BUSY_UNSET), ==, "");
    g_assert_false(apmig_on_busy_from_string("", &on_busy));
    g_assert_false(apmig_on_busy_from_string("ABORT", &on_busy));
    g_assert_cmpint(on_busy, ==, APMIG_ON_BUSY_REFUSE);
    g_assert_cmpstr(apmig_step_to_string(APMIG_STEP_LIBVIRT_ABORT), ==, "libvirt-abort");
    g_assert_cmpstr(apmig_step_to_string(APMIG_STEP_VFIO_STATE), ==, "vfio-state");
    g_assert_cmpstr(apmig_step_to_string(APMIG_STEP_KILL_INCOMING), ==, "kill-incoming");
}

/* Every condition has a name of its own, and an exit status. */
static void
test_error_names(void)
{
    ApmigError found;

    for (guint code = 0; code < APMIG_N_ERRORS; code++) {
        g_assert_true(apmig_error_find(apmig_error_name((ApmigError)code), &found));
        g_assert_cmpint(found, ==, code);
        g_assert_cmpint(apmig_error_exit_status((ApmigError)code), >=, APMIG_EXIT_INVALID);
        g_assert_cmpint(apmig_error_exit_status((ApmigError)code), <=, APMIG_EXIT_REFUSED);
    }
    g_assert_false(apmig_error_find("locked", &found));
    g_assert_cmpstr(apmig_error_name(APMIG_ERROR_INVALID_SCOPE), ==, "InvalidScope");
    g_assert_cmpstr(apmig_error_name(APMIG_ERROR_KEY_CHANGE_UNFINISHED), ==, "KeyChangeUnfinished");
}

/* --- the plain values of the engine ---------------------------------------------------------------- */

static void
test_lock_names(void)
{
    ApmigLockRecord record = {.origin = APMIG_LOCK_BY_REQUEST};
    ApmigLock lock = {.record = &record, .state = APMIG_LOCK_DRAINING};
    ApmigLockOrigin origin = APMIG_LOCK_BY_ITSELF;

    for (ApmigLockOrigin i = APMIG_LOCK_BY_REQUEST; i <= APMIG_LOCK_RECOVERED; i++) {
        g_assert_true(apmig_lock_origin_from_string(apmig_lock_origin_to_string(i), &origin));
        g_assert_cmpint(origin, ==, i);
    }
    g_assert_false(apmig_lock_origin_from_string("Request", &origin));
    g_assert_cmpint(origin, ==, APMIG_LOCK_RECOVERED);
    g_assert_cmpstr(apmig_lock_state_to_string(&lock), ==, "draining");
    lock.state = APMIG_LOCK_UNPROVEN;
    g_assert_cmpstr(apmig_lock_state_to_string(&lock), ==, "unproven");
    record.origin = APMIG_LOCK_RECOVERED;
    g_assert_cmpstr(apmig_lock_state_to_string(&lock), ==, "recovered");
    lock.result = (char *)"released";
    g_assert_cmpstr(apmig_lock_state_to_string(&lock), ==, "ended");
}

static void
test_lock_id(void)
{
    static const char *const bad[] = {"",         "0123456",  "012345678", "0123456g",
                                      "0123456F", "../../ab", "0123456 "};

    g_assert_true(apmig_lock_id_is_valid("0123456f"));
    g_assert_true(apmig_lock_id_is_valid("00000000"));
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++)
        g_assert_false(apmig_lock_id_is_valid(bad[i]));
}

/* A copy outlives what it was made of, and keeps every member. */
static void
test_copies(void)
{
    g_autoptr(ApmigLockRecord) record = g_new0(ApmigLockRecord, 1);
    g_autoptr(ApmigAdmission) admission = g_new0(ApmigAdmission, 1);
    g_autoptr(ApmigLockRecord) record_copy = NULL;
    g_autoptr(ApmigAdmission) admission_copy = NULL;

    record->id = g_strdup("0123456f");
    record->scope = apmig_scope_parse("04.0012", NULL);
    record->reason = g_strdup("AES rotation");
    record->owner_name = g_strdup("officer");
    record->breaches = 3;
    record_copy = apmig_lock_record_copy(record);
    g_clear_pointer(&record, apmig_lock_record_free);
    g_assert_cmpstr(record_copy->id, ==, "0123456f");
    g_assert_cmpstr(apmig_scope_to_string(record_copy->scope), ==, "04.0012");
    g_assert_cmpstr(record_copy->reason, ==, "AES rotation");
    g_assert_null(record_copy->change_id);
    g_assert_cmpstr(record_copy->owner_name, ==, "officer");
    g_assert_cmpuint(record_copy->breaches, ==, 3);

    admission->uuid = g_strdup("6a3c5b1e-0000-4000-8000-000000000001");
    admission->name = g_strdup("g7");
    admission->scope = apmig_scope_new_all();
    admission->devices = g_strsplit("a b", " ", 0);
    admission->admitted_at = 7;
    admission_copy = apmig_admission_copy(admission);
    g_clear_pointer(&admission, apmig_admission_free);
    g_assert_cmpstr(admission_copy->uuid, ==, "6a3c5b1e-0000-4000-8000-000000000001");
    g_assert_cmpstr(admission_copy->name, ==, "g7");
    g_assert_cmpstr(apmig_scope_to_string(admission_copy->scope), ==, "all");
    g_assert_cmpuint(g_strv_length(admission_copy->devices), ==, 2);
    g_assert_cmpint(admission_copy->admitted_at, ==, 7);
}

/* What it forgets, the leak check of the sanitizers finds. */
static void
test_action_free(void)
{
    ApmigAction *reply = g_new0(ApmigAction, 1), *step = g_new0(ApmigAction, 1),
                *lock = g_new0(ApmigAction, 1);

    reply->type = APMIG_ACTION_REPLY_TAKEN;
    reply->reply.id = g_strdup("0123456f");
    reply->reply.message = g_strdup("a sentence");
    apmig_action_free(reply);
    step->type = APMIG_ACTION_RUN_STEP;
    step->step.migration_id = g_strdup("m1");
    step->step.uuid = g_strdup("u");
    step->step.guest = g_strdup("g7");
    apmig_action_free(step);
    lock->type = APMIG_ACTION_PERSIST_LOCK;
    lock->lock = g_new0(ApmigLockRecord, 1);
    apmig_action_free(lock);
    apmig_action_free(NULL);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/policy/default-file", test_default_file);
    g_test_add_func("/policy/every-member", test_every_member);
    g_test_add_func("/policy/base", test_base);
    g_test_add_func("/policy/not-terminated", test_not_terminated);
    g_test_add_func("/policy/no-policy", test_no_policy);
    g_test_add_func("/policy/no-json", test_no_json);
    g_test_add_func("/policy/key-twice", test_key_twice);
    g_test_add_func("/policy/bounds", test_bounds);
    g_test_add_func("/policy/long-parts", test_long_parts);
    g_test_add_func("/policy/on-busy-names", test_on_busy_names);
    g_test_add_func("/policy/error-names", test_error_names);
    g_test_add_func("/types/lock-names", test_lock_names);
    g_test_add_func("/types/lock-id", test_lock_id);
    g_test_add_func("/types/copies", test_copies);
    g_test_add_func("/types/action-free", test_action_free);
    return g_test_run();
}
