/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is changed of a lock that is there: arguments first, then authorization, then the core. */
#include "server/private.h"

#include <gio/gio.h>

#define MAX_EXTENSION_USEC (3652 * 24 * 3600 * (guint64)G_USEC_PER_SEC)

/* --- arguments --------------------------------------------------------------------------------------- */

static gboolean
read_text(ApmigEvent *event, sd_bus_message *message, GError **error)
{
    const char *what = event->amend.what == APMIG_AMEND_OWNER ? "The reason" : "The text";

    event->amend.text =
        apmig_text_read(message, APMIG_REASON_MAX_LENGTH, what, APMIG_ERROR_INVALID_REASON, error);
    return event->amend.text != NULL;
}

static gboolean
read_duration(ApmigEvent *event, sd_bus_message *message, GError **error)
{
    guint64 duration = 0;

    if (sd_bus_message_read(message, "t", &duration) <= 0 || duration == 0 || duration > MAX_EXTENSION_USEC) {
        g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION,
                    "The duration is %" G_GUINT64_FORMAT ": give from 1 to %" G_GUINT64_FORMAT
                    " microseconds, from now.",
                    duration, MAX_EXTENSION_USEC);
        return FALSE;
    }
    event->amend.duration_usec = (gint64)duration;
    return TRUE;
}

static gboolean
read_options(ApmigEvent *event, sd_bus_message *message, GError **error)
{
    ApmigOption of_annotate[] = {{"replace", "b"}, {NULL}};
    ApmigOption of_others[] = {{NULL}};

    if (event->amend.what != APMIG_AMEND_REASON)
        return apmig_options_read(message, of_others, error);
    if (!apmig_options_read(message, of_annotate, error))
        return FALSE;
    event->amend.replace = of_annotate[0].flag;
    return TRUE;
}

static gboolean
read_arguments(ApmigEvent *event, sd_bus_message *message, GError **error)
{
    gboolean read = event->amend.what == APMIG_AMEND_DURATION ? read_duration(event, message, error)
                                                              : read_text(event, message, error);

    return read && read_options(event, message, error);
}

/* --- steps ------------------------------------------------------------------------------------------- */

/* Whether it is still the lock of whom it was when the polkit action was chosen, is the engine's to say. */
static void
amend_with_name(const char *name, gpointer user_data)
{
    ApmigCall *call = user_data;

    call->event.amend.owner_uid = call->owner_uid;
    call->event.amend.uid = call->uid;
    call->event.amend.user = name;
    apmig_call_log_request(call, call->request, NULL, "%s lock %s", call->request, call->event.amend.id);
    apmig_call_request(call, NULL);
}

static void
amend_authorized(ApmigCall *call, const GError *denied)
{
    if (denied)
        apmig_call_fail(call, denied);
    else
        apmig_call_look_up_name(call, amend_with_name);
}

static void
amend_identified(ApmigCall *call, const GError *denied)
{
    apmig_call_authorize_for_lock(call, call->event.amend.id, amend_authorized);
}

int
apmig_amend_lock(ApmigServer *server, sd_bus_message *message, ApmigAmendment what)
{
    ApmigEvent event = {.type = APMIG_EVENT_AMEND,
                        .amend = {.id = apmig_message_lock_id(message), .what = what}};
    g_autoptr(GError) error = NULL;

    if (!read_arguments(&event, message, &error) ||
        !apmig_server_find_living_lock(server, event.amend.id, &error))
        return apmig_reply_error(message, error);
    return apmig_call_start_request(server, message, &event, NULL, NULL, amend_identified);
}
