/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "scripted-private.h"

#include <gio/gunixsocketaddress.h>
#include <glib/gstdio.h>
#include <string.h>

/* A member of a command: its type, and for a string what it may be ("|a|b|"; NULL: anything). */
typedef struct {
    const char *name;
    GType type; /* G_TYPE_NONE: an array of strings */
    const char *values;
} Member;

static const Member guest_members[] = {
    {"uuid", G_TYPE_STRING, NULL},
    {"name", G_TYPE_STRING, NULL},
    {"active", G_TYPE_BOOLEAN, NULL},
    {"affected", G_TYPE_STRING, "|yes|no|unknown|"},
    {"scope", G_TYPE_STRING, NULL},
    {"devices", G_TYPE_NONE, NULL},
    {"job", G_TYPE_STRING, "|none|outgoing|incoming|other|unknown|"},
    {"postcopy", G_TYPE_BOOLEAN, NULL},
    {"data-total", G_TYPE_INT64, NULL},
    {"data-processed", G_TYPE_INT64, NULL},
    {"data-remaining", G_TYPE_INT64, NULL},
    {"elapsed-usec", G_TYPE_INT64, NULL},
    {"list", G_TYPE_STRING, "|answer|fail|"},
    {"list-ms", G_TYPE_INT64, NULL},
    {"heartbeat", G_TYPE_STRING, "|answer|fail|"},
    {"heartbeat-ms", G_TYPE_INT64, NULL},
    {"query", G_TYPE_STRING, "|answer|fail|"},
    {"query-ms", G_TYPE_INT64, NULL},
    {"look-up-ms", G_TYPE_INT64, NULL},
    {"as-of", G_TYPE_STRING, "|answer|question|"},
    {"step", G_TYPE_STRING, "|ends|completes|nothing|refuses|not-abortable|"},
    {"step-ms", G_TYPE_INT64, NULL},
    {"step-answer-ms", G_TYPE_INT64, NULL},
    {NULL, G_TYPE_NONE, NULL},
};

static const Member event_members[] = {
    {"uuid", G_TYPE_STRING, NULL},
    {"name", G_TYPE_STRING, NULL},
    {"migrated", G_TYPE_BOOLEAN, NULL},
    {"stopped", G_TYPE_STRING, "|migrated|failed|"},
    {"change", G_TYPE_STRING, "|other|started|plugged|"},
    {NULL, G_TYPE_NONE, NULL},
};

static const Member view_members[] = {
    {"reason", G_TYPE_STRING, NULL},
    {"has-hook", G_TYPE_BOOLEAN, NULL},
    {NULL, G_TYPE_NONE, NULL},
};

static const Member call_members[] = {
    {"what", G_TYPE_STRING, "|list|query|heartbeat|step|look-up|effect|"},
    {"uuid", G_TYPE_STRING, NULL},
    {"clear", G_TYPE_BOOLEAN, NULL},
    {NULL, G_TYPE_NONE, NULL},
};

/* --- checking ------------------------------------------------------------------------------------ */

static gboolean
is_array_of_strings(JsonNode *node)
{
    JsonArray *array = JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;

    for (guint i = 0; array != NULL && i < json_array_get_length(array); i++) {
        if (json_node_get_value_type(json_array_get_element(array, i)) != G_TYPE_STRING)
            return FALSE;
    }
    return array != NULL;
}

static gboolean
is_allowed(const Member *member, JsonNode *node)
{
    g_autofree char *value = NULL;

    if (member->type == G_TYPE_NONE)
        return is_array_of_strings(node);
    if (!JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != member->type)
        return FALSE;
    if (member->values == NULL)
        return TRUE;
    value = g_strdup_printf("|%s|", json_node_get_string(node));
    return strstr(member->values, value) != NULL;
}

static gboolean
check_members(JsonObject *command, const Member *members, GError **error)
{
    g_autoptr(GList) names = json_object_get_members(command);

    for (GList *l = names; l != NULL; l = l->next) {
        const Member *member = members;

        while (member->name != NULL && !g_str_equal(member->name, l->data))
            member++;
        if (g_str_equal(l->data, "do"))
            continue;
        if (member->name == NULL || !is_allowed(member, json_object_get_member(command, l->data))) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                        "'%s' is unknown here or has a wrong value", (const char *)l->data);
            return FALSE;
        }
    }
    return TRUE;
}

static const char *
get_text(JsonObject *command, const char *member)
{
    return json_object_get_string_member_with_default(command, member, NULL);
}

/* --- carrying out: @reply takes what is answered beside "ok" ------------------------------------- */

static gboolean
do_guest(ScriptedHypervisor *self, JsonObject *command, JsonObject *reply, GError **error)
{
    gboolean is_guest = g_str_equal(get_text(command, "do"), "guest");
    const char *uuid = get_text(command, "uuid");
    JsonObject *target = self->defaults;
    g_autoptr(GList) names = json_object_get_members(command);
    const char *scope = get_text(command, "scope");

    if (is_guest != (uuid != NULL)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "a guest has a 'uuid', defaults have none");
        return FALSE;
    }
    if (scope != NULL) {
        g_autoptr(ApmigScope) parsed = apmig_scope_parse(scope, error);
        if (parsed == NULL)
            return FALSE;
    }
    if (is_guest && !json_object_has_member(self->guests, uuid))
        json_object_set_object_member(self->guests, uuid, json_object_new());
    if (is_guest)
        target = json_object_get_object_member(self->guests, uuid);
    for (GList *l = names; l != NULL; l = l->next)
        json_object_set_member(target, l->data, json_node_copy(json_object_get_member(command, l->data)));
    return TRUE;
}

static const struct {
    const char *name;
    ApmigNews news;
} news_names[] = {
    {"changed", APMIG_NEWS_CHANGED},           {"started", APMIG_NEWS_STARTED},
    {"plugged", APMIG_NEWS_PLUGGED},           {"defined", APMIG_NEWS_DEFINED},
    {"arriving", APMIG_NEWS_ARRIVING},         {"sending", APMIG_NEWS_SENDING},
    {"suspended", APMIG_NEWS_SUSPENDED},       {"resumed", APMIG_NEWS_RESUMED},
    {"job-saved", APMIG_NEWS_JOB_SAVED},       {"job-migrated", APMIG_NEWS_JOB_MIGRATED},
    {"stopped", APMIG_NEWS_STOPPED},           {"lost", APMIG_NEWS_STOPPED_LOST},
    {"migrated", APMIG_NEWS_STOPPED_MIGRATED},
};

/* @name: (nullable) */
static ApmigNews
news_of(const char *name)
{
    for (guint i = 0; i < G_N_ELEMENTS(news_names); i++)
        if (g_strcmp0(name, news_names[i].name) == 0)
            return news_names[i].news;
    return APMIG_NEWS_CHANGED;
}

static void
tell_news(const ScriptedHypervisor *self, const char *uuid, ApmigNews what)
{
    JsonObject *guest =
        json_object_has_member(self->guests, uuid) ? json_object_get_object_member(self->guests, uuid) : NULL;
    const char *name = guest ? get_text(guest, "name") : NULL;

    apmig_scripted_tell(self, &(ApmigEvent){.type = APMIG_EVENT_GUEST_NEWS, .news = {uuid, name, what}});
}

static gboolean
do_event(ScriptedHypervisor *self, JsonObject *command, JsonObject *reply, GError **error)
{
    const char *what = get_text(command, "do");
    const char *uuid = get_text(command, "uuid");
    const char *stopped = get_text(command, "stopped");
    gboolean migrated = json_object_get_boolean_member_with_default(command, "migrated", FALSE);

    if (g_str_equal(what, "hint")) {
        apmig_scripted_tell(
            self, &(ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {uuid, get_text(command, "name")}});
        return TRUE;
    }
    if (uuid == NULL) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, "'uuid' is missing");
        return FALSE;
    }
    if (g_str_equal(what, "changed"))
        tell_news(self, uuid, news_of(get_text(command, "change")));
    if (g_str_equal(what, "stopped"))
        tell_news(self, uuid, migrated ? APMIG_NEWS_STOPPED_MIGRATED : APMIG_NEWS_STOPPED);
    if (g_str_equal(what, "remove") && stopped)
        tell_news(self, uuid, news_of(g_str_equal(stopped, "migrated") ? "migrated" : "stopped"));
    if (g_str_equal(what, "remove"))
        json_object_remove_member(self->guests, uuid);
    return TRUE;
}

static gboolean
do_view(ScriptedHypervisor *self, JsonObject *command, JsonObject *reply, GError **error)
{
    const char *reason = get_text(command, "reason");

    if (g_str_equal(get_text(command, "do"), "lose")) {
        apmig_scripted_lose(self, reason != NULL ? reason : "it was told to be lost");
        return TRUE;
    }
    self->has_hook = json_object_get_boolean_member_with_default(command, "has-hook", self->has_hook);
    apmig_scripted_connect(self);
    return TRUE;
}

static gboolean
do_calls(ScriptedHypervisor *self, JsonObject *command, JsonObject *reply, GError **error)
{
    json_object_set_array_member(reply, "calls", json_array_ref(self->calls));
    json_object_set_int_member(reply, "withheld", apmig_scripted_count_withheld(self));
    if (json_object_get_boolean_member_with_default(command, "clear", FALSE)) {
        json_array_unref(self->calls);
        self->calls = json_array_new();
    }
    return TRUE;
}

static gboolean
do_release(ScriptedHypervisor *self, JsonObject *command, JsonObject *reply, GError **error)
{
    guint n = apmig_scripted_release(self, get_text(command, "what"), get_text(command, "uuid"));

    json_object_set_int_member(reply, "released", n);
    return TRUE;
}

static const struct {
    const char *name;
    const Member *members;
    gboolean (*func)(ScriptedHypervisor *self, JsonObject *command, JsonObject *reply, GError **error);
} commands[] = {
    {"guest", guest_members, do_guest},    {"defaults", guest_members, do_guest},
    {"remove", event_members, do_event},   {"hint", event_members, do_event},
    {"changed", event_members, do_event},  {"stopped", event_members, do_event},
    {"lose", view_members, do_view},       {"connect", view_members, do_view},
    {"release", call_members, do_release}, {"calls", call_members, do_calls},
};

static gboolean
run_line(ScriptedHypervisor *self, const char *line, JsonObject *reply, GError **error)
{
    g_autoptr(JsonNode) node = json_from_string(line, error);
    JsonObject *command = node != NULL && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
    JsonNode *name = command != NULL ? json_object_get_member(command, "do") : NULL;

    if (name == NULL || json_node_get_value_type(name) != G_TYPE_STRING) {
        g_clear_error(error);
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, "not a JSON object with 'do'");
        return FALSE;
    }
    for (guint i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (g_str_equal(json_node_get_string(name), commands[i].name))
            return check_members(command, commands[i].members, error) &&
                   commands[i].func(self, command, reply, error);
    }
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, "there is no command '%s'",
                json_node_get_string(name));
    return FALSE;
}

void
apmig_scripted_run_init(ScriptedHypervisor *self)
{
    g_autofree char *path = g_strconcat(self->path, ".init", NULL);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return;
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line != NULL; line++) {
        g_autoptr(JsonObject) reply = json_object_new();
        g_autoptr(GError) error = NULL;

        if (**line != '\0' && !run_line(self, *line, reply, &error))
            g_error("%s: %s: %s", path, *line, error->message);
    }
}

/* --- the socket ---------------------------------------------------------------------------------- */

typedef struct {
    ScriptedHypervisor *hypervisor;
    GSocketConnection *connection;
    GDataInputStream *input;
    GCancellable *cancellable;
} Client;

static void
client_free(Client *client)
{
    g_object_unref(client->input);
    g_object_unref(client->connection);
    g_object_unref(client->cancellable);
    g_free(client);
}

static gboolean
answer_line(Client *client, const char *line, GError **error)
{
    g_autoptr(JsonNode) node = json_node_alloc();
    g_autoptr(JsonObject) reply = json_object_new();
    g_autoptr(GError) problem = NULL;
    g_autoptr(GString) text = NULL;
    g_autofree char *json = NULL;

    json_object_set_boolean_member(reply, "ok", run_line(client->hypervisor, line, reply, &problem));
    if (problem != NULL)
        json_object_set_string_member(reply, "error", problem->message);
    json_node_init_object(node, reply);
    json = json_to_string(node, FALSE);
    text = g_string_new(json);
    g_string_append_c(text, '\n');
    return g_output_stream_write_all(g_io_stream_get_output_stream(G_IO_STREAM(client->connection)),
                                     text->str, text->len, NULL, client->cancellable, error);
}

static void
on_line(GObject *source, GAsyncResult *result, gpointer user_data)
{
    Client *client = user_data;
    g_autofree char *line = g_data_input_stream_read_line_finish_utf8(client->input, result, NULL, NULL);

    if (line == NULL || g_cancellable_is_cancelled(client->cancellable) || !answer_line(client, line, NULL)) {
        client_free(client);
        return;
    }
    g_data_input_stream_read_line_async(client->input, G_PRIORITY_DEFAULT, client->cancellable, on_line,
                                        client);
}

static gboolean
on_incoming(GSocketService *service, GSocketConnection *connection, GObject *source, gpointer user_data)
{
    ScriptedHypervisor *self = user_data;
    Client *client = g_new0(Client, 1);

    client->hypervisor = self;
    client->connection = g_object_ref(connection);
    client->input = g_data_input_stream_new(g_io_stream_get_input_stream(G_IO_STREAM(connection)));
    client->cancellable = g_object_ref(self->cancellable);
    g_data_input_stream_read_line_async(client->input, G_PRIORITY_DEFAULT, client->cancellable, on_line,
                                        client);
    return TRUE;
}

void
apmig_scripted_listen(ScriptedHypervisor *self)
{
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(self->path);
    g_autoptr(GError) error = NULL;

    g_unlink(self->path);
    self->cancellable = g_cancellable_new();
    self->service = g_socket_service_new();
    if (!g_socket_listener_add_address(G_SOCKET_LISTENER(self->service), address, G_SOCKET_TYPE_STREAM,
                                       G_SOCKET_PROTOCOL_DEFAULT, NULL, NULL, &error))
        g_error("cannot listen at %s: %s", self->path, error->message);
    g_signal_connect(self->service, "incoming", G_CALLBACK(on_incoming), self);
    g_socket_service_start(self->service);
}

void
apmig_scripted_stop_listening(ScriptedHypervisor *self)
{
    if (self->service == NULL)
        return;
    g_cancellable_cancel(self->cancellable);
    g_socket_service_stop(self->service);
    g_socket_listener_close(G_SOCKET_LISTENER(self->service));
    g_clear_object(&self->service);
    g_clear_object(&self->cancellable);
    g_unlink(self->path);
}
