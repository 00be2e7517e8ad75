/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The members of a JSON object in a file of the store: strictly read, plainly written. Errors are
 * APMIG_ERROR_STATE_FAILURE with a clause on what is wrong with "it", the file.
 */
#pragma once

#include <json-glib/json-glib.h>

/* Returns: FALSE. */
G_GNUC_PRINTF(2, 3) gboolean apmig_members_fail(GError **error, const char *format, ...);

/* Exactly the members named, and of @optional (nullable) any. */
gboolean apmig_members_check(JsonObject *object, const char *const *members, const char *const *optional,
                             GError **error);

/* What the object of a file is to be. */
typedef struct {
    gint64 version; /* the one that is known */
    gsize max_bytes;
    const char *const *members;  /* ended by %NULL: these it must have */
    const char *const *optional; /* (nullable): as @members: these it may have besides, and no others */
} ApmigMembersForm;

/* @stem: the file's name without ".json" */
JsonObject *apmig_members_parse(const char *text, gsize length, const char *stem,
                                const ApmigMembersForm *form, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Each reads the member of that name, which must be there. */
gboolean apmig_members_node_text(JsonNode *node, const char *member, gsize max_bytes, const char **ret_text,
                                 GError **error);
gboolean apmig_members_get_text(JsonObject *object, const char *member, gsize max_bytes,
                                const char **ret_text, GError **error);
gboolean apmig_members_copy_text(JsonObject *object, const char *member, gsize max_bytes, char **ret_text,
                                 GError **error);
/* From 0 to @max. */
gboolean apmig_members_get_integer(JsonObject *object, const char *member, gint64 max, gint64 *ret_value,
                                   GError **error);

/* An object with its version, to be filled. */
JsonBuilder *apmig_members_begin(gint64 version);
void apmig_members_add_text(JsonBuilder *builder, const char *member, const char *text);
void apmig_members_add_integer(JsonBuilder *builder, const char *member, gint64 value);
/* Returns: (transfer full): the text of the file. */
char *apmig_members_end(JsonBuilder *builder);
