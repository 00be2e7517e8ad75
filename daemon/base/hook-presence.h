/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether libvirt would run our hook script. It runs HOOKSDIR/qemu and then the executable regular files in
 * HOOKSDIR/qemu.d, in the order of their names (libvirt, src/util/virhook.c, virHookCheck and virHookCall).
 */
#pragma once

#include <glib.h>

#define APMIG_HOOK_NAME "zz-apmigd"

/**
 * apmig_hook_is_installed:
 * @hooks_dir: such as "/etc/libvirt/hooks"
 * @ret_problem: (out) (optional) (transfer full): when it is not: a clause with the path and what is wrong
 *
 * Judges for libvirt, which runs as root, not for this process. That libvirt has noticed the folder (it looks
 * when it starts or is told to reload) cannot be told from here. Any thread; reads the disk.
 */
gboolean apmig_hook_is_installed(const char *hooks_dir, char **ret_problem);
