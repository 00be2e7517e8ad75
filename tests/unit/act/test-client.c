/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Client and server with each other, and each with somebody who does not keep to what they agreed. */
#include "act/client.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <glib-unix.h>
#include <libvirt/virterror.h>

#include "act/protocol.h"
#include "act/server.h"
#include "libvirt/event-loop.h"

#define URI       "test:///default"
#define NOBODY    "6695eb01-f6a4-8304-79aa-97f2502e1930"
#define WAIT_USEC (20 * G_USEC_PER_SEC)

typedef struct {
    char *folder, *path;
    int listener; /* -1: the server's */
    ApmigActServer *server;
    ApmigActor *client;
    gboolean is_idle; /* the server is */
    guint n_answers;
    ApmigActResult result;
    char *message;
} Fixture;

static void
on_idle(gboolean is_idle, gpointer user_data)
{
    ((Fixture *)user_data)->is_idle = is_idle;
}

static int
listen_at(const char *path)
{
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    g_unlink(path);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    g_assert_cmpint(listen(fd, 4), ==, 0);
    return fd;
}

static void
start_server(Fixture *f)
{
    f->is_idle = TRUE;
    f->server = apmig_act_server_new(URI, listen_at(f->path), getuid(), on_idle, f);
}

static void
set_up(Fixture *f, gconstpointer data)
{
    f->folder = g_dir_make_tmp("act-client-XXXXXX", NULL);
    f->path = g_build_filename(f->folder, "sock", NULL);
    f->listener = -1;
    f->client = apmig_act_client_new(f->path);
}

static void
tear_down(Fixture *f, gconstpointer data)
{
    if (f->client)
        f->client->free(f->client);
    apmig_act_server_free(f->server);
    if (f->listener >= 0)
        close(f->listener);
    g_unlink(f->path);
    g_rmdir(f->folder);
    g_free(f->path);
    g_free(f->folder);
    g_free(f->message);
}

static void
on_answer(ApmigActResult result, const char *message, gpointer user_data)
{
    Fixture *f = user_data;

    f->n_answers++;
    f->result = result;
    g_free(f->message);
    f->message = g_strdup(message);
}

static gboolean
wake_up(gpointer user_data)
{
    return G_SOURCE_CONTINUE;
}

static void
await(Fixture *f, guint n_answers)
{
    const gint64 limit = g_get_monotonic_time() + WAIT_USEC;
    const guint ticks = g_timeout_add(20, wake_up, NULL);

    while (f->n_answers < n_answers) {
        g_assert_cmpint(g_get_monotonic_time(), <, limit);
        g_main_context_iteration(NULL, TRUE);
    }
    g_source_remove(ticks);
}

static void
ask(Fixture *f, ApmigActVerb verb, const char *uuid, const char *stamp)
{
    const guint before = f->n_answers;

    f->client->act(f->client, &(ApmigActOrder){verb, uuid, stamp}, on_answer, f);
    g_assert_cmpuint(f->n_answers, ==, before); /* never from within the call */
}

static void
expect(Fixture *f, ApmigActResult result, const char *words)
{
    await(f, f->n_answers + 1);
    g_assert_cmpstr(apmig_act_result_to_string(f->result), ==, apmig_act_result_to_string(result));
    if (!strstr(f->message, words))
        g_error("\"%s\" is not in \"%s\"", words, f->message);
}

static void
test_answers(Fixture *f, gconstpointer data)
{
    start_server(f);
    ask(f, APMIG_ACT_READY, NULL, NULL);
    expect(f, APMIG_ACT_DONE, "connected to libvirt");
    g_assert_false(f->is_idle);
    ask(f, APMIG_ACT_ABORT, NOBODY, NULL);
    expect(f, APMIG_ACT_NOTHING, "");
}

/* More at once than a socket holds, the largest that there are among them, and more than are taken. */
static void
test_many(Fixture *f, gconstpointer data)
{
    g_autofree char *large = g_strnfill(APMIG_ACT_MAX_STAMP_BYTES, 'x');

    start_server(f);
    for (guint i = 0; i < 200; i++) {
        ask(f, APMIG_ACT_WRITE_STAMP, NOBODY, large);
        ask(f, APMIG_ACT_ABORT, NOBODY, NULL);
    }
    await(f, 400);
    ask(f, APMIG_ACT_READY, NULL, NULL); /* the connection is as sound as before */
    expect(f, APMIG_ACT_DONE, "");
}

static void
test_nobody_listens(Fixture *f, gconstpointer data)
{
    ask(f, APMIG_ACT_ABORT, NOBODY, NULL);
    expect(f, APMIG_ACT_UNAVAILABLE, "systemctl enable --now apmigd-act.socket");
    close(listen_at(f->path)); /* as one that was stopped leaves it */
    ask(f, APMIG_ACT_READY, NULL, NULL);
    expect(f, APMIG_ACT_UNAVAILABLE, "nobody listens at ");
}

/* It is started anew when it is asked again. */
static void
test_server_ends(Fixture *f, gconstpointer data)
{
    start_server(f);
    ask(f, APMIG_ACT_READY, NULL, NULL);
    expect(f, APMIG_ACT_DONE, "");
    g_clear_pointer(&f->server, apmig_act_server_free);
    start_server(f);
    ask(f, APMIG_ACT_READY, NULL, NULL); /* with the connection to the old one still open */
    expect(f, APMIG_ACT_DONE, "");
}

/* Accepts, and sends what it is told to: the kernel keeps the request meanwhile. @answer: (nullable) */
static void
test_stranger(Fixture *f, gconstpointer data)
{
    ApmigActReply reply = APMIG_ACT_REPLY_INIT;
    int fd;

    f->listener = listen_at(f->path);
    ask(f, APMIG_ACT_ABORT, NOBODY, NULL);
    ask(f, APMIG_ACT_ABORT, NOBODY, NULL);
    fd = accept(f->listener, NULL, NULL);
    reply.number = 3; /* of a question that nobody has put */
    g_assert_cmpint(send(fd, &reply, sizeof reply, 0), ==, sizeof reply);
    reply.number = 2; /* in any order */
    apmig_act_reply_set(&reply, APMIG_ACT_TOO_LATE, "it is");
    g_assert_cmpint(send(fd, &reply, sizeof reply, 0), ==, sizeof reply);
    expect(f, APMIG_ACT_TOO_LATE, "it is");
    g_assert_cmpuint(f->n_answers, ==, 1);
    close(fd);
    expect(f, APMIG_ACT_FAILED, "ended without an answer");

    ask(f, APMIG_ACT_ABORT, NOBODY, NULL);
    fd = accept(f->listener, NULL, NULL);
    g_assert_cmpint(send(fd, "{}", 2, 0), ==, 2);
    expect(f, APMIG_ACT_FAILED, "ended without an answer");
    close(fd);
}

/* The server refuses what it cannot understand, and goes on. */
static void
test_nonsense(Fixture *f, gconstpointer data)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    const gint64 limit = g_get_monotonic_time() + WAIT_USEC;
    ApmigActReply reply;

    start_server(f);
    g_strlcpy(address.sun_path, f->path, sizeof address.sun_path);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    g_assert_cmpint(send(fd, "{}", 2, 0), ==, 2);
    while (recv(fd, &reply, sizeof reply, MSG_DONTWAIT) < 0) {
        g_assert_cmpint(g_get_monotonic_time(), <, limit);
        g_main_context_iteration(NULL, FALSE);
    }
    g_assert_cmpint(reply.result, ==, APMIG_ACT_REFUSED);
    g_assert_nonnull(strstr(reply.message, "cannot be understood"));
    ask(f, APMIG_ACT_READY, NULL, NULL);
    expect(f, APMIG_ACT_DONE, "");
    close(fd);
}

/* Whoever waits for an answer is told nothing any more. */
static void
test_freed(Fixture *f, gconstpointer data)
{
    const gint64 limit = g_get_monotonic_time() + WAIT_USEC;

    start_server(f);
    ask(f, APMIG_ACT_READY, NULL, NULL);
    expect(f, APMIG_ACT_DONE, "");
    for (guint i = 0; i < 20; i++)
        ask(f, APMIG_ACT_ABORT, NOBODY, NULL);
    f->client->free(f->client);
    f->client = NULL;
    while (!f->is_idle) { /* the server has seen that it is gone */
        g_assert_cmpint(g_get_monotonic_time(), <, limit);
        g_main_context_iteration(NULL, FALSE);
    }
    g_assert_cmpuint(f->n_answers, ==, 1);
}

static void
ignore_error(void *user_data, virErrorPtr error)
{
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    apmig_libvirt_use_main_loop();
    virSetErrorFunc(NULL, ignore_error);
    g_test_add("/act/client/answers", Fixture, NULL, set_up, test_answers, tear_down);
    g_test_add("/act/client/many", Fixture, NULL, set_up, test_many, tear_down);
    g_test_add("/act/client/nobody-listens", Fixture, NULL, set_up, test_nobody_listens, tear_down);
    g_test_add("/act/client/server-ends", Fixture, NULL, set_up, test_server_ends, tear_down);
    g_test_add("/act/client/stranger", Fixture, NULL, set_up, test_stranger, tear_down);
    g_test_add("/act/client/nonsense", Fixture, NULL, set_up, test_nonsense, tear_down);
    g_test_add("/act/client/freed", Fixture, NULL, set_up, test_freed, tear_down);
    return g_test_run();
}
