/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any text is a scope that survives being stored, or an error whose sentence is short and printable. */
#include "scope.h"

#include "error.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

static void
check_sentence(const GError *error)
{
    g_assert_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_SCOPE);
    g_assert_cmpuint(strlen(error->message), <, 512);
    for (const char *p = error->message; *p != '\0'; p++)
        g_assert_true(g_ascii_isprint(*p));
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigScope) scope = apmig_scope_parse(text, &error);
    g_autoptr(ApmigScope) again = NULL;

    if (scope == NULL) {
        check_sentence(error);
        return 0;
    }
    g_assert_no_error(error);
    g_assert_false(apmig_scope_is_none(scope));
    again = apmig_scope_parse_stored(apmig_scope_to_string(scope), NULL);
    g_assert_nonnull(again);
    g_assert_true(apmig_scope_equal(scope, again));
    g_assert_true(apmig_scope_overlaps(scope, again));
    g_assert_cmpstr(apmig_scope_to_string(scope), ==, apmig_scope_to_string(again));
    return 0;
}
