/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hosts/question.h"

#include <string.h>

#include "ap/text.h"
#include "ctl/lock.h"

#define FLEET "hosts"

/* --- the document --------------------------------------------------------------------------------- */

/* Of the same change and scope it is the same in every run. Returns: (transfer full) */
static char *
make_lock_id(const char *change_id, const ApmigScope *scope)
{
    g_autofree char *text = g_strconcat(change_id, "\n", apmig_scope_to_string(scope), NULL);
    g_autofree char *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);

    return g_strndup(digest, 12);
}

static ApmigFleetLock *
make_lock(const GPtrArray *except, const char *change_id, const ApmigScope *scope)
{
    ApmigFleetLock *lock = apmig_fleet_lock_new();

    g_free(lock->id);
    g_free(lock->change_id);
    lock->id = make_lock_id(change_id, scope);
    lock->change_id = g_strdup(change_id);
    lock->scope = apmig_scope_parse_stored(apmig_scope_to_string(scope), NULL);
    for (guint i = 0; i < except->len; i++)
        apmig_fleet_lock_leave_out(lock, g_ptr_array_index(except, i), g_get_user_name(), "--except",
                                   g_get_real_time());
    return lock;
}

HostsQuestion *
hosts_question_new(const GPtrArray *names, const GPtrArray *except, const char *change_id,
                   const ApmigScope *scope)
{
    HostsQuestion *question = g_new0(HostsQuestion, 1);

    question->cluster_id = g_strdup_printf("%u", g_random_int());
    question->document = apmig_fleet_document_new(FLEET);
    for (guint i = 0; i < names->len; i++)
        apmig_fleet_document_add_member(question->document, "", g_ptr_array_index(names, i));
    question->lock = make_lock(except, change_id, scope);
    g_ptr_array_add(question->document->locks, question->lock);
    return question;
}

void
hosts_question_free(HostsQuestion *question)
{
    if (!question)
        return;
    g_free(question->cluster_id);
    apmig_fleet_document_free(question->document);
    g_free(question);
}

void
hosts_question_put(HostsQuestion *question, ApmigFleetLockState state)
{
    question->revision++;
    question->asked_at = g_get_monotonic_time();
    question->lock->state = state;
}

/* --- answers -------------------------------------------------------------------------------------- */

/* What was received before the question was put answers an earlier one. */
static void
fill_head(ApmigFleetHead *head, const HostsQuestion *question, const HostsHost *host)
{
    g_free(head->fleet);
    g_free(head->cluster_id);
    head->fleet = g_strdup(question->document->fleet);
    head->cluster_id = g_strdup(question->cluster_id);
    head->revision = host->received_at >= question->asked_at ? question->revision : question->revision - 1;
    head->received_at = host->received_at;
}

/* Returns: (transfer full): text that others wrote, to stand within a sentence. */
static char *
make_clause(const char *text)
{
    char *clause = ctl_escape(text);
    gsize length = strlen(clause);

    if (length > 0 && clause[length - 1] == '.')
        clause[length - 1] = '\0';
    return clause;
}

/* As apmigd itself judges it for the lock. Returns: (transfer full): "": none */
static char *
describe_hook(const HostsHost *host)
{
    return host->verdict ? make_clause(ctl_string(host->verdict, "warning")) : g_strdup("");
}

static void
set_clause(GStrv *clauses, char *clause)
{
    g_strfreev(*clauses);
    *clauses = g_new0(char *, 2);
    (*clauses)[0] = clause;
}

static ApmigFleetLockAnswer *
make_lock_answer(const HostsQuestion *question, const HostsHost *host)
{
    ApmigFleetLockAnswer *answer = apmig_fleet_lock_answer_new(question->lock->id);
    JsonObject *lock = host->lock;
    const char *state = ctl_string(lock, "State");

    g_free(answer->local_id);
    answer->local_id = g_strdup(ctl_string(lock, "Id"));
    answer->scope = apmig_scope_parse_stored(ctl_string(lock, "Scope"), NULL);
    if (!apmig_fleet_host_state_from_string(state, &answer->state))
        answer->state = APMIG_FLEET_HOST_REQUESTED; /* a state that this program does not know is not held */
    answer->held_at = ctl_int(lock, "HeldAt");
    answer->breaches = (guint)CLAMP(ctl_int(lock, "Breaches"), 0, G_MAXUINT);
    if (!ctl_bool(host->verdict, "ready")) {
        const char *reason = ctl_string(host->verdict, "reason");

        set_clause(&answer->blockers, make_clause(*reason ? reason : "it is not ready"));
    }
    if (ctl_lock_n_departed(lock) > 0) {
        g_autofree char *departed = ctl_lock_describe_departed(lock);

        set_clause(&answer->departed, make_clause(departed));
    }
    return answer;
}

static ApmigFleetAnswer *
make_answer(const HostsQuestion *question, const HostsHost *host)
{
    const GError *failure = hosts_failure(host);
    g_autofree char *problem = failure ? make_clause(failure->message) : NULL;
    ApmigFleetAnswer *answer = apmig_fleet_answer_new(host->name, problem);

    if (failure)
        return answer;
    fill_head(&answer->head, question, host);
    g_free(answer->boot_id);
    g_free(answer->apmigd);
    g_free(answer->hook_problem);
    answer->boot_id = g_strdup(host->bus_id ? host->bus_id : "");
    answer->apmigd = g_strdup(ctl_string(host->manager, "Version"));
    answer->hook_problem = describe_hook(host);
    if (host->lock && host->verdict)
        g_ptr_array_add(answer->locks, make_lock_answer(question, host));
    return answer;
}

char *
hosts_question_problem(const HostsHost *host)
{
    g_autofree char *hook = describe_hook(host);

    if (!host->lock || !host->verdict)
        return g_strdup("it has no such lock");
    if (!ctl_bool(host->verdict, "ready"))
        return make_clause(ctl_string(host->verdict, "reason"));
    return *hook ? g_steal_pointer(&hook) : NULL;
}

static ApmigFleetQuestion
asked(const HostsQuestion *question)
{
    return (ApmigFleetQuestion){question->cluster_id, question->revision, question->lock};
}

/* Of any age since the question: each work is short, and what came before has another number. */
static ApmigFleetSnapshot
snapshot_of(const HostsQuestion *question)
{
    return (ApmigFleetSnapshot){.cluster_id = question->cluster_id,
                                .revision = question->revision,
                                .document = question->document,
                                .now = g_get_monotonic_time(),
                                .max_age_usec = G_MAXINT64};
}

ApmigFleetVerdict *
hosts_question_judge(const HostsQuestion *question, const GPtrArray *hosts)
{
    g_autoptr(GPtrArray) answers = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_fleet_answer_free);
    ApmigFleetQuestion put = asked(question);
    ApmigFleetSnapshot snapshot = snapshot_of(question);

    for (guint i = 0; i < hosts->len; i++)
        g_ptr_array_add(answers, make_answer(question, g_ptr_array_index(hosts, i)));
    return apmig_fleet_judge(&put, &snapshot, answers);
}

/* --- keys ----------------------------------------------------------------------------------------- */

static gboolean
read_register(JsonObject *key, const char *name, ApmigKeyClass key_class, ApmigKeyRegister *reg)
{
    g_autofree char *member = g_strconcat(name, "-state", NULL);
    const char *state = ctl_string(key, member), *pattern = ctl_string(key, name);

    if (*state && !apmig_key_state_from_string(state, &reg->state))
        return FALSE;
    return !*pattern || apmig_key_pattern_parse(pattern, apmig_key_class_said_bytes(key_class, pattern), reg);
}

/* Returns: (transfer full) (nullable): NULL: it cannot be understood. */
static ApmigEvidenceRecord *
read_record(JsonObject *key)
{
    g_autoptr(ApmigEvidenceRecord) record = g_new0(ApmigEvidenceRecord, 1);
    ApmigApqn queue;

    if (!apmig_ap_parse_queue_name(ctl_string(key, "queue"), &queue) ||
        !apmig_key_class_from_string(ctl_string(key, "class"), &record->key_class) ||
        !apmig_evidence_class_from_string(ctl_string(key, "evidence"), &record->evidence) ||
        !read_register(key, "new", record->key_class, &record->registers[APMIG_REGISTER_NEW]) ||
        !read_register(key, "cur", record->key_class, &record->registers[APMIG_REGISTER_CUR]) ||
        !read_register(key, "old", record->key_class, &record->registers[APMIG_REGISTER_OLD]))
        return NULL;
    record->adapter = queue.adapter;
    record->domain = queue.domain;
    record->source = g_strdup(ctl_string(key, "source"));
    record->at = ctl_int(key, "time");
    return g_steal_pointer(&record);
}

static gboolean
has_record(const ApmigFleetKeys *keys, const ApmigApqn *queue, ApmigKeyClass key_class)
{
    for (guint i = 0; i < keys->records->len; i++) {
        const ApmigEvidenceRecord *record = g_ptr_array_index(keys->records, i);

        if (record->adapter == queue->adapter && record->domain == queue->domain &&
            record->key_class == key_class)
            return TRUE;
    }
    return FALSE;
}

/* Where the mode of a card is not known, its host does not know any key that another host has in that queue. */
static void
add_unknown(ApmigFleetKeys *keys, JsonObject *key, const GPtrArray *all)
{
    ApmigApqn queue;

    if (!apmig_ap_parse_queue_name(ctl_string(key, "queue"), &queue))
        return;
    for (guint i = 0; i < all->len; i++)
        for (guint key_class = 0; key_class < APMIG_N_KEY_CLASSES; key_class++) {
            ApmigEvidenceRecord *record;

            if (!has_record(g_ptr_array_index(all, i), &queue, (ApmigKeyClass)key_class) ||
                has_record(keys, &queue, (ApmigKeyClass)key_class))
                continue;
            record = g_new0(ApmigEvidenceRecord, 1);
            record->adapter = queue.adapter;
            record->domain = queue.domain;
            record->key_class = (ApmigKeyClass)key_class;
            record->source = g_strdup("");
            g_ptr_array_add(keys->records, record);
        }
}

static ApmigFleetKeys *
make_keys(const HostsQuestion *question, const HostsHost *host)
{
    const GError *failure = hosts_failure(host);
    g_autofree char *problem = failure ? make_clause(failure->message) : NULL;
    ApmigFleetKeys *keys = apmig_fleet_keys_new(host->name, failure      ? problem
                                                            : host->keys ? NULL
                                                                         : "it told no keys");

    if (keys->head.problem)
        return keys;
    fill_head(&keys->head, question, host);
    for (guint i = 0; i < json_array_get_length(host->keys); i++) {
        JsonNode *node = json_array_get_element(host->keys, i);
        JsonObject *key = JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
        ApmigEvidenceRecord *record = key && *ctl_string(key, "class") ? read_record(key) : NULL;

        if (record) {
            g_ptr_array_add(keys->records, record);
        } else if (!key || *ctl_string(key, "class")) {
            apmig_fleet_keys_free(keys);
            return apmig_fleet_keys_new(host->name, "what it tells of its keys is not understood");
        }
    }
    return keys;
}

/* Returns: (transfer full) (element-type ApmigFleetKeys) */
static GPtrArray *
make_all_keys(const HostsQuestion *question, const GPtrArray *hosts)
{
    GPtrArray *all = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_fleet_keys_free);

    for (guint i = 0; i < hosts->len; i++)
        g_ptr_array_add(all, make_keys(question, g_ptr_array_index(hosts, i)));
    for (guint i = 0; i < hosts->len; i++) {
        const HostsHost *host = g_ptr_array_index(hosts, i);
        ApmigFleetKeys *keys = g_ptr_array_index(all, i);

        for (guint j = 0; !keys->head.problem && j < json_array_get_length(host->keys); j++) {
            JsonObject *key = json_array_get_object_element(host->keys, j);

            if (!*ctl_string(key, "class"))
                add_unknown(keys, key, all);
        }
    }
    return all;
}

ApmigFleetRelease *
hosts_question_judge_release(const HostsQuestion *question, const GPtrArray *hosts)
{
    g_autoptr(GPtrArray) keys = make_all_keys(question, hosts);
    ApmigFleetQuestion put = asked(question);
    ApmigFleetSnapshot snapshot = snapshot_of(question);

    return apmig_fleet_judge_release(&put, &snapshot, keys);
}
