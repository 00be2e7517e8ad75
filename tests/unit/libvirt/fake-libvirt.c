/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "libvirt/fake-libvirt.h"

#include <dlfcn.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#define WAIT_USEC (20 * G_USEC_PER_SEC)

#define REAL(function) ((__typeof__(&(function)))dlsym(RTLD_NEXT, #function))

static struct {
    GMutex lock;
    GCond changed;
    GString *calls;
    GHashTable *counts;    /* function -> how often */
    GHashTable *hanging;   /* set of functions */
    GHashTable *under_way; /* connection -> number of calls */
    guint n_hanging, most_at_once, n_open;
    const char *failing;
    int code, state, reason;
    int job_type, job_operation;
    gint64 job_began_at; /* monotonic */
} fake = {.state = -1, .job_operation = -1};

static _Thread_local int last_code; /* of a call that was made to fail */

static void
make_tables(void)
{
    if (fake.calls)
        return;
    fake.calls = g_string_new(NULL);
    fake.counts = g_hash_table_new(g_str_hash, g_str_equal);
    fake.hanging = g_hash_table_new(g_str_hash, g_str_equal);
    fake.under_way = g_hash_table_new(NULL, NULL);
}

static guint
add(GHashTable *table, gconstpointer key, int more)
{
    guint sum = GPOINTER_TO_UINT(g_hash_table_lookup(table, key)) + more;

    g_hash_table_insert(table, (gpointer)key, GUINT_TO_POINTER(sum));
    return sum;
}

/* Returns: whether the real one is to be called. */
static gboolean
begin(const char *function, gpointer connection)
{
    g_mutex_lock(&fake.lock);
    make_tables();
    g_string_append_printf(fake.calls, "%s%s", fake.calls->len > 0 ? " " : "", function);
    add(fake.counts, function, 1);
    if (connection) {
        guint at_once = add(fake.under_way, connection, 1);
        fake.most_at_once = MAX(fake.most_at_once, at_once);
    }
    fake.n_hanging++;
    while (g_hash_table_contains(fake.hanging, function))
        g_cond_wait(&fake.changed, &fake.lock);
    fake.n_hanging--;
    last_code = g_strcmp0(fake.failing, function) == 0 ? fake.code : 0;
    g_mutex_unlock(&fake.lock);
    return last_code == 0;
}

static void
end(gpointer connection)
{
    g_mutex_lock(&fake.lock);
    add(fake.under_way, connection, -1);
    g_mutex_unlock(&fake.lock);
}

/* --- what is seen of it -------------------------------------------------------------------------- */

void
fake_libvirt_reset(void)
{
    g_mutex_lock(&fake.lock);
    make_tables();
    g_string_truncate(fake.calls, 0);
    g_hash_table_remove_all(fake.counts);
    g_hash_table_remove_all(fake.hanging);
    fake.most_at_once = 0;
    fake.code = 0;
    fake.state = fake.job_operation = -1;
    g_cond_broadcast(&fake.changed);
    g_mutex_unlock(&fake.lock);
}

void
fake_libvirt_hang(const char *function, gboolean hangs)
{
    g_mutex_lock(&fake.lock);
    make_tables();
    if (hangs)
        g_hash_table_add(fake.hanging, (gpointer)function);
    else
        g_hash_table_remove(fake.hanging, function);
    g_cond_broadcast(&fake.changed);
    g_mutex_unlock(&fake.lock);
}

guint
fake_libvirt_n_hanging(void)
{
    guint n_hanging;

    g_mutex_lock(&fake.lock);
    n_hanging = fake.n_hanging;
    g_mutex_unlock(&fake.lock);
    return n_hanging;
}

void
fake_libvirt_await_hanging(guint n_calls)
{
    gint64 limit = g_get_monotonic_time() + WAIT_USEC;

    while (fake_libvirt_n_hanging() < n_calls) {
        if (g_get_monotonic_time() > limit)
            g_error("%u calls hang instead of %u", fake_libvirt_n_hanging(), n_calls);
        g_main_context_iteration(NULL, FALSE);
        g_usleep(1000);
    }
}

void
fake_libvirt_fail(const char *function, int code)
{
    g_mutex_lock(&fake.lock);
    fake.failing = function;
    fake.code = code;
    g_mutex_unlock(&fake.lock);
}

void
fake_libvirt_set_job(int type, int operation, guint64 elapsed_ms)
{
    g_mutex_lock(&fake.lock);
    fake.job_type = type;
    fake.job_operation = operation;
    fake.job_began_at = g_get_monotonic_time() - (gint64)elapsed_ms * 1000;
    g_mutex_unlock(&fake.lock);
}

void
fake_libvirt_set_state(int state, int reason)
{
    g_mutex_lock(&fake.lock);
    fake.state = state;
    fake.reason = reason;
    g_mutex_unlock(&fake.lock);
}

guint
fake_libvirt_count(const char *function)
{
    guint count;

    g_mutex_lock(&fake.lock);
    make_tables();
    count = add(fake.counts, function, 0);
    g_mutex_unlock(&fake.lock);
    return count;
}

char *
fake_libvirt_calls(void)
{
    char *calls;

    g_mutex_lock(&fake.lock);
    make_tables();
    calls = g_strdup(fake.calls->str);
    g_mutex_unlock(&fake.lock);
    return calls;
}

guint
fake_libvirt_most_at_once(void)
{
    guint most;

    g_mutex_lock(&fake.lock);
    most = fake.most_at_once;
    g_mutex_unlock(&fake.lock);
    return most;
}

guint
fake_libvirt_n_open(void)
{
    guint n_open;

    g_mutex_lock(&fake.lock);
    n_open = fake.n_open;
    g_mutex_unlock(&fake.lock);
    return n_open;
}

/* --- libvirt's functions ------------------------------------------------------------------------- */

/* A call on a connection: @result is what it returns when it is made to fail. */
#define CALL(function, connection, type, result, ...)                                                        \
    virConnectPtr of = connection;                                                                           \
    type returned = result;                                                                                  \
                                                                                                             \
    if (begin(&#function[3], of))                                                                            \
        returned = REAL(function)(__VA_ARGS__);                                                              \
    end(of);                                                                                                 \
    return returned

int
virGetLastErrorCode(void)
{
    return last_code != 0 ? last_code : REAL(virGetLastErrorCode)();
}

const char *
virGetLastErrorMessage(void)
{
    return last_code != 0 ? "it was made to fail" : REAL(virGetLastErrorMessage)();
}

static virConnectPtr
note_open(virConnectPtr connection)
{
    g_mutex_lock(&fake.lock);
    fake.n_open += connection != NULL;
    g_mutex_unlock(&fake.lock);
    return connection;
}

virConnectPtr
virConnectOpen(const char *uri)
{
    return begin("ConnectOpen", NULL) ? note_open(REAL(virConnectOpen)(uri)) : NULL;
}

virConnectPtr
virConnectOpenReadOnly(const char *uri)
{
    return begin("ConnectOpenReadOnly", NULL) ? note_open(REAL(virConnectOpenReadOnly)(uri)) : NULL;
}

int
virConnectClose(virConnectPtr connection)
{
    int n_left = REAL(virConnectClose)(connection);

    if (n_left == 0) {
        g_mutex_lock(&fake.lock);
        fake.n_open--;
        g_mutex_unlock(&fake.lock);
    }
    return n_left;
}

int
virConnectListAllDomains(virConnectPtr connection, virDomainPtr **domains, unsigned int flags)
{
    CALL(virConnectListAllDomains, connection, int, -1, connection, domains, flags);
}

int
virConnectGetAllDomainStats(virConnectPtr connection, unsigned int stats, virDomainStatsRecordPtr **records,
                            unsigned int flags)
{
    CALL(virConnectGetAllDomainStats, connection, int, -1, connection, stats, records, flags);
}

int
virConnectDomainEventRegisterAny(virConnectPtr connection, virDomainPtr domain, int event,
                                 virConnectDomainEventGenericCallback callback, void *data,
                                 virFreeCallback free_data)
{
    const char *name = event == VIR_DOMAIN_EVENT_ID_LIFECYCLE             ? "RegisterLifecycle"
                       : event == VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION ? "RegisterIteration"
                                                                          : "RegisterOther";
    int result = -1;

    if (begin(name, connection))
        result = REAL(virConnectDomainEventRegisterAny)(connection, domain, event, callback, data, free_data);
    end(connection);
    return result;
}

virDomainPtr
virDomainLookupByUUIDString(virConnectPtr connection, const char *uuid)
{
    CALL(virDomainLookupByUUIDString, connection, virDomainPtr, NULL, connection, uuid);
}

virDomainPtr
virDomainLookupByName(virConnectPtr connection, const char *name)
{
    CALL(virDomainLookupByName, connection, virDomainPtr, NULL, connection, name);
}

static int
get_state(virDomainPtr domain, int *state, int *reason, unsigned int flags)
{
    CALL(virDomainGetState, virDomainGetConnect(domain), int, -1, domain, state, reason, flags);
}

int
virDomainGetState(virDomainPtr domain, int *state, int *reason, unsigned int flags)
{
    int result = get_state(domain, state, reason, flags);

    if (result == 0 && fake.state >= 0) {
        *state = fake.state;
        *reason = fake.reason;
    }
    return result;
}

static int
get_job_stats(virDomainPtr domain, int *type, virTypedParameterPtr *params, int *n_params, unsigned int flags)
{
    int max_params = 0;

    if (fake.job_operation < 0)
        return REAL(virDomainGetJobStats)(domain, type, params, n_params, flags);
    *type = fake.job_type;
    *n_params = 0;
    virTypedParamsAddInt(params, n_params, &max_params, VIR_DOMAIN_JOB_OPERATION, fake.job_operation);
    virTypedParamsAddULLong(params, n_params, &max_params, VIR_DOMAIN_JOB_TIME_ELAPSED,
                            (g_get_monotonic_time() - fake.job_began_at) / 1000);
    return 0;
}

int
virDomainGetJobStats(virDomainPtr domain, int *type, virTypedParameterPtr *params, int *n_params,
                     unsigned int flags)
{
    const virConnectPtr of = virDomainGetConnect(domain);
    int result = -1;

    if (begin("DomainGetJobStats", of))
        result = get_job_stats(domain, type, params, n_params, flags);
    end(of);
    return result;
}

int
virDomainAbortJob(virDomainPtr domain)
{
    const virConnectPtr of = virDomainGetConnect(domain);
    int result = -1;

    if (begin("DomainAbortJob", of))
        result = fake.job_operation < 0 ? REAL(virDomainAbortJob)(domain) : 0;
    end(of);
    return result;
}

char *
virDomainGetXMLDesc(virDomainPtr domain, unsigned int flags)
{
    CALL(virDomainGetXMLDesc, virDomainGetConnect(domain), char *, NULL, domain, flags);
}

int
virDomainIsActive(virDomainPtr domain)
{
    CALL(virDomainIsActive, virDomainGetConnect(domain), int, -1, domain);
}

int
virDomainSetMetadata(virDomainPtr domain, int type, const char *metadata, const char *key, const char *uri,
                     unsigned int flags)
{
    CALL(virDomainSetMetadata, virDomainGetConnect(domain), int, -1, domain, type, metadata, key, uri, flags);
}

char *
virDomainGetMetadata(virDomainPtr domain, int type, const char *uri, unsigned int flags)
{
    CALL(virDomainGetMetadata, virDomainGetConnect(domain), char *, NULL, domain, type, uri, flags);
}
