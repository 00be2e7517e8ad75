/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The journal's record of who has asked for what, and of what was refused. */
#include "base/log.h"
#include "server/private.h"

#include <syslog.h>

#define REFUSALS_USEC (30 * G_USEC_PER_SEC) /* in so long, of all users but root together: */
#define REFUSALS_MAX  100

static void
log_call(const ApmigCall *call, ApmigLog log, int priority, const char *request, const char *guest,
         const char *message)
{
    apmig_log_request(&(ApmigLogEntry){.log = log,
                                       .priority = priority,
                                       .lock_id = call->lock_id,
                                       .change_id = call->change_id,
                                       .guest = (char *)guest,
                                       .message = (char *)message},
                      request, call->identified ? &call->peer->requester : NULL);
}

void
apmig_call_log_request(const ApmigCall *call, const char *request, const char *guest, const char *format, ...)
{
    g_autofree char *what = NULL;
    g_autofree char *message = NULL;
    va_list args;

    va_start(args, format);
    what = g_strdup_vprintf(format, args);
    va_end(args);
    message = g_strdup_printf("user %" G_GUINT32_FORMAT " asks to %s", call->uid, what);
    log_call(call, APMIG_LOG_REQUEST_MADE, LOG_NOTICE, request, guest, message);
}

/* Returns: whether one more may be told; one that may not is counted. */
static gboolean
may_tell_refusal(const ApmigCall *call)
{
    ApmigServer *server = call->server;
    gint64 now = g_get_monotonic_time();

    if (call->identified && call->uid == 0)
        return TRUE;
    if (server->refusals_since == 0 || now - server->refusals_since > REFUSALS_USEC) {
        server->refusals_since = now;
        server->refusals = 0;
    }
    if (server->refusals++ < REFUSALS_MAX)
        return TRUE;
    server->refusals_untold++;
    return FALSE;
}

void
apmig_call_log_refusal(const ApmigCall *call, const GError *error)
{
    g_autofree char *user = call->identified ? g_strdup_printf("user %" G_GUINT32_FORMAT, call->uid)
                                             : g_strdup("an unknown user");
    g_autofree char *untold = NULL;
    g_autofree char *message = NULL;

    if (!may_tell_refusal(call))
        return;
    if (call->server->refusals_untold > 0)
        untold = g_strdup_printf(" (%u more were refused and not told here)", call->server->refusals_untold);
    call->server->refusals_untold = 0;
    message = g_strdup_printf("%s asked for %s in vain: %s%s", user, call->request, error->message,
                              untold ? untold : "");
    log_call(call, APMIG_LOG_REQUEST_REFUSED, LOG_NOTICE, call->request, NULL, message);
}
