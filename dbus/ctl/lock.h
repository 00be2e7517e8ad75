/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Locks as the verbs show and name them.
 */
#pragma once

#include "ctl/bus.h"

/* Without --timeout= the daemon's policy bounds a request; this only bounds a daemon that is stuck. */
#define CTL_STUCK_USEC (15 * 60 * G_USEC_PER_SEC)

/**
 * ctl_find_lock:
 * @locks: (element-type JsonObject): as of ctl_bus_get_objects()
 * @name: an id, the beginning of exactly one, or an object path
 * @error: #APMIG_EXIT_NOT_FOUND, also when several begin so
 *
 * Returns: (transfer none): one of @locks
 */
JsonObject *ctl_find_lock(GPtrArray *locks, const char *name, GError **error);

/* --- what is said of one (lock-facts.c); @lock: as of ctl_bus_get_objects() ------------------------- */

/* Guests that have gone, and nobody saw how. */
guint ctl_lock_n_departed(JsonObject *lock);
/* Returns: (transfer full): their names and UUIDs; "": none. */
char *ctl_lock_describe_departed(JsonObject *lock);
/* Returns: (transfer full): what to do about them. */
char *ctl_lock_departed_remedy(JsonObject *lock);
/* Whether it is known that no queue of its host and no guest there is in its scope. */
gboolean ctl_lock_covers_nothing(JsonObject *lock);
