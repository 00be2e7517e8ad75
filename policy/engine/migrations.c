/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The life of a migration: in: admitted -> incoming -> ended; out: outgoing -> ended.
 */
#include "engine/private.h"

/* libvirt's event of how a guest stopped and the answer that it is gone travel on different paths: how long the
 * event may come later. */
#define STOP_EVENT_GRACE_USEC (200 * 1000)

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
migration_on_policy_changed(const ApmigEngine *engine, Migration *migration)
{
    const ApmigMigration *pub = &migration->pub;

    migration->settings =
        apmig_policy_for_guest(engine->policy, pub->uuid, pub->guest, pub->scope_known ? pub->scope : NULL);
}

Migration *
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
    migration_on_policy_changed(engine, migration);
    g_ptr_array_add(engine->migrations, migration);
    return migration;
}

void
migration_end(ApmigEngine *engine, Migration *migration, const char *result, const char *message)
{
    guint index;

    engine_judge_migration(engine, migration, result);
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
    engine_publish(engine, APMIG_ACTION_PUBLISH_MIGRATION, migration->pub.id);
    migration->dirty = FALSE;
    if (!migration->pub.outgoing) {
        ApmigAction *action = engine_act(engine, APMIG_ACTION_REMOVE_ADMISSION);

        action->admission = g_new0(ApmigAdmission, 1);
        action->admission->uuid = g_strdup(migration->pub.uuid);
    }
    if (migration->pub.outgoing)
        engine_stamp_between(engine, migration->pub.uuid);
    if (g_ptr_array_find(engine->migrations, migration, &index))
        g_ptr_array_add(engine->ended_migrations, g_ptr_array_steal_index(engine->migrations, index));
}

/* --- what answers say ---------------------------------------------------------------------------- */

/* The guest is active here and does not come in: no other of its arrivals is possible while it is, so that every yes is
 * over, if it was not here so when the newest was given, and the hook of that was gone. */
static gboolean
all_have_come(const ApmigEngine *engine, const Migration *migration, ApmigToken token)
{
    return migration->settled_token && token > migration->settled_token && !migration->was_resting &&
           !admission_is_pending(engine, migration->pub.uuid);
}

/* What has come and was not let in may be affected: it is judged when what it has was read, as it usually was by the
 * answer that shows that it has come. */
static void
incoming_completed(ApmigEngine *engine, Migration *migration, Guest *guest, const char *message)
{
    if (guest->told_token <= migration->admit_token)
        guest_forget_facts(guest, migration->admit_token); /* they are of an earlier life */
    if (!migration->pub.scope_known && !migration->pub.permitted) {
        guest->came_token = engine->last_token;
        if (guest->affected != APMIG_AFFECTED_UNKNOWN)
            engine_judge_arrival(engine, guest);
    }
    engine_stamp_guest(engine, migration->pub.uuid, TRUE);
    migration_end(engine, migration, migration_was_asked_to_end(migration) ? "completed-anyway" : "completed",
                  message);
}

static void
incoming_answered(ApmigEngine *engine, Migration *migration, Guest *guest, ApmigToken token)
{
    gboolean newer = token > migration->admit_token;

    if (guest->job == APMIG_JOB_INCOMING) {
        migration->dirty |= !migration->incoming_seen;
        migration->incoming_seen = migration->shown = TRUE;
        migration->seen_token = engine->last_token;
        migration->pub.phase = APMIG_MIGRATION_INCOMING;
        if (newer && migration->bindable)
            migration->admitted_until = 0;
    } else if (migration->incoming_seen || (newer && migration->bindable) ||
               all_have_come(engine, migration, token)) {
        if ((newer && migration->bindable) || all_have_come(engine, migration, token))
            migration->admitted_until = 0;
        migration->incoming_seen = FALSE;
        if (!migration->admitted_until)
            incoming_completed(engine, migration, guest, "the guest has arrived");
        else
            migration->pub.phase = APMIG_MIGRATION_ADMITTED;
    }
    if (migration->expiry_token && token > migration->expiry_token && migration->admitted_until) {
        migration->admitted_until = 0;
        if (!migration->incoming_seen && migration->pub.phase != APMIG_MIGRATION_ENDED)
            incoming_completed(engine, migration, guest, "the guest is active here");
    }
}

static void
incoming_absent(ApmigEngine *engine, Migration *migration, ApmigToken token)
{
    if (migration->incoming_seen && token <= migration->seen_token)
        return;
    if (migration->expiry_token && token > migration->expiry_token)
        migration->admitted_until = 0;
    if (migration->defined_token && token > migration->defined_token &&
        !admission_is_pending(engine, migration->pub.uuid))
        migration->admitted_until = 0;
    if (token > migration->admit_token) {
        migration->was_resting = FALSE;
        migration->bindable = !migration->restored;
    }
    if (migration->incoming_seen && !migration->admitted_until)
        migration_end(engine, migration, migration_was_asked_to_end(migration) ? "aborted" : "failed",
                      "the guest is gone; it goes on at its source");
    else if (!migration->admitted_until && migration->defined_token)
        migration_end(engine, migration, "completed",
                      "the guest was defined here and not started: an offline migration");
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
    else if (migration->stopped_unknown)
        migration_end(
            engine, migration, "unknown",
            "the guest stopped at its switchover; it may run at its destination: look on both hosts with: "
            "virsh domstate --reason GUEST");
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

/* Since when data is told of, and no event of it. */
static void
note_data(const ApmigEngine *engine, Migration *migration, const ApmigEvent *event)
{
    if (!migration->pub.outgoing || !event->answered.progress.data_processed)
        return;
    migration->memory_sent = TRUE;
    if (!migration->data_seen_at)
        migration->data_seen_at = engine->now;
}

static void
outgoing_answered(ApmigEngine *engine, Migration *migration, const Guest *guest, const ApmigEvent *event)
{
    if (guest->job != APMIG_JOB_OUTGOING && event->answered.token <= migration->seen_token)
        return; /* what it tells of may be of before it was seen otherwise */
    if (guest->job != APMIG_JOB_OUTGOING) {
        outgoing_stayed(engine, migration, event->answered.stranded);
        return;
    }
    migration->seen_token = engine->last_token;
    migration->dirty |= !migration->pub.postcopy && event->answered.postcopy;
    migration->pub.postcopy |= event->answered.postcopy;
    migration->pub.progress = event->answered.progress;
    note_data(engine, migration, event);
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
    migration_on_policy_changed(engine, migration);
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
    migration->incoming_seen = migration->shown = !outgoing;
    migration->pub.postcopy = event->answered.postcopy;
    migration->pub.progress = event->answered.progress;
    migration->iterated = guest->sent;
    migration->memory_sent = guest->sent || event->answered.postcopy;
    note_data(engine, migration, event);
    if (outgoing && guest->clear_token && guest->hint_token < guest->clear_token)
        migration->unhinted_at = engine->now;
    engine_log(engine, APMIG_LOG_MIGRATION_SEEN, LOG_NOTICE, NULL, migration, "guest %s migrates %s%s",
               guest->name, apmig_migration_direction(&migration->pub),
               known ? "" : "; its queues are not known, it counts as one of every scope");
    engine_use_permit(engine, migration, guest->name);
}

/* Returns: (nullable): a migration that is known by what it took along alone; %NULL: that is not known, or is nothing. */
static Migration *
new_leaving(ApmigEngine *engine, const Guest *guest)
{
    g_autoptr(ApmigScope) scope = guest_leaving_scope(guest);

    return scope ? migration_new(engine, guest->uuid, guest->name, APMIG_MIGRATION_OUTGOING, scope,
                                 (const char *const *)guest->devices)
                 : NULL;
}

void
engine_migrations_guest_sent(ApmigEngine *engine, Guest *guest, const char *where)
{
    g_autofree char *message = g_strdup_printf(
        "memory was sent, to another host or into a file, and it was over before libvirt told which; %s",
        where);
    Migration *migration = new_leaving(engine, guest);

    if (!migration)
        return;
    migration->began_after = guest->clear_token;
    migration->memory_sent = TRUE;
    engine_use_permit(engine, migration, guest->name);
    migration_end(engine, migration, "failed", message);
}

void
engine_migrations_guest_switches(ApmigEngine *engine, Guest *guest)
{
    g_autoptr(ApmigScope) scope = guest_leaving_scope(guest);
    Migration *migration = migration_new(engine, guest->uuid, guest->name, APMIG_MIGRATION_OUTGOING, scope,
                                         (const char *const *)guest->devices);

    migration->began_after = guest->clear_token;
    migration->seen_token = engine->last_token;
    migration->iterated = guest->sent;
    migration->switches = TRUE;
    migration->memory_sent = TRUE;
    guest_forget_sending(guest); /* it is known now to where */
    engine_log(
        engine, APMIG_LOG_MIGRATION_SEEN, LOG_NOTICE, NULL, migration,
        "guest %s migrates out: libvirt has told that it was stopped for its switchover, and its device is "
        "being saved",
        guest->name);
    engine_use_permit(engine, migration, guest->name);
}

void
engine_migrations_facts_read(ApmigEngine *engine, Guest *guest)
{
    Migration *outgoing = engine_find_migration(engine, guest->uuid, TRUE);

    if (!outgoing || outgoing->stopped_known || outgoing->gone_since || guest->job != APMIG_JOB_OUTGOING)
        return; /* if it has ended, or may have since an earlier view, they are perhaps of the guest's next life */
    if (guest->affected == APMIG_AFFECTED_NO)
        migration_end(engine, outgoing, "unaffected", "the guest has no AP queues");
    else
        follow_scope(engine, outgoing, guest);
}

/* Whether the memory that was sent is not of a migration that the answer shows, nor went into a file. A device keeps its
 * queues while its guest migrates. */
static gboolean
is_of_an_earlier_migration(const Guest *guest, ApmigToken token)
{
    if (!guest->sent || token <= guest->sending_token)
        return FALSE;
    if (guest->job != APMIG_JOB_OUTGOING)
        return guest->job == APMIG_JOB_NONE;
    return guest->sent_scope &&
           (guest->affected == APMIG_AFFECTED_NO || !apmig_scope_is_within(guest->sent_scope, guest->scope));
}

void
engine_migrations_answered(ApmigEngine *engine, Guest *guest, const ApmigEvent *event)
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
    if (!outgoing && is_of_an_earlier_migration(guest, event->answered.token))
        engine_migrations_guest_sent(engine, guest, "the guest is here");
    if (outgoing) {
        follow_scope(engine, outgoing, guest);
        outgoing_answered(engine, outgoing, guest, event);
    } else if (guest->job == APMIG_JOB_OUTGOING && guest->affected != APMIG_AFFECTED_NO) {
        begin_seen(engine, guest, event);
    }
}

void
engine_migrations_guest_arrives(ApmigEngine *engine, const char *uuid, const char *name)
{
    Migration *incoming = engine_find_migration(engine, uuid, FALSE);
    const Guest *guest = g_hash_table_lookup(engine->guests, uuid);

    if (!incoming && guest && guest->affected == APMIG_AFFECTED_NO)
        return;
    if (!incoming && engine_expects_unaffected(engine, uuid))
        return;
    if (!incoming) {
        incoming = migration_new(engine, uuid, name, APMIG_MIGRATION_INCOMING, NULL, NULL);
        engine_log(engine, APMIG_LOG_MIGRATION_SEEN, LOG_NOTICE, NULL, incoming,
                   "guest %s migrates in, and its queues are not known: it counts as one of every scope",
                   name);
        engine_use_permit(engine, incoming, name);
    }
    incoming->dirty |= !incoming->incoming_seen;
    incoming->shown &= incoming->incoming_seen;
    incoming->incoming_seen = TRUE;
    incoming->seen_token = engine->last_token;
    incoming->pub.phase = APMIG_MIGRATION_INCOMING;
}

void
engine_migrations_guest_left(ApmigEngine *engine, Guest *guest, gboolean unknown)
{
    Migration *migration = new_leaving(engine, guest);

    if (!migration)
        return;
    migration->began_after = guest->clear_token;
    migration->memory_sent = TRUE;
    engine_use_permit(engine, migration, guest->name);
    if (unknown)
        migration_end(
            engine, migration, "unknown",
            "the guest stopped at its switchover; it may run at its destination: look on both hosts with: "
            "virsh domstate --reason GUEST");
    else
        migration_end(engine, migration, "completed",
                      "the guest runs at its destination; nothing showed its migration before");
}

void
engine_migrations_guest_absent(ApmigEngine *engine, const char *uuid, ApmigToken token)
{
    Migration *incoming = engine_find_migration(engine, uuid, FALSE);
    Migration *outgoing = engine_find_migration(engine, uuid, TRUE);

    if (incoming)
        incoming_absent(engine, incoming, token);
    if (outgoing && token > outgoing->seen_token && !outgoing->gone_since)
        outgoing->gone_since = engine->now;
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
    if (migration->granted_at && !migration->hook && !migration->settled_token && migration->admitted_until) {
        migration->settled_token = engine->last_token;
        engine_look_again(engine, migration->pub.uuid);
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
