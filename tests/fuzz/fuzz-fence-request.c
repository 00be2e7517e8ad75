/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any packet is a request that can be sent again and is the same then, or an error that can be shown. */
#include "fuzz.h"
#include "fence/protocol.h"

#include <string.h>

static void
assert_equal(const ApmigFenceRequest *a, const ApmigFenceRequest *b)
{
    g_assert_cmpint(a->verb, ==, b->verb);
    g_assert_cmpstr(a->uuid, ==, b->uuid);
    g_assert_cmpstr(a->name, ==, b->name);
    g_assert_cmpint(a->pid, ==, b->pid);
    g_assert_cmpuint(a->start_time, ==, b->start_time);
    g_assert_cmpstr(a->device, ==, b->device);
    g_assert_cmpint(a->direction, ==, b->direction);
    g_assert_cmpint(a->fenced, ==, b->fenced);
}

/* The helper makes a path of the name, and signals the pid. */
static void
check_request(const ApmigFenceRequest *request)
{
    g_assert_true(g_uuid_string_is_valid(request->uuid));
    g_assert_true(g_uuid_string_is_valid(request->device));
    g_assert_cmpuint(strlen(request->name) - 1, <, APMIG_FENCE_MAX_NAME);
    g_assert_null(strchr(request->name, '/'));
    g_assert_true(request->pid > 1 || (request->pid == 0 && request->start_time == 0));
    g_assert_true(request->verb == APMIG_FENCE_INSPECT || (request->pid > 1 && request->start_time > 0));
}

static void
check_survives(const ApmigFenceRequest *request)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = apmig_fence_request_to_json(request);
    g_auto(ApmigFenceRequest) again = {0};

    g_assert_cmpuint(strlen(text), <=, APMIG_FENCE_MAX_BYTES);
    g_assert_true(apmig_fence_request_parse(text, strlen(text), &again, &error));
    g_assert_no_error(error);
    assert_equal(request, &again);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_auto(ApmigFenceRequest) request = {0};
    g_autoptr(GError) error = NULL;

    if (apmig_fence_request_parse((const char *)data, size, &request, &error)) {
        g_assert_no_error(error);
        check_request(&request);
        check_survives(&request);
    } else {
        fuzz_check_error(error, APMIG_ERROR_INVALID_OPTION);
        g_assert_null(request.owned);
    }
    return 0;
}
