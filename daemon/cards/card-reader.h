/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the cards say: the master-key verification patterns of this host's queues, each card in a thread of its own
 * and at most one at a time on each, because a card that hangs lets its reader wait for up to 900 s (see ap-sysfs.h).
 * Such a thread is left behind, is never joined, and its card is not asked again until it has returned; the other cards
 * do not wait for it.
 *
 * Main loop's thread only; nothing blocks.
 */
#pragma once

#include "keys/release-check.h"

typedef struct ApmigCardReader ApmigCardReader;

/* @readings: (element-type ApmigKeyReading): of the queues that could be read; borrowed */
typedef void (*ApmigCardsReadFunc)(const GPtrArray *readings, gpointer user_data);

ApmigCardReader *apmig_card_reader_new(const char *sysfs_root);
/* @reader: (nullable): what is being read is dropped, without an answer */
void apmig_card_reader_free(ApmigCardReader *reader);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigCardReader, apmig_card_reader_free)

/**
 * apmig_card_reader_read:
 * @queues: each at most once; those of one card are read in this order
 * @limit_usec: of the whole: what has not been read after it is not waited for
 * @func: called once, later, never from within the call
 *
 * Each queue is asked after this call, not before. A queue whose patterns come with dashes is asked a second time.
 */
void apmig_card_reader_read(ApmigCardReader *reader, const ApmigApqn *queues, gsize n_queues,
                            gint64 limit_usec, ApmigCardsReadFunc func, gpointer user_data);

/* Returns: (transfer none): the serial number that the card told when it was asked last; "" when it never was. */
const char *apmig_card_reader_serial(const ApmigCardReader *reader, guint adapter);
