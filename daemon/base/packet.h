/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What processes of ours say to each other is a struct, sent as one packet, and hostile until it was checked: each check says
 * in a sentence what is wrong.
 */
#pragma once

#include <glib.h>

/* How it begins; the same in every version, so that each side can name the other's. */
typedef struct {
    guint32 magic;
    guint32 version;
} ApmigPacketHeader;

/* Each returns: TRUE, or FALSE with @error (APMIG_ERROR_INVALID_OPTION) set. Any thread. */

gboolean apmig_packet_fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* To be asked first: with the version the size may change. @length: of the packet, in bytes. @peer: the other program's name */
gboolean apmig_packet_check_header(const ApmigPacketHeader *header, gsize length, ApmigPacketHeader wanted,
                                   const char *peer, GError **error);
gboolean apmig_packet_check_length(gsize length, gsize expected, GError **error);
gboolean apmig_packet_check_number(const char *field, gint64 value, gint64 max, GError **error);
/* Terminated, zero after its end, and plain (apmig_text_is_plain()). @size: of the array, more than @max_bytes */
gboolean apmig_packet_check_text(const char *field, const char *array, gsize size, gsize max_bytes,
                                 GError **error);
gboolean apmig_packet_check_uuid(const char *field, const char *array, gsize size, GError **error);
