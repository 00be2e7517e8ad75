/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Text that came from outside: bounded, UTF-8, and without control characters before it is kept or shown. Any
 * thread.
 */
#pragma once

#include <glib.h>

/* Returns: whether @text is UTF-8 of at most @max_bytes without control characters (C0, DEL, C1). */
gboolean apmig_text_is_plain(const char *text, gsize max_bytes);

/**
 * apmig_text_escape:
 * @text: anything, terminated
 * @max_bytes: of the result; at least 16
 *
 * Returns: (transfer full): @text with control characters and bytes that are no UTF-8 written as \xNN, cut to
 * @max_bytes with "..." at its end when longer.
 */
char *apmig_text_escape(const char *text, gsize max_bytes);
