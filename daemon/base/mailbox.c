/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/mailbox.h"

/* --- posting ------------------------------------------------------------------------------------- */

typedef struct {
    ApmigPostFunc func;
    gpointer data;
    GDestroyNotify free_data;
} Post;

static void
post_free(gpointer data)
{
    Post *post = data;

    if (post->free_data)
        post->free_data(post->data);
    g_free(post);
}

static gboolean
call(gpointer data)
{
    const Post *post = data;

    post->func(post->data);
    return G_SOURCE_REMOVE;
}

void
apmig_post(ApmigPostFunc func, gpointer data, GDestroyNotify free_data)
{
    GSource *source = g_idle_source_new();
    Post *post = g_new(Post, 1);

    *post = (Post){func, data, free_data};
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, call, post, post_free);
    g_source_attach(source, NULL);
    g_source_unref(source);
}

/* --- mailboxes ----------------------------------------------------------------------------------- */

struct ApmigMailbox {
    ApmigMailboxFunc func;
    gpointer user_data;
    GDestroyNotify free_item;
    gboolean is_closed; /* the main loop's alone */
};

typedef struct {
    ApmigMailbox *mailbox; /* a reference */
    gpointer item;
} Letter;

static void
letter_free(gpointer data)
{
    Letter *letter = data;

    g_atomic_rc_box_release(letter->mailbox);
    g_free(letter);
}

static void
hand_on(gpointer data)
{
    Letter *letter = data;

    if (letter->mailbox->is_closed)
        letter->mailbox->free_item(letter->item);
    else
        letter->mailbox->func(letter->item, letter->mailbox->user_data);
}

ApmigMailbox *
apmig_mailbox_new(ApmigMailboxFunc func, gpointer user_data, GDestroyNotify free_item)
{
    ApmigMailbox *mailbox = g_atomic_rc_box_new0(ApmigMailbox);

    mailbox->func = func;
    mailbox->user_data = user_data;
    mailbox->free_item = free_item;
    return mailbox;
}

void
apmig_mailbox_put(ApmigMailbox *mailbox, gpointer item)
{
    Letter *letter = g_new(Letter, 1);

    *letter = (Letter){g_atomic_rc_box_acquire(mailbox), item};
    apmig_post(hand_on, letter, letter_free);
}

void
apmig_mailbox_close(ApmigMailbox *mailbox)
{
    if (!mailbox)
        return;
    mailbox->is_closed = TRUE;
    g_atomic_rc_box_release(mailbox);
}
