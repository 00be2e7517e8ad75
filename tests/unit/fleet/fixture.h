/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A fleet of three hosts, kvm1 to kvm3, with one lock on all queues, asked about at revision 7 and looked at then; all three
 * hold it. Whoever tests takes away what it tests.
 */
#pragma once

#include "fleet/judge.h"

#define FLEET_NAME     "prod"
#define FLEET_CLUSTER  "11181209318209912301"
#define FLEET_LOCK     "3f9a21c0"
#define FLEET_REVISION 7
#define FLEET_NOW      (1000 * G_USEC_PER_SEC)
#define FLEET_MAX_AGE  (10 * G_USEC_PER_SEC)

typedef struct {
    ApmigFleetLock *asked; /* as it was written */
    ApmigFleetDocument *document;
    GPtrArray *answers; /* of ApmigFleetAnswer: by the number of their host */
    ApmigFleetQuestion question;
    ApmigFleetSnapshot snapshot;
} Fleet;

/* For g_test_add(). */
void fleet_set_up(Fleet *fleet, gconstpointer data);
void fleet_tear_down(Fleet *fleet, gconstpointer data);

/* Returns: (transfer none): the id of host kvmN, from 1 on: good until the end. */
const char *fleet_host_id(guint n);
/* The lock in the document, to be changed. */
ApmigFleetLock *fleet_lock(const Fleet *fleet);
/* The answer of kvmN, from 1 on, and what it says of the lock. */
ApmigFleetAnswer *fleet_answer(const Fleet *fleet, guint n);
ApmigFleetLockAnswer *fleet_lock_answer(const Fleet *fleet, guint n);
/* In both places, as who asks does it. */
void fleet_leave_out(Fleet *fleet, const char *host);
/* In both places. */
void fleet_set_state(Fleet *fleet, ApmigFleetLockState state);
/* Replaces *@text, which is owned. */
void fleet_set_text(char **text, const char *value);
/* One clause in place of what is there. */
void fleet_set_clause(GStrv *clauses, const char *clause);

/* Returns: (transfer full): @text with @old, which is in it, replaced by @new, once. */
char *fleet_replace(const char *text, const char *old, const char *new_text);
