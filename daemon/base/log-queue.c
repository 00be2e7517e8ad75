/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log-queue.h"

/* So long who logs waits, once, for a log that is not read. */
#define PATIENCE_USEC (100 * 1000)

/* What was left out is told of when there is so much room again: not after each single entry that is read. */
#define ROOM_TO_TELL (APMIG_LOG_QUEUE_OTHERS / 2)

typedef struct {
    guint64 number;
    gpointer entry;
} Item;

struct ApmigLogQueue {
    ApmigLogQueueFuncs funcs;
    GMutex mutex;
    GCond more, less;
    GQueue items[APMIG_N_LOG_RANKS]; /* of Item */
    guint64 last_number;             /* of what was put in */
    guint64 written;                 /* all up to that number are, or were left out */
    guint64 lost[APMIG_N_LOG_RANKS]; /* not told of yet */
    gboolean is_late;                /* somebody has waited in vain, and it was not empty since */
    gboolean is_ending;
    gboolean has_ended;
};

/* --- room ---------------------------------------------------------------------------------------- */

static guint
count_others(const ApmigLogQueue *queue)
{
    return queue->items[APMIG_LOG_RANK_COMMON].length + queue->items[APMIG_LOG_RANK_STRANGE].length;
}

static gboolean
is_full(const ApmigLogQueue *queue, ApmigLogRank rank)
{
    guint others = count_others(queue);

    if (rank != APMIG_LOG_RANK_KEPT && others >= APMIG_LOG_QUEUE_OTHERS)
        return TRUE;
    return queue->items[APMIG_LOG_RANK_KEPT].length + others >= APMIG_LOG_QUEUE_ALL;
}

/* Returns: whether an entry of lower rank than @rank has given way. */
static gboolean
make_room(ApmigLogQueue *queue, ApmigLogRank rank)
{
    for (guint lower = APMIG_N_LOG_RANKS - 1; lower > rank; lower--) {
        Item *item = g_queue_pop_tail(&queue->items[lower]);

        if (!item)
            continue;
        queue->funcs.free_entry(item->entry);
        g_free(item);
        queue->lost[lower]++;
        return TRUE;
    }
    return FALSE;
}

/* --- writing ------------------------------------------------------------------------------------- */

/* Returns: (transfer full) (nullable): the oldest one. */
static Item *
pop_oldest(ApmigLogQueue *queue)
{
    GQueue *oldest = NULL;

    for (guint rank = 0; rank < APMIG_N_LOG_RANKS; rank++) {
        const Item *item = g_queue_peek_head(&queue->items[rank]);

        if (item && (!oldest || item->number < ((Item *)g_queue_peek_head(oldest))->number))
            oldest = &queue->items[rank];
    }
    return oldest ? g_queue_pop_head(oldest) : NULL;
}

/* Returns: (transfer full) (nullable): an entry on what was left out, if it is time for that. */
static gpointer
tell_loss(ApmigLogQueue *queue)
{
    guint64 strange = queue->lost[APMIG_LOG_RANK_STRANGE];
    guint64 others = queue->lost[APMIG_LOG_RANK_COMMON] + queue->lost[APMIG_LOG_RANK_KEPT];

    if ((!strange && !others) || count_others(queue) > ROOM_TO_TELL)
        return NULL;
    for (guint rank = 0; rank < APMIG_N_LOG_RANKS; rank++)
        queue->lost[rank] = 0;
    return queue->funcs.describe_loss(strange, others);
}

/* Without the mutex meanwhile. */
static void
write_unlocked(ApmigLogQueue *queue, gpointer entry)
{
    g_mutex_unlock(&queue->mutex);
    queue->funcs.write(entry);
    g_mutex_lock(&queue->mutex);
}

/* Returns: FALSE: there is nothing. */
static gboolean
write_next(ApmigLogQueue *queue)
{
    gpointer loss = tell_loss(queue);
    Item *item;

    if (loss)
        write_unlocked(queue, loss);
    item = pop_oldest(queue);
    if (!item)
        return loss != NULL;
    write_unlocked(queue, item->entry);
    queue->written = item->number;
    g_free(item);
    g_cond_broadcast(&queue->less);
    return TRUE;
}

static gpointer
run(gpointer data)
{
    ApmigLogQueue *queue = data;

    g_mutex_lock(&queue->mutex);
    for (;;) {
        if (write_next(queue))
            continue;
        queue->is_late = FALSE;
        if (queue->is_ending)
            break;
        g_cond_wait(&queue->more, &queue->mutex);
    }
    queue->has_ended = TRUE;
    g_cond_broadcast(&queue->less);
    g_mutex_unlock(&queue->mutex);
    return NULL;
}

/* --- for all ------------------------------------------------------------------------------------- */

ApmigLogQueue *
apmig_log_queue_new(const ApmigLogQueueFuncs *funcs)
{
    ApmigLogQueue *queue = g_new0(ApmigLogQueue, 1);

    queue->funcs = *funcs;
    g_mutex_init(&queue->mutex);
    g_cond_init(&queue->more);
    g_cond_init(&queue->less);
    for (guint rank = 0; rank < APMIG_N_LOG_RANKS; rank++)
        g_queue_init(&queue->items[rank]);
    g_thread_unref(g_thread_new("log", run, queue));
    return queue;
}

static void
wait_until_written(ApmigLogQueue *queue, guint64 number)
{
    gint64 end = g_get_monotonic_time() + PATIENCE_USEC;

    while (!queue->is_late && queue->written < number)
        if (!g_cond_wait_until(&queue->less, &queue->mutex, end))
            queue->is_late = queue->written < number;
}

void
apmig_log_queue_put(ApmigLogQueue *queue, ApmigLogRank rank, gpointer entry)
{
    g_mutex_lock(&queue->mutex);
    if (queue->is_ending || (is_full(queue, rank) && !make_room(queue, rank))) {
        queue->funcs.free_entry(entry);
        queue->lost[rank]++;
    } else {
        Item *item = g_new(Item, 1);

        *item = (Item){++queue->last_number, entry};
        g_queue_push_tail(&queue->items[rank], item);
        g_cond_signal(&queue->more);
        wait_until_written(queue, item->number);
    }
    g_mutex_unlock(&queue->mutex);
}

gboolean
apmig_log_queue_end(ApmigLogQueue *queue, gint64 limit_usec)
{
    gint64 end = g_get_monotonic_time() + limit_usec;
    gboolean ok;

    g_mutex_lock(&queue->mutex);
    queue->is_ending = TRUE;
    g_cond_signal(&queue->more);
    while (!queue->has_ended && g_cond_wait_until(&queue->less, &queue->mutex, end))
        ;
    ok = queue->has_ended;
    g_mutex_unlock(&queue->mutex);
    return ok;
}
