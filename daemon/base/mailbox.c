/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/mailbox.h"

struct ApmigMailbox {
    ApmigMailboxFunc func;
    gpointer user_data;
    GDestroyNotify free_item;
    GSource *source;
    GMutex mutex; /* for what follows */
    GQueue items;
    gboolean is_closed;
};

static void
mailbox_clear(gpointer data)
{
    ApmigMailbox *mailbox = data;

    g_queue_clear_full(&mailbox->items, mailbox->free_item);
    g_source_unref(mailbox->source);
    g_mutex_clear(&mailbox->mutex);
}

static gpointer
take(ApmigMailbox *mailbox)
{
    gpointer item;

    g_mutex_lock(&mailbox->mutex);
    item = g_queue_pop_head(&mailbox->items);
    g_mutex_unlock(&mailbox->mutex);
    return item;
}

/* What is put in meanwhile has its turn after other sources: a busy thread must not keep the main loop. */
static gboolean
hand_on(gpointer data)
{
    ApmigMailbox *mailbox = apmig_mailbox_ref(data); /* it may be closed by what it hands on */
    guint n;

    g_source_set_ready_time(mailbox->source, -1);
    g_mutex_lock(&mailbox->mutex);
    n = mailbox->items.length;
    g_mutex_unlock(&mailbox->mutex);
    for (guint i = 0; i < n && !mailbox->is_closed; i++)
        mailbox->func(take(mailbox), mailbox->user_data);
    apmig_mailbox_unref(mailbox);
    return G_SOURCE_CONTINUE;
}

static gboolean
dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
    return callback(data);
}

ApmigMailbox *
apmig_mailbox_new(const char *name, ApmigMailboxFunc func, gpointer user_data, GDestroyNotify free_item)
{
    static GSourceFuncs funcs = {.dispatch = dispatch};
    ApmigMailbox *mailbox = g_atomic_rc_box_new0(ApmigMailbox);

    mailbox->func = func;
    mailbox->user_data = user_data;
    mailbox->free_item = free_item;
    g_mutex_init(&mailbox->mutex);
    g_queue_init(&mailbox->items);
    mailbox->source = g_source_new(&funcs, sizeof(GSource));
    g_source_set_name(mailbox->source, name);
    g_source_set_callback(mailbox->source, hand_on, mailbox, NULL);
    g_source_attach(mailbox->source, g_main_context_get_thread_default());
    return mailbox;
}

ApmigMailbox *
apmig_mailbox_ref(ApmigMailbox *mailbox)
{
    return g_atomic_rc_box_acquire(mailbox);
}

void
apmig_mailbox_unref(ApmigMailbox *mailbox)
{
    if (mailbox)
        g_atomic_rc_box_release_full(mailbox, mailbox_clear);
}

void
apmig_mailbox_put(ApmigMailbox *mailbox, gpointer item)
{
    gboolean is_closed;

    g_mutex_lock(&mailbox->mutex);
    is_closed = mailbox->is_closed;
    if (!is_closed)
        g_queue_push_tail(&mailbox->items, item);
    g_mutex_unlock(&mailbox->mutex);
    if (is_closed)
        mailbox->free_item(item);
    else
        g_source_set_ready_time(mailbox->source, 0);
}

void
apmig_mailbox_close(ApmigMailbox *mailbox)
{
    if (!mailbox)
        return;
    g_mutex_lock(&mailbox->mutex);
    mailbox->is_closed = TRUE;
    g_queue_clear_full(&mailbox->items, mailbox->free_item);
    g_mutex_unlock(&mailbox->mutex);
    g_source_destroy(mailbox->source);
    apmig_mailbox_unref(mailbox);
}
