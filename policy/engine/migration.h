/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A migration of an affected guest as the engine knows it. Read-only outside policy/.
 */
#pragma once

#include "rules/policy.h"
#include "ap/scope.h"

typedef enum {
    APMIG_MIGRATION_ADMITTED, /* the hook was told yes, no guest seen yet */
    APMIG_MIGRATION_INCOMING, /* the paused guest is there */
    APMIG_MIGRATION_OUTGOING, /* a job "migration out" */
    APMIG_MIGRATION_ENDED,
} ApmigMigrationPhase;

typedef enum {
    APMIG_STEP_RUNNING,
    APMIG_STEP_REQUESTED,     /* it said yes, which proves nothing */
    APMIG_STEP_NO_JOB,        /* there was nothing to end */
    APMIG_STEP_NOTHING_TO_DO, /* the device is in no state that this step could change; it may get there */
    APMIG_STEP_NOT_ABORTABLE, /* past the point where it may be ended; the message says why */
    APMIG_STEP_FAILED,
    APMIG_STEP_LATE,        /* no answer within its deadline */
    APMIG_STEP_UNAVAILABLE, /* what carries it out is not installed */
} ApmigStepOutcome;

typedef struct {
    ApmigStep step;
    ApmigStepOutcome outcome;
    gint64 at; /* realtime, usec, of its start */
    char *message;
} ApmigStepRecord;

void apmig_step_record_free(ApmigStepRecord *record);

/* As libvirt's virDomainGetJobStats has it; all 0 when unknown. */
typedef struct {
    guint64 data_total;     /* bytes */
    guint64 data_processed; /* bytes */
    guint64 data_remaining; /* bytes */
    guint64 elapsed_usec;
} ApmigProgress;

typedef struct {
    char *id;
    char *uuid;  /* lower case, 36 characters */
    char *guest; /* name */
    ApmigMigrationPhase phase;
    gboolean outgoing; /* direction, also once ended */
    gboolean postcopy;
    gboolean permitted;   /* in spite of locks, see permit.h: it is waited for, and no breach */
    gboolean scope_known; /* FALSE: counts as scope all, is waited for and never acted on */
    ApmigScope *scope;
    GStrv devices;     /* UUIDs of its mediated devices; may be empty */
    gint64 started_at; /* realtime, usec, of its first sight */
    ApmigProgress progress;
    GPtrArray *steps; /* of ApmigStepRecord */
    const char
        *result;   /* "" while it lives, then "completed", "completed-anyway" (an end was asked for too late),
                           "aborted", "failed", "not-abortable", "unknown" (the guest is gone, nobody told where to),
                           "vanished" (an admitted guest that never came) or "unaffected" (it has no AP queues) */
    char *message; /* the sentence to the result; "" if none */
} ApmigMigration;

/* "admitted", "incoming", "outgoing", "ended". */
const char *apmig_migration_phase_to_string(ApmigMigrationPhase phase);
/* "in" or "out". */
const char *apmig_migration_direction(const ApmigMigration *migration);
/* "running", "requested", "no-job", "nothing-to-do", "not-abortable", "failed", "late", "unavailable". */
const char *apmig_step_outcome_to_string(ApmigStepOutcome outcome);
