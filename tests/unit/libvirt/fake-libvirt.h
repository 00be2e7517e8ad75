/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * An eye on libvirt's functions, and a hand in them. A program that is linked with this calls the real ones through it: each
 * call is noted under the function's name without "vir", and can be made to hang, or to fail. An event is registered for by
 * RegisterLifecycle, RegisterIteration or RegisterOther. For one test at a time.
 */
#pragma once

#include <glib.h>

/* Nothing hangs or fails any more; the notes are thrown away. Not for what is open. */
void fake_libvirt_reset(void);

/* Calls of @function hang, those under way too that come to it, until @hangs is FALSE. */
void fake_libvirt_hang(const char *function, gboolean hangs);
/* Waits until as many calls hang, and runs the main loop. */
void fake_libvirt_await_hanging(guint n_calls);
guint fake_libvirt_n_hanging(void);

/* @code: virErrorNumber; 0: it does not fail. One function at a time. */
void fake_libvirt_fail(const char *function, int code);
/* What virDomainGetJobStats() says, of any guest; an abort of it then succeeds, and does nothing else. @type:
 * virDomainJobType. @operation: virDomainJobOperation; -1: what is so. @elapsed_ms: for how long it has been there by now */
void fake_libvirt_set_job(int type, int operation, guint64 elapsed_ms);
/* What virDomainGetState() says. @state: -1: what is so */
void fake_libvirt_set_state(int state, int reason);

/* Returns: how often it was called. */
guint fake_libvirt_count(const char *function);
/* Returns: (transfer full): the functions that were called, in order, with blanks between. */
char *fake_libvirt_calls(void);
/* Returns: the most calls under way at a time on one connection. */
guint fake_libvirt_most_at_once(void);
/* Returns: connections that are open. */
guint fake_libvirt_n_open(void);
