/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The conditions that a caller of apmigd can meet, each with a D-Bus name of its own. Anything else is a
 * fault of apmigd or of the host and travels as whatever GError it was.
 */
#pragma once

#include <glib.h>

#define APMIG_ERROR (apmig_error_quark())

typedef enum {
    APMIG_ERROR_INVALID_SCOPE,
    APMIG_ERROR_INVALID_OPTION,
    APMIG_ERROR_INVALID_REASON,
    APMIG_ERROR_LOCKED,
    APMIG_ERROR_BUSY,
    APMIG_ERROR_TIMEOUT,
    APMIG_ERROR_CANCELLED,
    APMIG_ERROR_NO_SUCH_LOCK,
    APMIG_ERROR_NOT_OWNER,
    APMIG_ERROR_HYPERVISOR_UNAVAILABLE,
    APMIG_ERROR_HOOK_NOT_INSTALLED,
    APMIG_ERROR_LIMIT_EXCEEDED,
    APMIG_ERROR_KEY_CHANGE_UNFINISHED,
    APMIG_ERROR_KEYS_DIFFER,
    APMIG_ERROR_STATE_FAILURE,
    APMIG_ERROR_NO_SUCH_GUEST,
    APMIG_ERROR_INVALID_GUEST, /* a domain XML, or a name, that cannot be read */
    APMIG_ERROR_NO_SUCH_PERMIT,
} ApmigError;

#define APMIG_N_ERRORS (APMIG_ERROR_NO_SUCH_PERMIT + 1)

GQuark apmig_error_quark(void);

/**
 * apmig_error_name:
 * @code: a condition
 *
 * Returns: (transfer none): the last part of its D-Bus name, as in "org.apmigd1.Error.Locked".
 */
const char *apmig_error_name(ApmigError code);

/**
 * apmig_error_excerpt:
 * @text: whatever somebody wrote, in any encoding
 *
 * Returns: (transfer full): @text made fit to stand between quotation marks in a sentence: ASCII, with C's
 * escapes for the rest, and "..." in place of what exceeds a few dozen bytes.
 */
char *apmig_error_excerpt(const char *text);
