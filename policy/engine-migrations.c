/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The life of a migration: in: admitted -> incoming -> ended; out: outgoing -> ended.
 */
#include "engine-private.h"

/* libvirt's event of how a guest stopped and the answer that it is gone travel on different paths: how long the
 * event may come later. */
#define STOP_EVENT_GRACE_USEC (200 * 1000)

#define ARRIVALS_MAX 4096

void
migration_free(Migration *migration)
{
    g_free(migration->pub.id);
    g_free(migration->pub.uuid);
    g_free(migration->pub.guest);
    apmig_scope_unref(migration->pub.scope);
    g_strfreev(migration->pub.devices);
    g_hash_table_unref(migration->promised);
    g_ptr_array_unref(migration->pub.steps);
    g_free(migration->pub.message);
    g_free(migration);
}

void
pending_admission_free(PendingAdmission *pending)
{
    g_free(pending->uuid);
    apmig_scope_unref(pending->scope);
    g_clear_pointer(&pending->device_map, g_hash_table_unref);
    g_free(pending);
}

Migration *
engine_find_migration(const ApmigEngine *engine, const char *uuid, gboolean outgoing)
{
    for (guint i = 0; i < engine->migrations->len; i++) {
        Migration *migration = g_ptr_array_index(engine->migrations, i);

        if (!migration->pub.outgoing == !outgoing && g_str_equal(migration->pub.uuid, uuid))
            return migration;
    }
    return NULL;
}

gboolean
engine_guest_migrates(const ApmigEngine *engine, const char *uuid)
{
    return engine_find_migration(engine, uuid, TRUE) || engine_find_migration(engine, uuid, FALSE);
}

void
migration_heed_policy(const ApmigEngine *engine, Migration *migration)
{
    const ApmigMigration *pub = &migration->pub;

    migration->settings =
        apmig_policy_for_guest(engine->policy, pub->uuid, pub->guest, pub->scope_known ? pub->scope : NULL);
}

static Migration *
migration_new(ApmigEngine *engine, const char *uuid, const char *name, ApmigMigrationPhase phase,
              const ApmigScope *scope, const char *const *devices)
{
    Migration *migration = g_new0(Migration, 1);

    migration->pub.id = g_strdup_printf("%s_%u", engine->run_id, ++engine->n_migrations);
    migration->pub.uuid = g_strdup(uuid);
    migration->pub.guest = g_strdup(name);
    migration->pub.phase = phase;
    migration->pub.outgoing = phase == APMIG_MIGRATION_OUTGOING;
    migration->pub.scope_known = scope != NULL;
    migration->pub.scope = scope ? apmig_scope_ref((ApmigScope *)scope) : apmig_scope_new_all();
    migration->pub.devices = devices ? g_strdupv((char **)devices) : g_new0(char *, 1);
    migration->promised = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    migration->pub.started_at = engine->realtime;
    migration->pub.steps = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_step_record_free);
    migration->pub.result = "";
    migration->pub.message = g_strdup("");
    migration->dirty = TRUE;
    migration_heed_policy(engine, migration);
    g_ptr_array_add(engine->migrations, migration);
    return migration;
}

static void
migration_end(ApmigEngine *engine, Migration *migration, const char *result, const char *message)
{
    guint index;

    migration->pub.phase = APMIG_MIGRATION_ENDED;
    migration->pub.result = result;
    g_free(migration->pub.message);
    migration->pub.message = g_strdup(message);
    migration->ended_at = engine->now;
    engine_permit_migration_ended(engine, migration);
    engine_log(engine, APMIG_LOG_MIGRATION_ENDED, g_str_equal(result, "unknown") ? LOG_ALERT : LOG_NOTICE,
               NULL, migration, "migration %s of guest %s ended: %s%s%s",
               apmig_migration_direction(&migration->pub), migration->pub.guest, result, *message ? ": " : "",
               message);
    engine_act(engine, APMIG_ACTION_PUBLISH_MIGRATION)->id = g_strdup(migration->pub.id);
    if (!migration->pub.outgoing) {
        ApmigAction *action = engine_act(engine, APMIG_ACTION_REMOVE_ADMISSION);

        action->admission = g_new0(ApmigAdmission, 1);
        action->admission->uuid = g_strdup(migration->pub.uuid);
    }
    if (g_ptr_array_find(engine->migrations, migration, &index))
        g_ptr_array_add(engine->ended_migrations, g_ptr_array_steal_index(engine->migrations, index));
}

/* --- admissions ---------------------------------------------------------------------------------- */

static void
reply_admit(ApmigEngine *engine, ApmigCaller caller, gboolean allowed, const char *reason)
{
    ApmigAction *reply = engine_act(engine, APMIG_ACTION_REPLY_ADMIT);

    reply->caller = caller;
    reply->allowed = allowed;
    reply->message = g_strdup(reason);
}

static void
deny(ApmigEngine *engine, ApmigCaller caller, const char *uuid, const char *name, const Lock *lock,
     const char *reason)
{
    ApmigAction *entry;

    reply_admit(engine, caller, FALSE, reason);
    engine_log(engine, APMIG_LOG_ADMISSION_DENIED, LOG_NOTICE, lock, NULL, "guest %s was not let in: %s",
               name, reason);
    entry = g_ptr_array_index(engine->actions, engine->actions->len - 1);
    entry->uuid = g_strdup(uuid);
    entry->guest = g_strdup(name);
}

char *
engine_describe_denial(const Lock *lock)
{
    g_autofree char *description = lock_describe(lock);

    return g_strdup_printf("%s; when the keys are in step it is released with: apmigctl unlock %s",
                           description, lock->pub.record->id);
}

static void
deny_for_lock(ApmigEngine *engine, ApmigCaller caller, const char *uuid, const char *name, const Lock *lock)
{
    g_autofree char *reason = engine_describe_denial(lock);

    deny(engine, caller, uuid, name, lock, reason);
}

static guint
count_admissions(const ApmigEngine *engine)
{
    guint count = engine->pending->len;

    for (guint i = 0; i < engine->migrations->len; i++)
        count += ((Migration *)g_ptr_array_index(engine->migrations, i))->admitted_until != 0;
    return count;
}

gboolean
engine_admissions_are_full(const ApmigEngine *engine)
{
    return count_admissions(engine) >= engine->policy->max_admissions;
}

static void
migration_set_devices(Migration *migration, const char *const *devices)
{
    g_strfreev(migration->pub.devices);
    migration->pub.devices = devices ? g_strdupv((char **)devices) : g_new0(char *, 1);
    migration->dirty = TRUE;
}

/* An open record is the same guest's earlier attempt, which a guest that is seen from now on may belong to. If the two
 * differ in their queues, it is not known which are those of the guest: it is waited for and, without devices, left
 * alone. */
static void
join_attempts(const ApmigEngine *engine, Migration *migration, const ApmigScope *scope,
              const char *const *devices)
{
    gboolean same = apmig_scope_equal(migration->pub.scope, scope) && migration->pub.devices[0];
    ApmigScope *both = apmig_scope_union(migration->pub.scope, scope);

    apmig_scope_unref(migration->pub.scope);
    migration->pub.scope = both;
    migration_set_devices(migration, same ? devices : NULL);
    migration_heed_policy(engine, migration);
    migration_begin_steps_anew(migration);
    migration->bindable = FALSE;
}

static Migration *
find_or_begin_incoming(ApmigEngine *engine, const ApmigEvent *event, const ApmigScope *scope,
                       const char *const *devices)
{
    Migration *migration = engine_find_migration(engine, event->admit.uuid, FALSE);

    if (migration) {
        join_attempts(engine, migration, scope, devices);
        return migration;
    }
    migration =
        migration_new(engine, event->admit.uuid, event->admit.name, APMIG_MIGRATION_ADMITTED, scope, devices);
    migration->bindable = !engine_guest_is_active(engine, event->admit.uuid);
    return migration;
}

/* @device: as of engine_choose_device() */
static void
begin_admission(ApmigEngine *engine, const ApmigEvent *event, const ApmigScope *scope, const char *device)
{
    g_auto(GStrv) devices = engine_list_devices_here(event, device);
    Migration *migration = find_or_begin_incoming(engine, event, scope, (const char *const *)devices);
    PendingAdmission *pending = g_new0(PendingAdmission, 1);
    gboolean permitted = engine_use_permit(engine, migration, event->admit.name);
    ApmigAction *action = engine_act(engine, APMIG_ACTION_PERSIST_ADMISSION);

    migration_promise(migration, (const char *const *)devices);
    migration->admitted_until = engine->now + migration->settings.admission_usec;
    migration->admit_token = engine->last_token;
    migration->expiry_token = 0;
    action->op = pending->op = ++engine->last_op;
    action->admission = g_new0(ApmigAdmission, 1);
    action->admission->uuid = g_strdup(event->admit.uuid);
    action->admission->name = g_strdup(event->admit.name);
    action->admission->scope = apmig_scope_ref(migration->pub.scope);
    action->admission->devices = g_strdupv(migration->pub.devices);
    action->admission->admitted_at = engine->now;
    pending->caller = event->admit.caller;
    pending->permitted = permitted;
    pending->uuid = g_strdup(event->admit.uuid);
    pending->scope = apmig_scope_ref((ApmigScope *)scope);
    pending->device_map = device ? engine_device_map_new(event->admit.arrival.device, device) : NULL;
    g_ptr_array_add(engine->pending, pending);
}

/* It may be what an earlier admission, still open, will be taken for: then that is left alone. */
static void
expect_unaffected(ApmigEngine *engine, const char *uuid, const char *name)
{
    ApmigGuestSettings settings = apmig_policy_for_guest(engine->policy, uuid, name, NULL);
    Migration *earlier = engine_find_migration(engine, uuid, FALSE);
    gint64 *until = g_new(gint64, 1);

    if (earlier)
        migration_set_devices(earlier, NULL);
    *until = engine->now + settings.admission_usec;
    if (g_hash_table_size(engine->arrivals) >= ARRIVALS_MAX)
        g_hash_table_remove_all(engine->arrivals); /* they then count as unknown: waited for, left alone */
    g_hash_table_replace(engine->arrivals, g_strdup(uuid), until);
}

void
engine_admit(ApmigEngine *engine, const ApmigEvent *event)
{
    g_autoptr(ApmigScope) scope = engine_arrival_scope(engine, event);
    g_autoptr(ApmigArrivalCheck) check = NULL;

    if (!engine->loaded) {
        reply_admit(engine, event->admit.caller, FALSE, APMIG_NOT_LOADED);
        return;
    }
    if (event->admit.facts.affected == APMIG_AFFECTED_NO) {
        if (!event->admit.restore)
            expect_unaffected(engine, event->admit.uuid, event->admit.name);
        reply_admit(engine, event->admit.caller, TRUE, "");
        return;
    }
    g_hash_table_remove(engine->arrivals, event->admit.uuid);
    check = engine_check_arrival(engine, event);
    if (check->refusal) {
        deny(engine, event->admit.caller, event->admit.uuid, event->admit.name,
             engine_overlapping_lock(engine, scope), check->refusal);
        return;
    }
    engine_log_doubts(engine, event, check);
    if (event->admit.restore) {
        reply_admit(engine, event->admit.caller, TRUE, "");
        return;
    }
    if (engine_admissions_are_full(engine)) {
        reply_admit(engine, event->admit.caller, FALSE, APMIG_ADMISSIONS_FULL);
        return;
    }
    begin_admission(engine, event, scope, check->device);
}

static PendingAdmission *
steal_pending(ApmigEngine *engine, guint64 op)
{
    for (guint i = 0; i < engine->pending->len; i++) {
        PendingAdmission *pending = g_ptr_array_index(engine->pending, i);

        if (pending->op == op)
            return g_ptr_array_steal_index(engine->pending, i);
    }
    return NULL;
}

static gboolean
admission_is_pending(const ApmigEngine *engine, const char *uuid)
{
    for (guint i = 0; i < engine->pending->len; i++) {
        const PendingAdmission *pending = g_ptr_array_index(engine->pending, i);

        if (g_str_equal(pending->uuid, uuid))
            return TRUE;
    }
    return FALSE;
}

/* The hook is told no after all: what is left of the admission is an earlier yes, if there was one. */
static void
take_back(ApmigEngine *engine, Migration *migration, const char *why)
{
    migration->dirty = TRUE;
    if (migration->grants || admission_is_pending(engine, migration->pub.uuid))
        return;
    migration->admitted_until = 0;
    if (!migration->incoming_seen)
        migration_end(engine, migration, "failed", why);
}

static void
grant(ApmigEngine *engine, Migration *migration, const PendingAdmission *pending)
{
    g_autofree char *exchange = engine_describe_device_map(pending->device_map);

    migration->grants++;
    migration->admitted_until = engine->now + migration->settings.admission_usec;
    reply_admit(engine, pending->caller, TRUE, "");
    if (pending->device_map) {
        ApmigAction *reply = g_ptr_array_index(engine->actions, engine->actions->len - 1);

        reply->device_map = g_hash_table_ref(pending->device_map);
    }
    engine_log(engine, APMIG_LOG_ADMISSION_ALLOWED, LOG_INFO, NULL, migration, "guest %s was let in%s",
               migration->pub.guest, exchange);
}

void
engine_admission_written(ApmigEngine *engine, guint64 op, const char *error)
{
    PendingAdmission *pending = steal_pending(engine, op);
    Migration *migration = pending ? engine_find_migration(engine, pending->uuid, FALSE) : NULL;
    const Lock *lock =
        migration && !pending->permitted ? engine_overlapping_lock(engine, pending->scope) : NULL;
    const char *trouble = migration && pending->permitted ? engine_permit_trouble(engine, migration) : NULL;

    if (!pending)
        return;
    if (!migration || error) {
        g_autofree char *reason =
            g_strdup_printf("the admission could not be written (%s): mend apmigd's runtime "
                            "folder and try again",
                            error ? error : "it has ended");

        reply_admit(engine, pending->caller, FALSE, reason);
        if (migration)
            take_back(engine, migration, reason);
    } else if (trouble) {
        g_autofree char *reason = g_strdup(trouble);

        deny(engine, pending->caller, pending->uuid, migration->pub.guest, NULL, reason);
        take_back(engine, migration, reason);
    } else if (lock) {
        deny_for_lock(engine, pending->caller, pending->uuid, migration->pub.guest, lock);
        take_back(engine, migration, "a lock was requested before the hook was answered");
    } else {
        grant(engine, migration, pending);
    }
    pending_admission_free(pending);
}

void
engine_load_admission(ApmigEngine *engine, const ApmigAdmission *admission)
{
    Migration *migration = migration_new(engine, admission->uuid, admission->name, APMIG_MIGRATION_ADMITTED,
                                         admission->scope, (const char *const *)admission->devices);

    migration_promise(migration, (const char *const *)admission->devices);
    migration->grants = 1;
    migration->bindable = TRUE;
    migration->admit_token = engine->last_token;
    migration->admitted_until = MIN(admission->admitted_at, engine->now) + migration->settings.admission_usec;
}

Migration *
engine_load_permitted(ApmigEngine *engine, const char *uuid, const char *name, gboolean outgoing)
{
    const ApmigAdmission admission = {(char *)uuid, (char *)name, NULL, NULL, engine->now};

    if (outgoing)
        return migration_new(engine, uuid, name, APMIG_MIGRATION_OUTGOING, NULL, NULL);
    engine_load_admission(engine, &admission);
    return engine_find_migration(engine, uuid, FALSE);
}

/* --- what answers say ---------------------------------------------------------------------------- */

static void
incoming_answered(ApmigEngine *engine, Migration *migration, const Guest *guest, guint64 token)
{
    gboolean newer = token > migration->admit_token;

    if (guest->job == APMIG_JOB_INCOMING) {
        migration->dirty |= !migration->incoming_seen;
        migration->incoming_seen = TRUE;
        migration->seen_token = engine->last_token;
        migration->pub.phase = APMIG_MIGRATION_INCOMING;
        if (newer && migration->bindable)
            migration->admitted_until = 0;
    } else if (migration->incoming_seen || (newer && migration->bindable)) {
        if (newer && migration->bindable)
            migration->admitted_until = 0;
        migration->incoming_seen = FALSE;
        if (!migration->admitted_until) {
            engine_stamp_guest(engine, migration->pub.uuid, TRUE);
            migration_end(engine, migration, "completed", "the guest has arrived");
        } else
            migration->pub.phase = APMIG_MIGRATION_ADMITTED;
    }
    if (migration->expiry_token && token > migration->expiry_token && migration->admitted_until) {
        migration->admitted_until = 0;
        if (!migration->incoming_seen && migration->pub.phase != APMIG_MIGRATION_ENDED) {
            engine_stamp_guest(engine, migration->pub.uuid, TRUE);
            migration_end(engine, migration, "completed", "the guest is active here");
        }
    }
}

static void
incoming_absent(ApmigEngine *engine, Migration *migration, guint64 token)
{
    if (migration->incoming_seen && token <= migration->seen_token)
        return;
    if (migration->expiry_token && token > migration->expiry_token)
        migration->admitted_until = 0;
    if (token > migration->admit_token)
        migration->bindable = TRUE;
    if (migration->incoming_seen && !migration->admitted_until)
        migration_end(engine, migration, migration_was_asked_to_end(migration) ? "aborted" : "failed",
                      "the guest is gone; it goes on at its source");
    else if (!migration->admitted_until)
        migration_end(engine, migration, "vanished", "the guest was let in and never came");
    else if (migration->incoming_seen) {
        migration->incoming_seen = FALSE;
        migration->pub.phase = APMIG_MIGRATION_ADMITTED;
        migration->dirty = TRUE;
    }
}

static void
outgoing_left(ApmigEngine *engine, Migration *migration)
{
    if (!migration->stopped_known)
        migration_end(engine, migration, "unknown",
                      "the guest is gone from this host; look for it at its destination");
    else if (!migration->stopped_migrated)
        migration_end(engine, migration, "failed", "the guest stopped at its source");
    else if (migration->not_abortable)
        migration_end(engine, migration, "not-abortable", "the guest runs at its destination");
    else if (migration_was_asked_to_end(migration))
        migration_end(engine, migration, "completed-anyway", "the request to end it came too late");
    else
        migration_end(engine, migration, "completed", "the guest runs at its destination");
}

static void
outgoing_stayed(ApmigEngine *engine, Migration *migration, gboolean stranded)
{
    if (stranded)
        migration_end(
            engine, migration, "unknown",
            "libvirt left the guest paused (migrating) without a job and does not know where it runs: before "
            "resuming anything look on both hosts with: virsh domstate --reason GUEST");
    else if (migration_was_asked_to_end(migration))
        migration_end(engine, migration, "aborted", "the guest runs on at its source");
    else
        migration_end(engine, migration, "failed", "it ended by itself; the guest is at its source");
}

static void
outgoing_answered(ApmigEngine *engine, Migration *migration, const Guest *guest, const ApmigEvent *event)
{
    if (guest->job != APMIG_JOB_OUTGOING) {
        outgoing_stayed(engine, migration, event->answered.stranded);
        return;
    }
    migration->seen_token = engine->last_token;
    migration->dirty |= !migration->pub.postcopy && event->answered.postcopy;
    migration->pub.postcopy |= event->answered.postcopy;
    migration->pub.progress = event->answered.progress;
}

/* Devices may have come and gone since the migration was first seen, or this may be another one already. */
static void
follow_scope(const ApmigEngine *engine, Migration *migration, const Guest *guest)
{
    gboolean known = guest->affected == APMIG_AFFECTED_YES;

    if (!known == !migration->pub.scope_known && apmig_scope_equal(migration->pub.scope, guest->scope))
        return;
    migration->pub.scope_known = known;
    apmig_scope_unref(migration->pub.scope);
    migration->pub.scope = apmig_scope_ref(guest->scope);
    g_strfreev(migration->pub.devices);
    migration->pub.devices = g_strdupv(guest->devices);
    migration_heed_policy(engine, migration);
    migration->dirty = TRUE;
}

static void
begin_seen(ApmigEngine *engine, const Guest *guest, const ApmigEvent *event)
{
    gboolean outgoing = guest->job == APMIG_JOB_OUTGOING;
    gboolean known = guest->affected == APMIG_AFFECTED_YES;
    Migration *migration = migration_new(engine, guest->uuid, guest->name,
                                         outgoing ? APMIG_MIGRATION_OUTGOING : APMIG_MIGRATION_INCOMING,
                                         known ? guest->scope : NULL, (const char *const *)guest->devices);

    migration->began_after = guest->clear_token;
    migration->seen_token = engine->last_token;
    migration->incoming_seen = !outgoing;
    migration->pub.postcopy = event->answered.postcopy;
    migration->pub.progress = event->answered.progress;
    engine_log(engine, APMIG_LOG_MIGRATION_SEEN, LOG_NOTICE, NULL, migration, "guest %s migrates %s%s",
               guest->name, apmig_migration_direction(&migration->pub),
               known ? "" : "; its queues are not known, it counts as one of every scope");
    engine_use_permit(engine, migration, guest->name);
}

void
engine_migrations_answered(ApmigEngine *engine, const Guest *guest, const ApmigEvent *event)
{
    Migration *incoming = engine_find_migration(engine, guest->uuid, FALSE);
    Migration *outgoing = engine_find_migration(engine, guest->uuid, TRUE);

    if (outgoing && outgoing->stopped_known && event->answered.token > outgoing->stop_token) {
        outgoing_left(engine, outgoing); /* this is the guest's next life */
        outgoing = NULL;
    }
    if (incoming)
        incoming_answered(engine, incoming, guest, event->answered.token);
    else if (guest->job == APMIG_JOB_INCOMING && guest->affected != APMIG_AFFECTED_NO)
        begin_seen(engine, guest, event);
    if (outgoing && guest->affected == APMIG_AFFECTED_NO) {
        migration_end(engine, outgoing, "unaffected", "the guest has no AP queues");
        return;
    }
    if (outgoing) {
        follow_scope(engine, outgoing, guest);
        outgoing_answered(engine, outgoing, guest, event);
    } else if (guest->job == APMIG_JOB_OUTGOING && guest->affected != APMIG_AFFECTED_NO) {
        begin_seen(engine, guest, event);
    }
}

void
engine_migrations_guest_absent(ApmigEngine *engine, const char *uuid, guint64 token)
{
    Migration *incoming = engine_find_migration(engine, uuid, FALSE);
    Migration *outgoing = engine_find_migration(engine, uuid, TRUE);

    if (incoming)
        incoming_absent(engine, incoming, token);
    if (outgoing && token > outgoing->seen_token && !outgoing->gone_since)
        outgoing->gone_since = engine->now;
}

void
engine_guest_stopped(ApmigEngine *engine, const char *uuid, gboolean migrated)
{
    Migration *outgoing = engine_find_migration(engine, uuid, TRUE);

    if (outgoing) {
        outgoing->stopped_known = TRUE;
        outgoing->stop_token = engine->last_token;
        outgoing->stopped_migrated = migrated;
    }
    engine_view_guest_stopped(engine, uuid);
    engine_hint(engine, uuid, NULL);
}

/* --- settling ------------------------------------------------------------------------------------ */

void
engine_settle_migration(ApmigEngine *engine, Migration *migration)
{
    if (migration->gone_since &&
        (migration->stopped_known || engine->now >= migration->gone_since + STOP_EVENT_GRACE_USEC)) {
        outgoing_left(engine, migration);
        return;
    }
    if (migration->admitted_until && !migration->expiry_token && engine->now >= migration->admitted_until &&
        !admission_is_pending(engine, migration->pub.uuid)) {
        migration->expiry_token = engine->last_token;
        engine_hurry(engine);
    }
    engine_settle_steps(engine, migration);
}

gint64
migration_next_deadline(const ApmigEngine *engine, const Migration *migration)
{
    gint64 deadline = G_MAXINT64;

    if (migration->gone_since)
        engine_earlier(&deadline, migration->gone_since + STOP_EVENT_GRACE_USEC);
    if (!migration->expiry_token && !admission_is_pending(engine, migration->pub.uuid))
        engine_earlier(&deadline, migration->admitted_until);
    engine_earlier(&deadline, migration_next_step(engine, migration));
    return deadline;
}
