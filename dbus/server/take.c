/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* TakeLock, and RehearseLock, which does all of it but take: arguments first, then authorization, then the core. */
#include "server/private.h"

#include <gio/gio.h>
#include <string.h>

#define USEC_PER_DAY               (24 * 3600 * (guint64)G_USEC_PER_SEC)
#define MAX_TIMEOUT_USEC           (30 * USEC_PER_DAY)
#define MAX_EXPECTED_DURATION_USEC (3652 * USEC_PER_DAY)

/* --- TakeLock: arguments ------------------------------------------------------------------------------ */

/* An ApmigTakeRequest that owns what it points to. */
typedef struct {
    ApmigTakeRequest request;
    char *reason;
    char *change_id;
    gboolean rehearse;
} Take;

static void
take_free(gpointer data)
{
    Take *take = data;

    g_clear_pointer(&take->request.scope, apmig_scope_unref);
    g_free(take->reason);
    g_free(take->change_id);
    g_free(take);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Take, take_free)

enum {
    OPTION_ON_BUSY,
    OPTION_TIMEOUT,
    OPTION_EXPECTED_DURATION,
    OPTION_NO_WAIT,
    OPTION_ALLOW_MISSING_HOOK,
    OPTION_CHANGE_ID,
    N_OPTIONS,
};

static gboolean
read_on_busy(const ApmigOption *option, ApmigOnBusy *ret_on_busy, GError **error)
{
    g_autofree char *shown = NULL;

    if (!option->given || apmig_on_busy_from_string(option->text, ret_on_busy))
        return TRUE;

    shown = apmig_text_escape(option->text, APMIG_SHOWN_MAX_BYTES);
    g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION,
                "Option \"on-busy\" is \"%s\": give abort, wait or refuse.", shown);
    return FALSE;
}

static gboolean
take_read_options(Take *take, sd_bus_message *message, GError **error)
{
    ApmigOption options[N_OPTIONS + 1] = {
        [OPTION_ON_BUSY] = {"on-busy", "s"},
        [OPTION_TIMEOUT] = {"timeout-usec", "t"},
        [OPTION_EXPECTED_DURATION] = {"expected-duration-usec", "t"},
        [OPTION_NO_WAIT] = {"no-wait", "b"},
        [OPTION_ALLOW_MISSING_HOOK] = {"allow-missing-hook", "b"},
        [OPTION_CHANGE_ID] = {"change-id", "s"},
    };
    const char *change_id;

    if (!apmig_options_read(message, options, error) ||
        !read_on_busy(&options[OPTION_ON_BUSY], &take->request.on_busy, error) ||
        !apmig_option_is_duration(&options[OPTION_TIMEOUT], MAX_TIMEOUT_USEC, error) ||
        !apmig_option_is_duration(&options[OPTION_EXPECTED_DURATION], MAX_EXPECTED_DURATION_USEC, error))
        return FALSE;

    change_id = options[OPTION_CHANGE_ID].given ? options[OPTION_CHANGE_ID].text : "";
    if (options[OPTION_CHANGE_ID].given &&
        !apmig_text_is_presentable(change_id, APMIG_CHANGE_MAX_LENGTH, "Option \"change-id\"",
                                   APMIG_ERROR_INVALID_OPTION, error))
        return FALSE;

    take->change_id = g_strdup(change_id);
    take->request.timeout_usec = (gint64)options[OPTION_TIMEOUT].number;
    take->request.expected_duration_usec = (gint64)options[OPTION_EXPECTED_DURATION].number;
    take->request.no_wait = options[OPTION_NO_WAIT].flag;
    take->request.allow_missing_hook = options[OPTION_ALLOW_MISSING_HOOK].flag;
    return TRUE;
}

static Take *
take_read(sd_bus_message *message, GError **error)
{
    g_autoptr(Take) take = g_new0(Take, 1);
    const char *scope = NULL;
    const char *reason = NULL;
    int r = sd_bus_message_read(message, "ss", &scope, &reason);

    if (r < 0) {
        g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION, "The arguments cannot be read (%s).",
                    g_strerror(-r));
        return NULL;
    }

    take->request.scope = apmig_scope_parse(scope, error);
    if (!take->request.scope || !apmig_text_is_presentable(reason, APMIG_REASON_MAX_LENGTH, "The reason",
                                                           APMIG_ERROR_INVALID_REASON, error))
        return NULL;

    take->reason = g_strdup(reason);
    if (!take_read_options(take, message, error))
        return NULL;
    return g_steal_pointer(&take);
}

/* --- TakeLock: steps ---------------------------------------------------------------------------------- */

static void
on_taken(const char *id, const GError *error, gpointer user_data)
{
    ApmigCall *call = user_data;
    g_autofree char *path = g_strconcat(APMIG_BUS_LOCK_PREFIX "/", id, NULL);

    call->caller = 0;
    if (error)
        apmig_call_fail(call, error);
    else
        apmig_call_reply(call, "o", path);
}

static void
take_with_name(const char *name, gpointer user_data)
{
    ApmigCall *call = user_data;
    Take *take = call->data;

    take->request.reason = take->reason;
    take->request.change_id = take->change_id;
    take->request.uid = call->uid;
    take->request.user = name;
    take->request.requester = &call->requester;
    if (take->rehearse)
        call->caller =
            apmig_core_rehearse_lock(call->server->core, &take->request, apmig_rehearsal_answer, call);
    else
        call->caller = apmig_core_take_lock(call->server->core, &take->request, on_taken, call);
}

static void
take_authorized(ApmigCall *call, const GError *denied)
{
    if (denied)
        apmig_call_fail(call, denied);
    else
        apmig_call_look_up_name(call, take_with_name);
}

static void
take_identified(ApmigCall *call, const GError *denied)
{
    const Take *take = call->data;

    call->change_id = g_strdup(take->change_id);
    apmig_call_authorize(call, call->rule->action, take_authorized);
}

static int
start_take(ApmigServer *server, sd_bus_message *message, gboolean rehearse)
{
    g_autoptr(GError) error = NULL;
    Take *take = take_read(message, &error);

    if (!take)
        return apmig_reply_error(message, error);
    take->rehearse = rehearse;
    return apmig_call_start(server, message, take, take_free, take_identified);
}

int
apmig_method_take_lock(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    return start_take(user_data, message, FALSE);
}

int
apmig_method_rehearse_lock(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    return start_take(user_data, message, TRUE);
}
