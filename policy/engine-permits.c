/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Permits: given -> open -> in use by one migration -> gone. An open one counts until it expires; the first migration of
 * its guest that is let in or seen uses it, needed or not, and takes it along to its end, however that comes. It is on disk
 * before anybody is told of it, and noted there as used before a hook is told yes, so that neither a crash nor a hook that
 * finds no daemon makes two of one.
 */
#include "engine-private.h"

#include "sentence.h"

#define NOT_LOADED "the permits on disk have not been read yet: ask again"

typedef struct {
    ApmigPermit *pub;
    ApmigCaller giver;   /* who waits for it to be durable; 0: nobody */
    ApmigCaller revoker; /* who waits for it to be gone from the disk */
    guint64 op;          /* of the write under way; 0: none */
    gboolean durable;    /* it was given */
    gboolean ending;     /* it is being revoked, and counts no more */
    char *trouble;       /* (nullable): why that it is used could not be written */
} Permit;

void
permit_free(gpointer data)
{
    Permit *permit = data;

    apmig_permit_free(permit->pub);
    g_free(permit->trouble);
    g_free(permit);
}

/* --- looking up ---------------------------------------------------------------------------------- */

static gboolean
is_open(const ApmigEngine *engine, const Permit *permit)
{
    return permit->durable && !permit->ending && !permit->pub->used_by &&
           engine->now < permit->pub->expires_at;
}

static Permit *
find_open(const ApmigEngine *engine, const char *uuid, const char *name)
{
    for (guint i = 0; i < engine->permits->len; i++) {
        Permit *permit = g_ptr_array_index(engine->permits, i);

        if (is_open(engine, permit) && apmig_permit_is_for(permit->pub, uuid, name))
            return permit;
    }
    return NULL;
}

const ApmigPermit *
engine_find_open_permit(const ApmigEngine *engine, const char *uuid, const char *name)
{
    const Permit *permit = find_open(engine, uuid, name);

    return permit ? permit->pub : NULL;
}

/* A guest whose attempts are one record may use one permit after the other. */
static gboolean
is_used_by(const Permit *permit, const Migration *migration)
{
    return migration->pub.permitted && g_strcmp0(permit->pub->used_by, migration->pub.uuid) == 0 &&
           !permit->pub->outgoing == !migration->pub.outgoing;
}

const char *
engine_permit_trouble(const ApmigEngine *engine, const Migration *migration)
{
    for (guint i = 0; i < engine->permits->len; i++) {
        const Permit *permit = g_ptr_array_index(engine->permits, i);

        if (permit->trouble && is_used_by(permit, migration))
            return permit->trouble;
    }
    return NULL;
}

static gboolean
is_for_same_guest(const ApmigPermit *a, const ApmigPermit *b)
{
    if (*a->uuid && *b->uuid)
        return g_str_equal(a->uuid, b->uuid);
    return *a->name && g_str_equal(a->name, b->name);
}

/* Returns: (nullable): another one for the guest of @record that is open. */
static Permit *
find_rival(const ApmigEngine *engine, const ApmigPermit *record)
{
    for (guint i = 0; i < engine->permits->len; i++) {
        Permit *permit = g_ptr_array_index(engine->permits, i);

        if (permit->pub != record && permit->durable && !permit->ending && !permit->pub->used_by &&
            is_for_same_guest(permit->pub, record))
            return permit;
    }
    return NULL;
}

/* Returns: (nullable): the migration of its guest that is in progress; that which leaves, if there are two. */
static Migration *
find_migration(const ApmigEngine *engine, const ApmigPermit *record)
{
    Migration *found = NULL;

    for (guint i = 0; i < engine->migrations->len; i++) {
        Migration *migration = g_ptr_array_index(engine->migrations, i);

        if (apmig_permit_is_for(record, migration->pub.uuid, migration->pub.guest) &&
            (!found || migration->pub.outgoing))
            found = migration;
    }
    return found;
}

/* --- telling ------------------------------------------------------------------------------------- */

static void
log_permit(ApmigEngine *engine, ApmigLog log, const ApmigPermit *record, const Migration *migration,
           const char *result, const char *message)
{
    ApmigAction *entry;

    engine_log(engine, log, LOG_NOTICE, NULL, migration, "%s", message);
    entry = g_ptr_array_index(engine->actions, engine->actions->len - 1);
    entry->result = g_strdup(result);
    if (migration)
        return;
    entry->uuid = *record->uuid ? g_strdup(record->uuid) : NULL;
    entry->guest = g_strdup(apmig_permit_guest(record));
    engine_log_concerns(engine, NULL);
}

static void
log_given(ApmigEngine *engine, const ApmigPermit *record)
{
    g_autofree char *until = apmig_sentence_time(record->until);
    g_autofree char *message = g_strdup_printf(
        "guest %s may migrate once until %s in spite of locks, says %s (uid %u): \"%s\"",
        apmig_permit_guest(record), until, record->owner_name, record->owner_uid, record->reason);

    log_permit(engine, APMIG_LOG_PERMIT_GIVEN, record, NULL, NULL, message);
}

static void
log_used(ApmigEngine *engine, const ApmigPermit *record, const Migration *migration)
{
    g_autofree char *message = g_strdup_printf(
        "guest %s migrates %s with the permit of %s (uid %u): \"%s\"", migration->pub.guest,
        apmig_migration_direction(&migration->pub), record->owner_name, record->owner_uid, record->reason);

    log_permit(engine, APMIG_LOG_PERMIT_USED, record, migration, NULL, message);
}

static void
log_ended(ApmigEngine *engine, const ApmigPermit *record, const char *result)
{
    g_autofree char *message = g_strdup_printf("the permit of %s for guest %s has ended: %s",
                                               record->owner_name, apmig_permit_guest(record), result);

    log_permit(engine, APMIG_LOG_PERMIT_ENDED, record, NULL, result, message);
}

static void
reply_permit(ApmigEngine *engine, ApmigCaller caller, const ApmigPermit *record)
{
    ApmigAction *reply;

    if (!caller) /* it is gone */
        return;
    reply = engine_act(engine, APMIG_ACTION_REPLY_PERMIT);
    reply->caller = caller;
    reply->permit = apmig_permit_copy(record);
}

/* --- the end ------------------------------------------------------------------------------------- */

/* @op: 0: nobody waits for it */
static void
remove_file(ApmigEngine *engine, const ApmigPermit *record, guint64 op)
{
    ApmigAction *action = engine_act(engine, APMIG_ACTION_REMOVE_PERMIT);

    action->op = op;
    action->permit = apmig_permit_copy(record);
}

static void
forget(ApmigEngine *engine, Permit *permit)
{
    g_ptr_array_remove(engine->permits, permit);
    engine->permits_dirty = TRUE;
}

static void
end(ApmigEngine *engine, Permit *permit, const char *result)
{
    log_ended(engine, permit->pub, result);
    remove_file(engine, permit->pub, 0);
    forget(engine, permit);
}

void
engine_permit_migration_ended(ApmigEngine *engine, const Migration *migration)
{
    for (guint i = engine->permits->len; i > 0; i--) {
        Permit *permit = g_ptr_array_index(engine->permits, i - 1);

        if (is_used_by(permit, migration))
            end(engine, permit, "used");
    }
}

/* --- its use ------------------------------------------------------------------------------------- */

static void
use(ApmigEngine *engine, Permit *permit, Migration *migration)
{
    ApmigAction *action = engine_act(engine, APMIG_ACTION_USE_PERMIT);

    permit->pub->used_by = g_strdup(migration->pub.uuid);
    permit->pub->outgoing = migration->pub.outgoing;
    action->op = permit->op = ++engine->last_op;
    action->permit = apmig_permit_copy(permit->pub);
    migration->pub.permitted = TRUE;
    migration->dirty = TRUE;
    engine->permits_dirty = TRUE;
    log_used(engine, permit->pub, migration);
}

gboolean
engine_use_permit(ApmigEngine *engine, Migration *migration, const char *name)
{
    Permit *permit = find_open(engine, migration->pub.uuid, name);

    if (!permit)
        return FALSE;
    use(engine, permit, migration);
    return TRUE;
}

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
    const Migration *migration = find_migration(engine, record);

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

/* It counts from now on, for what is in progress already as well. */
static void
open_permit(ApmigEngine *engine, Permit *permit)
{
    Migration *migration = find_migration(engine, permit->pub);

    permit->durable = TRUE;
    engine->permits_dirty = TRUE;
    if (migration && is_open(engine, permit) && !migration->pub.permitted)
        use(engine, permit, migration);
}

/* --- giving -------------------------------------------------------------------------------------- */

/* Returns: (nullable) (transfer full): why the request is refused at once. */
static char *
refuse_permit(const ApmigEngine *engine, const ApmigPermit *record, ApmigError *ret_code)
{
    if (!engine->loaded) {
        *ret_code = APMIG_ERROR_STATE_FAILURE;
        return g_strdup(NOT_LOADED);
    }
    if (engine->permits->len >= APMIG_PERMITS_MAX && !find_rival(engine, record)) {
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
    ApmigAction *action;

    record->id = g_strdup(event->permit.id);
    record->uuid = g_strdup(event->permit.uuid);
    record->name = g_strdup(event->permit.name);
    record->reason = g_strdup(event->permit.reason);
    record->owner_uid = event->permit.uid;
    record->login_uid = event->permit.login_uid;
    record->owner_name = g_strdup(event->permit.user);
    record->given_at = engine->realtime;
    record->until = engine->realtime + event->permit.duration_usec;
    record->expires_at = engine->now + event->permit.duration_usec;
    complete(engine, record);
    refusal = refuse_permit(engine, record, &code);
    if (refusal) {
        engine_reply_error(engine, event->permit.caller, code, refusal);
        return;
    }
    permit = g_new0(Permit, 1);
    permit->pub = g_steal_pointer(&record);
    permit->giver = event->permit.caller;
    permit->op = ++engine->last_op;
    g_ptr_array_add(engine->permits, permit);
    action = engine_act(engine, APMIG_ACTION_PERSIST_PERMIT);
    action->op = permit->op;
    action->permit = apmig_permit_copy(permit->pub);
}

static void
give(ApmigEngine *engine, Permit *permit)
{
    g_autofree char *refusal = why_too_late(engine, permit->pub);
    Permit *rival = find_rival(engine, permit->pub);

    if (refusal) { /* things have changed while it was written */
        engine_reply_error(engine, permit->giver, APMIG_ERROR_BUSY, refusal);
        remove_file(engine, permit->pub, 0);
        forget(engine, permit);
        return;
    }
    if (rival)
        end(engine, rival, "replaced");
    log_given(engine, permit->pub);
    open_permit(engine, permit);
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
    remove_file(engine, permit->pub, 0);
    forget(engine, permit);
}

/* --- revoking ------------------------------------------------------------------------------------ */

static gboolean
is_called(const ApmigPermit *record, const char *uuid, const char *name)
{
    return (*uuid && (g_str_equal(record->uuid, uuid) || g_strcmp0(record->used_by, uuid) == 0)) ||
           (*name && g_str_equal(record->name, name));
}

/* @text: its guest's name or UUID. Returns: (nullable): the open one, if there are two. */
static Permit *
find_named(const ApmigEngine *engine, const char *text)
{
    g_autofree char *lower = g_ascii_strdown(text, -1);
    gboolean is_uuid = g_uuid_string_is_valid(lower);
    const char *uuid = is_uuid ? lower : "", *name = is_uuid ? "" : text;
    const Guest *guest = engine_find_guest(engine, uuid, name);
    Permit *found = NULL;

    if (guest) {
        uuid = guest->uuid;
        name = guest->name;
    }

    for (guint i = 0; i < engine->permits->len; i++) {
        Permit *permit = g_ptr_array_index(engine->permits, i);
        const ApmigPermit *record = permit->pub;

        if (permit->durable && !permit->ending && (!found || !record->used_by) &&
            is_called(record, uuid, name))
            found = permit;
    }
    return found;
}

void
engine_revoke(ApmigEngine *engine, const ApmigEvent *event)
{
    const char *guest = event->revoke.guest;
    g_autofree char *message = NULL;
    Permit *permit = find_named(engine, guest);

    if (!engine->loaded) {
        engine_reply_error(engine, event->revoke.caller, APMIG_ERROR_STATE_FAILURE, NOT_LOADED);
    } else if (!permit) {
        message =
            g_strdup_printf("there is no permit for guest '%s', or not any more: see apmigctl status", guest);
        engine_reply_error(engine, event->revoke.caller, APMIG_ERROR_NO_SUCH_PERMIT, message);
    } else if (permit->pub->used_by) {
        message =
            g_strdup_printf("guest '%s' is migrating with its permit, which ends with that migration; to end "
                            "that, on its source host: virsh domjobabort %s",
                            guest, guest);
        engine_reply_error(engine, event->revoke.caller, APMIG_ERROR_BUSY, message);
    } else {
        permit->ending = TRUE;
        permit->revoker = event->revoke.caller;
        permit->op = ++engine->last_op;
        remove_file(engine, permit->pub, permit->op);
        engine->permits_dirty = TRUE;
    }
}

/* It is not honoured any more, whatever is left on disk. */
static void
revoked(ApmigEngine *engine, Permit *permit, const char *error)
{
    g_autofree char *message = NULL;

    log_ended(engine, permit->pub, "revoked");
    if (error) {
        message = g_strdup_printf(
            "the permit of guest '%s' counts no more, but its file could not be removed (%s), "
            "and would count again after a restart of apmigd: mend its runtime folder",
            apmig_permit_guest(permit->pub), error);
        engine_reply_error(engine, permit->revoker, APMIG_ERROR_STATE_FAILURE, message);
    } else {
        reply_permit(engine, permit->revoker, permit->pub);
    }
    forget(engine, permit);
}

/* --- written ------------------------------------------------------------------------------------- */

/* An open admission is then denied; what is in progress already goes on. */
static void
note_trouble(ApmigEngine *engine, Permit *permit, const char *error)
{
    permit->trouble = g_strdup_printf(
        "the permit could not be noted as used (%s): mend apmigd's runtime folder and give another one",
        error);
    engine_log(engine, APMIG_LOG_STATE_FAILURE, LOG_ERR, NULL, NULL, "guest %s: %s",
               apmig_permit_guest(permit->pub), permit->trouble);
    engine_log_concerns(engine, NULL);
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
    else if (!permit->durable && error)
        fail_to_give(engine, permit, error);
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

/* --- loading ------------------------------------------------------------------------------------- */

/* Whoever uses it may still be under way, or be let in by a hook and not have appeared yet. */
static void
load_user(ApmigEngine *engine, Permit *permit)
{
    const ApmigPermit *record = permit->pub;
    const char *name = *record->name ? record->name : record->used_by;
    Migration *migration = engine_find_migration(engine, record->used_by, record->outgoing);

    if (!migration)
        migration = engine_load_permitted(engine, record->used_by, name, record->outgoing);
    migration->pub.permitted = TRUE;
}

/* A crash may have left one that was replaced. */
static void
load_open(ApmigEngine *engine, Permit *permit)
{
    Permit *rival = find_rival(engine, permit->pub);

    if (rival && rival->pub->given_at <= permit->pub->given_at) {
        end(engine, rival, "replaced");
    } else if (rival) {
        end(engine, permit, "replaced");
        return;
    }
    open_permit(engine, permit);
}

void
engine_load_permit(ApmigEngine *engine, const ApmigPermit *record)
{
    Permit *permit = g_new0(Permit, 1);

    permit->pub = apmig_permit_copy(record);
    permit->durable = TRUE;
    g_ptr_array_add(engine->permits, permit);
    engine->permits_dirty = TRUE;
    if (record->used_by)
        load_user(engine, permit);
    else
        load_open(engine, permit);
}

/* --- settling ------------------------------------------------------------------------------------ */

static gboolean
has_expired(const ApmigEngine *engine, const Permit *permit)
{
    return permit->durable && !permit->ending && !permit->pub->used_by &&
           engine->now >= permit->pub->expires_at;
}

void
engine_settle_permits(ApmigEngine *engine)
{
    for (guint i = engine->permits->len; i > 0; i--)
        if (has_expired(engine, g_ptr_array_index(engine->permits, i - 1)))
            end(engine, g_ptr_array_index(engine->permits, i - 1), "expired");
}

gint64
engine_permits_next_deadline(const ApmigEngine *engine)
{
    gint64 deadline = G_MAXINT64;

    for (guint i = 0; i < engine->permits->len; i++) {
        const Permit *permit = g_ptr_array_index(engine->permits, i);

        if (is_open(engine, permit))
            engine_earlier(&deadline, permit->pub->expires_at);
    }
    return deadline;
}

void
engine_publish_permits(ApmigEngine *engine)
{
    if (engine->permits_dirty)
        engine_act(engine, APMIG_ACTION_PUBLISH_PERMITS);
    engine->permits_dirty = FALSE;
}

/* --- what it means for a lock -------------------------------------------------------------------- */

/* A guest that is not here may come with any queues. */
static gboolean
may_concern(const ApmigEngine *engine, const ApmigPermit *record, const Lock *lock)
{
    const Guest *guest = engine_find_guest(engine, record->uuid, record->name);

    return !guest || guest->scope_varies || apmig_scope_overlaps(lock->pub.record->scope, guest->scope);
}

char *
engine_describe_open_permits(const ApmigEngine *engine, const Lock *lock)
{
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *few = NULL;

    for (guint i = 0; i < engine->permits->len; i++) {
        const Permit *permit = g_ptr_array_index(engine->permits, i);
        const char *guest = apmig_permit_guest(permit->pub);
        g_autofree char *until = apmig_sentence_time(permit->pub->until);

        if (is_open(engine, permit) && may_concern(engine, permit->pub, lock))
            g_ptr_array_add(texts, g_strdup_printf("guest '%s' may begin to migrate until %s, by a permit of "
                                                   "%s; it is revoked with: apmigctl permit --revoke %s",
                                                   guest, until, permit->pub->owner_name, guest));
    }
    few = apmig_sentence_few(texts, "; ");
    return g_steal_pointer(&few);
}

GPtrArray *
apmig_engine_list_permits(const ApmigEngine *engine)
{
    GPtrArray *permits = g_ptr_array_new();

    for (guint i = 0; i < engine->permits->len; i++) {
        const Permit *permit = g_ptr_array_index(engine->permits, i);

        if (permit->durable && !permit->ending)
            g_ptr_array_add(permits, permit->pub);
    }
    return permits;
}

const ApmigPermit *
apmig_engine_find_permit(const ApmigEngine *engine, const char *guest)
{
    const Permit *permit = find_named(engine, guest);

    return permit && is_open(engine, permit) ? permit->pub : NULL;
}
