/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One thing that was looked at before a guest moves, and what came of it: for people in a table, and for programs by its
 * code. What agrees is a finding too, with the severity none.
 */
#pragma once

#include <glib.h>

#include "base/severity.h"

typedef struct {
    ApmigSeverity severity; /* error: the guest may not come in; none: as it should be */
    char *subject; /* "queue 04.0012", "control-domain 0033", "device", "host", "lock 3f9a21c0", "stamp" */
    char *code;    /* "keys-differ", "queue-absent", ...: a word that stays what it is */
    char *source;  /* what the source has, in few words; "" when that says nothing */
    char *destination; /* what this host has */
    char *remedy;      /* sentences; "" when there is nothing to do */
} ApmigFinding;

/**
 * apmig_finding_new:
 * @subject: (transfer full)
 * @code: copied, as the texts after it
 *
 * Returns: (transfer full)
 */
ApmigFinding *apmig_finding_new(ApmigSeverity severity, char *subject, const char *code, const char *source,
                                const char *destination, const char *remedy);
/* @finding: (nullable) */
void apmig_finding_free(ApmigFinding *finding);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigFinding, apmig_finding_free)

/* Returns: (transfer full): an empty list, which owns its ApmigFinding. */
GPtrArray *apmig_findings_new(void);
/* Returns: the weightiest severity among @findings. */
ApmigSeverity apmig_findings_severity(const GPtrArray *findings);
