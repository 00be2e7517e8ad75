/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is known of the master keys of this host's queues at one moment: the host's crypto hardware, what its cards
 * say, and what others have said of queues that the host cannot read. Main loop's thread; never blocks.
 */
#pragma once

#include "release-check.h"

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

/**
 * apmig_key_view_new:
 * @sysfs_root: where sysfs is, "/sys"
 * @state_dir: where what was declared is kept
 * @plugin_dir: folder of executables that know of queues that the host cannot read
 *
 * Reads nothing yet.
 */
ApmigKeyView *apmig_key_view_new(const char *sysfs_root, const char *state_dir, const char *plugin_dir);

/* @view: (nullable): what is being read is dropped, without an answer */
void apmig_key_view_free(ApmigKeyView *view);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigKeyView, apmig_key_view_free)

/**
 * apmig_key_view_read:
 * @scope: the cards are asked about these queues, and those that have to agree with them
 * @func: called once, later, never from within the call; not after apmig_key_view_free(). It may come late: a card
 *   answers when it does
 */
void apmig_key_view_read(ApmigKeyView *view, const ApmigScope *scope, ApmigKeyViewFunc func,
                         gpointer user_data);
