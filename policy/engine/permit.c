/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/permit.h"

#include <string.h>

ApmigPermit *
apmig_permit_copy(const ApmigPermit *permit)
{
    ApmigPermit *copy = g_new(ApmigPermit, 1);

    *copy = *permit;
    copy->id = g_strdup(permit->id);
    copy->uuid = g_strdup(permit->uuid);
    copy->name = g_strdup(permit->name);
    copy->reason = g_strdup(permit->reason);
    copy->owner_name = g_strdup(permit->owner_name);
    copy->used_by = g_strdup(permit->used_by);
    return copy;
}

void
apmig_permit_free(ApmigPermit *permit)
{
    if (!permit)
        return;
    g_free(permit->id);
    g_free(permit->uuid);
    g_free(permit->name);
    g_free(permit->reason);
    g_free(permit->owner_name);
    g_free(permit->used_by);
    g_free(permit);
}

gboolean
apmig_permit_is_for(const ApmigPermit *permit, const char *uuid, const char *name)
{
    if (*permit->uuid != '\0')
        return g_str_equal(permit->uuid, uuid);
    return g_str_equal(permit->name, name);
}

const char *
apmig_permit_guest(const ApmigPermit *permit)
{
    return *permit->name != '\0' ? permit->name : permit->uuid;
}

gboolean
apmig_permit_id_is_valid(const char *text)
{
    return strspn(text, "0123456789abcdef") == APMIG_PERMIT_ID_LENGTH && text[APMIG_PERMIT_ID_LENGTH] == '\0';
}
