/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether a guest is affected by locks, and by which: what follows from its devices, its metadata and its stamp.
 */
#pragma once

#include "ap/scope.h"

typedef enum {
    APMIG_AFFECTED_UNKNOWN, /* counts as scope all, is never acted on */
    APMIG_AFFECTED_NO,
    APMIG_AFFECTED_YES,
} ApmigAffected;

typedef struct {
    ApmigAffected affected;
    ApmigScope *scope;          /* (nullable): with APMIG_AFFECTED_YES; what cannot be read is scope all */
    const char *const *devices; /* (nullable): UUIDs of its mediated devices */
    gboolean scope_varies;      /* @scope changes without an event: it is told again with every answer */
} ApmigGuestFacts;
