/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/packet.h"

#include "base/error.h"
#include "base/text.h"

#include <string.h>

#define UUID_BYTES 36

gboolean
apmig_packet_fail(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (error)
        *error = g_error_new_valist(APMIG_ERROR, APMIG_ERROR_INVALID_OPTION, format, args);
    va_end(args);
    return FALSE;
}

gboolean
apmig_packet_check_header(const ApmigPacketHeader *header, gsize length, ApmigPacketHeader wanted,
                          const char *peer, GError **error)
{
    if (length < sizeof *header || header->magic != wanted.magic)
        return apmig_packet_fail(error, "It is nothing that apmigd and %s say to each other.", peer);
    return header->version == wanted.version ||
           apmig_packet_fail(error, "It is of version %u, not %u: install apmigd and %s of the same release.",
                             header->version, wanted.version, peer);
}

gboolean
apmig_packet_check_length(gsize length, gsize expected, GError **error)
{
    return length == expected ||
           apmig_packet_fail(error, "It has %" G_GSIZE_FORMAT " bytes, not %" G_GSIZE_FORMAT ".", length,
                             expected);
}

gboolean
apmig_packet_check_number(const char *field, gint64 value, gint64 max, GError **error)
{
    return (value >= 0 && value <= max) ||
           apmig_packet_fail(error, "The field \"%s\" is out of its range, 0 to %" G_GINT64_FORMAT ".", field,
                             max);
}

gboolean
apmig_packet_check_text(const char *field, const char *array, gsize size, gsize max_bytes, GError **error)
{
    const gsize length = strnlen(array, size);

    for (gsize i = length; i < size; i++)
        if (array[i] != '\0')
            return apmig_packet_fail(error, "The field \"%s\" is not zero after its end.", field);
    return (length < size && apmig_text_is_plain(array, max_bytes)) ||
           apmig_packet_fail(error,
                             "The field \"%s\" is longer than %" G_GSIZE_FORMAT
                             " bytes, has control characters or is not UTF-8.",
                             field, max_bytes);
}

gboolean
apmig_packet_check_uuid(const char *field, const char *array, gsize size, GError **error)
{
    return apmig_packet_check_text(field, array, size, UUID_BYTES, error) &&
           (g_uuid_string_is_valid(array) ||
            apmig_packet_fail(error, "The field \"%s\" is not a UUID.", field));
}
