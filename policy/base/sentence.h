/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Parts of sentences for people: a time, the first few of many, a queue and some of its keys.
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

/* @classes: (element-type utf8): names of key classes, some of the @n_classes that the queue has. Returns: (transfer
 * full) (nullable): "04.0012" when it is all of them, else "04.0012 (APKA, ASYM)"; NULL when it is none. */
char *apmig_sentence_queue(guint adapter, guint domain, const GPtrArray *classes, guint n_classes);
