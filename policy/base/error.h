/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The conditions that a caller of apmigd can meet, each with a D-Bus name of its own and the status that apmigctl exits with.
 * Anything else is a fault of apmigd or of the host and travels as whatever GError it was.
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

/* Exit statuses of apmigctl for them: part of the interface, never renumbered. Those that have another cause are in
 * ctl/format.h, which also has all of them in words. */
typedef enum {
    APMIG_EXIT_INVALID = 3,
    APMIG_EXIT_DENIED = 4,
    APMIG_EXIT_LOCKED = 5,
    APMIG_EXIT_BUSY = 6,
    APMIG_EXIT_TIMEOUT = 7,
    APMIG_EXIT_NOT_FOUND = 8,
    APMIG_EXIT_HYPERVISOR = 9,
    APMIG_EXIT_HOOK = 10,
    APMIG_EXIT_KEYS = 11,
    APMIG_EXIT_REFUSED = 12,
} ApmigExit;

GQuark apmig_error_quark(void);

/**
 * apmig_error_name:
 * @code: a condition
 *
 * Returns: (transfer none): the last part of its D-Bus name, as in "org.apmigd1.Error.Locked".
 */
const char *apmig_error_name(ApmigError code);

/* The condition of that @name. Returns: whether there is one. */
gboolean apmig_error_find(const char *name, ApmigError *ret_code) G_GNUC_WARN_UNUSED_RESULT;

ApmigExit apmig_error_exit_status(ApmigError code);

/**
 * apmig_error_excerpt:
 * @text: whatever somebody wrote, in any encoding
 *
 * Returns: (transfer full): @text made fit to stand between quotation marks in a sentence: ASCII, with C's
 * escapes for the rest, and "..." in place of what exceeds a few dozen bytes.
 */
char *apmig_error_excerpt(const char *text);
