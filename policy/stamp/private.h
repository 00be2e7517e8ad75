/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of the stamp share: ap-stamp.c is what it says, stamp-judge.c what follows from it.
 */
#pragma once

#include "stamp/stamp.h"

const ApmigApViewQueue *stamp_queue_at(const ApmigApView *view, guint index);

/* Returns: (transfer none) (nullable): of a queue that may have come from outside, NULL too for one that cannot be. */
const ApmigEvidenceRecord *stamp_find_key(const ApmigEvidence *keys, const ApmigApViewQueue *queue,
                                          guint key_class);

/* @record: (nullable). Returns: (transfer full): the pattern in CUR; "none", or "unknown". */
char *stamp_describe_cur(const ApmigEvidenceRecord *record);
