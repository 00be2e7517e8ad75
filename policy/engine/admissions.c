/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Admissions: what the hook asks, from the question to the yes or no, and those that are open from before. */
#include "engine/private.h"

void
pending_admission_free(PendingAdmission *pending)
{
    g_free(pending->uuid);
    apmig_scope_unref(pending->scope);
    g_clear_pointer(&pending->device_map, g_hash_table_unref);
    g_free(pending);
}

static ApmigReply *
reply_admit(ApmigEngine *engine, ApmigCaller caller, gboolean allowed, const char *reason)
{
    ApmigReply *reply = engine_reply(engine, APMIG_ACTION_REPLY_ADMIT, caller);

    reply->allowed = allowed;
    reply->message = g_strdup(reason);
    return reply;
}

/* @from: (nullable): the source host's name, where that is known */
static void
deny(ApmigEngine *engine, ApmigCaller caller, const char *uuid, const char *name, const char *from,
     Lock *lock, const char *reason)
{
    reply_admit(engine, caller, FALSE, reason);
    entry_set_guest(engine_log(engine, APMIG_LOG_ADMISSION_DENIED, LOG_NOTICE, lock, NULL,
                               "guest %s was not let in: %s", name, reason),
                    uuid, name);
    if (lock)
        lock_count_refusal(engine, lock, uuid, name, from);
}

static void
deny_for_lock(ApmigEngine *engine, ApmigCaller caller, const char *uuid, const char *name, Lock *lock)
{
    g_autofree char *reason = engine_describe_denial(lock);

    deny(engine, caller, uuid, name, NULL, lock, reason);
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
    migration_on_policy_changed(engine, migration);
    migration_begin_steps_anew(migration);
    migration->bindable = FALSE;
    migration->settled_token = migration->defined_token = 0;
}

/* Whether it is known that no QEMU of the guest is here. */
static gboolean
guest_is_away(const ApmigEngine *engine, const char *uuid)
{
    return engine->connected && engine->list_token && !engine_guest_is_active(engine, uuid);
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
    migration->bindable = guest_is_away(engine, event->admit.uuid);
    return migration;
}

/* Whether the guest is active here and does not come in, or may be so, for all that is known: one that is not followed was asked
 * about some time ago. */
static gboolean
guest_may_rest(const ApmigEngine *engine, const Migration *migration)
{
    const Guest *guest = g_hash_table_lookup(engine->guests, migration->pub.uuid);

    if (!engine->connected || !engine->list_token)
        return TRUE;
    return guest && !guest->stopped && !(guest->job == APMIG_JOB_INCOMING && migration->incoming_seen);
}

/* Returns: the number of the write. */
static guint64
write_admission(ApmigEngine *engine, const Migration *migration, const char *name, gint64 admitted_at)
{
    ApmigAction *action = engine_act(engine, APMIG_ACTION_PERSIST_ADMISSION);

    action->op = ++engine->last_op;
    action->admission = g_new0(ApmigAdmission, 1);
    action->admission->uuid = g_strdup(migration->pub.uuid);
    action->admission->name = g_strdup(name);
    action->admission->scope = apmig_scope_ref(migration->pub.scope);
    action->admission->devices = g_strdupv(migration->pub.devices);
    action->admission->admitted_at = admitted_at;
    return action->op;
}

/* @device: as of engine_choose_device() */
static void
begin_admission(ApmigEngine *engine, const ApmigEvent *event, const ApmigScope *scope, const char *device)
{
    g_auto(GStrv) devices = engine_list_devices_here(event, device);
    Migration *migration = find_or_begin_incoming(engine, event, scope, (const char *const *)devices);
    PendingAdmission *pending = g_new0(PendingAdmission, 1);
    gboolean permitted = engine_use_permit(engine, migration, event->admit.name);

    migration_promise(migration, (const char *const *)devices);
    migration->admitted_until = engine->now + migration->settings.admission_usec;
    migration->admit_token = engine->last_token;
    migration->expiry_token = 0;
    migration->granted_at = 0;
    migration->was_resting = guest_may_rest(engine, migration);
    pending->op = write_admission(engine, migration, event->admit.name, engine->now);
    pending->caller = event->caller;
    pending->permitted = permitted;
    pending->uuid = g_strdup(event->admit.uuid);
    pending->scope = apmig_scope_ref((ApmigScope *)scope);
    pending->device_map = device ? engine_device_map_new(event->admit.arrival.device, device) : NULL;
    g_ptr_array_add(engine->pending, pending);
}

/* What is taken for the guest of @migration may be an unaffected one: it is left alone, also by the next run. */
static void
take_devices_away(ApmigEngine *engine, Migration *migration)
{
    if (!migration->pub.devices[0])
        return;
    migration_set_devices(migration, NULL);
    if (migration->grants || admission_is_pending(engine, migration->pub.uuid))
        write_admission(engine, migration, migration->pub.guest,
                        (migration->admitted_until ? migration->admitted_until : engine->now) -
                            migration->settings.admission_usec);
}

static void
admit_unaffected(ApmigEngine *engine, const char *uuid, const char *name)
{
    ApmigGuestSettings settings = apmig_policy_for_guest(engine->policy, uuid, name, NULL);
    Migration *earlier = engine_find_migration(engine, uuid, FALSE);

    if (earlier)
        take_devices_away(engine, earlier);
    if (!engine->loaded && g_hash_table_size(engine->early_arrivals) < EARLY_ARRIVALS_MAX)
        g_hash_table_add(engine->early_arrivals, g_strdup(uuid));
    engine_expect_unaffected(engine, uuid, settings.admission_usec);
}

void
engine_admit(ApmigEngine *engine, const ApmigEvent *event)
{
    g_autoptr(ApmigScope) scope = engine_arrival_scope(engine, event);
    g_autoptr(ApmigArrivalCheck) check = NULL;

    if (event->admit.facts.affected == APMIG_AFFECTED_NO) {
        if (!event->admit.restore)
            admit_unaffected(engine, event->admit.uuid, event->admit.name);
        reply_admit(engine, event->caller, TRUE, "");
        return;
    }
    if (!engine->loaded) {
        reply_admit(engine, event->caller, FALSE, APMIG_NOT_LOADED);
        return;
    }
    engine_forget_unaffected(engine, event->admit.uuid);
    check = engine_check_arrival(engine, event);
    if (check->refusal) {
        deny(engine, event->caller, event->admit.uuid, event->admit.name,
             event->admit.arrival.stamp ? event->admit.arrival.stamp->host_name : NULL,
             engine_overlapping_lock(engine, scope), check->refusal);
        return;
    }
    engine_log_doubts(engine, event, check);
    if (event->admit.restore) {
        reply_admit(engine, event->caller, TRUE, "");
        return;
    }
    if (engine_admissions_are_full(engine)) {
        reply_admit(engine, event->caller, FALSE, APMIG_ADMISSIONS_FULL);
        return;
    }
    begin_admission(engine, event, scope, check->device);
}

/* The hook is the last of libvirt's scripts, and ends with its answer: what it was told counts from then on. */
void
engine_admission_caller_gone(ApmigEngine *engine, ApmigCaller caller)
{
    for (guint i = 0; i < engine->pending->len; i++) {
        PendingAdmission *pending = g_ptr_array_index(engine->pending, i);

        pending->gone |= pending->caller == caller;
    }
    for (guint i = 0; i < engine->migrations->len; i++) {
        Migration *migration = g_ptr_array_index(engine->migrations, i);

        if (migration->hook != caller)
            continue;
        migration->hook = 0;
        if (migration->granted_at && migration->admitted_until && !migration->expiry_token)
            migration->admitted_until = engine->now + migration->settings.admission_usec;
    }
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
    ApmigReply *reply;

    migration->grants++;
    migration->granted_at = engine->now;
    migration->hook = pending->gone ? 0 : pending->caller;
    migration->settled_token = migration->defined_token = 0;
    migration->admitted_until = engine->now + migration->settings.admission_usec;
    reply = reply_admit(engine, pending->caller, TRUE, "");
    if (pending->device_map)
        reply->device_map = g_hash_table_ref(pending->device_map);
    engine_log(engine, APMIG_LOG_ADMISSION_ALLOWED, LOG_INFO, NULL, migration, "guest %s was let in%s",
               migration->pub.guest, exchange);
}

void
engine_admission_written(ApmigEngine *engine, guint64 op, const char *error)
{
    PendingAdmission *pending = steal_pending(engine, op);
    Migration *migration = pending ? engine_find_migration(engine, pending->uuid, FALSE) : NULL;
    Lock *lock = migration && !pending->permitted ? engine_overlapping_lock(engine, pending->scope) : NULL;
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

        deny(engine, pending->caller, pending->uuid, migration->pub.guest, NULL, NULL, reason);
        take_back(engine, migration, reason);
    } else if (lock) {
        deny_for_lock(engine, pending->caller, pending->uuid, migration->pub.guest, lock);
        take_back(engine, migration, "a lock was requested before the hook was answered");
    } else {
        grant(engine, migration, pending);
    }
    pending_admission_free(pending);
}
