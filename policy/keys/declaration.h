/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What somebody declares of master keys that the host cannot see: which queues have which verification pattern in CUR.
 * "04.0012:AES=0x0123456789abcdef", or the pair "04.0012 AES" and "0x0123456789abcdef"; in place of the queue, any scope:
 * "*.0012" is the queues of that domain on whatever adapters the host has.
 */
#pragma once

#include "keys/evidence.h"

typedef struct {
    ApmigScope *queues;
    ApmigKeyClass key_class;
    ApmigKeyRegister cur; /* valid, with a pattern; of a WK the first half may be all there is */
} ApmigDeclaration;

/**
 * apmig_declaration_parse:
 * @text: "QUEUES:CLASS=PATTERN"; need not be UTF-8
 * @error: #APMIG_ERROR_INVALID_OPTION; the sentence names the part that is wrong
 *
 * Returns: (transfer full) (nullable)
 */
ApmigDeclaration *apmig_declaration_parse(const char *text, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * apmig_declaration_parse_pair:
 * @key: "QUEUES CLASS"
 * @pattern: "0x..."
 * @error: as apmig_declaration_parse()
 *
 * Returns: (transfer full) (nullable)
 */
ApmigDeclaration *apmig_declaration_parse_pair(const char *key, const char *pattern,
                                               GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* @declaration: (nullable) */
void apmig_declaration_free(ApmigDeclaration *declaration);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigDeclaration, apmig_declaration_free)

/**
 * apmig_declarations_expand:
 * @declarations: (element-type ApmigDeclaration): all that one user says at once
 * @host: whose queues are meant; those of a card that has no keys of the declared class are passed over
 * @within: (nullable): of the lock they are declared for; %NULL: any queue
 * @origin: whose declarations these are, when they were made, and of which class: the rest of it is not looked at
 * @error: #APMIG_ERROR_INVALID_OPTION when one of them means no queue of this host or one that is not @within, and when
 *   two of them have different patterns for the same queue
 *
 * Returns: (transfer full) (nullable) (element-type ApmigEvidenceRecord): one record for each queue and key
 * class, to be handed to apmig_evidence_declare().
 */
GPtrArray *apmig_declarations_expand(const GPtrArray *declarations, const ApmigApHost *host,
                                     const ApmigScope *within, const ApmigEvidenceRecord *origin,
                                     GError **error) G_GNUC_WARN_UNUSED_RESULT;
