/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any packet is a request that the helper may act on, or an error that can be shown. */
#include "fuzz.h"
#include "fence/protocol.h"
#include "base/text.h"

#include <string.h>

/* The helper makes a path of the name, and signals the pid. */
static void
check_request(const ApmigFenceRequest *request)
{
    g_assert_true(g_uuid_string_is_valid(request->uuid));
    g_assert_true(g_uuid_string_is_valid(request->device));
    g_assert_cmpuint(strlen(request->name) - 1, <, APMIG_FENCE_MAX_NAME);
    g_assert_true(apmig_text_is_plain(request->name, APMIG_FENCE_MAX_NAME));
    g_assert_null(strchr(request->name, '/'));
    g_assert_true(request->pid > 1 || (request->pid == 0 && request->start_time == 0));
    g_assert_true(apmig_fence_verb_only_looks(request->verb) ||
                  (request->pid > 1 && request->start_time > 0));
    g_assert_cmpstr(apmig_fence_verb_to_string(request->verb), !=, "");
    g_assert_cmpstr(apmig_fence_direction_to_string(request->direction), !=, "");
}

/* Nothing but what was asked is in it. */
static void
check_made_anew(const ApmigFenceRequest *request)
{
    ApmigFenceRequest again = {.header = {APMIG_FENCE_REQUEST_MAGIC, APMIG_FENCE_VERSION},
                               .verb = request->verb,
                               .direction = request->direction,
                               .pid = request->pid,
                               .start_time = request->start_time};

    g_strlcpy(again.uuid, request->uuid, sizeof again.uuid);
    g_strlcpy(again.device, request->device, sizeof again.device);
    g_strlcpy(again.name, request->name, sizeof again.name);
    g_assert_cmpmem(request, sizeof *request, &again, sizeof again);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    ApmigFenceRequest request = {0};
    g_autoptr(GError) error = NULL;

    memcpy(&request, data, MIN(size, sizeof request));
    if (apmig_fence_request_check(&request, size, &error)) {
        g_assert_no_error(error);
        g_assert_cmpuint(size, ==, sizeof request);
        check_request(&request);
        check_made_anew(&request);
    } else {
        fuzz_check_error(error, APMIG_ERROR_INVALID_OPTION);
    }
    return 0;
}
