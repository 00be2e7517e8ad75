/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any packet is a reply that can be sent again and says the same then, or an error that can be shown. */
#include "fuzz.h"
#include "fence/protocol.h"
#include "base/text.h"

#include <string.h>

#define MAX_SENT 512 /* bytes of a message: no more are sent, as JSON may double them */

static void
assert_equal(const ApmigFenceReply *a, const ApmigFenceReply *b)
{
    g_autofree char *shortened = apmig_text_escape(a->message, MAX_SENT);

    g_assert_cmpint(a->result, ==, b->result);
    g_assert_cmpint(a->before, ==, b->before);
    g_assert_cmpint(a->after, ==, b->after);
    g_assert_cmpint(a->held_data, ==, b->held_data);
    g_assert_cmpint(a->frozen_usec, ==, b->frozen_usec);
    g_assert_cmpint(a->error_number, ==, b->error_number);
    g_assert_cmpint(a->pid, ==, b->pid);
    g_assert_cmpuint(a->start_time, ==, b->start_time);
    g_assert_cmpstr(shortened, ==, b->message);
}

static void
check_survives(const ApmigFenceReply *reply)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = apmig_fence_reply_to_json(reply);
    g_auto(ApmigFenceReply) again = {0};

    g_assert_cmpuint(strlen(text), <=, APMIG_FENCE_MAX_BYTES);
    g_assert_true(apmig_fence_reply_parse(text, strlen(text), &again, &error));
    g_assert_no_error(error);
    assert_equal(reply, &again);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_auto(ApmigFenceReply) reply = {0};
    g_autoptr(GError) error = NULL;

    if (apmig_fence_reply_parse((const char *)data, size, &reply, &error)) {
        g_assert_no_error(error);
        g_assert_cmpint(reply.result, !=, APMIG_FENCE_UNAVAILABLE);
        g_assert_true(apmig_text_is_plain(reply.message, 1024));
        check_survives(&reply);
    } else {
        fuzz_check_error(error, APMIG_ERROR_INVALID_OPTION);
        g_assert_null(reply.message);
    }
    return 0;
}
