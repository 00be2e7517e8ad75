/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What apmigd and apmigd-act say to each other: requests and replies, each a struct in one packet of a SOCK_SEQPACKET
 * socket, a request with the text of a stamp behind it. Many requests may be under way; each has a number, which its reply
 * has too, and replies come in any order. Both are on one host, so that numbers are in its byte order, and times those of
 * its CLOCK_MONOTONIC. Both sides check strictly what they receive; whatever changes below is another version. Any thread.
 */
#pragma once

#include "base/packet.h"
#include "libvirt/actor.h"

#include <glib.h>

#define APMIG_ACT_VERSION 1

/* As long as libvirt waits for a guest's job (VIR_JOB_WAIT_TIME): what was not begun until then was asked for in another
 * situation. */
#define APMIG_ACT_DEADLINE_USEC (30 * G_USEC_PER_SEC)

/* Of a stamp's text: APMIG_STAMP_MAX_BYTES of guest/stamp-xml.h. */
#define APMIG_ACT_MAX_STAMP_BYTES (256 * 1024)

#define APMIG_ACT_REQUEST_MAGIC 0x61706d61
#define APMIG_ACT_REPLY_MAGIC   0x61706d62

/* Texts are terminated, and zero after their end. */
typedef struct {
    ApmigPacketHeader header;
    guint32 verb;         /* ApmigActVerb */
    guint32 stamp_length; /* bytes that follow, without a terminator; 0 but for %APMIG_ACT_WRITE_STAMP */
    guint64 number;       /* of the asker's choice */
    gint64 requested_at;  /* usec: no migration that began later is meant */
    gint64 deadline;      /* usec: not begun after it; at most %APMIG_ACT_DEADLINE_USEC after the request */
    char uuid[40];        /* of the guest, 36 characters; empty with %APMIG_ACT_READY */
} ApmigActRequest;

#define APMIG_ACT_MAX_REQUEST_BYTES (sizeof(ApmigActRequest) + APMIG_ACT_MAX_STAMP_BYTES)

typedef struct {
    ApmigPacketHeader header;
    guint32 result;     /* ApmigActResult */
    guint32 reserved;   /* 0 */
    guint64 number;     /* of the request */
    char message[1024]; /* a clause */
} ApmigActReply;

#define APMIG_ACT_REPLY_INIT                                                                                 \
    {                                                                                                        \
        .header = { APMIG_ACT_REPLY_MAGIC, APMIG_ACT_VERSION }                                               \
    }

const char *apmig_act_verb_to_string(ApmigActVerb verb);
const char *apmig_act_result_to_string(ApmigActResult result);

/**
 * apmig_act_request_new:
 * @order: one that apmig_act_request_check() will take
 * @now: monotonic, usec: when it was asked for
 *
 * Returns: (transfer full): the packet.
 */
GBytes *apmig_act_request_new(const ApmigActOrder *order, guint64 number, gint64 now);

/**
 * apmig_act_request_check:
 * @packet: as received
 * @length: bytes of it, which may be more than could be received
 * @ret_request: (out): its beginning
 * @ret_stamp: (out) (transfer full) (nullable): the text behind it; with %APMIG_ACT_WRITE_STAMP
 * @error: #APMIG_ERROR_INVALID_OPTION; of a request of another version it names both
 *
 * Whether it makes sense; whether it may be carried out is another question.
 */
gboolean apmig_act_request_check(gconstpointer packet, gsize length, ApmigActRequest *ret_request,
                                 char **ret_stamp, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* @length: bytes of the packet, which may be more than there is room for in @reply. @error: as of
 * apmig_act_request_check() */
gboolean apmig_act_reply_check(const ApmigActReply *reply, gsize length,
                               GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Puts the outcome into @reply. @message: escaped, and cut where it is too long */
void apmig_act_reply_set(ApmigActReply *reply, ApmigActResult result, const char *message);
