/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any dictionary of options is read, or an error that can be shown. */
#include "fuzz.h"
#include "message.h"
#include "server/private.h"

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    ApmigOption options[] = {{.name = "on-busy", .type = "s"},
                             {.name = "timeout-usec", .type = "t"},
                             {.name = "force", .type = "b"},
                             {.name = "declare", .type = "a{ss}"},
                             {NULL}};
    g_autoptr(sd_bus_message) message = fuzz_message_new(data, size);
    g_autoptr(GError) error = NULL;

    if (message && !apmig_options_read(message, options, &error))
        fuzz_check_error(error, APMIG_ERROR_INVALID_OPTION);
    g_clear_pointer(&options[3].pairs, g_ptr_array_unref);
    return 0;
}
