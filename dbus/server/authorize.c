/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "server/authorize.h"
#include "names.h"

#include <gio/gio.h>
#include <string.h>

#define POLKIT_NAME      "org.freedesktop.PolicyKit1"
#define POLKIT_PATH      "/org/freedesktop/PolicyKit1/Authority"
#define POLKIT_INTERFACE "org.freedesktop.PolicyKit1.Authority"

#define POLKIT_ALLOW_USER_INTERACTION 1u

#define ANSWER_USEC   (10 * G_USEC_PER_SEC)
#define DIALOGUE_USEC (120 * G_USEC_PER_SEC) /* somebody types a password */

static const ApmigMethodRule method_rules[] = {
    {APMIG_BUS_MANAGER, "TakeLock", APMIG_ACCESS_POLKIT, .action = APMIG_ACTION_TAKE_LOCK, .request = "take"},
    {APMIG_BUS_MANAGER, "RehearseLock", APMIG_ACCESS_POLKIT, .action = APMIG_ACTION_TAKE_LOCK},
    {APMIG_BUS_MANAGER, "ReleaseLock", APMIG_ACCESS_POLKIT, .action = APMIG_ACTION_RELEASE_LOCK,
     .others_action = APMIG_ACTION_RELEASE_OTHERS_LOCK, .force_action = APMIG_ACTION_FORCE_RELEASE,
     .attest_action = APMIG_ACTION_DECLARE_KEYS, .request = "release"},
    {APMIG_BUS_MANAGER, "ListLocks", APMIG_ACCESS_FREE, .is_at_once = TRUE},
    {APMIG_BUS_MANAGER, "ListMigrations", APMIG_ACCESS_FREE, .is_at_once = TRUE},
    {APMIG_BUS_MANAGER, "AdmitMigration", APMIG_ACCESS_ROOT},
    {APMIG_BUS_MANAGER, "CheckGuest", APMIG_ACCESS_FREE},
    {APMIG_BUS_MANAGER, "DescribeGuest", APMIG_ACCESS_FREE},
    {APMIG_BUS_MANAGER, "CheckMigration", APMIG_ACCESS_FREE, .is_costly = TRUE},
    {APMIG_BUS_MANAGER, "ListGuests", APMIG_ACCESS_FREE},
    {APMIG_BUS_MANAGER, "RemoveStamps", APMIG_ACCESS_ROOT, .request = "unstamp"},
    {APMIG_BUS_MANAGER, "ListQueues", APMIG_ACCESS_FREE},
    {APMIG_BUS_MANAGER, "ListKeys", APMIG_ACCESS_FREE},
    {APMIG_BUS_MANAGER, "DeclareKeys", APMIG_ACCESS_POLKIT, .action = APMIG_ACTION_DECLARE_KEYS,
     .request = "declare"},
    {APMIG_BUS_MANAGER, "DescribePolicy", APMIG_ACCESS_FREE, .is_at_once = TRUE},
    {APMIG_BUS_MANAGER, "PermitMigration", APMIG_ACCESS_POLKIT, .action = APMIG_ACTION_PERMIT_MIGRATION,
     .request = "permit"},
    {APMIG_BUS_MANAGER, "RevokePermit", APMIG_ACCESS_POLKIT, .action = APMIG_ACTION_PERMIT_MIGRATION,
     .request = "revoke-permit"},
    {APMIG_BUS_MANAGER, "ListPermits", APMIG_ACCESS_FREE, .is_at_once = TRUE},
    {APMIG_BUS_LOCK, "Release", APMIG_ACCESS_POLKIT, .action = APMIG_ACTION_RELEASE_LOCK,
     .others_action = APMIG_ACTION_RELEASE_OTHERS_LOCK, .force_action = APMIG_ACTION_FORCE_RELEASE,
     .attest_action = APMIG_ACTION_DECLARE_KEYS, .request = "release"},
    {APMIG_BUS_LOCK, "TakeOver", APMIG_ACCESS_POLKIT, .action = APMIG_ACTION_TAKE_OVER_LOCK,
     .request = "take-over"},
    {APMIG_BUS_LOCK, "Extend", APMIG_ACCESS_POLKIT, .action = APMIG_ACTION_TAKE_LOCK,
     .others_action = APMIG_ACTION_RELEASE_OTHERS_LOCK, .request = "extend"},
    {APMIG_BUS_LOCK, "Annotate", APMIG_ACCESS_POLKIT, .action = APMIG_ACTION_TAKE_LOCK,
     .others_action = APMIG_ACTION_RELEASE_OTHERS_LOCK, .request = "annotate"},
    {APMIG_BUS_LOCK, "Check", APMIG_ACCESS_FREE},
    /* Those of every object. */
    {"org.freedesktop.DBus.Properties", "Get", APMIG_ACCESS_FREE, .is_at_once = TRUE},
    {"org.freedesktop.DBus.Properties", "GetAll", APMIG_ACCESS_FREE, .is_at_once = TRUE},
    {"org.freedesktop.DBus.ObjectManager", "GetManagedObjects", APMIG_ACCESS_FREE, .is_at_once = TRUE},
    {"org.freedesktop.DBus.Introspectable", "Introspect", APMIG_ACCESS_FREE, .is_at_once = TRUE},
};

const ApmigMethodRule *
apmig_method_rule(sd_bus_message *message)
{
    for (guint i = 0; i < G_N_ELEMENTS(method_rules); i++) {
        if (sd_bus_message_is_method_call(message, method_rules[i].interface, method_rules[i].member) > 0)
            return &method_rules[i];
    }
    return NULL;
}

struct ApmigAuthorization {
    sd_bus *bus;
    sd_bus_slot *slot;
    const char *action;
    char *cancellation_id;
    gboolean interactive;
    gboolean answered;
    ApmigPolkitState polkit_state;
    ApmigAuthorizationFunc func;
    gpointer user_data;
};

static GError *
error_of_refusal(const ApmigAuthorization *authorization, gboolean challenge)
{
    const char *why = "polkit does not allow it to you; call as root, or have a polkit rule allow it";

    if (challenge && authorization->interactive)
        why = "polkit got no authentication for it; call as root, or where an authentication agent runs";
    else if (challenge)
        why = "polkit wants an authentication, which this call does not allow; call as root, or allow "
              "interactive authorization";

    return g_error_new(G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED, "Not authorized for %s: %s.",
                       authorization->action, why);
}

static GError *
error_without_polkit(const ApmigAuthorization *authorization, const sd_bus_error *error)
{
    if (sd_bus_error_has_names(error, SD_BUS_ERROR_SERVICE_UNKNOWN, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
        return g_error_new(G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED,
                           "Not authorized for %s: only root may do this because polkit is not running.",
                           authorization->action);

    return g_error_new(G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED,
                       "Not authorized for %s: only root may do this because polkit did not answer (%s).",
                       authorization->action, error->message ? error->message : error->name);
}

/* Where polkit is installed the bus starts it, so that its absence is told by this one error (D-Bus specification). */
static ApmigPolkitState
state_after(const sd_bus_error *failure)
{
    if (!failure)
        return APMIG_POLKIT_ANSWERED;
    return sd_bus_error_has_name(failure, SD_BUS_ERROR_SERVICE_UNKNOWN) ? APMIG_POLKIT_ABSENT
                                                                        : APMIG_POLKIT_FAILED;
}

static int
on_polkit_answered(sd_bus_message *reply, void *user_data, sd_bus_error *ret_error)
{
    ApmigAuthorization *authorization = user_data;
    const sd_bus_error *failure = sd_bus_message_get_error(reply);
    int authorized = FALSE;
    int challenge = FALSE;
    g_autoptr(GError) denied = NULL;

    /* After a timeout the dialogue is still open: it is closed when the authorization is freed. */
    authorization->answered = !failure || !sd_bus_error_has_name(failure, SD_BUS_ERROR_NO_REPLY);
    authorization->polkit_state = state_after(failure);
    if (failure)
        denied = error_without_polkit(authorization, failure);
    else if (sd_bus_message_enter_container(reply, 'r', "bba{ss}") <= 0 ||
             sd_bus_message_read(reply, "bb", &authorized, &challenge) <= 0 || !authorized)
        denied = error_of_refusal(authorization, challenge);

    authorization->func(denied, authorization->user_data);
    return 1;
}

static int
append_details(sd_bus_message *question, const ApmigAuthorizationDetails *details)
{
    const char *const pairs[][2] = {{"scope", details->scope},
                                    {"lock", details->lock},
                                    {"owner", details->owner},
                                    {"guest", details->guest}};
    int r = sd_bus_message_open_container(question, 'a', "{ss}");

    for (guint i = 0; r >= 0 && i < G_N_ELEMENTS(pairs); i++)
        if (pairs[i][1])
            r = sd_bus_message_append(question, "{ss}", pairs[i][0], pairs[i][1]);
    return r < 0 ? r : sd_bus_message_close_container(question);
}

static int
ask_polkit(ApmigAuthorization *authorization, const char *sender, const ApmigAuthorizationDetails *details)
{
    g_autoptr(sd_bus_message) question = NULL;
    int r = sd_bus_message_new_method_call(authorization->bus, &question, POLKIT_NAME, POLKIT_PATH,
                                           POLKIT_INTERFACE, "CheckAuthorization");

    if (r >= 0)
        r = sd_bus_message_append(question, "(sa{sv})s", "system-bus-name", 1, "name", "s", sender,
                                  authorization->action);
    if (r >= 0)
        r = append_details(question, details);
    if (r >= 0)
        r = sd_bus_message_append(question, "us",
                                  authorization->interactive ? POLKIT_ALLOW_USER_INTERACTION : 0u,
                                  authorization->cancellation_id);
    if (r >= 0)
        r = sd_bus_call_async(authorization->bus, &authorization->slot, question, on_polkit_answered,
                              authorization, authorization->interactive ? DIALOGUE_USEC : ANSWER_USEC);
    return r;
}

ApmigAuthorization *
apmig_authorization_new(sd_bus_message *message, const char *action, const ApmigAuthorizationDetails *details,
                        ApmigAuthorizationFunc func, gpointer user_data, GError **error)
{
    ApmigAuthorization *authorization = g_new0(ApmigAuthorization, 1);
    const char *sender = sd_bus_message_get_sender(message);
    guint64 cookie = 0;
    int r;

    sd_bus_message_get_cookie(message, &cookie);
    authorization->bus = sd_bus_ref(sd_bus_message_get_bus(message));
    authorization->action = action;
    authorization->cancellation_id = g_strdup_printf("%s/%" G_GUINT64_FORMAT, sender ? sender : "", cookie);
    authorization->interactive = sd_bus_message_get_allow_interactive_authorization(message) > 0;
    authorization->func = func;
    authorization->user_data = user_data;

    r = sender ? ask_polkit(authorization, sender, details) : -ENXIO;
    if (r < 0) {
        authorization->answered = TRUE;
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED,
                    "Not authorized for %s: polkit cannot be asked (%s).", action, g_strerror(-r));
        apmig_authorization_free(authorization);
        return NULL;
    }
    return authorization;
}

ApmigPolkitState
apmig_authorization_polkit_state(const ApmigAuthorization *authorization)
{
    return authorization->polkit_state;
}

void
apmig_authorization_free(ApmigAuthorization *authorization)
{
    if (!authorization)
        return;

    if (!authorization->answered && sd_bus_is_open(authorization->bus) > 0)
        (void)sd_bus_call_method_async(authorization->bus, NULL, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE,
                                       "CancelCheckAuthorization", NULL, NULL, "s",
                                       authorization->cancellation_id);
    sd_bus_slot_unref(authorization->slot);
    sd_bus_unref(authorization->bus);
    g_free(authorization->cancellation_id);
    g_free(authorization);
}
