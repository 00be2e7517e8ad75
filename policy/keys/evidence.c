/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keys/evidence.h"

#include "ap/find.h"
#include "base/sentence.h"

struct ApmigEvidence {
    GTree *records; /* by key_of() */
};

static const char *const class_names[] = {
    [APMIG_EVIDENCE_UNKNOWN] = "unknown",
    [APMIG_EVIDENCE_DECLARED] = "declared",
    [APMIG_EVIDENCE_ATTESTED] = "attested",
    [APMIG_EVIDENCE_VERIFIED] = "verified",
};

const char *
apmig_evidence_class_to_string(ApmigEvidenceClass evidence)
{
    g_return_val_if_fail((guint)evidence < G_N_ELEMENTS(class_names), "");
    return class_names[evidence];
}

gboolean
apmig_evidence_class_from_string(const char *text, ApmigEvidenceClass *ret_class)
{
    for (guint i = 0; i < G_N_ELEMENTS(class_names); i++) {
        if (g_str_equal(class_names[i], text)) {
            *ret_class = (ApmigEvidenceClass)i;
            return TRUE;
        }
    }
    return FALSE;
}

gboolean
apmig_evidence_class_is_word(ApmigEvidenceClass evidence)
{
    return evidence == APMIG_EVIDENCE_DECLARED || evidence == APMIG_EVIDENCE_ATTESTED;
}

/* --- records ------------------------------------------------------------------------------------- */

ApmigEvidenceRecord *
apmig_evidence_record_copy(const ApmigEvidenceRecord *record)
{
    ApmigEvidenceRecord *copy = g_new(ApmigEvidenceRecord, 1);

    *copy = *record;
    copy->source = g_strdup(record->source != NULL ? record->source : "");
    return copy;
}

void
apmig_evidence_record_free(ApmigEvidenceRecord *record)
{
    if (record == NULL)
        return;
    g_free(record->source);
    g_free(record);
}

char *
apmig_evidence_record_describe(const ApmigEvidenceRecord *record)
{
    g_autofree char *at = apmig_sentence_time(record->at);

    switch (record->evidence) {
    case APMIG_EVIDENCE_VERIFIED:
        return g_strdup_printf("verified, read from the card at %s", at);
    case APMIG_EVIDENCE_ATTESTED:
    case APMIG_EVIDENCE_DECLARED:
        return g_strdup_printf("%s by %s (uid %u) at %s", apmig_evidence_class_to_string(record->evidence),
                               record->source, record->uid, at);
    case APMIG_EVIDENCE_UNKNOWN:
    default:
        return g_strdup("unknown");
    }
}

static const ApmigKeyRegister *
cur_of(const ApmigEvidenceRecord *record)
{
    return &record->registers[APMIG_REGISTER_CUR];
}

static gboolean
is_known(const ApmigEvidenceRecord *record)
{
    return apmig_key_register_is_empty(cur_of(record)) || cur_of(record)->length > 0;
}

static gboolean
says_the_same(const ApmigEvidenceRecord *a, const ApmigEvidenceRecord *b)
{
    if (apmig_key_register_is_empty(cur_of(a)) || apmig_key_register_is_empty(cur_of(b)))
        return apmig_key_register_is_empty(cur_of(a)) && apmig_key_register_is_empty(cur_of(b));
    return apmig_key_pattern_equal(a->key_class, cur_of(a), cur_of(b));
}

/* --- the table ----------------------------------------------------------------------------------- */

/* In the order of apmig_evidence_list(). */
static gpointer
key_of(guint adapter, guint domain, ApmigKeyClass key_class, ApmigEvidenceClass evidence)
{
    guint rank = APMIG_EVIDENCE_VERIFIED - (guint)evidence;

    return GUINT_TO_POINTER(((adapter * APMIG_AP_NUMBERS + domain) * APMIG_N_KEY_CLASSES + (guint)key_class) *
                                APMIG_N_EVIDENCE_CLASSES +
                            rank);
}

static int
compare_keys(gconstpointer a, gconstpointer b, gpointer data)
{
    return (GPOINTER_TO_UINT(a) > GPOINTER_TO_UINT(b)) - (GPOINTER_TO_UINT(a) < GPOINTER_TO_UINT(b));
}

ApmigEvidence *
apmig_evidence_new(void)
{
    ApmigEvidence *evidence = g_new0(ApmigEvidence, 1);

    evidence->records = g_tree_new_full(compare_keys, NULL, NULL, (GDestroyNotify)apmig_evidence_record_free);
    return evidence;
}

void
apmig_evidence_free(ApmigEvidence *evidence)
{
    if (evidence == NULL)
        return;
    g_tree_destroy(evidence->records);
    g_free(evidence);
}

static gboolean
append_record(gpointer key, gpointer record, gpointer list)
{
    g_ptr_array_add(list, record);
    return FALSE;
}

GPtrArray *
apmig_evidence_list(const ApmigEvidence *evidence)
{
    GPtrArray *list = g_ptr_array_new();

    g_tree_foreach(evidence->records, append_record, list);
    return list;
}

const ApmigEvidenceRecord *
apmig_evidence_lookup(const ApmigEvidence *evidence, guint adapter, guint domain, ApmigKeyClass key_class)
{
    g_return_val_if_fail(adapter < APMIG_AP_NUMBERS && domain < APMIG_AP_NUMBERS, NULL);
    for (guint i = APMIG_EVIDENCE_VERIFIED; i > APMIG_EVIDENCE_UNKNOWN; i--) {
        const ApmigEvidenceRecord *record =
            g_tree_lookup(evidence->records, key_of(adapter, domain, key_class, (ApmigEvidenceClass)i));

        if (record != NULL && !record->contradicted)
            return record;
    }
    return NULL;
}

/* --- adding -------------------------------------------------------------------------------------- */

static char *
show_cur(const ApmigEvidenceRecord *record)
{
    if (apmig_key_register_is_empty(cur_of(record)))
        return g_strdup("no key");
    return apmig_key_pattern_to_string(cur_of(record));
}

static char *
describe_contradiction(const ApmigEvidenceRecord *card, const ApmigEvidenceRecord *word)
{
    g_autofree char *card_cur = show_cur(card);
    g_autofree char *card_at = apmig_sentence_time(card->at);
    g_autofree char *word_cur = show_cur(word);
    g_autofree char *origin = apmig_evidence_record_describe(word);

    return g_strdup_printf(
        "AP queue %02x.%04x: the card has %s in %s CUR, read at %s, but %s was %s. The card counts: "
        "either that was wrong, or the key was changed since.",
        card->adapter, card->domain, card_cur, apmig_key_class_to_string(card->key_class), card_at, word_cur,
        origin);
}

/* Holds against the card what others said before it. */
static void
check_words(ApmigEvidence *evidence, guint adapter, guint domain, ApmigKeyClass key_class, GPtrArray *alarms)
{
    const ApmigEvidenceRecord *card =
        g_tree_lookup(evidence->records, key_of(adapter, domain, key_class, APMIG_EVIDENCE_VERIFIED));

    for (guint i = APMIG_EVIDENCE_DECLARED; card != NULL && i < APMIG_EVIDENCE_VERIFIED; i++) {
        ApmigEvidenceRecord *word =
            g_tree_lookup(evidence->records, key_of(adapter, domain, key_class, (ApmigEvidenceClass)i));
        gboolean contradicted;

        if (word == NULL || word->at > card->at)
            continue;
        contradicted = !says_the_same(card, word);
        if (contradicted && !word->contradicted && alarms != NULL)
            g_ptr_array_add(alarms, describe_contradiction(card, word));
        word->contradicted = contradicted;
    }
}

void
apmig_evidence_add(ApmigEvidence *evidence, const ApmigEvidenceRecord *record, GPtrArray *alarms)
{
    const ApmigEvidenceRecord *present;
    gpointer key;

    g_return_if_fail(record->adapter < APMIG_AP_NUMBERS && record->domain < APMIG_AP_NUMBERS);
    g_return_if_fail((guint)record->key_class < APMIG_N_KEY_CLASSES);
    g_return_if_fail(record->evidence > APMIG_EVIDENCE_UNKNOWN &&
                     record->evidence <= APMIG_EVIDENCE_VERIFIED);
    key = key_of(record->adapter, record->domain, record->key_class, record->evidence);
    present = g_tree_lookup(evidence->records, key);
    if (present != NULL && present->at > record->at)
        return;
    if (is_known(record))
        g_tree_replace(evidence->records, key, apmig_evidence_record_copy(record));
    else
        g_tree_remove(evidence->records, key);
    check_words(evidence, record->adapter, record->domain, record->key_class, alarms);
}

void
apmig_evidence_add_reading(ApmigEvidence *evidence, guint adapter, guint domain, const ApmigMkvps *mkvps,
                           gint64 at, GPtrArray *alarms)
{
    for (guint i = 0; i < APMIG_N_KEY_CLASSES; i++) {
        ApmigEvidenceRecord record = {adapter, domain, (ApmigKeyClass)i, APMIG_EVIDENCE_VERIFIED};

        for (guint j = 0; mkvps != NULL && j < APMIG_N_REGISTERS; j++)
            record.registers[j] = mkvps->registers[i][j];
        record.at = at;
        apmig_evidence_add(evidence, &record, alarms);
    }
}

static char *
describe_unchanged(const ApmigEvidenceRecord *record)
{
    g_autofree char *cur = show_cur(record);

    return g_strdup_printf("AP queue %02x.%04x: %s in %s CUR is unchanged, it was known before: make sure "
                           "that the new key was set, and not only loaded.",
                           record->adapter, record->domain, cur,
                           apmig_key_class_to_string(record->key_class));
}

static char *
describe_outranked(const ApmigEvidenceRecord *record, const ApmigEvidenceRecord *known)
{
    g_autofree char *cur = show_cur(record);
    g_autofree char *known_cur = show_cur(known);
    g_autofree char *origin = apmig_evidence_record_describe(known);

    return g_strdup_printf("AP queue %02x.%04x: %s in %s CUR is %s only, but %s was %s, and counts until "
                           "the key is attested anew.",
                           record->adapter, record->domain, cur, apmig_key_class_to_string(record->key_class),
                           apmig_evidence_class_to_string(record->evidence), known_cur, origin);
}

static void
warn_of_declaration(const ApmigEvidenceRecord *record, const ApmigEvidenceRecord *known, gboolean is_change,
                    GPtrArray *warnings)
{
    if (says_the_same(record, known)) {
        if (is_change)
            g_ptr_array_add(warnings, describe_unchanged(record));
    } else if (known->evidence == APMIG_EVIDENCE_VERIFIED) {
        g_ptr_array_add(warnings, describe_contradiction(known, record));
    } else if (known->evidence > record->evidence) {
        g_ptr_array_add(warnings, describe_outranked(record, known));
    }
}

void
apmig_evidence_declare(ApmigEvidence *evidence, const ApmigEvidenceRecord *record, gboolean is_change,
                       GPtrArray *warnings)
{
    const ApmigEvidenceRecord *known =
        apmig_evidence_lookup(evidence, record->adapter, record->domain, record->key_class);
    ApmigEvidenceRecord declaration = *record;

    g_return_if_fail(apmig_evidence_class_is_word(record->evidence));
    if (known != NULL) {
        declaration.before = *cur_of(known);
        if (warnings != NULL)
            warn_of_declaration(record, known, is_change, warnings);
    }
    apmig_evidence_add(evidence, &declaration, warnings);
}

/* --- trouble ------------------------------------------------------------------------------------- */

static void
add_place(GPtrArray *places, const ApmigEvidenceRecord *record)
{
    g_ptr_array_add(places, g_strdup_printf("%02x.%04x %s", record->adapter, record->domain,
                                            apmig_key_class_to_string(record->key_class)));
}

static void
add_trouble(GString *text, const GPtrArray *places, const char *what)
{
    g_autofree char *few = apmig_sentence_few(places, ", ");

    if (places->len > 0)
        g_string_append_printf(text, "%s%s (%s)", text->len > 0 ? "; " : "", what, few);
}

char *
apmig_evidence_describe_trouble(const ApmigEvidence *evidence)
{
    g_autoptr(GPtrArray) list = apmig_evidence_list(evidence);
    g_autoptr(GPtrArray) contradicted = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) pending = g_ptr_array_new_with_free_func(g_free);
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < list->len; i++) {
        const ApmigEvidenceRecord *record = list->pdata[i];

        if (record->contradicted)
            add_place(contradicted, record);
        if (record->evidence == APMIG_EVIDENCE_VERIFIED &&
            apmig_key_register_is_pending(&record->registers[APMIG_REGISTER_NEW]))
            add_place(pending, record);
    }
    add_trouble(text, contradicted, "the card has another key than was said");
    add_trouble(text, pending, "a new key is loaded and not set");
    if (text->len > 0) {
        text->str[0] = g_ascii_toupper(text->str[0]);
        g_string_append_c(text, '.');
    }
    return g_string_free(text, FALSE);
}

/* --- words --------------------------------------------------------------------------------------- */

const char *
apmig_evidence_explain_unknown(const ApmigApHost *host, guint adapter, guint domain)
{
    const ApmigApQueue *queue = apmig_ap_find_queue(host, adapter, domain);

    if (queue == NULL)
        return "is not on this host";
    if (apmig_ap_find_mode(host, adapter) == APMIG_AP_MODE_ACCELERATOR)
        return "is one of an accelerator, which has no master keys";
    if (g_str_equal(queue->driver, "vfio_ap"))
        return "is set aside for guests (driver vfio_ap), so this host cannot see its master keys, which is "
               "normal: look them up on the TKE workstation or in the guest, and declare them";
    if (*queue->driver == '\0')
        return "has no driver, so this host cannot see its master keys";
    if (queue->config == APMIG_NO)
        return "is deconfigured, so its card does not tell its master keys";
    if (queue->chkstop == APMIG_YES)
        return "is checkstopped, so its card does not tell its master keys";
    if (queue->online == APMIG_NO)
        return "is offline, so its card does not tell its master keys: set it online with chzcrypt -e";
    return "gave no answer about its master keys: look at it with lszcrypt, or try again";
}
