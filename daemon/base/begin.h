/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What apmigd and apmigd-act do before anything else. The helper with capabilities, which loads few libraries, does without.
 */
#pragma once

/* Its files are its user's alone, who hangs up does not end it, it executes no program (or the log says why it could), and the
 * log does not wait for who reads it: apmig_log_end() is to be called. To be called once, before there are threads. */
void apmig_begin(void);
