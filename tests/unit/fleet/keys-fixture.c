/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fleet/keys-fixture.h"

ApmigFleetKeys *
fleet_keys_new(guint n)
{
    ApmigFleetKeys *keys = apmig_fleet_keys_new(fleet_host_id(n), NULL);

    fleet_set_text(&keys->head.fleet, FLEET_NAME);
    fleet_set_text(&keys->head.cluster_id, FLEET_CLUSTER);
    keys->head.revision = FLEET_REVISION;
    keys->head.received_at = FLEET_NOW;
    return keys;
}

static void
set_register(ApmigKeyRegister *reg, ApmigKeyClass key_class, const char *text)
{
    g_auto(GStrv) words = text ? g_strsplit(text, " ", 2) : NULL;

    if (!words)
        return;
    g_assert_true(apmig_key_state_from_string(words[0], &reg->state));
    if (words[1])
        g_assert_true(
            apmig_key_pattern_parse(words[1], apmig_key_class_said_bytes(key_class, words[1]), reg));
}

ApmigEvidenceRecord *
fleet_keys_add(ApmigFleetKeys *keys, guint adapter, guint domain, ApmigKeyClass key_class,
               const char *new_text, const char *cur, const char *old)
{
    ApmigEvidenceRecord *record = g_new0(ApmigEvidenceRecord, 1);

    record->adapter = adapter;
    record->domain = domain;
    record->key_class = key_class;
    record->evidence = APMIG_EVIDENCE_VERIFIED;
    set_register(&record->registers[APMIG_REGISTER_NEW], key_class, new_text);
    set_register(&record->registers[APMIG_REGISTER_CUR], key_class, cur);
    set_register(&record->registers[APMIG_REGISTER_OLD], key_class, old);
    g_ptr_array_add(keys->records, record);
    return record;
}

void
fleet_keys_add_unknown(ApmigFleetKeys *keys, guint adapter, guint domain, ApmigKeyClass key_class)
{
    fleet_keys_add(keys, adapter, domain, key_class, NULL, NULL, NULL)->evidence = APMIG_EVIDENCE_UNKNOWN;
}

void
fleet_keys_add_aes(ApmigFleetKeys *keys, guint adapter, guint domain, const char *cur)
{
    g_autofree char *text = g_strdup_printf("valid %s", cur);

    fleet_keys_add(keys, adapter, domain, APMIG_KEY_AES, "empty", text, "invalid");
}
