/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What apmigd and its helper apmigd-fence say to each other: one request and one reply, each a JSON object in one
 * packet of a SOCK_SEQPACKET socket, after which the helper is gone. Both sides read strictly: every member has to
 * be there, none else. Any thread.
 */
#pragma once

#include <glib.h>

#define APMIG_FENCE_VERSION   1
#define APMIG_FENCE_MAX_BYTES 4096 /* of a packet, either way */
#define APMIG_FENCE_MAX_NAME  251  /* bytes of a guest's name: with ".pid" it is the name of a file */

typedef enum {
    APMIG_FENCE_INSPECT,       /* "inspect": look, touch nothing */
    APMIG_FENCE_FENCE,         /* "fence": make the migration's data stream fail */
    APMIG_FENCE_KILL_INCOMING, /* "kill-incoming": end a QEMU that has not finished loading */
} ApmigFenceVerb;

#define APMIG_N_FENCE_VERBS (APMIG_FENCE_KILL_INCOMING + 1)

typedef enum {
    APMIG_FENCE_OUT, /* "out": the guest is leaving this host */
    APMIG_FENCE_IN,  /* "in" */
} ApmigFenceDirection;

#define APMIG_N_FENCE_DIRECTIONS (APMIG_FENCE_IN + 1)

/* enum vfio_device_mig_state of include/uapi/linux/vfio.h, here because headers before Linux 6.2 lack the last two. */
typedef enum {
    APMIG_VFIO_ERROR,
    APMIG_VFIO_STOP,
    APMIG_VFIO_RUNNING,
    APMIG_VFIO_STOP_COPY,
    APMIG_VFIO_RESUMING,
    APMIG_VFIO_RUNNING_P2P,
    APMIG_VFIO_PRE_COPY,
    APMIG_VFIO_PRE_COPY_P2P,
    APMIG_VFIO_UNKNOWN, /* not read, or of a newer kernel */
} ApmigVfioState;

#define APMIG_N_VFIO_STATES (APMIG_VFIO_UNKNOWN + 1)

typedef enum {
    APMIG_FENCE_DONE,          /* "done": which proves that it was done, not that the migration ends */
    APMIG_FENCE_NOTHING_TO_DO, /* "nothing-to-do": the device is in no state that could be fenced; ask again later */
    APMIG_FENCE_NOT_ABORTABLE, /* "not-abortable": past the point where it may be ended, or not provably before it */
    APMIG_FENCE_REFUSED,     /* "refused": the request does not fit what was found, or is malformed */
    APMIG_FENCE_FAILED,      /* "failed": an obstacle; nothing is left frozen */
    APMIG_FENCE_UNAVAILABLE, /* never sent: there is no helper on this host */
} ApmigFenceResult;

#define APMIG_N_FENCE_RESULTS (APMIG_FENCE_UNAVAILABLE + 1)

typedef struct {
    ApmigFenceVerb verb;
    const char *uuid;              /* of the guest, 36 characters */
    const char *name;              /* of the guest; libvirt's pid file is called after it */
    gint64 pid;                    /* of its QEMU; 0 with "inspect": what libvirt's pid file says */
    guint64 start_time;            /* field 22 of /proc/PID/stat, clock ticks; 0 with "inspect": not known */
    const char *device;            /* UUID of the mediated device */
    ApmigFenceDirection direction; /* as the daemon believes */
    gboolean fenced; /* the daemon knows that an earlier "fence" has acted on this QEMU and device */
    char *owned;     /* what a parsed request's texts point into; NULL in one that is to be sent */
} ApmigFenceRequest;

typedef struct {
    ApmigFenceResult result;
    ApmigVfioState before;
    ApmigVfioState after;
    gboolean held_data; /* QEMU held the descriptor of a migration data session */
    gint64 frozen_usec; /* 0: never frozen */
    int error_number;   /* errno; 0: none */
    gint64 pid;         /* of the QEMU that was looked at; 0: none was proven */
    guint64 start_time; /* its start, for requests to come */
    char *message;      /* a sentence */
} ApmigFenceReply;

const char *apmig_fence_verb_to_string(ApmigFenceVerb verb);
const char *apmig_fence_direction_to_string(ApmigFenceDirection direction);
const char *apmig_fence_result_to_string(ApmigFenceResult result);
/* As in the kernel's header, without the prefix: "STOP_COPY"; or "UNKNOWN". */
const char *apmig_vfio_state_to_string(ApmigVfioState state);
/* @value: as the kernel gave it. Returns: %APMIG_VFIO_UNKNOWN for a number that is not known. */
ApmigVfioState apmig_vfio_state_from_kernel(guint32 value);

/* Returns: (transfer full): the request as JSON. */
char *apmig_fence_request_to_json(const ApmigFenceRequest *request);

/**
 * apmig_fence_request_parse:
 * @text: a packet, not terminated
 * @ret_request: (out caller-allocates): set only on success; free with apmig_fence_request_clear()
 * @error: #APMIG_ERROR_INVALID_OPTION
 */
gboolean apmig_fence_request_parse(const char *text, gsize length, ApmigFenceRequest *ret_request,
                                   GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Only for one that was parsed. */
void apmig_fence_request_clear(ApmigFenceRequest *request);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ApmigFenceRequest, apmig_fence_request_clear)

/* Returns: (transfer full): the reply as JSON, of at most %APMIG_FENCE_MAX_BYTES. */
char *apmig_fence_reply_to_json(const ApmigFenceReply *reply);

/* Like apmig_fence_request_parse(). */
gboolean apmig_fence_reply_parse(const char *text, gsize length, ApmigFenceReply *ret_reply,
                                 GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_fence_reply_set:
 * @error_number: errno, or 0
 * @format: the sentence
 *
 * Puts the outcome into @reply, in place of an earlier one; what was measured stays.
 *
 * Returns: FALSE, so that whoever meets an obstacle can return it.
 */
gboolean apmig_fence_reply_set(ApmigFenceReply *reply, ApmigFenceResult result, int error_number,
                               const char *format, ...) G_GNUC_PRINTF(4, 5);

void apmig_fence_reply_clear(ApmigFenceReply *reply);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ApmigFenceReply, apmig_fence_reply_clear)
