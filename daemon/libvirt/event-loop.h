/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libvirt's event loop is the main loop. */
#pragma once

/**
 * apmig_libvirt_use_main_loop:
 *
 * Has libvirt watch its sockets and times in the default main context (virEventRegisterImpl()): whatever it is told of is
 * told in the thread that runs that. Before the first connection is opened; more than once is once.
 */
void apmig_libvirt_use_main_loop(void);
