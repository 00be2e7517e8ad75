/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What apmigd and its helper apmigd-fence say to each other: one request and one reply, each a struct in one packet of
 * a SOCK_SEQPACKET socket, after which the helper is gone. Both are on one host, so that numbers are in its byte order.
 * Both sides check strictly what they receive; whatever changes below is another version. Any thread.
 */
#pragma once

#include "base/packet.h"

#include <glib.h>

#define APMIG_FENCE_VERSION  3
#define APMIG_FENCE_MAX_NAME 251 /* bytes of a guest's name: with ".pid" it is the name of a file */

typedef enum {
    APMIG_FENCE_INSPECT,       /* "inspect": look, touch nothing */
    APMIG_FENCE_FENCE,         /* "fence": make the migration's data stream fail */
    APMIG_FENCE_KILL_INCOMING, /* "kill-incoming": end a QEMU that has not finished loading */
    APMIG_FENCE_LOOK, /* "look": is the device being saved? From /proc alone, and no driver is asked */
} ApmigFenceVerb;

#define APMIG_N_FENCE_VERBS (APMIG_FENCE_LOOK + 1)

/* Whether it changes nothing, and so may be asked for without knowing which process the QEMU is. */
gboolean apmig_fence_verb_only_looks(guint32 verb);

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

/* What a device is driven by, as far as it matters here. */
typedef enum {
    APMIG_DRIVER_UNKNOWN, /* "unknown": not asked, or no answer yet */
    APMIG_DRIVER_VFIO_AP, /* "vfio-ap" */
    APMIG_DRIVER_OTHER,   /* "other" */
} ApmigDriver;

#define APMIG_N_DRIVERS (APMIG_DRIVER_OTHER + 1)

typedef enum {
    APMIG_FENCE_DONE,          /* "done": which proves that it was done, not that the migration ends */
    APMIG_FENCE_NOTHING_TO_DO, /* "nothing-to-do": the device is in no state that could be fenced; ask again later */
    APMIG_FENCE_NOT_ABORTABLE, /* "not-abortable": past the point where it may be ended, or not provably before it */
    APMIG_FENCE_REFUSED,     /* "refused": the request does not fit what was found, or is malformed */
    APMIG_FENCE_FAILED,      /* "failed": an obstacle; nothing is left frozen */
    APMIG_FENCE_UNAVAILABLE, /* never sent: there is no helper on this host */
} ApmigFenceResult;

#define APMIG_N_FENCE_RESULTS (APMIG_FENCE_UNAVAILABLE + 1)

#define APMIG_FENCE_REQUEST_MAGIC 0x61706d71
#define APMIG_FENCE_REPLY_MAGIC   0x61706d72

/* Texts are terminated, and zero after their end. One that was cut to fit its array is too long to pass the check. */
typedef struct {
    ApmigPacketHeader header;
    guint32 verb;       /* ApmigFenceVerb */
    guint32 direction;  /* ApmigFenceDirection, as the daemon believes */
    guint32 reserved;   /* 0 */
    gint32 pid;         /* of its QEMU; 0 with "inspect" and "look": what libvirt's pid file says */
    guint64 start_time; /* field 22 of /proc/PID/stat, clock ticks; 0 with those: not known */
    char uuid[40];      /* of the guest, 36 characters */
    char device[40];    /* UUID of the mediated device */
    char name[256];     /* of the guest; libvirt's pid file is called after it */
} ApmigFenceRequest;

typedef struct {
    ApmigPacketHeader header;
    guint32 result;      /* ApmigFenceResult */
    guint32 before;      /* ApmigVfioState */
    guint32 after;       /* ApmigVfioState */
    guint32 held_data;   /* 1: QEMU held the descriptor of a migration data session */
    guint32 driver;      /* ApmigDriver */
    guint32 reserved;    /* 0 */
    gint32 error_number; /* errno; 0: none */
    gint32 pid;          /* of the QEMU that was looked at; 0: none was proven */
    gint64 frozen_usec;  /* from the first stop of one of its tasks until all could run on; 0: never frozen */
    guint64 start_time;  /* of that QEMU, for requests to come */
    char message[1024];  /* a sentence */
} ApmigFenceReply;

#define APMIG_FENCE_REPLY_INIT                                                                               \
    {                                                                                                        \
        .header = {APMIG_FENCE_REPLY_MAGIC, APMIG_FENCE_VERSION}, .before = APMIG_VFIO_UNKNOWN,              \
        .after = APMIG_VFIO_UNKNOWN                                                                          \
    }

const char *apmig_fence_verb_to_string(ApmigFenceVerb verb);
const char *apmig_fence_direction_to_string(ApmigFenceDirection direction);
const char *apmig_fence_result_to_string(ApmigFenceResult result);
const char *apmig_fence_driver_to_string(ApmigDriver driver);
/* As in the kernel's header, without the prefix: "STOP_COPY"; or "UNKNOWN". */
const char *apmig_vfio_state_to_string(ApmigVfioState state);
/* @value: as the kernel gave it. Returns: %APMIG_VFIO_UNKNOWN for a number that is not known. */
ApmigVfioState apmig_vfio_state_from_kernel(guint32 value);

/**
 * apmig_fence_request_check:
 * @request: as received; zero where nothing was
 * @length: bytes of the packet, which may be more than there is room for in @request
 * @error: #APMIG_ERROR_INVALID_OPTION; of a request of another version it names both
 */
gboolean apmig_fence_request_check(const ApmigFenceRequest *request, gsize length,
                                   GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Like apmig_fence_request_check(). */
gboolean apmig_fence_reply_check(const ApmigFenceReply *reply, gsize length,
                                 GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_fence_reply_set:
 * @error_number: errno, or 0
 * @format: the sentence; it is escaped, and cut where it is too long
 *
 * Puts the outcome into @reply, in place of an earlier one; what was measured stays.
 *
 * Returns: FALSE, so that whoever meets an obstacle can return it.
 */
gboolean apmig_fence_reply_set(ApmigFenceReply *reply, ApmigFenceResult result, int error_number,
                               const char *format, ...) G_GNUC_PRINTF(4, 5);
