/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "act/protocol.h"

#include "base/error.h"
#include "base/text.h"

#include <string.h>

#define UUID_BYTES 36

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

G_GNUC_PRINTF(2, 3)
static gboolean
fail(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (error)
        *error = g_error_new_valist(APMIG_ERROR, APMIG_ERROR_INVALID_OPTION, format, args);
    va_end(args);
    return FALSE;
}

/* The version comes first: with it the size may change. */
static gboolean
check_header(const ApmigActHeader *header, guint32 magic, gsize length, GError **error)
{
    if (length < sizeof *header || header->magic != magic)
        return fail(error, "it is nothing that apmigd and apmigd-act say to each other");
    if (header->version != APMIG_ACT_VERSION)
        return fail(error, "it is of version %u, not %d: install apmigd and apmigd-act of the same release",
                    header->version, APMIG_ACT_VERSION);
    return TRUE;
}

static gboolean
check_length(gsize length, gsize expected, GError **error)
{
    return length == expected ||
           fail(error, "it has %" G_GSIZE_FORMAT " bytes, not %" G_GSIZE_FORMAT, length, expected);
}

static gboolean
check_number(const char *field, guint64 value, guint64 max, GError **error)
{
    return value <= max ||
           fail(error, "the field \"%s\" is out of its range, 0 to %" G_GUINT64_FORMAT, field, max);
}

/* @size: of the array, more than @max_bytes */
static gboolean
check_text(const char *field, const char *array, gsize size, gsize max_bytes, GError **error)
{
    const gsize length = strnlen(array, size);

    for (gsize i = length; i < size; i++)
        if (array[i] != '\0')
            return fail(error, "the field \"%s\" is not zero after its end", field);
    return (length < size && apmig_text_is_plain(array, max_bytes)) ||
           fail(error,
                "the field \"%s\" is longer than %" G_GSIZE_FORMAT
                " bytes, has control characters or is not UTF-8",
                field, max_bytes);
}

static gboolean
check_uuid(const ApmigActRequest *request, GError **error)
{
    const gboolean has_guest = request->verb != APMIG_ACT_READY;

    return check_text("uuid", request->uuid, sizeof request->uuid, UUID_BYTES, error) &&
           ((has_guest ? g_uuid_string_is_valid(request->uuid) : request->uuid[0] == '\0') ||
            fail(error, "the field \"uuid\" is %s", has_guest ? "not a UUID" : "not empty"));
}

static gboolean
check_times(const ApmigActRequest *request, GError **error)
{
    return (request->requested_at >= 0 && request->deadline >= request->requested_at &&
            request->deadline - request->requested_at <= APMIG_ACT_DEADLINE_USEC) ||
           fail(error, "its deadline is before its request, or more than %d s after it",
                (int)(APMIG_ACT_DEADLINE_USEC / G_USEC_PER_SEC));
}

static gboolean
check_stamp_length(const ApmigActRequest *request, GError **error)
{
    if (request->verb != APMIG_ACT_WRITE_STAMP)
        return check_number("stamp_length", request->stamp_length, 0, error);
    return (request->stamp_length > 0 || fail(error, "it has no stamp")) &&
           check_number("stamp_length", request->stamp_length, APMIG_ACT_MAX_STAMP_BYTES, error);
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
        (length < sizeof request && !check_length(length, sizeof request, error)) ||
        !check_number("verb", request.verb, APMIG_N_ACT_VERBS - 1, error) || !check_uuid(&request, error) ||
        !check_times(&request, error) || !check_stamp_length(&request, error) ||
        !check_length(length, sizeof request + request.stamp_length, error))
        return FALSE;
    if (request.verb == APMIG_ACT_WRITE_STAMP)
        *ret_stamp = g_strndup((const char *)packet + sizeof request, request.stamp_length);
    return TRUE;
}

gboolean
apmig_act_reply_check(const ApmigActReply *reply, gsize length, GError **error)
{
    return check_header(&reply->header, APMIG_ACT_REPLY_MAGIC, length, error) &&
           check_length(length, sizeof *reply, error) &&
           check_number("result", reply->result, APMIG_ACT_UNAVAILABLE - 1, error) &&
           check_number("reserved", reply->reserved, 0, error) &&
           check_text("message", reply->message, sizeof reply->message, sizeof reply->message - 1, error);
}
