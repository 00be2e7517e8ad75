/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/error.h"

#include <string.h>

#define EXCERPT_BYTES 48

G_DEFINE_QUARK(apmig - error - quark, apmig_error)

/* The one table of conditions. */
static const struct {
    const char *name; /* the last part of its D-Bus name */
    ApmigExit exit_status;
} conditions[APMIG_N_ERRORS] = {
    [APMIG_ERROR_INVALID_SCOPE] = {"InvalidScope", APMIG_EXIT_INVALID},
    [APMIG_ERROR_INVALID_OPTION] = {"InvalidOption", APMIG_EXIT_INVALID},
    [APMIG_ERROR_INVALID_REASON] = {"InvalidReason", APMIG_EXIT_INVALID},
    [APMIG_ERROR_LOCKED] = {"Locked", APMIG_EXIT_LOCKED},
    [APMIG_ERROR_BUSY] = {"Busy", APMIG_EXIT_BUSY},
    [APMIG_ERROR_TIMEOUT] = {"Timeout", APMIG_EXIT_TIMEOUT},
    [APMIG_ERROR_CANCELLED] = {"Cancelled", APMIG_EXIT_REFUSED},
    [APMIG_ERROR_NO_SUCH_LOCK] = {"NoSuchLock", APMIG_EXIT_NOT_FOUND},
    [APMIG_ERROR_NOT_OWNER] = {"NotOwner", APMIG_EXIT_DENIED},
    [APMIG_ERROR_HYPERVISOR_UNAVAILABLE] = {"HypervisorUnavailable", APMIG_EXIT_HYPERVISOR},
    [APMIG_ERROR_HOOK_NOT_INSTALLED] = {"HookNotInstalled", APMIG_EXIT_HOOK},
    [APMIG_ERROR_LIMIT_EXCEEDED] = {"LimitExceeded", APMIG_EXIT_REFUSED},
    [APMIG_ERROR_KEY_CHANGE_UNFINISHED] = {"KeyChangeUnfinished", APMIG_EXIT_KEYS},
    [APMIG_ERROR_KEYS_DIFFER] = {"KeysDiffer", APMIG_EXIT_KEYS},
    [APMIG_ERROR_STATE_FAILURE] = {"StateFailure", APMIG_EXIT_REFUSED},
    [APMIG_ERROR_NO_SUCH_GUEST] = {"NoSuchGuest", APMIG_EXIT_NOT_FOUND},
    [APMIG_ERROR_INVALID_GUEST] = {"InvalidGuest", APMIG_EXIT_INVALID},
    [APMIG_ERROR_NO_SUCH_PERMIT] = {"NoSuchPermit", APMIG_EXIT_NOT_FOUND},
};

const char *
apmig_error_name(ApmigError code)
{
    g_return_val_if_fail((guint)code < APMIG_N_ERRORS, "StateFailure");
    return conditions[code].name;
}

gboolean
apmig_error_find(const char *name, ApmigError *ret_code)
{
    for (guint code = 0; code < APMIG_N_ERRORS; code++) {
        if (g_str_equal(conditions[code].name, name)) {
            *ret_code = (ApmigError)code;
            return TRUE;
        }
    }
    return FALSE;
}

ApmigExit
apmig_error_exit_status(ApmigError code)
{
    g_return_val_if_fail((guint)code < APMIG_N_ERRORS, APMIG_EXIT_REFUSED);
    return conditions[code].exit_status;
}

char *
apmig_error_excerpt(const char *text)
{
    gboolean cut = strlen(text) > EXCERPT_BYTES;
    g_autofree char *head = g_strndup(text, EXCERPT_BYTES);
    g_autofree char *escaped = g_strescape(head, NULL);

    return g_strconcat(escaped, cut ? "..." : "", NULL);
}
