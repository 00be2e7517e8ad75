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
 * CtlLookFunc: looks at what there is
 * @follow: to be read anew; what it remembers of the time between two readings may be looked at too
 *
 * Returns: an exit status, with @error when it is of one; -1: go on
 */
typedef int (*CtlLookFunc)(CtlFollow *follow, gpointer data, GError **error);

/**
 * ctl_follow: looks, and looks again whenever apmigd has told of a change since the last reading began
 * @host: (nullable): as of ctl_bus_open_host()
 * @deadline: monotonic; G_MAXINT64 for none
 * @error: @look's; #CTL_EXIT_UNREACHABLE: the bus is gone; #APMIG_EXIT_TIMEOUT at @deadline
 *
 * Returns: the exit status of @look, or CTL_EXIT_FAILURE with @error
 */
int ctl_follow(const char *host, gint64 deadline, CtlLookFunc look, gpointer data,
               GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * ctl_follow_read: what apmigd has now, see ctl_bus_get_objects(); starts it if it does not run
 * @ret_manager: (out) (optional): the properties of the manager
 */
gboolean ctl_follow_read(CtlFollow *follow, JsonObject **ret_manager, GPtrArray **ret_locks,
                         GPtrArray **ret_migrations, GError **error) G_GNUC_WARN_UNUSED_RESULT;
