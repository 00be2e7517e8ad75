/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "core/declarer.h"

#include <syslog.h>

#include "base/log.h"
#include "engine/engine.h"

#define HOST_LIMIT_USEC (5 * G_USEC_PER_SEC)

typedef struct {
    ApmigDeclarer *declarer;
    guint timer; /* 0: he has been answered */
    GPtrArray *declarations;
    ApmigEvidenceClass evidence;
    ApmigScope *within;
    guint32 uid;
    char *user;
    char *lock_id;
    char *change_id;
    GPtrArray *records;     /* of ApmigEvidenceRecord; NULL: the host is being read */
    ApmigDeclaredFunc func; /* NULL: he has been answered */
    gpointer user_data;
} Request;

struct ApmigDeclarer {
    ApmigStore *store;
    ApmigKeyView *view;
    gboolean is_open;
    GQueue requests; /* of Request: the first is at work */
    guint64 last_op;
};

static void
request_free(gpointer data)
{
    Request *request = data;

    if (request->timer)
        g_source_remove(request->timer);
    g_ptr_array_unref(request->declarations);
    apmig_scope_unref(request->within);
    g_clear_pointer(&request->records, g_ptr_array_unref);
    g_free(request->user);
    g_free(request->lock_id);
    g_free(request->change_id);
    g_free(request);
}

static void begin(ApmigDeclarer *declarer);

/* @error: (nullable) */
static void
finish(ApmigDeclarer *declarer, const GPtrArray *warnings, const GError *error)
{
    Request *request = g_queue_pop_head(&declarer->requests);

    if (request->func)
        request->func(warnings, error, request->user_data);
    request_free(request);
    begin(declarer);
}

/* --- a disk that does not answer ------------------------------------------------------------------ */

/* What is being written goes on; of what waits for that nothing was begun. */
static gboolean
give_up(gpointer data)
{
    Request *request = data;
    GQueue *requests = &request->declarer->requests;
    gboolean is_written = request->records != NULL;
    g_autoptr(GError) error = g_error_new_literal(
        APMIG_ERROR, APMIG_ERROR_STATE_FAILURE,
        is_written
            ? "whether what was declared is on the disk is not known: it counts when the disk has answered; "
              "mend the state folder and see apmigctl keys"
            : "nothing was declared, for the disk does not answer: mend the state folder and try again");

    apmig_log_entry(&(ApmigLogEntry){.log = APMIG_LOG_STATE_FAILURE,
                                     .priority = LOG_ERR,
                                     .lock_id = request->lock_id,
                                     .change_id = request->change_id,
                                     .message = error->message});
    request->timer = 0;
    request->func(NULL, error, request->user_data);
    request->func = NULL;
    if (request != g_queue_peek_head(requests)) {
        g_queue_remove(requests, request);
        request_free(request);
    }
    return G_SOURCE_REMOVE;
}

/* --- on the disk --------------------------------------------------------------------------------- */

static gboolean
is_replaced(const ApmigEvidenceRecord *record, const GPtrArray *records)
{
    for (guint i = 0; i < records->len; i++) {
        const ApmigEvidenceRecord *other = g_ptr_array_index(records, i);

        if (record->adapter == other->adapter && record->domain == other->domain &&
            record->key_class == other->key_class && record->evidence == other->evidence)
            return TRUE;
    }
    return FALSE;
}

/* What will be declared once the request is known. */
static void
persist(ApmigDeclarer *declarer, const Request *request)
{
    const ApmigEvidence *evidence = apmig_key_view_evidence(declarer->view);
    g_autoptr(GPtrArray) present = apmig_evidence_list(evidence);
    GPtrArray *all = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_evidence_record_free);
    ApmigAction *action = g_new0(ApmigAction, 1);

    for (guint i = 0; i < present->len; i++) {
        const ApmigEvidenceRecord *record = g_ptr_array_index(present, i);

        if (apmig_evidence_class_is_word(record->evidence) && !is_replaced(record, request->records))
            g_ptr_array_add(all, apmig_evidence_record_copy(record));
    }
    for (guint i = 0; i < request->records->len; i++) {
        ApmigEvidenceRecord *record = g_ptr_array_index(request->records, i);
        const ApmigEvidenceRecord *known =
            apmig_evidence_lookup(evidence, record->adapter, record->domain, record->key_class);

        if (known)
            record->before = known->registers[APMIG_REGISTER_CUR];
        g_ptr_array_add(all, apmig_evidence_record_copy(record));
    }
    action->type = APMIG_ACTION_PERSIST_DECLARED;
    action->op = ++declarer->last_op;
    action->declared = all;
    apmig_store_carry_out(declarer->store, action);
}

static void
log_declared(const Request *request, int priority, char *message)
{
    apmig_log_entry(&(ApmigLogEntry){.log = APMIG_LOG_KEYS_DECLARED,
                                     .priority = priority,
                                     .lock_id = request->lock_id,
                                     .change_id = request->change_id,
                                     .message = message});
}

/* One line for each thing said, not for each queue: a domain group may have hundreds. */
static void
log_declarations(const Request *request, const GPtrArray *warnings)
{
    for (guint i = 0; i < request->declarations->len; i++) {
        const ApmigDeclaration *declaration = g_ptr_array_index(request->declarations, i);
        g_autofree char *pattern = apmig_key_pattern_to_string(&declaration->cur);
        g_autofree char *message = g_strdup_printf(
            "%s (uid %u) declares the %s master key in CUR of AP queues %s to have the pattern %s (%s)",
            request->user, request->uid, apmig_key_class_to_string(declaration->key_class),
            apmig_scope_to_string(declaration->queues), pattern,
            apmig_evidence_class_to_string(request->evidence));

        log_declared(request, LOG_NOTICE, message);
    }
    for (guint i = 0; i < warnings->len; i++)
        log_declared(request, LOG_WARNING, g_ptr_array_index(warnings, i));
}

void
apmig_declarer_persisted(ApmigDeclarer *declarer, guint64 op, const char *error)
{
    const Request *request = g_queue_peek_head(&declarer->requests);
    ApmigEvidence *evidence = apmig_key_view_evidence(declarer->view);
    g_autoptr(GPtrArray) warnings = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) failure = NULL;

    g_return_if_fail(request && op == declarer->last_op);
    if (error) {
        failure = g_error_new(APMIG_ERROR, APMIG_ERROR_STATE_FAILURE,
                              "what was declared could not be written (%s): mend the state folder and try "
                              "again",
                              error);
        finish(declarer, NULL, failure);
        return;
    }
    for (guint i = 0; i < request->records->len; i++)
        apmig_evidence_declare(evidence, g_ptr_array_index(request->records, i), request->lock_id != NULL,
                               warnings);
    log_declarations(request, warnings);
    finish(declarer, warnings, NULL);
}

/* --- requests ------------------------------------------------------------------------------------ */

static void
on_host_read(const ApmigApHost *host, const GPtrArray *readings, const ApmigEvidence *evidence,
             const char *problem, gpointer user_data)
{
    ApmigDeclarer *declarer = user_data;
    Request *request = g_queue_peek_head(&declarer->requests);
    const ApmigEvidenceRecord origin = {
        .evidence = request->evidence, .at = g_get_real_time(), .source = request->user, .uid = request->uid};
    g_autoptr(GError) error = NULL;

    if (!request->func) {
        finish(declarer, NULL, NULL);
        return;
    }
    if (!declarer->is_open)
        error =
            g_error_new_literal(APMIG_ERROR, APMIG_ERROR_STATE_FAILURE,
                                "what was declared before has not been read from the disk yet: try again");
    else if (host)
        request->records =
            apmig_declarations_expand(request->declarations, host, request->within, &origin, &error);
    else
        error = g_error_new(APMIG_ERROR, APMIG_ERROR_STATE_FAILURE,
                            "what was declared cannot be held against this host's queues (%s): try again",
                            problem);
    if (request->records)
        persist(declarer, request);
    else
        finish(declarer, NULL, error);
}

static void
begin(ApmigDeclarer *declarer)
{
    if (!g_queue_is_empty(&declarer->requests))
        apmig_key_view_read_host(declarer->view, HOST_LIMIT_USEC, on_host_read, declarer);
}

void
apmig_declarer_open(ApmigDeclarer *declarer)
{
    declarer->is_open = TRUE;
}

void
apmig_declarer_declare(ApmigDeclarer *declarer, const ApmigDeclarationRequest *request,
                       ApmigDeclaredFunc func, gpointer user_data)
{
    Request *copy = g_new0(Request, 1);

    copy->declarations = g_ptr_array_ref(request->declarations);
    copy->evidence = request->evidence;
    copy->within = request->within ? apmig_scope_ref(request->within) : NULL;
    copy->uid = request->uid;
    copy->user = g_strdup(request->user);
    copy->lock_id = g_strdup(request->lock_id);
    copy->change_id = g_strdup(request->change_id);
    copy->declarer = declarer;
    copy->func = func;
    copy->timer = g_timeout_add((HOST_LIMIT_USEC + APMIG_DISK_LIMIT_USEC) / 1000, give_up, copy);
    copy->user_data = user_data;
    g_queue_push_tail(&declarer->requests, copy);
    if (declarer->requests.length == 1)
        begin(declarer);
}

/* --- life ---------------------------------------------------------------------------------------- */

ApmigDeclarer *
apmig_declarer_new(ApmigStore *store, ApmigKeyView *view)
{
    ApmigDeclarer *declarer = g_new0(ApmigDeclarer, 1);

    declarer->store = store;
    declarer->view = view;
    g_queue_init(&declarer->requests);
    return declarer;
}

void
apmig_declarer_free(ApmigDeclarer *declarer)
{
    if (!declarer)
        return;
    g_queue_clear_full(&declarer->requests, request_free);
    g_free(declarer);
}
