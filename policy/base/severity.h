/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How much a finding weighs: about hardware, keys, or the host. The one scale of all that is looked at.
 */
#pragma once

typedef enum {
    APMIG_SEVERITY_NONE = 0,
    APMIG_SEVERITY_UNKNOWN, /* it could not be looked at, and nothing says what that weighs */
    APMIG_SEVERITY_WARNING, /* it may go wrong, or it cannot be told */
    APMIG_SEVERITY_ERROR,   /* it will go wrong */
} ApmigSeverity;

/* "information" (none), "unknown", "warning", "error". */
const char *apmig_severity_to_string(ApmigSeverity severity);
