/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What systemd knows of a unit.
 */
#pragma once

#include "ctl/bus.h"

typedef struct {
    gboolean known;  /* FALSE: systemd does not answer, and nothing else here counts */
    gboolean loaded; /* there is such a unit */
    gboolean active; /* running, being reloaded, or listening */
    gint64
        changed_at; /* realtime, usec, when it was started, reloaded or stopped last; 0: never since the boot */
} CtlUnit;

/* Asks systemd's manager over @bus (org.freedesktop.systemd1(5)); a unit that is not loaded yet is looked up on disk. */
CtlUnit ctl_unit_read(sd_bus *bus, const char *name);
