/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/session.h"

#include <string.h>

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "base/error.h"
#include "base/failpoint.h"
#include "base/mailbox.h"
#include "guest/xml.h"

#define MAX_EVENTS 6

#define MINUTE (60 * G_USEC_PER_SEC)
#define MSEC   G_TIME_SPAN_MILLISECOND

/* A question takes less than a millisecond; of a guest that hangs it takes 30 s. Nothing is changed on any of them. */
static const ApmigLibvirtLanes lanes[] = {
    [APMIG_LIBVIRT_VIEW] = {"libvirt-view", APMIG_LIBVIRT_READ_ONLY, 2, 8, 1000 * MSEC, MINUTE},
    [APMIG_LIBVIRT_HEARTBEAT] = {"libvirt-heart", APMIG_LIBVIRT_READ_ONLY, 1, 1, 0, MINUTE},
    [APMIG_LIBVIRT_STAMP] = {"libvirt-stamp", APMIG_LIBVIRT_READ_ONLY, 1, 16, 100 * MSEC, MINUTE},
    [APMIG_LIBVIRT_REQUEST] = {"libvirt-request", APMIG_LIBVIRT_READ_ONLY, 1, 4, 100 * MSEC, MINUTE},
};

/* Counted by g_atomic_rc_box: held by the owner, by each event callback and each call,
 * and by whoever connects or disconnects. */
struct ApmigLibvirtSession {
    char *uri;
    const ApmigLibvirtSessionEvents *report;

    /* The main loop's: */
    gpointer owner;     /* NULL: given up */
    const char *closed; /* why libvirt closed the connection, perhaps before it was ready; NULL: it did not */
    gboolean ready;     /* connected; what the connecting thread has made is the main loop's, too */
    ApmigLibvirtPool *pools[G_N_ELEMENTS(lanes)]; /* while it is */

    /* The connecting thread's until it is done: */
    GError *error;            /* why there is no connection */
    virConnectPtr connection; /* of the events; closed in a thread */
    int events[MAX_EVENTS];
    guint n_events;
    gboolean has_hook;

    /* Any thread's: */
    int close_reason; /* atomic */
    GMutex lock;
    GCond disconnected_cond;
    gboolean disconnected; /* its connection is closed, or there is none */
};

typedef struct {
    ApmigLibvirtSession *session;
    ApmigLibvirtCall call;
    ApmigLibvirtCallDone done;
    gpointer data;
} SessionCall;

static void
session_clear(gpointer data)
{
    ApmigLibvirtSession *session = data;

    g_mutex_clear(&session->lock);
    g_cond_clear(&session->disconnected_cond);
    g_clear_error(&session->error);
    g_free(session->uri);
}

/* In whatever thread: it calls nothing of libvirt. */
static void
session_unref(gpointer data)
{
    g_atomic_rc_box_release_full(data, session_clear);
}

/* --- events: libvirt calls these in the main loop; the domain is borrowed ------------------------ */

static void
report(const ApmigLibvirtSession *session, virDomainPtr domain, ApmigNews what)
{
    char uuid[VIR_UUID_STRING_BUFLEN];

    if (apmig_failpoint_skips("libvirt-event"))
        return;
    if (session->owner && session->ready && virDomainGetUUIDString(domain, uuid) == 0)
        session->report->news(uuid, virDomainGetName(domain), what, session->owner);
}

static ApmigNews
news_of_stop(int detail)
{
    switch (detail) {
    case VIR_DOMAIN_EVENT_STOPPED_MIGRATED:
        return APMIG_NEWS_STOPPED_MIGRATED;
    case VIR_DOMAIN_EVENT_STOPPED_SAVED:
        return APMIG_NEWS_STOPPED_SAVED;
    case VIR_DOMAIN_EVENT_STOPPED_FAILED:
    case VIR_DOMAIN_EVENT_STOPPED_CRASHED:
    case VIR_DOMAIN_EVENT_STOPPED_DESTROYED:
        return APMIG_NEWS_STOPPED_LOST;
    default:
        return APMIG_NEWS_STOPPED;
    }
}

static ApmigNews
news_of_lifecycle(int event, int detail)
{
    switch (event) {
    case VIR_DOMAIN_EVENT_DEFINED:
        return APMIG_NEWS_DEFINED;
    case VIR_DOMAIN_EVENT_STARTED:
        return detail == VIR_DOMAIN_EVENT_STARTED_MIGRATED ? APMIG_NEWS_ARRIVING : APMIG_NEWS_STARTED;
    case VIR_DOMAIN_EVENT_SUSPENDED:
        return detail == VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED ? APMIG_NEWS_SUSPENDED : APMIG_NEWS_OTHER;
    case VIR_DOMAIN_EVENT_RESUMED:
        return detail == VIR_DOMAIN_EVENT_RESUMED_MIGRATED || detail == VIR_DOMAIN_EVENT_RESUMED_POSTCOPY
                   ? APMIG_NEWS_RESUMED
                   : APMIG_NEWS_OTHER;
    case VIR_DOMAIN_EVENT_STOPPED:
        return news_of_stop(detail);
    default:
        return APMIG_NEWS_OTHER;
    }
}

static int
on_lifecycle(virConnectPtr connection, virDomainPtr domain, int event, int detail, void *data)
{
    report(data, domain, news_of_lifecycle(event, detail));
    return 0;
}

static void
on_migration_iteration(virConnectPtr connection, virDomainPtr domain, int iteration, void *data)
{
    report(data, domain, APMIG_NEWS_SENDING);
}

static void
on_job_completed(virConnectPtr connection, virDomainPtr domain, virTypedParameterPtr params, int n_params,
                 void *data)
{
    int operation = VIR_DOMAIN_JOB_OPERATION_UNKNOWN;

    if (virTypedParamsGetInt(params, n_params, VIR_DOMAIN_JOB_OPERATION, &operation) != 1)
        report(data, domain, APMIG_NEWS_OTHER);
    else
        report(data, domain,
               operation == VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT ? APMIG_NEWS_JOB_MIGRATED
                                                                   : APMIG_NEWS_JOB_SAVED);
}

/* libvirt names a hostdev hostdevN (qemuAssignDeviceHostdevAlias()), unless the guest's XML names it, with "ua-". */
static void
on_device_added(virConnectPtr connection, virDomainPtr domain, const char *alias, void *data)
{
    gboolean may_be_hostdev = g_str_has_prefix(alias, "hostdev") || g_str_has_prefix(alias, "ua-");

    report(data, domain, may_be_hostdev ? APMIG_NEWS_PLUGGED : APMIG_NEWS_CHANGED);
}

static void
on_device_removed(virConnectPtr connection, virDomainPtr domain, const char *alias, void *data)
{
    report(data, domain, APMIG_NEWS_CHANGED);
}

/* The stamp has a namespace of its own: what apmigd writes is no change. */
static void
on_metadata_change(virConnectPtr connection, virDomainPtr domain, int type, const char *uri, void *data)
{
    if (!uri || strcmp(uri, APMIG_KEYS_NAMESPACE) == 0)
        report(data, domain, APMIG_NEWS_CHANGED);
}

static const char *
close_reason_to_string(int reason)
{
    switch (reason) {
    case VIR_CONNECT_CLOSE_REASON_EOF:
        return "libvirt closed the connection";
    case VIR_CONNECT_CLOSE_REASON_KEEPALIVE:
        return "libvirt stopped answering";
    default:
        return "the connection to libvirt broke";
    }
}

static void
on_closed(gpointer data)
{
    ApmigLibvirtSession *session = data;

    session->closed = close_reason_to_string(g_atomic_int_get(&session->close_reason));
    if (session->owner && session->ready)
        session->report->lost(session->closed, session->owner);
    session_unref(session);
}

/* In whatever thread finds the connection closed. */
static void
connection_closed(virConnectPtr connection, int reason, void *data)
{
    ApmigLibvirtSession *session = data;

    g_atomic_int_set(&session->close_reason, reason);
    apmig_post(on_closed, g_atomic_rc_box_acquire(session), NULL);
}

/* --- connecting, in a thread of its own ---------------------------------------------------------- */

typedef struct {
    int id;
    virConnectDomainEventGenericCallback func;
    const char
        *tells; /* NULL: a driver that lacks it has nothing to tell by it; else nothing is seen without it */
} WantedEvent;

static const WantedEvent wanted_events[] = {
    {VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), "guests that start and stop"},
    {VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, VIR_DOMAIN_EVENT_CALLBACK(on_migration_iteration),
     "migrations that send memory"},
    {VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, VIR_DOMAIN_EVENT_CALLBACK(on_job_completed)},
    {VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, VIR_DOMAIN_EVENT_CALLBACK(on_device_added)},
    {VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, VIR_DOMAIN_EVENT_CALLBACK(on_device_removed)},
    {VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, VIR_DOMAIN_EVENT_CALLBACK(on_metadata_change)},
};

static gboolean
is_unsupported(void)
{
    int code = virGetLastErrorCode();

    return code == VIR_ERR_NO_SUPPORT || code == VIR_ERR_OPERATION_UNSUPPORTED;
}

static void
set_no_events(GError **error, const char *what)
{
    g_autofree char *message = apmig_libvirt_error_message();

    g_set_error(error, APMIG_ERROR, APMIG_ERROR_HYPERVISOR_UNAVAILABLE, "libvirt does not tell of %s: %s",
                what, message);
}

static gboolean
connect_event(ApmigLibvirtSession *session, const WantedEvent *wanted, GError **error)
{
    int event;

    g_atomic_rc_box_acquire(session);
    event = virConnectDomainEventRegisterAny(session->connection, NULL, wanted->id, wanted->func, session,
                                             session_unref);
    if (event >= 0) {
        session->events[session->n_events++] = event;
        return TRUE;
    }
    session_unref(session);
    if (!wanted->tells && is_unsupported())
        return TRUE;
    set_no_events(error, wanted->tells ? wanted->tells : "what happens to guests");
    return FALSE;
}

/* A driver without a daemon does not close its connection by itself. */
static gboolean
connect_events(ApmigLibvirtSession *session, GError **error)
{
    if (virConnectRegisterCloseCallback(session->connection, connection_closed, session, NULL) < 0 &&
        !is_unsupported()) {
        set_no_events(error, "the end of the connection");
        return FALSE;
    }
    for (guint i = 0; i < G_N_ELEMENTS(wanted_events); i++)
        if (!connect_event(session, &wanted_events[i], error))
            return FALSE;
    return TRUE;
}

/* libvirt's callbacks hold references to the connection, which otherwise would never be closed. The caller has one
 * to the session: the close callback has none, for a driver without it takes it and never gives it back. */
static void
disconnect_events(ApmigLibvirtSession *session)
{
    if (!session->connection)
        return;
    for (guint i = 0; i < session->n_events; i++)
        virConnectDomainEventDeregisterAny(session->connection, session->events[i]);
    virConnectUnregisterCloseCallback(session->connection, connection_closed);
    g_clear_pointer(&session->connection, virConnectClose);
}

static gboolean
connect_session(ApmigLibvirtSession *session, GError **error)
{
    session->connection = apmig_libvirt_open(session->uri, APMIG_LIBVIRT_READ_ONLY, error);
    if (!session->connection || !connect_events(session, error))
        return FALSE;
    session->has_hook = g_strcmp0(virConnectGetType(session->connection), "QEMU") == 0;
    return TRUE;
}

/* It may hang, for as long as libvirt's keepalive lets it. */
static gpointer
disconnect_in_thread(gpointer data)
{
    ApmigLibvirtSession *session = data;

    disconnect_events(session);
    g_mutex_lock(&session->lock);
    session->disconnected = TRUE;
    g_cond_signal(&session->disconnected_cond);
    g_mutex_unlock(&session->lock);
    session_unref(session);
    return NULL;
}

static void
wait_for_disconnection(ApmigLibvirtSession *session, gint64 end)
{
    g_mutex_lock(&session->lock);
    while (!session->disconnected && g_cond_wait_until(&session->disconnected_cond, &session->lock, end))
        ;
    g_mutex_unlock(&session->lock);
}

static void
open_pools(ApmigLibvirtSession *session)
{
    for (guint i = 0; i < G_N_ELEMENTS(lanes); i++)
        session->pools[i] = apmig_libvirt_pool_new(session->uri, &lanes[i]);
    session->ready = TRUE;
}

static void
close_session(ApmigLibvirtSession *session, gint64 wait_usec)
{
    gint64 end = g_get_monotonic_time() + wait_usec;

    session->ready = FALSE;
    g_thread_unref(g_thread_new("libvirt-end", disconnect_in_thread, g_atomic_rc_box_acquire(session)));
    for (guint i = 0; i < G_N_ELEMENTS(lanes); i++)
        apmig_libvirt_pool_close(session->pools[i]);
    for (guint i = 0; i < G_N_ELEMENTS(lanes); i++)
        apmig_libvirt_pool_free(g_steal_pointer(&session->pools[i]), end);
    wait_for_disconnection(session, end);
}

static void
on_connected(gpointer data)
{
    ApmigLibvirtSession *session = data;

    if (!session->error)
        open_pools(session);
    if (!session->owner) {
        if (session->ready)
            close_session(session, 0);
    } else if (session->error) {
        session->report->lost(session->error->message, session->owner);
    } else if (session->closed) {
        session->report->lost(session->closed, session->owner);
    } else {
        session->report->opened(session->has_hook, session->owner);
    }
    session_unref(session);
}

static gpointer
connect_in_thread(gpointer data)
{
    ApmigLibvirtSession *session = data;

    if (!connect_session(session, &session->error))
        disconnect_events(session);
    apmig_post(on_connected, session, NULL);
    return NULL;
}

/* --- its owner's side ---------------------------------------------------------------------------- */

ApmigLibvirtSession *
apmig_libvirt_session_new(const char *uri, const ApmigLibvirtSessionEvents *events, gpointer owner)
{
    ApmigLibvirtSession *session = g_atomic_rc_box_new0(ApmigLibvirtSession);

    session->uri = g_strdup(uri);
    session->report = events;
    session->owner = owner;
    g_mutex_init(&session->lock);
    g_cond_init(&session->disconnected_cond);
    return session;
}

void
apmig_libvirt_session_open(ApmigLibvirtSession *session)
{
    g_thread_unref(g_thread_new("libvirt-connect", connect_in_thread, g_atomic_rc_box_acquire(session)));
}

void
apmig_libvirt_session_give_up(ApmigLibvirtSession *session, gint64 wait_usec)
{
    session->owner = NULL;
    if (session->ready)
        close_session(session, wait_usec);
    session_unref(session);
}

void
apmig_libvirt_session_forget(ApmigLibvirtSession *session, const char *uuid)
{
    for (guint i = 0; session->ready && i < G_N_ELEMENTS(lanes); i++)
        apmig_libvirt_pool_forget(session->pools[i], uuid);
}

static void
on_done(gpointer data)
{
    g_autofree SessionCall *call = data;

    call->done(call->session->owner, call->data);
    session_unref(call->session);
}

void
apmig_libvirt_session_post(ApmigLibvirtSession *session, ApmigLibvirtCallDone func, gpointer data)
{
    SessionCall *posted = g_new0(SessionCall, 1);

    posted->session = g_atomic_rc_box_acquire(session);
    posted->done = func;
    posted->data = data;
    apmig_post(on_done, posted, NULL);
}

static void
run_call(ApmigLibvirtConnection *connection, const GError *error, gpointer data)
{
    SessionCall *call = data;

    call->call(connection, error, call->data);
    apmig_post(on_done, call, NULL);
}

void
apmig_libvirt_session_call(ApmigLibvirtSession *session, ApmigLibvirtCallKind kind, ApmigLibvirtCall call,
                           ApmigLibvirtCallDone done, gpointer data)
{
    SessionCall *wrapped = g_new(SessionCall, 1);
    g_autoptr(GError) error = NULL;

    wrapped->session = g_atomic_rc_box_acquire(session);
    wrapped->call = call;
    wrapped->done = done;
    wrapped->data = data;
    if (session->ready) {
        apmig_libvirt_pool_run(session->pools[kind], run_call, wrapped);
        return;
    }
    error = g_error_new_literal(APMIG_ERROR, APMIG_ERROR_HYPERVISOR_UNAVAILABLE,
                                "there is no connection to libvirt");
    run_call(NULL, error, wrapped);
}
