/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/host-id.h"

#include <systemd/sd-id128.h>

/* Of apmigd's stamps; never to be changed, for then no stamp would be known again. */
static const sd_id128_t stamps =
    SD_ID128_MAKE(3d, 5e, 0c, 61, 9a, 1f, 4b, 7c, 8d, 52, a4, 07, be, 13, 66, f9);

char *
apmig_host_id(GError **error)
{
    sd_id128_t id;
    int r = sd_id128_get_machine_app_specific(stamps, &id);

    if (r < 0) {
        g_set_error(
            error, G_FILE_ERROR, g_file_error_from_errno(-r),
            "This host has no id (%s), so guests carry no stamps: make one with systemd-machine-id-setup.",
            g_strerror(-r));
        return NULL;
    }
    return g_strdup_printf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                           SD_ID128_FORMAT_VAL(id));
}
