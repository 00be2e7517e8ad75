/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The works that change something on a host: its lock is taken, and released.
 */
#pragma once

#include "hosts/task.h"

/**
 * hosts_take: takes the lock, or finds it: the same user's of the same change and scope, from an earlier run. It has been looked
 * at the host before, see hosts_look().
 *
 * Whether it was there before is in @host->made; a host without the lock has failed, and with #CTL_EXIT_UNREACHABLE it is not
 * known whether it has it.
 */
void hosts_take(HostsHost *host, gconstpointer task);

/* As hosts_look(); a host with a lock of somebody else's in the way has failed: #APMIG_EXIT_LOCKED */
void hosts_look_whether_free(HostsHost *host, gconstpointer task);

/* Releases the lock that was asked about; of a host without one nothing is done. A refusal is in @host->release_error. */
void hosts_release(HostsHost *host, gconstpointer task);

/* Releases what this run has made there, though the host has failed otherwise. */
void hosts_undo(HostsHost *host, gconstpointer task);
