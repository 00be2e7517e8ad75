/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How much a finding about hardware or keys weighs.
 */
#pragma once

typedef enum {
    APMIG_SEVERITY_NONE = 0,
    APMIG_SEVERITY_WARNING, /* it may go wrong, or it cannot be told */
    APMIG_SEVERITY_ERROR,   /* it will go wrong */
} ApmigSeverity;
