/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* RemoveStamps: what apmigd wrote into guests' metadata is taken away. */
#include "server/private.h"

static void
on_removed(guint n_removed, const GError *error, gpointer user_data)
{
    ApmigCall *call = user_data;

    call->caller = 0;
    if (error)
        apmig_call_fail(call, error);
    else
        apmig_call_reply(call, "u", n_removed);
}

static void
remove_identified(ApmigCall *call, const GError *denied)
{
    const char *guest = NULL;

    (void)sd_bus_message_rewind(call->message, TRUE);
    (void)sd_bus_message_read(call->message, "s", &guest);
    apmig_call_log_request(call, call->request, guest, "take away the stamp%s%s",
                           *guest ? " of guest " : "s of all guests", guest);
    call->caller = apmig_core_remove_stamps(call->server->core, guest, on_removed, call);
}

int
apmig_method_remove_stamps(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    g_autoptr(GError) error = NULL;
    const char *guest = NULL;
    int r = sd_bus_message_read(message, "s", &guest);

    if (r < 0)
        return r;
    if (*guest != '\0' && !apmig_text_is_presentable(guest, APMIG_GUEST_NAME_MAX_BYTES, "The guest's name",
                                                     APMIG_ERROR_INVALID_GUEST, &error))
        return apmig_reply_error(message, error);
    return apmig_call_start(user_data, message, NULL, NULL, remove_identified);
}
