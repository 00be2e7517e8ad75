/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fence/client.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const ApmigFenceRequest request = {.header = {APMIG_FENCE_REQUEST_MAGIC, APMIG_FENCE_VERSION},
                                          .verb = APMIG_FENCE_FENCE,
                                          .uuid = "6b1f8a2e-3c4d-4e5f-8a9b-0c1d2e3f4a5b",
                                          .name = "g1",
                                          .pid = 42,
                                          .start_time = 7,
                                          .device = "7c2f9b3e-3c4d-4e5f-8a9b-0c1d2e3f4a5b",
                                          .direction = APMIG_FENCE_IN};

/* A helper that sends what it is told to. */
typedef struct {
    char *folder;
    char *path;
    int listener;
    gconstpointer answer; /* NULL: ends without one */
    gsize answer_length;
    gboolean silent;
    ApmigFenceRequest received;
    gssize n_received;
    int connection;
    GMainLoop *loop;
    gboolean called;
    ApmigFenceReply reply;
} Fixture;

static void
set_up(Fixture *f)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    *f = (Fixture){.connection = -1};
    f->folder = g_dir_make_tmp("fence-client-XXXXXX", NULL);
    f->path = g_build_filename(f->folder, "sock", NULL);
    g_strlcpy(address.sun_path, f->path, sizeof address.sun_path);
    f->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(f->listener, (struct sockaddr *)&address, sizeof address), ==, 0);
    g_assert_cmpint(listen(f->listener, 4), ==, 0);
    f->loop = g_main_loop_new(NULL, FALSE);
}

static void
tear_down(Fixture *f)
{
    if (f->listener >= 0)
        close(f->listener);
    if (f->connection >= 0)
        close(f->connection);
    g_unlink(f->path);
    g_rmdir(f->folder);
    g_free(f->path);
    g_free(f->folder);
    g_main_loop_unref(f->loop);
}

static gpointer
serve(gpointer user_data)
{
    Fixture *f = user_data;

    f->connection = accept(f->listener, NULL, NULL);
    f->n_received = recv(f->connection, &f->received, sizeof f->received, MSG_TRUNC);
    if (f->silent)
        return NULL;
    if (f->answer)
        g_assert_cmpint(send(f->connection, f->answer, f->answer_length, 0), ==, (gssize)f->answer_length);
    close(f->connection);
    f->connection = -1;
    return NULL;
}

static void
on_reply(const ApmigFenceReply *reply, gpointer user_data)
{
    Fixture *f = user_data;

    g_assert_false(f->called);
    f->called = TRUE;
    f->reply = *reply;
    g_main_loop_quit(f->loop);
}

static gboolean
on_quit(gpointer loop)
{
    g_main_loop_quit(loop);
    return G_SOURCE_REMOVE;
}

/* Whatever still comes back has been dealt with. */
static void
settle(Fixture *f)
{
    g_timeout_add(50, on_quit, f->loop);
    g_main_loop_run(f->loop);
}

static void
call(Fixture *f, gboolean with_server)
{
    GThread *thread = with_server ? g_thread_new("helper", serve, f) : NULL;

    apmig_fence_call_async(f->path, &request, NULL, on_reply, f);
    g_assert_false(f->called); /* never from within the call */
    g_main_loop_run(f->loop);
    if (thread)
        g_thread_join(thread);
    g_assert_true(f->called);
    settle(f);
}

static void
test_answer(void)
{
    ApmigFenceReply sent = APMIG_FENCE_REPLY_INIT;
    Fixture f;

    sent.before = APMIG_VFIO_RESUMING;
    sent.after = APMIG_VFIO_STOP;
    sent.held_data = TRUE;
    sent.frozen_usec = 1234;
    sent.pid = 42;
    sent.start_time = 7;
    apmig_fence_reply_set(&sent, APMIG_FENCE_DONE, 0, "It was done.");
    set_up(&f);
    f.answer = &sent;
    f.answer_length = sizeof sent;
    call(&f, TRUE);
    g_assert_cmpmem(&f.received, (gsize)f.n_received, &request, sizeof request);
    g_assert_cmpmem(&f.reply, sizeof f.reply, &sent, sizeof sent);
    tear_down(&f);
}

static void
assert_failed(const Fixture *f, int error_number, const char *words)
{
    g_assert_cmpint(f->reply.result, ==, APMIG_FENCE_FAILED);
    g_assert_cmpint(f->reply.error_number, ==, error_number);
    g_assert_cmpint(f->reply.before, ==, APMIG_VFIO_UNKNOWN);
    g_assert_cmpint(f->reply.after, ==, APMIG_VFIO_UNKNOWN);
    g_assert_nonnull(strstr(f->reply.message, words));
}

static void
test_no_answer(void)
{
    Fixture f;

    set_up(&f);
    call(&f, TRUE);
    assert_failed(&f, EPIPE, "ended without an answer");
    tear_down(&f);
}

static void
assert_not_understood(gconstpointer answer, gsize length, const char *words)
{
    Fixture f;

    set_up(&f);
    f.answer = answer;
    f.answer_length = length;
    call(&f, TRUE);
    assert_failed(&f, EBADMSG, "cannot be understood");
    g_assert_nonnull(strstr(f.reply.message, words));
    tear_down(&f);
}

static void
test_bad_answers(void)
{
    ApmigFenceReply two[2] = {APMIG_FENCE_REPLY_INIT, APMIG_FENCE_REPLY_INIT};

    assert_not_understood("{}", 2, "nothing that apmigd and apmigd-fence say");
    assert_not_understood(two, sizeof two[0] - 1, "It has 1079 bytes");
    assert_not_understood(two, sizeof two[0] + 1, "not 1080");
    assert_not_understood(two, sizeof two, "not 1080");
    two[0].result = APMIG_FENCE_UNAVAILABLE;
    assert_not_understood(two, sizeof two[0], "\"result\"");
    two[0].header.version = 4;
    assert_not_understood(two, sizeof two, "It is of version 4, not 3");
}

static void
test_late(void)
{
    gint64 begun = g_get_monotonic_time(), spent;
    Fixture f;

    set_up(&f);
    f.silent = TRUE;
    call(&f, TRUE);
    spent = g_get_monotonic_time() - begun;
    assert_failed(&f, ETIMEDOUT, "not answered within 6 s");
    g_assert_cmpint(spent, >=, APMIG_FENCE_DEADLINE_USEC);
    g_assert_cmpint(spent, <, 2 * APMIG_FENCE_DEADLINE_USEC);
    tear_down(&f);
}

/* Nobody accepts: the call is in the queue and is late all the same. */
static void
test_not_accepted(void)
{
    Fixture f;

    set_up(&f);
    call(&f, FALSE);
    assert_failed(&f, ETIMEDOUT, "not answered within 6 s");
    tear_down(&f);
}

static void
test_unavailable(void)
{
    Fixture f;

    set_up(&f); /* the socket's file is left, nobody listens */
    close(f.listener);
    f.listener = -1;
    call(&f, FALSE);
    g_assert_cmpint(f.reply.result, ==, APMIG_FENCE_UNAVAILABLE);
    g_assert_nonnull(strstr(f.reply.message, "apmigd-fence.socket"));
    f.called = FALSE;
    g_unlink(f.path); /* never installed */
    call(&f, FALSE);
    g_assert_cmpint(f.reply.result, ==, APMIG_FENCE_UNAVAILABLE);
    tear_down(&f);
}

static void
test_cancelled(void)
{
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    Fixture f;
    GThread *thread;

    set_up(&f);
    thread = g_thread_new("helper", serve, &f);
    apmig_fence_call_async(f.path, &request, cancellable, on_reply, &f);
    g_cancellable_cancel(cancellable);
    settle(&f);
    settle(&f);
    g_thread_join(thread);
    g_assert_false(f.called);
    tear_down(&f);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fence/client/answer", test_answer);
    g_test_add_func("/fence/client/no-answer", test_no_answer);
    g_test_add_func("/fence/client/bad-answers", test_bad_answers);
    g_test_add_func("/fence/client/late", test_late);
    g_test_add_func("/fence/client/not-accepted", test_not_accepted);
    g_test_add_func("/fence/client/unavailable", test_unavailable);
    g_test_add_func("/fence/client/cancelled", test_cancelled);
    return g_test_run();
}
