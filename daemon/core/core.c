/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Carries events to the engine, and its actions to the store, the hypervisor, the log, listeners and callers.
 */
#include "core/private.h"

#include <sys/syslog.h>

#include <systemd/sd-id128.h>

#include "base/boot-time.h"
#include "base/log.h"

/* A write that takes longer than this is a stuck disk, which the watchdog shall see. */
#define WRITER_LIMIT_USEC (30 * G_USEC_PER_SEC)

/* So long the start waits for what is on disk; then it goes on without. */
#define LOAD_LIMIT_USEC (3 * (gint64)G_USEC_PER_SEC)

/* --- carrying out actions ------------------------------------------------------------------------ */

static void
publish(ApmigCore *core, void (*func)(const char *id, gpointer user_data), const char *id)
{
    if (func)
        func(id, core->listener_data);
}

/* Returns: whether @action was taken over. */
static gboolean
carry_out(ApmigCore *core, ApmigAction *action)
{
    switch (action->type) {
    case APMIG_ACTION_PERSIST_LOCK:
    case APMIG_ACTION_REMOVE_LOCK:
    case APMIG_ACTION_PERSIST_ADMISSION:
    case APMIG_ACTION_REMOVE_ADMISSION:
    case APMIG_ACTION_PERSIST_PERMIT:
    case APMIG_ACTION_REMOVE_PERMIT:
    case APMIG_ACTION_PERSIST_DECLARED:
        apmig_store_carry_out(core->store, action);
        return TRUE;
    case APMIG_ACTION_LIST_GUESTS:
        core->hypervisor->list_guests(core->hypervisor, action->query.token);
        break;
    case APMIG_ACTION_QUERY_GUEST:
        core->hypervisor->query_guest(core->hypervisor, action->query.token, action->query.uuid,
                                      action->query.want_facts);
        break;
    case APMIG_ACTION_HEARTBEAT:
        core->hypervisor->heartbeat(core->hypervisor, action->query.token, action->query.uuid);
        break;
    case APMIG_ACTION_RUN_STEP:
        if (action->step.kind == APMIG_STEP_LIBVIRT_ABORT)
            core->hypervisor->run_step(core->hypervisor, action->op, action->step.kind, action->step.uuid);
        else
            apmig_fencer_run(core->fencer, action);
        break;
    case APMIG_ACTION_LOOK_AT_GUEST:
        apmig_fencer_look(core->fencer, action);
        break;
    case APMIG_ACTION_READ_KEYS:
        core_carry_out_reading(core, action);
        break;
    case APMIG_ACTION_STAMP_GUEST:
        core_carry_out_stamp(core, action);
        return TRUE;
    case APMIG_ACTION_READ_USES:
        core_read_uses(core, action);
        break;
    case APMIG_ACTION_REPLY_TAKEN:
    case APMIG_ACTION_REPLY_RELEASED:
    case APMIG_ACTION_REPLY_AMENDED:
    case APMIG_ACTION_REPLY_VERDICT:
    case APMIG_ACTION_REPLY_PERMIT:
    case APMIG_ACTION_REPLY_ADMIT:
    case APMIG_ACTION_REPLY_DECLARED:
    case APMIG_ACTION_REPLY_ERROR:
        core_reply(core, action);
        return TRUE;
    case APMIG_ACTION_PUBLISH_LOCK:
        core_watch_lock(core, action->id);
        publish(core, core->listener.lock_changed, action->id);
        break;
    case APMIG_ACTION_FORGET_LOCK:
        publish(core, core->listener.lock_forgotten, action->id);
        break;
    case APMIG_ACTION_PUBLISH_MIGRATION:
        core_watch_migration(core, action->id);
        publish(core, core->listener.migration_changed, action->id);
        break;
    case APMIG_ACTION_FORGET_MIGRATION:
        apmig_fencer_forget(core->fencer, action->id);
        publish(core, core->listener.migration_forgotten, action->id);
        break;
    case APMIG_ACTION_PUBLISH_PERMITS:
        if (core->listener.permits_changed)
            core->listener.permits_changed(core->listener_data);
        break;
    case APMIG_ACTION_PUBLISH_VIEW:
        if (core->listener.view_changed)
            core->listener.view_changed(core->listener_data);
        break;
    case APMIG_ACTION_LOG:
        apmig_log_entry(&action->entry);
        break;
    }
    return FALSE;
}

/* The deadline is one of boot time, the source's of monotonic time: they differ while the host sleeps, after which
 * the source is late by that much at most once. */
static void
set_deadline(ApmigCore *core)
{
    gint64 deadline = apmig_engine_next_deadline(core->engine);

    if (deadline == G_MAXINT64)
        g_source_set_ready_time(core->deadline_source, -1);
    else
        g_source_set_ready_time(core->deadline_source,
                                MAX(g_get_monotonic_time() + deadline - apmig_boot_time(), 0));
}

void
core_handle(ApmigCore *core, ApmigEvent *event)
{
    g_autoptr(GPtrArray) actions = g_ptr_array_new();

    event->now = apmig_boot_time();
    event->realtime = g_get_real_time();
    apmig_engine_handle(core->engine, event, actions);
    for (guint i = 0; i < actions->len; i++) {
        ApmigAction *action = g_ptr_array_index(actions, i);

        if (!carry_out(core, action))
            apmig_action_free(action);
    }
    set_deadline(core);
}

static gboolean
deadline_reached(GSource *source, GSourceFunc callback, gpointer user_data)
{
    return callback(user_data);
}

static gboolean
handle_deadline(gpointer user_data)
{
    core_handle(user_data, &(ApmigEvent){.type = APMIG_EVENT_DEADLINE});
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs deadline_funcs = {.dispatch = deadline_reached};

/* --- what the store answers ---------------------------------------------------------------------- */

G_GNUC_PRINTF(1, 2)
static void
log_unread(const char *format, ...)
{
    g_autofree char *message = NULL;
    va_list args;

    va_start(args, format);
    message = g_strdup_vprintf(format, args);
    va_end(args);
    apmig_log_entry(
        &(ApmigLogEntry){.log = APMIG_LOG_STATE_FAILURE, .priority = LOG_ERR, .message = message});
}

static void
store_answered(const ApmigEvent *answer, gpointer user_data)
{
    ApmigCore *core = user_data;
    ApmigEvent event = *answer;

    if (event.type == APMIG_EVENT_DECLARED_PERSISTED)
        apmig_declarer_persisted(core->declarer, event.persisted.op, event.persisted.error);
    else
        core_handle(core, &event);
}

/* From now on nothing can be read, or what was read counts. Without, nothing affected is let in and no lock is taken. */
static void
store_loaded(const ApmigStoreLoaded *loaded, gpointer user_data)
{
    ApmigCore *core = user_data;

    if (loaded->error) {
        core->load_error = g_error_copy(loaded->error);
        if (core->is_started)
            log_unread(
                "what is on disk cannot be read (%s): no lock is taken and no affected guest let in; mend that "
                "and restart apmigd",
                loaded->error->message);
        return;
    }
    for (guint i = 0; i < loaded->damage->len; i++)
        apmig_log(LOG_ERR, "%s", (const char *)g_ptr_array_index(loaded->damage, i));
    core_add_declared(core, loaded->declared);
    core_handle(core, &(ApmigEvent){.type = APMIG_EVENT_STORE_LOADED,
                                    .store_loaded = {loaded->locks, loaded->admissions, loaded->permits}});
    if (core->is_started)
        apmig_log(LOG_NOTICE, "what is on disk has been read");
}

static const ApmigStoreFuncs store_funcs = {store_answered, store_loaded};

/* Returns: FALSE: it cannot be read. That it does not answer is no error. */
static gboolean
load(ApmigCore *core, GError **error)
{
    gboolean is_loaded;

    apmig_store_start(core->store, &store_funcs, core);
    is_loaded = apmig_store_wait_until_loaded(core->store, LOAD_LIMIT_USEC);
    core->is_started = TRUE;
    if (core->load_error) {
        g_propagate_error(error, g_error_copy(core->load_error));
        return FALSE;
    }
    if (!is_loaded)
        log_unread(
            "the locks on disk have not been read yet, for the disk does not answer: until it has answered no "
            "lock is taken and no affected guest let in");
    return TRUE;
}

/* --- what the hypervisor says --------------------------------------------------------------------- */

static void
view_started(const char *uri, gboolean has_hook, gpointer user_data)
{
    ApmigCore *core = user_data;

    apmig_log(LOG_INFO, "connected to %s", uri);
    core->has_hook = has_hook;
    core_handle(core, &(ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
}

static void
told(const ApmigEvent *news, gpointer user_data)
{
    ApmigCore *core = user_data;
    ApmigEvent event = *news;

    if (event.type == APMIG_EVENT_VIEW_LOST)
        core_stamps_lost(core, event.view_lost.reason);
    else if (event.type == APMIG_EVENT_STAMP_FINISHED)
        apmig_stamp_queue_next(core->stamps);
    core_handle(core, &event);
}

static const ApmigHypervisorCallbacks hypervisor_callbacks = {view_started, told, core_other_keys};

static void
step_finished(const ApmigFencerAnswer *answer, gpointer core)
{
    core_handle(core, &(ApmigEvent){.type = APMIG_EVENT_STEP_FINISHED,
                                    .step = {answer->op, answer->outcome, answer->message, answer->qemu,
                                             answer->state_is_vain}});
}

static void
looked_at(guint64 op, gboolean saving, gpointer core)
{
    core_handle(core, &(ApmigEvent){.type = APMIG_EVENT_GUEST_LOOKED_AT, .looked_at = {op, saving}});
}

/* The queues of any guest may be others now, and what is known of the hardware is old. */
static void
ap_changed(gpointer user_data)
{
    ApmigCore *core = user_data;

    core_read_host(core);
    core_tell_hardware(core);
    core_handle(core, &(ApmigEvent){.type = APMIG_EVENT_HINT});
}

/* --- life ---------------------------------------------------------------------------------------- */

ApmigCore *
apmig_core_new(const ApmigPolicy *policy, ApmigStore *store, ApmigHypervisor *hypervisor,
               ApmigKeyView *key_view, ApmigHostIdentity *identity, const char *hooks_dir,
               const char *fence_socket, gboolean has_hook)
{
    ApmigCore *core = g_new0(ApmigCore, 1);
    char run_id[SD_ID128_STRING_MAX];
    sd_id128_t random;

    if (sd_id128_randomize(&random) < 0)
        random = SD_ID128_NULL; /* ids then repeat those of an earlier run, at worst */
    sd_id128_to_string(random, run_id);
    run_id[8] = '\0';
    core->engine = apmig_engine_new(policy, run_id);
    core->store = store;
    core->hypervisor = hypervisor;
    core->fencer = apmig_fencer_new(fence_socket, step_finished, looked_at, core);
    core->key_view = key_view;
    core->identity = identity;
    core->stamp_trouble = g_strdup(identity->no_id ? identity->no_id : "");
    core->key_readings = g_hash_table_new_full(NULL, NULL, g_free, NULL);
    core->uncovered = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    core->stamps = apmig_stamp_queue_new(hypervisor);
    core_checks_init(core);
    core->declarer = apmig_declarer_new(store, key_view);
    core->guest_lister = apmig_guest_lister_new(hypervisor);
    core->queue_lister = apmig_queue_lister_new(core->guest_lister, key_view);
    core->remap_devices = policy->remap_devices;
    core_expect_arrivals(core);
    core_keys_begin(core, policy);
    core_watch_begin(core, policy);
    core->policy_trouble = g_strdup("");
    core->hooks_dir = g_strdup(hooks_dir);
    core->has_hook = has_hook;
    core->callers = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    g_queue_init(&core->replies);
    g_queue_init(&core->due_stamps);
    core->deadline_source = g_source_new(&deadline_funcs, sizeof(GSource));
    g_source_set_name(core->deadline_source, "apmigd deadline");
    g_source_set_callback(core->deadline_source, handle_deadline, core, NULL);
    g_source_attach(core->deadline_source, NULL);
    return core;
}

void
apmig_core_free(ApmigCore *core)
{
    if (!core)
        return;
    g_source_destroy(core->deadline_source);
    g_source_unref(core->deadline_source);
    if (core->reply_source)
        g_source_destroy(core->reply_source);
    g_clear_pointer(&core->reply_source, g_source_unref);
    apmig_ap_monitor_free(core->ap_monitor);
    apmig_queue_lister_free(core->queue_lister);
    apmig_guest_lister_free(core->guest_lister);
    apmig_declarer_free(core->declarer);
    core_watch_end(core);
    core->hypervisor->free(core->hypervisor);
    apmig_stamp_queue_free(core->stamps);
    apmig_host_identity_free(core->identity);
    g_free(core->stamp_trouble);
    apmig_fencer_free(core->fencer);
    apmig_key_view_free(core->key_view);
    g_ptr_array_unref(core->arrivals);
    g_hash_table_unref(core->key_readings);
    g_hash_table_unref(core->uncovered);
    g_hash_table_unref(core->checkings);
    apmig_store_free(core->store);
    apmig_engine_free(core->engine);
    g_queue_clear_full(&core->replies, (GDestroyNotify)apmig_action_free);
    g_queue_clear_full(&core->due_stamps, (GDestroyNotify)apmig_action_free);
    g_hash_table_unref(core->callers);
    g_free(core->hooks_dir);
    g_free(core->policy_trouble);
    g_clear_error(&core->load_error);
    g_free(core);
}

void
apmig_core_set_listener(ApmigCore *core, const ApmigCoreListener *listener, gpointer user_data)
{
    core->listener = *listener;
    core->listener_data = user_data;
}

gboolean
apmig_core_start(ApmigCore *core, GError **error)
{
    if (core->identity->no_id)
        apmig_log(LOG_WARNING, "%s", core->identity->no_id);
    core_tell_hardware(core);
    core_read_host(core);
    if (!load(core, error))
        return FALSE;
    core->hypervisor->start(core->hypervisor, &hypervisor_callbacks, core);
    core->ap_monitor = apmig_ap_monitor_new(ap_changed, core);
    return TRUE;
}

/* --- what it is asked at once -------------------------------------------------------------------- */

const ApmigHostIdentity *
apmig_core_identity(const ApmigCore *core)
{
    return core->identity;
}

const char *
apmig_core_stamp_trouble(const ApmigCore *core)
{
    return core->stamp_trouble;
}

const ApmigEngine *
apmig_core_engine(const ApmigCore *core)
{
    return core->engine;
}

void
apmig_core_set_policy(ApmigCore *core, const ApmigPolicy *policy)
{
    core_keys_policy(core, policy);
    core_watch_policy(core, policy);
    core->remap_devices = policy->remap_devices;
    core_handle(core, &(ApmigEvent){.type = APMIG_EVENT_POLICY_CHANGED, .policy = policy});
    apmig_core_set_policy_trouble(core, "");
}

void
apmig_core_set_policy_trouble(ApmigCore *core, const char *trouble)
{
    g_free(core->policy_trouble);
    core->policy_trouble = g_strdup(trouble);
    if (core->listener.policy_changed)
        core->listener.policy_changed(core->listener_data);
}

const char *
apmig_core_policy_trouble(const ApmigCore *core)
{
    return core->policy_trouble;
}

gint64
apmig_core_hook_last_called(const ApmigCore *core)
{
    return core->hook_last_called;
}

gboolean
apmig_core_is_alive(ApmigCore *core)
{
    return !apmig_store_writer_is_stuck(core->store, apmig_boot_time(), WRITER_LIMIT_USEC);
}
