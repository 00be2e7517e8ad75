/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "scripted-private.h"

#include <string.h>

#define PREFIX  "scripted:"
#define NO_VIEW "there is no connection to the hypervisor"

typedef struct Pending Pending;
struct Pending {
    ScriptedHypervisor *hypervisor;
    const char *kind; /* "list", "query", "step", "look-up", "devices", "stamp", "effect" */
    guint source;     /* 0: withheld */
    guint64 number;   /* token or op */
    char *uuid;       /* or what is looked up; (nullable) */
    gboolean want_facts;
    JsonObject *snapshot; /* (nullable): the guests when it was asked */
    char *error;          /* (nullable): what is answered instead */
    ApmigStepOutcome outcome;
    ApmigGuestFactsFunc func;
    ApmigStampsRemovedFunc removed;
    ApmigGuestDevicesFunc devices_func;
    ApmigGuestDescribedFunc described_func;
    ApmigStampOrder *order;
    gpointer user_data;
    void (*give)(Pending *pending);
};

/* --- guests -------------------------------------------------------------------------------------- */

static JsonObject *
find_guest(JsonObject *guests, const char *uuid)
{
    return json_object_has_member(guests, uuid) ? json_object_get_object_member(guests, uuid) : NULL;
}

/* Returns: the object that has the member: the guest, else the defaults; NULL: neither. */
static JsonObject *
holder(const ScriptedHypervisor *self, JsonObject *guest, const char *member)
{
    if (guest != NULL && json_object_has_member(guest, member))
        return guest;
    return json_object_has_member(self->defaults, member) ? self->defaults : NULL;
}

static const char *
get_string(const ScriptedHypervisor *self, JsonObject *guest, const char *member, const char *fallback)
{
    JsonObject *object = holder(self, guest, member);
    return object != NULL ? json_object_get_string_member(object, member) : fallback;
}

static gint64
get_int(const ScriptedHypervisor *self, JsonObject *guest, const char *member)
{
    JsonObject *object = holder(self, guest, member);
    return object != NULL ? json_object_get_int_member(object, member) : 0;
}

static gboolean
get_boolean(const ScriptedHypervisor *self, JsonObject *guest, const char *member, gboolean fallback)
{
    JsonObject *object = holder(self, guest, member);
    return object != NULL ? json_object_get_boolean_member(object, member) : fallback;
}

static gboolean
is_active(const ScriptedHypervisor *self, JsonObject *guest)
{
    return guest != NULL && get_boolean(self, guest, "active", TRUE);
}

static ApmigJob
get_job(const ScriptedHypervisor *self, JsonObject *guest)
{
    const char *job = get_string(self, guest, "job", "none");

    if (!is_active(self, guest))
        return APMIG_JOB_GONE;
    if (g_str_equal(job, "outgoing"))
        return APMIG_JOB_OUTGOING;
    if (g_str_equal(job, "incoming"))
        return APMIG_JOB_INCOMING;
    if (g_str_equal(job, "other"))
        return APMIG_JOB_OTHER;
    return g_str_equal(job, "unknown") ? APMIG_JOB_UNKNOWN : APMIG_JOB_NONE;
}

void
apmig_scripted_tell(const ScriptedHypervisor *self, const ApmigEvent *event)
{
    self->callbacks.told(event, self->user_data);
}

static void
get_facts(const ScriptedHypervisor *self, JsonObject *guest, ApmigGuestFacts *ret_facts)
{
    const char *affected = get_string(self, guest, "affected", "no");
    JsonObject *with_devices = holder(self, guest, "devices");
    JsonArray *array = with_devices != NULL ? json_object_get_array_member(with_devices, "devices") : NULL;
    guint n_devices = array != NULL ? json_array_get_length(array) : 0;
    const char **devices = g_new0(const char *, n_devices + 1);

    for (guint i = 0; i < n_devices; i++)
        devices[i] = json_array_get_string_element(array, i);
    ret_facts->devices = devices;
    ret_facts->affected = APMIG_AFFECTED_NO;
    ret_facts->scope = NULL;
    if (g_str_equal(affected, "unknown"))
        ret_facts->affected = APMIG_AFFECTED_UNKNOWN;
    if (g_str_equal(affected, "yes")) {
        ret_facts->affected = APMIG_AFFECTED_YES;
        ret_facts->scope = apmig_scope_parse(get_string(self, guest, "scope", "all"), NULL);
    }
}

static void
clear_facts(ApmigGuestFacts *facts)
{
    g_clear_pointer(&facts->scope, apmig_scope_unref);
    g_free((gpointer)facts->devices);
}

static JsonObject *
copy_guests(JsonObject *guests)
{
    g_autoptr(JsonNode) node = json_node_alloc();
    g_autoptr(JsonNode) copy = NULL;
    g_autofree char *text = NULL;

    json_node_init_object(node, guests);
    text = json_to_string(node, FALSE);
    copy = json_from_string(text, NULL);
    return json_node_dup_object(copy);
}

/* --- answers and effects to come ----------------------------------------------------------------- */

static void
pending_free(Pending *pending)
{
    if (pending->source != 0)
        g_source_remove(pending->source);
    g_clear_pointer(&pending->snapshot, json_object_unref);
    apmig_stamp_order_free(pending->order);
    g_free(pending->error);
    g_free(pending->uuid);
    g_free(pending);
}

static void
give(Pending *pending)
{
    ScriptedHypervisor *self = pending->hypervisor;

    self->pending = g_list_remove(self->pending, pending);
    pending->give(pending);
    pending_free(pending);
}

static gboolean
on_due(gpointer user_data)
{
    Pending *pending = user_data;

    pending->source = 0;
    give(pending);
    return G_SOURCE_REMOVE;
}

static Pending *
pending_new(ScriptedHypervisor *self, const char *kind, void (*func)(Pending *), guint64 number,
            const char *uuid)
{
    Pending *pending = g_new0(Pending, 1);

    pending->hypervisor = self;
    pending->kind = kind;
    pending->give = func;
    pending->number = number;
    pending->uuid = g_strdup(uuid);
    self->pending = g_list_append(self->pending, pending);
    return pending;
}

/* @delay_ms: -1: until released */
static void
schedule(Pending *pending, gint64 delay_ms)
{
    if (delay_ms >= 0)
        pending->source = g_timeout_add_full(G_PRIORITY_DEFAULT, delay_ms, on_due, pending, NULL);
}

/* Schedules an answer as @guest (NULL: the defaults) says by the member @delay. */
static void
schedule_answer(Pending *pending, JsonObject *guest, const char *delay)
{
    ScriptedHypervisor *self = pending->hypervisor;

    if (!self->connected) {
        g_free(pending->error);
        pending->error = g_strdup(NO_VIEW);
        schedule(pending, 0);
        return;
    }
    if (g_str_equal(get_string(self, guest, "as-of", "answer"), "question"))
        pending->snapshot = copy_guests(self->guests);
    schedule(pending, get_int(self, guest, delay));
}

static JsonObject *
told_guests(const Pending *pending)
{
    return pending->snapshot != NULL ? pending->snapshot : pending->hypervisor->guests;
}

static void
log_call(ScriptedHypervisor *self, JsonObject *call, const char *kind)
{
    json_object_set_string_member(call, "call", kind);
    json_object_set_int_member(call, "at-ms", (g_get_monotonic_time() - self->started_at) / 1000);
    json_array_add_object_element(self->calls, call);
}

/* --- the vtable ---------------------------------------------------------------------------------- */

static void
give_list(Pending *pending)
{
    ScriptedHypervisor *self = pending->hypervisor;
    g_autoptr(GArray) names = g_array_new(FALSE, FALSE, sizeof(ApmigGuestName));
    g_autoptr(GList) uuids = json_object_get_members(told_guests(pending));

    for (GList *l = uuids; l != NULL; l = l->next) {
        JsonObject *guest = find_guest(told_guests(pending), l->data);
        ApmigGuestName name = {.uuid = l->data, .name = get_string(self, guest, "name", l->data)};

        if (is_active(self, guest))
            g_array_append_val(names, name);
    }
    if (pending->error != NULL)
        apmig_scripted_tell(self, &(ApmigEvent){.type = APMIG_EVENT_GUESTS_LISTED,
                                                .listed = {pending->number, pending->error, NULL, 0}});
    else
        apmig_scripted_tell(self, &(ApmigEvent){.type = APMIG_EVENT_GUESTS_LISTED,
                                                .listed = {pending->number, NULL,
                                                           (const ApmigGuestName *)names->data, names->len}});
}

static void
list_guests(ApmigHypervisor *vtable, guint64 token)
{
    ScriptedHypervisor *self = (ScriptedHypervisor *)vtable;
    Pending *pending = pending_new(self, "list", give_list, token, NULL);
    JsonObject *call = json_object_new();

    json_object_set_int_member(call, "token", token);
    log_call(self, call, "list");
    if (g_str_equal(get_string(self, NULL, "list", "answer"), "fail"))
        pending->error = g_strdup("the list was told to fail");
    schedule_answer(pending, NULL, "list-ms");
}

static void
give_answer(Pending *pending)
{
    ScriptedHypervisor *self = pending->hypervisor;
    JsonObject *guest = find_guest(told_guests(pending), pending->uuid);
    ApmigEvent event = {.type = APMIG_EVENT_GUEST_ANSWERED};
    ApmigGuestFacts facts = {0};

    event.answered.token = pending->number;
    event.answered.uuid = pending->uuid;
    event.answered.job = pending->error != NULL ? APMIG_JOB_UNKNOWN : get_job(self, guest);
    event.answered.error = pending->error;
    if (event.answered.job == APMIG_JOB_UNKNOWN && pending->error == NULL)
        event.answered.error = "the job was told to be unknown";
    if (event.answered.job == APMIG_JOB_OUTGOING || event.answered.job == APMIG_JOB_INCOMING) {
        event.answered.postcopy = get_boolean(self, guest, "postcopy", FALSE);
        event.answered.progress.data_total = get_int(self, guest, "data-total");
        event.answered.progress.data_processed = get_int(self, guest, "data-processed");
        event.answered.progress.data_remaining = get_int(self, guest, "data-remaining");
        event.answered.progress.elapsed_usec = get_int(self, guest, "elapsed-usec");
    }
    if (pending->want_facts && event.answered.job != APMIG_JOB_UNKNOWN &&
        event.answered.job != APMIG_JOB_GONE && event.answered.job != APMIG_JOB_INCOMING) {
        get_facts(self, guest, &facts);
        event.answered.facts_read = facts.affected != APMIG_AFFECTED_UNKNOWN;
        event.answered.facts = facts;
    }
    apmig_scripted_tell(self, &event);
    clear_facts(&facts);
}

static void
query_guest(ApmigHypervisor *vtable, guint64 token, const char *uuid, gboolean want_facts)
{
    ScriptedHypervisor *self = (ScriptedHypervisor *)vtable;
    Pending *pending = pending_new(self, "query", give_answer, token, uuid);
    JsonObject *guest = find_guest(self->guests, uuid);
    JsonObject *call = json_object_new();

    json_object_set_int_member(call, "token", token);
    json_object_set_string_member(call, "uuid", uuid);
    json_object_set_boolean_member(call, "facts", want_facts);
    log_call(self, call, "query");
    pending->want_facts = want_facts;
    if (g_str_equal(get_string(self, guest, "query", "answer"), "fail"))
        pending->error = g_strdup("the query was told to fail");
    schedule_answer(pending, guest, "query-ms");
}

static void
give_heartbeat(Pending *pending)
{
    apmig_scripted_tell(pending->hypervisor, &(ApmigEvent){.type = APMIG_EVENT_HEARTBEAT_ANSWERED,
                                                           .heartbeat = {pending->number, pending->error}});
}

static void
heartbeat(ApmigHypervisor *vtable, guint64 token, const char *uuid)
{
    ScriptedHypervisor *self = (ScriptedHypervisor *)vtable;
    Pending *pending = pending_new(self, "heartbeat", give_heartbeat, token, uuid);

    if (g_str_equal(get_string(self, NULL, "heartbeat", "answer"), "fail"))
        pending->error = g_strdup("the heartbeat was told to fail");
    schedule_answer(pending, NULL, "heartbeat-ms");
}

static void
end_job(Pending *pending)
{
    JsonObject *guest = find_guest(pending->hypervisor->guests, pending->uuid);

    if (guest == NULL)
        return;
    json_object_set_string_member(guest, "job", "none");
    json_object_set_boolean_member(guest, "postcopy", FALSE);
}

static void
complete_migration(Pending *pending)
{
    ScriptedHypervisor *self = pending->hypervisor;

    json_object_remove_member(self->guests, pending->uuid);
    if (!self->connected)
        return;
    apmig_scripted_tell(self, &(ApmigEvent){.type = APMIG_EVENT_GUEST_NEWS,
                                            .news = {pending->uuid, NULL, APMIG_NEWS_STOPPED_MIGRATED}});
}

static void
give_step(Pending *pending)
{
    static const char *const messages[] = {
        [APMIG_STEP_REQUESTED] = "the hypervisor said yes",
        [APMIG_STEP_NO_JOB] = "the guest has no outgoing migration",
        [APMIG_STEP_NOT_ABORTABLE] = "the migration is past the point where it can be ended",
        [APMIG_STEP_FAILED] = "the step was told to fail",
    };
    const ScriptedHypervisor *self = pending->hypervisor;

    if (pending->error != NULL)
        apmig_scripted_tell(self,
                            &(ApmigEvent){.type = APMIG_EVENT_STEP_FINISHED,
                                          .step = {pending->number, APMIG_STEP_FAILED, pending->error}});
    else
        apmig_scripted_tell(
            self, &(ApmigEvent){.type = APMIG_EVENT_STEP_FINISHED,
                                .step = {pending->number, pending->outcome, messages[pending->outcome]}});
}

/* Has the step do what it was told to. Returns: what it says. */
static ApmigStepOutcome
carry_out_step(ScriptedHypervisor *self, JsonObject *guest, const char *uuid)
{
    const char *mode = get_string(self, guest, "step", "ends");

    if (get_job(self, guest) != APMIG_JOB_OUTGOING)
        return APMIG_STEP_NO_JOB;
    if (get_boolean(self, guest, "postcopy", FALSE) || g_str_equal(mode, "not-abortable"))
        return APMIG_STEP_NOT_ABORTABLE;
    if (g_str_equal(mode, "refuses"))
        return APMIG_STEP_FAILED;
    if (g_str_equal(mode, "ends"))
        schedule(pending_new(self, "effect", end_job, 0, uuid), get_int(self, guest, "step-ms"));
    if (g_str_equal(mode, "completes"))
        schedule(pending_new(self, "effect", complete_migration, 0, uuid), get_int(self, guest, "step-ms"));
    return APMIG_STEP_REQUESTED;
}

static void
run_step(ApmigHypervisor *vtable, guint64 op, ApmigStep step, const char *uuid)
{
    ScriptedHypervisor *self = (ScriptedHypervisor *)vtable;
    Pending *pending = pending_new(self, "step", give_step, op, uuid);
    JsonObject *guest = find_guest(self->guests, uuid);
    JsonObject *call = json_object_new();

    json_object_set_int_member(call, "op", op);
    json_object_set_string_member(call, "uuid", uuid);
    json_object_set_string_member(call, "step", step == APMIG_STEP_LIBVIRT_ABORT ? "libvirt-abort" : "?");
    log_call(self, call, "step");
    if (self->connected)
        pending->outcome = carry_out_step(self, guest, uuid);
    schedule_answer(pending, guest, "step-answer-ms");
}

/* Guests have no metadata here: what is to be written is known by its answer alone. */
static void
give_stamp(Pending *pending)
{
    ScriptedHypervisor *self = pending->hypervisor;

    if (self->connected)
        apmig_scripted_tell(self, &(ApmigEvent){.type = APMIG_EVENT_STAMP_FINISHED,
                                                .stamping = {pending->number, APMIG_STAMPING_DONE, NULL}});
}

static void
stamp_guest(ApmigHypervisor *vtable, guint64 op, const char *uuid, ApmigStampOrder *order)
{
    ScriptedHypervisor *self = (ScriptedHypervisor *)vtable;

    schedule(pending_new(self, "stamp", give_stamp, op, uuid), 0);
    apmig_stamp_order_free(order);
}

static void
give_removed(Pending *pending)
{
    pending->removed(0, NULL, pending->user_data);
}

static void
remove_stamps(ApmigHypervisor *vtable, const char *guest, ApmigStampsRemovedFunc func, gpointer user_data)
{
    ScriptedHypervisor *self = (ScriptedHypervisor *)vtable;
    Pending *pending = pending_new(self, "stamp", give_removed, 0, guest);

    pending->removed = func;
    pending->user_data = user_data;
    schedule(pending, 0);
}

static JsonObject *
find_guest_by_text(const ScriptedHypervisor *self, JsonObject *guests, const char *text)
{
    g_autoptr(GList) uuids = json_object_get_members(guests);

    for (GList *l = uuids; l != NULL; l = l->next) {
        JsonObject *guest = find_guest(guests, l->data);
        if (g_str_equal(l->data, text) || g_str_equal(get_string(self, guest, "name", l->data), text))
            return guest;
    }
    return NULL;
}

static void
give_facts(Pending *pending)
{
    ScriptedHypervisor *self = pending->hypervisor;
    JsonObject *guest = find_guest_by_text(self, told_guests(pending), pending->uuid);
    g_autoptr(GError) error = NULL;
    ApmigGuestFacts facts = {0};

    if (pending->error != NULL)
        error = g_error_new_literal(APMIG_ERROR, APMIG_ERROR_HYPERVISOR_UNAVAILABLE, pending->error);
    else if (guest == NULL)
        error = g_error_new(APMIG_ERROR, APMIG_ERROR_NO_SUCH_GUEST, "there is no guest '%s'", pending->uuid);
    else
        get_facts(self, guest, &facts);
    pending->func(error == NULL ? &facts : NULL, error, pending->user_data);
    clear_facts(&facts);
}

static void
look_up_facts(ApmigHypervisor *vtable, const char *text, ApmigGuestFactsFunc func, gpointer user_data)
{
    ScriptedHypervisor *self = (ScriptedHypervisor *)vtable;
    Pending *pending = pending_new(self, "look-up", give_facts, 0, text);
    JsonObject *call = json_object_new();

    json_object_set_string_member(call, "guest", text);
    log_call(self, call, "look-up");
    pending->func = func;
    pending->user_data = user_data;
    schedule_answer(pending, find_guest_by_text(self, self->guests, text), "look-up-ms");
}

static void
give_described(Pending *pending)
{
    ScriptedHypervisor *self = pending->hypervisor;
    JsonObject *guest = find_guest_by_text(self, told_guests(pending), pending->uuid);
    g_autoptr(GError) error = NULL;
    g_autofree char *xml = NULL;
    ApmigGuestFacts facts = {0};

    if (pending->error != NULL) {
        error = g_error_new_literal(APMIG_ERROR, APMIG_ERROR_HYPERVISOR_UNAVAILABLE, pending->error);
    } else if (guest == NULL) {
        error = g_error_new(APMIG_ERROR, APMIG_ERROR_NO_SUCH_GUEST, "there is no guest '%s'", pending->uuid);
    } else {
        const char *uuid = json_object_get_string_member(guest, "uuid");

        get_facts(self, guest, &facts);
        xml = apmig_scripted_describe(&facts, uuid, get_string(self, guest, "name", uuid), pending->order,
                                      &error);
    }
    pending->described_func(xml, error, pending->user_data);
    clear_facts(&facts);
}

static void
describe_guest(ApmigHypervisor *vtable, const char *text, ApmigStampOrder *order,
               ApmigGuestDescribedFunc func, gpointer user_data)
{
    ScriptedHypervisor *self = (ScriptedHypervisor *)vtable;
    Pending *pending = pending_new(self, "look-up", give_described, 0, text);

    pending->order = order;
    pending->described_func = func;
    pending->user_data = user_data;
    schedule_answer(pending, find_guest_by_text(self, self->guests, text), "look-up-ms");
}

static void
give_devices(Pending *pending)
{
    ScriptedHypervisor *self = pending->hypervisor;
    g_autoptr(GPtrArray) guests = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_guest_devices_free);
    g_autoptr(GList) uuids = json_object_get_members(told_guests(pending));

    for (GList *uuid = uuids; uuid != NULL; uuid = uuid->next) {
        JsonObject *guest = find_guest(told_guests(pending), uuid->data);
        ApmigGuestFacts facts = {0};

        get_facts(self, guest, &facts);
        if (is_active(self, guest) && facts.affected == APMIG_AFFECTED_YES)
            g_ptr_array_add(guests,
                            apmig_guest_devices_new(uuid->data, get_string(self, guest, "name", uuid->data),
                                                    facts.devices, facts.scope));
        clear_facts(&facts);
    }
    pending->devices_func(pending->error == NULL ? guests : NULL, pending->user_data);
}

static void
list_devices(ApmigHypervisor *vtable, ApmigGuestDevicesFunc func, gpointer user_data)
{
    ScriptedHypervisor *self = (ScriptedHypervisor *)vtable;
    Pending *pending = pending_new(self, "devices", give_devices, 0, NULL);

    log_call(self, json_object_new(), "devices");
    pending->devices_func = func;
    pending->user_data = user_data;
    schedule_answer(pending, NULL, "list-ms");
}

/* --- what commands need -------------------------------------------------------------------------- */

static gboolean
is_withheld(const Pending *pending, const char *kind, const char *uuid)
{
    return pending->source == 0 && (kind == NULL || g_str_equal(kind, pending->kind)) &&
           (uuid == NULL || g_strcmp0(uuid, pending->uuid) == 0);
}

guint
apmig_scripted_count_withheld(const ScriptedHypervisor *self)
{
    guint n = 0;

    for (GList *l = self->pending; l != NULL; l = l->next)
        n += is_withheld(l->data, NULL, NULL);
    return n;
}

guint
apmig_scripted_release(ScriptedHypervisor *self, const char *kind, const char *uuid)
{
    g_autoptr(GList) all = g_list_copy(self->pending);
    guint n = 0;

    for (GList *l = all; l != NULL; l = l->next) {
        if (!is_withheld(l->data, kind, uuid))
            continue;
        give(l->data);
        n++;
    }
    return n;
}

void
apmig_scripted_connect(ScriptedHypervisor *self)
{
    if (self->connected)
        return;
    self->connected = TRUE;
    self->callbacks.view_started(self->uri, self->has_hook, self->user_data);
}

void
apmig_scripted_lose(ScriptedHypervisor *self, const char *reason)
{
    self->stays_lost = TRUE;
    self->connected = FALSE;
    apmig_scripted_tell(self, &(ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {reason}});
}

/* --- its life ------------------------------------------------------------------------------------ */

static gboolean
begin(gpointer user_data)
{
    ScriptedHypervisor *self = user_data;

    self->start_source = 0;
    apmig_scripted_run_init(self);
    if (!self->stays_lost)
        apmig_scripted_connect(self);
    return G_SOURCE_REMOVE;
}

static void
start(ApmigHypervisor *vtable, const ApmigHypervisorCallbacks *callbacks, gpointer user_data)
{
    ScriptedHypervisor *self = (ScriptedHypervisor *)vtable;

    self->callbacks = *callbacks;
    self->user_data = user_data;
    self->started_at = g_get_monotonic_time();
    self->start_source = g_timeout_add(0, begin, self);
    apmig_scripted_listen(self);
}

static void
free_hypervisor(ApmigHypervisor *vtable)
{
    ScriptedHypervisor *self = (ScriptedHypervisor *)vtable;

    apmig_scripted_stop_listening(self);
    if (self->start_source != 0)
        g_source_remove(self->start_source);
    g_list_free_full(self->pending, (GDestroyNotify)pending_free);
    json_object_unref(self->guests);
    json_object_unref(self->defaults);
    json_array_unref(self->calls);
    g_free(self->uri);
    g_free(self);
}

ApmigHypervisor *
apmig_scripted_hypervisor_new(const char *uri)
{
    ScriptedHypervisor *self = g_new0(ScriptedHypervisor, 1);

    self->vtable.start = start;
    self->vtable.list_guests = list_guests;
    self->vtable.query_guest = query_guest;
    self->vtable.heartbeat = heartbeat;
    self->vtable.run_step = run_step;
    self->vtable.stamp_guest = stamp_guest;
    self->vtable.remove_stamps = remove_stamps;
    self->vtable.look_up_facts = look_up_facts;
    self->vtable.describe_guest = describe_guest;
    self->vtable.list_devices = list_devices;
    self->vtable.free = free_hypervisor;
    self->uri = g_strdup(uri);
    self->path = self->uri + strlen(PREFIX);
    self->guests = json_object_new();
    self->defaults = json_object_new();
    self->calls = json_array_new();
    return &self->vtable;
}
