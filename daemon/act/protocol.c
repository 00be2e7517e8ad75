/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "act/protocol.h"

#include "base/text.h"

#include <string.h>

const char *
apmig_act_verb_to_string(ApmigActVerb verb)
{
    static const char *const verbs[APMIG_N_ACT_VERBS] = {
        [APMIG_ACT_READY] = "ready",
        [APMIG_ACT_ABORT] = "abort",
        [APMIG_ACT_WRITE_STAMP] = "write-stamp",
        [APMIG_ACT_REMOVE_STAMP] = "remove-stamp",
    };

    g_return_val_if_fail((guint)verb < APMIG_N_ACT_VERBS, "");
    return verbs[verb];
}

const char *
apmig_act_result_to_string(ApmigActResult result)
{
    static const char *const results[APMIG_N_ACT_RESULTS] = {
        [APMIG_ACT_DONE] = "done",
        [APMIG_ACT_NOTHING] = "nothing-to-do",
        [APMIG_ACT_BUSY] = "busy",
        [APMIG_ACT_TOO_LATE] = "too-late",
        [APMIG_ACT_REFUSED] = "refused",
        [APMIG_ACT_FAILED] = "failed",
        [APMIG_ACT_UNAVAILABLE] = "unavailable",
    };

    g_return_val_if_fail((guint)result < APMIG_N_ACT_RESULTS, "");
    return results[result];
}

/* --- making them --------------------------------------------------------------------------------- */

GBytes *
apmig_act_request_new(const ApmigActOrder *order, guint64 number, gint64 now)
{
    const gsize length = order->stamp ? strlen(order->stamp) : 0;
    ApmigActRequest request = {.header = {APMIG_ACT_REQUEST_MAGIC, APMIG_ACT_VERSION},
                               .verb = order->verb,
                               .stamp_length = (guint32)length,
                               .number = number,
                               .requested_at = now,
                               .deadline = now + APMIG_ACT_DEADLINE_USEC};
    GByteArray *packet = g_byte_array_sized_new((guint)(sizeof request + length));

    if (order->uuid)
        g_strlcpy(request.uuid, order->uuid, sizeof request.uuid);
    g_byte_array_append(packet, (const guint8 *)&request, sizeof request);
    if (length > 0)
        g_byte_array_append(packet, (const guint8 *)order->stamp, (guint)length);
    return g_byte_array_free_to_bytes(packet);
}

void
apmig_act_reply_set(ApmigActReply *reply, ApmigActResult result, const char *message)
{
    g_autofree char *shown = apmig_text_escape(message, sizeof reply->message - 1);

    memset(reply->message, 0, sizeof reply->message);
    memcpy(reply->message, shown, strlen(shown));
    reply->result = result;
}

/* --- checking what was received ------------------------------------------------------------------ */

static gboolean
check_header(const ApmigPacketHeader *header, guint32 magic, gsize length, GError **error)
{
    return apmig_packet_check_header(header, length, (ApmigPacketHeader){magic, APMIG_ACT_VERSION},
                                     "apmigd-act", error);
}

static gboolean
check_guest(const ApmigActRequest *request, GError **error)
{
    if (request->verb != APMIG_ACT_READY)
        return apmig_packet_check_uuid("uuid", request->uuid, sizeof request->uuid, error);
    return apmig_packet_check_text("uuid", request->uuid, sizeof request->uuid, 0, error);
}

static gboolean
check_times(const ApmigActRequest *request, GError **error)
{
    return (request->requested_at >= 0 && request->deadline >= request->requested_at &&
            request->deadline - request->requested_at <= APMIG_ACT_DEADLINE_USEC) ||
           apmig_packet_fail(error, "Its deadline is before its request, or more than %d s after it.",
                             (int)(APMIG_ACT_DEADLINE_USEC / G_USEC_PER_SEC));
}

static gboolean
check_stamp_length(const ApmigActRequest *request, GError **error)
{
    if (request->verb != APMIG_ACT_WRITE_STAMP)
        return apmig_packet_check_number("stamp_length", request->stamp_length, 0, error);
    return (request->stamp_length > 0 || apmig_packet_fail(error, "It has no stamp.")) &&
           apmig_packet_check_number("stamp_length", request->stamp_length, APMIG_ACT_MAX_STAMP_BYTES, error);
}

gboolean
apmig_act_request_check(gconstpointer packet, gsize length, ApmigActRequest *ret_request, char **ret_stamp,
                        GError **error)
{
    ApmigActRequest request = {0};

    *ret_stamp = NULL;
    memcpy(&request, packet, MIN(length, sizeof request));
    *ret_request = request;
    if (!check_header(&request.header, APMIG_ACT_REQUEST_MAGIC, length, error) ||
        (length < sizeof request && !apmig_packet_check_length(length, sizeof request, error)) ||
        !apmig_packet_check_number("verb", request.verb, APMIG_N_ACT_VERBS - 1, error) ||
        !check_guest(&request, error) || !check_times(&request, error) ||
        !check_stamp_length(&request, error) ||
        !apmig_packet_check_length(length, sizeof request + request.stamp_length, error))
        return FALSE;
    if (request.verb == APMIG_ACT_WRITE_STAMP)
        *ret_stamp = g_strndup((const char *)packet + sizeof request, request.stamp_length);
    return TRUE;
}

gboolean
apmig_act_reply_check(const ApmigActReply *reply, gsize length, GError **error)
{
    return check_header(&reply->header, APMIG_ACT_REPLY_MAGIC, length, error) &&
           apmig_packet_check_length(length, sizeof *reply, error) &&
           apmig_packet_check_number("result", reply->result, APMIG_ACT_UNAVAILABLE - 1, error) &&
           apmig_packet_check_number("reserved", reply->reserved, 0, error) &&
           apmig_packet_check_text("message", reply->message, sizeof reply->message,
                                   sizeof reply->message - 1, error);
}
