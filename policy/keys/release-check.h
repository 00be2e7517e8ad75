/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Are the keys of a lock's queues in step on this host, so that the lock can be released?
 *
 * Judged is what the cards themselves say: a change that is loaded and not set is unfinished, and the adapters of one
 * domain, which a guest takes for one, must have the same keys. A class without a key on any of them is not in use. What
 * the host cannot see does not keep a lock held, for that is the normal case: it is named.
 */
#pragma once

#include "base/error.h"
#include "keys/evidence.h"

/* What one queue of this host told. */
typedef struct {
    guint adapter, domain;
    ApmigMkvps mkvps;
} ApmigKeyReading;

typedef struct {
    gboolean in_step;
    ApmigError code; /* unless in step: APMIG_ERROR_KEY_CHANGE_UNFINISHED or APMIG_ERROR_KEYS_DIFFER */
    char *message;   /* unless in step: a sentence with queues, registers and remedy; else "" */
    char *
        unverified; /* in either case: a sentence with the queues whose keys were not seen, and why; "" if all were */
} ApmigReleaseCheck;

/**
 * apmig_release_check:
 * @scope: of the lock
 * @host: as it was read
 * @readings: (element-type ApmigKeyReading): of the queues that could be read, at most one of each; those outside
 *   @scope do not matter
 * @evidence: for the queues that could not
 *
 * Returns: (transfer full)
 */
ApmigReleaseCheck *apmig_release_check(const ApmigScope *scope, const ApmigApHost *host,
                                       const GPtrArray *readings, const ApmigEvidence *evidence);
/* @check: (nullable) */
void apmig_release_check_free(ApmigReleaseCheck *check);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigReleaseCheck, apmig_release_check_free)
