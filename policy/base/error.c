/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/error.h"

#include <string.h>

#define EXCERPT_BYTES 48

G_DEFINE_QUARK(apmig - error - quark, apmig_error)

static const char *const names[APMIG_N_ERRORS] = {
    [APMIG_ERROR_INVALID_SCOPE] = "InvalidScope",
    [APMIG_ERROR_INVALID_OPTION] = "InvalidOption",
    [APMIG_ERROR_INVALID_REASON] = "InvalidReason",
    [APMIG_ERROR_LOCKED] = "Locked",
    [APMIG_ERROR_BUSY] = "Busy",
    [APMIG_ERROR_TIMEOUT] = "Timeout",
    [APMIG_ERROR_CANCELLED] = "Cancelled",
    [APMIG_ERROR_NO_SUCH_LOCK] = "NoSuchLock",
    [APMIG_ERROR_NOT_OWNER] = "NotOwner",
    [APMIG_ERROR_HYPERVISOR_UNAVAILABLE] = "HypervisorUnavailable",
    [APMIG_ERROR_HOOK_NOT_INSTALLED] = "HookNotInstalled",
    [APMIG_ERROR_LIMIT_EXCEEDED] = "LimitExceeded",
    [APMIG_ERROR_KEY_CHANGE_UNFINISHED] = "KeyChangeUnfinished",
    [APMIG_ERROR_KEYS_DIFFER] = "KeysDiffer",
    [APMIG_ERROR_STATE_FAILURE] = "StateFailure",
    [APMIG_ERROR_NO_SUCH_GUEST] = "NoSuchGuest",
    [APMIG_ERROR_INVALID_GUEST] = "InvalidGuest",
    [APMIG_ERROR_NO_SUCH_PERMIT] = "NoSuchPermit",
};

const char *
apmig_error_name(ApmigError code)
{
    g_return_val_if_fail((guint)code < APMIG_N_ERRORS, "StateFailure");
    return names[code];
}

char *
apmig_error_excerpt(const char *text)
{
    gboolean cut = strlen(text) > EXCERPT_BYTES;
    g_autofree char *head = g_strndup(text, EXCERPT_BYTES);
    g_autofree char *escaped = g_strescape(head, NULL);

    return g_strconcat(escaped, cut ? "..." : "", NULL);
}
