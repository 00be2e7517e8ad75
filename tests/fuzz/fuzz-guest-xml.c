/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Any bytes are a guest, or an error that can be shown, and one that names nothing of ours is never an error. The XML that
 * the hook passes on of a guest gives the same guest, and the admission of an affected one can be kept.
 */
#include "fuzz.h"
#include "guest/xml.h"
#include "store/json.h"

#include <string.h>

#define BOOT_ID "00112233445566778899aabbccddeeff"

static void
assert_equal(const ApmigGuest *a, const ApmigGuest *b)
{
    g_assert_cmpstr(a->name, ==, b->name);
    g_assert_cmpstr(a->uuid, ==, b->uuid);
    g_assert_cmpint(a->affected, ==, b->affected);
    g_assert_true(!a->scope == !b->scope);
    g_assert_true(!a->scope || apmig_scope_equal(a->scope, b->scope));
    g_assert_true(g_strv_equal((const char *const *)a->devices, (const char *const *)b->devices));
}

static void
check_guest(const ApmigGuest *guest)
{
    g_assert_true(apmig_uuid_is_canonical(guest->uuid) ||
                  (guest->affected == APMIG_AFFECTED_NO && !*guest->uuid));
    g_assert_true(guest->affected == APMIG_AFFECTED_YES || guest->affected == APMIG_AFFECTED_NO);
    g_assert_true((guest->affected == APMIG_AFFECTED_YES) == (guest->scope != NULL));
    g_assert_true(guest->affected == APMIG_AFFECTED_YES || !guest->devices[0]);
    for (char **device = guest->devices; *device; device++)
        g_assert_true(apmig_uuid_is_canonical(*device));
}

static void
check_reduced(const ApmigGuest *guest, const char *xml, gsize length)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *reduced = apmig_guest_reduce(xml, length, &error);
    g_autoptr(ApmigGuest) again = NULL;

    g_assert_no_error(error);
    again = apmig_guest_parse(reduced, strlen(reduced), &error);
    g_assert_no_error(error);
    assert_equal(guest, again);
}

static void
check_admission(const ApmigGuest *guest)
{
    const ApmigAdmission admission = {guest->uuid, guest->name, guest->scope, guest->devices, 1};
    g_autoptr(GError) error = NULL;
    g_autofree char *text = apmig_admission_encode(&admission, BOOT_ID, 1, &error);

    g_assert_no_error(error);
    g_assert_nonnull(text);
}

static gboolean
has(const char *xml, gsize size, const char *text)
{
    return memmem(xml, size, text, strlen(text)) != NULL;
}

/* Whether it has neither of the two words, nor anything that another spelling of them needs. */
static gboolean
is_free(const char *xml, gsize size)
{
    static const char *const signs[] = {"vfio-ap", "urn:apmigd:", "<!ENTITY", "&#", "\\u", "encoding"};

    for (guint i = 0; i < G_N_ELEMENTS(signs); i++)
        if (has(xml, size, signs[i]))
            return FALSE;
    return g_utf8_validate(xml, (gssize)size, NULL);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    const char *xml = (const char *)data;
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigGuest) guest = apmig_guest_parse(xml, size, &error);

    if (is_free(xml, size)) {
        g_assert_no_error(error);
        g_assert_cmpint(guest->affected, ==, APMIG_AFFECTED_NO);
    }
    if (guest) {
        g_assert_no_error(error);
        check_guest(guest);
        check_reduced(guest, xml, size);
        if (guest->affected == APMIG_AFFECTED_YES)
            check_admission(guest);
    } else {
        fuzz_check_error(error, APMIG_ERROR_INVALID_GUEST);
        g_assert_null(apmig_guest_reduce(xml, size, NULL));
    }
    return 0;
}
