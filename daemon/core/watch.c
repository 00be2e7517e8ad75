/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The core's watch of the host: what may not change and when, when that is read, and what follows when it has changed.
 *
 * The AP configuration has to stay while a lock is in force or a guest migrates. It is read whenever anything reads it:
 * after udev's events, where cards are watched, and for callers. Most changes have no event, so besides once when a lock is
 * held or a migration begins, and once when either ends. Master keys have to stay where there is no lock; the cards are
 * asked about them as often as the policy says. Either is read again at once where a reading is not enough.
 */
#include "core/private.h"

#include <sys/syslog.h>

#include "ap/config-facts.h"
#include "base/log.h"
#include "base/text.h"
#include "core/leftover.h"
#include "keys/facts.h"

#define FRESH_USEC      (3 * G_USEC_PER_SEC) /* a guest is judged by a reading of just before */
#define KEYS_LIMIT_USEC (5 * G_USEC_PER_SEC)

/* The reading that has to agree comes at once, those after it are apart by so much more each, and so many of them are
 * asked for in a row. */
#define AGAIN_MSEC 250
#define AGAIN_MAX  8

/* The configuration, or keys. */
typedef struct {
    ApmigCore *core;
    ApmigWatch *watch;
    ApmigLog log;
    void (*read)(ApmigCore *core);
    ApmigOnUnannounced on_change; /* the policy's */
    guint n_again, again; /* how often it was read again in a row, and when it will be; 0: it will not */
} Watched;

struct CoreWatch {
    Watched config, keys;
    ApmigLeftovers *leftovers;
    gint64 interval; /* between two readings of keys; 0: none */
    guint timeout;
    gint64 asked_at;         /* monotonic: when the cards were asked last */
    gboolean keys_are_read;  /* they are being asked */
    gboolean keys_are_stale; /* a lock has ended since then, so they tell of a time under it */
};

/* --- what has changed ---------------------------------------------------------------------------- */

static ApmigScope *
list_covered(const ApmigCore *core)
{
    g_autoptr(GPtrArray) locks = apmig_engine_list_locks(core->engine);
    ApmigScope *covered = apmig_scope_new_none();

    for (guint i = 0; i < locks->len; i++) {
        const ApmigLock *lock = g_ptr_array_index(locks, i);
        ApmigScope *both = apmig_scope_union(covered, lock->record->scope);

        apmig_scope_unref(covered);
        covered = both;
    }
    return covered;
}

static void
taken(const ApmigAction *reply, gpointer user_data)
{
    g_autoptr(GError) error = apmig_reply_get_error(reply);

    if (error)
        apmig_log(LOG_ERR, "apmigd could not take a lock by itself: %s", error->message);
}

static void
take_lock(ApmigCore *core, ApmigScope *scope, const char *message)
{
    g_autofree char *id = apmig_core_new_id(core);
    g_autofree char *reason = apmig_text_escape(message, APMIG_REASON_MAX_LENGTH);

    apmig_core_request(core,
                       &(ApmigEvent){.type = APMIG_EVENT_TAKE,
                                     .take = {.id = id,
                                              .scope = scope,
                                              .reason = reason,
                                              .origin = APMIG_LOCK_BY_ITSELF,
                                              .user = "apmigd",
                                              .no_wait = TRUE}},
                       taken, NULL);
}

/* What is free of it. Whoever changes one adapter's keys changes the others': of keys the whole domain, where that is. */
static void
lock_by_itself(const Watched *watched, const ApmigWatchChanges *changes)
{
    ApmigCore *core = watched->core;
    g_autoptr(ApmigScope) covered = list_covered(core);
    g_autoptr(ApmigScope) group = apmig_key_group(changes->queues);
    g_autoptr(ApmigScope) left = apmig_scope_without(changes->queues, covered);

    if (watched == &core->watch->keys && !apmig_scope_overlaps(covered, group))
        take_lock(core, group, changes->message);
    else if (!apmig_scope_is_none(left))
        take_lock(core, left, changes->message);
}

static void
publish(const Watched *watched, const ApmigWatchChanges *changes)
{
    const ApmigCore *core = watched->core;

    if (watched == &core->watch->keys && core->listener.keys_changed)
        core->listener.keys_changed(changes, core->listener_data);
    if (watched == &core->watch->config && core->listener.config_changed)
        core->listener.config_changed(changes, core->listener_data);
}

static void
react(const Watched *watched, const ApmigWatchChanges *changes)
{
    apmig_log_entry(&(ApmigLogEntry){.log = watched->log, .priority = LOG_ERR, .message = changes->message});
    publish(watched, changes);
    if (watched->on_change == APMIG_ON_UNANNOUNCED_LOCK)
        lock_by_itself(watched, changes);
}

static gboolean
read_again(gpointer user_data)
{
    Watched *watched = user_data;

    watched->again = 0;
    watched->read(watched->core);
    return G_SOURCE_REMOVE;
}

static void
read_again_if_unsettled(Watched *watched)
{
    if (!apmig_watch_is_unsettled(watched->watch))
        watched->n_again = 0;
    else if (watched->again == 0 && watched->n_again < AGAIN_MAX)
        watched->again = g_timeout_add(AGAIN_MSEC * watched->n_again++, read_again, watched);
}

static void
observe(Watched *watched, GHashTable *facts, gint64 asked_at, gint64 began_at)
{
    g_autoptr(ApmigWatchChanges) changes = apmig_watch_observe(watched->watch, facts, asked_at, began_at);

    if (watched->on_change == APMIG_ON_UNANNOUNCED_IGNORE)
        return;
    if (changes)
        react(watched, changes);
    read_again_if_unsettled(watched);
}

/* --- the AP configuration ------------------------------------------------------------------------ */

/* Held once is in force, whatever it is now; also the old lock of an earlier run of apmigd: whoever holds it was told so
 * then. That it is held may be known a moment before that is written. */
static gboolean
is_in_force(const ApmigLock *lock)
{
    switch (lock->state) {
    case APMIG_LOCK_HELD:
    case APMIG_LOCK_PERMITTED:
    case APMIG_LOCK_UNPROVEN:
    case APMIG_LOCK_BREACHED:
        return !lock->result;
    case APMIG_LOCK_REQUESTED:
    case APMIG_LOCK_DRAINING:
    case APMIG_LOCK_VERIFYING:
        break;
    }
    return !lock->result && lock->record->held_at != 0;
}

static void
tell_coverages(ApmigCore *core)
{
    g_autoptr(GPtrArray) locks = apmig_engine_list_locks(core->engine);

    for (guint i = 0; i < locks->len; i++)
        if (is_in_force(g_ptr_array_index(locks, i)))
            core_tell_coverage(core, g_ptr_array_index(locks, i));
}

static void
host_was_read(const ApmigApHost *host, gint64 asked_at, gint64 began_at, gpointer user_data)
{
    ApmigCore *core = user_data;
    g_autoptr(GHashTable) facts = apmig_config_facts(host);

    observe(&core->watch->config, facts, asked_at, began_at);
    apmig_leftovers_read(core->watch->leftovers, host, began_at);
    tell_coverages(core);
}

static void
read_for_comparison(ApmigCore *core)
{
    if (core->watch->config.on_change != APMIG_ON_UNANNOUNCED_IGNORE)
        core_read_host(core);
}

/* The verification of keys reads the host's hardware, too; a release without it does not. */
void
core_watch_release(ApmigCore *core, const char *id)
{
    const ApmigLock *lock = apmig_engine_lookup_lock(core->engine, id);

    if (lock && is_in_force(lock))
        read_for_comparison(core);
}

static void
follow_leftovers(ApmigCore *core, const ApmigMigration *migration)
{
    if (apmig_leftovers_follow(core->watch->leftovers, migration,
                               apmig_key_view_host(core->key_view, FRESH_USEC)))
        core_read_host(core);
}

/* So that the next one who asks is told what is so by then. */
char *
apmig_core_describe_device_trouble(ApmigCore *core)
{
    char *trouble = apmig_leftovers_describe(core->watch->leftovers);

    if (*trouble)
        core_read_host(core);
    return trouble;
}

/* Of a guest whose queues are not known nothing has to stay. One that comes in brings its source's configuration, which
 * the kernel gives to its device. */
void
core_watch_migration(ApmigCore *core, const char *id)
{
    ApmigWatch *watch = core->watch->config.watch;
    const ApmigMigration *migration = apmig_engine_lookup_migration(core->engine, id);
    gint64 now = g_get_monotonic_time();
    g_autofree char *what = NULL;

    if (migration)
        follow_leftovers(core, migration);
    if (!migration || migration->phase == APMIG_MIGRATION_ENDED) {
        /* The reading is asked for first: one that is asked for after the end is not compared. */
        if (migration && migration->scope_known)
            read_for_comparison(core);
        apmig_watch_end(watch, id, g_get_monotonic_time());
    } else if (migration->scope_known) {
        what = g_strdup_printf("while guest %s migrates %s", migration->guest,
                               apmig_migration_direction(migration));
        if (apmig_watch_begin(watch, id, what, migration->scope,
                              migration->outgoing ? NULL : (const char *const *)migration->devices, now))
            read_for_comparison(core);
    }
}

/* --- master keys --------------------------------------------------------------------------------- */

/* Anew for each reading. A NEW that is loaded is told of by the first one already, so the reason is older than that. */
static void
watch_what_is_free(ApmigCore *core)
{
    g_autoptr(ApmigScope) all = apmig_scope_new_all();
    g_autoptr(ApmigScope) covered = list_covered(core);
    g_autoptr(ApmigScope) left = apmig_scope_without(all, covered);

    apmig_watch_begin(core->watch->keys.watch, "", "although nobody has locked them", left, NULL, G_MININT64);
}

static void
keys_were_read(const ApmigApHost *host, const GPtrArray *readings, const ApmigEvidence *evidence,
               const char *error, gpointer user_data)
{
    ApmigCore *core = user_data;
    CoreWatch *watch = core->watch;
    gboolean counts = readings && !watch->keys_are_stale;
    g_autoptr(GHashTable) facts = counts ? apmig_key_facts(readings) : NULL;

    watch->keys_are_read = watch->keys_are_stale = FALSE;
    if (watch->interval == 0)
        return;
    if (!counts) {
        read_again_if_unsettled(&watch->keys);
        return;
    }
    watch_what_is_free(core);
    observe(&watch->keys, facts, watch->asked_at, watch->asked_at);
}

static void
read_keys(ApmigCore *core)
{
    CoreWatch *watch = core->watch;
    g_autoptr(ApmigScope) all = apmig_scope_new_all();

    if (watch->keys_are_read)
        return;
    watch->keys_are_read = TRUE;
    watch->asked_at = g_get_monotonic_time();
    apmig_key_view_read(core->key_view, all, 0, KEYS_LIMIT_USEC, keys_were_read, core);
}

static gboolean
on_due(gpointer core)
{
    read_keys(core);
    return G_SOURCE_CONTINUE;
}

static void
set_interval(ApmigCore *core, gint64 interval_usec)
{
    CoreWatch *watch = core->watch;

    if (interval_usec == watch->interval)
        return;
    watch->interval = interval_usec;
    g_clear_handle_id(&watch->timeout, g_source_remove);
    g_clear_handle_id(&watch->keys.again, g_source_remove);
    if (interval_usec > 0)
        watch->timeout = g_timeout_add((guint)(interval_usec / 1000), on_due, core);
}

/* --- locks: the configuration stays, and keys may change ----------------------------------------- */

static void
lock_ended(ApmigCore *core, const ApmigLock *lock)
{
    apmig_key_facts_forget(core->watch->keys.watch, lock->record->scope);
    core->watch->keys_are_stale = core->watch->keys_are_read;
    core_forget_fresh_keys(core);
    core_forget_coverage(core, lock->record->id);
}

void
core_watch_lock(ApmigCore *core, const char *id)
{
    ApmigWatch *watch = core->watch->config.watch;
    const ApmigLock *lock = apmig_engine_lookup_lock(core->engine, id);
    g_autofree char *what = g_strdup_printf("under lock %s", id);
    gint64 now = g_get_monotonic_time();

    if (lock && lock->result)
        lock_ended(core, lock);
    if (lock && is_in_force(lock))
        core_tell_coverage(core, lock);
    if (!lock || !is_in_force(lock))
        apmig_watch_end(watch, id, now);
    else if (apmig_watch_begin(watch, id, what, lock->record->scope, NULL, now))
        read_for_comparison(core);
}

/* --- life ---------------------------------------------------------------------------------------- */

void
core_watch_policy(ApmigCore *core, const ApmigPolicy *policy)
{
    core->watch->config.on_change = policy->on_config_change;
    core->watch->keys.on_change = policy->on_unannounced;
    set_interval(core, policy->watch_keys_usec);
}

void
core_watch_begin(ApmigCore *core, const ApmigPolicy *policy)
{
    core->watch = g_new0(CoreWatch, 1);
    core->watch->leftovers = apmig_leftovers_new();
    core->watch->config = (Watched){.core = core,
                                    .watch = apmig_watch_new(&apmig_config_kind),
                                    .log = APMIG_LOG_CONFIG_CHANGED,
                                    .read = core_read_host};
    core->watch->keys = (Watched){.core = core,
                                  .watch = apmig_watch_new(&apmig_key_kind),
                                  .log = APMIG_LOG_KEYS_CHANGED,
                                  .read = read_keys};
    apmig_key_view_set_host_func(core->key_view, host_was_read, core);
    core_watch_policy(core, policy);
}

void
core_watch_end(ApmigCore *core)
{
    CoreWatch *watch = core->watch;

    g_clear_handle_id(&watch->timeout, g_source_remove);
    g_clear_handle_id(&watch->config.again, g_source_remove);
    g_clear_handle_id(&watch->keys.again, g_source_remove);
    apmig_watch_free(watch->config.watch);
    apmig_watch_free(watch->keys.watch);
    apmig_leftovers_free(watch->leftovers);
    g_free(watch);
}
