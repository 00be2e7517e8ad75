/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/declared-keys.h"

#include <string.h>

#include "ap/text.h"
#include "store/json.h"
#include "store/members.h"

#define VERSION 1

#define MAX_NAME_LENGTH 255

static const char *const file_members[] = {"version", "keys", NULL};
static const ApmigMembersForm file_form = {VERSION, APMIG_STORE_MAX_PLAIN_BYTES, file_members, NULL};
/* The first may be missing: there was a time when everything was declared. */
static const char *const key_members[] = {"evidence", "queue", "class", "pattern", "before",
                                          "uid",      "user",  "at",    NULL};

/* --- reading ------------------------------------------------------------------------------------- */

static gboolean
decode_pattern(JsonObject *object, const char *member, ApmigKeyClass key_class,
               ApmigKeyRegister *ret_register, GError **error)
{
    const char *text = NULL;

    if (!apmig_members_get_text(object, member, MAX_NAME_LENGTH, &text, error))
        return FALSE;
    if (!apmig_key_pattern_parse(text, apmig_key_class_said_bytes(key_class, text), ret_register) ||
        ret_register->length == 0)
        return apmig_members_fail(error, "its member \"%s\" is no pattern", member);
    ret_register->state = APMIG_KEY_STATE_VALID;
    return TRUE;
}

/* "-" is what was not known. */
static gboolean
decode_patterns(JsonObject *object, ApmigEvidenceRecord *record, GError **error)
{
    const char *before = NULL;

    if (!decode_pattern(object, "pattern", record->key_class, &record->registers[APMIG_REGISTER_CUR],
                        error) ||
        !apmig_members_get_text(object, "before", MAX_NAME_LENGTH, &before, error))
        return FALSE;
    return g_str_equal(before, "-") ||
           decode_pattern(object, "before", record->key_class, &record->before, error);
}

static gboolean
decode_origin(JsonObject *object, ApmigEvidenceRecord *record, GError **error)
{
    gint64 uid;

    if (!apmig_members_get_integer(object, "uid", G_MAXUINT32, &uid, error) ||
        !apmig_members_copy_text(object, "user", MAX_NAME_LENGTH, &record->source, error) ||
        !apmig_members_get_integer(object, "at", G_MAXINT64, &record->at, error))
        return FALSE;
    record->uid = (guint32)uid;
    return TRUE;
}

static gboolean
decode_evidence(JsonObject *object, ApmigEvidenceRecord *record, GError **error)
{
    const char *evidence = NULL;

    record->evidence = APMIG_EVIDENCE_DECLARED;
    if (!json_object_has_member(object, key_members[0]))
        return TRUE;
    if (!apmig_members_get_text(object, key_members[0], MAX_NAME_LENGTH, &evidence, error))
        return FALSE;
    return (apmig_evidence_class_from_string(evidence, &record->evidence) &&
            apmig_evidence_class_is_word(record->evidence)) ||
           apmig_members_fail(error, "its member \"%s\" is neither declared nor attested", key_members[0]);
}

/* Returns: (transfer full) (nullable) */
static ApmigEvidenceRecord *
decode_key(JsonNode *node, GError **error)
{
    g_autoptr(ApmigEvidenceRecord) record = g_new0(ApmigEvidenceRecord, 1);
    const char *queue = NULL, *key_class = NULL;
    JsonObject *object = JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
    ApmigApqn number = {0};

    if (!object) {
        apmig_members_fail(error, "its member \"keys\" holds what is no object");
        return NULL;
    }
    if (!apmig_members_check(object, key_members + !json_object_has_member(object, key_members[0]), NULL,
                             error) ||
        !apmig_members_get_text(object, "queue", MAX_NAME_LENGTH, &queue, error) ||
        !apmig_members_get_text(object, "class", MAX_NAME_LENGTH, &key_class, error))
        return NULL;
    if (!apmig_ap_parse_queue_name(queue, &number) ||
        !apmig_key_class_from_string(key_class, &record->key_class)) {
        apmig_members_fail(error, "it names a queue or a key class that is none");
        return NULL;
    }
    record->adapter = number.adapter;
    record->domain = number.domain;
    if (!decode_evidence(object, record, error) || !decode_patterns(object, record, error) ||
        !decode_origin(object, record, error))
        return NULL;
    return g_steal_pointer(&record);
}

GPtrArray *
apmig_declared_keys_decode(const char *text, gsize length, GError **error)
{
    g_autoptr(GPtrArray) records = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_evidence_record_free);
    g_autoptr(JsonObject) object =
        apmig_members_parse(text, length, APMIG_DECLARED_KEYS_STEM, &file_form, error);
    JsonNode *keys = object ? json_object_get_member(object, "keys") : NULL;

    if (!object)
        return NULL;
    if (!JSON_NODE_HOLDS_ARRAY(keys)) {
        apmig_members_fail(error, "its member \"keys\" is no array");
        return NULL;
    }
    for (guint i = 0; i < json_array_get_length(json_node_get_array(keys)); i++) {
        ApmigEvidenceRecord *record = decode_key(json_array_get_element(json_node_get_array(keys), i), error);

        if (!record)
            return NULL;
        g_ptr_array_add(records, record);
    }
    return g_steal_pointer(&records);
}

/* --- writing ------------------------------------------------------------------------------------- */

static void
encode_key(JsonBuilder *builder, const ApmigEvidenceRecord *record)
{
    g_autofree char *queue = apmig_ap_queue_name(record->adapter, record->domain);
    g_autofree char *pattern = apmig_key_pattern_to_string(&record->registers[APMIG_REGISTER_CUR]);
    g_autofree char *before = apmig_key_pattern_to_string(&record->before);

    json_builder_begin_object(builder);
    apmig_members_add_text(builder, key_members[0], apmig_evidence_class_to_string(record->evidence));
    apmig_members_add_text(builder, "queue", queue);
    apmig_members_add_text(builder, "class", apmig_key_class_to_string(record->key_class));
    apmig_members_add_text(builder, "pattern", pattern);
    apmig_members_add_text(builder, "before", before);
    apmig_members_add_integer(builder, "uid", record->uid);
    apmig_members_add_text(builder, "user", record->source);
    apmig_members_add_integer(builder, "at", record->at);
    json_builder_end_object(builder);
}

char *
apmig_declared_keys_encode(const GPtrArray *records, GError **error)
{
    g_autoptr(JsonBuilder) builder = apmig_members_begin(VERSION);
    g_autoptr(GPtrArray) same = NULL;
    g_autofree char *text = NULL;

    json_builder_set_member_name(builder, "keys");
    json_builder_begin_array(builder);
    for (guint i = 0; i < records->len; i++)
        encode_key(builder, g_ptr_array_index(records, i));
    json_builder_end_array(builder);
    text = apmig_members_end(builder);

    same = apmig_declared_keys_decode(text, strlen(text), error);
    if (!same) {
        g_prefix_error(error, "the file of declared keys would not read: ");
        return NULL;
    }
    return g_steal_pointer(&text);
}
