/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages of the bus whose types and values are chosen by bytes: one that is no message is sd-bus's affair. */
#pragma once

#include <glib.h>
#include <systemd/sd-bus.h>

/* Returns: (transfer full) (nullable): a sealed call with one a{sv}; NULL when the bytes make none. */
sd_bus_message *fuzz_message_new(const guint8 *data, gsize size);
