/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The core's side of master keys: what this host's cards say of them, for the engine and for callers, what people
 * declare of them, and where the two disagree. Changes are watched for in watch.c.
 */
#include "core/private.h"

#include <sys/syslog.h>

#include "base/log.h"

/* For reading this host's crypto hardware after it has changed. */
#define HOST_LIMIT_USEC (30 * G_USEC_PER_SEC)
/* Most changes of crypto hardware have no event: a guest is not refused for what was so earlier. */
#define HOST_MAX_AGE_USEC (30 * G_USEC_PER_SEC)

/* Of what is read because somebody asks. */
#define LIST_LIMIT_USEC (5 * G_USEC_PER_SEC)
#define FRESH_USEC      G_USEC_PER_SEC /* anybody may ask, and asking is work for the cards */

/* For which action the key view reads. */
typedef struct {
    ApmigCore *core;
    guint64 op;
} KeyReading;

/* --- this host's crypto hardware ----------------------------------------------------------------- */

static void
host_read(const ApmigApHost *host, const GPtrArray *readings, const ApmigEvidence *evidence,
          const char *error, gpointer user_data)
{
    /* it is there for whoever asks next: see core_host_facts() */
}

void
core_read_host(ApmigCore *core)
{
    apmig_key_view_read_host(core->key_view, HOST_LIMIT_USEC, host_read, NULL);
}

void
core_tell_hardware(ApmigCore *core)
{
    gboolean has_guest_queues = apmig_key_view_has_guest_queues(core->key_view);

    core_handle(core, &(ApmigEvent){.type = APMIG_EVENT_HARDWARE_CHANGED, .hardware = {has_guest_queues}});
}

static void
uses_read(const ApmigApHost *host, const GPtrArray *readings, const ApmigEvidence *evidence,
          const char *error, gpointer user_data)
{
    const KeyReading reading = *(KeyReading *)user_data;

    g_hash_table_remove(reading.core->key_readings, user_data);
    core_handle(reading.core,
                &(ApmigEvent){.type = APMIG_EVENT_USES_READ, .uses_read = {reading.op, host, error}});
}

void
core_read_uses(ApmigCore *core, const ApmigAction *action)
{
    KeyReading *reading = g_new(KeyReading, 1);

    *reading = (KeyReading){core, action->op};
    g_hash_table_add(core->key_readings, reading);
    apmig_key_view_read_host(core->key_view, action->reading.limit_usec, uses_read, reading);
}

const ApmigEvidence *
core_host_facts(const ApmigCore *core, const ApmigApHost **ret_hardware)
{
    if (ret_hardware)
        *ret_hardware = apmig_key_view_host(core->key_view, HOST_MAX_AGE_USEC);
    return apmig_key_view_evidence(core->key_view);
}

/* --- what the cards say -------------------------------------------------------------------------- */

static void
keys_read(const ApmigApHost *host, const GPtrArray *readings, const ApmigEvidence *evidence,
          const char *error, gpointer user_data)
{
    const KeyReading reading = *(KeyReading *)user_data;

    g_hash_table_remove(reading.core->key_readings, user_data);
    core_handle(reading.core, &(ApmigEvent){.type = APMIG_EVENT_KEYS_READ,
                                            .keys_read = {reading.op, error, host, readings, evidence}});
}

void
core_carry_out_reading(ApmigCore *core, const ApmigAction *action)
{
    KeyReading *reading = g_new(KeyReading, 1);

    *reading = (KeyReading){core, action->op};
    g_hash_table_add(core->key_readings, reading);
    /* One card that is late must not leave the others unheard: there is time left for the answer. */
    apmig_key_view_read(core->key_view, action->reading.scope, 0, action->reading.limit_usec / 10 * 8,
                        keys_read, reading);
}

static void
asked_keys_read(const ApmigApHost *host, const GPtrArray *readings, const ApmigEvidence *evidence,
                const char *error, gpointer user_data)
{
    Caller *caller = user_data;

    if (caller->func)
        ((ApmigKeyViewFunc)caller->func)(host, readings, evidence, error, caller->user_data);
    core_end_question(caller);
}

ApmigCaller
apmig_core_read_keys(ApmigCore *core, const ApmigScope *scope, gboolean fresh, ApmigKeyViewFunc func,
                     gpointer user_data)
{
    Caller *caller = core_add_question(core, (AnswerFunc)func, user_data);

    apmig_key_view_read(core->key_view, scope, fresh ? FRESH_USEC : core->evidence_interval, LIST_LIMIT_USEC,
                        asked_keys_read, caller);
    return caller->number;
}

char *
apmig_core_describe_key_trouble(const ApmigCore *core)
{
    return apmig_evidence_describe_trouble(apmig_key_view_evidence(core->key_view));
}

/* --- what people declare ------------------------------------------------------------------------- */

void
core_add_declared(ApmigCore *core, const GPtrArray *declared)
{
    for (guint i = 0; i < declared->len; i++)
        apmig_evidence_add(apmig_key_view_evidence(core->key_view), g_ptr_array_index(declared, i), NULL);
    apmig_declarer_open(core->declarer);
}

static void
keys_declared(const GPtrArray *warnings, const GError *error, gpointer user_data)
{
    Caller *caller = user_data;
    ApmigAction reply = {.type = APMIG_ACTION_REPLY_DECLARED, .reply.warnings = (GPtrArray *)warnings};

    if (error)
        reply = (ApmigAction){.type = APMIG_ACTION_REPLY_ERROR,
                              .reply = {.code = (ApmigError)error->code, .message = error->message}};
    if (caller->func)
        ((ApmigReplyFunc)caller->func)(&reply, caller->user_data);
    core_end_question(caller);
}

ApmigCaller
apmig_core_declare_keys(ApmigCore *core, const ApmigDeclarationRequest *request, ApmigReplyFunc func,
                        gpointer user_data)
{
    Caller *caller = core_add_question(core, (AnswerFunc)func, user_data);

    apmig_declarer_declare(core->declarer, request, keys_declared, caller);
    return caller->number;
}

/* --- keys that are not as somebody said ----------------------------------------------------------- */

void
core_other_keys(const ApmigOtherKeys *other, gpointer core)
{
    gboolean is_start = other->change == APMIG_NEWS_STARTED;
    g_autofree char *message =
        g_strdup_printf("guest %s was %s with other master keys than it had: %s", other->name,
                        is_start ? "started" : "given its crypto device", other->sentence);

    apmig_log_entry(&(ApmigLogEntry){.log = is_start ? APMIG_LOG_GUEST_STARTED : APMIG_LOG_GUEST_REPLUGGED,
                                     .priority = is_start ? LOG_WARNING : LOG_ERR,
                                     .uuid = other->uuid,
                                     .guest = other->name,
                                     .message = message});
}

/* A word of somebody's turned out to be wrong, or the key was changed. */
static void
keys_contradicted(guint adapter, guint domain, const char *alarm, gpointer user_data)
{
    ApmigCore *core = user_data;
    g_autoptr(GPtrArray) locks = apmig_engine_list_locks(core->engine);
    g_autoptr(GPtrArray) concerned = g_ptr_array_new();

    for (guint i = 0; i < locks->len; i++) {
        const ApmigLock *lock = g_ptr_array_index(locks, i);

        if (apmig_scope_contains(lock->record->scope, adapter, domain))
            g_ptr_array_add(concerned, lock->record);
    }
    apmig_log_entry(&(ApmigLogEntry){.log = APMIG_LOG_KEYS_CONTRADICTED,
                                     .priority = LOG_ERR,
                                     .locks = concerned,
                                     .message = (char *)alarm});
}

void
core_keys_policy(ApmigCore *core, const ApmigPolicy *policy)
{
    core->evidence_interval = policy->evidence_interval_usec;
    core->on_release = policy->on_release;
}

void
core_keys_begin(ApmigCore *core, const ApmigPolicy *policy)
{
    apmig_key_view_set_alarm_func(core->key_view, keys_contradicted, core);
    core_keys_policy(core, policy);
}
