/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The event loop that libvirt is given, as libvirt uses it: by virEventAddHandle() and its like, from any thread.
 */
#include "libvirt/event-loop.h"

#include <glib.h>
#include <libvirt/libvirt.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define WAIT_USEC (20 * G_USEC_PER_SEC)

#define BOTH (VIR_EVENT_HANDLE_READABLE | VIR_EVENT_HANDLE_WRITABLE)

/* Something watched, and what came of it. */
typedef struct {
    int id, fd, peer;
    guint n_calls, n_freed;
    int events; /* of the last call */
    void (*react)(gpointer watched);
    gboolean in_remove;
} Watched;

static void
on_handle(int id, int fd, int events, void *data)
{
    Watched *watched = data;

    g_assert_cmpint(id, ==, watched->id);
    g_assert_cmpint(fd, ==, watched->fd);
    g_assert_cmpuint(watched->n_freed, ==, 0);
    watched->n_calls++;
    watched->events = events;
    if (watched->react)
        watched->react(watched);
}

static void
on_timeout(int id, void *data)
{
    on_handle(id, -1, 0, data);
}

static void
on_free(void *data)
{
    Watched *watched = data;

    g_assert_false(watched->in_remove); /* libvirt holds a lock then that this takes */
    g_atomic_int_inc(&watched->n_freed);
}

static void
socket_begin(Watched *watched, int events)
{
    int pair[2];

    *watched = (Watched){0};
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    watched->fd = pair[0];
    watched->peer = pair[1];
    watched->id = virEventAddHandle(watched->fd, events, on_handle, watched, on_free);
    g_assert_cmpint(watched->id, >, 0);
}

static void
send_byte(const Watched *watched)
{
    g_assert_cmpint(write(watched->peer, "x", 1), ==, 1);
}

static void
receive_byte(gpointer data)
{
    const Watched *watched = data;
    char byte;

    g_assert_cmpint(read(watched->fd, &byte, 1), ==, 1);
}

static void
run_all(void)
{
    while (g_main_context_iteration(NULL, FALSE))
        ;
}

static gboolean
wake_up(gpointer data)
{
    return G_SOURCE_CONTINUE;
}

/* Until *@count is @wanted. */
static void
await(const guint *count, guint wanted)
{
    gint64 end = g_get_monotonic_time() + WAIT_USEC;
    guint ticks = g_timeout_add(100, wake_up, NULL);

    while ((guint)g_atomic_int_get(count) < wanted) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_main_context_iteration(NULL, TRUE);
    }
    g_source_remove(ticks);
}

static void
remove_handle(Watched *watched)
{
    watched->in_remove = TRUE;
    g_assert_cmpint(virEventRemoveHandle(watched->id), ==, 0);
    watched->in_remove = FALSE;
    g_assert_cmpint(virEventRemoveHandle(watched->id), ==, -1);
}

static void
socket_end(Watched *watched)
{
    remove_handle(watched);
    await(&watched->n_freed, 1);
    run_all();
    g_assert_cmpuint(watched->n_freed, ==, 1);
    close(watched->fd);
    close(watched->peer);
}

static void
test_handle(void)
{
    Watched watched;

    socket_begin(&watched, VIR_EVENT_HANDLE_READABLE);
    watched.react = receive_byte;
    run_all();
    g_assert_cmpuint(watched.n_calls, ==, 0);
    send_byte(&watched);
    await(&watched.n_calls, 1);
    g_assert_cmpint(watched.events, ==, VIR_EVENT_HANDLE_READABLE);
    run_all();
    g_assert_cmpuint(watched.n_calls, ==, 1);

    virEventUpdateHandle(watched.id, BOTH);
    watched.react = NULL;
    await(&watched.n_calls, 2);
    g_assert_cmpint(watched.events, ==, VIR_EVENT_HANDLE_WRITABLE);
    virEventUpdateHandle(watched.id, VIR_EVENT_HANDLE_READABLE);
    send_byte(&watched);
    await(&watched.n_calls, 3);
    g_assert_cmpint(watched.events, ==, VIR_EVENT_HANDLE_READABLE);
    socket_end(&watched);
}

/* What is not waited for is not looked at: a hang-up would be told of for ever. */
static void
test_handle_that_is_off(void)
{
    Watched watched;

    socket_begin(&watched, 0);
    send_byte(&watched);
    shutdown(watched.peer, SHUT_RDWR);
    run_all();
    virEventUpdateHandle(watched.id, VIR_EVENT_HANDLE_READABLE);
    g_assert_cmpuint(watched.n_calls, ==, 0);
    await(&watched.n_calls, 1);
    g_assert_cmpint(watched.events, ==, VIR_EVENT_HANDLE_READABLE | VIR_EVENT_HANDLE_HANGUP);
    virEventUpdateHandle(watched.id, 0);
    run_all();
    g_assert_cmpuint(watched.n_calls, ==, 1);
    socket_end(&watched);
}

static void
turn_off(gpointer data)
{
    virEventUpdateHandle(((Watched *)data)->id, 0);
}

static void
turn_off_and_on(gpointer data)
{
    turn_off(data);
    virEventUpdateHandle(((Watched *)data)->id, VIR_EVENT_HANDLE_READABLE);
}

static void
remove_itself(gpointer data)
{
    remove_handle(data);
}

/* libvirt does it for each message. */
static void
test_handle_changed_by_its_callback(void)
{
    Watched watched;

    socket_begin(&watched, VIR_EVENT_HANDLE_READABLE);
    watched.react = turn_off;
    send_byte(&watched);
    await(&watched.n_calls, 1);
    run_all();
    g_assert_cmpuint(watched.n_calls, ==, 1);
    watched.react = turn_off_and_on;
    virEventUpdateHandle(watched.id, VIR_EVENT_HANDLE_READABLE);
    await(&watched.n_calls, 3);
    watched.react = remove_itself;
    await(&watched.n_calls, 4);
    await(&watched.n_freed, 1);
    run_all();
    g_assert_cmpuint(watched.n_calls, ==, 4);
    close(watched.fd);
    close(watched.peer);
}

/* Both are ready at once, and the first one's callback removes the other. */
static Watched *other;

static void
remove_other(gpointer data)
{
    Watched *watched = data;

    watched->react = receive_byte;
    receive_byte(watched);
    remove_handle(other);
}

static void
test_handle_removed_by_another(void)
{
    Watched first, second;

    socket_begin(&first, VIR_EVENT_HANDLE_READABLE);
    socket_begin(&second, VIR_EVENT_HANDLE_READABLE);
    other = &second;
    first.react = remove_other;
    send_byte(&first);
    send_byte(&second);
    await(&first.n_calls, 1);
    await(&second.n_freed, 1);
    g_assert_cmpuint(second.n_calls, ==, 0);
    socket_end(&first);
    close(second.fd);
    close(second.peer);
}

static void
test_timeout(void)
{
    Watched watched = {.fd = -1};

    watched.id = virEventAddTimeout(-1, on_timeout, &watched, on_free);
    run_all();
    g_assert_cmpuint(watched.n_calls, ==, 0);
    virEventUpdateTimeout(watched.id, 0); /* at each turn */
    for (guint i = 1; i <= 3; i++)
        await(&watched.n_calls, i);
    virEventUpdateTimeout(watched.id, 1); /* for ever */
    await(&watched.n_calls, 6);
    virEventUpdateTimeout(watched.id, 3600 * 1000);
    watched.n_calls = 0;
    run_all();
    g_assert_cmpuint(watched.n_calls, ==, 0);
    virEventUpdateTimeout(watched.id, 0);
    virEventUpdateTimeout(watched.id, -1);
    run_all();
    g_assert_cmpuint(watched.n_calls, ==, 0);
    g_assert_cmpint(virEventRemoveTimeout(watched.id), ==, 0);
    g_assert_cmpint(virEventRemoveTimeout(watched.id), ==, -1);
    virEventUpdateTimeout(watched.id, 0);
    await(&watched.n_freed, 1);
    run_all();
    g_assert_cmpuint(watched.n_calls, ==, 0);
}

static gpointer
turn_on_in_thread(gpointer data)
{
    g_usleep(20 * G_TIME_SPAN_MILLISECOND); /* so that the loop waits */
    virEventUpdateHandle(((Watched *)data)->id, BOTH);
    return NULL;
}

/* The loop waits for nothing else that could wake it. */
static void
test_change_wakes_the_loop(void)
{
    GThread *thread;
    Watched watched;
    guint limit = g_timeout_add(WAIT_USEC / 1000, wake_up, NULL);
    gint64 end = g_get_monotonic_time() + WAIT_USEC;

    socket_begin(&watched, 0);
    watched.react = turn_off;
    run_all();
    thread = g_thread_new("change", turn_on_in_thread, &watched);
    while (watched.n_calls == 0)
        g_main_context_iteration(NULL, TRUE);
    g_assert_cmpint(g_get_monotonic_time(), <, end);
    g_thread_join(thread);
    g_source_remove(limit);
    socket_end(&watched);
}

/* --- many threads -------------------------------------------------------------------------------- */

#define THREADS 4
#define ROUNDS  300

static guint n_ended, n_called, n_freed;

static void
count_call(int id, int fd, int events, void *data)
{
    n_called++;
}

static void
count_free(void *data)
{
    n_freed++;
}

/* As connections that are opened, used and closed. */
static gpointer
live(gpointer data)
{
    for (guint i = 0; i < ROUNDS; i++) {
        int fd = eventfd(0, EFD_CLOEXEC);
        int id = virEventAddHandle(fd, 0, count_call, NULL, count_free);

        for (guint j = 0; j < 10; j++)
            virEventUpdateHandle(id, j % 3 == 0 ? 0 : j % 3 == 1 ? VIR_EVENT_HANDLE_READABLE : BOTH);
        g_thread_yield();
        g_assert_cmpint(virEventRemoveHandle(id), ==, 0);
        close(fd);
    }
    g_atomic_int_inc(&n_ended);
    g_main_context_wakeup(NULL);
    return NULL;
}

static void
test_many_threads(void)
{
    GThread *threads[THREADS];

    for (guint i = 0; i < THREADS; i++)
        threads[i] = g_thread_new("live", live, NULL);
    await(&n_ended, THREADS);
    for (guint i = 0; i < THREADS; i++)
        g_thread_join(threads[i]);
    await(&n_freed, THREADS * ROUNDS);
    run_all();
    g_assert_cmpuint(n_freed, ==, THREADS * ROUNDS);
    g_test_message("%u calls", n_called);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    apmig_libvirt_use_main_loop();
    g_test_add_func("/libvirt-event-loop/handle", test_handle);
    g_test_add_func("/libvirt-event-loop/handle-that-is-off", test_handle_that_is_off);
    g_test_add_func("/libvirt-event-loop/handle-changed-by-its-callback",
                    test_handle_changed_by_its_callback);
    g_test_add_func("/libvirt-event-loop/handle-removed-by-another", test_handle_removed_by_another);
    g_test_add_func("/libvirt-event-loop/timeout", test_timeout);
    g_test_add_func("/libvirt-event-loop/change-wakes-the-loop", test_change_wakes_the_loop);
    g_test_add_func("/libvirt-event-loop/many-threads", test_many_threads);
    return g_test_run();
}
