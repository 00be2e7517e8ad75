/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fence/protocol.h"

#include "base/error.h"

#include <string.h>

#define GUEST  "6b1f8a2e-3c4d-4e5f-8a9b-0c1d2e3f4a5b"
#define DEVICE "7c2f9b3e-3c4d-4e5f-8a9b-0c1d2e3f4a5b"

static const ApmigFenceRequest good_request = {.header = {APMIG_FENCE_REQUEST_MAGIC, APMIG_FENCE_VERSION},
                                               .verb = APMIG_FENCE_FENCE,
                                               .direction = APMIG_FENCE_IN,
                                               .pid = 42,
                                               .start_time = 7,
                                               .uuid = GUEST,
                                               .device = DEVICE,
                                               .name = "g1"};

static const ApmigFenceReply good_reply = {.header = {APMIG_FENCE_REPLY_MAGIC, APMIG_FENCE_VERSION},
                                           .result = APMIG_FENCE_DONE,
                                           .before = APMIG_VFIO_RESUMING,
                                           .after = APMIG_VFIO_STOP,
                                           .held_data = TRUE,
                                           .pid = 42,
                                           .frozen_usec = 1500,
                                           .start_time = 7,
                                           .message = "It was ended."};

static void
assert_request(const ApmigFenceRequest *request)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(apmig_fence_request_check(request, sizeof *request, &error));
    g_assert_no_error(error);
}

static void
assert_reply(const ApmigFenceReply *reply)
{
    g_autoptr(GError) error = NULL;

    g_assert_true(apmig_fence_reply_check(reply, sizeof *reply, &error));
    g_assert_no_error(error);
}

/* The check has failed, in a sentence with these @words. */
static void
assert_error(const GError *error, const char *words)
{
    g_assert_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION);
    g_assert_true(g_str_has_suffix(error->message, "."));
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, words));
}

static void
assert_request_refused(const ApmigFenceRequest *request, gsize length, const char *words)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(apmig_fence_request_check(request, length, &error));
    assert_error(error, words);
}

static void
assert_reply_refused(const ApmigFenceReply *reply, gsize length, const char *words)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(apmig_fence_reply_check(reply, length, &error));
    assert_error(error, words);
}

static void
test_good_requests(void)
{
    for (guint verb = 0; verb < APMIG_N_FENCE_VERBS; verb++) {
        for (guint direction = 0; direction < APMIG_N_FENCE_DIRECTIONS; direction++) {
            ApmigFenceRequest request = good_request;

            request.verb = verb;
            request.direction = direction;
            request.pid = 4194304;
            request.start_time = G_MAXUINT64;
            g_strlcpy(request.name, "g \"ä\" 1", sizeof request.name);
            assert_request(&request);
            memset(request.name, '"', APMIG_FENCE_MAX_NAME);
            assert_request(&request);
        }
    }
}

static void
test_good_replies(void)
{
    for (guint result = 0; result < APMIG_FENCE_UNAVAILABLE; result++) {
        for (guint state = 0; state < APMIG_N_VFIO_STATES; state++) {
            ApmigFenceReply reply = good_reply;

            reply.result = result;
            reply.before = state;
            reply.after = APMIG_N_VFIO_STATES - 1 - state;
            reply.held_data = state % 2;
            reply.error_number = 4095;
            reply.pid = state % 2 == 0 ? 0 : 4194304;
            reply.start_time = G_MAXUINT64;
            assert_reply(&reply);
        }
    }
}

/* Whatever a message has picked up, the reply stays one that is accepted; a shorter message leaves nothing of it. */
static void
test_any_message(void)
{
    ApmigFenceReply reply = good_reply;

    for (int c = 1; c < 256; c++) {
        g_autofree char *long_text = g_strnfill(5000, (char)c);

        g_assert_false(apmig_fence_reply_set(&reply, APMIG_FENCE_FAILED, 22, "%s", long_text));
        g_assert_cmpint(reply.result, ==, APMIG_FENCE_FAILED);
        g_assert_cmpint(reply.error_number, ==, 22);
        g_assert_cmpuint(strlen(reply.message), >, 1000);
        assert_reply(&reply);
        apmig_fence_reply_set(&reply, APMIG_FENCE_FAILED, 0, "Number %d.", c);
        assert_reply(&reply);
    }
    apmig_fence_reply_set(&reply, APMIG_FENCE_FAILED, 0, "Again: %s", reply.message);
    g_assert_cmpstr(reply.message, ==, "Again: Number 255.");
}

static void
test_header(void)
{
    ApmigFenceRequest request = good_request;
    ApmigFenceReply reply = good_reply;

    request.header.magic = APMIG_FENCE_REPLY_MAGIC;
    reply.header.magic = APMIG_FENCE_REQUEST_MAGIC;
    assert_request_refused(&request, sizeof request, "nothing that apmigd and apmigd-fence say");
    assert_reply_refused(&reply, sizeof reply, "nothing that apmigd and apmigd-fence say");
    request.header = (ApmigPacketHeader){APMIG_FENCE_REQUEST_MAGIC, 4};
    reply.header = (ApmigPacketHeader){APMIG_FENCE_REPLY_MAGIC, 0};
    assert_request_refused(&request, sizeof request, "It is of version 4, not 3");
    assert_reply_refused(&reply, sizeof reply, "It is of version 0, not 3");
    /* another version may have another size */
    assert_request_refused(&request, sizeof request.header, "It is of version 4, not 3");
    assert_request_refused(&request, 2 * sizeof request, "It is of version 4, not 3");
}

static void
test_size(void)
{
    for (gsize length = 0; length < sizeof good_request; length++)
        assert_request_refused(&good_request, length, length < 8 ? "nothing that" : "not 368");
    assert_request_refused(&good_request, sizeof good_request + 1, "It has 369 bytes, not 368");
    for (gsize length = 0; length < sizeof good_reply; length++)
        assert_reply_refused(&good_reply, length, length < 8 ? "nothing that" : "not 1080");
    assert_reply_refused(&good_reply, sizeof good_reply + 1, "It has 1081 bytes, not 1080");
}

static void
test_bad_request_numbers(void)
{
    static const struct {
        gsize offset;
        gint32 value;
        const char *words;
    } changes[] = {
        {G_STRUCT_OFFSET(ApmigFenceRequest, verb), APMIG_N_FENCE_VERBS, "\"verb\""},
        {G_STRUCT_OFFSET(ApmigFenceRequest, verb), -1, "\"verb\""},
        {G_STRUCT_OFFSET(ApmigFenceRequest, direction), APMIG_N_FENCE_DIRECTIONS, "\"direction\""},
        {G_STRUCT_OFFSET(ApmigFenceRequest, reserved), 1, "\"reserved\""},
        {G_STRUCT_OFFSET(ApmigFenceRequest, reserved), G_MININT32, "\"reserved\""},
        {G_STRUCT_OFFSET(ApmigFenceRequest, pid), -42, "\"pid\""},
        {G_STRUCT_OFFSET(ApmigFenceRequest, pid), 4194305, "\"pid\""},
        {G_STRUCT_OFFSET(ApmigFenceRequest, pid), 0, "needs the pid"},
        {G_STRUCT_OFFSET(ApmigFenceRequest, pid), 1, "needs the pid"},
    };
    ApmigFenceRequest request = good_request;

    request.start_time = 0;
    assert_request_refused(&request, sizeof request, "needs the pid");
    for (guint i = 0; i < G_N_ELEMENTS(changes); i++) {
        request = good_request;
        G_STRUCT_MEMBER(gint32, &request, changes[i].offset) = changes[i].value;
        assert_request_refused(&request, sizeof request, changes[i].words);
    }
}

static void
test_bad_request_texts(void)
{
    static const struct {
        gsize offset;
        const char *text;
    } changes[] = {
        {G_STRUCT_OFFSET(ApmigFenceRequest, uuid), "6b1f8a2e3c4d4e5f8a9b0c1d2e3f4a5b"},
        {G_STRUCT_OFFSET(ApmigFenceRequest, uuid), GUEST "0"},
        {G_STRUCT_OFFSET(ApmigFenceRequest, uuid), ""},
        {G_STRUCT_OFFSET(ApmigFenceRequest, device), "../../../../../../../../etc/passwd"},
        {G_STRUCT_OFFSET(ApmigFenceRequest, device), "7c2f9b3e-3c4d-4e5f-8a9b-0c1d2e3f4a5g"},
        {G_STRUCT_OFFSET(ApmigFenceRequest, name), ""},
        {G_STRUCT_OFFSET(ApmigFenceRequest, name), "../g1"},
        {G_STRUCT_OFFSET(ApmigFenceRequest, name), "g\n1"},
        {G_STRUCT_OFFSET(ApmigFenceRequest, name), "g\xff"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(changes); i++) {
        ApmigFenceRequest request = good_request;

        memset(G_STRUCT_MEMBER_P(&request, changes[i].offset), 0, sizeof request.uuid);
        strcpy(G_STRUCT_MEMBER_P(&request, changes[i].offset), changes[i].text);
        assert_request_refused(&request, sizeof request, "The field");
    }
}

/* Beyond its array, beyond its limit, and with something after its end. */
static void
test_ends_of_texts(void)
{
    g_autofree char *long_text = g_strnfill(5000, 'x');
    ApmigFenceRequest request = good_request;
    ApmigFenceReply reply = good_reply;

    memset(request.name, 'x', sizeof request.name);
    assert_request_refused(&request, sizeof request, "longer than 251 bytes");
    g_strlcpy(request.name, long_text, sizeof request.name); /* what is cut is too long */
    assert_request_refused(&request, sizeof request, "longer than 251 bytes");
    request = good_request;
    g_strlcpy(request.uuid, long_text, sizeof request.uuid);
    assert_request_refused(&request, sizeof request, "longer than 36 bytes");
    request = good_request;
    request.name[sizeof request.name - 1] = 'x';
    assert_request_refused(&request, sizeof request, "not zero after its end");
    request = good_request;
    memset(request.device, '-', sizeof request.device); /* the name follows it */
    assert_request_refused(&request, sizeof request, "\"device\"");
    memset(reply.message, 'x', sizeof reply.message);
    assert_reply_refused(&reply, sizeof reply, "longer than 1023 bytes");
    reply = good_reply;
    reply.message[sizeof reply.message - 1] = '\n';
    assert_reply_refused(&reply, sizeof reply, "not zero after its end");
}

static void
test_look_without_pid(void)
{
    const guint32 verbs[] = {APMIG_FENCE_INSPECT, APMIG_FENCE_LOOK};

    for (guint i = 0; i < G_N_ELEMENTS(verbs); i++) {
        ApmigFenceRequest request = good_request;

        request.verb = verbs[i];
        assert_request(&request);
        request.start_time = 0;
        assert_request(&request);
        request.pid = 0;
        assert_request(&request);
        request.start_time = 7;
        assert_request_refused(&request, sizeof request, "needs the pid");
    }
}

static void
test_bad_replies(void)
{
    static const struct {
        gsize offset;
        gint32 value;
        const char *words;
    } changes[] = {
        {G_STRUCT_OFFSET(ApmigFenceReply, result), APMIG_FENCE_UNAVAILABLE, "\"result\""},
        {G_STRUCT_OFFSET(ApmigFenceReply, before), APMIG_N_VFIO_STATES, "\"before\""},
        {G_STRUCT_OFFSET(ApmigFenceReply, after), -1, "\"after\""},
        {G_STRUCT_OFFSET(ApmigFenceReply, held_data), 2, "\"held_data\""},
        {G_STRUCT_OFFSET(ApmigFenceReply, error_number), 4096, "\"error_number\""},
        {G_STRUCT_OFFSET(ApmigFenceReply, error_number), -1, "\"error_number\""},
        {G_STRUCT_OFFSET(ApmigFenceReply, pid), -1, "\"pid\""},
        {G_STRUCT_OFFSET(ApmigFenceReply, pid), 4194305, "\"pid\""},
    };
    ApmigFenceReply reply = good_reply;

    reply.frozen_usec = -1;
    assert_reply_refused(&reply, sizeof reply, "\"frozen_usec\"");
    reply.frozen_usec = G_MAXINT64;
    assert_reply_refused(&reply, sizeof reply, "\"frozen_usec\"");
    reply = good_reply;
    reply.message[3] = '\a';
    assert_reply_refused(&reply, sizeof reply, "\"message\"");
    for (guint i = 0; i < G_N_ELEMENTS(changes); i++) {
        reply = good_reply;
        G_STRUCT_MEMBER(gint32, &reply, changes[i].offset) = changes[i].value;
        assert_reply_refused(&reply, sizeof reply, changes[i].words);
    }
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
    g_test_add_func("/fence/protocol/good-requests", test_good_requests);
    g_test_add_func("/fence/protocol/good-replies", test_good_replies);
    g_test_add_func("/fence/protocol/any-message", test_any_message);
    g_test_add_func("/fence/protocol/header", test_header);
    g_test_add_func("/fence/protocol/size", test_size);
    g_test_add_func("/fence/protocol/bad-request-numbers", test_bad_request_numbers);
    g_test_add_func("/fence/protocol/bad-request-texts", test_bad_request_texts);
    g_test_add_func("/fence/protocol/ends-of-texts", test_ends_of_texts);
    g_test_add_func("/fence/protocol/look-without-pid", test_look_without_pid);
    g_test_add_func("/fence/protocol/bad-replies", test_bad_replies);
    g_test_add_func("/fence/protocol/kernel-states", test_kernel_states);
    return g_test_run();
}
