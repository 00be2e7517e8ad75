/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one way from a thread to the main loop: what is put into a mailbox by any thread is handed on in the main loop's, in
 * order. Who may be called to late, by a thread that hangs in a system call, keeps a reference of its own.
 */
#pragma once

#include <glib.h>

typedef struct ApmigMailbox ApmigMailbox;

/* @item: (transfer full). Called in the main loop, never from within apmig_mailbox_put(). */
typedef void (*ApmigMailboxFunc)(gpointer item, gpointer user_data);

/**
 * apmig_mailbox_new: in the main loop's thread
 * @name: (static): of the source, for debuggers
 * @free_item: for what is never handed on
 *
 * Returns: (transfer full): a reference; the mailbox is open until apmig_mailbox_close().
 */
ApmigMailbox *apmig_mailbox_new(const char *name, ApmigMailboxFunc func, gpointer user_data,
                                GDestroyNotify free_item);
/* Any thread. */
ApmigMailbox *apmig_mailbox_ref(ApmigMailbox *mailbox);
/* Any thread. @mailbox: (nullable) */
void apmig_mailbox_unref(ApmigMailbox *mailbox);

/* Any thread. @item: (transfer full): freed when the mailbox is closed. */
void apmig_mailbox_put(ApmigMailbox *mailbox, gpointer item);

/* The main loop's thread. @mailbox: (transfer full) (nullable): nothing is handed on after it. */
void apmig_mailbox_close(ApmigMailbox *mailbox);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigMailbox, apmig_mailbox_close)
