/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is asked of permits: that one is given, or revoked; and what follows when that is written.
 */
#include "engine/private.h"

#include "base/sentence.h"

#define NOT_LOADED "the permits on disk have not been read yet: ask again"

static void
reply_permit(ApmigEngine *engine, ApmigCaller caller, const ApmigPermit *record)
{
    if (caller) /* else it is gone */
        engine_reply(engine, APMIG_ACTION_REPLY_PERMIT, caller)->permit = apmig_permit_copy(record);
}

/* --- giving -------------------------------------------------------------------------------------- */

static gboolean
is_a_breach(const ApmigEngine *engine, const Migration *migration)
{
    for (guint i = 0; i < engine->locks->len; i++) {
        const Lock *lock = g_ptr_array_index(engine->locks, i);

        if (g_hash_table_contains(lock->breached_by, migration->pub.id))
            return TRUE;
    }
    return FALSE;
}

/* Steps cannot be called back, and a breach was told of as one. Returns: (nullable) (transfer full): why a permit would
 * come too late. */
static char *
why_too_late(const ApmigEngine *engine, const ApmigPermit *record)
{
    const Migration *migration = permit_find_migration(engine, record);

    if (!migration)
        return NULL;
    if (migration->pub.permitted)
        return g_strdup_printf("guest '%s' has a permit already, which its migration is using: permit "
                               "another one when that is over",
                               migration->pub.guest);
    if (migration_is_being_ended(migration))
        return g_strdup_printf(
            "the migration of guest '%s' is just being ended, which cannot be called back: "
            "permit the next one when it is over",
            migration->pub.guest);
    if (is_a_breach(engine, migration))
        return g_strdup_printf("guest '%s' migrates already, which is a breach: a permit is for what has not "
                               "begun yet, give it when that migration is over",
                               migration->pub.guest);
    return NULL;
}

/* Returns: (nullable) (transfer full): why the request is refused at once. */
static char *
refuse_permit(const ApmigEngine *engine, const ApmigPermit *record, ApmigError *ret_code)
{
    if (!engine->loaded) {
        *ret_code = APMIG_ERROR_STATE_FAILURE;
        return g_strdup(NOT_LOADED);
    }
    if (engine->permits->len >= APMIG_PERMITS_MAX && !permit_find_rival(engine, record)) {
        *ret_code = APMIG_ERROR_LIMIT_EXCEEDED;
        return g_strdup_printf("there are %u permits, the limit: revoke one first, or wait until one expires",
                               engine->permits->len);
    }
    *ret_code = APMIG_ERROR_BUSY;
    return why_too_late(engine, record);
}

/* What is known of the guest beside what it is called by. */
static void
complete(const ApmigEngine *engine, ApmigPermit *record)
{
    const Guest *guest = engine_find_guest(engine, record->uuid, record->name);

    if (!guest)
        return;
    g_free(record->uuid);
    g_free(record->name);
    record->uuid = g_strdup(guest->uuid);
    record->name = g_strdup(guest->name);
}

void
engine_permit(ApmigEngine *engine, const ApmigEvent *event)
{
    g_autoptr(ApmigPermit) record = g_new0(ApmigPermit, 1);
    g_autofree char *refusal = NULL;
    ApmigError code;
    Permit *permit;

    record->id = g_strdup(event->permit.id);
    record->uuid = g_strdup(event->permit.uuid);
    record->name = g_strdup(event->permit.name);
    record->reason = g_strdup(event->permit.reason);
    record->owner_uid = event->permit.uid;
    record->login_uid = event->permit.login_uid;
    record->login_verified = event->permit.login_verified;
    record->owner_name = g_strdup(event->permit.user);
    record->given_at = engine->realtime;
    record->until = engine->realtime + event->permit.duration_usec;
    record->expires_at = engine->now + event->permit.duration_usec;
    complete(engine, record);
    refusal = refuse_permit(engine, record, &code);
    if (refusal) {
        engine_reply_error(engine, event->caller, code, refusal);
        return;
    }
    permit = g_new0(Permit, 1);
    permit->pub = g_steal_pointer(&record);
    permit->giver = event->caller;
    g_ptr_array_add(engine->permits, permit);
    permit_write(engine, permit);
}

static void
log_given(ApmigEngine *engine, const ApmigPermit *record)
{
    g_autofree char *until = apmig_sentence_time(record->until);
    g_autofree char *message = g_strdup_printf(
        "guest %s may migrate once until %s in spite of locks, says %s (uid %u): \"%s\"",
        apmig_permit_guest(record), until, record->owner_name, record->owner_uid, record->reason);

    permit_log(engine, APMIG_LOG_PERMIT_GIVEN, record, NULL, NULL, message);
}

static void
give(ApmigEngine *engine, Permit *permit)
{
    g_autofree char *refusal = why_too_late(engine, permit->pub);
    Permit *rival = permit_find_rival(engine, permit->pub);

    if (refusal) { /* things have changed while it was written */
        engine_reply_error(engine, permit->giver, APMIG_ERROR_BUSY, refusal);
        permit_remove_file(engine, permit->pub, 0);
        permit_forget(engine, permit);
        return;
    }
    if (rival)
        permit_end(engine, rival, "replaced");
    log_given(engine, permit->pub);
    permit_open(engine, permit);
    reply_permit(engine, permit->giver, permit->pub);
    permit->giver = 0;
}

/* What failed may be there in part. */
static void
fail_to_give(ApmigEngine *engine, Permit *permit, const char *error)
{
    g_autofree char *message = g_strdup_printf(
        "the permit could not be written (%s): mend apmigd's runtime folder and ask again", error);

    engine_reply_error(engine, permit->giver, APMIG_ERROR_STATE_FAILURE, message);
    permit_remove_file(engine, permit->pub, 0);
    permit_forget(engine, permit);
}

/* --- revoking ------------------------------------------------------------------------------------ */

void
engine_revoke(ApmigEngine *engine, const ApmigEvent *event)
{
    const char *guest = event->revoke.guest;
    g_autofree char *message = NULL;
    Permit *permit = permit_find_named(engine, guest);

    if (!engine->loaded) {
        engine_reply_error(engine, event->caller, APMIG_ERROR_STATE_FAILURE, NOT_LOADED);
    } else if (!permit) {
        message =
            g_strdup_printf("there is no permit for guest '%s', or not any more: see apmigctl status", guest);
        engine_reply_error(engine, event->caller, APMIG_ERROR_NO_SUCH_PERMIT, message);
    } else if (permit->pub->used_by) {
        message =
            g_strdup_printf("guest '%s' is migrating with its permit, which ends with that migration; to end "
                            "that, on its source host and unless it is in post-copy: virsh domjobabort %s",
                            guest, permit->pub->used_by);
        engine_reply_error(engine, event->caller, APMIG_ERROR_BUSY, message);
    } else {
        permit->ending = TRUE;
        permit->revoker = event->caller;
        permit->op = ++engine->last_op;
        permit->asked_at = engine->now;
        permit_remove_file(engine, permit->pub, permit->op);
        engine->permits_dirty = TRUE;
    }
}

/* It is not honoured any more, whatever is left on disk. */
static void
revoked(ApmigEngine *engine, Permit *permit, const char *error)
{
    g_autofree char *message = NULL;

    permit_log_ended(engine, permit->pub, "revoked");
    if (error) {
        message = g_strdup_printf(
            "the permit of guest '%s' counts no more, but its file could not be removed (%s), "
            "and would count again after a restart of apmigd: mend its runtime folder",
            apmig_permit_guest(permit->pub), error);
        engine_reply_error(engine, permit->revoker, APMIG_ERROR_STATE_FAILURE, message);
    } else {
        reply_permit(engine, permit->revoker, permit->pub);
    }
    permit_forget(engine, permit);
}

/* --- written ------------------------------------------------------------------------------------- */

/* An open admission is then denied; what is in progress already goes on. */
static void
note_trouble(ApmigEngine *engine, Permit *permit, const char *error)
{
    permit->trouble = g_strdup_printf(
        "the permit could not be noted as used (%s): mend apmigd's runtime folder and give another one",
        error);
    entry_add_locks(engine_log(engine, APMIG_LOG_STATE_FAILURE, LOG_ERR, NULL, NULL, "guest %s: %s",
                               apmig_permit_guest(permit->pub), permit->trouble),
                    engine, NULL);
}

void
engine_permit_written(ApmigEngine *engine, guint64 op, const char *error)
{
    Permit *permit = NULL;

    for (guint i = 0; op && !permit && i < engine->permits->len; i++)
        if (((Permit *)g_ptr_array_index(engine->permits, i))->op == op)
            permit = g_ptr_array_index(engine->permits, i);
    if (!permit)
        return;
    permit->op = 0;
    if (permit->ending)
        revoked(engine, permit, error);
    else if (!permit->durable && (error || permit->refused))
        fail_to_give(engine, permit, error ? error : "it took too long");
    else if (!permit->durable)
        give(engine, permit);
    else if (error)
        note_trouble(engine, permit, error);
}

void
engine_forget_permit_callers(ApmigEngine *engine, ApmigCaller caller)
{
    for (guint i = 0; i < engine->permits->len; i++) {
        Permit *permit = g_ptr_array_index(engine->permits, i);

        if (permit->giver == caller)
            permit->giver = 0;
        if (permit->revoker == caller)
            permit->revoker = 0;
    }
}
