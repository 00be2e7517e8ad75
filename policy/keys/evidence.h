/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is known of the master keys of this host's queues, from whom, and since when. Of a queue that is passed through
 * to a guest the kernel tells the host nothing: its keys are known because somebody said so, or not at all.
 *
 * A card speaks for a queue only while the queue is bound to the host's driver. Once it is not, its keys can be changed
 * without the host's knowledge, so a reading is dropped when its queue can no longer be read.
 *
 * A pattern is evidence of a key, not proof, and there is none at all of the SYM (DES) master key of CCA.
 *
 * Not thread-safe: one thread owns a table. Times are realtime, usec.
 */
#pragma once

#include "keys/mkvp.h"

/* The stronger, the greater. */
typedef enum {
    APMIG_EVIDENCE_UNKNOWN = 0,
    APMIG_EVIDENCE_DECLARED, /* somebody said so */
    APMIG_EVIDENCE_ATTESTED, /* somebody did who can know: a program that reads what the TKE exports */
    APMIG_EVIDENCE_VERIFIED, /* the card itself, of this very queue */
} ApmigEvidenceClass;

#define APMIG_N_EVIDENCE_CLASSES (APMIG_EVIDENCE_VERIFIED + 1)

/* "unknown", "declared", "attested", "verified". */
const char *apmig_evidence_class_to_string(ApmigEvidenceClass evidence);
/* Returns: FALSE when @text names none; @ret_class is then untouched. */
gboolean apmig_evidence_class_from_string(const char *text, ApmigEvidenceClass *ret_class);
/* Whether it is one that people and programs can give to what they say: declared or attested. */
gboolean apmig_evidence_class_is_word(ApmigEvidenceClass evidence);

/* Of one key class of one queue. */
typedef struct {
    guint adapter, domain; /* at most 255 */
    ApmigKeyClass key_class;
    ApmigEvidenceClass evidence;
    ApmigKeyRegister registers[APMIG_N_REGISTERS]; /* a word tells CUR alone */
    gint64 at;                                     /* when it was read, or said */
    char *source;                                  /* of a word: the name of the user who gave it; else "" */
    guint32 uid;                                   /* of a word: that user's */
    ApmigKeyRegister before; /* of a word: CUR as it was known until then; length 0: it was not */
    gboolean contradicted;   /* the card says otherwise, and said it later: counts no more */
} ApmigEvidenceRecord;

ApmigEvidenceRecord *apmig_evidence_record_copy(const ApmigEvidenceRecord *record);
/* @record: (nullable) */
void apmig_evidence_record_free(ApmigEvidenceRecord *record);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigEvidenceRecord, apmig_evidence_record_free)

/* Returns: (transfer full): "verified, read from the card at ...", "declared by ... at ...", without a full stop. */
char *apmig_evidence_record_describe(const ApmigEvidenceRecord *record);

typedef struct ApmigEvidence ApmigEvidence;

ApmigEvidence *apmig_evidence_new(void);
/* @evidence: (nullable) */
void apmig_evidence_free(ApmigEvidence *evidence);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigEvidence, apmig_evidence_free)

/**
 * apmig_evidence_add:
 * @record: copied; what is older than what is there of the same queue, key class and evidence class is passed over.
 *   One whose CUR is not known takes away what is there
 * @alarms: (nullable) (element-type utf8): gets a sentence for each word that the card contradicts by this, once
 */
void apmig_evidence_add(ApmigEvidence *evidence, const ApmigEvidenceRecord *record, GPtrArray *alarms);

/**
 * apmig_evidence_add_reading:
 * @mkvps: (nullable): what a queue of this host gave; %NULL: it cannot be read, or no longer
 * @at: when
 * @alarms: (nullable) (element-type utf8): as apmig_evidence_add()
 *
 * A reading speaks of every class: what it does not know is no longer verified.
 */
void apmig_evidence_add_reading(ApmigEvidence *evidence, guint adapter, guint domain, const ApmigMkvps *mkvps,
                                gint64 at, GPtrArray *alarms);

/**
 * apmig_evidence_declare:
 * @record: a word; copied, with what was known until now as its @before
 * @is_change: whether the key was to be changed, as under a lock that is released
 * @warnings: (nullable) (element-type utf8): gets a sentence when what is known otherwise counts more, as what the card
 *   itself said, and with @is_change when the pattern is what it was before
 */
void apmig_evidence_declare(ApmigEvidence *evidence, const ApmigEvidenceRecord *record, gboolean is_change,
                            GPtrArray *warnings);

/* Returns: (transfer none) (nullable): the strongest that is not contradicted, whatever its age; NULL: unknown. Good
 * until the table changes. */
const ApmigEvidenceRecord *apmig_evidence_lookup(const ApmigEvidence *evidence, guint adapter, guint domain,
                                                 ApmigKeyClass key_class);

/* Returns: (transfer container) (element-type ApmigEvidenceRecord): everything, by queue and key class, the strongest
 * first. Good until the table changes. */
GPtrArray *apmig_evidence_list(const ApmigEvidence *evidence);

/* Returns: (transfer full): a sentence on what is odd about the keys that are known: words that a card contradicts, and
 * changes that the cards say are under way; "" when nothing is. */
char *apmig_evidence_describe_trouble(const ApmigEvidence *evidence);

/**
 * apmig_evidence_explain_unknown:
 * @host: as it was read
 *
 * Returns: (transfer none): why the host does not see the keys of this queue, and what can be done: a part of a
 * sentence to stand after the queue's name.
 */
const char *apmig_evidence_explain_unknown(const ApmigApHost *host, guint adapter, guint domain);
