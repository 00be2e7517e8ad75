/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one way from a thread to the main loop: what is posted is called there, in the order of posting. A mailbox is that for
 * answers to somebody who may be gone when they come.
 */
#pragma once

#include <glib.h>

typedef void (*ApmigPostFunc)(gpointer data);

/**
 * apmig_post: any thread; has @func called in the main loop, never from within the call
 * @free_data: (nullable): called after @func
 *
 * g_main_context_invoke() would call it here when no loop is running yet.
 */
void apmig_post(ApmigPostFunc func, gpointer data, GDestroyNotify free_data);

typedef struct ApmigMailbox ApmigMailbox;

/* @item: (transfer full) */
typedef void (*ApmigMailboxFunc)(gpointer item, gpointer user_data);

/**
 * apmig_mailbox_new: in the main loop's thread
 * @func: called there with each item that is put in, until the mailbox is closed
 * @free_item: for what comes after that
 */
ApmigMailbox *apmig_mailbox_new(ApmigMailboxFunc func, gpointer user_data, GDestroyNotify free_item);

/* Any thread, before the mailbox is closed. @item: (transfer full) */
void apmig_mailbox_put(ApmigMailbox *mailbox, gpointer item);

/* The main loop's thread. @mailbox: (transfer full) (nullable): nothing is handed on after it. */
void apmig_mailbox_close(ApmigMailbox *mailbox);
