/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What stands in whose way, in words: of a lock, of a guest.
 */
#include "engine/private.h"

#include "base/sentence.h"

#define MIGRATIONS_MAX 8 /* named in one sentence */

GPtrArray *
apmig_engine_blockers(const ApmigEngine *engine, const ApmigLock *lock)
{
    GPtrArray *blockers = g_ptr_array_new();

    for (guint i = 0; !lock->result && i < engine->migrations->len; i++) {
        Migration *migration = g_ptr_array_index(engine->migrations, i);

        if (lock_is_blocked_by((const Lock *)lock, migration))
            g_ptr_array_add(blockers, migration);
    }
    return blockers;
}

/* Until when it counts that a guest was let in. */
static void
describe_admission(GString *text, const ApmigEngine *engine, const Migration *migration)
{
    g_autofree char *until = apmig_sentence_time(engine->realtime + migration->admitted_until - engine->now);

    g_string_append(text, "was let in and has not appeared yet");
    if (migration->admitted_until > engine->now)
        g_string_append_printf(text, ", which counts until %s at most", until);
}

/* On its source host it may have another name (virsh migrate --dname), so there its UUID names it. */
static void
describe_migration(GString *text, const ApmigEngine *engine, const Migration *migration)
{
    const ApmigMigration *pub = &migration->pub;
    const char *direction = pub->outgoing ? "out" : "in";

    g_string_append_printf(text, "%sguest '%s' ", text->len ? "; " : "", pub->guest);
    if (pub->phase == APMIG_MIGRATION_ADMITTED)
        describe_admission(text, engine, migration);
    else if (pub->postcopy)
        g_string_append_printf(text, "is migrating %s in post-copy, which cannot be aborted", direction);
    else
        g_string_append_printf(text, "is migrating %s", direction);
    if (pub->phase != APMIG_MIGRATION_ADMITTED && !pub->outgoing && !pub->postcopy && !pub->permitted)
        g_string_append_printf(text, ": end it on its source host with: virsh domjobabort %s", pub->uuid);
    if (pub->permitted)
        g_string_append(text, " (which is permitted, so it is waited for)");
    else if (pub->outgoing && !pub->scope_known)
        g_string_append(text, " (its queues are not known, so it is left alone)");
}

char *
engine_describe_blockers(const ApmigEngine *engine, const Lock *lock)
{
    g_autoptr(GPtrArray) blockers = apmig_engine_blockers(engine, &lock->pub);
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < MIN(blockers->len, MIGRATIONS_MAX); i++)
        describe_migration(text, engine, g_ptr_array_index(blockers, i));
    if (blockers->len > MIGRATIONS_MAX)
        g_string_append_printf(text, " and %u more", blockers->len - MIGRATIONS_MAX);
    return g_string_free(text, FALSE);
}

/* Whether libvirt has agreed to abort it. */
static gboolean
is_asked_to_abort(const Migration *migration)
{
    for (guint i = 0; i < migration->pub.steps->len; i++) {
        const ApmigStepRecord *record = g_ptr_array_index(migration->pub.steps, i);

        if (record->step == APMIG_STEP_LIBVIRT_ABORT && record->outcome == APMIG_STEP_REQUESTED)
            return TRUE;
    }
    return FALSE;
}

/* A source whose connection to the destination is cut notices by its keepalive (qemuMigrationSrcPerformPeer2Peer() in
 * libvirt's src/qemu/qemu_migration.c: keepalive_interval and keepalive_count of qemu.conf, 5 s and 5), and until then has
 * the job of the migration that was aborted. */
const char *
engine_describe_lingering(const ApmigEngine *engine, const Lock *lock)
{
    g_autoptr(GPtrArray) blockers = apmig_engine_blockers(engine, &lock->pub);

    for (guint i = 0; i < blockers->len; i++) {
        const Migration *migration = g_ptr_array_index(blockers, i);

        if (migration->pub.outgoing && !migration->pub.postcopy && is_asked_to_abort(migration))
            return "; libvirt has taken the abort, and where the destination is cut off keeps such a job for 30 s more: "
                   "ask again then";
    }
    return "";
}

char *
apmig_engine_describe_wait(const ApmigEngine *engine, const ApmigLock *lock)
{
    GString *text = g_string_new(NULL);
    g_autofree char *blockers = engine_describe_blockers(engine, (const Lock *)lock);

    g_string_append(text, blockers);
    if (((const Lock *)lock)->keys_op)
        g_string_append_printf(text, "%sthe cards have not told yet whether the keys are in step",
                               text->len ? "; " : "");
    if (!lock->result && lock->state == APMIG_LOCK_DRAINING) {
        engine_describe_view(engine, lock->record->scope, ((const Lock *)lock)->proof_token, text);
        engine_describe_uses(engine, (const Lock *)lock, text);
    }
    if (!lock->result && (lock->state == APMIG_LOCK_DRAINING || lock->state == APMIG_LOCK_UNPROVEN)) {
        g_autofree char *silence = engine_describe_silence(engine, (const Lock *)lock);

        if (text->len == 0)
            g_string_append(text, silence);
    }
    return g_string_free(text, FALSE);
}

GPtrArray *
apmig_engine_check_guest(const ApmigEngine *engine, const ApmigGuestFacts *facts, char **ret_reason)
{
    g_autoptr(ApmigScope) all = apmig_scope_new_all();
    const ApmigScope *scope = facts->scope ? facts->scope : all;
    GPtrArray *locks = g_ptr_array_new();
    GString *reason = g_string_new(NULL);

    for (guint i = 0; facts->affected != APMIG_AFFECTED_NO && i < engine->locks->len; i++) {
        Lock *lock = g_ptr_array_index(engine->locks, i);
        g_autofree char *description = NULL;

        if (!apmig_scope_overlaps(lock->pub.record->scope, scope))
            continue;
        description = lock_describe(lock);
        g_string_append_printf(reason, "%s%s", reason->len ? "; " : "", description);
        g_ptr_array_add(locks, lock);
    }
    *ret_reason = g_string_free(reason, FALSE);
    return locks;
}
