/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any bytes are an admission that can be written again and is the same then, one of an earlier boot, or an error. */
#include "fuzz.h"
#include "store/json.h"

#include <string.h>

#define UUID    "c7a5fdbd-edaf-9455-926a-d65c16db1809"
#define BOOT_ID "00112233445566778899aabbccddeeff"
#define NOW     G_GINT64_CONSTANT(86400000000)

static void
check_survives(const ApmigAdmission *admission)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = apmig_admission_encode(admission, BOOT_ID, NOW, &error);
    g_autoptr(ApmigAdmission) again = NULL;
    gboolean stale = TRUE;

    g_assert_no_error(error);
    again = apmig_admission_decode(text, strlen(text), UUID, BOOT_ID, NOW, &stale, &error);
    g_assert_no_error(error);
    g_assert_false(stale);
    g_assert_cmpstr(admission->uuid, ==, again->uuid);
    g_assert_cmpstr(admission->name, ==, again->name);
    g_assert_true(apmig_scope_equal(admission->scope, again->scope));
    g_assert_true(g_strv_equal((const char *const *)admission->devices, (const char *const *)again->devices));
    g_assert_cmpint(admission->admitted_at, ==, again->admitted_at);
    g_assert_cmpint(admission->unaffected, ==, again->unaffected);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autofree char *text = fuzz_terminate(data, size);
    g_autoptr(GError) error = NULL;
    gboolean stale = TRUE;
    g_autoptr(ApmigAdmission) admission =
        apmig_admission_decode(text, size, UUID, BOOT_ID, NOW, &stale, &error);

    if (admission) {
        g_assert_no_error(error);
        g_assert_false(stale);
        g_assert_cmpint(admission->admitted_at, <=, NOW);
        check_survives(admission);
    } else if (stale) {
        g_assert_no_error(error);
    } else {
        fuzz_check_error(error, APMIG_ERROR_STATE_FAILURE);
    }
    return 0;
}
