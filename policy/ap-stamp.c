/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ap-stamp.h"

#include "ap-find.h"
#include "sentence.h"

#include <string.h>

/* --- values -------------------------------------------------------------------------------------- */

void
apmig_stamp_lock_free(ApmigStampLock *lock)
{
    if (lock == NULL)
        return;
    g_free(lock->id);
    g_free(lock->reason);
    g_free(lock->owner);
    g_free(lock);
}

void
apmig_stamp_free(ApmigStamp *stamp)
{
    if (stamp == NULL)
        return;
    g_free(stamp->host_id);
    apmig_ap_view_free(stamp->view);
    g_free(stamp->device);
    apmig_evidence_free(stamp->keys);
    g_free(stamp->digest);
    apmig_stamp_lock_free(stamp->lock);
    g_free(stamp);
}

void
apmig_stamp_verdict_free(ApmigStampVerdict *verdict)
{
    if (verdict == NULL)
        return;
    g_free(verdict->sentence);
    g_free(verdict);
}

static const char *const answer_names[] = {
    [APMIG_STAMP_OK] = "allow",
    [APMIG_STAMP_WARN] = "warn",
    [APMIG_STAMP_DENY] = "deny",
};

const char *
apmig_stamp_answer_to_string(ApmigStampAnswer answer)
{
    g_return_val_if_fail((guint)answer < G_N_ELEMENTS(answer_names), "deny");
    return answer_names[answer];
}

gboolean
apmig_stamp_answer_from_string(const char *text, ApmigStampAnswer *ret_answer)
{
    for (guint i = 0; i < G_N_ELEMENTS(answer_names); i++) {
        if (g_str_equal(answer_names[i], text)) {
            *ret_answer = (ApmigStampAnswer)i;
            return TRUE;
        }
    }
    return FALSE;
}

static const char *const form_names[] = {
    [APMIG_STAMP_OFF] = "off",
    [APMIG_STAMP_DIGEST] = "digest",
    [APMIG_STAMP_FULL] = "full",
};

const char *
apmig_stamp_form_to_string(ApmigStampForm form)
{
    g_return_val_if_fail((guint)form < G_N_ELEMENTS(form_names), "off");
    return form_names[form];
}

gboolean
apmig_stamp_form_from_string(const char *text, ApmigStampForm *ret_form)
{
    for (guint i = 0; i < G_N_ELEMENTS(form_names); i++) {
        if (g_str_equal(form_names[i], text)) {
            *ret_form = (ApmigStampForm)i;
            return TRUE;
        }
    }
    return FALSE;
}

static const ApmigApViewQueue *
queue_at(const ApmigApView *view, guint index)
{
    return &g_array_index(view->queues, ApmigApViewQueue, index);
}

/* Returns: (nullable): of a queue that may have come from outside, NULL too for one that cannot be. */
static const ApmigEvidenceRecord *
find_key(const ApmigEvidence *keys, const ApmigApViewQueue *queue, guint key_class)
{
    if (queue->adapter >= APMIG_AP_NUMBERS || queue->domain >= APMIG_AP_NUMBERS)
        return NULL;
    return apmig_evidence_lookup(keys, queue->adapter, queue->domain, (ApmigKeyClass)key_class);
}

ApmigStamp *
apmig_stamp_new(const char *host_id, gint64 written_at, ApmigApView *view, const ApmigEvidence *evidence,
                ApmigStampLock *lock)
{
    ApmigStamp *stamp = g_new0(ApmigStamp, 1);

    stamp->host_id = g_strdup(host_id);
    stamp->written_at = written_at;
    stamp->view = view;
    stamp->keys = apmig_evidence_new();
    stamp->lock = lock;
    for (guint i = 0; view != NULL && i < view->queues->len; i++) {
        for (guint j = 0; j < APMIG_N_KEY_CLASSES; j++) {
            const ApmigEvidenceRecord *record = find_key(evidence, queue_at(view, i), j);

            if (record != NULL)
                apmig_evidence_add(stamp->keys, record, NULL);
        }
    }
    stamp->digest = view != NULL ? apmig_stamp_digest(view, stamp->keys) : g_strdup("");
    return stamp;
}

/* --- the digest ---------------------------------------------------------------------------------- */

static char *
describe_cur(const ApmigEvidenceRecord *record)
{
    ApmigKeyRegister cur;

    if (record == NULL)
        return g_strdup("unknown");
    cur = record->registers[APMIG_REGISTER_CUR];
    if (apmig_key_register_is_empty(&cur))
        return g_strdup("none");
    if (record->key_class == APMIG_KEY_WK)
        cur.length = MIN(cur.length, APMIG_MKVP_WK_BYTES);
    return apmig_key_pattern_to_string(&cur);
}

char *
apmig_stamp_canonical_keys(const ApmigApView *view, const ApmigEvidence *keys)
{
    GString *text = g_string_new("apmigd-keys 1\n");

    for (guint i = 0; i < view->queues->len; i++) {
        const ApmigApViewQueue *queue = queue_at(view, i);

        for (guint j = 0; j < APMIG_N_KEY_CLASSES; j++) {
            g_autofree char *cur = describe_cur(find_key(keys, queue, j));

            if (apmig_ap_mode_has_class(queue->mode, (ApmigKeyClass)j))
                g_string_append_printf(text, "%02x.%04x %s %s\n", queue->adapter, queue->domain,
                                       apmig_key_class_to_string((ApmigKeyClass)j), cur);
        }
    }
    return g_string_free(text, FALSE);
}

char *
apmig_stamp_digest(const ApmigApView *view, const ApmigEvidence *keys)
{
    g_autofree char *text = apmig_stamp_canonical_keys(view, keys);

    return g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);
}

/* --- does it count? ------------------------------------------------------------------------------ */

/* Returns: (transfer full) (nullable): why it tells nothing of the source. */
static char *
find_origin_objection(const ApmigStamp *stamp, const ApmigStampPolicy *policy)
{
    if (stamp == NULL)
        return g_strdup(
            "The guest brings no stamp of its source host, so its master keys there are not known.");
    if (g_strcmp0(stamp->host_id, policy->own_host_id) == 0)
        return g_strdup(
            "The guest's stamp is this host's own, left over from before: its source host wrote none.");
    if (policy->source_host_id != NULL && !g_str_equal(stamp->host_id, policy->source_host_id))
        return g_strdup_printf(
            "The guest's stamp does not count: it is of host %s, and the guest comes from %s.",
            stamp->host_id, policy->source_host_id);
    return NULL;
}

/* Returns: (transfer full) (nullable): why it tells nothing of the source's keys. */
static char *
find_age_objection(const ApmigStamp *stamp, gint64 now, const ApmigStampPolicy *policy)
{
    gint64 fresh_usec = (gint64)policy->fresh_seconds * G_USEC_PER_SEC;
    g_autofree char *written_at = NULL;

    if (fresh_usec == 0)
        return NULL;
    written_at = apmig_sentence_time(stamp->written_at);
    if (stamp->written_at < 0 || stamp->written_at < now - fresh_usec)
        return g_strdup_printf("The guest's stamp does not count: it was written at %s, more than %u s ago.",
                               written_at, policy->fresh_seconds);
    if (stamp->written_at > now + fresh_usec)
        return g_strdup_printf(
            "The guest's stamp does not count: it was written at %s, which is yet to come; see "
            "that the hosts' clocks agree.",
            written_at);
    return NULL;
}

/* --- the keys ------------------------------------------------------------------------------------ */

/* Each gets what there is to say. */
typedef struct {
    GPtrArray *differing; /* with both sides' patterns */
    GPtrArray *doubtful;  /* agree, and there is a but */
    GPtrArray *unknown;   /* queues */
} Comparison;

/* @sentence: ends with a full stop, which is dropped */
static char *
about_queue(const ApmigApViewQueue *queue, const char *sentence)
{
    return g_strdup_printf("AP queue %02x.%04x: %.*s", queue->adapter, queue->domain,
                           (int)strlen(sentence) - 1, sentence);
}

static ApmigKeyComparison *
compare_key(const ApmigEvidenceRecord *there, const ApmigEvidenceRecord *here)
{
    g_autofree char *source =
        g_strdup_printf("the source (%s)", apmig_evidence_class_to_string(there->evidence));
    g_autofree char *destination =
        g_strdup_printf("this host (%s)", apmig_evidence_class_to_string(here->evidence));

    return apmig_keys_compare(here->key_class, there->registers, source, here->registers, destination);
}

/* Returns: whether it is known that there is such a key on either side. */
static gboolean
sort_key(const Comparison *comparison, const ApmigApViewQueue *queue, guint key_class,
         const ApmigEvidenceRecord *there, const ApmigEvidenceRecord *here, GPtrArray *unknown)
{
    g_autoptr(ApmigKeyComparison) keys = there != NULL && here != NULL ? compare_key(there, here) : NULL;
    const char *name = apmig_key_class_to_string((ApmigKeyClass)key_class);

    if (keys == NULL || keys->verdict == APMIG_KEYS_UNKNOWN) {
        g_ptr_array_add(unknown, (gpointer)name);
        return FALSE;
    }
    if (keys->verdict == APMIG_KEYS_NO_KEY)
        return FALSE;
    if (keys->severity == APMIG_SEVERITY_ERROR)
        g_ptr_array_add(comparison->differing, about_queue(queue, keys->sentence));
    /* Words about a key seldom know NEW; that alone is no cause for worry. */
    else if (keys->severity == APMIG_SEVERITY_WARNING && keys->verdict != APMIG_KEYS_AGREE_NEW_UNKNOWN)
        g_ptr_array_add(comparison->doubtful, about_queue(queue, keys->sentence));
    return TRUE;
}

/* In an unknown mode the classes that either side knows are those that the queue has. */
static gboolean
has_class(const ApmigApViewQueue *queue, guint key_class, const ApmigEvidenceRecord *there,
          const ApmigEvidenceRecord *here)
{
    if (queue->mode == APMIG_AP_MODE_UNKNOWN)
        return there != NULL || here != NULL;
    return apmig_ap_mode_has_class(queue->mode, (ApmigKeyClass)key_class);
}

static void
sort_queue(const Comparison *comparison, const ApmigApViewQueue *queue, const ApmigEvidence *source,
           const ApmigEvidence *evidence)
{
    g_autoptr(GPtrArray) unknown = g_ptr_array_new();
    guint n_classes = 0, n_keys = 0;
    char *name;

    for (guint i = 0; i < APMIG_N_KEY_CLASSES; i++) {
        const ApmigEvidenceRecord *there = find_key(source, queue, i), *here = find_key(evidence, queue, i);

        if (!has_class(queue, i, there, here))
            continue;
        n_classes++;
        n_keys += sort_key(comparison, queue, i, there, here, unknown);
    }
    name = apmig_sentence_queue(queue->adapter, queue->domain, unknown, n_classes);
    if (n_classes == 0 && queue->mode == APMIG_AP_MODE_UNKNOWN)
        name = g_strdup_printf("%02x.%04x", queue->adapter, queue->domain);
    else if (name == NULL && n_classes > 0 && n_keys == 0)
        name = g_strdup_printf("%02x.%04x (no master key)", queue->adapter, queue->domain);
    if (name != NULL)
        g_ptr_array_add(comparison->unknown, name);
}

/* Whether this host knows every key of the queue, and there is one. */
static gboolean
is_all_known(const ApmigApViewQueue *queue, const ApmigEvidence *evidence)
{
    gboolean has_key = queue->mode == APMIG_AP_MODE_ACCELERATOR;

    for (guint i = 0; i < APMIG_N_KEY_CLASSES; i++) {
        const ApmigEvidenceRecord *record = find_key(evidence, queue, i);

        if (!apmig_ap_mode_has_class(queue->mode, (ApmigKeyClass)i))
            continue;
        if (record == NULL)
            return FALSE;
        has_key |= record->registers[APMIG_REGISTER_CUR].length > 0;
    }
    return has_key;
}

static gboolean
digest_agrees(const ApmigStamp *stamp, const ApmigEvidence *evidence)
{
    g_autofree char *digest = apmig_stamp_digest(stamp->view, evidence);

    for (guint i = 0; i < stamp->view->queues->len; i++)
        if (!is_all_known(queue_at(stamp->view, i), evidence))
            return FALSE;
    return g_str_equal(stamp->digest, digest);
}

static void
append_part(GString *text, const char *beginning, const GPtrArray *items, const char *separator)
{
    g_autofree char *few = apmig_sentence_few(items, separator);

    if (items->len > 0)
        g_string_append_printf(text, "%s%s: %s.", text->len > 0 ? " " : "", beginning, few);
}

static ApmigStampVerdict *
conclude(const Comparison *comparison, const ApmigStampPolicy *policy)
{
    ApmigStampVerdict *verdict = g_new0(ApmigStampVerdict, 1);
    GString *text = g_string_new(NULL);

    if (comparison->unknown->len > 0)
        verdict->answer = policy->keys_unknown;
    if (comparison->doubtful->len > 0)
        verdict->answer = MAX(verdict->answer, APMIG_STAMP_WARN);
    if (comparison->differing->len > 0)
        verdict->answer = MAX(verdict->answer, MAX(policy->keys_differ, APMIG_STAMP_WARN));
    append_part(text, "Master keys differ", comparison->differing, "; ");
    append_part(text, "Master keys agree for now", comparison->doubtful, "; ");
    append_part(text, "Whether the master keys of these AP queues agree with the source's is not known",
                comparison->unknown, ", ");
    verdict->sentence = g_string_free(text, FALSE);
    return verdict;
}

static ApmigStampVerdict *
judge_keys(const ApmigStamp *stamp, const ApmigEvidence *evidence, const ApmigStampPolicy *policy)
{
    g_autoptr(GPtrArray) differing = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) doubtful = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) unknown = g_ptr_array_new_with_free_func(g_free);
    const Comparison comparison = {differing, doubtful, unknown};

    if (stamp->view == NULL)
        g_ptr_array_add(unknown, g_strdup("all, for the source does not know which the guest has"));
    else if (stamp->keys != NULL)
        for (guint i = 0; i < stamp->view->queues->len; i++)
            sort_queue(&comparison, queue_at(stamp->view, i), stamp->keys, evidence);
    else if (!digest_agrees(stamp, evidence))
        g_ptr_array_add(unknown,
                        g_strdup("all, for the source sent a digest alone, and it does not fit this host's"));
    return conclude(&comparison, policy);
}

/* --- the judgement ------------------------------------------------------------------------------- */

/* @sentence: (transfer full) */
static ApmigStampVerdict *
verdict_new(ApmigStampAnswer answer, char *sentence)
{
    ApmigStampVerdict *verdict = g_new0(ApmigStampVerdict, 1);

    verdict->answer = answer;
    verdict->sentence = sentence;
    return verdict;
}

static char *
describe_lock(const ApmigStamp *stamp)
{
    const ApmigStampLock *lock = stamp->lock;
    g_autofree char *since = apmig_sentence_time(lock->since);

    return g_strdup_printf("Migration is locked at the source, host %s: lock %s of %s since %s: \"%s\".",
                           stamp->host_id, lock->id, lock->owner, since, lock->reason);
}

static gboolean
is_damaged(const ApmigStamp *stamp)
{
    g_autofree char *digest = NULL;

    if (stamp->view == NULL || stamp->keys == NULL)
        return FALSE;
    digest = apmig_stamp_digest(stamp->view, stamp->keys);
    return !g_str_equal(digest, stamp->digest);
}

static char *
find_damage(const ApmigStamp *stamp)
{
    return is_damaged(stamp)
               ? g_strdup("The guest's stamp does not count: its digest does not fit what it says.")
               : NULL;
}

gboolean
apmig_stamp_counts(const ApmigStamp *stamp, gint64 now, const ApmigStampPolicy *policy)
{
    g_autofree char *origin = find_origin_objection(stamp, policy);
    g_autofree char *age = origin == NULL ? find_age_objection(stamp, now, policy) : NULL;

    return origin == NULL && age == NULL && !is_damaged(stamp);
}

ApmigStampVerdict *
apmig_stamp_judge(const ApmigStamp *stamp, const ApmigEvidence *evidence, gint64 now,
                  const ApmigStampPolicy *policy)
{
    char *objection = find_origin_objection(stamp, policy);

    if (objection == NULL && stamp->lock != NULL)
        return verdict_new(APMIG_STAMP_DENY, describe_lock(stamp));
    if (objection == NULL)
        objection = find_age_objection(stamp, now, policy);
    if (objection == NULL)
        objection = find_damage(stamp);
    return objection != NULL ? verdict_new(policy->missing, objection)
                             : judge_keys(stamp, evidence, policy);
}
