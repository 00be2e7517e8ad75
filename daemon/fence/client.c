/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fence/client.h"

#include <errno.h>
#include <gio/gunixsocketaddress.h>

/* A call is referenced by each asynchronous operation and each source that still can come back to it. */
typedef struct {
    grefcount refs;
    GCancellable *cancellable; /* the caller's, or NULL */
    GCancellable *operations;  /* ends what is under way */
    GSource *timeout;
    GSocketConnection *connection;
    char *socket_path;
    ApmigFenceRequest request;
    struct {
        ApmigFenceReply reply;
        char surplus; /* shows that a packet is too large */
    } received;
    ApmigFenceFunc func; /* NULL once called */
    gpointer user_data;
} Call;

static Call *
call_ref(Call *call)
{
    g_ref_count_inc(&call->refs);
    return call;
}

static void
call_unref(Call *call)
{
    if (!g_ref_count_dec(&call->refs))
        return;
    g_clear_object(&call->cancellable);
    g_clear_object(&call->operations);
    g_clear_object(&call->connection);
    g_free(call->socket_path);
    g_free(call);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Call, call_unref)

/* --- its end ------------------------------------------------------------------------------------- */

/* Once. What is still under way is ended, and finds that nobody waits for it. */
static void
finish(Call *call, const ApmigFenceReply *reply)
{
    ApmigFenceFunc func = g_steal_pointer(&call->func);
    g_autoptr(GSource) timeout = g_steal_pointer(&call->timeout);

    if (!func)
        return;
    g_source_destroy(timeout);
    g_cancellable_cancel(call->operations);
    if (!call->cancellable || !g_cancellable_is_cancelled(call->cancellable))
        func(reply, call->user_data);
}

G_GNUC_PRINTF(4, 5)
static void
fail(Call *call, ApmigFenceResult result, int error_number, const char *format, ...)
{
    ApmigFenceReply reply = APMIG_FENCE_REPLY_INIT;
    g_autofree char *message = NULL;
    va_list args;

    va_start(args, format);
    message = g_strdup_vprintf(format, args);
    va_end(args);
    apmig_fence_reply_set(&reply, result, error_number, "%s", message);
    finish(call, &reply);
}

static gboolean
on_timeout(gpointer user_data)
{
    Call *call = user_data;

    fail(call, APMIG_FENCE_FAILED, ETIMEDOUT, "apmigd-fence has not answered within %d s.",
         (int)(APMIG_FENCE_DEADLINE_USEC / G_USEC_PER_SEC));
    return G_SOURCE_REMOVE;
}

/* --- connect, send, receive ---------------------------------------------------------------------- */

static void
on_received(GObject *stream, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(Call) call = user_data;
    g_autoptr(GError) error = NULL;
    gssize n = g_input_stream_read_finish(G_INPUT_STREAM(stream), result, &error);

    if (n < 0)
        fail(call, APMIG_FENCE_FAILED, EIO, "apmigd-fence's answer could not be read: %s.", error->message);
    else if (n == 0)
        fail(call, APMIG_FENCE_FAILED, EPIPE,
             "apmigd-fence ended without an answer; see \"journalctl -u 'apmigd-fence@*'\".");
    else if (!apmig_fence_reply_check(&call->received.reply, (gsize)n, &error))
        fail(call, APMIG_FENCE_FAILED, EBADMSG, "apmigd-fence's answer cannot be understood: %s",
             error->message);
    else
        finish(call, &call->received.reply);
}

static void
on_sent(GObject *stream, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(Call) call = user_data;
    g_autoptr(GError) error = NULL;
    GInputStream *input;

    if (g_output_stream_write_finish(G_OUTPUT_STREAM(stream), result, &error) < 0) {
        fail(call, APMIG_FENCE_FAILED, EIO, "apmigd-fence could not be asked: %s.", error->message);
        return;
    }
    input = g_io_stream_get_input_stream(G_IO_STREAM(call->connection));
    g_input_stream_read_async(input, &call->received, sizeof call->received, G_PRIORITY_DEFAULT,
                              call->operations, on_received, call_ref(call));
}

static void
on_connected(GObject *client, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(Call) call = user_data;
    g_autoptr(GError) error = NULL;
    GOutputStream *output;

    call->connection = g_socket_client_connect_finish(G_SOCKET_CLIENT(client), result, &error);
    if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND) ||
        g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED)) {
        fail(call, APMIG_FENCE_UNAVAILABLE, 0,
             "Nobody listens at \"%s\": apmigd-fence is not installed, or its socket not started (systemctl "
             "enable --now apmigd-fence.socket).",
             call->socket_path);
        return;
    }
    if (!call->connection) {
        fail(call, APMIG_FENCE_FAILED, EIO, "apmigd-fence could not be reached at \"%s\": %s.",
             call->socket_path, error->message);
        return;
    }
    output = g_io_stream_get_output_stream(G_IO_STREAM(call->connection));
    g_output_stream_write_async(output, &call->request, sizeof call->request, G_PRIORITY_DEFAULT,
                                call->operations, on_sent, call_ref(call));
}

void
apmig_fence_call_async(const char *socket_path, const ApmigFenceRequest *request, GCancellable *cancellable,
                       ApmigFenceFunc func, gpointer user_data)
{
    g_autoptr(Call) call = g_new0(Call, 1);
    g_autoptr(GSocketClient) client = g_socket_client_new();
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(socket_path);

    g_ref_count_init(&call->refs);
    call->cancellable = cancellable ? g_object_ref(cancellable) : NULL;
    call->operations = g_cancellable_new();
    call->socket_path = g_strdup(socket_path);
    call->request = *request;
    call->func = func;
    call->user_data = user_data;
    call->timeout = g_timeout_source_new(APMIG_FENCE_DEADLINE_USEC / 1000);
    g_source_set_callback(call->timeout, on_timeout, call_ref(call), (GDestroyNotify)call_unref);
    g_source_attach(call->timeout, g_main_context_get_thread_default());
    g_socket_client_set_enable_proxy(client, FALSE);
    g_socket_client_set_socket_type(client, G_SOCKET_TYPE_SEQPACKET);
    g_socket_client_connect_async(client, G_SOCKET_CONNECTABLE(address), call->operations, on_connected,
                                  call_ref(call));
}
