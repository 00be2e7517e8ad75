/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* RemoveStamps: what apmigd wrote into guests' metadata is taken away. */
#include "server/private.h"

/* The hypervisor's answer cannot be called off: it finds here whether somebody still waits for it. */
typedef struct {
    ApmigCall *call; /* NULL: nobody */
} RemovalWait;

static void
forget_wait(gpointer data)
{
    ((RemovalWait *)data)->call = NULL;
}

static void
on_removed(guint n_removed, const GError *error, gpointer user_data)
{
    RemovalWait *wait = user_data;
    ApmigCall *call = wait->call;

    if (call && error)
        apmig_call_fail(call, error);
    else if (call)
        apmig_call_reply(call, "u", n_removed);
    g_free(wait);
}

static void
remove_identified(ApmigCall *call, const GError *denied)
{
    RemovalWait *wait = g_new0(RemovalWait, 1);
    const char *guest = NULL;

    wait->call = call;
    call->data = wait;
    call->free_data = forget_wait;
    (void)sd_bus_message_rewind(call->message, TRUE);
    (void)sd_bus_message_read(call->message, "s", &guest);
    apmig_call_log_request(call, call->request, guest, "take away the stamp%s%s",
                           *guest ? " of guest " : "s of all guests", guest);
    apmig_core_remove_stamps(call->server->core, guest, on_removed, wait);
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
