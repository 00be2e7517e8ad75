/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Permits as the verbs show them.
 */
#pragma once

#include "ctl/bus.h"

/* Returns: (transfer full) (nullable) (element-type JsonObject): as of ListPermits */
GPtrArray *ctl_permits_read(sd_bus *bus, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Returns: (transfer none): what to call its guest. */
const char *ctl_permit_guest(JsonObject *permit);

/* A table on standard output; nothing when there are none. */
void ctl_permits_print(GPtrArray *permits, const char *indent);
