/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keys/release-check.h"

#include "ap/find.h"
#include "base/sentence.h"

typedef struct {
    const ApmigScope *scope;
    const ApmigApHost *host;
    const GPtrArray *readings;
    const ApmigEvidence *evidence;
} Question;

static GPtrArray *
sentences_new(void)
{
    return g_ptr_array_new_with_free_func(g_free);
}

static gboolean
is_asked(const Question *question, const ApmigKeyReading *reading)
{
    return apmig_scope_contains(question->scope, reading->adapter, reading->domain);
}

static const ApmigKeyRegister *
cur_of(const ApmigKeyReading *reading, guint key_class)
{
    return &reading->mkvps.registers[key_class][APMIG_REGISTER_CUR];
}

static gboolean
has_key(const ApmigKeyReading *reading, guint key_class)
{
    return cur_of(reading, key_class)->length > 0;
}

static gboolean
has_no_key(const ApmigKeyReading *reading, guint key_class)
{
    return apmig_key_register_is_empty(cur_of(reading, key_class));
}

/* --- a change that is under way ------------------------------------------------------------------ */

static void
find_pending(const ApmigKeyReading *reading, GPtrArray *problems)
{
    for (guint i = 0; i < APMIG_N_KEY_CLASSES; i++) {
        const ApmigKeyRegister *reg = &reading->mkvps.registers[i][APMIG_REGISTER_NEW];
        g_autofree char *pattern = reg->length > 0 ? apmig_key_pattern_to_string(reg) : NULL;

        if (apmig_key_register_is_pending(reg))
            g_ptr_array_add(
                problems, g_strdup_printf("%s NEW is %s%s%s in AP queue %02x.%04x",
                                          apmig_key_class_to_string((ApmigKeyClass)i),
                                          apmig_key_state_to_string(reg->state), pattern != NULL ? " " : "",
                                          pattern != NULL ? pattern : "", reading->adapter, reading->domain));
    }
}

static char *
describe_unfinished(const Question *question)
{
    g_autoptr(GPtrArray) problems = sentences_new();
    g_autofree char *few = NULL;

    for (guint i = 0; i < question->readings->len; i++)
        if (is_asked(question, question->readings->pdata[i]))
            find_pending(question->readings->pdata[i], problems);
    if (problems->len == 0)
        return NULL;
    few = apmig_sentence_few(problems, ", ");
    return g_strdup_printf(
        "A key change is unfinished: %s; set the new keys on every adapter, or clear NEW, and release "
        "the lock again.",
        few);
}

/* --- keys that are not in step ------------------------------------------------------------------- */

static void
find_missing(const ApmigKeyReading *reading, GPtrArray *problems)
{
    guint n_with = 0, n_without = 0;

    for (guint i = 0; i < APMIG_N_KEY_CLASSES; i++) {
        n_with += has_key(reading, i);
        n_without += has_no_key(reading, i);
        if (has_no_key(reading, i) && reading->mkvps.registers[i][APMIG_REGISTER_OLD].length > 0)
            g_ptr_array_add(problems,
                            g_strdup_printf("%s CUR is %s in AP queue %02x.%04x, although OLD has a key",
                                            apmig_key_class_to_string((ApmigKeyClass)i),
                                            apmig_key_state_to_string(cur_of(reading, i)->state),
                                            reading->adapter, reading->domain));
    }
    if (n_with == 0 && n_without > 0)
        g_ptr_array_add(problems, g_strdup_printf("CUR is not valid for any key in AP queue %02x.%04x",
                                                  reading->adapter, reading->domain));
}

/* A queue of the domain that has a key of the class, one of the lock's if there is such a one. Returns: (nullable) */
static const ApmigKeyReading *
find_reference(const Question *question, guint domain, guint key_class)
{
    const ApmigKeyReading *reference = NULL;

    for (guint i = 0; i < question->readings->len; i++) {
        const ApmigKeyReading *reading = question->readings->pdata[i];

        if (reading->domain != domain || !has_key(reading, key_class))
            continue;
        if (is_asked(question, reading))
            return reading;
        reference = reference != NULL ? reference : reading;
    }
    return reference;
}

/* Holds a queue against another of its domain: one of the two is the lock's. */
static void
find_different(const Question *question, const ApmigKeyReading *reading, GPtrArray *problems)
{
    for (guint i = 0; i < APMIG_N_KEY_CLASSES; i++) {
        const ApmigKeyReading *reference = find_reference(question, reading->domain, i);
        g_autofree char *pattern = NULL;
        g_autofree char *other = NULL;

        if (reference == NULL || (!is_asked(question, reference) && !is_asked(question, reading)) ||
            (!has_key(reading, i) && !has_no_key(reading, i)) ||
            apmig_key_pattern_equal((ApmigKeyClass)i, cur_of(reading, i), cur_of(reference, i)))
            continue;
        pattern = apmig_key_pattern_to_string(cur_of(reference, i));
        other = has_key(reading, i) ? apmig_key_pattern_to_string(cur_of(reading, i))
                                    : g_strdup(apmig_key_state_to_string(cur_of(reading, i)->state));
        g_ptr_array_add(problems, g_strdup_printf("%s CUR is %s in AP queue %02x.%04x but %s in %02x.%04x",
                                                  apmig_key_class_to_string((ApmigKeyClass)i), pattern,
                                                  reference->adapter, reference->domain, other,
                                                  reading->adapter, reading->domain));
    }
}

static char *
describe_differences(const Question *question)
{
    g_autoptr(GPtrArray) problems = sentences_new();
    g_autofree char *few = NULL;

    for (guint i = 0; i < question->readings->len; i++) {
        if (is_asked(question, question->readings->pdata[i]))
            find_missing(question->readings->pdata[i], problems);
        find_different(question, question->readings->pdata[i], problems);
    }
    if (problems->len == 0)
        return NULL;
    few = apmig_sentence_few(problems, ", ");
    return g_strdup_printf(
        "The master keys are not in step: %s; load and set the same keys on every adapter of the "
        "domain and release the lock again, or force the release where they are meant to differ.",
        few);
}

/* --- what nobody saw ----------------------------------------------------------------------------- */

/* Queues, by the reason why their keys were not seen. */
typedef struct {
    const char *reason;
    GPtrArray *queues;
} Group;

static void
group_clear(gpointer data)
{
    g_ptr_array_unref(((Group *)data)->queues);
}

/* @queue: (transfer full) */
static void
add_to_group(GArray *groups, const char *reason, char *queue)
{
    for (guint i = 0; i < groups->len; i++) {
        Group *group = &g_array_index(groups, Group, i);

        if (g_str_equal(group->reason, reason)) {
            g_ptr_array_add(group->queues, queue);
            return;
        }
    }
    g_array_append_val(groups, ((Group){reason, sentences_new()}));
    g_ptr_array_add(g_array_index(groups, Group, groups->len - 1).queues, queue);
}

/* Returns: (nullable) */
static const ApmigKeyReading *
find_reading(const Question *question, const ApmigApQueue *queue)
{
    for (guint i = 0; i < question->readings->len; i++) {
        const ApmigKeyReading *reading = question->readings->pdata[i];

        if (reading->adapter == queue->adapter && reading->domain == queue->domain)
            return reading;
    }
    return NULL;
}

/* By what the queue told, where nothing else tells. */
static ApmigApMode
mode_of(const Question *question, const ApmigApQueue *queue, const ApmigKeyReading *reading)
{
    ApmigApMode mode = apmig_ap_find_mode(question->host, queue->adapter);

    if (mode != APMIG_AP_MODE_UNKNOWN || reading == NULL)
        return mode;
    if (has_key(reading, APMIG_KEY_WK) || has_no_key(reading, APMIG_KEY_WK))
        return APMIG_AP_MODE_EP11;
    if (has_key(reading, APMIG_KEY_AES) || has_no_key(reading, APMIG_KEY_AES))
        return APMIG_AP_MODE_CCA;
    return mode;
}

static gboolean
was_seen(const ApmigKeyReading *reading, guint key_class)
{
    return reading != NULL && (has_key(reading, key_class) || has_no_key(reading, key_class)) &&
           reading->mkvps.registers[key_class][APMIG_REGISTER_NEW].state != APMIG_KEY_STATE_UNKNOWN;
}

/* @groups: gets the queue if some of its keys are not known at all
 * @told: gets it if some are known by somebody's word */
static void
sort_queue(const Question *question, const ApmigApQueue *queue, GArray *groups, GPtrArray *told)
{
    const ApmigKeyReading *reading = find_reading(question, queue);
    ApmigApMode mode = mode_of(question, queue, reading);
    g_autoptr(GPtrArray) unknown = g_ptr_array_new();
    g_autoptr(GPtrArray) known = g_ptr_array_new();
    guint n_classes = 0;
    char *name;

    for (guint i = 0; i < APMIG_N_KEY_CLASSES; i++) {
        const ApmigEvidenceRecord *record =
            apmig_evidence_lookup(question->evidence, queue->adapter, queue->domain, (ApmigKeyClass)i);

        if (!apmig_key_mode_has_class(mode, (ApmigKeyClass)i))
            continue;
        n_classes++;
        if (!was_seen(reading, i))
            g_ptr_array_add(record != NULL && record->evidence != APMIG_EVIDENCE_VERIFIED ? known : unknown,
                            (gpointer)apmig_key_class_to_string((ApmigKeyClass)i));
    }
    if ((name = apmig_sentence_queue(queue->adapter, queue->domain, unknown, n_classes)) != NULL)
        add_to_group(groups, apmig_evidence_explain_unknown(question->host, queue->adapter, queue->domain),
                     name);
    if ((name = apmig_sentence_queue(queue->adapter, queue->domain, known, n_classes)) != NULL)
        g_ptr_array_add(told, name);
}

/* @parts: gets one for each group */
static void
describe_groups(GArray *groups, GPtrArray *parts)
{
    for (guint i = 0; i < groups->len; i++) {
        const Group *group = &g_array_index(groups, Group, i);
        g_autofree char *few = apmig_sentence_few(group->queues, ", ");

        g_ptr_array_add(parts, g_strdup_printf("AP queues %s (each %s)", few, group->reason));
    }
}

static char *
describe_unverified(const Question *question)
{
    g_autoptr(GArray) groups = g_array_new(FALSE, FALSE, sizeof(Group));
    g_autoptr(GPtrArray) told = sentences_new();
    g_autoptr(GPtrArray) parts = sentences_new();
    g_autofree char *few = NULL;
    g_autofree char *joined = NULL;
    gboolean has_cca = FALSE;

    g_array_set_clear_func(groups, group_clear);
    for (guint i = 0; i < question->host->queues->len; i++) {
        const ApmigApQueue *queue = question->host->queues->pdata[i];

        if (!apmig_scope_contains(question->scope, queue->adapter, queue->domain))
            continue;
        sort_queue(question, queue, groups, told);
        has_cca |= mode_of(question, queue, find_reading(question, queue)) == APMIG_AP_MODE_CCA;
    }
    describe_groups(groups, parts);
    few = apmig_sentence_few(told, ", ");
    if (told->len > 0)
        g_ptr_array_add(parts,
                        g_strdup_printf("AP queues %s (declared or attested, not read from the card)", few));
    if (has_cca)
        g_ptr_array_add(parts, g_strdup("the SYM (DES) master key of any CCA queue (no host can)"));
    if (parts->len == 0)
        return g_strdup("");
    g_ptr_array_add(parts, NULL);
    joined = g_strjoinv("; ", (char **)parts->pdata);
    return g_strdup_printf("Not verified: %s.", joined);
}

/* --- the decision -------------------------------------------------------------------------------- */

ApmigReleaseCheck *
apmig_release_check(const ApmigScope *scope, const ApmigApHost *host, const GPtrArray *readings,
                    const ApmigEvidence *evidence)
{
    const Question question = {scope, host, readings, evidence};
    ApmigReleaseCheck *check = g_new0(ApmigReleaseCheck, 1);

    check->code = APMIG_ERROR_KEY_CHANGE_UNFINISHED;
    check->message = describe_unfinished(&question);
    if (check->message == NULL) {
        check->code = APMIG_ERROR_KEYS_DIFFER;
        check->message = describe_differences(&question);
    }
    check->in_step = check->message == NULL;
    if (check->in_step)
        check->message = g_strdup("");
    check->unverified = describe_unverified(&question);
    return check;
}

void
apmig_release_check_free(ApmigReleaseCheck *check)
{
    if (check == NULL)
        return;
    g_free(check->message);
    g_free(check->unverified);
    g_free(check);
}
