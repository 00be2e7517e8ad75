/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Named points at which a crash test ends the process, as kill -9 would: built with the option "failpoints",
 * apmig_failpoint("NAME") does so when the environment variable APMIGD_FAILPOINT is NAME; when it is "stop:NAME" the
 * process is stopped there, for the test to look around and to end it; when it is "hang:NAME" the thread that comes there hangs,
 * as on a disk that does not answer, until the file APMIGD_FAILPOINT_END exists. Otherwise it is nothing.
 */
#pragma once

#ifdef APMIGD_FAILPOINTS
void apmig_failpoint(const char *name);
#else
#define apmig_failpoint(name) ((void)0)
#endif
