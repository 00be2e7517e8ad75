/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Entries on their way to a log that is not read. */
#include "base/log-queue.h"

#include <string.h>

#define SECOND ((gint64)G_USEC_PER_SEC)

static GMutex reader; /* held by a test: writing hangs */
static GPtrArray *read_texts;
static ApmigLogQueue *queues[4]; /* of each case: one is never freed, for somebody may still log */
static guint n_queues;

static void
write_text(gpointer entry)
{
    g_mutex_lock(&reader);
    g_ptr_array_add(read_texts, entry);
    g_mutex_unlock(&reader);
}

static gpointer
describe_loss(guint64 n_strange, guint64 n_others)
{
    return g_strdup_printf("lost %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT, n_strange, n_others);
}

static ApmigLogQueue *
begin(void)
{
    static const ApmigLogQueueFuncs funcs = {write_text, g_free, describe_loss};

    read_texts = g_ptr_array_new_with_free_func(g_free);
    g_assert_cmpuint(n_queues, <, G_N_ELEMENTS(queues));
    queues[n_queues] = apmig_log_queue_new(&funcs);
    return queues[n_queues++];
}

static void
put(ApmigLogQueue *queue, ApmigLogRank rank, guint number)
{
    static const char *const names[] = {"kept", "common", "strange"};

    apmig_log_queue_put(queue, rank, g_strdup_printf("%s %u", names[rank], number));
}

/* Returns: how many there are of that kind, which must be in order. */
static guint
count(const char *name)
{
    guint n = 0;
    gint64 last = -1;

    for (guint i = 0; i < read_texts->len; i++) {
        const char *text = g_ptr_array_index(read_texts, i);
        gint64 number;

        if (!g_str_has_prefix(text, name))
            continue;
        number = g_ascii_strtoll(text + strlen(name) + 1, NULL, 10);
        g_assert_cmpint(number, >, last);
        last = number;
        n++;
    }
    return n;
}

static void
test_read_at_once(void)
{
    ApmigLogQueue *queue = begin();

    for (guint i = 0; i < 100; i++) {
        put(queue, (ApmigLogRank)(i % APMIG_N_LOG_RANKS), i);
        g_mutex_lock(&reader);
        g_assert_cmpuint(read_texts->len, ==, i + 1);
        g_mutex_unlock(&reader);
    }
    g_assert_true(apmig_log_queue_end(queue, 60 * SECOND));
    g_ptr_array_unref(read_texts);
}

/* Who logs goes on; what anybody can bring about is left out, and counted in one entry. */
static void
test_not_read(void)
{
    ApmigLogQueue *queue = begin();
    const guint rounds = 3000;

    g_mutex_lock(&reader);
    for (guint i = 0; i < rounds; i++) {
        put(queue, APMIG_LOG_RANK_STRANGE, 2 * i);
        put(queue, APMIG_LOG_RANK_KEPT, i);
        put(queue, APMIG_LOG_RANK_STRANGE, 2 * i + 1);
        put(queue, APMIG_LOG_RANK_COMMON, i);
    }
    g_mutex_unlock(&reader);
    g_assert_true(apmig_log_queue_end(queue, 60 * SECOND));
    g_assert_cmpuint(count("kept"), ==, rounds);
    g_assert_cmpuint(count("common"), ==, rounds);
    g_assert_cmpuint(count("strange"), >=, APMIG_LOG_QUEUE_OTHERS - rounds);
    g_assert_cmpuint(count("lost"), ==, 1);
    for (guint i = 0; i < read_texts->len; i++) {
        g_autofree char *expected = g_strdup_printf("lost %u 0", 2 * rounds - count("strange"));

        if (g_str_has_prefix(g_ptr_array_index(read_texts, i), "lost"))
            g_assert_cmpstr(g_ptr_array_index(read_texts, i), ==, expected);
    }
    g_ptr_array_unref(read_texts);
}

/* Before what is kept is left out nothing else is left. */
static void
test_full(void)
{
    ApmigLogQueue *queue = begin();

    g_mutex_lock(&reader);
    put(queue, APMIG_LOG_RANK_KEPT, 0); /* which is under way */
    for (guint i = 0; i < APMIG_LOG_QUEUE_OTHERS; i++)
        put(queue, APMIG_LOG_RANK_COMMON, i);
    for (guint i = 1; i <= APMIG_LOG_QUEUE_ALL + 7; i++)
        put(queue, APMIG_LOG_RANK_KEPT, i);
    g_mutex_unlock(&reader);
    g_assert_true(apmig_log_queue_end(queue, 60 * SECOND));
    g_assert_cmpuint(count("common"), ==, 0);
    g_assert_cmpuint(count("kept"), ==, APMIG_LOG_QUEUE_ALL + 1);
    g_ptr_array_unref(read_texts);
}

static void
test_end_is_not_waited_for(void)
{
    ApmigLogQueue *queue = begin();

    g_mutex_lock(&reader);
    put(queue, APMIG_LOG_RANK_KEPT, 0);
    g_assert_false(apmig_log_queue_end(queue, SECOND / 100));
    put(queue, APMIG_LOG_RANK_KEPT, 1); /* goes nowhere */
    g_mutex_unlock(&reader);
    g_assert_true(apmig_log_queue_end(queue, 60 * SECOND));
    g_assert_cmpuint(count("kept"), ==, 1);
    g_ptr_array_unref(read_texts);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/log-queue/read-at-once", test_read_at_once);
    g_test_add_func("/log-queue/not-read", test_not_read);
    g_test_add_func("/log-queue/full", test_full);
    g_test_add_func("/log-queue/end", test_end_is_not_waited_for);
    return g_test_run();
}
