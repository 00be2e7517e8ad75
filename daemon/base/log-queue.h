/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Entries on their way to a log whose reader may hang: a thread writes them, and nobody else waits for it longer than a moment.
 * There is room for so many; what is of lower rank gives way to what is of higher. Their order is kept.
 */
#pragma once

#include <glib.h>

typedef enum {
    APMIG_LOG_RANK_KEPT,    /* has room of its own, and gets that of the others at need */
    APMIG_LOG_RANK_COMMON,  /* has room that it shares with the next */
    APMIG_LOG_RANK_STRANGE, /* what anybody can bring about: goes first */
    APMIG_N_LOG_RANKS,
} ApmigLogRank;

/* Room for entries of rank COMMON and STRANGE, and for all. */
#define APMIG_LOG_QUEUE_OTHERS 4096
#define APMIG_LOG_QUEUE_ALL    20480

typedef struct ApmigLogQueue ApmigLogQueue;

typedef struct {
    /* In the queue's thread. @entry: (transfer full) */
    void (*write)(gpointer entry);
    GDestroyNotify free_entry;
    /* Returns: (transfer full): an entry that tells of those that were left out, of rank STRANGE and of the others. */
    gpointer (*describe_loss)(guint64 n_strange, guint64 n_others);
} ApmigLogQueueFuncs;

/* Starts the thread. */
ApmigLogQueue *apmig_log_queue_new(const ApmigLogQueueFuncs *funcs);

/**
 * apmig_log_queue_put: any thread
 * @entry: (transfer full)
 *
 * As long as the log is read, it is written when this returns; once it is not, nobody waits until it has been read to the
 * end. What was left out is told of when it is read again.
 */
void apmig_log_queue_put(ApmigLogQueue *queue, ApmigLogRank rank, gpointer entry);

/**
 * apmig_log_queue_end: waits for so long at most until all is written; what is put in later is left out
 * @queue: stays, for its thread may still be at it
 *
 * Returns: whether all is written.
 */
gboolean apmig_log_queue_end(ApmigLogQueue *queue, gint64 limit_usec);
