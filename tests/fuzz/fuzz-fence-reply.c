/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any packet is a reply that can be told of, or an error that can be shown. */
#include "fuzz.h"
#include "fence/protocol.h"
#include "base/text.h"

#include <string.h>

static void
check_reply(const ApmigFenceReply *reply)
{
    g_assert_cmpuint(reply->result, !=, APMIG_FENCE_UNAVAILABLE);
    g_assert_cmpstr(apmig_fence_result_to_string(reply->result), !=, "");
    g_assert_cmpstr(apmig_vfio_state_to_string(reply->before), !=, "");
    g_assert_cmpstr(apmig_vfio_state_to_string(reply->after), !=, "");
    g_assert_cmpuint(reply->held_data, <=, 1);
    g_assert_cmpint(reply->error_number, >=, 0);
    g_assert_cmpint(reply->pid, >=, 0);
    g_assert_cmpint(reply->frozen_usec, >=, 0);
    g_assert_true(apmig_text_is_plain(reply->message, sizeof reply->message - 1));
}

/* Setting the same outcome changes nothing: there is nothing else in it, and a message that came can be sent. */
static void
check_made_anew(const ApmigFenceReply *reply)
{
    ApmigFenceReply again = *reply;

    memset(again.message, 'x', sizeof again.message);
    apmig_fence_reply_set(&again, reply->result, reply->error_number, "%s", reply->message);
    g_assert_cmpmem(reply, sizeof *reply, &again, sizeof again);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    ApmigFenceReply reply = {0};
    g_autoptr(GError) error = NULL;

    memcpy(&reply, data, MIN(size, sizeof reply));
    if (apmig_fence_reply_check(&reply, size, &error)) {
        g_assert_no_error(error);
        g_assert_cmpuint(size, ==, sizeof reply);
        check_reply(&reply);
        check_made_anew(&reply);
    } else {
        fuzz_check_error(error, APMIG_ERROR_INVALID_OPTION);
    }
    return 0;
}
