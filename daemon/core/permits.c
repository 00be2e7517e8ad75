/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Binds the engine to those who give and revoke permits, and to the files of these. */
#include "core/private.h"

void
core_give_permit(const Caller *caller, const ApmigAction *action, const GError *error)
{
    caller->permit(error ? NULL : action->permit, error, caller->user_data);
}

static ApmigCaller
add_caller(ApmigCore *core, ApmigPermitFunc func, gpointer user_data)
{
    ApmigCaller number = core_add_caller(core, NULL, NULL, user_data);
    Caller *caller = g_hash_table_lookup(core->callers, GSIZE_TO_POINTER(number));

    caller->permit = func;
    return number;
}

/* Returns: (transfer full): one that no permit has; those that are on disk are known to the engine. */
static char *
new_id(ApmigCore *core)
{
    g_autoptr(GPtrArray) permits = apmig_engine_list_permits(core->engine);

    for (;;) {
        g_autofree char *id = g_strdup_printf("%08x", g_random_int());
        gboolean is_taken = FALSE;

        for (guint i = 0; i < permits->len; i++)
            is_taken |= g_str_equal(((const ApmigPermit *)g_ptr_array_index(permits, i))->id, id);
        if (!is_taken)
            return g_steal_pointer(&id);
    }
}

ApmigCaller
apmig_core_permit_migration(ApmigCore *core, const ApmigPermitRequest *request, ApmigPermitFunc func,
                            gpointer user_data)
{
    ApmigCaller caller = add_caller(core, func, user_data);
    g_autofree char *id = new_id(core);
    g_autofree char *lower = g_ascii_strdown(request->guest, -1);
    gboolean is_uuid = g_uuid_string_is_valid(lower);

    core_handle(core,
                &(ApmigEvent){.type = APMIG_EVENT_PERMIT,
                              .permit = {.caller = caller,
                                         .id = id,
                                         .uuid = is_uuid ? lower : "",
                                         .name = is_uuid ? "" : request->guest,
                                         .reason = request->reason,
                                         .uid = request->uid,
                                         .login_uid = request->login_uid >= 0 ? (guint32)request->login_uid
                                                                              : APMIG_PERMIT_NO_LOGIN,
                                         .user = request->user,
                                         .duration_usec = request->duration_usec}});
    return caller;
}

ApmigCaller
apmig_core_revoke_permit(ApmigCore *core, const char *guest, ApmigPermitFunc func, gpointer user_data)
{
    ApmigCaller caller = add_caller(core, func, user_data);

    core_handle(core, &(ApmigEvent){.type = APMIG_EVENT_REVOKE, .revoke = {caller, guest}});
    return caller;
}

void
core_carry_out_permit(ApmigCore *core, const ApmigAction *action)
{
    if (action->type == APMIG_ACTION_PERSIST_PERMIT)
        apmig_store_persist_permit(core->store, action->op, action->permit);
    else if (action->type == APMIG_ACTION_USE_PERMIT)
        apmig_store_use_permit(core->store, action->op, action->permit);
    else
        apmig_store_remove_permit(core->store, action->op, action->permit);
}
