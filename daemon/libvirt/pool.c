/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/pool.h"

#include <string.h>

#include <libvirt/virterror.h>

#include "base/error.h"

#define CALLS_PER_CONNECTION 4
#define MAX_CONNECTIONS      4
#define MAX_MESSAGE_BYTES    400

#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_COUNT      3

typedef struct {
    GMutex opening; /* guards @connection; held while it is opened, for those who wait for it */
    virConnectPtr connection;
    guint n_calls; /* guarded by the pool's lock */
} Lane;

/* Counted by g_atomic_rc_box: one reference is the owner's, one that of all workers together. */
struct ApmigLibvirtPool {
    char *uri;
    GThreadPool *threads;
    Lane lanes[MAX_CONNECTIONS];

    GMutex lock;
    GCond finished_cond;
    guint n_calls;     /* waiting and under way, and one more until the pool is closed */
    gboolean closed;   /* no call gets a connection any more */
    gboolean finished; /* every call has returned, every connection is closed */
};

typedef struct {
    ApmigLibvirtCall func; /* NULL: the one more call, given up by closing */
    gpointer data;
} QueuedCall;

char *
apmig_libvirt_error_message(void)
{
    g_autofree char *valid = g_utf8_make_valid(virGetLastErrorMessage(), -1);

    if (strlen(valid) > MAX_MESSAGE_BYTES) {
        char *end = g_utf8_find_prev_char(valid, valid + MAX_MESSAGE_BYTES + 1);
        *end = '\0';
    }
    for (char *p = valid, *next; *p != '\0'; p = next) {
        next = g_utf8_next_char(p);
        if (g_unichar_iscntrl(g_utf8_get_char(p)))
            memset(p, ' ', next - p);
    }
    return g_steal_pointer(&valid);
}

virConnectPtr
apmig_libvirt_open(const char *uri, GError **error)
{
    virConnectPtr connection = virConnectOpen(uri);

    if (!connection) {
        g_autofree char *message = apmig_libvirt_error_message();
        g_set_error(error, APMIG_ERROR, APMIG_ERROR_HYPERVISOR_UNAVAILABLE,
                    "cannot connect to libvirt at %s: %s", uri, message);
        return NULL;
    }
    /* A driver without a daemon has no keepalive, nor a need for it. */
    virConnectSetKeepAlive(connection, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT);
    return connection;
}

/* There is always one with room: the pool has as many threads as its lanes have places. */
static Lane *
take_place(ApmigLibvirtPool *pool)
{
    Lane *lane = NULL;

    g_mutex_lock(&pool->lock);
    if (!pool->closed) {
        lane = pool->lanes;
        while (lane->n_calls == CALLS_PER_CONNECTION)
            lane++;
        lane->n_calls++;
    }
    g_mutex_unlock(&pool->lock);
    return lane;
}

static void
give_place_back(ApmigLibvirtPool *pool, Lane *lane)
{
    g_mutex_lock(&pool->lock);
    lane->n_calls--;
    g_mutex_unlock(&pool->lock);
}

/* Returns: a reference to its connection; NULL with @error set. */
static virConnectPtr
connect_lane(ApmigLibvirtPool *pool, Lane *lane, GError **error)
{
    virConnectPtr connection;

    g_mutex_lock(&lane->opening);
    if (lane->connection && virConnectIsAlive(lane->connection) == 0)
        g_clear_pointer(&lane->connection, virConnectClose);
    if (!lane->connection)
        lane->connection = apmig_libvirt_open(pool->uri, error);
    connection = lane->connection;
    if (connection)
        virConnectRef(connection);
    g_mutex_unlock(&lane->opening);
    return connection;
}

static void
make_call(ApmigLibvirtPool *pool, const QueuedCall *call)
{
    g_autoptr(GError) error = NULL;
    virConnectPtr connection = NULL;
    Lane *lane = take_place(pool);

    if (lane)
        connection = connect_lane(pool, lane, &error);
    else
        g_set_error(&error, APMIG_ERROR, APMIG_ERROR_HYPERVISOR_UNAVAILABLE,
                    "the connection to libvirt is closed");
    call->func(connection, error, call->data);
    g_clear_pointer(&connection, virConnectClose);
    if (lane)
        give_place_back(pool, lane);
}

static void
pool_clear(gpointer data)
{
    ApmigLibvirtPool *pool = data;

    for (guint i = 0; i < MAX_CONNECTIONS; i++)
        g_mutex_clear(&pool->lanes[i].opening);
    g_mutex_clear(&pool->lock);
    g_cond_clear(&pool->finished_cond);
    g_free(pool->uri);
}

static void
finish(ApmigLibvirtPool *pool)
{
    for (guint i = 0; i < MAX_CONNECTIONS; i++)
        g_clear_pointer(&pool->lanes[i].connection, virConnectClose);
    g_mutex_lock(&pool->lock);
    pool->finished = TRUE;
    g_cond_signal(&pool->finished_cond);
    g_mutex_unlock(&pool->lock);
    g_atomic_rc_box_release_full(pool, pool_clear);
}

static void
work(gpointer data, gpointer user_data)
{
    ApmigLibvirtPool *pool = user_data;
    QueuedCall *call = data;
    gboolean last;

    if (call->func)
        make_call(pool, call);
    g_free(call);
    g_mutex_lock(&pool->lock);
    last = --pool->n_calls == 0;
    g_mutex_unlock(&pool->lock);
    if (last)
        finish(pool);
}

ApmigLibvirtPool *
apmig_libvirt_pool_new(const char *uri, virConnectPtr first)
{
    ApmigLibvirtPool *pool = g_atomic_rc_box_new0(ApmigLibvirtPool);

    g_atomic_rc_box_acquire(pool);
    pool->uri = g_strdup(uri);
    for (guint i = 0; i < MAX_CONNECTIONS; i++)
        g_mutex_init(&pool->lanes[i].opening);
    virConnectRef(first);
    pool->lanes[0].connection = first;
    g_mutex_init(&pool->lock);
    g_cond_init(&pool->finished_cond);
    pool->n_calls = 1;
    pool->threads = g_thread_pool_new(work, pool, MAX_CONNECTIONS * CALLS_PER_CONNECTION, FALSE, NULL);
    return pool;
}

static void
queue_call(ApmigLibvirtPool *pool, ApmigLibvirtCall func, gpointer data)
{
    QueuedCall *call = g_new(QueuedCall, 1);

    call->func = func;
    call->data = data;
    g_thread_pool_push(pool->threads, call, NULL);
}

void
apmig_libvirt_pool_run(ApmigLibvirtPool *pool, ApmigLibvirtCall call, gpointer data)
{
    g_mutex_lock(&pool->lock);
    pool->n_calls++;
    g_mutex_unlock(&pool->lock);
    queue_call(pool, call, data);
}

void
apmig_libvirt_pool_close(ApmigLibvirtPool *pool, gint64 wait_usec)
{
    GThreadPool *threads = pool->threads;
    gint64 end = g_get_monotonic_time() + wait_usec;

    g_mutex_lock(&pool->lock);
    pool->closed = TRUE;
    g_mutex_unlock(&pool->lock);
    queue_call(pool, NULL, NULL);
    g_thread_pool_free(threads, FALSE, FALSE);

    g_mutex_lock(&pool->lock);
    while (wait_usec > 0 && !pool->finished && g_cond_wait_until(&pool->finished_cond, &pool->lock, end))
        ;
    g_mutex_unlock(&pool->lock);
    g_atomic_rc_box_release_full(pool, pool_clear);
}
