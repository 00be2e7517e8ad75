/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* TakeLock, and RehearseLock, which does all of it but take: arguments first, then authorization, then the core. */
#include "server/private.h"

#include <gio/gio.h>
#include <string.h>

#define USEC_PER_DAY               (24 * 3600 * (guint64)G_USEC_PER_SEC)
#define MAX_TIMEOUT_USEC           (30 * USEC_PER_DAY)
#define MAX_EXPECTED_DURATION_USEC (3652 * USEC_PER_DAY)

/* --- arguments ---------------------------------------------------------------------------------------- */

enum {
    OPTION_ON_BUSY,
    OPTION_TIMEOUT,
    OPTION_EXPECTED_DURATION,
    OPTION_NO_WAIT,
    OPTION_ALLOW_MISSING_HOOK,
    OPTION_CHANGE_ID,
    OPTION_ONLY_NEW,
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
read_options(ApmigEvent *event, gboolean *ret_allow_missing_hook, sd_bus_message *message, GError **error)
{
    ApmigOption options[N_OPTIONS + 1] = {
        [OPTION_ON_BUSY] = {"on-busy", "s"},
        [OPTION_TIMEOUT] = {"timeout-usec", "t"},
        [OPTION_EXPECTED_DURATION] = {"expected-duration-usec", "t"},
        [OPTION_NO_WAIT] = {"no-wait", "b"},
        [OPTION_ALLOW_MISSING_HOOK] = {"allow-missing-hook", "b"},
        [OPTION_CHANGE_ID] = {"change-id", "s"},
        [OPTION_ONLY_NEW] = {"only-new", "b"},
    };
    const ApmigOption *change = &options[OPTION_CHANGE_ID];

    if (!apmig_options_read(message, options, error) ||
        !read_on_busy(&options[OPTION_ON_BUSY], &event->take.on_busy, error) ||
        !apmig_option_is_duration(&options[OPTION_TIMEOUT], MAX_TIMEOUT_USEC, error) ||
        !apmig_option_is_duration(&options[OPTION_EXPECTED_DURATION], MAX_EXPECTED_DURATION_USEC, error))
        return FALSE;
    event->take.change_id = change->given ? change->text : "";
    event->take.timeout_usec = (gint64)options[OPTION_TIMEOUT].number;
    event->take.expected_duration_usec = (gint64)options[OPTION_EXPECTED_DURATION].number;
    event->take.no_wait = options[OPTION_NO_WAIT].flag;
    event->take.only_new = options[OPTION_ONLY_NEW].flag;
    *ret_allow_missing_hook = options[OPTION_ALLOW_MISSING_HOOK].flag;
    return !change->given ||
           apmig_text_is_presentable(change->text, APMIG_CHANGE_MAX_LENGTH, "Option \"change-id\"",
                                     APMIG_ERROR_INVALID_OPTION, error);
}

/* What is not in the event itself. */
typedef struct {
    ApmigScope *scope;
    gboolean allow_missing_hook;
} Take;

static void
take_free(gpointer data)
{
    Take *take = data;

    apmig_scope_unref(take->scope);
    g_free(take);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Take, take_free)

static Take *
take_read(ApmigEvent *event, sd_bus_message *message, GError **error)
{
    g_autoptr(Take) take = g_new0(Take, 1);
    const char *scope = NULL;
    int r = sd_bus_message_read(message, "ss", &scope, &event->take.reason);

    if (r < 0) {
        g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION, "The arguments cannot be read (%s).",
                    g_strerror(-r));
        return NULL;
    }
    take->scope = event->take.scope = apmig_scope_parse(scope, error);
    if (!take->scope ||
        !apmig_text_is_presentable(event->take.reason, APMIG_REASON_MAX_LENGTH, "The reason",
                                   APMIG_ERROR_INVALID_REASON, error) ||
        !read_options(event, &take->allow_missing_hook, message, error))
        return NULL;
    return g_steal_pointer(&take);
}

/* --- steps -------------------------------------------------------------------------------------------- */

static void
taken(ApmigCall *call, const ApmigAction *reply)
{
    g_autofree char *path = g_strconcat(APMIG_BUS_LOCK_PREFIX "/", reply->reply.id, NULL);

    apmig_call_reply(call, "o", path);
}

static void
take_with_name(const char *name, gpointer user_data)
{
    ApmigCall *call = user_data;
    const Take *take = call->data;
    ApmigCore *core = call->server->core;
    g_autofree char *id = apmig_core_new_id(core);
    g_autofree char *problem = take->allow_missing_hook ? NULL : apmig_core_describe_hook_problem(core);

    call->event.take.id = id;
    call->event.take.uid = call->uid;
    call->event.take.user = name;
    call->event.take.hook_problem = problem;
    if (call->event.take.rehearse) {
        apmig_call_request(call, apmig_rehearsal_answered);
        return;
    }
    call->lock_id = g_strdup(id);
    apmig_call_log_request(call, call->request, NULL, "take lock %s of scope %s: \"%s\"", id,
                           apmig_scope_to_string(take->scope), call->event.take.reason);
    apmig_call_request(call, taken);
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
    call->change_id = g_strdup(call->event.take.change_id);
    apmig_call_authorize(call, call->rule->action, take_authorized);
}

static int
start_take(ApmigServer *server, sd_bus_message *message, gboolean rehearse)
{
    ApmigEvent event = {.type = APMIG_EVENT_TAKE,
                        .take = {.origin = APMIG_LOCK_BY_REQUEST, .rehearse = rehearse}};
    g_autoptr(GError) error = NULL;
    Take *take = take_read(&event, message, &error);

    if (!take)
        return apmig_reply_error(message, error);
    return apmig_call_start_request(server, message, &event, take, take_free, take_identified);
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
