/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Permits: given -> open -> in use by one migration -> gone. An open one counts until it expires; the first migration of
 * its guest that is let in or seen uses it, needed or not, and takes it along to its end, however that comes. It is on disk
 * before anybody is told of it, and written anew as used before a hook is told yes, so that a crash does not make two of
 * one.
 */
#include "engine/private.h"

#include "base/sentence.h"

void
permit_free(gpointer data)
{
    Permit *permit = data;

    apmig_permit_free(permit->pub);
    g_free(permit->trouble);
    g_free(permit);
}

/* --- looking up ---------------------------------------------------------------------------------- */

gboolean
permit_is_open(const ApmigEngine *engine, const Permit *permit)
{
    return permit->durable && !permit->ending && !permit->pub->used_by &&
           engine->now < permit->pub->expires_at;
}

static Permit *
find_open(const ApmigEngine *engine, const char *uuid, const char *name)
{
    for (guint i = 0; i < engine->permits->len; i++) {
        Permit *permit = g_ptr_array_index(engine->permits, i);

        if (permit_is_open(engine, permit) && apmig_permit_is_for(permit->pub, uuid, name))
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
Permit *
permit_find_rival(const ApmigEngine *engine, const ApmigPermit *record)
{
    for (guint i = 0; i < engine->permits->len; i++) {
        Permit *permit = g_ptr_array_index(engine->permits, i);

        if (permit->pub != record && permit->durable && !permit->ending && !permit->pub->used_by &&
            is_for_same_guest(permit->pub, record))
            return permit;
    }
    return NULL;
}

/* The name may be another guest's by now: it counts where a UUID is lacking. */
static gboolean
is_called(const ApmigPermit *record, const char *uuid, const char *name)
{
    if (*uuid && g_strcmp0(record->used_by, uuid) == 0)
        return TRUE;
    if (*uuid && *record->uuid)
        return g_str_equal(record->uuid, uuid);
    return *name && g_str_equal(record->name, name);
}

/* @text: its guest's name or UUID. Returns: (nullable): the open one, if there are two. */
Permit *
permit_find_named(const ApmigEngine *engine, const char *text)
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

/* Returns: (nullable): the migration of its guest that is in progress; that which leaves, if there are two. */
Migration *
permit_find_migration(const ApmigEngine *engine, const ApmigPermit *record)
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

void
permit_log(ApmigEngine *engine, ApmigLog log, const ApmigPermit *record, const Migration *migration,
           const char *result, const char *message)
{
    ApmigLogEntry *entry = engine_log(engine, log, LOG_NOTICE, NULL, migration, "%s", message);

    entry->result = g_strdup(result);
    if (migration)
        return;
    entry_set_guest(entry, *record->uuid ? record->uuid : NULL, apmig_permit_guest(record));
    entry_add_locks(entry, engine, NULL);
}

static void
log_used(ApmigEngine *engine, const ApmigPermit *record, const Migration *migration)
{
    g_autofree char *message = g_strdup_printf(
        "guest %s migrates %s with the permit of %s (uid %u): \"%s\"", migration->pub.guest,
        apmig_migration_direction(&migration->pub), record->owner_name, record->owner_uid, record->reason);

    permit_log(engine, APMIG_LOG_PERMIT_USED, record, migration, NULL, message);
}

void
permit_log_ended(ApmigEngine *engine, const ApmigPermit *record, const char *result)
{
    g_autofree char *message = g_strdup_printf("the permit of %s for guest %s has ended: %s",
                                               record->owner_name, apmig_permit_guest(record), result);

    permit_log(engine, APMIG_LOG_PERMIT_ENDED, record, NULL, result, message);
}

/* --- the end ------------------------------------------------------------------------------------- */

/* @op: 0: nobody waits for it */
void
permit_remove_file(ApmigEngine *engine, const ApmigPermit *record, guint64 op)
{
    ApmigAction *action = engine_act(engine, APMIG_ACTION_REMOVE_PERMIT);

    action->op = op;
    action->permit = apmig_permit_copy(record);
}

void
permit_forget(ApmigEngine *engine, Permit *permit)
{
    g_ptr_array_remove(engine->permits, permit);
    engine->permits_dirty = TRUE;
}

void
permit_end(ApmigEngine *engine, Permit *permit, const char *result)
{
    permit_log_ended(engine, permit->pub, result);
    permit_remove_file(engine, permit->pub, 0);
    permit_forget(engine, permit);
}

void
engine_permit_migration_ended(ApmigEngine *engine, const Migration *migration)
{
    for (guint i = engine->permits->len; i > 0; i--) {
        Permit *permit = g_ptr_array_index(engine->permits, i - 1);

        if (is_used_by(permit, migration))
            permit_end(engine, permit, "used");
    }
}

/* --- its use ------------------------------------------------------------------------------------- */

void
permit_write(ApmigEngine *engine, Permit *permit)
{
    ApmigAction *action = engine_act(engine, APMIG_ACTION_PERSIST_PERMIT);

    action->op = permit->op = ++engine->last_op;
    permit->asked_at = engine->now;
    action->permit = apmig_permit_copy(permit->pub);
}

static void
use(ApmigEngine *engine, Permit *permit, Migration *migration)
{
    permit->pub->used_by = g_strdup(migration->pub.uuid);
    permit->pub->outgoing = migration->pub.outgoing;
    permit_write(engine, permit);
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

/* It counts from now on, for what is in progress already as well. */
void
permit_open(ApmigEngine *engine, Permit *permit)
{
    Migration *migration = permit_find_migration(engine, permit->pub);

    permit->durable = TRUE;
    engine->permits_dirty = TRUE;
    if (migration && permit_is_open(engine, permit) && !migration->pub.permitted)
        use(engine, permit, migration);
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
            permit_end(engine, g_ptr_array_index(engine->permits, i - 1), "expired");
}

gint64
engine_permits_next_deadline(const ApmigEngine *engine)
{
    gint64 deadline = G_MAXINT64;

    for (guint i = 0; i < engine->permits->len; i++) {
        const Permit *permit = g_ptr_array_index(engine->permits, i);

        if (permit_is_open(engine, permit))
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

        if (permit_is_open(engine, permit) && may_concern(engine, permit->pub, lock))
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
    const Permit *permit = permit_find_named(engine, guest);

    return permit && permit_is_open(engine, permit) ? permit->pub : NULL;
}
