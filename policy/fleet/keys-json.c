/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fleet/private.h"

#include <string.h>

#include "ap/text.h"
#include "base/error.h"

static const char *const keys_keys[] = {FLEET_JSON_HEAD_KEYS, "keys", NULL};

/* As ListKeys calls them on the bus. */
static const char *const record_keys[] = {"queue", "class",     "evidence", "source",    "time", "new-state",
                                          "new",   "cur-state", "cur",      "old-state", "old",  NULL};
static const struct {
    const char *state, *pattern;
} register_keys[APMIG_N_REGISTERS] = {
    [APMIG_REGISTER_NEW] = {"new-state", "new"},
    [APMIG_REGISTER_CUR] = {"cur-state", "cur"},
    [APMIG_REGISTER_OLD] = {"old-state", "old"},
};

/* --- reading -------------------------------------------------------------------------------------- */

static gboolean
read_name(const ApmigJsonPlace *place, ApmigEvidenceRecord *record, GError **error)
{
    const char *queue, *key_class, *evidence;
    ApmigApqn apqn;

    if (!apmig_json_read_string(place, "queue", "as in 04.0012", &queue, error) ||
        !apmig_json_read_string(place, "class", "AES, APKA, ASYM or WK", &key_class, error) ||
        !apmig_json_read_string(place, "evidence", "as in verified", &evidence, error))
        return FALSE;
    if (!apmig_ap_parse_queue_name(queue, &apqn))
        return apmig_json_fail(place, "queue", error, "must be an AP queue, as in 04.0012");
    if (!apmig_key_class_from_string(key_class, &record->key_class))
        return apmig_json_fail(place, "class", error, "must be AES, APKA, ASYM or WK");
    if (!apmig_evidence_class_from_string(evidence, &record->evidence))
        return apmig_json_fail(place, "evidence", error, "must be verified, attested, declared or unknown");
    record->adapter = apqn.adapter;
    record->domain = apqn.domain;
    return TRUE;
}

/* Whether what a register shows fits together: only a key has a pattern, and nobody knows what is not known. */
static gboolean
is_sound(const ApmigEvidenceRecord *record, ApmigRegister reg)
{
    const ApmigKeyRegister *found = &record->registers[reg];

    if (record->evidence == APMIG_EVIDENCE_UNKNOWN)
        return found->state == APMIG_KEY_STATE_UNKNOWN && found->length == 0;
    if (reg != APMIG_REGISTER_CUR && apmig_evidence_class_is_word(record->evidence))
        return found->state == APMIG_KEY_STATE_UNKNOWN && found->length == 0;
    if (found->length == 0)
        return TRUE;
    if (reg == APMIG_REGISTER_NEW)
        return found->state >= APMIG_KEY_STATE_FULL && found->state <= APMIG_KEY_STATE_COMMITTED;
    return found->state == APMIG_KEY_STATE_VALID;
}

static gboolean
read_register(const ApmigJsonPlace *place, ApmigRegister reg, ApmigEvidenceRecord *record, GError **error)
{
    ApmigKeyRegister *found = &record->registers[reg];
    const char *state, *pattern;
    guint n_bytes;

    if (!apmig_json_read_string(place, register_keys[reg].state, "as in valid", &state, error) ||
        !apmig_json_read_string(place, register_keys[reg].pattern, "\"\" for none", &pattern, error))
        return FALSE;
    if (!apmig_key_state_from_string(state, &found->state))
        return apmig_json_fail(place, register_keys[reg].state, error,
                               "must be the state of a register, as in valid");
    n_bytes = apmig_key_class_said_bytes(record->key_class, pattern);
    if (*pattern != '\0' && (!apmig_key_pattern_parse(pattern, n_bytes, found) || found->length == 0))
        return apmig_json_fail(place, register_keys[reg].pattern, error,
                               "must be \"0x\" and %u hexadecimal digits, not all of them 0", 2 * n_bytes);
    return is_sound(record, reg) ||
           apmig_json_fail(place, register_keys[reg].state, error,
                           "does not fit to its pattern, or to the evidence there is");
}

static gboolean
read_record(const ApmigJsonPlace *place, ApmigEvidenceRecord *record, GError **error)
{
    if (!apmig_json_check_keys(place, record_keys, "unknown", error) || !read_name(place, record, error) ||
        !fleet_json_read_text(place, "source", APMIG_FLEET_MAX_NAME_LENGTH, &record->source, error) ||
        !fleet_json_read_integer(place, "time", 0, G_MAXINT64, &record->at, error))
        return FALSE;
    for (guint i = 0; i < APMIG_N_REGISTERS; i++)
        if (!read_register(place, (ApmigRegister)i, record, error))
            return FALSE;
    return TRUE;
}

static guint
number_of(const ApmigEvidenceRecord *record)
{
    return (record->adapter * APMIG_AP_NUMBERS + record->domain) * APMIG_N_KEY_CLASSES +
           (guint)record->key_class;
}

static gboolean
read_records(const ApmigJsonPlace *place, ApmigFleetKeys *keys, GError **error)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    JsonArray *array;

    if (!fleet_json_read_array(place, "keys", APMIG_FLEET_MAX_KEYS, &array, error))
        return FALSE;
    for (guint i = 0; i < json_array_get_length(array); i++) {
        g_autoptr(ApmigEvidenceRecord) record = g_new0(ApmigEvidenceRecord, 1);
        g_autofree char *path = NULL;
        ApmigJsonPlace inner;

        if (!apmig_json_enter(place, "keys", i, "an object", &path, &inner, error) ||
            !read_record(&inner, record, error))
            return FALSE;
        if (!g_hash_table_add(seen, GUINT_TO_POINTER(number_of(record))))
            return apmig_json_fail(&inner, "class", error, "stands there twice for its queue");
        g_ptr_array_add(keys->records, g_steal_pointer(&record));
    }
    return TRUE;
}

ApmigFleetKeys *
apmig_fleet_keys_parse(const char *text, gsize length, const char *origin, GError **error)
{
    g_autoptr(JsonObject) object = fleet_json_parse(text, length, origin, keys_keys, error);
    g_autoptr(ApmigFleetKeys) keys = object ? apmig_fleet_keys_new("", NULL) : NULL;
    const ApmigJsonPlace place = {origin, "$", object};

    if (!object || !fleet_json_read_head(&place, &keys->head, error) || !read_records(&place, keys, error))
        return NULL;
    return g_steal_pointer(&keys);
}

/* --- writing -------------------------------------------------------------------------------------- */

static void
add_record(JsonBuilder *builder, const ApmigEvidenceRecord *record)
{
    g_autofree char *queue = apmig_ap_queue_name(record->adapter, record->domain);

    json_builder_begin_object(builder);
    fleet_json_add_text(builder, "queue", queue);
    fleet_json_add_text(builder, "class", apmig_key_class_to_string(record->key_class));
    fleet_json_add_text(builder, "evidence", apmig_evidence_class_to_string(record->evidence));
    fleet_json_add_text(builder, "source", record->source ? record->source : "");
    fleet_json_add_integer(builder, "time", record->at);
    for (guint i = 0; i < APMIG_N_REGISTERS; i++) {
        const ApmigKeyRegister *reg = &record->registers[i];
        g_autofree char *pattern = apmig_key_pattern_to_string(reg);

        fleet_json_add_text(builder, register_keys[i].state, apmig_key_state_to_string(reg->state));
        fleet_json_add_text(builder, register_keys[i].pattern, reg->length > 0 ? pattern : "");
    }
    json_builder_end_object(builder);
}

static char *
write_keys(const ApmigFleetKeys *keys)
{
    g_autoptr(JsonBuilder) builder = fleet_json_begin();

    fleet_json_add_head(builder, &keys->head);
    json_builder_set_member_name(builder, "keys");
    json_builder_begin_array(builder);
    for (guint i = 0; i < keys->records->len; i++)
        add_record(builder, g_ptr_array_index(keys->records, i));
    json_builder_end_array(builder);
    return fleet_json_end(builder);
}

char *
apmig_fleet_keys_write(const ApmigFleetKeys *keys, GError **error)
{
    g_autofree char *text = write_keys(keys);
    g_autoptr(ApmigFleetKeys) same =
        apmig_fleet_keys_parse(text, strlen(text), "the keys to be written", error);

    return same ? g_steal_pointer(&text) : NULL;
}
