/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What follows from the stamp that a guest brings: does it count, and are the source's keys those of this host? Each thing
 * that is compared is a finding; the sentence tells of those that matter.
 */
#include "stamp/private.h"

#include "ap/find.h"
#include "base/sentence.h"

#include <string.h>

void
apmig_stamp_verdict_free(ApmigStampVerdict *verdict)
{
    if (!verdict)
        return;
    g_free(verdict->sentence);
    g_ptr_array_unref(verdict->findings);
    g_free(verdict);
}

/* --- does it count? ------------------------------------------------------------------------------ */

/* Why it does not. */
typedef struct {
    const char *code;
    char *sentence;
    const char *remedy;
} Objection;

static void
objection_clear(Objection *objection)
{
    g_free(objection->sentence);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Objection, objection_clear)

/* @sentence: (transfer full). Returns: TRUE */
static gboolean
object(Objection *objection, const char *code, char *sentence, const char *remedy)
{
    *objection = (Objection){code, sentence, remedy};
    return TRUE;
}

static gboolean
is_own(const ApmigStamp *stamp, const ApmigStampPolicy *policy)
{
    return stamp && g_strcmp0(stamp->host_id, policy->own_host_id) == 0;
}

/* Its name tells people which it is, its id that it is none that calls itself so. */
static char *
name_host(const ApmigStamp *stamp)
{
    return stamp->host_name ? g_strdup_printf("%s (%s)", stamp->host_name, stamp->host_id)
                            : g_strdup(stamp->host_id);
}

/* Returns: whether it tells nothing of the source. */
static gboolean
find_origin_objection(const ApmigStamp *stamp, const ApmigStampPolicy *policy, Objection *objection)
{
    g_autofree char *host = stamp ? name_host(stamp) : NULL;

    if (!stamp)
        return object(
            objection, "stamp-missing",
            g_strdup("The guest brings no stamp of its source host, so its master keys there are not known."),
            "Run apmigd on the source host, with another policy \"stamp\" than \"off\", and leave its stamp "
            "in the guest's metadata.");
    if (is_own(stamp, policy))
        return object(
            objection, "stamp-own",
            g_strdup("The guest's stamp is this host's own, left over from before: its source host "
                     "wrote none."),
            "Run apmigd on the source host. Should it run there, the two hosts have the same id: apmigctl doctor");
    if (policy->source_host_id && !g_str_equal(stamp->host_id, policy->source_host_id))
        return object(objection, "stamp-foreign",
                      g_strdup_printf(
                          "The guest's stamp does not count: it is of host %s, and the guest comes from %s.",
                          host, policy->source_host_id),
                      "Run apmigd on the source host.");
    return FALSE;
}

/* Returns: whether it tells nothing of the source's keys. */
static gboolean
find_age_objection(const ApmigStamp *stamp, gint64 now, const ApmigStampPolicy *policy, Objection *objection)
{
    gint64 fresh_usec = (gint64)policy->fresh_seconds * G_USEC_PER_SEC;
    g_autofree char *written_at = NULL;

    if (fresh_usec == 0)
        return FALSE;
    written_at = apmig_sentence_time(stamp->written_at);
    if (stamp->written_at < 0 || stamp->written_at < now - fresh_usec)
        return object(
            objection, "stamp-old",
            g_strdup_printf("The guest's stamp does not count: it was written at %s, more than %u s ago.",
                            written_at, policy->fresh_seconds),
            "Have it written anew on the source host: apmigctl unstamp GUEST, and restart apmigd.");
    if (stamp->written_at > now + fresh_usec)
        return object(objection, "stamp-of-the-future",
                      g_strdup_printf(
                          "The guest's stamp does not count: it was written at %s, which is yet to come; see "
                          "that the hosts' clocks agree.",
                          written_at),
                      "See that the hosts' clocks agree.");
    return FALSE;
}

/* --- the keys ------------------------------------------------------------------------------------ */

/* What is found, and what there is to say of it. */
typedef struct {
    const ApmigStampPolicy *policy;
    GPtrArray *findings;  /* transferred to the verdict */
    GPtrArray *differing; /* with both sides' patterns */
    GPtrArray *doubtful;  /* agree, and there is a but */
    GPtrArray *unknown;   /* queues */
} Comparison;

static const struct {
    const char *code;
    const char *remedy;
} verdicts[] = {
    [APMIG_KEYS_AGREE] = {"keys-agree", ""},
    [APMIG_KEYS_AGREE_NEW_UNKNOWN] = {"keys-agree", ""},
    [APMIG_KEYS_AGREE_UPPER_HALF] = {"keys-agree-in-part", "Compare the whole patterns, as at the TKE."},
    [APMIG_KEYS_AGREE_OLD_DIFFERS] = {"keys-old-differ",
                                      "Re-encipher what is still under OLD before the guest moves."},
    [APMIG_KEYS_AGREE_CHANGE_PENDING] = {"keys-change-pending",
                                         "Finish the key change on both hosts, or clear NEW."},
    [APMIG_KEYS_AGREE_WILL_DIVERGE] = {"keys-will-differ",
                                       "Load the same key into NEW on both hosts before it is set, or clear "
                                       "it."},
    [APMIG_KEYS_DIFFER] = {"keys-differ", "Load and set the same master key in this queue of both hosts."},
    /* B is this host */
    [APMIG_KEYS_DIFFER_B_AHEAD] = {"keys-source-behind",
                                   "Finish the key change on the source host: load and set the "
                                   "destination's key."},
    [APMIG_KEYS_DIFFER_B_BEHIND] = {"keys-source-ahead",
                                    "Finish the key change on the destination host: load and set the "
                                    "source's key."},
};

static const char remedy_of_unknown[] =
    "Compare the patterns where they can be seen, as at the TKE. A host knows them when they were declared "
    "there (apmigctl declare, apmigctl unlock --declare).";

static ApmigSeverity
weigh(ApmigStampAnswer answer)
{
    switch (answer) {
    case APMIG_STAMP_OK:
        return APMIG_SEVERITY_NONE;
    case APMIG_STAMP_WARN:
        return APMIG_SEVERITY_WARNING;
    case APMIG_STAMP_DENY:
    default:
        return APMIG_SEVERITY_ERROR;
    }
}

static ApmigStampAnswer
answer_of(ApmigSeverity severity)
{
    switch (severity) {
    case APMIG_SEVERITY_NONE:
        return APMIG_STAMP_OK;
    case APMIG_SEVERITY_UNKNOWN:
    case APMIG_SEVERITY_WARNING:
        return APMIG_STAMP_WARN;
    case APMIG_SEVERITY_ERROR:
    default:
        return APMIG_STAMP_DENY;
    }
}

static char *
name_subject(const ApmigApViewQueue *queue)
{
    return g_strdup_printf("queue %02x.%04x", queue->adapter, queue->domain);
}

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

/* "AES 0x..., verified", with NEW where a change has begun. */
static char *
describe_key(const ApmigEvidenceRecord *record)
{
    const ApmigKeyRegister *reg_new = &record->registers[APMIG_REGISTER_NEW];
    g_autofree char *cur = stamp_describe_cur(record);
    g_autofree char *pattern = apmig_key_pattern_to_string(reg_new);
    g_autoptr(GString) pending = g_string_new(NULL);

    if (apmig_key_register_is_pending(reg_new))
        g_string_append_printf(pending, ", NEW %s %s", apmig_key_state_to_string(reg_new->state), pattern);
    return g_strdup_printf("%s %s%s, %s", apmig_key_class_to_string(record->key_class), cur, pending->str,
                           apmig_evidence_class_to_string(record->evidence));
}

static void
add_key_finding(const Comparison *comparison, ApmigSeverity severity, const ApmigApViewQueue *queue,
                ApmigKeyVerdict verdict, const ApmigEvidenceRecord *there, const ApmigEvidenceRecord *here)
{
    g_autofree char *source = describe_key(there);
    g_autofree char *destination = describe_key(here);

    g_ptr_array_add(comparison->findings,
                    apmig_finding_new(severity, name_subject(queue), verdicts[verdict].code, source,
                                      destination, verdicts[verdict].remedy));
}

static void
judge_key(const Comparison *comparison, const ApmigApViewQueue *queue, const ApmigKeyComparison *keys,
          const ApmigEvidenceRecord *there, const ApmigEvidenceRecord *here)
{
    ApmigSeverity severity = APMIG_SEVERITY_NONE;

    if (keys->severity == APMIG_SEVERITY_ERROR) {
        severity = weigh(MAX(comparison->policy->keys_differ, APMIG_STAMP_WARN));
        g_ptr_array_add(comparison->differing, about_queue(queue, keys->sentence));
        /* Words about a key seldom know NEW; that alone is no cause for worry. */
    } else if (keys->severity == APMIG_SEVERITY_WARNING && keys->verdict != APMIG_KEYS_AGREE_NEW_UNKNOWN) {
        severity = APMIG_SEVERITY_WARNING;
        g_ptr_array_add(comparison->doubtful, about_queue(queue, keys->sentence));
    }
    add_key_finding(comparison, severity, queue, keys->verdict, there, here);
}

/* Returns: whether it is known that there is such a key on either side. */
static gboolean
sort_key(const Comparison *comparison, const ApmigApViewQueue *queue, guint key_class,
         const ApmigEvidenceRecord *there, const ApmigEvidenceRecord *here, GPtrArray *unknown)
{
    g_autoptr(ApmigKeyComparison) keys = there && here ? compare_key(there, here) : NULL;
    const char *name = apmig_key_class_to_string((ApmigKeyClass)key_class);

    if (!keys || keys->verdict == APMIG_KEYS_UNKNOWN) {
        g_ptr_array_add(unknown, (gpointer)name);
        return FALSE;
    }
    if (keys->verdict == APMIG_KEYS_NO_KEY)
        return FALSE;
    judge_key(comparison, queue, keys, there, here);
    return TRUE;
}

/* In an unknown mode the classes that either side knows are those that the queue has. */
static gboolean
has_class(const ApmigApViewQueue *queue, guint key_class, const ApmigEvidenceRecord *there,
          const ApmigEvidenceRecord *here)
{
    if (queue->mode == APMIG_AP_MODE_UNKNOWN)
        return there || here;
    return apmig_key_mode_has_class(queue->mode, (ApmigKeyClass)key_class);
}

/* Of @classes, which could not be compared, those that one side does not know. */
static char *
describe_unknown(const ApmigApViewQueue *queue, const ApmigEvidence *keys, const GPtrArray *classes)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (guint i = 0; i < classes->len; i++) {
        ApmigKeyClass key_class;

        if (apmig_key_class_from_string(g_ptr_array_index(classes, i), &key_class) &&
            !stamp_find_key(keys, queue, key_class))
            g_string_append_printf(text, "%s%s", text->len > 0 ? ", " : "unknown: ",
                                   (const char *)g_ptr_array_index(classes, i));
    }
    return g_strdup(text->len > 0 ? text->str : "known");
}

static void
add_unknown_queue(const Comparison *comparison, const ApmigApViewQueue *queue, const char *code,
                  const char *source, const char *destination)
{
    g_ptr_array_add(comparison->findings,
                    apmig_finding_new(weigh(comparison->policy->keys_unknown), name_subject(queue), code,
                                      source, destination, remedy_of_unknown));
}

static void
sort_queue(const Comparison *comparison, const ApmigApViewQueue *queue, const ApmigEvidence *source,
           const ApmigEvidence *evidence)
{
    g_autoptr(GPtrArray) unknown = g_ptr_array_new();
    guint n_classes = 0, n_keys = 0;
    char *name;

    for (guint i = 0; i < APMIG_N_KEY_CLASSES; i++) {
        const ApmigEvidenceRecord *there = stamp_find_key(source, queue, i),
                                  *here = stamp_find_key(evidence, queue, i);

        if (!has_class(queue, i, there, here))
            continue;
        n_classes++;
        n_keys += sort_key(comparison, queue, i, there, here, unknown);
    }
    name = apmig_sentence_queue(queue->adapter, queue->domain, unknown, n_classes);
    if (name) {
        g_autofree char *at_source = describe_unknown(queue, source, unknown);
        g_autofree char *here = describe_unknown(queue, evidence, unknown);

        add_unknown_queue(comparison, queue, "keys-unknown", at_source, here);
    } else if (n_classes == 0 && queue->mode == APMIG_AP_MODE_UNKNOWN) {
        name = g_strdup_printf("%02x.%04x", queue->adapter, queue->domain);
        add_unknown_queue(comparison, queue, "keys-unknown", "unknown", "unknown");
    } else if (n_classes > 0 && n_keys == 0) {
        name = g_strdup_printf("%02x.%04x (no master key)", queue->adapter, queue->domain);
        add_unknown_queue(comparison, queue, "no-master-key", "none", "none");
    }
    if (name)
        g_ptr_array_add(comparison->unknown, name);
}

/* Whether this host knows every key of the queue, and there is one. */
static gboolean
is_all_known(const ApmigApViewQueue *queue, const ApmigEvidence *evidence)
{
    gboolean has_key = queue->mode == APMIG_AP_MODE_ACCELERATOR;

    for (guint i = 0; i < APMIG_N_KEY_CLASSES; i++) {
        const ApmigEvidenceRecord *record = stamp_find_key(evidence, queue, i);

        if (!apmig_key_mode_has_class(queue->mode, (ApmigKeyClass)i))
            continue;
        if (!record)
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
        if (!is_all_known(stamp_queue_at(stamp->view, i), evidence))
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

/* Takes over its findings. */
static ApmigStampVerdict *
conclude(const Comparison *comparison)
{
    ApmigStampVerdict *verdict = g_new0(ApmigStampVerdict, 1);
    GString *text = g_string_new(NULL);

    verdict->findings = comparison->findings;
    verdict->answer = answer_of(apmig_findings_severity(verdict->findings));
    append_part(text, "Master keys differ", comparison->differing, "; ");
    append_part(text, "Master keys agree for now", comparison->doubtful, "; ");
    append_part(text, "Whether the master keys of these AP queues agree with the source's is not known",
                comparison->unknown, ", ");
    verdict->sentence = g_string_free(text, FALSE);
    return verdict;
}

/* A stamp that does not tell of single keys. @unknown: what is not known; NULL: the keys agree */
static void
add_whole(const Comparison *comparison, const char *code, const char *source, const char *destination,
          const char *unknown)
{
    ApmigSeverity severity = unknown ? weigh(comparison->policy->keys_unknown) : APMIG_SEVERITY_NONE;

    g_ptr_array_add(comparison->findings, apmig_finding_new(severity, g_strdup("stamp"), code, source,
                                                            destination, unknown ? remedy_of_unknown : ""));
    if (unknown)
        g_ptr_array_add(comparison->unknown, g_strdup(unknown));
}

/* @source: what the finding says of the stamp itself */
static ApmigStampVerdict *
judge_keys(const ApmigStamp *stamp, const ApmigEvidence *evidence, const ApmigStampPolicy *policy,
           const char *source)
{
    g_autoptr(GPtrArray) differing = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) doubtful = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) unknown = g_ptr_array_new_with_free_func(g_free);
    const Comparison comparison = {policy, apmig_findings_new(), differing, doubtful, unknown};

    g_ptr_array_add(comparison.findings, apmig_finding_new(APMIG_SEVERITY_NONE, g_strdup("stamp"),
                                                           "stamp-counts", source, "", ""));
    if (!stamp->view)
        add_whole(&comparison, "queues-unknown", "queues unknown", "",
                  "all, for the source does not know which the guest has");
    else if (stamp->keys)
        for (guint i = 0; i < stamp->view->queues->len; i++)
            sort_queue(&comparison, stamp_queue_at(stamp->view, i), stamp->keys, evidence);
    else if (digest_agrees(stamp, evidence))
        add_whole(&comparison, "keys-agree", "digest", "the same digest", NULL);
    else
        add_whole(&comparison, "keys-unknown", "digest", "another, or not all known",
                  "all, for the source sent a digest alone, and it does not fit this host's");
    return conclude(&comparison);
}

/* --- the judgement ------------------------------------------------------------------------------- */

static ApmigStampVerdict *
verdict_new(ApmigStampAnswer answer, const char *sentence, char *subject, const char *code,
            const char *source, const char *remedy)
{
    ApmigStampVerdict *verdict = g_new0(ApmigStampVerdict, 1);

    verdict->answer = answer;
    verdict->sentence = g_strdup(sentence);
    verdict->findings = apmig_findings_new();
    g_ptr_array_add(verdict->findings, apmig_finding_new(weigh(answer), subject, code, source, "", remedy));
    return verdict;
}

static ApmigStampVerdict *
verdict_of_lock(const ApmigStamp *stamp, const ApmigStampPolicy *policy)
{
    const ApmigStampLock *lock = stamp->lock;
    g_autofree char *since = apmig_sentence_time(lock->since);
    g_autofree char *host = name_host(stamp);
    g_autofree char *sentence =
        g_strdup_printf("Migration is locked at the source, host %s: lock %s of %s since %s: \"%s\".%s", host,
                        lock->id, lock->owner, since, lock->reason,
                        is_own(stamp, policy) ? " This host has the same id, but knows no such lock: another "
                                                "host has it too, or the lock has ended here long ago."
                                              : "");
    g_autofree char *source = g_strdup_printf("of %s: \"%s\"", lock->owner, lock->reason);

    return verdict_new(APMIG_STAMP_DENY, sentence, g_strdup_printf("lock %s", lock->id), "locked-at-source",
                       source, "");
}

static gboolean
is_damaged(const ApmigStamp *stamp)
{
    g_autofree char *digest = NULL;

    if (!stamp->view || !stamp->keys)
        return FALSE;
    digest = apmig_stamp_digest(stamp->view, stamp->keys);
    return !g_str_equal(digest, stamp->digest);
}

/* Returns: whether it was not written so. */
static gboolean
find_damage(const ApmigStamp *stamp, Objection *objection)
{
    return is_damaged(stamp) &&
           object(objection, "stamp-damaged",
                  g_strdup("The guest's stamp does not count: its digest does not fit what it says."),
                  "Have it written anew on the source host: apmigctl unstamp GUEST, and restart apmigd.");
}

gboolean
apmig_stamp_counts(const ApmigStamp *stamp, gint64 now, const ApmigStampPolicy *policy)
{
    g_auto(Objection) objection = {0};

    return !find_origin_objection(stamp, policy, &objection) &&
           !find_age_objection(stamp, now, policy, &objection) && !is_damaged(stamp);
}

ApmigStampVerdict *
apmig_stamp_judge(const ApmigStamp *stamp, const ApmigEvidence *evidence, gint64 now,
                  const ApmigStampPolicy *policy)
{
    g_auto(Objection) objection = {0};
    g_autofree char *written_at = stamp ? apmig_sentence_time(stamp->written_at) : NULL;
    g_autofree char *source = stamp ? g_strdup_printf("written at %s", written_at) : g_strdup("none");
    gboolean objected = find_origin_objection(stamp, policy, &objection);
    gboolean is_lock_of_another = is_own(stamp, policy) && !policy->own_lock_is_known;

    if (stamp && stamp->lock && (!objected || is_lock_of_another))
        return verdict_of_lock(stamp, policy);
    if (objected || find_age_objection(stamp, now, policy, &objection) || find_damage(stamp, &objection))
        return verdict_new(policy->missing, objection.sentence, g_strdup("stamp"), objection.code, source,
                           objection.remedy);
    return judge_keys(stamp, evidence, policy, source);
}
