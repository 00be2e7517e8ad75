/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/hook-permit.h"

#include "base/boot-time.h"
#include "ctl/format.h"
#include "store/permit-files.h"

static ApmigPermit *
find_open(const GPtrArray *permits, const char *uuid, const char *name, gint64 now)
{
    for (guint i = 0; i < permits->len; i++) {
        ApmigPermit *permit = g_ptr_array_index(permits, i);

        if (!permit->used_by && now < permit->expires_at && apmig_permit_is_for(permit, uuid, name))
            return permit;
    }
    return NULL;
}

char *
ctl_hook_use_permit(const char *uuid, const char *name, GError **error)
{
    const char *runtime_dir = g_getenv("RUNTIME_DIRECTORY");
    g_autoptr(ApmigFolder) folder =
        apmig_permits_open_without_daemon(runtime_dir && *runtime_dir ? runtime_dir : "/run/apmigd", error);
    g_autoptr(GPtrArray) permits = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_permit_free);
    g_autoptr(GPtrArray) damage = g_ptr_array_new_with_free_func(g_free);
    gint64 now = apmig_boot_time();
    ApmigPermit *permit;

    if (!folder || !apmig_permits_load(folder, now, permits, damage, error))
        return NULL;
    permit = find_open(permits, uuid, name, now);
    if (!permit) {
        g_set_error(error, CTL_ERROR, CTL_EXIT_FAILURE, "it has no permit%s%s", damage->len > 0 ? "; " : "",
                    damage->len > 0 ? (const char *)g_ptr_array_index(damage, 0) : "");
        return NULL;
    }
    permit->used_by = g_strdup(uuid);
    permit->outgoing = FALSE;
    return apmig_permits_use(folder, permit, error)
               ? g_strdup_printf("with the permit of %s (uid %u), \"%s\"", permit->owner_name,
                                 permit->owner_uid, permit->reason)
               : NULL;
}
