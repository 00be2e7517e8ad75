/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is asked of a fleet, what there is to judge by, and why the judge says no.
 */
#pragma once

#include "fleet/document.h"

/* What was asked: the write of one's own, by the revision it made. A write of which that is not known is no question. */
typedef struct {
    const char *cluster_id;     /* of the store that was written to */
    gint64 revision;            /* that the write made; from 1 on */
    const ApmigFleetLock *lock; /* as it was written, and left out of it whoever was */
} ApmigFleetQuestion;

/* The document and all answers to it, read at one moment after the question. */
typedef struct {
    const char *cluster_id;             /* of the store that they were read from */
    gint64 revision;                    /* of the document there */
    const ApmigFleetDocument *document; /* (nullable): NULL: it is missing, or cannot be parsed */
    const char *document_problem;       /* (nullable): a clause: why it is NULL */
    gint64 now; /* by the clock that answers were received by, usec: it never goes back */
    gint64
        max_age_usec; /* an answer that was received earlier than that counts for nothing; G_MAXINT64: any age does */
} ApmigFleetSnapshot;

typedef enum {
    /* of the fleet */
    APMIG_FLEET_NO_QUESTION,    /* no revision is known that asks */
    APMIG_FLEET_NO_DOCUMENT,    /* it is missing, cannot be parsed, or contradicts itself */
    APMIG_FLEET_STORE_REPLACED, /* another store, or one that has gone back */
    APMIG_FLEET_NO_HOSTS,       /* there are none, or all are left out */
    APMIG_FLEET_NO_LOCK,        /* the document does not have it, or not as it was asked for */
    APMIG_FLEET_RELEASE_ASKED,  /* or the lock is not being released, where that is the question */
    /* of a host: it has not answered this question */
    APMIG_FLEET_SILENT,
    APMIG_FLEET_ANSWERED_TWICE, /* or two hosts are one machine */
    APMIG_FLEET_OTHER_DOCUMENT, /* it answers another fleet, another store, or a revision that there is not */
    APMIG_FLEET_OLDER_REVISION,
    APMIG_FLEET_STALE,
    APMIG_FLEET_NOT_LISTED, /* it answers, and is no host of the document */
    /* of a host: it has, and its answer is no */
    APMIG_FLEET_GATE_OPEN,
    APMIG_FLEET_NOT_LOCKED,
    APMIG_FLEET_OTHER_SCOPE,
    APMIG_FLEET_NOT_HELD,
    APMIG_FLEET_BLOCKED,
    APMIG_FLEET_PERMITTED,
    APMIG_FLEET_DEPARTED,
} ApmigFleetReasonKind;

typedef struct {
    ApmigFleetReasonKind kind;
    char *host_id;  /* "" where it has none, or it is the whole fleet */
    char *host;     /* its name; "" for the whole fleet */
    char *sentence; /* which host, what is missing, what helps */
} ApmigFleetReason;

/* A word for programs: "no-question", "no-document", "store-replaced", "no-hosts", "no-lock", "release-asked", "silent",
 * "answered-twice", "other-document", "older-revision", "stale", "not-listed", "gate-open", "not-locked", "other-scope",
 * "not-held", "blocked", "permitted", "departed". */
const char *apmig_fleet_reason_kind_to_string(ApmigFleetReasonKind kind);

/* @reason: (nullable) */
void apmig_fleet_reason_free(ApmigFleetReason *reason);
