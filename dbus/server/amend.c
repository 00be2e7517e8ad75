/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is changed of a lock that is there: arguments first, then authorization, then the core. */
#include "server/private.h"

#include <gio/gio.h>

#define MAX_EXTENSION_USEC (3652 * 24 * 3600 * (guint64)G_USEC_PER_SEC)

/* An ApmigAmendRequest that owns what it points to. */
typedef struct {
    ApmigAmendRequest request;
    char *id;
    char *text; /* (nullable) */
} Amend;

static void
amend_free(gpointer data)
{
    Amend *amend = data;

    g_free(amend->id);
    g_free(amend->text);
    g_free(amend);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Amend, amend_free)

/* --- arguments --------------------------------------------------------------------------------------- */

static gboolean
read_text(Amend *amend, sd_bus_message *message, GError **error)
{
    const char *what = amend->request.what == APMIG_AMEND_OWNER ? "The reason" : "The text";

    amend->text = apmig_text_read(message, APMIG_REASON_MAX_LENGTH, what, APMIG_ERROR_INVALID_REASON, error);
    return amend->text != NULL;
}

static gboolean
read_duration(Amend *amend, sd_bus_message *message, GError **error)
{
    guint64 duration = 0;

    if (sd_bus_message_read(message, "t", &duration) <= 0 || duration == 0 || duration > MAX_EXTENSION_USEC) {
        g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION,
                    "The duration is %" G_GUINT64_FORMAT ": give from 1 to %" G_GUINT64_FORMAT
                    " microseconds, from now.",
                    duration, MAX_EXTENSION_USEC);
        return FALSE;
    }
    amend->request.duration_usec = (gint64)duration;
    return TRUE;
}

static gboolean
read_options(Amend *amend, sd_bus_message *message, GError **error)
{
    ApmigOption of_annotate[] = {{"replace", "b"}, {NULL}};
    ApmigOption of_others[] = {{NULL}};

    if (amend->request.what != APMIG_AMEND_REASON)
        return apmig_options_read(message, of_others, error);
    if (!apmig_options_read(message, of_annotate, error))
        return FALSE;
    amend->request.replace = of_annotate[0].flag;
    return TRUE;
}

static gboolean
amend_read(Amend *amend, sd_bus_message *message, GError **error)
{
    gboolean read = amend->request.what == APMIG_AMEND_DURATION ? read_duration(amend, message, error)
                                                                : read_text(amend, message, error);

    return read && read_options(amend, message, error);
}

/* --- steps ------------------------------------------------------------------------------------------- */

static void
on_amended(const char *id, const GError *error, gpointer user_data)
{
    apmig_call_finish(user_data, error);
}

/* Whether it is still the lock of whom it was when the polkit action was chosen, is the engine's to say. */
static void
amend_with_name(const char *name, gpointer user_data)
{
    ApmigCall *call = user_data;
    Amend *amend = call->data;

    amend->request.id = amend->id;
    amend->request.owner_uid = call->owner_uid;
    amend->request.text = amend->text;
    amend->request.uid = call->uid;
    amend->request.user = name;
    apmig_call_log_request(call, call->request, NULL, "%s lock %s", call->request, amend->id);
    call->caller = apmig_core_amend_lock(call->server->core, &amend->request, on_amended, call);
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
    Amend *amend = call->data;

    apmig_call_authorize_for_lock(call, amend->id, amend_authorized);
}

int
apmig_amend_lock(ApmigServer *server, sd_bus_message *message, const char *id, ApmigAmendment what)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Amend) amend = g_new0(Amend, 1);

    amend->id = g_strdup(id);
    amend->request.what = what;
    if (!amend_read(amend, message, &error) || !apmig_server_find_living_lock(server, id, &error))
        return apmig_reply_error(message, error);
    return apmig_call_start(server, message, g_steal_pointer(&amend), amend_free, amend_identified);
}
