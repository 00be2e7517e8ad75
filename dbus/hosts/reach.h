/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The way to a host: ssh, as a child of ours, with the bus of that host on its standard input and output, as systemctl's
 * --host has it. In parallel nobody can type fifty passwords, and so ssh asks for none. All of it is for the host's thread.
 */
#pragma once

#include "hosts/crew.h"

/**
 * hosts_connect: does nothing where there is a connection
 * @silence_usec: for how long the host may be silent
 *
 * Returns: FALSE when the host has failed: #CTL_EXIT_UNREACHABLE
 */
gboolean hosts_connect(HostsHost *host, gint64 silence_usec);

/**
 * hosts_call: sends @call and waits for its reply, with signs of life in between
 * @call: (transfer none) (nullable): %NULL with @error set
 * @timeout_usec: over everything
 * @tick: (nullable): see ctl_bus_wait(), with the host
 * @error: as of ctl_bus_call()
 *
 * Returns: (transfer full) (nullable)
 */
sd_bus_message *hosts_call(HostsHost *host, sd_bus_message *call, gint64 timeout_usec, CtlTickFunc tick,
                           GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Has host->has_changed and host->has_left set by what apmigd tells from now on, whenever the bus is processed; does nothing
 * where that is so. The host is connected. */
void hosts_subscribe(HostsHost *host);

/* Until apmigd has told of a change, by host->has_changed, which is cleared then; and no longer than @until: monotonic. */
void hosts_await_change(HostsHost *host, gint64 until);

/* Has a program run on the host. Its output and status are in @host then, or the host has failed. @command: ended by NULL; words
 * that no shell changes */
void hosts_run_program(HostsHost *host, gint64 silence_usec, const char *const *command);

/* The host has failed with @error, of a call. @error: (transfer full): one of the connection gets what ssh has said */
void hosts_fail_call(HostsHost *host, GError *error);
