/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What came of the rehearsal of a lock.
 */
#pragma once

#include "ctl/bus.h"
#include "ctl/format.h"

/**
 * ctl_print_rehearsal:
 * @reply: of RehearseLock, unread
 * @quiet: print nothing but JSON
 *
 * Returns: an exit status: whether a lock would come of it.
 */
int ctl_print_rehearsal(sd_bus_message *reply, const char *scope, CtlJson json, gboolean quiet,
                        GError **error);
