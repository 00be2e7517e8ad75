/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A process that executes no program, whatever becomes of it: none of ours does, and who breaks into one finds no shell.
 */
#pragma once

#include <glib.h>

/**
 * apmig_forbid_exec: from now on execve() and execveat() fail with EPERM in this thread and those that it begins, and so does
 *   every system call of another architecture than this program's
 * @error: #G_FILE_ERROR: the kernel has no seccomp filters, or the architecture is not known here; nothing is changed then
 *   but that no privileges are gained by executing
 *
 * It needs no right, cannot be undone, and comes on top of a filter that systemd has set. To be called before there are
 * threads. seccomp(2); the numbers of architectures are those of linux/audit.h.
 */
gboolean apmig_forbid_exec(GError **error);
