/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fence/protocol.h"

#include "base/text.h"

#include <linux/vfio.h>
#include <string.h>

#define MAX_PID         (1 << 22)             /* PID_MAX_LIMIT of the kernel's include/linux/threads.h */
#define MAX_ERRNO       4095                  /* of the kernel's include/linux/err.h */
#define MAX_FROZEN_USEC (60 * G_USEC_PER_SEC) /* far beyond the 2 s that the helper lives */

/* No padding: what is sent is what was set. */
G_STATIC_ASSERT(sizeof(ApmigFenceRequest) == 368);
G_STATIC_ASSERT(sizeof(ApmigFenceReply) == 1080);

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
    [APMIG_FENCE_LOOK] = "look",
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

const char *
apmig_fence_verb_to_string(ApmigFenceVerb verb)
{
    g_return_val_if_fail((guint)verb < APMIG_N_FENCE_VERBS, "");
    return verbs[verb];
}

gboolean
apmig_fence_verb_only_looks(guint32 verb)
{
    return verb == APMIG_FENCE_INSPECT || verb == APMIG_FENCE_LOOK;
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
apmig_fence_driver_to_string(ApmigDriver driver)
{
    static const char *const drivers[APMIG_N_DRIVERS] = {
        [APMIG_DRIVER_UNKNOWN] = "unknown",
        [APMIG_DRIVER_VFIO_AP] = "vfio-ap",
        [APMIG_DRIVER_OTHER] = "other",
    };

    g_return_val_if_fail((guint)driver < APMIG_N_DRIVERS, "");
    return drivers[driver];
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

/* --- checking what was received ------------------------------------------------------------------ */

static gboolean
check_header(const ApmigPacketHeader *header, guint32 magic, gsize length, gsize size, GError **error)
{
    return apmig_packet_check_header(header, length, (ApmigPacketHeader){magic, APMIG_FENCE_VERSION},
                                     "apmigd-fence", error) &&
           apmig_packet_check_length(length, size, error);
}

/* It becomes the name of a file: libvirt allows no '/' in it either. */
static gboolean
check_name(const ApmigFenceRequest *request, GError **error)
{
    return apmig_packet_check_text("name", request->name, sizeof request->name, APMIG_FENCE_MAX_NAME,
                                   error) &&
           ((request->name[0] && !strchr(request->name, '/')) ||
            apmig_packet_fail(error, "The field \"name\" is empty or has a '/', which no guest's name has."));
}

/* What only looks may leave out the start time, or both; what acts, neither. */
static gboolean
check_process(const ApmigFenceRequest *request, GError **error)
{
    if (!apmig_packet_check_number("pid", request->pid, MAX_PID, error))
        return FALSE;
    if (request->pid == 1 || (request->pid == 0 && request->start_time != 0) ||
        (!apmig_fence_verb_only_looks(request->verb) && (request->pid == 0 || request->start_time == 0)))
        return apmig_packet_fail(
            error, "A request that acts needs the pid of a QEMU and its start time: \"inspect\" tells them.");
    return TRUE;
}

gboolean
apmig_fence_request_check(const ApmigFenceRequest *request, gsize length, GError **error)
{
    return check_header(&request->header, APMIG_FENCE_REQUEST_MAGIC, length, sizeof *request, error) &&
           apmig_packet_check_number("verb", request->verb, APMIG_N_FENCE_VERBS - 1, error) &&
           apmig_packet_check_number("direction", request->direction, APMIG_N_FENCE_DIRECTIONS - 1, error) &&
           apmig_packet_check_number("reserved", request->reserved, 0, error) &&
           apmig_packet_check_uuid("uuid", request->uuid, sizeof request->uuid, error) &&
           apmig_packet_check_uuid("device", request->device, sizeof request->device, error) &&
           check_name(request, error) && check_process(request, error);
}

gboolean
apmig_fence_reply_check(const ApmigFenceReply *reply, gsize length, GError **error)
{
    return check_header(&reply->header, APMIG_FENCE_REPLY_MAGIC, length, sizeof *reply, error) &&
           apmig_packet_check_number("result", reply->result, APMIG_FENCE_UNAVAILABLE - 1, error) &&
           apmig_packet_check_number("before", reply->before, APMIG_N_VFIO_STATES - 1, error) &&
           apmig_packet_check_number("after", reply->after, APMIG_N_VFIO_STATES - 1, error) &&
           apmig_packet_check_number("held_data", reply->held_data, 1, error) &&
           apmig_packet_check_number("driver", reply->driver, APMIG_N_DRIVERS - 1, error) &&
           apmig_packet_check_number("reserved", reply->reserved, 0, error) &&
           apmig_packet_check_number("error_number", reply->error_number, MAX_ERRNO, error) &&
           apmig_packet_check_number("pid", reply->pid, MAX_PID, error) &&
           apmig_packet_check_number("frozen_usec", reply->frozen_usec, MAX_FROZEN_USEC, error) &&
           apmig_packet_check_text("message", reply->message, sizeof reply->message,
                                   sizeof reply->message - 1, error);
}

/* --- the outcome --------------------------------------------------------------------------------- */

gboolean
apmig_fence_reply_set(ApmigFenceReply *reply, ApmigFenceResult result, int error_number, const char *format,
                      ...)
{
    g_autofree char *text = NULL, *shown = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    shown = apmig_text_escape(text, sizeof reply->message - 1);
    memset(reply->message, 0, sizeof reply->message);
    memcpy(reply->message, shown, strlen(shown));
    reply->result = result;
    reply->error_number = error_number;
    return FALSE;
}
