/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "act/protocol.h"

#include "base/error.h"

#include <string.h>

#define GUEST "6b1f8a2e-3c4d-4e5f-8a9b-0c1d2e3f4a5b"
#define NOW   (1000 * G_USEC_PER_SEC)

/* Returns: (transfer full): a packet that is sound. */
static GByteArray *
make_packet(const ApmigActOrder *order)
{
    return g_bytes_unref_to_array(apmig_act_request_new(order, 7, NOW));
}

static void
assert_is_none(const GByteArray *packet, const char *words)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *stamp = NULL;
    ApmigActRequest request;

    g_assert_false(apmig_act_request_check(packet->data, packet->len, &request, &stamp, &error));
    g_assert_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION);
    g_assert_null(stamp);
    if (!strstr(error->message, words))
        g_error("\"%s\" is not in \"%s\"", words, error->message);
}

static void
test_round_trip(void)
{
    static const ApmigActOrder orders[] = {
        {APMIG_ACT_READY, NULL, NULL},
        {APMIG_ACT_ABORT, GUEST, NULL},
        {APMIG_ACT_WRITE_STAMP, GUEST, "<stamp form=\"full\"/>"},
        {APMIG_ACT_REMOVE_STAMP, GUEST, NULL},
    };

    for (guint i = 0; i < G_N_ELEMENTS(orders); i++) {
        g_autoptr(GByteArray) packet = make_packet(&orders[i]);
        g_autoptr(GError) error = NULL;
        g_autofree char *stamp = NULL;
        ApmigActRequest request;

        g_assert_true(apmig_act_request_check(packet->data, packet->len, &request, &stamp, &error));
        g_assert_no_error(error);
        g_assert_cmpuint(request.verb, ==, orders[i].verb);
        g_assert_cmpuint(request.number, ==, 7);
        g_assert_cmpint(request.requested_at, ==, NOW);
        g_assert_cmpint(request.deadline, ==, NOW + APMIG_ACT_DEADLINE_USEC);
        g_assert_cmpstr(request.uuid, ==, orders[i].uuid ? orders[i].uuid : "");
        g_assert_cmpstr(stamp, ==, orders[i].stamp);
    }
}

/* @field: its offset; @value: put there, of @size bytes */
static void
spoil(const ApmigActOrder *order, gsize field, gconstpointer value, gsize size, const char *words)
{
    g_autoptr(GByteArray) packet = make_packet(order);

    memcpy(packet->data + field, value, size);
    assert_is_none(packet, words);
}

#define SPOIL(order, field, type, value, words)                                                              \
    spoil(order, G_STRUCT_OFFSET(ApmigActRequest, field), &(type){value}, sizeof(type), words)

static void
test_bad_requests(void)
{
    static const ApmigActOrder abort = {APMIG_ACT_ABORT, GUEST, NULL};
    static const ApmigActOrder ready = {APMIG_ACT_READY, NULL, NULL};
    static const ApmigActOrder stamp = {APMIG_ACT_WRITE_STAMP, GUEST, "<stamp/>"};
    g_autoptr(GByteArray) packet = make_packet(&stamp);

    SPOIL(&abort, header.magic, guint32, 0, "nothing that apmigd and apmigd-act say");
    SPOIL(&abort, header.version, guint32, 2, "It is of version 2, not 1");
    SPOIL(&abort, verb, guint32, APMIG_N_ACT_VERBS, "\"verb\"");
    SPOIL(&abort, stamp_length, guint32, 1, "\"stamp_length\"");
    SPOIL(&stamp, stamp_length, guint32, 0, "It has no stamp");
    SPOIL(&stamp, stamp_length, guint32, APMIG_ACT_MAX_STAMP_BYTES + 1, "\"stamp_length\"");
    SPOIL(&stamp, stamp_length, guint32, 7, "bytes, not ");
    SPOIL(&abort, requested_at, gint64, -1, "deadline");
    SPOIL(&abort, deadline, gint64, NOW - 1, "deadline");
    SPOIL(&abort, deadline, gint64, NOW + APMIG_ACT_DEADLINE_USEC + 1, "deadline");
    SPOIL(&abort, deadline, gint64, G_MININT64, "deadline");
    SPOIL(&abort, uuid[0], char, '.', "not a UUID");
    SPOIL(&abort, uuid[0], char, '\n', "control characters");
    SPOIL(&abort, uuid[38], char, 'x', "not zero after its end");
    SPOIL(&ready, uuid[0], char, 'x', "longer than 0 bytes");
    g_byte_array_set_size(packet, packet->len - 1);
    assert_is_none(packet, "bytes, not ");
    g_byte_array_set_size(packet, 5);
    assert_is_none(packet, "nothing that apmigd and apmigd-act say");
}

static void
test_replies(void)
{
    ApmigActReply reply = APMIG_ACT_REPLY_INIT;
    g_autofree char *long_text = g_strnfill(2 * sizeof reply.message, 'x');
    g_autoptr(GError) error = NULL;

    apmig_act_reply_set(&reply, APMIG_ACT_FAILED, "a\nb");
    g_assert_cmpstr(reply.message, ==, "a\\x0ab");
    apmig_act_reply_set(&reply, APMIG_ACT_DONE, long_text);
    g_assert_true(apmig_act_reply_check(&reply, sizeof reply, &error));
    g_assert_no_error(error);
    g_assert_false(apmig_act_reply_check(&reply, sizeof reply + 1, NULL));
    reply.result = APMIG_ACT_UNAVAILABLE; /* nobody can have sent that */
    g_assert_false(apmig_act_reply_check(&reply, sizeof reply, NULL));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/act/protocol/round-trip", test_round_trip);
    g_test_add_func("/act/protocol/bad-requests", test_bad_requests);
    g_test_add_func("/act/protocol/replies", test_replies);
    return g_test_run();
}
