/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ListQueues and ListKeys: dictionaries, so that more can be told later. */
#include "server/private.h"

#include "ap/find.h"
#include "ap/text.h"
#include "ap/use.h"

#include <string.h>

static void
fail_unread(ApmigCall *call, const char *problem)
{
    g_autoptr(GError) error = g_error_new(APMIG_ERROR, APMIG_ERROR_TIMEOUT, "%s: try again.", problem);

    apmig_call_fail(call, error);
}

/* --- dictionaries ------------------------------------------------------------------------------------ */

/* What is "" or NULL is not there. */
static int
append_string(sd_bus_message *reply, const char *key, const char *value)
{
    g_autofree char *text = apmig_bus_text(value);

    return *text ? sd_bus_message_append(reply, "{sv}", key, "s", text) : 0;
}

static int
append_known(sd_bus_message *reply, const char *key, ApmigKnown known)
{
    return known == APMIG_UNKNOWN ? 0
                                  : sd_bus_message_append(reply, "{sv}", key, "b", (int)(known == APMIG_YES));
}

static int
append_number(sd_bus_message *reply, guint adapter, guint domain)
{
    g_autofree char *name = apmig_ap_queue_name(adapter, domain);

    return sd_bus_message_append(reply, "{sv}{sv}{sv}", "queue", "s", name, "adapter", "u", adapter, "domain",
                                 "u", domain);
}

/* --- ListQueues -------------------------------------------------------------------------------------- */

static const ApmigGuestDevices *
find_guest(const GPtrArray *guests, const ApmigApDevice *device)
{
    for (guint i = 0; device && guests && i < guests->len; i++) {
        const ApmigGuestDevices *guest = g_ptr_array_index(guests, i);

        if (g_strv_contains((const char *const *)guest->devices, device->uuid))
            return guest;
    }
    return NULL;
}

static int
append_use(sd_bus_message *reply, const ApmigApHost *host, const ApmigApQueue *queue, const GPtrArray *guests)
{
    const ApmigApDevice *device = apmig_ap_find_device_with(host, queue);
    const ApmigGuestDevices *guest = find_guest(guests, device);
    int r = append_string(reply, "status", apmig_ap_status_to_string(queue->status));

    if (r >= 0 && device)
        r = append_string(reply, "device", device->uuid);
    if (r >= 0 && guest)
        r = append_string(reply, "guest", guest->uuid);
    if (r >= 0 && guest)
        r = append_string(reply, "guest-name", guest->name);
    return r < 0 ? r : sd_bus_message_append(reply, "{sv}", "guest-known", "b", (int)(guests != NULL));
}

static int
append_card(sd_bus_message *reply, const ApmigApHost *host, const ApmigApQueue *queue)
{
    const ApmigApCard *card = apmig_ap_find_card(host, queue->adapter);
    const char *mode = apmig_ap_mode_to_string(apmig_ap_find_mode(host, queue->adapter));
    int r = sd_bus_message_append(reply, "{sv}{sv}", "driver", "s", queue->driver, "mode", "s", mode);

    if (r >= 0)
        r = append_string(reply, "type", card ? card->type : "");
    return r < 0 ? r : append_string(reply, "serial", card ? card->serial : "");
}

static int
append_queue(sd_bus_message *reply, const ApmigApHost *host, const ApmigApQueue *queue,
             const GPtrArray *guests)
{
    int r = sd_bus_message_open_container(reply, 'a', "{sv}");

    if (r >= 0)
        r = append_number(reply, queue->adapter, queue->domain);
    if (r >= 0)
        r = append_card(reply, host, queue);
    if (r >= 0)
        r = append_known(reply, "online", queue->online);
    if (r >= 0)
        r = append_known(reply, "config", queue->config);
    if (r >= 0)
        r = append_known(reply, "chkstop", queue->chkstop);
    if (r >= 0)
        r = append_use(reply, host, queue, guests);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static void
on_queues(const ApmigApHost *host, const GPtrArray *guests, const char *problem, gpointer user_data)
{
    ApmigCall *call = user_data;
    g_autoptr(sd_bus_message) reply = NULL;
    int r;

    call->caller = 0;
    if (!host) {
        fail_unread(call, problem);
        return;
    }
    r = sd_bus_message_new_method_return(call->message, &reply);
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'a', "a{sv}");
    for (guint i = 0; r >= 0 && i < host->queues->len; i++)
        r = append_queue(reply, host, g_ptr_array_index(host->queues, i), guests);
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    apmig_call_send(call, reply, r);
}

static void
list_queues_identified(ApmigCall *call, const GError *denied)
{
    call->caller = apmig_core_list_queues(call->server->core, on_queues, call);
}

int
apmig_method_list_queues(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    return apmig_call_start(user_data, message, NULL, NULL, list_queues_identified);
}

/* --- ListKeys ---------------------------------------------------------------------------------------- */

typedef struct {
    ApmigScope *scope;
    gboolean fresh;
} KeyQuestion;

static void
key_question_free(gpointer data)
{
    KeyQuestion *question = data;

    apmig_scope_unref(question->scope);
    g_free(question);
}

typedef struct {
    sd_bus_message *reply;
    const ApmigApHost *host;
    const ApmigEvidence *evidence;
    GPtrArray *records; /* of ApmigEvidenceRecord: all of the evidence */
} Answer;

static int
append_register(const Answer *answer, const char *name, const ApmigKeyRegister *reg)
{
    g_autofree char *state_name = g_strconcat(name, "-state", NULL);
    g_autofree char *pattern = reg->length > 0 ? apmig_key_pattern_to_string(reg) : NULL;
    int r = append_string(answer->reply, state_name, apmig_key_state_to_string(reg->state));

    return r < 0 ? r : append_string(answer->reply, name, pattern);
}

static int
append_origin(const Answer *answer, const ApmigEvidenceRecord *record)
{
    g_autofree char *before = record->before.length > 0 ? apmig_key_pattern_to_string(&record->before) : NULL;
    int r = append_string(answer->reply, "source", record->source);

    if (r >= 0 && record->evidence == APMIG_EVIDENCE_DECLARED)
        r = sd_bus_message_append(answer->reply, "{sv}", "uid", "u", record->uid);
    if (r >= 0)
        r = append_string(answer->reply, "before", before);
    return r < 0 ? r : sd_bus_message_append(answer->reply, "{sv}", "time", "t", (guint64)record->at);
}

/* @record: (nullable) */
static int
append_record(const Answer *answer, const ApmigApQueue *queue, const ApmigEvidenceRecord *record)
{
    static const ApmigEvidenceRecord unknown;
    const ApmigEvidenceRecord *shown = record ? record : &unknown;
    int r = append_string(answer->reply, "evidence", apmig_evidence_class_to_string(shown->evidence));

    if (r >= 0 && record)
        r = append_origin(answer, record);
    if (r >= 0)
        r = append_register(answer, "new", &shown->registers[APMIG_REGISTER_NEW]);
    if (r >= 0)
        r = append_register(answer, "cur", &shown->registers[APMIG_REGISTER_CUR]);
    if (r >= 0)
        r = append_register(answer, "old", &shown->registers[APMIG_REGISTER_OLD]);
    if (r >= 0)
        r = sd_bus_message_append(answer->reply, "{sv}", "pending", "b",
                                  (int)apmig_key_register_is_pending(&shown->registers[APMIG_REGISTER_NEW]));
    if (r >= 0 && !record)
        r = append_string(answer->reply, "explanation",
                          apmig_evidence_explain_unknown(answer->host, queue->adapter, queue->domain));
    return r;
}

/* What was said of the key, and the card said otherwise. */
static int
append_contradicted(const Answer *answer, const ApmigApQueue *queue, ApmigKeyClass key_class)
{
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
    int r;

    for (guint i = 0; i < answer->records->len; i++) {
        const ApmigEvidenceRecord *record = g_ptr_array_index(answer->records, i);
        g_autofree char *origin = NULL;
        g_autofree char *pattern = NULL;

        if (!record->contradicted || record->adapter != queue->adapter || record->domain != queue->domain ||
            record->key_class != key_class)
            continue;
        origin = apmig_evidence_record_describe(record);
        pattern = apmig_key_pattern_to_string(&record->registers[APMIG_REGISTER_CUR]);
        g_ptr_array_add(texts, g_strdup_printf("%s, %s", pattern, origin));
    }
    if (texts->len == 0)
        return 0;
    g_ptr_array_add(texts, NULL);
    r = sd_bus_message_open_container(answer->reply, 'e', "sv");
    if (r >= 0)
        r = sd_bus_message_append(answer->reply, "s", "contradicted");
    if (r >= 0)
        r = sd_bus_message_open_container(answer->reply, 'v', "as");
    if (r >= 0)
        r = sd_bus_message_append_strv(answer->reply, (char **)texts->pdata);
    if (r >= 0)
        r = sd_bus_message_close_container(answer->reply);
    return r < 0 ? r : sd_bus_message_close_container(answer->reply);
}

/* @key_class: APMIG_N_KEY_CLASSES: none */
static int
append_key(const Answer *answer, const ApmigApQueue *queue, guint key_class)
{
    gboolean has_class = key_class < APMIG_N_KEY_CLASSES;
    const ApmigEvidenceRecord *record =
        has_class
            ? apmig_evidence_lookup(answer->evidence, queue->adapter, queue->domain, (ApmigKeyClass)key_class)
            : NULL;
    const char *name = has_class ? apmig_key_class_to_string((ApmigKeyClass)key_class) : "";
    int r = sd_bus_message_open_container(answer->reply, 'a', "{sv}");

    if (r >= 0)
        r = append_number(answer->reply, queue->adapter, queue->domain);
    if (r >= 0)
        r = sd_bus_message_append(answer->reply, "{sv}", "class", "s", name);
    if (r >= 0)
        r = append_record(answer, queue, record);
    if (r >= 0 && has_class)
        r = append_contradicted(answer, queue, (ApmigKeyClass)key_class);
    return r < 0 ? r : sd_bus_message_close_container(answer->reply);
}

/* In an unknown mode a queue may have keys of any class: those are told of which something is known. */
static int
append_keys(const Answer *answer, const ApmigApQueue *queue)
{
    ApmigApMode mode = apmig_ap_find_mode(answer->host, queue->adapter);
    guint n = 0;
    int r = 0;

    for (guint i = 0; r >= 0 && i < APMIG_N_KEY_CLASSES; i++) {
        if (!apmig_key_mode_has_class(mode, (ApmigKeyClass)i) ||
            (mode == APMIG_AP_MODE_UNKNOWN &&
             !apmig_evidence_lookup(answer->evidence, queue->adapter, queue->domain, (ApmigKeyClass)i)))
            continue;
        n++;
        r = append_key(answer, queue, i);
    }
    return r < 0 || n > 0 ? r : append_key(answer, queue, APMIG_N_KEY_CLASSES);
}

static void
on_keys(const ApmigApHost *host, const GPtrArray *readings, const ApmigEvidence *evidence,
        const char *problem, gpointer user_data)
{
    ApmigCall *call = user_data;
    const KeyQuestion *question = call->data;
    g_autoptr(sd_bus_message) reply = NULL;
    g_autoptr(GPtrArray) records = NULL;
    int r;

    call->caller = 0;
    if (!host) {
        fail_unread(call, problem);
        return;
    }
    records = apmig_evidence_list(evidence);
    r = sd_bus_message_new_method_return(call->message, &reply);
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'a', "a{sv}");
    for (guint i = 0; r >= 0 && i < host->queues->len; i++) {
        const ApmigApQueue *queue = g_ptr_array_index(host->queues, i);

        if (apmig_scope_contains(question->scope, queue->adapter, queue->domain))
            r = append_keys(&(Answer){reply, host, evidence, records}, queue);
    }
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    apmig_call_send(call, reply, r);
}

static void
list_keys_identified(ApmigCall *call, const GError *denied)
{
    const KeyQuestion *question = call->data;

    call->caller =
        apmig_core_read_keys(call->server->core, question->scope, question->fresh, on_keys, call);
}

int
apmig_method_list_keys(sd_bus_message *message, void *user_data, sd_bus_error *ret_error)
{
    ApmigOption options[] = {{"fresh", "b"}, {NULL}};
    g_autoptr(ApmigScope) scope = NULL;
    g_autoptr(GError) error = NULL;
    const char *text = NULL;
    KeyQuestion *question;
    int r = sd_bus_message_read(message, "s", &text);

    if (r < 0)
        return r;
    scope = apmig_scope_parse(text, &error);
    if (!scope || !apmig_options_read(message, options, &error))
        return apmig_reply_error(message, error);
    question = g_new0(KeyQuestion, 1);
    question->scope = g_steal_pointer(&scope);
    question->fresh = options[0].flag;
    return apmig_call_start(user_data, message, question, key_question_free, list_keys_identified);
}
