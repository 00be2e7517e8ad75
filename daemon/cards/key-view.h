/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is known of the master keys of this host's queues at one moment: the host's crypto hardware, what its cards
 * say, and what others have said of queues that the host cannot read. Main loop's thread; never blocks.
 */
#pragma once

#include "cards/host-reader.h"
#include "keys/release-check.h"

typedef struct ApmigKeyView ApmigKeyView;

/**
 * ApmigKeyViewFunc:
 * @host: as it was read
 * @readings: (element-type ApmigKeyReading): of the queues that could be read
 * @evidence: of the others
 * @error: (nullable): why nothing could be read, as a clause; the others are then %NULL
 *
 * All of them are borrowed for the call.
 */
typedef void (*ApmigKeyViewFunc)(const ApmigApHost *host, const GPtrArray *readings,
                                 const ApmigEvidence *evidence, const char *error, gpointer user_data);

/* @alarm: a sentence: a card contradicts what somebody said of its keys. */
typedef void (*ApmigKeyAlarmFunc)(guint adapter, guint domain, const char *alarm, gpointer user_data);

/* Reads nothing yet. */
ApmigKeyView *apmig_key_view_new(ApmigSysfs *sysfs);

/* @view: (nullable): what is being read is dropped, without an answer */
void apmig_key_view_free(ApmigKeyView *view);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigKeyView, apmig_key_view_free)

void apmig_key_view_set_alarm_func(ApmigKeyView *view, ApmigKeyAlarmFunc func, gpointer user_data);
/* See apmig_host_reader_set_func(). */
void apmig_key_view_set_host_func(ApmigKeyView *view, ApmigHostReadingFunc func, gpointer user_data);

/**
 * apmig_key_view_read:
 * @scope: the cards are asked about these queues, and those that have to agree with them: of the same domains
 * @max_age_usec: a queue that was read less than this ago is not asked again: a reading is work for the card. 0: all
 *   are
 * @limit_usec: what has not been read after it counts as unread
 * @func: called once, later, never from within the call; not after apmig_key_view_free()
 */
void apmig_key_view_read(ApmigKeyView *view, const ApmigScope *scope, gint64 max_age_usec, gint64 limit_usec,
                         ApmigKeyViewFunc func, gpointer user_data);

/* As apmig_key_view_read(), but no card is asked. */
void apmig_key_view_read_host(ApmigKeyView *view, gint64 limit_usec, ApmigKeyViewFunc func,
                              gpointer user_data);

/* Returns: (transfer none): what is known, to be added to: what was declared earlier, and what is declared now. */
ApmigEvidence *apmig_key_view_evidence(ApmigKeyView *view);
/* Returns: (transfer none) (nullable): the host's hardware as of the last reading, until the next one; serial numbers as
 * far as they were known then. NULL: nothing was read in the last @max_age_usec, or the last time not in time. */
const ApmigApHost *apmig_key_view_host(const ApmigKeyView *view, gint64 max_age_usec);

/* Whether queues can be passed through to guests here at all; looks that up anew, and does not block. */
gboolean apmig_key_view_has_guest_queues(const ApmigKeyView *view);
