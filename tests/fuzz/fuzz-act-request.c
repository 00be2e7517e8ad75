/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any packet is a request of apmigd-act, or an error that can be shown; and any text in one a stamp as apmigd writes it, or
 * none. */
#include "act/protocol.h"
#include "fuzz.h"
#include "guest/stamp-xml.h"

#include <string.h>

/* What it is asked to write into a guest is what it would have written. */
static void
check_stamp(const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigStamp) stamp = apmig_stamp_from_xml(text, &error);
    g_autofree char *again = NULL;

    if (!stamp) {
        fuzz_check_error(error, APMIG_ERROR_INVALID_GUEST);
        return;
    }
    g_assert_no_error(error);
    g_assert_cmpuint(strlen(text), <=, APMIG_STAMP_MAX_BYTES);
    again = apmig_stamp_to_xml(stamp, APMIG_STAMP_FULL);
    g_assert_cmpstr(again, ==, text);
}

/* Nothing but what was asked is in it. @stamp: (nullable) */
static void
check_made_anew(const ApmigActRequest *request, const char *stamp, const guint8 *data, gsize size)
{
    const ApmigActOrder order = {(ApmigActVerb)request->verb, *request->uuid ? request->uuid : NULL, stamp};
    g_autoptr(GBytes) packet = apmig_act_request_new(&order, request->number, request->requested_at);
    ApmigActRequest again;

    g_assert_cmpuint(g_bytes_get_size(packet), ==, size);
    memcpy(&again, g_bytes_get_data(packet, NULL), sizeof again);
    again.deadline = request->deadline;
    g_assert_cmpmem(&again, sizeof again, data, sizeof again);
}

static void
check_request(const ApmigActRequest *request, const char *stamp)
{
    g_assert_cmpstr(apmig_act_verb_to_string(request->verb), !=, "");
    g_assert_true(request->verb == APMIG_ACT_READY || g_uuid_string_is_valid(request->uuid));
    g_assert_true((request->verb == APMIG_ACT_WRITE_STAMP) == (stamp != NULL));
    g_assert_cmpint(request->requested_at, >=, 0);
    g_assert_cmpint(request->deadline, >=, request->requested_at);
    g_assert_cmpint(request->deadline - request->requested_at, <=, APMIG_ACT_DEADLINE_USEC);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *stamp = NULL;
    g_autofree char *text = fuzz_terminate(data, size);
    ApmigActRequest request;

    check_stamp(text); /* also without a request around it */
    if (!apmig_act_request_check(data, size, &request, &stamp, &error)) {
        g_assert_null(stamp);
        fuzz_check_error(error, APMIG_ERROR_INVALID_OPTION);
        return 0;
    }
    g_assert_no_error(error);
    check_request(&request, stamp);
    if (!stamp || strlen(stamp) == request.stamp_length)
        check_made_anew(&request, stamp, data, size);
    if (stamp)
        check_stamp(stamp);
    return 0;
}
