/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <sys/syslog.h>

#include <systemd/sd-id128.h>

#include "ap-monitor.h"
#include "boot-time.h"
#include "core.h"
#include "fence-steps.h"
#include "hook-presence.h"
#include "host-id.h"
#include "log.h"
#include "stamp-queue.h"
#include "text.h"

/* A write that takes longer than this is a stuck disk, which the watchdog shall see. */
#define WRITER_LIMIT_USEC (30 * G_USEC_PER_SEC)
/* For reading this host's crypto hardware after it has changed. */
#define HOST_LIMIT_USEC (30 * G_USEC_PER_SEC)
/* Most changes of crypto hardware have no event: a guest is not refused for what was so earlier. */
#define HOST_MAX_AGE_USEC (30 * G_USEC_PER_SEC)

/* Of what is read because somebody asks. */
#define LIST_LIMIT_USEC (5 * G_USEC_PER_SEC)
#define FRESH_USEC      G_USEC_PER_SEC /* anybody may ask, and asking is work for the cards */

typedef struct {
    ApmigReplyFunc reply;
    ApmigAdmitFunc admit;
    ApmigDeclaredFunc declared;
    gpointer user_data;
} Caller;

/* For which action the key view reads. */
typedef struct {
    ApmigCore *core;
    guint64 op;
} KeyReading;

/* For whom declarations are under way; the caller may be gone when they are done. */
typedef struct {
    ApmigCore *core;
    ApmigCaller caller;
} Declaring;

struct ApmigCore {
    ApmigEngine *engine;
    ApmigStore *store;
    ApmigHypervisor *hypervisor;
    ApmigFencer *fencer;
    ApmigApMonitor *ap_monitor; /* NULL until started */
    ApmigKeyView *key_view;
    ApmigDeclarer *declarer;
    GHashTable *key_readings; /* set of KeyReading: under way */
    GHashTable *declarings;   /* set of Declaring: under way */
    ApmigKeyGuard *key_guard;
    gint64 evidence_interval; /* the policy's, as the next */
    ApmigOnUnannounced on_unannounced;
    ApmigQueueLister *queue_lister;
    ApmigStampQueue *stamps;
    char *host_id; /* in stamps; NULL: it has none */
    ApmigCoreListener listener;
    gpointer listener_data;
    char *hooks_dir;
    gboolean has_hook;
    gint64 hook_last_called;
    ApmigCaller last_caller;
    GHashTable *callers; /* number -> Caller */
    GQueue replies;      /* of ApmigAction: answers not given yet */
    GSource *reply_source;
    GSource *deadline_source;
};

/* --- answering callers --------------------------------------------------------------------------- */

static void
answer(ApmigCore *core, const ApmigAction *action)
{
    Caller *caller = g_hash_table_lookup(core->callers, GSIZE_TO_POINTER(action->caller));
    g_autoptr(GError) error = NULL;

    if (!caller)
        return; /* gone meanwhile */
    if (action->type == APMIG_ACTION_REPLY_ERROR)
        error = g_error_new_literal(APMIG_ERROR, action->code, action->message);
    if (caller->admit)
        caller->admit(action->allowed, action->message, caller->user_data);
    else
        caller->reply(action->id, error, caller->user_data);
    g_hash_table_remove(core->callers, GSIZE_TO_POINTER(action->caller));
}

static gboolean
answer_all(gpointer user_data)
{
    ApmigCore *core = user_data;

    g_clear_pointer(&core->reply_source, g_source_unref);
    while (!g_queue_is_empty(&core->replies)) {
        g_autoptr(ApmigAction) action = g_queue_pop_head(&core->replies);

        answer(core, action);
    }
    return G_SOURCE_REMOVE;
}

/* Deferred, so that a caller never gets its answer from within its own call. */
static void
answer_soon(ApmigCore *core, ApmigAction *action)
{
    g_queue_push_tail(&core->replies, action);
    if (core->reply_source)
        return;
    core->reply_source = g_idle_source_new();
    g_source_set_priority(core->reply_source, G_PRIORITY_HIGH);
    g_source_set_callback(core->reply_source, answer_all, core, NULL);
    g_source_attach(core->reply_source, NULL);
}

static ApmigCaller
add_caller(ApmigCore *core, ApmigReplyFunc reply, ApmigAdmitFunc admit, gpointer user_data)
{
    Caller *caller = g_new0(Caller, 1);

    caller->reply = reply;
    caller->admit = admit;
    caller->user_data = user_data;
    g_hash_table_insert(core->callers, GSIZE_TO_POINTER(++core->last_caller), caller);
    return core->last_caller;
}

static void keys_read(const ApmigApHost *host, const GPtrArray *readings, const ApmigEvidence *evidence,
                      const char *error, gpointer user_data);

/* --- carrying out actions ------------------------------------------------------------------------ */

static void
publish(ApmigCore *core, void (*func)(const char *id, gpointer user_data), const char *id)
{
    if (func)
        func(id, core->listener_data);
}

static void
heed_end(ApmigCore *core, const char *id)
{
    const ApmigLock *lock = apmig_engine_lookup_lock(core->engine, id);

    if (lock && lock->result)
        apmig_key_guard_lock_ended(core->key_guard, lock->record->scope);
}

static void
read_keys(ApmigCore *core, const ApmigAction *action)
{
    KeyReading *reading = g_new(KeyReading, 1);

    *reading = (KeyReading){core, action->op};
    g_hash_table_add(core->key_readings, reading);
    /* One card that is late must not leave the others unheard: there is time left for the answer. */
    apmig_key_view_read(core->key_view, action->scope, 0, action->limit_usec / 10 * 8, keys_read, reading);
}

/* What this host knows of itself, to compare with what a guest brings and to tell of in stamps: the one place that says.
 * @ret_hardware: (out) (optional) (transfer none) (nullable) */
static const ApmigEvidence *
know_host(const ApmigCore *core, const ApmigApHost **ret_hardware)
{
    if (ret_hardware)
        *ret_hardware = apmig_key_view_host(core->key_view, HOST_MAX_AGE_USEC);
    return apmig_key_view_evidence(core->key_view);
}

static void
stamp_guest(ApmigCore *core, const ApmigAction *action)
{
    apmig_stamp_queue_write(
        core->stamps, action->op, action->uuid,
        apmig_stamp_order_new(action, core->host_id, g_get_real_time(), know_host(core, NULL)));
}

/* Returns: whether @action was taken over. */
static gboolean
carry_out(ApmigCore *core, ApmigAction *action)
{
    switch (action->type) {
    case APMIG_ACTION_PERSIST_LOCK:
        apmig_store_persist_lock(core->store, action->op, action->record);
        break;
    case APMIG_ACTION_REMOVE_LOCK:
        apmig_store_remove_lock(core->store, action->op, action->record);
        break;
    case APMIG_ACTION_PERSIST_ADMISSION:
        apmig_store_persist_admission(core->store, action->op, action->admission);
        break;
    case APMIG_ACTION_REMOVE_ADMISSION:
        apmig_store_remove_admission(core->store, action->admission->uuid);
        break;
    case APMIG_ACTION_LIST_GUESTS:
        core->hypervisor->list_guests(core->hypervisor, action->token);
        break;
    case APMIG_ACTION_QUERY_GUEST:
        core->hypervisor->query_guest(core->hypervisor, action->token, action->uuid, action->want_facts);
        break;
    case APMIG_ACTION_RUN_STEP:
        if (action->step == APMIG_STEP_LIBVIRT_ABORT)
            core->hypervisor->run_step(core->hypervisor, action->op, action->step, action->uuid);
        else
            apmig_fencer_run(core->fencer, action);
        break;
    case APMIG_ACTION_READ_KEYS:
        read_keys(core, action);
        break;
    case APMIG_ACTION_STAMP_GUEST:
        stamp_guest(core, action);
        break;
    case APMIG_ACTION_REPLY_TAKEN:
    case APMIG_ACTION_REPLY_RELEASED:
    case APMIG_ACTION_REPLY_ADMIT:
    case APMIG_ACTION_REPLY_ERROR:
        answer_soon(core, action);
        return TRUE;
    case APMIG_ACTION_PUBLISH_LOCK:
        heed_end(core, action->id);
        publish(core, core->listener.lock_changed, action->id);
        break;
    case APMIG_ACTION_FORGET_LOCK:
        publish(core, core->listener.lock_forgotten, action->id);
        break;
    case APMIG_ACTION_PUBLISH_MIGRATION:
        publish(core, core->listener.migration_changed, action->id);
        break;
    case APMIG_ACTION_FORGET_MIGRATION:
        apmig_fencer_forget(core->fencer, action->id);
        publish(core, core->listener.migration_forgotten, action->id);
        break;
    case APMIG_ACTION_PUBLISH_VIEW:
        if (core->listener.view_changed)
            core->listener.view_changed(core->listener_data);
        break;
    case APMIG_ACTION_LOG:
        apmig_log_entry(action);
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

static void
handle(ApmigCore *core, ApmigEvent *event)
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
deadline_reached(G_GNUC_UNUSED GSource *source, GSourceFunc callback, gpointer user_data)
{
    return callback(user_data);
}

static gboolean
handle_deadline(gpointer user_data)
{
    handle(user_data, &(ApmigEvent){.type = APMIG_EVENT_DEADLINE});
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs deadline_funcs = {.dispatch = deadline_reached};

/* --- what the store answers ---------------------------------------------------------------------- */

static void
lock_persisted(guint64 op, const char *error, gpointer core)
{
    handle(core, &(ApmigEvent){.type = APMIG_EVENT_LOCK_PERSISTED, .persisted = {op, error}});
}

static void
lock_removed(guint64 op, const char *error, gpointer core)
{
    handle(core, &(ApmigEvent){.type = APMIG_EVENT_LOCK_REMOVED, .persisted = {op, error}});
}

static void
admission_persisted(guint64 op, const char *error, gpointer core)
{
    handle(core, &(ApmigEvent){.type = APMIG_EVENT_ADMISSION_PERSISTED, .persisted = {op, error}});
}

static void
declared_persisted(guint64 op, const char *error, gpointer user_data)
{
    const ApmigCore *core = user_data;

    apmig_declarer_persisted(core->declarer, op, error);
}

static const ApmigStoreCallbacks store_callbacks = {lock_persisted, lock_removed, admission_persisted,
                                                    declared_persisted};

/* --- what the hypervisor says --------------------------------------------------------------------- */

static void
view_started(const char *uri, gboolean has_hook, gpointer user_data)
{
    ApmigCore *core = user_data;

    apmig_log(LOG_INFO, "connected to %s", uri);
    core->has_hook = has_hook;
    handle(core, &(ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
}

static void
view_lost(const char *reason, gpointer user_data)
{
    ApmigCore *core = user_data;

    apmig_stamp_queue_lost(core->stamps, reason);
    handle(core, &(ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {reason}});
}

static void
listed(guint64 token, const char *error, const ApmigGuestName *guests, guint n_guests, gpointer core)
{
    handle(core,
           &(ApmigEvent){.type = APMIG_EVENT_GUESTS_LISTED, .listed = {token, error, guests, n_guests}});
}

static void
answered(const ApmigEvent *guest_answer, gpointer core)
{
    ApmigEvent event = *guest_answer;

    handle(core, &event);
}

static void
step_finished(guint64 op, ApmigStepOutcome outcome, const char *message, gpointer core)
{
    handle(core, &(ApmigEvent){.type = APMIG_EVENT_STEP_FINISHED, .step = {op, outcome, message}});
}

static void
guest_changed(const char *uuid, gpointer core)
{
    handle(core, &(ApmigEvent){.type = APMIG_EVENT_GUEST_CHANGED, .changed = {uuid}});
}

static void
guest_stopped(const char *uuid, gboolean migrated, gpointer core)
{
    handle(core, &(ApmigEvent){.type = APMIG_EVENT_GUEST_STOPPED, .stopped = {uuid, migrated}});
}

static void
hint(const char *uuid, const char *name, gpointer core)
{
    handle(core, &(ApmigEvent){.type = APMIG_EVENT_HINT, .hint = {uuid, name}});
}

static void
stamp_finished(guint64 op, ApmigStamping result, const char *message, gpointer user_data)
{
    ApmigCore *core = user_data;

    apmig_stamp_queue_next(core->stamps);
    handle(core, &(ApmigEvent){.type = APMIG_EVENT_STAMP_FINISHED, .stamping = {op, result, message}});
}

static const ApmigHypervisorCallbacks hypervisor_callbacks = {
    view_started,  view_lost,     listed, answered,      step_finished,
    guest_changed, guest_stopped, hint,   stamp_finished};

static void
host_read(G_GNUC_UNUSED const ApmigApHost *host, G_GNUC_UNUSED const GPtrArray *readings,
          G_GNUC_UNUSED const ApmigEvidence *evidence, G_GNUC_UNUSED const char *error,
          G_GNUC_UNUSED gpointer user_data)
{
    /* it is there for whoever asks next: see know_host() */
}

/* The queues of any guest may be others now, and what is known of the hardware is old. */
static void
ap_changed(gpointer user_data)
{
    ApmigCore *core = user_data;

    apmig_key_view_read_host(core->key_view, HOST_LIMIT_USEC, host_read, NULL);
    hint(NULL, NULL, core);
}

/* --- what the cards say -------------------------------------------------------------------------- */

static void
keys_read(const ApmigApHost *host, const GPtrArray *readings, const ApmigEvidence *evidence,
          const char *error, gpointer user_data)
{
    const KeyReading reading = *(KeyReading *)user_data;

    g_hash_table_remove(reading.core->key_readings, user_data);
    handle(reading.core, &(ApmigEvent){.type = APMIG_EVENT_KEYS_READ,
                                       .keys_read = {reading.op, error, host, readings, evidence}});
}

/* A word of somebody's turned out to be wrong, or the key was changed. */
static void
keys_contradicted(G_GNUC_UNUSED guint adapter, G_GNUC_UNUSED guint domain, const char *alarm,
                  G_GNUC_UNUSED gpointer user_data)
{
    apmig_log_entry(&(ApmigAction){.type = APMIG_ACTION_LOG,
                                   .log = APMIG_LOG_KEYS_CONTRADICTED,
                                   .priority = LOG_ERR,
                                   .message = (char *)alarm});
}

static void
keys_declared(const GPtrArray *warnings, const GError *error, gpointer user_data)
{
    const Declaring declaring = *(Declaring *)user_data;
    ApmigCore *core = declaring.core;
    const Caller *caller = g_hash_table_lookup(core->callers, GSIZE_TO_POINTER(declaring.caller));

    g_hash_table_remove(core->declarings, user_data);
    for (guint i = 0; warnings && i < warnings->len; i++)
        apmig_log_entry(&(ApmigAction){.type = APMIG_ACTION_LOG,
                                       .log = APMIG_LOG_KEYS_DECLARED,
                                       .priority = LOG_WARNING,
                                       .message = warnings->pdata[i]});
    if (!caller)
        return;
    caller->declared(warnings, error, caller->user_data);
    g_hash_table_remove(core->callers, GSIZE_TO_POINTER(declaring.caller));
}

/* --- changes that nobody announced --------------------------------------------------------------- */

static ApmigScope *
covered_by_locks(gpointer user_data)
{
    const ApmigCore *core = user_data;
    g_autoptr(GPtrArray) locks = apmig_engine_list_locks(core->engine);
    ApmigScope *covered = apmig_scope_new_none();

    for (guint i = 0; i < locks->len; i++) {
        const ApmigLock *lock = locks->pdata[i];
        ApmigScope *both = apmig_scope_union(covered, lock->record->scope);

        apmig_scope_unref(covered);
        covered = both;
    }
    return covered;
}

static char *
new_lock_id(ApmigCore *core)
{
    for (;;) {
        g_autofree char *id = apmig_store_new_lock_id(core->store);

        if (!apmig_engine_lookup_lock(core->engine, id))
            return g_steal_pointer(&id);
    }
}

static void
taken_by_itself(const char *id, const GError *error, G_GNUC_UNUSED gpointer user_data)
{
    if (error)
        apmig_log(LOG_ERR, "apmigd could not take a lock by itself: %s", error->message);
}

/* The whole domain where that is free: whoever changes one adapter's keys changes the others'. */
static void
lock_by_itself(ApmigCore *core, const ApmigKeyChanges *changes)
{
    g_autoptr(ApmigScope) covered = covered_by_locks(core);
    g_autofree char *id = new_lock_id(core);
    g_autofree char *reason = apmig_text_escape(changes->message, APMIG_REASON_MAX_LENGTH);
    ApmigScope *scope = apmig_scope_overlaps(covered, changes->group) ? changes->queues : changes->group;

    handle(core, &(ApmigEvent){.type = APMIG_EVENT_TAKE,
                               .take = {.caller = add_caller(core, taken_by_itself, NULL, core),
                                        .id = id,
                                        .scope = scope,
                                        .reason = reason,
                                        .origin = APMIG_LOCK_BY_ITSELF,
                                        .user = "apmigd",
                                        .no_wait = TRUE}});
}

static void
keys_changed(const ApmigKeyChanges *changes, gpointer user_data)
{
    ApmigCore *core = user_data;

    if (core->on_unannounced == APMIG_ON_UNANNOUNCED_IGNORE)
        return;
    apmig_log_entry(&(ApmigAction){.type = APMIG_ACTION_LOG,
                                   .log = APMIG_LOG_KEYS_CHANGED,
                                   .priority = LOG_ERR,
                                   .message = changes->message});
    if (core->listener.keys_changed)
        core->listener.keys_changed(changes, core->listener_data);
    if (core->on_unannounced == APMIG_ON_UNANNOUNCED_LOCK)
        lock_by_itself(core, changes);
}

static const ApmigKeyGuardCallbacks key_guard_callbacks = {covered_by_locks, keys_changed};

static void
heed_policy(ApmigCore *core, const ApmigPolicy *policy)
{
    core->evidence_interval = policy->evidence_interval_usec;
    core->on_unannounced = policy->on_unannounced;
    apmig_key_view_set_interval(core->key_view, policy->evidence_interval_usec);
    apmig_key_guard_set_interval(core->key_guard, policy->watch_keys_usec);
}

/* --- life ---------------------------------------------------------------------------------------- */

ApmigCore *
apmig_core_new(const ApmigPolicy *policy, ApmigStore *store, ApmigHypervisor *hypervisor,
               ApmigKeyView *key_view, const char *hooks_dir, const char *fence_socket, gboolean has_hook)
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
    core->fencer = apmig_fencer_new(fence_socket, step_finished, core);
    core->key_view = key_view;
    core->key_readings = g_hash_table_new_full(NULL, NULL, g_free, NULL);
    core->stamps = apmig_stamp_queue_new(hypervisor);
    core->declarings = g_hash_table_new_full(NULL, NULL, g_free, NULL);
    core->declarer = apmig_declarer_new(store, key_view);
    core->queue_lister = apmig_queue_lister_new(hypervisor, key_view);
    core->key_guard = apmig_key_guard_new(key_view, &key_guard_callbacks, core);
    apmig_key_view_set_alarm_func(key_view, keys_contradicted, core);
    heed_policy(core, policy);
    core->hooks_dir = g_strdup(hooks_dir);
    core->has_hook = has_hook;
    core->callers = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    g_queue_init(&core->replies);
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
    apmig_declarer_free(core->declarer);
    apmig_key_guard_free(core->key_guard);
    core->hypervisor->free(core->hypervisor);
    apmig_stamp_queue_free(core->stamps);
    g_free(core->host_id);
    apmig_fencer_free(core->fencer);
    apmig_key_view_free(core->key_view);
    g_hash_table_unref(core->key_readings);
    g_hash_table_unref(core->declarings);
    apmig_store_free(core->store);
    apmig_engine_free(core->engine);
    g_queue_clear_full(&core->replies, (GDestroyNotify)apmig_action_free);
    g_hash_table_unref(core->callers);
    g_free(core->hooks_dir);
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
    g_autoptr(GPtrArray) locks = NULL;
    g_autoptr(GPtrArray) admissions = NULL;
    g_autoptr(GPtrArray) damage = NULL;
    g_autoptr(GError) no_id = NULL;
    g_autoptr(GPtrArray) declared = NULL;

    if (!apmig_store_load(core->store, &locks, &admissions, &damage, error))
        return FALSE;
    declared = apmig_store_load_declared(core->store, damage);
    for (guint i = 0; i < declared->len; i++)
        apmig_evidence_add(apmig_key_view_evidence(core->key_view), declared->pdata[i], NULL);
    for (guint i = 0; i < damage->len; i++)
        apmig_log(LOG_ERR, "%s", (const char *)g_ptr_array_index(damage, i));
    core->host_id = apmig_host_id(&no_id);
    if (!core->host_id)
        apmig_log(LOG_WARNING, "%s", no_id->message);
    apmig_store_start(core->store, &store_callbacks, core);
    handle(core, &(ApmigEvent){.type = APMIG_EVENT_STORE_LOADED, .store_loaded = {locks, admissions}});
    core->hypervisor->start(core->hypervisor, &hypervisor_callbacks, core);
    core->ap_monitor = apmig_ap_monitor_new(ap_changed, core);
    return TRUE;
}

/* --- requests ------------------------------------------------------------------------------------ */

ApmigCaller
apmig_core_take_lock(ApmigCore *core, const ApmigTakeRequest *request, ApmigReplyFunc func,
                     gpointer user_data)
{
    ApmigCaller caller = add_caller(core, func, NULL, user_data);
    g_autofree char *id = new_lock_id(core);
    g_autofree char *problem = NULL;

    if (core->has_hook && !request->allow_missing_hook)
        apmig_core_hook_installed(core, &problem);
    handle(core, &(ApmigEvent){.type = APMIG_EVENT_TAKE,
                               .take = {.caller = caller,
                                        .id = id,
                                        .scope = request->scope,
                                        .reason = request->reason,
                                        .change_id = request->change_id,
                                        .origin = APMIG_LOCK_BY_REQUEST,
                                        .uid = request->uid,
                                        .user = request->user,
                                        .on_busy = request->on_busy,
                                        .timeout_usec = request->timeout_usec,
                                        .expected_duration_usec = request->expected_duration_usec,
                                        .no_wait = request->no_wait,
                                        .hook_problem = problem}});
    return caller;
}

ApmigCaller
apmig_core_release_lock(ApmigCore *core, const char *id, gboolean force, const char *warnings,
                        ApmigReplyFunc func, gpointer user_data)
{
    ApmigCaller caller = add_caller(core, func, NULL, user_data);

    handle(core, &(ApmigEvent){.type = APMIG_EVENT_RELEASE, .release = {caller, id, force, warnings}});
    return caller;
}

ApmigCaller
apmig_core_declare_keys(ApmigCore *core, const ApmigDeclarationRequest *request, ApmigDeclaredFunc func,
                        gpointer user_data)
{
    Declaring *declaring = g_new(Declaring, 1);
    Caller *caller;

    *declaring = (Declaring){core, add_caller(core, NULL, NULL, user_data)};
    caller = g_hash_table_lookup(core->callers, GSIZE_TO_POINTER(declaring->caller));
    caller->declared = func;
    g_hash_table_add(core->declarings, declaring);
    apmig_declarer_declare(core->declarer, request, keys_declared, declaring);
    return declaring->caller;
}

ApmigCaller
apmig_core_admit(ApmigCore *core, const ApmigGuest *guest, gboolean restore, ApmigAdmitFunc func,
                 gpointer user_data)
{
    ApmigCaller caller = add_caller(core, NULL, func, user_data);
    ApmigArrival arrival = {
        .has_device = guest->n_ap_devices > 0 || guest->has_unnamed,
        /* of several it is not known which one gets the source's configuration */
        .device = guest->n_ap_devices == 1 && !guest->has_unnamed ? guest->devices[0] : NULL,
        .declared = guest->declared,
        .stamp = guest->stamp,
        .stamp_problem = guest->stamp_problem,
        .host_id = core->host_id,
    };

    arrival.evidence = know_host(core, &arrival.host);
    core->hook_last_called = g_get_real_time();
    handle(core,
           &(ApmigEvent){
               .type = APMIG_EVENT_ADMIT,
               .admit = {caller, guest->uuid, guest->name, restore, apmig_guest_facts(guest), arrival}});
    return caller;
}

void
apmig_core_caller_gone(ApmigCore *core, ApmigCaller caller)
{
    g_hash_table_remove(core->callers, GSIZE_TO_POINTER(caller));
    handle(core, &(ApmigEvent){.type = APMIG_EVENT_CALLER_GONE, .caller_gone = {caller}});
}

void
apmig_core_look_up_facts(ApmigCore *core, const char *guest, ApmigGuestFactsFunc func, gpointer user_data)
{
    core->hypervisor->look_up_facts(core->hypervisor, guest, func, user_data);
}

void
apmig_core_remove_stamps(ApmigCore *core, const char *guest, ApmigStampsRemovedFunc func, gpointer user_data)
{
    apmig_stamp_queue_remove(core->stamps, guest, func, user_data);
}

void
apmig_core_list_queues(ApmigCore *core, ApmigQueuesFunc func, gpointer user_data)
{
    apmig_queue_lister_list(core->queue_lister, LIST_LIMIT_USEC, func, user_data);
}

void
apmig_core_read_keys(ApmigCore *core, const ApmigScope *scope, gboolean fresh, ApmigKeyViewFunc func,
                     gpointer user_data)
{
    apmig_key_view_read(core->key_view, scope, fresh ? FRESH_USEC : core->evidence_interval, LIST_LIMIT_USEC,
                        func, user_data);
}

char *
apmig_core_describe_key_trouble(const ApmigCore *core)
{
    return apmig_evidence_describe_trouble(apmig_key_view_evidence(core->key_view));
}

const ApmigEngine *
apmig_core_engine(const ApmigCore *core)
{
    return core->engine;
}

void
apmig_core_set_policy(ApmigCore *core, const ApmigPolicy *policy)
{
    heed_policy(core, policy);
    handle(core, &(ApmigEvent){.type = APMIG_EVENT_POLICY_CHANGED, .policy = policy});
}

gboolean
apmig_core_hook_installed(const ApmigCore *core, char **ret_problem)
{
    return apmig_hook_is_installed(core->hooks_dir, ret_problem);
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
