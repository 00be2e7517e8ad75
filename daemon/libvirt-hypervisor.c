/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvirt behind the hypervisor's vtable: questions handed to workers, their answers handed on, and a new
 * session whenever one was lost.
 */
#include "hypervisor.h"

#include <libvirt-glib/libvirt-glib-event.h>
#include <libvirt/virterror.h>

#include "libvirt-calls.h"
#include "libvirt-session.h"
#include "status-watch.h"

#define FIRST_PAUSE_MS 200 /* after the loss of an established connection */
#define MAX_PAUSE_S    30
#define END_WAIT_USEC  (400 * G_TIME_SPAN_MILLISECOND) /* for each of a session's two pools */

typedef struct {
    ApmigHypervisor vtable;
    char *uri;
    char *status_dir;
    char *sysfs_root;
    ApmigStampHost *stamp_host;
    ApmigHypervisorCallbacks callbacks;
    gpointer user_data;
    ApmigStatusWatch *status_watch;
    ApmigLibvirtSession *session; /* never NULL once started: between two attempts it is the next one's */
    gboolean connected;
    guint n_failures; /* attempts in a row */
    guint retry_source;
    GPtrArray
        *look_ups;     /* of LookUp, not owned: under way, to be answered even when the connection is lost */
    GHashTable *known; /* uuid -> Known: guests whose queues are read anew with every answer */
} LibvirtHypervisor;

/* --- questions and their answers: each is made in a worker, and handed on and freed in the main loop -------- */

typedef struct {
    guint64 token;
    char *error;
    GArray *guests; /* of ApmigGuestName; NULL with @error */
} Listing;

static void
make_list(virConnectPtr connection, const GError *no_connection, gpointer data)
{
    Listing *listing = data;
    g_autoptr(GError) error = NULL;

    if (connection != NULL)
        listing->guests = apmig_libvirt_list(connection, &error);
    if (listing->guests == NULL)
        listing->error = g_strdup(error != NULL ? error->message : no_connection->message);
}

static void
hand_on_list(gpointer owner, gpointer data)
{
    const LibvirtHypervisor *self = owner;
    Listing *listing = data;

    if (self != NULL && listing->guests != NULL)
        self->callbacks.listed(listing->token, NULL, (const ApmigGuestName *)listing->guests->data,
                               listing->guests->len, self->user_data);
    else if (self != NULL)
        self->callbacks.listed(listing->token, listing->error, NULL, 0, self->user_data);
    g_clear_pointer(&listing->guests, g_array_unref);
    g_free(listing->error);
    g_free(listing);
}

static void
list_guests(ApmigHypervisor *vtable, guint64 token)
{
    LibvirtHypervisor *self = (LibvirtHypervisor *)vtable;
    Listing *listing = g_new0(Listing, 1);

    listing->token = token;
    apmig_libvirt_session_call(self->session, APMIG_LIBVIRT_QUESTION, make_list, hand_on_list, listing);
}

/* What the XML of a guest said. Who asks without wanting its facts has the answer in which they were told last. */
typedef struct {
    guint64 token; /* of the question */
    ApmigGuest *guest;
} Known;

static void
known_free(gpointer data)
{
    Known *known = data;

    apmig_guest_free(known->guest);
    g_free(known);
}

/* Answers may overtake each other: the newest question counts. */
static void
remember(LibvirtHypervisor *self, const char *uuid, guint64 token, const ApmigGuest *guest)
{
    const Known *earlier = g_hash_table_lookup(self->known, uuid);
    Known *known;

    if (earlier != NULL && earlier->token > token)
        return;
    known = g_new(Known, 1);
    known->token = token;
    known->guest = apmig_guest_copy(guest);
    g_hash_table_replace(self->known, g_strdup(uuid), known);
}

typedef struct {
    guint64 token;
    char *uuid;
    gboolean want_facts;
    ApmigGuest *known; /* (nullable) */
    char *sysfs_root;
    ApmigLibvirtReading *reading;
} Query;

static void
make_query(virConnectPtr connection, const GError *no_connection, gpointer data)
{
    Query *query = data;

    if (connection != NULL) {
        query->reading =
            apmig_libvirt_query(connection, query->uuid, query->want_facts, query->known, query->sysfs_root);
        return;
    }
    query->reading = g_new0(ApmigLibvirtReading, 1);
    query->reading->job = APMIG_JOB_UNKNOWN;
    query->reading->error = g_strdup(no_connection->message);
}

static void
hand_on_answer(gpointer owner, gpointer data)
{
    LibvirtHypervisor *self = owner;
    Query *query = data;
    const ApmigLibvirtReading *reading = query->reading;
    ApmigEvent answer = {.type = APMIG_EVENT_GUEST_ANSWERED};

    answer.answered.token = query->token;
    answer.answered.uuid = query->uuid;
    answer.answered.job = reading->job;
    answer.answered.postcopy = reading->postcopy;
    answer.answered.stranded = reading->stranded;
    answer.answered.progress = reading->progress;
    answer.answered.error = reading->error;
    answer.answered.facts_read = reading->guest != NULL;
    if (reading->guest != NULL)
        answer.answered.facts = apmig_guest_facts(reading->guest);
    if (self != NULL && query->want_facts && reading->guest != NULL)
        remember(self, query->uuid, query->token, reading->guest);
    if (self != NULL)
        self->callbacks.answered(&answer, self->user_data);
    apmig_libvirt_reading_free(query->reading);
    apmig_guest_free(query->known);
    g_free(query->sysfs_root);
    g_free(query->uuid);
    g_free(query);
}

static void
query_guest(ApmigHypervisor *vtable, guint64 token, const char *uuid, gboolean want_facts)
{
    LibvirtHypervisor *self = (LibvirtHypervisor *)vtable;
    const Known *known = want_facts ? NULL : g_hash_table_lookup(self->known, uuid);
    Query *query = g_new0(Query, 1);

    query->token = token;
    query->uuid = g_strdup(uuid);
    query->want_facts = want_facts;
    query->known = known != NULL && known->guest->scope_varies ? apmig_guest_copy(known->guest) : NULL;
    query->sysfs_root = g_strdup(self->sysfs_root);
    apmig_libvirt_session_call(self->session, APMIG_LIBVIRT_QUESTION, make_query, hand_on_answer, query);
}

typedef struct {
    guint64 op;
    ApmigStep step;
    char *uuid;
    ApmigStepOutcome outcome;
    char *message;
} StepCall;

static void
make_step(virConnectPtr connection, const GError *no_connection, gpointer data)
{
    StepCall *call = data;

    call->outcome = APMIG_STEP_FAILED;
    if (connection == NULL)
        call->message = g_strdup(no_connection->message);
    else if (call->step == APMIG_STEP_LIBVIRT_ABORT)
        call->outcome = apmig_libvirt_abort(connection, call->uuid, &call->message);
    else
        call->message = g_strdup("libvirt has no such step");
}

static void
hand_on_step(gpointer owner, gpointer data)
{
    const LibvirtHypervisor *self = owner;
    StepCall *call = data;

    if (self != NULL)
        self->callbacks.step_finished(call->op, call->outcome, call->message, self->user_data);
    g_free(call->message);
    g_free(call->uuid);
    g_free(call);
}

static void
run_step(ApmigHypervisor *vtable, guint64 op, ApmigStep step, const char *uuid)
{
    LibvirtHypervisor *self = (LibvirtHypervisor *)vtable;
    StepCall *call = g_new0(StepCall, 1);

    call->op = op;
    call->step = step;
    call->uuid = g_strdup(uuid);
    apmig_libvirt_session_call(self->session, APMIG_LIBVIRT_STEP, make_step, hand_on_step, call);
}

typedef struct {
    char *text;
    char *sysfs_root;
    ApmigGuestFactsFunc func;
    ApmigStampOrder *order; /* (nullable): it is to be described, for @described */
    ApmigGuestDescribedFunc described;
    gpointer user_data;
    ApmigGuest *guest; /* NULL without @error: an incoming one, of which nothing can be known yet */
    char *xml;         /* its description */
    GError *error;
} LookUp;

static void
make_look_up(virConnectPtr connection, const GError *no_connection, gpointer data)
{
    LookUp *look_up = data;

    if (connection == NULL)
        look_up->error = g_error_copy(no_connection);
    else if (look_up->order != NULL)
        look_up->xml = apmig_libvirt_describe(connection, look_up->text, look_up->sysfs_root, look_up->order,
                                              &look_up->error);
    else if (!apmig_libvirt_look_up(connection, look_up->text, look_up->sysfs_root, &look_up->guest,
                                    &look_up->error))
        look_up->guest = NULL;
}

/* @error: (nullable): instead of what was found */
static void
answer_look_up(const LookUp *look_up, const GError *error)
{
    ApmigGuestFacts facts = {.affected = APMIG_AFFECTED_UNKNOWN};

    if (look_up->guest != NULL)
        facts = apmig_guest_facts(look_up->guest);
    if (look_up->order != NULL)
        look_up->described(error == NULL ? look_up->xml : NULL, error, look_up->user_data);
    else
        look_up->func(error == NULL ? &facts : NULL, error, look_up->user_data);
}

static void
hand_on_look_up(gpointer owner, gpointer data)
{
    LibvirtHypervisor *self = owner;
    LookUp *look_up = data;

    if (self != NULL) {
        g_ptr_array_remove_fast(self->look_ups, look_up);
        answer_look_up(look_up, look_up->error);
    }
    g_clear_pointer(&look_up->guest, apmig_guest_free);
    g_clear_error(&look_up->error);
    apmig_stamp_order_free(look_up->order);
    g_free(look_up->xml);
    g_free(look_up->sysfs_root);
    g_free(look_up->text);
    g_free(look_up);
}

/* @question: of which text and sysfs_root are set here */
static void
begin_look_up(LibvirtHypervisor *self, const char *guest, LookUp question)
{
    LookUp *look_up = g_new(LookUp, 1);

    *look_up = question;
    look_up->text = g_strdup(guest);
    look_up->sysfs_root = g_strdup(self->sysfs_root);
    g_ptr_array_add(self->look_ups, look_up);
    apmig_libvirt_session_call(self->session, APMIG_LIBVIRT_QUESTION, make_look_up, hand_on_look_up, look_up);
}

static void
look_up_facts(ApmigHypervisor *vtable, const char *guest, ApmigGuestFactsFunc func, gpointer user_data)
{
    begin_look_up((LibvirtHypervisor *)vtable, guest, (LookUp){.func = func, .user_data = user_data});
}

static void
describe_guest(ApmigHypervisor *vtable, const char *guest, ApmigStampOrder *order,
               ApmigGuestDescribedFunc func, gpointer user_data)
{
    begin_look_up((LibvirtHypervisor *)vtable, guest,
                  (LookUp){.order = order, .described = func, .user_data = user_data});
}

/* --- stamps: a call may take 30 s, so they have one worker of those that answer questions, and not more ---------- */

typedef struct {
    guint64 op;
    char *uuid;
    char *sysfs_root;
    ApmigStampHost *host;
    ApmigStampOrder *order;
    ApmigStamping result;
    ApmigOtherKeys *other_keys;
    char *message;
} StampCall;

static void
make_stamp(virConnectPtr connection, const GError *no_connection, gpointer data)
{
    StampCall *call = data;

    call->result = APMIG_STAMPING_FAILED;
    if (connection == NULL)
        call->message = g_strdup(no_connection->message);
    else
        call->result = apmig_libvirt_stamp(connection, call->uuid, call->sysfs_root, call->host, call->order,
                                           &call->other_keys, &call->message);
}

static void
hand_on_stamp(gpointer owner, gpointer data)
{
    const LibvirtHypervisor *self = owner;
    StampCall *call = data;

    if (self != NULL && call->other_keys != NULL)
        self->callbacks.other_keys(call->other_keys, self->user_data);
    if (self != NULL)
        self->callbacks.stamp_finished(call->op, call->result, call->message, self->user_data);
    apmig_other_keys_free(call->other_keys);
    g_free(call->message);
    g_free(call->uuid);
    g_free(call->sysfs_root);
    apmig_stamp_host_unref(call->host);
    apmig_stamp_order_free(call->order);
    g_free(call);
}

static void
stamp_guest(ApmigHypervisor *vtable, guint64 op, const char *uuid, ApmigStampOrder *order)
{
    LibvirtHypervisor *self = (LibvirtHypervisor *)vtable;
    StampCall *call = g_new0(StampCall, 1);

    call->op = op;
    call->uuid = g_strdup(uuid);
    call->sysfs_root = g_strdup(self->sysfs_root);
    call->host = apmig_stamp_host_ref(self->stamp_host);
    call->order = order;
    apmig_libvirt_session_call(self->session, APMIG_LIBVIRT_QUESTION, make_stamp, hand_on_stamp, call);
}

typedef struct {
    char *guest;
    ApmigStampsRemovedFunc func;
    gpointer user_data;
    guint n_removed;
    GError *error;
} Removal;

static void
make_removal(virConnectPtr connection, const GError *no_connection, gpointer data)
{
    Removal *removal = data;

    if (connection == NULL)
        removal->error = g_error_copy(no_connection);
    else if (apmig_libvirt_remove_stamps(connection, removal->guest, &removal->n_removed, &removal->error))
        g_assert(removal->error == NULL);
}

static void
hand_on_removal(gpointer owner, gpointer data)
{
    Removal *removal = data;

    if (owner != NULL)
        removal->func(removal->n_removed, removal->error, removal->user_data);
    g_clear_error(&removal->error);
    g_free(removal->guest);
    g_free(removal);
}

static void
remove_stamps(ApmigHypervisor *vtable, const char *guest, ApmigStampsRemovedFunc func, gpointer user_data)
{
    LibvirtHypervisor *self = (LibvirtHypervisor *)vtable;
    Removal *removal = g_new0(Removal, 1);

    removal->guest = g_strdup(guest);
    removal->func = func;
    removal->user_data = user_data;
    apmig_libvirt_session_call(self->session, APMIG_LIBVIRT_QUESTION, make_removal, hand_on_removal, removal);
}

/* --- devices ------------------------------------------------------------------------------------- */

typedef struct {
    char *sysfs_root;
    GPtrArray *guests; /* of ApmigGuestDevices; NULL: libvirt does not answer */
    ApmigGuestDevicesFunc func;
    gpointer user_data;
} DeviceListing;

static void
add_devices(virConnectPtr connection, const ApmigGuestName *name, DeviceListing *listing)
{
    g_autoptr(ApmigLibvirtReading) reading =
        apmig_libvirt_query(connection, name->uuid, TRUE, NULL, listing->sysfs_root);

    if (reading->guest != NULL && reading->guest->affected == APMIG_AFFECTED_YES)
        g_ptr_array_add(listing->guests, apmig_guest_devices_new(name->uuid, name->name,
                                                                 (const char *const *)reading->guest->devices,
                                                                 reading->guest->scope));
}

static void
make_device_listing(virConnectPtr connection, const GError *no_connection, gpointer data)
{
    DeviceListing *listing = data;
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) names = connection != NULL ? apmig_libvirt_list(connection, &error) : NULL;

    if (names == NULL)
        return;
    listing->guests = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_guest_devices_free);
    for (guint i = 0; i < names->len; i++)
        add_devices(connection, &g_array_index(names, ApmigGuestName, i), listing);
}

static void
hand_on_device_listing(gpointer owner, gpointer data)
{
    DeviceListing *listing = data;

    if (owner != NULL)
        listing->func(listing->guests, listing->user_data);
    g_clear_pointer(&listing->guests, g_ptr_array_unref);
    g_free(listing->sysfs_root);
    g_free(listing);
}

static void
list_devices(ApmigHypervisor *vtable, ApmigGuestDevicesFunc func, gpointer user_data)
{
    LibvirtHypervisor *self = (LibvirtHypervisor *)vtable;
    DeviceListing *listing = g_new0(DeviceListing, 1);

    listing->sysfs_root = g_strdup(self->sysfs_root);
    listing->func = func;
    listing->user_data = user_data;
    apmig_libvirt_session_call(self->session, APMIG_LIBVIRT_QUESTION, make_device_listing,
                               hand_on_device_listing, listing);
}

/* --- sessions ------------------------------------------------------------------------------------ */

static gboolean
connect_now(gpointer user_data)
{
    LibvirtHypervisor *self = user_data;

    self->retry_source = 0;
    apmig_libvirt_session_open(self->session);
    return G_SOURCE_REMOVE;
}

static void
on_opened(gboolean has_hook, gpointer owner)
{
    LibvirtHypervisor *self = owner;

    self->connected = TRUE;
    self->callbacks.view_started(self->uri, has_hook, self->user_data);
}

static void
fail_look_ups(GPtrArray *look_ups, const char *reason)
{
    g_autoptr(GError) error = g_error_new_literal(APMIG_ERROR, APMIG_ERROR_HYPERVISOR_UNAVAILABLE, reason);

    for (guint i = 0; i < look_ups->len; i++)
        answer_look_up(look_ups->pdata[i], error);
}

static guint
pause_ms(const LibvirtHypervisor *self)
{
    if (self->n_failures == 0)
        return FIRST_PAUSE_MS;
    return 1000 * MIN(1u << MIN(self->n_failures - 1, 8), MAX_PAUSE_S);
}

static const ApmigLibvirtSessionEvents session_events;

static void
on_lost(const char *reason, gpointer owner)
{
    LibvirtHypervisor *self = owner;
    g_autoptr(GPtrArray) look_ups = g_steal_pointer(&self->look_ups);
    ApmigLibvirtSession *lost = self->session;

    self->n_failures = self->connected ? 0 : self->n_failures + 1;
    self->connected = FALSE;
    self->look_ups = g_ptr_array_new();
    g_hash_table_remove_all(self->known);
    self->session = apmig_libvirt_session_new(self->uri, &session_events, self);
    self->retry_source = g_timeout_add(pause_ms(self), connect_now, self);
    self->callbacks.view_lost(reason, self->user_data);
    fail_look_ups(look_ups, reason);
    apmig_libvirt_session_give_up(lost, 0);
}

static void
on_guest_changed(const char *uuid, ApmigGuestChange change, gpointer owner)
{
    const LibvirtHypervisor *self = owner;

    self->callbacks.guest_changed(uuid, change, self->user_data);
}

static void
on_guest_stopped(const char *uuid, gboolean migrated, gpointer owner)
{
    LibvirtHypervisor *self = owner;

    g_hash_table_remove(self->known, uuid);
    self->callbacks.guest_stopped(uuid, migrated, self->user_data);
}

static void
on_hint(const char *uuid, gpointer owner)
{
    const LibvirtHypervisor *self = owner;

    self->callbacks.hint(uuid, NULL, self->user_data);
}

static const ApmigLibvirtSessionEvents session_events = {
    .opened = on_opened,
    .lost = on_lost,
    .guest_changed = on_guest_changed,
    .guest_stopped = on_guest_stopped,
    .hint = on_hint,
};

/* --- its life ------------------------------------------------------------------------------------ */

static void
on_status_change(const char *name, gpointer user_data)
{
    const LibvirtHypervisor *self = user_data;

    if (self->connected)
        self->callbacks.hint(NULL, name, self->user_data);
}

/* libvirt's default prints every error to standard error. */
static void
ignore_error(void *user_data, virErrorPtr error)
{
}

static void
register_events(void)
{
    static gsize registered;

    if (g_once_init_enter(&registered)) {
        gvir_event_register();
        g_once_init_leave(&registered, 1);
    }
}

static void
start(ApmigHypervisor *vtable, const ApmigHypervisorCallbacks *callbacks, gpointer user_data)
{
    LibvirtHypervisor *self = (LibvirtHypervisor *)vtable;

    self->callbacks = *callbacks;
    self->user_data = user_data;
    register_events();
    virSetErrorFunc(NULL, ignore_error);
    if (self->status_dir != NULL)
        self->status_watch = apmig_status_watch_new(self->status_dir, on_status_change, self);
    self->session = apmig_libvirt_session_new(self->uri, &session_events, self);
    apmig_libvirt_session_open(self->session);
}

static void
free_hypervisor(ApmigHypervisor *vtable)
{
    LibvirtHypervisor *self = (LibvirtHypervisor *)vtable;

    apmig_status_watch_free(self->status_watch);
    if (self->retry_source != 0)
        g_source_remove(self->retry_source);
    if (self->session != NULL)
        apmig_libvirt_session_give_up(self->session, END_WAIT_USEC);
    g_ptr_array_unref(self->look_ups);
    g_hash_table_unref(self->known);
    g_free(self->sysfs_root);
    apmig_stamp_host_unref(self->stamp_host);
    g_free(self->status_dir);
    g_free(self->uri);
    g_free(self);
}

ApmigHypervisor *
apmig_libvirt_hypervisor_new(const char *uri, const char *status_dir, const char *sysfs_root)
{
    LibvirtHypervisor *self = g_new0(LibvirtHypervisor, 1);

    self->vtable.start = start;
    self->vtable.list_guests = list_guests;
    self->vtable.query_guest = query_guest;
    self->vtable.run_step = run_step;
    self->vtable.stamp_guest = stamp_guest;
    self->vtable.remove_stamps = remove_stamps;
    self->vtable.look_up_facts = look_up_facts;
    self->vtable.describe_guest = describe_guest;
    self->vtable.list_devices = list_devices;
    self->vtable.free = free_hypervisor;
    self->uri = g_strdup(uri);
    if (status_dir != NULL && *status_dir != '\0')
        self->status_dir = g_strdup(status_dir);
    self->sysfs_root = g_strdup(sysfs_root);
    self->stamp_host = apmig_stamp_host_new(sysfs_root);
    self->look_ups = g_ptr_array_new();
    self->known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, known_free);
    return &self->vtable;
}
