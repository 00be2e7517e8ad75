/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Binds the engine to those who change a lock that is there, or ask for a reading. */
#include "core/private.h"

#define LIST_LIMIT_USEC (5 * G_USEC_PER_SEC) /* for the hypervisor to tell of its guests */

ApmigCaller
apmig_core_amend_lock(ApmigCore *core, const ApmigAmendRequest *request, ApmigReplyFunc func,
                      gpointer user_data)
{
    ApmigCaller caller = core_add_caller(core, func, NULL, user_data);

    core_handle(core, &(ApmigEvent){.type = APMIG_EVENT_AMEND,
                                    .amend = {.caller = caller,
                                              .id = request->id,
                                              .what = request->what,
                                              .uid = request->uid,
                                              .user = request->user,
                                              .owner_uid = request->owner_uid,
                                              .text = request->text,
                                              .replace = request->replace,
                                              .duration_usec = request->duration_usec}});
    return caller;
}

/* --- readings ------------------------------------------------------------------------------------ */

void
core_give_verdict(const Caller *caller, const ApmigAction *action, const GError *error)
{
    const ApmigVerdict verdict = {action->allowed, action->message, action->read_at, action->findings};

    caller->verdict(error ? NULL : &verdict, error, caller->user_data);
}

static ApmigCaller
add_inquirer(ApmigCore *core, ApmigVerdictFunc func, gpointer user_data)
{
    ApmigCaller number = core_add_caller(core, NULL, NULL, user_data);
    Caller *caller = g_hash_table_lookup(core->callers, GSIZE_TO_POINTER(number));

    caller->verdict = func;
    return number;
}

ApmigCaller
apmig_core_check_lock(ApmigCore *core, const char *id, gint64 limit_usec, ApmigVerdictFunc func,
                      gpointer user_data)
{
    ApmigCaller caller = add_inquirer(core, func, user_data);

    core_handle(core, &(ApmigEvent){.type = APMIG_EVENT_CHECK, .check = {caller, id, limit_usec}});
    return caller;
}

ApmigCaller
apmig_core_rehearse_lock(ApmigCore *core, const ApmigTakeRequest *request, ApmigVerdictFunc func,
                         gpointer user_data)
{
    ApmigCaller caller = add_inquirer(core, func, user_data);

    core_handle_take(core, request, caller, TRUE);
    return caller;
}

void
apmig_core_list_guests(ApmigCore *core, ApmigGuestDevicesFunc func, gpointer user_data)
{
    apmig_guest_lister_list(core->guest_lister, LIST_LIMIT_USEC, func, user_data);
}

char *
apmig_core_describe_hook_problem(const ApmigCore *core)
{
    char *problem = NULL;

    if (core->has_hook)
        apmig_core_hook_installed(core, &problem);
    return problem;
}
