/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What was declared of master keys survives a restart, word for word, and its damage is no damage to anything else. */
#include "store/declared-keys.h"

#include <string.h>

#include "store/fixture.h"

#define FILE_NAME "declared-keys.json"

static ApmigEvidenceRecord *
record_new(guint domain, ApmigKeyClass key_class, const char *pattern, const char *before)
{
    ApmigEvidenceRecord *record = g_new0(ApmigEvidenceRecord, 1);
    guint n_bytes = (guint)(strlen(pattern) - 2) / 2;

    record->adapter = 0x04;
    record->domain = domain;
    record->key_class = key_class;
    record->evidence = APMIG_EVIDENCE_DECLARED;
    g_assert_true(apmig_key_pattern_parse(pattern, n_bytes, &record->registers[APMIG_REGISTER_CUR]));
    record->registers[APMIG_REGISTER_CUR].state = APMIG_KEY_STATE_VALID;
    if (before)
        g_assert_true(apmig_key_pattern_parse(before, n_bytes, &record->before));
    record->source = g_strdup("änna \"a\"");
    record->uid = G_MAXUINT32;
    record->at = 1790000000123456;
    return record;
}

static GPtrArray *
records_new(void)
{
    GPtrArray *records = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_evidence_record_free);

    g_ptr_array_add(records, record_new(0x12, APMIG_KEY_AES, "0x0123456789abcdef", "0xfedcba9876543210"));
    g_ptr_array_add(records, record_new(0xff, APMIG_KEY_WK, "0x00112233445566778899aabbccddeeff", NULL));
    return records;
}

static void
persist_declared(Fixture *fixture, guint64 op, GPtrArray *records)
{
    ApmigAction *action = test_action_new(APMIG_ACTION_PERSIST_DECLARED, op);

    action->declared = g_ptr_array_ref(records);
    apmig_store_carry_out(fixture->store, action);
}

static void
persist(Fixture *fixture, GPtrArray *records)
{
    guint n = fixture->n_answers;

    persist_declared(fixture, 7, records);
    fixture_wait(fixture, n + 1);
    g_assert_cmpstr(fixture->last_error, ==, NULL);
    g_assert_cmpuint(fixture->last_op, ==, 7);
}

static void
assert_same(const ApmigEvidenceRecord *a, const ApmigEvidenceRecord *b)
{
    g_autofree char *a_text = apmig_evidence_record_describe(a);
    g_autofree char *b_text = apmig_evidence_record_describe(b);
    const ApmigKeyRegister *a_cur = &a->registers[APMIG_REGISTER_CUR];
    const ApmigKeyRegister *b_cur = &b->registers[APMIG_REGISTER_CUR];

    g_assert_cmpstr(a_text, ==, b_text);
    g_assert_cmpuint(a->adapter, ==, b->adapter);
    g_assert_cmpuint(a->domain, ==, b->domain);
    g_assert_cmpint(a->key_class, ==, b->key_class);
    g_assert_cmpint(a->evidence, ==, b->evidence);
    g_assert_cmpint(a->at, ==, b->at);
    g_assert_cmpint(a_cur->state, ==, b_cur->state);
    g_assert_cmpmem(a_cur->pattern, a_cur->length, b_cur->pattern, b_cur->length);
    g_assert_cmpmem(a->before.pattern, a->before.length, b->before.pattern, b->before.length);
}

static void
test_survives(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GPtrArray) records = records_new();

    fixture_open(fixture);
    g_assert_cmpuint(fixture->declared->len, ==, 0);
    persist(fixture, records);
    fixture_reopen(fixture);
    g_assert_cmpuint(fixture->damage->len, ==, 0);
    g_assert_cmpuint(fixture->declared->len, ==, records->len);
    for (guint i = 0; i < records->len; i++)
        assert_same(fixture->declared->pdata[i], records->pdata[i]);

    /* The file is all there is: what is no longer in it is forgotten. */
    g_ptr_array_set_size(records, 1);
    persist(fixture, records);
    fixture_reopen(fixture);
    g_assert_cmpuint(fixture->declared->len, ==, 1);
}

#define KEY_START "{\"version\": 1, \"keys\": [{\"queue\": \"04.0012\", \"class\": \"AES\", \"pattern\": "
#define KEY_END   ", \"before\": \"-\", \"uid\": 0, \"user\": \"root\", \"at\": 1}]}"

static void
test_damage(Fixture *fixture, gconstpointer data)
{
    static const char *const texts[] = {
        "",
        "{}",
        "{\"version\": 2, \"keys\": []}",
        "{\"version\": 1, \"keys\": {}}",
        "{\"version\": 1, \"keys\": [1]}",
        "{\"version\": 1, \"keys\": [{}]}",
        KEY_START "\"0x0000000000000000\"" KEY_END,
        KEY_START "\"0x01\"" KEY_END,
        KEY_START "7" KEY_END,
        KEY_START "\"0x0123456789abcdef\", \"more\": 1" KEY_END,
    };

    fixture_put(fixture, "state", FILE_NAME, KEY_START "\"0x0123456789abcdef\"" KEY_END, -1);
    fixture_open(fixture);
    g_assert_cmpuint(fixture->declared->len, ==, 1); /* so it is the damage alone that is told below */
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        fixture_close(fixture);
        fixture_put(fixture, "state", FILE_NAME, texts[i], -1);
        fixture_open(fixture);
        g_assert_cmpuint(fixture->declared->len, ==, 0);
        g_assert_cmpuint(fixture->locks->len, ==, 0);
        g_assert_cmpuint(fixture->damage->len, ==, 1);
        g_assert_nonnull(strstr(fixture->damage->pdata[0], "declare it anew"));
        g_assert_false(fixture_has(fixture, "state", FILE_NAME));
        g_assert_true(fixture_has(fixture, "state", "declared-keys.damaged"));
    }
}

/* What could not be read back is not written. */
static void
test_too_many(Fixture *fixture, gconstpointer data)
{
    g_autoptr(GPtrArray) records = records_new();
    g_autoptr(GPtrArray) many = g_ptr_array_new();

    fixture_open(fixture);
    persist(fixture, records);
    for (guint i = 0; i < 20000; i++)
        g_ptr_array_add(many, records->pdata[0]);
    persist_declared(fixture, 8, many);
    fixture_wait(fixture, 2);
    g_assert_nonnull(fixture->last_error);
    fixture_reopen(fixture);
    g_assert_cmpuint(fixture->declared->len, ==, records->len);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, function)                                                                                  \
    g_test_add("/declared-keys/" name, Fixture, NULL, fixture_set_up, function, fixture_tear_down)
    ADD("survives", test_survives);
    ADD("damage", test_damage);
    ADD("too-many", test_too_many);
#undef ADD
    return g_test_run();
}
