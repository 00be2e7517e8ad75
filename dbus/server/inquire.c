/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Questions that a reading answers which begins with them: Lock.Check, and what RehearseLock found. */
#include "server/private.h"

#define DEFAULT_LIMIT_USEC (10 * G_USEC_PER_SEC)
#define MAX_LIMIT_USEC     (5 * 60 * (guint64)G_USEC_PER_SEC)

/* --- Lock.Check --------------------------------------------------------------------------------------- */

/* A lock stands although the hook was taken away since: who asks has to know. */
static int
append_warning(sd_bus_message *reply, const ApmigCore *core)
{
    g_autofree char *problem = apmig_core_describe_hook_problem(core);
    g_autofree char *text =
        problem ? g_strdup_printf("nothing keeps incoming migrations out: %s", problem) : NULL;
    g_autofree char *valid = apmig_bus_text(text);

    return problem ? sd_bus_message_append(reply, "{sv}", "warning", "s", valid) : 0;
}

static int
append_verdict(sd_bus_message *reply, const ApmigReply *verdict, const ApmigCore *core)
{
    g_autofree char *reason = apmig_bus_text(verdict->message);
    int r = sd_bus_message_open_container(reply, 'a', "{sv}");

    if (r >= 0)
        r = sd_bus_message_append(reply, "{sv}{sv}{sv}", "ready", "b", (int)verdict->allowed, "reason", "s",
                                  reason, "read-at", "t", (guint64)verdict->read_at);
    if (r >= 0)
        r = append_warning(reply, core);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static void
checked(ApmigCall *call, const ApmigAction *verdict)
{
    g_autoptr(sd_bus_message) reply = NULL;
    int r = sd_bus_message_new_method_return(call->message, &reply);

    if (r >= 0)
        r = append_verdict(reply, &verdict->reply, call->server->core);
    apmig_call_send(call, reply, r);
}

static void
check_identified(ApmigCall *call, const GError *denied)
{
    apmig_call_request(call, checked);
}

int
apmig_check_lock(ApmigServer *server, sd_bus_message *message)
{
    ApmigOption options[] = {{"timeout-usec", "t"}, {NULL}};
    ApmigEvent event = {.type = APMIG_EVENT_CHECK, .check.id = apmig_message_lock_id(message)};
    g_autoptr(GError) error = NULL;

    if (!apmig_options_read(message, options, &error) ||
        !apmig_option_is_duration(&options[0], MAX_LIMIT_USEC, &error) ||
        !apmig_server_find_living_lock(server, event.check.id, &error))
        return apmig_reply_error(message, error);
    event.check.limit_usec = options[0].given ? (gint64)options[0].number : DEFAULT_LIMIT_USEC;
    return apmig_call_start_request(server, message, &event, NULL, NULL, check_identified);
}

/* --- RehearseLock ------------------------------------------------------------------------------------- */

static int
append_steps(sd_bus_message *reply, const ApmigRehearsed *finding)
{
    const char *steps[APMIG_POLICY_MAX_STEPS + 1] = {NULL};
    int r = sd_bus_message_open_container(reply, 'e', "sv");

    for (guint i = 0; i < finding->n_steps; i++)
        steps[i] = apmig_step_to_string(finding->steps[i]);
    if (r >= 0)
        r = sd_bus_message_append(reply, "s", "steps");
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'v', "as");
    if (r >= 0)
        r = sd_bus_message_append_strv(reply, (char **)steps);
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int
append_finding(sd_bus_message *reply, const ApmigRehearsed *finding)
{
    g_autofree char *path = g_strconcat(APMIG_BUS_MIGRATION_PREFIX "/", finding->migration_id, NULL);
    g_autofree char *guest = apmig_bus_text(finding->guest);
    g_autofree char *why = apmig_bus_text(finding->why);
    int r = sd_bus_message_open_container(reply, 'a', "{sv}");

    if (r >= 0)
        r = sd_bus_message_append(reply, "{sv}{sv}{sv}{sv}{sv}{sv}", "migration", "o", path, "guest", "s",
                                  guest, "uuid", "s", finding->uuid, "direction", "s",
                                  finding->outgoing ? "out" : "in", "treatment", "s",
                                  apmig_treatment_to_string(finding->treatment), "explanation", "s", why);
    if (r >= 0)
        r = append_steps(reply, finding);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int
append_rehearsal(sd_bus_message *reply, const ApmigReply *verdict)
{
    g_autofree char *reason = apmig_bus_text(verdict->message);
    int r = sd_bus_message_append(reply, "bs", (int)verdict->allowed, reason);

    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'a', "a{sv}");
    for (guint i = 0; r >= 0 && verdict->findings && i < verdict->findings->len; i++)
        r = append_finding(reply, g_ptr_array_index(verdict->findings, i));
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

void
apmig_rehearsal_answered(ApmigCall *call, const ApmigAction *verdict)
{
    g_autoptr(sd_bus_message) reply = NULL;
    int r = sd_bus_message_new_method_return(call->message, &reply);

    if (r >= 0)
        r = append_rehearsal(reply, &verdict->reply);
    apmig_call_send(call, reply, r);
}
