/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading procfs and sysfs relative to an open folder: /proc/PID, once open, stays that of the process it was
 * opened for and never becomes another's (ESRCH once that is gone).
 */
#pragma once

#include <glib.h>

/**
 * apmig_proc_read:
 * @folder: a descriptor
 * @max_bytes: more is an error, EFBIG
 * @ret_length: (out) (nullable)
 *
 * Returns: (transfer full) (nullable): the content, terminated; NULL with errno set.
 */
char *apmig_proc_read(int folder, const char *path, gsize max_bytes, gsize *ret_length);

/* Returns: (transfer full) (nullable): where the symbolic link points to; NULL with errno set. */
char *apmig_proc_read_link(int folder, const char *path);

/**
 * apmig_proc_read_numbers:
 * @path: a folder, of which the entries that are numbers are wanted
 * @max: more is an error, E2BIG
 *
 * Returns: (transfer full) (element-type int) (nullable): NULL with errno set.
 */
GArray *apmig_proc_read_numbers(int folder, const char *path, guint max);

/**
 * apmig_proc_read_stat:
 * @path: of a stat file as in proc_pid_stat(5)
 * @ret_state: (out): a letter, such as 'D'
 * @ret_start_time: (out): in clock ticks
 *
 * Returns: FALSE with errno set.
 */
gboolean apmig_proc_read_stat(int folder, const char *path, char *ret_state, guint64 *ret_start_time);

/* Returns: (transfer full) (nullable): what follows "KEY:" in a file of such lines, as fdinfo and status are. */
char *apmig_proc_read_field(int folder, const char *path, const char *key);
