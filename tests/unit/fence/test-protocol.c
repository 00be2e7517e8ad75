/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fence/protocol.h"

#include "base/error.h"

#include <string.h>

#define GUEST  "6b1f8a2e-3c4d-4e5f-8a9b-0c1d2e3f4a5b"
#define DEVICE "7c2f9b3e-3c4d-4e5f-8a9b-0c1d2e3f4a5b"

static const char good_request[] = "{\"version\":1,\"request\":\"fence\",\"uuid\":\"" GUEST
                                   "\",\"name\":\"g1\",\"pid\":42,\"start-time\":7,\"device\":\"" DEVICE
                                   "\",\"direction\":\"in\",\"fenced\":false}";

static const char good_reply[] =
    "{\"version\":1,\"result\":\"done\",\"state-before\":\"RESUMING\",\"state-after\":\"STOP\",\"held-data\":"
    "true,"
    "\"frozen-usec\":1500,\"errno\":0,\"pid\":42,\"start-time\":7,\"message\":\"It was ended.\"}";

/* @text with @from replaced by @to, which has to occur. */
static char *
with(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);

    g_assert_nonnull(at);
    return g_strdup_printf("%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

static void
test_request_round_trip(void)
{
    for (int verb = 0; verb < APMIG_N_FENCE_VERBS; verb++) {
        for (int direction = 0; direction < APMIG_N_FENCE_DIRECTIONS; direction++) {
            const ApmigFenceRequest sent = {
                (ApmigFenceVerb)verb,           GUEST,    "g \"ä\" 1", 4194304, 999999999999999999, DEVICE,
                (ApmigFenceDirection)direction, verb != 0};
            g_autofree char *json = apmig_fence_request_to_json(&sent);
            g_auto(ApmigFenceRequest) got = {0};
            g_autoptr(GError) error = NULL;

            g_assert_true(apmig_fence_request_parse(json, strlen(json), &got, &error));
            g_assert_no_error(error);
            g_assert_cmpint(got.verb, ==, sent.verb);
            g_assert_cmpstr(got.uuid, ==, sent.uuid);
            g_assert_cmpstr(got.name, ==, sent.name);
            g_assert_cmpint(got.pid, ==, sent.pid);
            g_assert_cmpuint(got.start_time, ==, sent.start_time);
            g_assert_cmpstr(got.device, ==, sent.device);
            g_assert_cmpint(got.direction, ==, sent.direction);
            g_assert_cmpint(got.fenced, ==, sent.fenced);
        }
    }
}

/* The longest name there is, of characters that JSON doubles. */
static void
test_request_fits(void)
{
    g_autofree char *name = g_strnfill(APMIG_FENCE_MAX_NAME, '"');
    const ApmigFenceRequest request = {
        APMIG_FENCE_KILL_INCOMING, GUEST, name, 4194304, 999999999999999999, DEVICE, APMIG_FENCE_OUT, TRUE};
    g_autofree char *json = apmig_fence_request_to_json(&request);
    g_auto(ApmigFenceRequest) got = {0};
    g_autoptr(GError) error = NULL;

    g_assert_cmpuint(strlen(json), <, APMIG_FENCE_MAX_BYTES);
    g_assert_true(apmig_fence_request_parse(json, strlen(json), &got, &error));
    g_assert_cmpstr(got.name, ==, name);
}

static void
test_reply_round_trip(void)
{
    for (int result = 0; result < APMIG_FENCE_UNAVAILABLE; result++) {
        for (int state = 0; state < APMIG_N_VFIO_STATES; state++) {
            g_auto(ApmigFenceReply)
                sent = {.result = (ApmigFenceResult)result, .before = (ApmigVfioState)state};
            g_auto(ApmigFenceReply) got = {0};
            g_autofree char *json = NULL;
            g_autoptr(GError) error = NULL;

            sent.after = (ApmigVfioState)(APMIG_N_VFIO_STATES - 1 - state);
            sent.held_data = state % 2;
            sent.frozen_usec = 99999;
            sent.pid = 77;
            sent.start_time = 123456789012;
            apmig_fence_reply_set(&sent, sent.result, 22, "Number %d.", state);
            json = apmig_fence_reply_to_json(&sent);
            g_assert_true(apmig_fence_reply_parse(json, strlen(json), &got, &error));
            g_assert_cmpint(got.result, ==, sent.result);
            g_assert_cmpint(got.before, ==, sent.before);
            g_assert_cmpint(got.after, ==, sent.after);
            g_assert_cmpint(got.held_data, ==, sent.held_data);
            g_assert_cmpint(got.frozen_usec, ==, sent.frozen_usec);
            g_assert_cmpint(got.error_number, ==, 22);
            g_assert_cmpint(got.pid, ==, 77);
            g_assert_cmpuint(got.start_time, ==, sent.start_time);
            g_assert_cmpstr(got.message, ==, sent.message);
        }
    }
}

/* Whatever a message has picked up, the reply stays one that is accepted. */
static void
test_reply_fits(void)
{
    for (int c = 1; c < 256; c++) {
        g_autofree char *long_text = g_strnfill(5000, (char)c);
        g_auto(ApmigFenceReply) sent = {0}, got = {0};
        g_autofree char *json = NULL;
        g_autoptr(GError) error = NULL;

        apmig_fence_reply_set(&sent, APMIG_FENCE_FAILED, 0, "%s", long_text);
        json = apmig_fence_reply_to_json(&sent);
        g_assert_cmpuint(strlen(json), <=, APMIG_FENCE_MAX_BYTES);
        g_assert_true(apmig_fence_reply_parse(json, strlen(json), &got, &error));
        g_assert_no_error(error);
    }
}

static void
assert_refused(const char *text, gsize length, gboolean reply)
{
    ApmigFenceRequest request = {0};
    ApmigFenceReply answer = {0};
    g_autoptr(GError) error = NULL;

    if (reply)
        g_assert_false(apmig_fence_reply_parse(text, length, &answer, &error));
    else
        g_assert_false(apmig_fence_request_parse(text, length, &request, &error));
    g_assert_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION);
    g_assert_true(g_utf8_validate(error->message, -1, NULL));
    g_assert_cmpuint(strlen(error->message), <, 400);
    g_assert_null(request.owned);
    g_assert_null(answer.message);
}

static void
test_bad_requests(void)
{
    static const char *const changes[][2] = {
        {"\"version\":1", "\"version\":2"},
        {"\"version\":1,", ""},
        {"\"version\":1", "\"version\":1,\"version\":1"},
        {"\"pid\":42", "\"pid\":42,\"pid\":43"},
        {"\"pid\":42", "\"pid\":-42"},
        {"\"pid\":42", "\"pid\":1"},
        {"\"pid\":42", "\"pid\":0"},
        {"\"pid\":42", "\"pid\":4194305"},
        {"\"pid\":42", "\"pid\":42.0"},
        {"\"pid\":42", "\"pid\":\"42\""},
        {"\"pid\":42", "\"pid\":99999999999999999999"},
        {"\"start-time\":7", "\"start-time\":0"},
        {"\"start-time\":7", "\"start-time\":null"},
        {"\"request\":\"fence\"", "\"request\":\"reset\""},
        {"\"request\":\"fence\"", "\"request\":\"FENCE\""},
        {"\"request\":\"fence\"", "\"request\":[\"fence\"]"},
        {"\"direction\":\"in\"", "\"direction\":\"up\""},
        {"\"fenced\":false", "\"fenced\":0"},
        {",\"fenced\":false", ""},
        {"\"fenced\":false", "\"fenced\":false,\"force\":true"},
        {GUEST, "6b1f8a2e3c4d4e5f8a9b0c1d2e3f4a5b"},
        {GUEST, ""},
        {DEVICE, "../../../../../../../../etc/passwd"},
        {DEVICE, "7c2f9b3e-3c4d-4e5f-8a9b-0c1d2e3f4a5g"},
        {"\"name\":\"g1\"", "\"name\":\"\""},
        {"\"name\":\"g1\"", "\"name\":\"../g1\""},
        {"\"name\":\"g1\"", "\"name\":\"g\\n1\""},
        {"\"name\":\"g1\"", "\"name\":\"g\\u00001\""},
        {"}", ""},
        {"}", "}{}"},
        {"{", "["},
    };
    g_autofree char *huge = g_strnfill(APMIG_FENCE_MAX_BYTES + 1, ' ');
    g_autofree char *long_name = g_strnfill(APMIG_FENCE_MAX_NAME + 1, 'x');
    g_autofree char *member = g_strdup_printf("\"name\":\"%s\"", long_name);
    g_autofree char *too_long = with(good_request, "\"name\":\"g1\"", member);

    for (guint i = 0; i < G_N_ELEMENTS(changes); i++) {
        g_autofree char *text = with(good_request, changes[i][0], changes[i][1]);

        assert_refused(text, strlen(text), FALSE);
    }
    assert_refused("", 0, FALSE);
    assert_refused("\0\xff", 2, FALSE);
    assert_refused(good_request, sizeof good_request, FALSE); /* with its terminator */
    assert_refused(too_long, strlen(too_long), FALSE);
    memcpy(huge, good_request, strlen(good_request));
    assert_refused(huge, APMIG_FENCE_MAX_BYTES + 1, FALSE);
    for (gsize length = 0; length < strlen(good_request); length++)
        assert_refused(good_request, length, FALSE);
}

static void
test_inspect_without_pid(void)
{
    g_autofree char *inspect = with(good_request, "fence", "inspect");
    g_autofree char *no_pid = with(inspect, "\"pid\":42,\"start-time\":7", "\"pid\":0,\"start-time\":0");
    g_autofree char *no_time = with(inspect, "\"start-time\":7", "\"start-time\":0");
    g_autofree char *only_time = with(inspect, "\"pid\":42", "\"pid\":0");
    g_auto(ApmigFenceRequest) a = {0}, b = {0};

    g_assert_true(apmig_fence_request_parse(no_pid, strlen(no_pid), &a, NULL));
    g_assert_true(apmig_fence_request_parse(no_time, strlen(no_time), &b, NULL));
    assert_refused(only_time, strlen(only_time), FALSE);
}

static void
test_bad_replies(void)
{
    static const char *const changes[][2] = {
        {"\"done\"", "\"unavailable\""},
        {"\"done\"", "\"perhaps\""},
        {"\"STOP\"", "\"stop\""},
        {"\"STOP\"", "1"},
        {"true", "1"},
        {"1500", "-1"},
        {"\"errno\":0", "\"errno\":4096"},
        {"\"errno\":0,", ""},
        {"It was", "It \\u0007 was"},
        {"\"pid\":42", "\"pid\":42,\"more\":1"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(changes); i++) {
        g_autofree char *text = with(good_reply, changes[i][0], changes[i][1]);

        assert_refused(text, strlen(text), TRUE);
    }
    for (gsize length = 0; length < strlen(good_reply); length++)
        assert_refused(good_reply, length, TRUE);
}

static void
test_kernel_states(void)
{
    g_assert_cmpstr(apmig_vfio_state_to_string(apmig_vfio_state_from_kernel(4)), ==, "RESUMING");
    g_assert_cmpstr(apmig_vfio_state_to_string(apmig_vfio_state_from_kernel(7)), ==, "PRE_COPY_P2P");
    g_assert_cmpint(apmig_vfio_state_from_kernel(8), ==, APMIG_VFIO_UNKNOWN);
    g_assert_cmpint(apmig_vfio_state_from_kernel(G_MAXUINT32), ==, APMIG_VFIO_UNKNOWN);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fence/protocol/request-round-trip", test_request_round_trip);
    g_test_add_func("/fence/protocol/request-fits", test_request_fits);
    g_test_add_func("/fence/protocol/reply-round-trip", test_reply_round_trip);
    g_test_add_func("/fence/protocol/reply-fits", test_reply_fits);
    g_test_add_func("/fence/protocol/bad-requests", test_bad_requests);
    g_test_add_func("/fence/protocol/inspect-without-pid", test_inspect_without_pid);
    g_test_add_func("/fence/protocol/bad-replies", test_bad_replies);
    g_test_add_func("/fence/protocol/kernel-states", test_kernel_states);
    return g_test_run();
}
