/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keys/attestation.h"

#include "ap/text.h"
#include "base/error.h"
#include "base/strict-json.h"

#include <string.h>

#define VERSION 1

/* --- one register of one key --------------------------------------------------------------------- */

typedef struct {
    ApmigApqn queue;
    ApmigKeyClass key_class;
    ApmigRegister reg;
    ApmigKeyRegister value;
    gint64 at;
} Entry;

static gboolean
read_queue(const ApmigJsonPlace *place, ApmigApqn *ret_queue, GError **error)
{
    const char *text = NULL;

    return apmig_json_read_string(place, "queue", NULL, &text, error) &&
           (apmig_ap_parse_queue_name(text, ret_queue) ||
            apmig_json_fail(place, "queue", error,
                            "must name one AP queue as sysfs does, as in \"04.0012\""));
}

static gboolean
read_register(const ApmigJsonPlace *place, Entry *entry, GError **error)
{
    const char *key_class = NULL, *reg = "CUR";

    if (!apmig_json_read_string(place, "class", NULL, &key_class, error) ||
        (json_object_has_member(place->object, "register") &&
         !apmig_json_read_string(place, "register", NULL, &reg, error)))
        return FALSE;
    if (!apmig_key_class_from_string(key_class, &entry->key_class))
        return apmig_json_fail(place, "class", error, "must be one of AES, APKA, ASYM and WK");
    if (!apmig_register_from_string(reg, &entry->reg) ||
        (entry->key_class == APMIG_KEY_WK && entry->reg == APMIG_REGISTER_OLD))
        return apmig_json_fail(place, "register", error, "must be CUR or NEW, or OLD of a CCA key");
    return TRUE;
}

static gboolean
read_pattern(const ApmigJsonPlace *place, Entry *entry, GError **error)
{
    const char *text = NULL;
    guint n_bytes;

    if (!apmig_json_read_string(place, "pattern", NULL, &text, error))
        return FALSE;
    n_bytes = apmig_key_class_said_bytes(entry->key_class, text);
    if (!apmig_key_pattern_parse(text, n_bytes, &entry->value) || entry->value.length == 0)
        return apmig_json_fail(place, "pattern", error,
                               "must be \"0x\" and %u hexadecimal digits, not all of them zeros, for %s",
                               2 * n_bytes, apmig_key_class_to_string(entry->key_class));
    entry->value.state = APMIG_KEY_STATE_VALID;
    if (entry->reg == APMIG_REGISTER_NEW)
        entry->value.state =
            entry->key_class == APMIG_KEY_WK ? APMIG_KEY_STATE_COMMITTED : APMIG_KEY_STATE_FULL;
    return TRUE;
}

/* The clock of whoever was asked may go ahead of this host's. */
static gboolean
read_time(const ApmigJsonPlace *place, gint64 now, gint64 *ret_at, GError **error)
{
    gint64 at;

    *ret_at = now;
    if (!json_object_has_member(place->object, "at"))
        return TRUE;
    if (!apmig_json_get_integer(place, "at", &at) || at <= 0)
        return apmig_json_fail(place, "at", error, "must be a time, in whole seconds since 1970");
    if (at < now / G_USEC_PER_SEC)
        *ret_at = at * G_USEC_PER_SEC;
    return TRUE;
}

/* --- all of them --------------------------------------------------------------------------------- */

static ApmigEvidenceRecord *
find_or_add_record(GHashTable *index, GPtrArray *records, const Entry *entry, const char *source)
{
    gpointer key = GUINT_TO_POINTER((entry->queue.adapter * APMIG_AP_NUMBERS + entry->queue.domain) *
                                        APMIG_N_KEY_CLASSES +
                                    (guint)entry->key_class);
    ApmigEvidenceRecord *record = g_hash_table_lookup(index, key);

    if (record != NULL)
        return record;
    record = g_new0(ApmigEvidenceRecord, 1);
    record->adapter = entry->queue.adapter;
    record->domain = entry->queue.domain;
    record->key_class = entry->key_class;
    record->evidence = APMIG_EVIDENCE_ATTESTED;
    record->source = g_strdup(source);
    record->at = entry->at;
    g_hash_table_insert(index, key, record);
    g_ptr_array_add(records, record);
    return record;
}

static gboolean
read_entry(const ApmigJsonPlace *place, gint64 now, GHashTable *index, GPtrArray *records, GError **error)
{
    static const char *const keys[] = {"queue", "class", "register", "pattern", "at", NULL};
    ApmigEvidenceRecord *record;
    Entry entry = {0};

    if (!apmig_json_check_keys(place, keys, "unknown", error) || !read_queue(place, &entry.queue, error) ||
        !read_register(place, &entry, error) || !read_pattern(place, &entry, error) ||
        !read_time(place, now, &entry.at, error))
        return FALSE;
    record = find_or_add_record(index, records, &entry, place->origin);
    if (record->registers[entry.reg].length > 0)
        return apmig_json_fail(place, "register", error, "is named a second time for this queue and class");
    record->registers[entry.reg] = entry.value;
    record->at = MIN(record->at, entry.at);
    return TRUE;
}

static JsonArray *
read_array(const ApmigJsonPlace *place, GError **error)
{
    static const char *const keys[] = {"version", "keys", NULL};
    JsonNode *array = json_object_get_member(place->object, "keys");
    gint64 version;

    if (!apmig_json_get_integer(place, "version", &version) || version != VERSION) {
        apmig_json_fail(place, "version", error, "must be %d", VERSION);
        return NULL;
    }
    if (!apmig_json_check_keys(place, keys, "unknown", error))
        return NULL;
    if (array != NULL && JSON_NODE_HOLDS_ARRAY(array))
        return json_node_get_array(array);
    apmig_json_fail(place, "keys", error, "must be an array");
    return NULL;
}

GPtrArray *
apmig_attestation_parse(const char *text, gsize length, const char *source, gint64 now, GError **error)
{
    g_autoptr(GPtrArray) records = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_evidence_record_free);
    g_autoptr(GHashTable) index = g_hash_table_new(NULL, NULL);
    g_autoptr(JsonObject) object =
        apmig_strict_json_parse(text, length, APMIG_ATTESTATION_MAX_BYTES, source, error);
    const ApmigJsonPlace place = {source, "$", object};
    JsonArray *array = object != NULL ? read_array(&place, error) : NULL;

    if (array == NULL)
        return NULL;
    for (guint i = 0; i < json_array_get_length(array); i++) {
        g_autofree char *path = NULL;
        ApmigJsonPlace inner;

        if (!apmig_json_enter(&place, "keys", i, "an object", &path, &inner, error) ||
            !read_entry(&inner, now, index, records, error))
            return NULL;
    }
    return g_steal_pointer(&records);
}
