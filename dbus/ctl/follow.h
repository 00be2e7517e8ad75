/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Following apmigd by its signals: each is a cause to read anew what it has. What comes and goes between two readings is
 * remembered, as far as it matters.
 */
#pragma once

#include "ctl/bus.h"

typedef struct {
    sd_bus *bus;
    sd_bus_slot *signals;
    sd_bus_slot *names;
    char *owner;        /* apmigd's name of its own on the bus; NULL: not known yet */
    gboolean changed;   /* since the last reading began */
    gboolean left;      /* apmigd has left the bus, and may be there again */
    gboolean view_lost; /* apmigd has lost the hypervisor, and may have it again */
} CtlFollow;

/**
 * ctl_follow_init: asks the bus for apmigd's signals
 * @follow: zeroed
 * @bus: borrowed; to outlive @follow
 * @error: #CTL_EXIT_FAILURE
 *
 * Call it before the first reading: then no change is missed.
 */
gboolean ctl_follow_init(CtlFollow *follow, sd_bus *bus, GError **error) G_GNUC_WARN_UNUSED_RESULT;

void ctl_follow_clear(CtlFollow *follow);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CtlFollow, ctl_follow_clear)

/**
 * ctl_follow_read: what apmigd has now, see ctl_bus_get_objects(); starts it if it does not run
 * @ret_manager: (out) (optional): the properties of the manager
 */
gboolean ctl_follow_read(CtlFollow *follow, JsonObject **ret_manager, GPtrArray **ret_locks,
                         GPtrArray **ret_migrations, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * ctl_follow_wait: until apmigd has told of a change since the last reading began
 * @deadline: monotonic; G_MAXINT64 for none
 * @error: #CTL_EXIT_UNREACHABLE: the bus is gone; #APMIG_EXIT_TIMEOUT at @deadline
 */
gboolean ctl_follow_wait(CtlFollow *follow, gint64 deadline, GError **error) G_GNUC_WARN_UNUSED_RESULT;
