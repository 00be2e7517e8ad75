/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * May master keys be changed on the hosts of a fleet? The one judge of both ways to ask: hosts that are asked one by one,
 * and a store in which the document and the answers meet.
 *
 * GO is said of a question of one's own, and of nothing else: it means that every host that is not left out answered after
 * the question that it holds the lock, on disk and with its gate shut. Silence is no answer, and no answer is a no.
 */
#pragma once

#include "fleet/answer.h"
#include "fleet/reason.h"

typedef enum {
    APMIG_FLEET_NO_GO = 0,
    APMIG_FLEET_GO_EXCEPT, /* on all hosts but those that are left out, of which nothing is proven */
    APMIG_FLEET_GO,
} ApmigFleetGo;

typedef struct {
    ApmigFleetGo go;
    char *sentence;      /* the whole of it: how many hosts, and why not */
    guint n_hosts;       /* of the document, with those that are left out */
    guint n_held;        /* that have proven it */
    GPtrArray *left_out; /* of char *: names of hosts of which nothing is proven, as was asked for */
    GPtrArray *reasons;  /* of ApmigFleetReason: why not; empty unless NO-GO */
    GPtrArray *warnings; /* of char *: sentences: whose keys must not be changed, and breaches so far */
} ApmigFleetVerdict;

/* "NO-GO", "GO-EXCEPT", "GO". */
const char *apmig_fleet_go_to_string(ApmigFleetGo go);

/**
 * apmig_fleet_judge:
 * @question: what was asked. Its lock is locked: nobody may rely on one whose release he has asked for, whatever came of
 *   that
 * @snapshot: the document and all answers, read after the question was written
 * @answers: (element-type ApmigFleetAnswer): in any order, those of hosts that gave none as well, where that is known;
 *   names and clauses in them are plain text
 *
 * Any thread; nothing is kept.
 *
 * Returns: (transfer full): the verdict, which speaks of the moment of the snapshot.
 */
ApmigFleetVerdict *apmig_fleet_judge(const ApmigFleetQuestion *question, const ApmigFleetSnapshot *snapshot,
                                     const GPtrArray *answers);

/* @verdict: (nullable) */
void apmig_fleet_verdict_free(ApmigFleetVerdict *verdict);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigFleetVerdict, apmig_fleet_verdict_free)
