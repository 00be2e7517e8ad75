/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whose lock a call is about: the polkit action that its caller needs for that, and how a refusal reads. */
#include "server/private.h"

#include <gio/gio.h>
#include <string.h>

const char *
apmig_message_lock_id(sd_bus_message *message)
{
    return sd_bus_message_get_path(message) + strlen(APMIG_BUS_LOCK_PREFIX "/");
}

gboolean
apmig_server_knows_locks(const ApmigServer *server, GError **error)
{
    if (apmig_engine_is_loaded(apmig_core_engine(server->core)))
        return TRUE;
    g_set_error_literal(error, APMIG_ERROR, APMIG_ERROR_STATE_FAILURE,
                        "The locks on disk have not been read yet: ask again.");
    return FALSE;
}

const ApmigLock *
apmig_server_find_living_lock(const ApmigServer *server, const char *id, GError **error)
{
    const ApmigLock *lock = apmig_engine_lookup_lock(apmig_core_engine(server->core), id);
    g_autofree char *shown = NULL;

    if (lock && !lock->result)
        return lock;

    shown = apmig_text_escape(id, APMIG_SHOWN_MAX_BYTES);
    if (!apmig_server_knows_locks(server, error))
        return NULL;
    if (lock)
        g_set_error(error, APMIG_ERROR, APMIG_ERROR_NO_SUCH_LOCK,
                    "Lock %s has ended already (%s): \"apmigctl list\" shows the locks there are.", shown,
                    lock->result);
    else
        g_set_error(error, APMIG_ERROR, APMIG_ERROR_NO_SUCH_LOCK,
                    "There is no lock %s: \"apmigctl list\" shows the locks there are.", shown);
    return NULL;
}

const ApmigLock *
apmig_call_find_same_lock(const ApmigCall *call, GError **error)
{
    const ApmigLock *lock = apmig_server_find_living_lock(call->server, call->lock_id, error);

    if (!lock || lock->record->owner_uid == call->owner_uid)
        return lock;
    g_set_error(error, APMIG_ERROR, APMIG_ERROR_NOT_OWNER,
                "Lock %s has changed hands to %s meanwhile: ask again.", call->lock_id,
                lock->record->owner_name);
    return NULL;
}

static void
others_settled(ApmigCall *call, const GError *denied)
{
    g_autoptr(GError) error = NULL;
    const ApmigLock *lock;

    if (!denied) {
        call->owner_next(call, NULL);
        return;
    }
    lock = apmig_server_find_living_lock(call->server, call->lock_id, &error);
    if (lock)
        error = g_error_new(
            APMIG_ERROR, APMIG_ERROR_NOT_OWNER,
            "Lock %s belongs to %s (uid %" G_GUINT32_FORMAT
            "), who took it for \"%s\": ask them, or take it over with: apmigctl take-over %s. %s",
            call->lock_id, lock->record->owner_name, lock->record->owner_uid, lock->record->reason,
            call->lock_id, denied->message);
    apmig_call_fail(call, error);
}

void
apmig_call_authorize_for_lock(ApmigCall *call, const char *id, ApmigCallFunc next)
{
    g_autoptr(GError) error = NULL;
    const ApmigLock *lock = apmig_server_find_living_lock(call->server, id, &error);

    if (!lock) {
        apmig_call_fail(call, error);
        return;
    }

    call->lock_id = g_strdup(lock->record->id);
    call->change_id = g_strdup(lock->record->change_id);
    call->owner_uid = lock->record->owner_uid;
    call->owner_next = next;
    if (!call->rule->others_action || call->owner_uid == call->uid)
        apmig_call_authorize(call, call->rule->action, next);
    else
        apmig_call_authorize(call, call->rule->others_action, others_settled);
}
