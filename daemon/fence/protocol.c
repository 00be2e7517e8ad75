/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fence/protocol.h"

#include "base/error.h"
#include "base/strict-json.h"
#include "base/text.h"

#include <linux/vfio.h>
#include <string.h>

#define MAX_MESSAGE 1024      /* bytes that are read; half of them are written, as JSON may double them */
#define MAX_PID     (1 << 22) /* PID_MAX_LIMIT of the kernel's include/linux/threads.h */
#define MAX_INTEGER G_GINT64_CONSTANT(999999999999999999)

G_STATIC_ASSERT((int)APMIG_VFIO_ERROR == (int)VFIO_DEVICE_STATE_ERROR);
G_STATIC_ASSERT((int)APMIG_VFIO_STOP == (int)VFIO_DEVICE_STATE_STOP);
G_STATIC_ASSERT((int)APMIG_VFIO_RUNNING == (int)VFIO_DEVICE_STATE_RUNNING);
G_STATIC_ASSERT((int)APMIG_VFIO_STOP_COPY == (int)VFIO_DEVICE_STATE_STOP_COPY);
G_STATIC_ASSERT((int)APMIG_VFIO_RESUMING == (int)VFIO_DEVICE_STATE_RESUMING);
G_STATIC_ASSERT((int)APMIG_VFIO_RUNNING_P2P == (int)VFIO_DEVICE_STATE_RUNNING_P2P);

static const char *const verbs[APMIG_N_FENCE_VERBS] = {
    [APMIG_FENCE_INSPECT] = "inspect",
    [APMIG_FENCE_FENCE] = "fence",
    [APMIG_FENCE_KILL_INCOMING] = "kill-incoming",
};

static const char *const directions[APMIG_N_FENCE_DIRECTIONS] = {
    [APMIG_FENCE_OUT] = "out",
    [APMIG_FENCE_IN] = "in",
};

static const char *const results[APMIG_N_FENCE_RESULTS] = {
    [APMIG_FENCE_DONE] = "done",
    [APMIG_FENCE_NOTHING_TO_DO] = "nothing-to-do",
    [APMIG_FENCE_NOT_ABORTABLE] = "not-abortable",
    [APMIG_FENCE_REFUSED] = "refused",
    [APMIG_FENCE_FAILED] = "failed",
    [APMIG_FENCE_UNAVAILABLE] = "unavailable",
};

static const char *const states[APMIG_N_VFIO_STATES] = {
    [APMIG_VFIO_ERROR] = "ERROR",       [APMIG_VFIO_STOP] = "STOP",
    [APMIG_VFIO_RUNNING] = "RUNNING",   [APMIG_VFIO_STOP_COPY] = "STOP_COPY",
    [APMIG_VFIO_RESUMING] = "RESUMING", [APMIG_VFIO_RUNNING_P2P] = "RUNNING_P2P",
    [APMIG_VFIO_PRE_COPY] = "PRE_COPY", [APMIG_VFIO_PRE_COPY_P2P] = "PRE_COPY_P2P",
    [APMIG_VFIO_UNKNOWN] = "UNKNOWN",
};

static const char *const request_members[] = {
    "version", "request", "uuid", "name", "pid", "start-time", "device", "direction", "fenced", NULL,
};

static const char *const reply_members[] = {
    "version", "result", "state-before", "state-after", "held-data", "frozen-usec",
    "errno",   "pid",    "start-time",   "message",     NULL,
};

const char *
apmig_fence_verb_to_string(ApmigFenceVerb verb)
{
    g_return_val_if_fail((guint)verb < APMIG_N_FENCE_VERBS, "");
    return verbs[verb];
}

const char *
apmig_fence_direction_to_string(ApmigFenceDirection direction)
{
    g_return_val_if_fail((guint)direction < APMIG_N_FENCE_DIRECTIONS, "");
    return directions[direction];
}

const char *
apmig_fence_result_to_string(ApmigFenceResult result)
{
    g_return_val_if_fail((guint)result < APMIG_N_FENCE_RESULTS, "");
    return results[result];
}

const char *
apmig_vfio_state_to_string(ApmigVfioState state)
{
    g_return_val_if_fail((guint)state < APMIG_N_VFIO_STATES, "");
    return states[state];
}

ApmigVfioState
apmig_vfio_state_from_kernel(guint32 value)
{
    return value < APMIG_VFIO_UNKNOWN ? (ApmigVfioState)value : APMIG_VFIO_UNKNOWN;
}

/* --- reading members ----------------------------------------------------------------------------- */

G_GNUC_PRINTF(2, 3)
static gboolean
fail(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (error)
        *error = g_error_new_valist(APMIG_ERROR, APMIG_ERROR_INVALID_OPTION, format, args);
    va_end(args);
    return FALSE;
}

/* Exactly @members, of the version that is spoken here. */
static JsonObject *
parse_object(const char *text, gsize length, const char *origin, const char *const *members, GError **error)
{
    g_autoptr(JsonObject) object =
        apmig_strict_json_parse(text, length, APMIG_FENCE_MAX_BYTES, origin, error);
    g_autoptr(GList) names = object ? json_object_get_members(object) : NULL;
    JsonNode *version;

    if (!object)
        return NULL;
    version = json_object_get_member(object, "version");
    if (!version || json_node_get_value_type(version) != G_TYPE_INT64 ||
        json_node_get_int(version) != APMIG_FENCE_VERSION) {
        fail(error, "%s: It is not of version %d: install apmigd and apmigd-fence of the same release.",
             origin, APMIG_FENCE_VERSION);
        return NULL;
    }
    for (guint i = 0; members[i]; i++) {
        if (!json_object_has_member(object, members[i])) {
            fail(error, "%s: The member \"%s\" is missing.", origin, members[i]);
            return NULL;
        }
    }
    for (GList *name = names; name; name = name->next) {
        g_autofree char *shown = apmig_error_excerpt(name->data);

        if (!g_strv_contains(members, name->data)) {
            fail(error, "%s: The member \"%s\" is unknown.", origin, shown);
            return NULL;
        }
    }
    return g_steal_pointer(&object);
}

static gboolean
get_text(JsonObject *object, const char *member, gsize max_bytes, const char **ret_text, GError **error)
{
    JsonNode *node = json_object_get_member(object, member);

    if (json_node_get_value_type(node) != G_TYPE_STRING)
        return fail(error, "The member \"%s\" is no text.", member);
    if (!apmig_text_is_plain(json_node_get_string(node), max_bytes))
        return fail(error,
                    "The member \"%s\" is longer than %" G_GSIZE_FORMAT " bytes or has control characters.",
                    member, max_bytes);
    *ret_text = json_node_get_string(node);
    return TRUE;
}

static gboolean
get_word(JsonObject *object, const char *member, const char *const *words, guint n_words, guint *ret_index,
         GError **error)
{
    g_autofree char *shown = NULL;
    const char *text;

    if (!get_text(object, member, 64, &text, error))
        return FALSE;
    for (guint i = 0; i < n_words; i++) {
        if (strcmp(text, words[i]) == 0) {
            *ret_index = i;
            return TRUE;
        }
    }
    shown = apmig_error_excerpt(text);
    return fail(error, "The member \"%s\" cannot be \"%s\".", member, shown);
}

static gboolean
get_integer(JsonObject *object, const char *member, gint64 max, gint64 *ret_value, GError **error)
{
    JsonNode *node = json_object_get_member(object, member);

    if (json_node_get_value_type(node) != G_TYPE_INT64)
        return fail(error, "The member \"%s\" is no integer.", member);
    *ret_value = json_node_get_int(node);
    return (*ret_value >= 0 && *ret_value <= max) ||
           fail(error, "The member \"%s\" is out of its range, 0 to %" G_GINT64_FORMAT ".", member, max);
}

static gboolean
get_boolean(JsonObject *object, const char *member, gboolean *ret_value, GError **error)
{
    JsonNode *node = json_object_get_member(object, member);

    if (json_node_get_value_type(node) != G_TYPE_BOOLEAN)
        return fail(error, "The member \"%s\" is neither true nor false.", member);
    *ret_value = json_node_get_boolean(node);
    return TRUE;
}

static gboolean
get_uuid(JsonObject *object, const char *member, const char **ret_uuid, GError **error)
{
    return get_text(object, member, 36, ret_uuid, error) &&
           (g_uuid_string_is_valid(*ret_uuid) || fail(error, "The member \"%s\" is no UUID.", member));
}

/* It becomes the name of a file: libvirt allows no '/' in it either. */
static gboolean
get_name(JsonObject *object, const char **ret_name, GError **error)
{
    return get_text(object, "name", APMIG_FENCE_MAX_NAME, ret_name, error) &&
           ((**ret_name && !strchr(*ret_name, '/')) ||
            fail(error, "The member \"name\" is empty or has a '/': a guest cannot be called so."));
}

/* --- the request --------------------------------------------------------------------------------- */

char *
apmig_fence_request_to_json(const ApmigFenceRequest *request)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    JsonObject *object = json_object_new();

    json_object_set_int_member(object, "version", APMIG_FENCE_VERSION);
    json_object_set_string_member(object, "request", apmig_fence_verb_to_string(request->verb));
    json_object_set_string_member(object, "uuid", request->uuid);
    json_object_set_string_member(object, "name", request->name);
    json_object_set_int_member(object, "pid", request->pid);
    json_object_set_int_member(object, "start-time", (gint64)request->start_time);
    json_object_set_string_member(object, "device", request->device);
    json_object_set_string_member(object, "direction", apmig_fence_direction_to_string(request->direction));
    json_object_set_boolean_member(object, "fenced", request->fenced);
    json_node_take_object(node, object);
    return json_to_string(node, FALSE);
}

/* Its texts are borrowed from @object. */
static gboolean
read_request(JsonObject *object, ApmigFenceRequest *request, GError **error)
{
    guint verb = 0, direction = 0;
    gint64 start_time = 0;

    if (!get_word(object, "request", verbs, APMIG_N_FENCE_VERBS, &verb, error) ||
        !get_word(object, "direction", directions, APMIG_N_FENCE_DIRECTIONS, &direction, error) ||
        !get_uuid(object, "uuid", &request->uuid, error) ||
        !get_uuid(object, "device", &request->device, error) || !get_name(object, &request->name, error) ||
        !get_integer(object, "pid", MAX_PID, &request->pid, error) ||
        !get_integer(object, "start-time", MAX_INTEGER, &start_time, error) ||
        !get_boolean(object, "fenced", &request->fenced, error))
        return FALSE;
    request->verb = (ApmigFenceVerb)verb;
    request->direction = (ApmigFenceDirection)direction;
    request->start_time = (guint64)start_time;
    if (request->pid == 1 || (request->pid == 0 && request->start_time != 0) ||
        (request->verb != APMIG_FENCE_INSPECT && (request->pid == 0 || request->start_time == 0)))
        return fail(
            error, "A request that acts needs the pid of a QEMU and its start time: \"inspect\" tells them.");
    return TRUE;
}

gboolean
apmig_fence_request_parse(const char *text, gsize length, ApmigFenceRequest *ret_request, GError **error)
{
    g_autoptr(JsonObject) object = parse_object(text, length, "request", request_members, error);
    ApmigFenceRequest request = {0};
    gsize uuid_bytes, device_bytes;

    if (!object || !read_request(object, &request, error))
        return FALSE;
    uuid_bytes = strlen(request.uuid) + 1;
    device_bytes = strlen(request.device) + 1;
    request.owned = g_malloc0(uuid_bytes + device_bytes + strlen(request.name) + 1);
    request.uuid = memcpy(request.owned, request.uuid, uuid_bytes);
    request.device = memcpy(request.owned + uuid_bytes, request.device, device_bytes);
    request.name = strcpy(request.owned + uuid_bytes + device_bytes, request.name);
    *ret_request = request;
    return TRUE;
}

void
apmig_fence_request_clear(ApmigFenceRequest *request)
{
    g_free(request->owned);
    *request = (ApmigFenceRequest){0};
}

/* --- the reply ----------------------------------------------------------------------------------- */

char *
apmig_fence_reply_to_json(const ApmigFenceReply *reply)
{
    g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
    g_autofree char *message = apmig_text_escape(reply->message ? reply->message : "", MAX_MESSAGE / 2);
    JsonObject *object = json_object_new();

    json_object_set_int_member(object, "version", APMIG_FENCE_VERSION);
    json_object_set_string_member(object, "result", apmig_fence_result_to_string(reply->result));
    json_object_set_string_member(object, "state-before", apmig_vfio_state_to_string(reply->before));
    json_object_set_string_member(object, "state-after", apmig_vfio_state_to_string(reply->after));
    json_object_set_boolean_member(object, "held-data", reply->held_data);
    json_object_set_int_member(object, "frozen-usec", reply->frozen_usec);
    json_object_set_int_member(object, "errno", reply->error_number);
    json_object_set_int_member(object, "pid", reply->pid);
    json_object_set_int_member(object, "start-time", (gint64)reply->start_time);
    json_object_set_string_member(object, "message", message);
    json_node_take_object(node, object);
    return json_to_string(node, FALSE);
}

gboolean
apmig_fence_reply_parse(const char *text, gsize length, ApmigFenceReply *ret_reply, GError **error)
{
    g_autoptr(JsonObject) object = parse_object(text, length, "reply", reply_members, error);
    ApmigFenceReply reply = {0};
    guint result = 0, before = 0, after = 0;
    gint64 number = 0, start_time = 0;
    const char *message = NULL;

    if (!object || !get_word(object, "result", results, APMIG_FENCE_UNAVAILABLE, &result, error) ||
        !get_word(object, "state-before", states, APMIG_N_VFIO_STATES, &before, error) ||
        !get_word(object, "state-after", states, APMIG_N_VFIO_STATES, &after, error) ||
        !get_boolean(object, "held-data", &reply.held_data, error) ||
        !get_integer(object, "frozen-usec", MAX_INTEGER, &reply.frozen_usec, error) ||
        !get_integer(object, "errno", 4095, &number, error) ||
        !get_integer(object, "pid", MAX_PID, &reply.pid, error) ||
        !get_integer(object, "start-time", MAX_INTEGER, &start_time, error) ||
        !get_text(object, "message", MAX_MESSAGE, &message, error))
        return FALSE;
    reply.result = (ApmigFenceResult)result;
    reply.before = (ApmigVfioState)before;
    reply.after = (ApmigVfioState)after;
    reply.error_number = (int)number;
    reply.start_time = (guint64)start_time;
    reply.message = g_strdup(message);
    *ret_reply = reply;
    return TRUE;
}

gboolean
apmig_fence_reply_set(ApmigFenceReply *reply, ApmigFenceResult result, int error_number, const char *format,
                      ...)
{
    char *earlier = reply->message; /* may be among the arguments */
    va_list args;

    va_start(args, format);
    reply->message = g_strdup_vprintf(format, args);
    va_end(args);
    g_free(earlier);
    reply->result = result;
    reply->error_number = error_number;
    return FALSE;
}

void
apmig_fence_reply_clear(ApmigFenceReply *reply)
{
    g_free(reply->message);
    *reply = (ApmigFenceReply){.before = APMIG_VFIO_UNKNOWN, .after = APMIG_VFIO_UNKNOWN};
}
