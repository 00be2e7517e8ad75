/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/pool.h"

#include "base/error.h"

#define THREAD_PAUSE_MS 100 /* before one is tried again that could not be made */
#define MAX_FORGOTTEN   64  /* by name; more are all */

typedef struct {
    ApmigLibvirtCall func;
    gpointer data;
} Call;

/* A place for a thread with a connection. All of it is guarded by the pool's lock. */
typedef struct {
    ApmigLibvirtPool *pool;
    gboolean is_open; /* has a thread, which takes calls */
    gboolean is_busy; /* with a call, */
    gint64 since;     /* which it was given then, monotonic, */
    Call *next;       /* and has not begun with */
    GCond wake;
    GPtrArray *forgotten; /* (nullable): UUIDs, since its last call */
} Lane;

/* Counted by g_atomic_rc_box: one reference is the owner's, and one each thread's. */
struct ApmigLibvirtPool {
    char *uri;
    ApmigLibvirtLanes rules;
    guint growth_source; /* the main loop's */

    GMutex lock;
    Lane *lanes;      /* of rules.max_lanes */
    GQueue calls;     /* of Call: wait for a lane */
    guint n_threads;  /* also those of lanes that are closing */
    GCond ended_cond; /* one of them less */
    gboolean closed;  /* no call gets a connection any more */
};

/* --- a lane's thread ----------------------------------------------------------------------------- */

/* Returns: NULL when there is none for too long, or no more: the lane is no longer open then. */
static Call *
next_call(Lane *lane)
{
    ApmigLibvirtPool *pool = lane->pool;
    gint64 now = g_get_monotonic_time();
    Call *call;

    g_mutex_lock(&pool->lock);
    if (!lane->next) { /* at its beginning it has one */
        lane->next = g_queue_pop_head(&pool->calls);
        lane->since = now;
        lane->is_busy = lane->next != NULL;
    }
    while (!lane->next && !pool->closed &&
           g_cond_wait_until(&lane->wake, &pool->lock, now + pool->rules.linger_usec))
        ;
    call = g_steal_pointer(&lane->next);
    lane->is_open = call != NULL;
    g_mutex_unlock(&pool->lock);
    return call;
}

/* Returns: (transfer full) (nullable) */
static GPtrArray *
take_forgotten(Lane *lane, gboolean *ret_closed)
{
    ApmigLibvirtPool *pool = lane->pool;
    GPtrArray *forgotten;

    g_mutex_lock(&pool->lock);
    *ret_closed = pool->closed;
    forgotten = g_steal_pointer(&lane->forgotten);
    g_mutex_unlock(&pool->lock);
    return forgotten;
}

static void
forget_guests(ApmigLibvirtConnection *connection, const GPtrArray *uuids)
{
    if (uuids->len > MAX_FORGOTTEN)
        apmig_libvirt_connection_forget_all(connection);
    else
        for (guint i = 0; i < uuids->len; i++)
            apmig_libvirt_connection_forget(connection, g_ptr_array_index(uuids, i));
}

static void
set_closed(GError **error)
{
    g_set_error(error, APMIG_ERROR, APMIG_ERROR_HYPERVISOR_UNAVAILABLE,
                "the connection to libvirt is closed");
}

static void
make_call(Lane *lane, ApmigLibvirtConnection *connection, const Call *call)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) forgotten = NULL;
    gboolean closed;

    forgotten = take_forgotten(lane, &closed);
    if (forgotten)
        forget_guests(connection, forgotten);
    if (closed)
        set_closed(&error);
    else if (!apmig_libvirt_connection_open(connection, &error))
        g_assert(error);
    call->func(!error ? connection : NULL, error, call->data);
}

static void
pool_clear(gpointer data)
{
    ApmigLibvirtPool *pool = data;

    for (guint i = 0; i < pool->rules.max_lanes; i++) {
        g_cond_clear(&pool->lanes[i].wake);
        g_clear_pointer(&pool->lanes[i].forgotten, g_ptr_array_unref);
    }
    g_free(pool->lanes);
    g_mutex_clear(&pool->lock);
    g_cond_clear(&pool->ended_cond);
    g_free(pool->uri);
}

static void
end_thread(ApmigLibvirtPool *pool)
{
    g_mutex_lock(&pool->lock);
    pool->n_threads--;
    g_cond_signal(&pool->ended_cond);
    g_mutex_unlock(&pool->lock);
    g_atomic_rc_box_release_full(pool, pool_clear);
}

/* Its connection is closed after the lane, which may be opened anew meanwhile. */
static gpointer
run_lane(gpointer data)
{
    Lane *lane = data;
    ApmigLibvirtPool *pool = lane->pool;
    ApmigLibvirtConnection *connection = apmig_libvirt_connection_new(pool->uri, pool->rules.access);
    Call *call;

    while ((call = next_call(lane))) {
        make_call(lane, connection, call);
        g_free(call);
    }
    apmig_libvirt_connection_free(connection);
    end_thread(pool);
    return NULL;
}

/* --- handing out: in the main loop's thread, with the pool's lock -------------------------------------------- */

static void
give(Lane *lane, gint64 now)
{
    lane->next = g_queue_pop_head(&lane->pool->calls);
    lane->since = now;
    lane->is_busy = TRUE;
    g_cond_signal(&lane->wake);
}

static gboolean
open_lane(Lane *lane, gint64 now)
{
    ApmigLibvirtPool *pool = lane->pool;
    GThread *thread = g_thread_try_new(pool->rules.name, run_lane, lane, NULL);

    if (!thread)
        return FALSE;
    g_thread_unref(thread);
    g_atomic_rc_box_acquire(pool);
    pool->n_threads++;
    lane->is_open = TRUE;
    give(lane, now);
    return TRUE;
}

typedef struct {
    Lane *idle;     /* (nullable): the first of these, so that the last ones are closed */
    Lane *not_open; /* (nullable): the first of these */
    guint n_open;
    gint64 last; /* when the last one that is busy was given its call */
} Survey;

static Survey
survey_lanes(const ApmigLibvirtPool *pool)
{
    Survey survey = {.last = G_MININT64};

    for (guint i = pool->rules.max_lanes; i-- > 0;) {
        Lane *lane = &pool->lanes[i];

        survey.n_open += lane->is_open;
        if (!lane->is_open)
            survey.not_open = lane;
        else if (!lane->is_busy)
            survey.idle = lane;
        else
            survey.last = MAX(survey.last, lane->since);
    }
    return survey;
}

/* Returns: when to try again, monotonic; 0: not before a lane has finished its call, which takes the next by itself. */
static gint64
hand_out(ApmigLibvirtPool *pool)
{
    gint64 now = g_get_monotonic_time();

    while (!g_queue_is_empty(&pool->calls)) {
        Survey lanes = survey_lanes(pool);

        if (lanes.idle)
            give(lanes.idle, now);
        else if (!lanes.not_open)
            return 0;
        else if (lanes.n_open >= pool->rules.n_lanes && now - lanes.last < pool->rules.stuck_usec)
            return lanes.last + pool->rules.stuck_usec;
        else if (!open_lane(lanes.not_open, now))
            return now + THREAD_PAUSE_MS * G_TIME_SPAN_MILLISECOND;
    }
    return 0;
}

static gboolean on_growth(gpointer data);

static void
hand_out_now_and_later(ApmigLibvirtPool *pool)
{
    gint64 next;

    g_mutex_lock(&pool->lock);
    next = hand_out(pool);
    g_mutex_unlock(&pool->lock);
    if (next != 0 && pool->growth_source == 0) {
        gint64 wait_ms = (next - g_get_monotonic_time()) / G_TIME_SPAN_MILLISECOND + 1;
        pool->growth_source = g_timeout_add(CLAMP(wait_ms, 1, G_MAXINT), on_growth, pool);
    }
}

static gboolean
on_growth(gpointer data)
{
    ApmigLibvirtPool *pool = data;

    pool->growth_source = 0;
    hand_out_now_and_later(pool);
    return G_SOURCE_REMOVE;
}

/* --- its owner's side ---------------------------------------------------------------------------- */

ApmigLibvirtPool *
apmig_libvirt_pool_new(const char *uri, const ApmigLibvirtLanes *lanes)
{
    ApmigLibvirtPool *pool = g_atomic_rc_box_new0(ApmigLibvirtPool);

    pool->uri = g_strdup(uri);
    pool->rules = *lanes;
    g_mutex_init(&pool->lock);
    g_cond_init(&pool->ended_cond);
    g_queue_init(&pool->calls);
    pool->lanes = g_new0(Lane, lanes->max_lanes);
    for (guint i = 0; i < lanes->max_lanes; i++) {
        pool->lanes[i].pool = pool;
        g_cond_init(&pool->lanes[i].wake);
    }
    return pool;
}

void
apmig_libvirt_pool_run(ApmigLibvirtPool *pool, ApmigLibvirtCall call, gpointer data)
{
    Call *waiting = g_new(Call, 1);

    *waiting = (Call){call, data};
    g_mutex_lock(&pool->lock);
    g_queue_push_tail(&pool->calls, waiting);
    g_mutex_unlock(&pool->lock);
    hand_out_now_and_later(pool);
}

static void
note_forgotten(Lane *lane, const char *uuid)
{
    if (!lane->forgotten)
        lane->forgotten = g_ptr_array_new_with_free_func(g_free);
    if (lane->forgotten->len <= MAX_FORGOTTEN)
        g_ptr_array_add(lane->forgotten, g_strdup(uuid));
}

void
apmig_libvirt_pool_forget(ApmigLibvirtPool *pool, const char *uuid)
{
    g_mutex_lock(&pool->lock);
    for (guint i = 0; i < pool->rules.max_lanes; i++)
        if (pool->lanes[i].is_open)
            note_forgotten(&pool->lanes[i], uuid);
    g_mutex_unlock(&pool->lock);
}

/* Returns: (transfer full) (element-type Call) */
static GList *
close_lanes(ApmigLibvirtPool *pool)
{
    GList *calls;

    g_mutex_lock(&pool->lock);
    pool->closed = TRUE;
    calls = g_steal_pointer(&pool->calls.head);
    g_queue_init(&pool->calls);
    for (guint i = 0; i < pool->rules.max_lanes; i++)
        g_cond_signal(&pool->lanes[i].wake);
    g_mutex_unlock(&pool->lock);
    return calls;
}

void
apmig_libvirt_pool_close(ApmigLibvirtPool *pool)
{
    g_autoptr(GError) error = NULL;
    GList *calls;

    g_clear_handle_id(&pool->growth_source, g_source_remove);
    calls = close_lanes(pool);
    set_closed(&error);
    for (GList *link = calls; link; link = link->next) {
        const Call *call = link->data;
        call->func(NULL, error, call->data);
    }
    g_list_free_full(calls, g_free);
}

void
apmig_libvirt_pool_free(ApmigLibvirtPool *pool, gint64 end)
{
    g_mutex_lock(&pool->lock);
    while (pool->n_threads > 0 && g_cond_wait_until(&pool->ended_cond, &pool->lock, end))
        ;
    g_mutex_unlock(&pool->lock);
    g_atomic_rc_box_release_full(pool, pool_clear);
}
