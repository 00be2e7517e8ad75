/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any value of the bus, as another host's apmigd may send it, is JSON or is not read. */
#include "ctl/bus.h"
#include "fuzz.h"
#include "message.h"

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autoptr(sd_bus_message) message = fuzz_message_new(data, size);
    g_autoptr(JsonNode) node = message ? ctl_bus_read_json(message, NULL) : NULL;
    g_autofree char *text = node ? json_to_string(node, FALSE) : NULL;

    g_assert_true(!node || (JSON_NODE_HOLDS_OBJECT(node) && g_utf8_validate(text, -1, NULL)));
    return 0;
}
