/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any bytes are a permit that can be written again and is the same then, one of an earlier boot, or an error. */
#include "fuzz.h"
#include "base/error.h"
#include "store/json.h"

#include <string.h>

#define ID      "0a1b2c3d"
#define BOOT_ID "00112233445566778899aabbccddeeff"
#define NOW     G_GINT64_CONSTANT(86400000000)

static void
check_survives(const ApmigPermit *permit)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = apmig_permit_encode(permit, BOOT_ID, &error);
    g_autoptr(ApmigPermit) again = NULL;
    gboolean stale = TRUE;

    g_assert_no_error(error);
    again = apmig_permit_decode(text, strlen(text), ID, BOOT_ID, NOW, &stale, &error);
    g_assert_no_error(error);
    g_assert_false(stale);
    g_assert_cmpstr(permit->uuid, ==, again->uuid);
    g_assert_cmpstr(permit->name, ==, again->name);
    g_assert_cmpstr(permit->reason, ==, again->reason);
    g_assert_cmpuint(permit->owner_uid, ==, again->owner_uid);
    g_assert_cmpint(permit->expires_at, ==, again->expires_at);
    g_assert_cmpstr(permit->used_by, ==, again->used_by);
    g_assert_cmpint(permit->outgoing, ==, again->outgoing);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autofree char *text = fuzz_terminate(data, size);
    g_autoptr(GError) error = NULL;
    gboolean stale = TRUE;
    g_autoptr(ApmigPermit) permit = apmig_permit_decode(text, size, ID, BOOT_ID, NOW, &stale, &error);

    if (permit) {
        g_assert_no_error(error);
        g_assert_false(stale);
        g_assert_true(*permit->uuid || *permit->name);
        g_assert_cmpint(permit->expires_at, <=, NOW + APMIG_PERMIT_MAX_USEC);
        check_survives(permit);
    } else if (stale) {
        g_assert_no_error(error);
    } else {
        fuzz_check_error(error, APMIG_ERROR_STATE_FAILURE);
    }
    return 0;
}
