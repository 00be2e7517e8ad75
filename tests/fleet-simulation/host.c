/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon of a host without its daemon: hands events to the engine, carries out its actions, dies at any moment and starts
 * again from what is durable.
 */
#include "fleet.h"

typedef struct {
    ApmigCaller number;
    Answered answered;
    gpointer data;
    GDestroyNotify destroy;
} Caller;

static void
caller_free(gpointer object)
{
    Caller *caller = object;

    if (caller->destroy)
        caller->destroy(caller->data);
    g_free(caller);
}

gint64
host_boot_time(const Sim *sim, const Host *host)
{
    return sim->now - host->boot_base;
}

const ApmigLockRecord *
host_disk_lock(const Host *host, const Console *console)
{
    GHashTableIter iter;
    const ApmigLockRecord *record;

    g_hash_table_iter_init(&iter, host->locks);
    while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&record))
        if (g_str_equal(record->change_id, console->change_id))
            return record;
    return NULL;
}

/* --- events and actions -------------------------------------------------------------------------- */

static void
answer_caller(Sim *sim, Host *host, const ApmigAction *reply)
{
    for (guint i = 0; i < host->callers->len; i++) {
        Caller *caller = g_ptr_array_index(host->callers, i);

        if (caller->number != reply->reply.caller)
            continue;
        g_ptr_array_steal_index(host->callers, i);
        caller->answered(sim, host, reply, caller->data);
        caller_free(caller);
        return;
    }
}

static void
uses_are_read(Sim *sim, gpointer object, guint64 op)
{
    host_tell(sim, object,
              &(ApmigEvent){.type = APMIG_EVENT_USES_READ, .uses_read = {op, NULL, "no AP bus"}});
}

static void
carry_out(Sim *sim, Host *host, const ApmigAction *action)
{
    switch (action->type) {
    case APMIG_ACTION_PERSIST_LOCK:
    case APMIG_ACTION_REMOVE_LOCK:
    case APMIG_ACTION_PERSIST_ADMISSION:
    case APMIG_ACTION_REMOVE_ADMISSION:
    case APMIG_ACTION_PERSIST_PERMIT:
    case APMIG_ACTION_REMOVE_PERMIT:
        disk_write(sim, host, action);
        break;
    case APMIG_ACTION_LIST_GUESTS:
        libvirt_list(sim, host, action->query.token);
        break;
    case APMIG_ACTION_QUERY_GUEST:
        libvirt_query(sim, host, action);
        break;
    case APMIG_ACTION_HEARTBEAT:
        libvirt_heartbeat(sim, host, action->query.token);
        break;
    case APMIG_ACTION_RUN_STEP:
        libvirt_step(sim, host, action);
        break;
    case APMIG_ACTION_LOOK_AT_GUEST:
        libvirt_look(sim, host, action);
        break;
    case APMIG_ACTION_STAMP_GUEST:
        libvirt_stamp(sim, host, action);
        break;
    case APMIG_ACTION_READ_KEYS:
        keys_read(sim, host, action);
        break;
    case APMIG_ACTION_READ_USES:
        sim_later(sim, 5 * MSEC, uses_are_read, host, action->op, NULL);
        break;
    default:
        break;
    }
}

static gboolean
is_reply(const ApmigAction *action)
{
    return action->type >= APMIG_ACTION_REPLY_TAKEN && action->type <= APMIG_ACTION_REPLY_ERROR;
}

void
host_tell(Sim *sim, Host *host, ApmigEvent *event)
{
    g_autoptr(GPtrArray) actions = NULL;

    if (!host->engine || sim->violation)
        return;
    event->now = host_boot_time(sim, host);
    event->realtime = sim_realtime(sim);
    sim->n_events++;
    actions = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_action_free);
    apmig_engine_handle(host->engine, event, actions);
    host->deadline = apmig_engine_next_deadline(host->engine);
    for (guint i = 0; i < actions->len; i++) {
        const ApmigAction *action = g_ptr_array_index(actions, i);

        if (action->type == APMIG_ACTION_LOG)
            sim_trace(sim, "%s: %s", host->name, action->entry.message);
        if (is_reply(action))
            answer_caller(sim, host, action);
        else
            carry_out(sim, host, action);
    }
}

ApmigCaller
host_ask(Sim *sim, Host *host, ApmigEvent *event, Answered answered, gpointer data, GDestroyNotify destroy)
{
    Caller *caller = g_new0(Caller, 1);
    const ApmigCaller number = ++host->last_caller;

    caller->number = event->caller = number;
    caller->answered = answered;
    caller->data = data;
    caller->destroy = destroy;
    g_ptr_array_add(host->callers, caller);
    host_tell(sim, host, event);
    return number;
}

static void
is_gone(Sim *sim, gpointer object, guint64 caller)
{
    host_tell(sim, object, &(ApmigEvent){.type = APMIG_EVENT_CALLER_GONE, .caller = caller});
}

void
host_caller_gone(Sim *sim, Host *host, ApmigCaller number)
{
    for (guint i = host->callers->len; i > 0; i--)
        if (((const Caller *)g_ptr_array_index(host->callers, i - 1))->number == number)
            g_ptr_array_remove_index(host->callers, i - 1);
    sim_later(sim, dice_roll(&sim->dice, 1 * MSEC, 20 * MSEC), is_gone, host, number, NULL);
}

void
host_hang_up(Sim *sim, Host *host, Answered answered, gboolean (*is_his)(gpointer data, gpointer who),
             gpointer who)
{
    for (guint i = host->callers->len; i > 0; i--) {
        const Caller *caller = g_ptr_array_index(host->callers, i - 1);

        if (caller->answered == answered && is_his(caller->data, who))
            host_caller_gone(sim, host, caller->number);
    }
}

void
host_deadline(Sim *sim, Host *host)
{
    host_tell(sim, host, &(ApmigEvent){.type = APMIG_EVENT_DEADLINE});
}

/* --- start and end ------------------------------------------------------------------------------- */

/* Returns: (transfer container): what is in @table. */
static GPtrArray *
all_of(GHashTable *table)
{
    GPtrArray *all = g_ptr_array_new();
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, table);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        g_ptr_array_add(all, value);
    return all;
}

static void
load(Sim *sim, gpointer object, guint64 incarnation)
{
    Host *host = object;
    g_autoptr(GPtrArray) locks = NULL;
    g_autoptr(GPtrArray) admissions = NULL;
    g_autoptr(GPtrArray) permits = NULL;
    ApmigEvent event = {.type = APMIG_EVENT_STORE_LOADED};

    if (host->incarnation != incarnation || !host->engine)
        return;
    locks = event.store_loaded.locks = all_of(host->locks);
    admissions = event.store_loaded.admissions = all_of(host->admissions);
    permits = event.store_loaded.permits = all_of(host->permits);
    host_tell(sim, host, &event);
}

static ApmigPolicy *
policy_new(const Sim *sim)
{
    ApmigPolicy *policy = apmig_policy_new_default();

    if (!sim->profile.stamps)
        policy->stamp = APMIG_STAMP_OFF;
    return policy;
}

static void
start(Sim *sim, gpointer object, guint64 incarnation)
{
    Host *host = object;
    g_autofree char *run_id = g_strdup_printf("%x%04x", host->index, host->incarnation);
    ApmigPolicy *policy;

    if (host->incarnation != incarnation || host->engine)
        return;
    sim_trace(sim, "%s: the daemon starts", host->name);
    policy = policy_new(sim);
    host->up = TRUE;
    host->engine = apmig_engine_new(policy, run_id);
    host->deadline = G_MAXINT64;
    apmig_policy_free(policy);
    sim_later(sim, dice_spread(&sim->dice, 1 * MSEC, 1 * SECOND), load, host, incarnation, NULL);
    libvirt_connect(sim, host, dice_spread(&sim->dice, 5 * MSEC, 2 * SECOND));
}

/* @after: the host, or else its daemon alone, is away for so long */
static void
begin(Sim *sim, Host *host, gint64 after)
{
    host->incarnation++;
    sim_later(sim, after, start, host, host->incarnation, NULL);
}

static void
stop(Sim *sim, Host *host)
{
    g_autoptr(GPtrArray) callers = host->callers;

    g_clear_pointer(&host->engine, apmig_engine_free);
    host->connected = FALSE;
    disk_drop_writes(host);
    host->callers = g_ptr_array_new_with_free_func(caller_free);
    for (guint i = 0; i < callers->len; i++) {
        const Caller *caller = g_ptr_array_index(callers, i);

        caller->answered(sim, host, NULL, caller->data);
    }
}

void
host_daemon_dies(Sim *sim, Host *host)
{
    if (!host->engine)
        return;
    sim_trace(sim, "%s: the daemon dies", host->name);
    sim_met(sim, MET_DAEMON_DEATH);
    begin(sim, host, dice_spread(&sim->dice, 5 * MSEC, 20 * SECOND));
    stop(sim, host);
}

/* A version-4 UUID of its own. */
static void
boot(Sim *sim, Host *host, gint64 since)
{
    host->boot_base = since;
    g_snprintf(host->boot_id, sizeof(host->boot_id), "%08x-b007-4000-8000-00000000%04x", host->index,
               ++host->boots);
}

void
host_dies(Sim *sim, Host *host)
{
    const gint64 away = dice_spread(&sim->dice, 20 * SECOND, 200 * SECOND);

    if (!host->up)
        return;
    sim_trace(sim, "%s: the host dies", host->name);
    sim_met(sim, MET_HOST_DEATH);
    begin(sim, host, away);
    host->up = FALSE;
    stop(sim, host);
    g_hash_table_remove_all(host->admissions);
    g_hash_table_remove_all(host->permits);
    guests_host_dies(sim, host);
    boot(sim, host, sim->now + away - 5 * SECOND);
}

static void
host_init(Sim *sim, Host *host, guint index)
{
    host->index = index;
    g_snprintf(host->name, sizeof(host->name), "kvm%u", (index + 1) % 10);
    g_snprintf(host->id, sizeof(host->id), "%08x-0000-4000-8000-00000000000e", index + 1);
    host->locks =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)apmig_lock_record_free);
    host->admissions =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)apmig_admission_free);
    host->permits = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)apmig_permit_free);
    host->callers = g_ptr_array_new_with_free_func(caller_free);
    host->hook = TRUE;
    boot(sim, host, 0);
    begin(sim, host, dice_roll(&sim->dice, 1, 2 * SECOND));
}

void
hosts_init(Sim *sim)
{
    sim->n_hosts = (guint)dice_roll(&sim->dice, 3, MAX_HOSTS);
    for (guint i = 0; i < sim->n_hosts; i++)
        host_init(sim, &sim->hosts[i], i);
}

void
hosts_free(Sim *sim)
{
    for (guint i = 0; i < sim->n_hosts; i++) {
        Host *host = &sim->hosts[i];

        disk_drop_writes(host);
        apmig_engine_free(host->engine);
        g_hash_table_unref(host->locks);
        g_hash_table_unref(host->admissions);
        g_hash_table_unref(host->permits);
        g_ptr_array_unref(host->callers);
    }
}
