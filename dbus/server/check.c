/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* DescribeGuest and CheckMigration: what is asked before a guest moves, of its source and of its destination. */
#include "guest/xml.h"
#include "server/private.h"

#include <string.h>

/* What DescribeGuest gives has a stamp of APMIG_STAMP_MAX_BYTES at most. Anybody may ask, and reading it is work. */
#define CHECKED_XML_MAX_BYTES (512 * 1024)

#define FINDINGS_MAX 1000

/* --- DescribeGuest ------------------------------------------------------------------------------------ */

static void
on_described(const char *xml, const GError *error, gpointer user_data)
{
    ApmigCall *call = user_data;

    call->caller = 0;
    if (xml)
        apmig_call_reply(call, "s", xml);
    else
        apmig_call_fail(call, error);
}

static void
describe_identified(ApmigCall *call, const GError *denied)
{
    const char *guest = NULL;

    (void)sd_bus_message_rewind(call->message, TRUE);
    (void)sd_bus_message_read(call->message, "s", &guest);
    call->caller = apmig_core_describe_guest(call->server->core, guest, on_described, call);
}

int
apmig_method_describe_guest(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    g_autoptr(GError) error = NULL;
    const char *guest = NULL;
    int r = sd_bus_message_read(message, "s", &guest);

    if (r < 0)
        return r;
    if (!apmig_text_is_presentable(guest, APMIG_GUEST_NAME_MAX_BYTES, "The guest's name",
                                   APMIG_ERROR_INVALID_GUEST, &error))
        return apmig_reply_error(message, error);
    return apmig_call_start(user_data, message, NULL, NULL, describe_identified);
}

/* --- CheckMigration ----------------------------------------------------------------------------------- */

static int
append_finding(sd_bus_message *reply, const ApmigFinding *finding)
{
    g_autofree char *subject = apmig_bus_text(finding->subject);
    g_autofree char *source = apmig_bus_text(finding->source);
    g_autofree char *destination = apmig_bus_text(finding->destination);
    g_autofree char *remedy = apmig_bus_text(finding->remedy);

    return sd_bus_message_append(reply, "(ssssss)", apmig_severity_to_string(finding->severity), subject,
                                 finding->code, source, destination, remedy);
}

/* The weightiest first, so that what is cut off matters least. */
static int
append_findings(sd_bus_message *reply, const GPtrArray *findings)
{
    static const ApmigSeverity order[] = {APMIG_SEVERITY_ERROR, APMIG_SEVERITY_WARNING, APMIG_SEVERITY_NONE};
    guint n = 0;
    int r = sd_bus_message_open_container(reply, 'a', "(ssssss)");

    for (guint i = 0; i < G_N_ELEMENTS(order); i++) {
        for (guint j = 0; r >= 0 && j < findings->len && n < FINDINGS_MAX; j++) {
            const ApmigFinding *finding = g_ptr_array_index(findings, j);

            if (finding->severity != order[i])
                continue;
            r = append_finding(reply, finding);
            n++;
        }
    }
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static void
on_checked(const ApmigArrivalCheck *check, const GError *error, gpointer user_data)
{
    ApmigCall *call = user_data;
    g_autofree char *reason = apmig_bus_text(check ? check->refusal : NULL);
    g_autoptr(sd_bus_message) reply = NULL;
    int r;

    call->caller = 0;
    if (!check) {
        apmig_call_fail(call, error);
        return;
    }
    r = sd_bus_message_new_method_return(call->message, &reply);
    if (r >= 0)
        r = sd_bus_message_append(reply, "bs", (int)(!check->refusal), reason);
    if (r >= 0)
        r = append_findings(reply, check->findings);
    apmig_call_send(call, reply, r);
}

/* The hook lets in what is no guest of ours; whoever asks here is told that he asks about no guest at all. */
static void
check_read(ApmigCall *call, ApmigGuest *read, const GError *problem)
{
    g_autoptr(ApmigGuest) guest = read;
    g_autoptr(GError) error = problem ? g_error_copy(problem) : NULL;

    if (guest && !*guest->uuid)
        error = g_error_new_literal(
            APMIG_ERROR, APMIG_ERROR_INVALID_GUEST,
            "This is no domain XML with a UUID: give what DescribeGuest says on the source host.");
    if (error)
        apmig_call_fail(call, error);
    else
        call->caller =
            apmig_core_check_arrival(call->server->core, g_steal_pointer(&guest), on_checked, call);
}

static void
check_migration_identified(ApmigCall *call, const GError *denied)
{
    const char *xml = NULL;

    (void)sd_bus_message_rewind(call->message, TRUE);
    (void)sd_bus_message_read(call->message, "s", &xml);
    apmig_call_read_guest(call, xml, check_read);
}

/* What is too long is not kept until its caller is known. */
int
apmig_method_check_migration(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    g_autoptr(GError) error = NULL;
    const char *xml = NULL;
    int r = sd_bus_message_read(message, "s", &xml);

    if (r < 0)
        return r;
    if (strlen(xml) <= CHECKED_XML_MAX_BYTES)
        return apmig_call_start(user_data, message, NULL, NULL, check_migration_identified);
    g_set_error(&error, APMIG_ERROR, APMIG_ERROR_INVALID_GUEST,
                "The domain XML has more than %d bytes: give what DescribeGuest says on the source host.",
                CHECKED_XML_MAX_BYTES);
    return apmig_reply_error(message, error);
}
