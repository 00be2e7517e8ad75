/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The guests that a lock remembers. */
#include "engine/lock.h"

static void
guest_free(gpointer data)
{
    ApmigLockGuest *guest = data;

    g_free(guest->uuid);
    g_free(guest->name);
    g_free(guest);
}

GPtrArray *
apmig_lock_guests_new(void)
{
    return g_ptr_array_new_with_free_func(guest_free);
}

gboolean
apmig_lock_guests_append(GPtrArray *guests, const char *uuid, const char *name)
{
    ApmigLockGuest *guest;

    if (guests->len >= APMIG_LOCK_MAX_GUESTS)
        return FALSE;
    guest = g_new(ApmigLockGuest, 1);
    guest->uuid = g_strdup(uuid);
    guest->name = g_strdup(name);
    g_ptr_array_add(guests, guest);
    return TRUE;
}

const ApmigLockGuest *
apmig_lock_guests_find(const GPtrArray *guests, const char *uuid)
{
    for (guint i = 0; guests && i < guests->len; i++) {
        const ApmigLockGuest *guest = g_ptr_array_index(guests, i);

        if (g_str_equal(guest->uuid, uuid))
            return guest;
    }
    return NULL;
}

GPtrArray *
apmig_lock_guests_copy_without(const GPtrArray *guests, const char *uuid)
{
    GPtrArray *others = apmig_lock_guests_new();

    for (guint i = 0; guests && i < guests->len; i++) {
        const ApmigLockGuest *guest = g_ptr_array_index(guests, i);

        if (!uuid || !g_str_equal(guest->uuid, uuid))
            apmig_lock_guests_append(others, guest->uuid, guest->name);
    }
    return others;
}
