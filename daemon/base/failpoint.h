/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Named points at which a crash test ends the process, as kill -9 would: built with the option "failpoints",
 * apmig_failpoint("NAME") does so when the environment variable APMIGD_FAILPOINT is NAME; when it is "stop:NAME" the
 * process is stopped there, for the test to look around and to end it; when it is "hang:NAME" the thread that comes there hangs,
 * as on a disk that does not answer, until the file APMIGD_FAILPOINT_END exists; the file of that name with ".hangs" tells
 * that it does. Otherwise it is nothing.
 *
 * apmig_failpoint_skips("NAME") says whether what it guards is to be left out, as if it had never happened: when
 * APMIGD_FAILPOINT is "skip:NAME", from when the file APMIGD_FAILPOINT_BEGIN exists.
 */
#pragma once

#ifdef APMIGD_FAILPOINTS
#include <stdbool.h>

void apmig_failpoint(const char *name);
bool apmig_failpoint_skips(const char *name);
#else
#define apmig_failpoint(name)       ((void)0)
#define apmig_failpoint_skips(name) (0)
#endif
