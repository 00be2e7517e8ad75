/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * May a lock of a fleet be released? Its hosts are asked for their keys anew, and those are compared: nothing is released
 * until they agree across hosts. What is not known does not keep a lock held, for that is the normal case: it is named.
 */
#pragma once

#include "base/error.h"
#include "fleet/compare.h"
#include "fleet/reason.h"

typedef enum {
    APMIG_FLEET_RELEASE_UNANSWERED = 0, /* not all hosts have told their keys: wait, or give it up */
    APMIG_FLEET_RELEASE_REFUSED,        /* keys are not in step: the lock stays */
    APMIG_FLEET_RELEASE_IN_STEP,        /* the lock may be released */
} ApmigFleetReleaseStanding;

typedef struct {
    ApmigFleetReleaseStanding standing;
    ApmigError
        code;      /* of one that is refused: APMIG_ERROR_KEY_CHANGE_UNFINISHED or APMIG_ERROR_KEYS_DIFFER */
    char *message; /* unless in step: sentences with hosts, queues, both patterns, and the remedy; else "" */
    char *unverified;    /* a sentence with the queues whose keys are not known, and where; "" if all are */
    GPtrArray *findings; /* of ApmigFleetKeyFinding */
    GPtrArray *reasons;  /* of ApmigFleetReason: whose keys are not known to be those of now, and why */
} ApmigFleetRelease;

/**
 * apmig_fleet_judge_release:
 * @question: the write that asked for the release: its lock is being released
 * @snapshot: the document and the answers, read after it
 * @keys: (element-type ApmigFleetKeys): what hosts have told, in any order
 *
 * Hosts that are left out do not count: they stay locked until apmig_fleet_compare_keys() has seen theirs to be the
 * fleet's. A key that differs refuses the release whoever else is silent.
 *
 * Returns: (transfer full)
 */
ApmigFleetRelease *apmig_fleet_judge_release(const ApmigFleetQuestion *question,
                                             const ApmigFleetSnapshot *snapshot, const GPtrArray *keys);

/* @release: (nullable) */
void apmig_fleet_release_free(ApmigFleetRelease *release);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigFleetRelease, apmig_fleet_release_free)
