/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of the fleet share: json.c reads and writes what all of its texts are made of, reason.c says why not.
 */
#pragma once

#include "base/strict-json.h"
#include "fleet/answer.h"
#include "fleet/reason.h"

/* --- json.c: reading ------------------------------------------------------------------------------ */

/* @keys: all that the text has at its top, ended by %NULL; "version" is the first. Returns: (transfer full) (nullable) */
JsonObject *fleet_json_parse(const char *text, gsize length, const char *origin, const char *const *keys,
                             GError **error);

/* Of each: @error: as apmig_json_fail(); then the output is untouched. */

/* UTF-8 without control characters, of at most @max_bytes. @ret_text: (transfer full): free of what was there */
gboolean fleet_json_read_text(const ApmigJsonPlace *place, const char *key, gsize max_bytes, char **ret_text,
                              GError **error);
/* The same, and not "". */
gboolean fleet_json_read_name(const ApmigJsonPlace *place, const char *key, char **ret_text, GError **error);
/* A UUID in lower case. @may_be_empty: or "" */
gboolean fleet_json_read_uuid(const ApmigJsonPlace *place, const char *key, gboolean may_be_empty,
                              char **ret_text, GError **error);
gboolean fleet_json_read_lock_id(const ApmigJsonPlace *place, const char *key, gboolean may_be_empty,
                                 char **ret_text, GError **error);
gboolean fleet_json_read_integer(const ApmigJsonPlace *place, const char *key, gint64 min, gint64 max,
                                 gint64 *ret_number, GError **error);
/* Of at least one queue. */
gboolean fleet_json_read_scope(const ApmigJsonPlace *place, const char *key, ApmigScope **ret_scope,
                               GError **error);
/* An array of at most @max elements. */
gboolean fleet_json_read_array(const ApmigJsonPlace *place, const char *key, guint max, JsonArray **ret_array,
                               GError **error);
/* Plain texts: %APMIG_FLEET_MAX_BLOCKERS of %APMIG_FLEET_MAX_CLAUSE_LENGTH bytes, none of them "". */
gboolean fleet_json_read_clauses(const ApmigJsonPlace *place, const char *key, GStrv *ret_clauses,
                                 GError **error);

#define FLEET_JSON_HEAD_KEYS "version", "fleet", "host", "cluster-id", "revision"
gboolean fleet_json_read_head(const ApmigJsonPlace *place, ApmigFleetHead *head, GError **error);

/* --- json.c: writing ------------------------------------------------------------------------------ */

/* Returns: (transfer full): within an object that has its version. */
JsonBuilder *fleet_json_begin(void);
void fleet_json_add_text(JsonBuilder *builder, const char *key, const char *text);
void fleet_json_add_integer(JsonBuilder *builder, const char *key, gint64 number);
void fleet_json_add_clauses(JsonBuilder *builder, const char *key, char *const *clauses);
void fleet_json_add_head(JsonBuilder *builder, const ApmigFleetHead *head);
/* Ends the object. Returns: (transfer full): the text. */
char *fleet_json_end(JsonBuilder *builder);

/* --- reason.c ------------------------------------------------------------------------------------ */

/* @reasons: (element-type ApmigFleetReason)
 * @member: (nullable): whom it is about; %NULL: the whole fleet
 * @sentence: (transfer full) */
void fleet_reasons_add(GPtrArray *reasons, ApmigFleetReasonKind kind, const ApmigFleetMember *member,
                       char *sentence);

/**
 * fleet_reasons_of_snapshot:
 * @reasons: (element-type ApmigFleetReason): gets why nothing can be judged by @snapshot: the document is missing, is not
 *   the one that was asked about, does not have the lock in @state and as it was asked for, or names nobody
 *
 * Returns: (transfer none) (nullable): the lock as it stands in the document; NULL: there are no hosts to look at.
 */
const ApmigFleetLock *fleet_reasons_of_snapshot(const ApmigFleetQuestion *question,
                                                const ApmigFleetSnapshot *snapshot, ApmigFleetLockState state,
                                                GPtrArray *reasons);

/**
 * fleet_reasons_of_heads:
 * @heads: (element-type ApmigFleetHead): of all answers
 * @member: of the document, and not left out
 * @reasons: gets why the member's answer does not count: there is none, there are several, or it is no answer to this
 *   question
 *
 * Returns: the number of its answer in @heads, or -1.
 */
int fleet_reasons_of_heads(const ApmigFleetQuestion *question, const ApmigFleetSnapshot *snapshot,
                           const GPtrArray *heads, const ApmigFleetMember *member, GPtrArray *reasons);

/* @reasons: gets each that answers and is no member */
void fleet_reasons_of_strangers(const ApmigFleetSnapshot *snapshot, const GPtrArray *heads,
                                GPtrArray *reasons);
