/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvirt behind the hypervisor's vtable: questions handed to threads, their answers handed on, and a new
 * session whenever one was lost.
 */
#include "libvirt/private.h"

#include <libvirt/virterror.h>

#include "libvirt/calls.h"
#include "libvirt/event-loop.h"
#include "libvirt/listing.h"

#define FIRST_PAUSE_MS 200 /* after the loss of an established connection */
#define MAX_PAUSE_S    30
#define END_WAIT_USEC  (400 * G_TIME_SPAN_MILLISECOND) /* for calls under way to return */

static void
tell(const LibvirtHypervisor *self, const ApmigEvent *event)
{
    self->callbacks.told(event, self->user_data);
}

/* --- questions and their answers: each is made in a thread, and handed on and freed in the main loop -------- */

typedef struct {
    ApmigToken token;
    char *status_dir; /* (nullable) */
    char *error;
    GArray *guests; /* of ApmigGuestName; NULL with @error */
} Listing;

static void
make_list(ApmigLibvirtConnection *connection, const GError *no_connection, gpointer data)
{
    Listing *listing = data;
    g_autoptr(GError) error = NULL;

    if (connection)
        listing->guests = apmig_libvirt_list(connection, listing->status_dir, &error);
    if (!listing->guests)
        listing->error = g_strdup(error ? error->message : no_connection->message);
}

static void
hand_on_list(gpointer owner, gpointer data)
{
    const LibvirtHypervisor *self = owner;
    Listing *listing = data;

    if (self && listing->guests)
        tell(self,
             &(ApmigEvent){.type = APMIG_EVENT_GUESTS_LISTED,
                           .listed = {listing->token, NULL, (const ApmigGuestName *)listing->guests->data,
                                      listing->guests->len}});
    else if (self)
        tell(self, &(ApmigEvent){.type = APMIG_EVENT_GUESTS_LISTED,
                                 .listed = {listing->token, listing->error, NULL, 0}});
    g_clear_pointer(&listing->guests, g_array_unref);
    g_free(listing->status_dir);
    g_free(listing->error);
    g_free(listing);
}

static void
list_guests(ApmigHypervisor *vtable, ApmigToken token)
{
    LibvirtHypervisor *self = (LibvirtHypervisor *)vtable;
    Listing *listing = g_new0(Listing, 1);

    listing->token = token;
    listing->status_dir = g_strdup(self->status_dir);
    if (self->status_watch)
        apmig_status_watch_check(self->status_watch);
    apmig_libvirt_session_call(self->session, APMIG_LIBVIRT_VIEW, make_list, hand_on_list, listing);
}

/* What the XML of a guest said. Who asks without wanting its facts has the answer in which they were told last. */
typedef struct {
    ApmigToken token; /* of the question */
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
remember(LibvirtHypervisor *self, const char *uuid, ApmigToken token, const ApmigGuest *guest)
{
    const Known *earlier = g_hash_table_lookup(self->known, uuid);
    Known *known;

    if (earlier && earlier->token > token)
        return;
    known = g_new(Known, 1);
    known->token = token;
    known->guest = apmig_guest_copy(guest);
    g_hash_table_replace(self->known, g_strdup(uuid), known);
}

typedef struct {
    ApmigLibvirtSession *session; /* that the call is made for */
    ApmigToken token;
    char *uuid;
    gboolean want_facts;
    ApmigGuest *known; /* (nullable) */
    ApmigSysfs *sysfs;
    ApmigLibvirtReading *reading;
} Query;

/* What its XML says, ahead of its job. */
typedef struct {
    ApmigToken token;
    char *uuid;
    ApmigGuest *guest;
} Facts;

static void
hand_on_facts(gpointer owner, gpointer data)
{
    LibvirtHypervisor *self = owner;
    Facts *facts = data;

    if (self) {
        remember(self, facts->uuid, facts->token, facts->guest);
        tell(self, &(ApmigEvent){.type = APMIG_EVENT_FACTS_READ,
                                 .facts_read = {facts->token, facts->uuid, apmig_guest_facts(facts->guest)}});
    }
    apmig_guest_free(facts->guest);
    g_free(facts->uuid);
    g_free(facts);
}

static void
on_facts_read(const ApmigGuest *guest, gpointer data)
{
    const Query *query = data;
    Facts *facts = g_new(Facts, 1);

    *facts = (Facts){query->token, g_strdup(query->uuid), apmig_guest_copy(guest)};
    apmig_libvirt_session_post(query->session, hand_on_facts, facts);
}

static void
make_query(ApmigLibvirtConnection *connection, const GError *no_connection, gpointer data)
{
    Query *query = data;

    if (connection) {
        query->reading = apmig_libvirt_query(
            connection, &(ApmigLibvirtQuestion){query->uuid, query->want_facts, query->known, query->sysfs,
                                                on_facts_read, query});
        return;
    }
    query->reading = g_new0(ApmigLibvirtReading, 1);
    query->reading->job = APMIG_JOB_UNKNOWN;
    query->reading->error = g_strdup(no_connection->message);
}

static void
tell_answer(LibvirtHypervisor *self, const Query *query)
{
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
    if (reading->guest)
        answer.answered.facts = apmig_guest_facts(reading->guest);
    if (query->want_facts && reading->guest)
        remember(self, query->uuid, query->token, reading->guest);
    tell(self, &answer);
}

static void
hand_on_answer(gpointer owner, gpointer data)
{
    Query *query = data;

    if (owner)
        tell_answer(owner, query);
    apmig_libvirt_reading_free(query->reading);
    apmig_guest_free(query->known);
    apmig_sysfs_unref(query->sysfs);
    g_free(query->uuid);
    g_free(query);
}

static void
query_guest(ApmigHypervisor *vtable, ApmigToken token, const char *uuid, gboolean want_facts)
{
    LibvirtHypervisor *self = (LibvirtHypervisor *)vtable;
    const Known *known = want_facts ? NULL : g_hash_table_lookup(self->known, uuid);
    Query *query = g_new0(Query, 1);

    query->session = self->session;
    query->token = token;
    query->uuid = g_strdup(uuid);
    query->want_facts = want_facts;
    query->known = known && known->guest->scope_varies ? apmig_guest_copy(known->guest) : NULL;
    query->sysfs = apmig_sysfs_ref(self->sysfs);
    apmig_libvirt_session_call(self->session, APMIG_LIBVIRT_VIEW, make_query, hand_on_answer, query);
}

typedef struct {
    ApmigToken token;
    char *uuid;
    char *error;
} Heartbeat;

static void
make_heartbeat(ApmigLibvirtConnection *connection, const GError *no_connection, gpointer data)
{
    Heartbeat *heartbeat = data;

    heartbeat->error =
        connection ? apmig_libvirt_heartbeat(connection, heartbeat->uuid) : g_strdup(no_connection->message);
}

static void
hand_on_heartbeat(gpointer owner, gpointer data)
{
    const LibvirtHypervisor *self = owner;
    Heartbeat *heartbeat = data;

    if (self)
        tell(self, &(ApmigEvent){.type = APMIG_EVENT_HEARTBEAT_ANSWERED,
                                 .heartbeat = {heartbeat->token, heartbeat->error}});
    g_free(heartbeat->error);
    g_free(heartbeat->uuid);
    g_free(heartbeat);
}

/* Comes while there is something to be watched: a step would be late that had to wait for a connection. */
static void
ask_heartbeat(ApmigHypervisor *vtable, ApmigToken token, const char *uuid)
{
    LibvirtHypervisor *self = (LibvirtHypervisor *)vtable;
    Heartbeat *heartbeat = g_new0(Heartbeat, 1);

    heartbeat->token = token;
    heartbeat->uuid = g_strdup(uuid);
    apmig_libvirt_session_call(self->session, APMIG_LIBVIRT_HEARTBEAT, make_heartbeat, hand_on_heartbeat,
                               heartbeat);
    libvirt_ask_readiness(self);
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
on_status_change(const char *name, gpointer user_data)
{
    const LibvirtHypervisor *self = user_data;

    if (self->connected)
        tell(self, &(ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {.name = name}});
}

static void
on_hints_changed(gboolean watched, gpointer user_data)
{
    LibvirtHypervisor *self = user_data;

    self->hints_told = TRUE;
    tell(self, &(ApmigEvent){.type = APMIG_EVENT_HINTS_CHANGED, .hints = {watched}});
}

static void
on_opened(gboolean has_hook, gpointer owner)
{
    LibvirtHypervisor *self = owner;

    self->connected = TRUE;
    self->callbacks.view_started(self->uri, has_hook, self->user_data);
    if (self->status_watch && !self->hints_told)
        on_hints_changed(FALSE, self); /* libvirt is there, and its folder is missing or must not be read */
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
    self->session_number++;
    self->look_ups = g_ptr_array_new();
    g_hash_table_remove_all(self->known);
    self->session = apmig_libvirt_session_new(self->uri, &session_events, self);
    self->retry_source = g_timeout_add(pause_ms(self), connect_now, self);
    tell(self, &(ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {reason}});
    libvirt_fail_look_ups(look_ups, reason);
    apmig_libvirt_session_give_up(lost, 0);
}

static void
on_news(const char *uuid, const char *name, ApmigNews what, gpointer owner)
{
    LibvirtHypervisor *self = owner;

    if (apmig_news_is_stop(what)) {
        g_hash_table_remove(self->known, uuid);
        apmig_libvirt_session_forget(self->session, uuid);
    }
    tell(self, &(ApmigEvent){.type = APMIG_EVENT_GUEST_NEWS, .news = {uuid, name, what}});
}

static const ApmigLibvirtSessionEvents session_events = {
    .opened = on_opened,
    .lost = on_lost,
    .news = on_news,
};

/* --- its life ------------------------------------------------------------------------------------ */

/* libvirt's default prints every error to standard error. */
static void
ignore_error(void *user_data, virErrorPtr error)
{
}

static void
start(ApmigHypervisor *vtable, const ApmigHypervisorCallbacks *callbacks, gpointer user_data)
{
    LibvirtHypervisor *self = (LibvirtHypervisor *)vtable;

    self->callbacks = *callbacks;
    self->user_data = user_data;
    apmig_libvirt_use_main_loop();
    virSetErrorFunc(NULL, ignore_error);
    if (self->status_dir)
        self->status_watch =
            apmig_status_watch_new(self->status_dir, on_status_change, on_hints_changed, self);
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
    if (self->session)
        apmig_libvirt_session_give_up(self->session, END_WAIT_USEC);
    self->actor->free(self->actor);
    g_hash_table_unref(self->acts);
    g_free(self->step_trouble);
    g_ptr_array_unref(self->look_ups);
    g_hash_table_unref(self->known);
    apmig_sysfs_unref(self->sysfs);
    apmig_stamp_host_unref(self->stamp_host);
    g_free(self->status_dir);
    g_free(self->uri);
    g_free(self);
}

ApmigHypervisor *
apmig_libvirt_hypervisor_new(const char *uri, const char *status_dir, ApmigSysfs *sysfs, ApmigActor *actor)
{
    LibvirtHypervisor *self = g_new0(LibvirtHypervisor, 1);

    self->vtable.start = start;
    self->vtable.list_guests = list_guests;
    self->vtable.query_guest = query_guest;
    self->vtable.heartbeat = ask_heartbeat;
    self->vtable.run_step = libvirt_run_step;
    self->vtable.stamp_guest = libvirt_stamp_guest;
    self->vtable.remove_stamps = libvirt_remove_stamps;
    self->vtable.look_up_facts = libvirt_look_up_facts;
    self->vtable.describe_guest = libvirt_describe_guest;
    self->vtable.list_devices = libvirt_list_devices;
    self->vtable.free = free_hypervisor;
    self->uri = g_strdup(uri);
    if (status_dir && *status_dir != '\0')
        self->status_dir = g_strdup(status_dir);
    self->sysfs = apmig_sysfs_ref(sysfs);
    self->stamp_host = apmig_stamp_host_new(sysfs);
    self->actor = actor;
    self->acts = libvirt_acts_new();
    self->look_ups = g_ptr_array_new();
    self->known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, known_free);
    return &self->vtable;
}
