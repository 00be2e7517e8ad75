/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Any bytes in which the hook gives a guest other devices are a guest with these devices and else the same, or an error: what
 * is printed becomes the guest's XML for libvirt.
 */
#include "fuzz.h"
#include "guest/xml.h"

#include <string.h>

#define HERE "a1b2c3d4-f1bb-47f0-914d-0000000001ff"

/* Returns: (transfer full): the first of the guest's devices is exchanged. */
static GHashTable *
new_map(const ApmigGuest *guest)
{
    GHashTable *map = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);

    g_hash_table_insert(map, g_strdup(guest->devices[0]), g_strdup(HERE));
    return map;
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    const char *xml = (const char *)data;
    g_autoptr(ApmigGuest) guest = apmig_guest_parse(xml, size, NULL);
    g_autoptr(GHashTable) map = guest && guest->devices[0] ? new_map(guest) : NULL;
    g_autoptr(GError) error = NULL;
    g_autofree char *changed = map ? apmig_guest_replace_devices(xml, size, map, &error) : NULL;
    g_autoptr(ApmigGuest) again = NULL;

    if (!map)
        return 0;
    if (!changed) {
        fuzz_check_error(error, APMIG_ERROR_INVALID_GUEST);
        return 0;
    }
    again = apmig_guest_parse(changed, strlen(changed), &error);
    g_assert_no_error(error);
    g_assert_cmpstr(again->uuid, ==, guest->uuid);
    g_assert_cmpstr(again->name, ==, guest->name);
    g_assert_cmpint(again->affected, ==, guest->affected);
    g_assert_true(g_strv_contains((const char *const *)again->devices, HERE));
    g_assert_false(g_strv_contains((const char *const *)again->devices, guest->devices[0]) &&
                   !g_str_equal(guest->devices[0], HERE));
    return 0;
}
