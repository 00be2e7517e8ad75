/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Any text is a scope that survives being stored, or an error that can be shown; so is the union of two. A second
 * scope stands after the first line.
 */
#include "fuzz.h"
#include "ap/scope.h"

#include <string.h>

static void
check_survives(const ApmigScope *scope)
{
    const char *text = apmig_scope_to_string(scope);
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigScope) again = apmig_scope_parse_stored(text, &error);

    g_assert_no_error(error);
    g_assert_cmpuint(strlen(text), <=, APMIG_SCOPE_MAX_STORED_LENGTH);
    g_assert_true(apmig_scope_equal(scope, again));
    g_assert_cmpstr(text, ==, apmig_scope_to_string(again));
    g_assert_true(apmig_scope_overlaps(scope, again) != apmig_scope_is_none(scope));
}

/* What somebody writes is read as what was stored; "none" and what is too long can only have been stored. */
static ApmigScope *
parse(const char *text)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) stored_error = NULL;
    g_autoptr(ApmigScope) scope = apmig_scope_parse(text, &error);
    g_autoptr(ApmigScope) stored = apmig_scope_parse_stored(text, &stored_error);

    if (!scope)
        fuzz_check_error(error, APMIG_ERROR_INVALID_SCOPE);
    if (!stored)
        fuzz_check_error(stored_error, APMIG_ERROR_INVALID_SCOPE);
    if (scope) {
        g_assert_nonnull(stored);
        g_assert_true(apmig_scope_equal(scope, stored));
        g_assert_false(apmig_scope_is_none(scope));
    } else if (stored && !apmig_scope_is_none(stored)) {
        g_assert_cmpuint(strlen(text), >, APMIG_SCOPE_MAX_LENGTH);
    }
    if (stored)
        check_survives(stored);
    return g_steal_pointer(&stored);
}

static void
check_union(const ApmigScope *a, const ApmigScope *b)
{
    g_autoptr(ApmigScope) one = apmig_scope_union(a, b);
    g_autoptr(ApmigScope) other = apmig_scope_union(b, a);

    check_survives(one);
    g_assert_cmpstr(apmig_scope_to_string(one), ==, apmig_scope_to_string(other));
    g_assert_true(apmig_scope_overlaps(one, a) != apmig_scope_is_none(a));
    g_assert_true(apmig_scope_overlaps(a, b) == apmig_scope_overlaps(b, a));
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autofree char *text = fuzz_terminate(data, size);
    char *second = strchr(text, '\n');
    g_autoptr(ApmigScope) a = NULL;
    g_autoptr(ApmigScope) b = NULL;

    if (second)
        *second++ = '\0';
    a = parse(text);
    b = second ? parse(second) : NULL;
    if (a && b)
        check_union(a, b);
    return 0;
}
