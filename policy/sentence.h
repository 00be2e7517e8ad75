/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Parts of sentences for people: a time, and the first few of many.
 */
#pragma once

#include <glib.h>

#define APMIG_SENTENCE_FEW 4 /* named one by one */

/* @at: realtime, usec. Returns: (transfer full): "2026-11-22 08:15:00 UTC"; "an unknown time" for 0. */
char *apmig_sentence_time(gint64 at);

/**
 * apmig_sentence_few:
 * @items: (element-type utf8): may be empty
 * @separator: what stands between them, ", " or "; "
 *
 * Returns: (transfer full): the first %APMIG_SENTENCE_FEW, and " and N more" where there are more.
 */
char *apmig_sentence_few(const GPtrArray *items, const char *separator);
