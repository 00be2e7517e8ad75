/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All that is looked at when a guest comes in, as a list of findings, and the sentences that are made of them: one that
 * refuses it, for the admission and for whoever asks before, so that the two cannot disagree; and doubts about one that
 * may come in.
 */
#pragma once

#include "ap/compat.h"
#include "stamp/stamp.h"
#include "stamp/finding.h"

typedef struct {
    GPtrArray *findings; /* of ApmigFinding, in the order in which an admission looks at things */
    char *refusal;       /* why the guest may not come in: of the first thing that forbids it; NULL: it may */
    char *device;        /* UUID of the mediated device here in place of its own; NULL: its own, or none */
    GPtrArray *doubts;   /* of sentences: what may go wrong nevertheless, were it let in */
} ApmigArrivalCheck;

/* Returns: (transfer full): nothing was looked at. */
ApmigArrivalCheck *apmig_arrival_check_new(void);
/* @check: (nullable) */
void apmig_arrival_check_free(ApmigArrivalCheck *check);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigArrivalCheck, apmig_arrival_check_free)

/* Each of the following adds what was found, and its sentence. @finding: (transfer full); @refusal: (nullable) */
void apmig_arrival_check_add(ApmigArrivalCheck *check, ApmigFinding *finding, const char *refusal);
void apmig_arrival_check_add_stamp(ApmigArrivalCheck *check, const ApmigStampVerdict *verdict);

/**
 * apmig_arrival_check_add_hardware: by the rules of ap-compat.h
 * @source: what the guest has where it comes from
 * @destination: this host, as it was read
 * @uuid: (nullable): as of apmig_compat_check()
 *
 * A queue of which nothing is to be said is a finding too: it fits.
 */
void apmig_arrival_check_add_hardware(ApmigArrivalCheck *check, const ApmigApView *source,
                                      const ApmigApHost *destination, const char *uuid);
