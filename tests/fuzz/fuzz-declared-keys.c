/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Any bytes are the store's file of declared keys: they can be written again and are the same then, or do not read. */
#include "fuzz.h"
#include "store/declared-keys.h"
#include "base/text.h"

#include <string.h>

#define MAX_USER 255

static void
check_record(const ApmigEvidenceRecord *record)
{
    const ApmigKeyRegister *cur = &record->registers[APMIG_REGISTER_CUR];

    g_assert_true(record->adapter < APMIG_AP_NUMBERS && record->domain < APMIG_AP_NUMBERS);
    g_assert_true(apmig_evidence_class_is_word(record->evidence));
    g_assert_cmpint(cur->state, ==, APMIG_KEY_STATE_VALID);
    g_assert_cmpuint(cur->length - 1, <, APMIG_MKVP_MAX_BYTES);
    g_assert_cmpuint(record->before.length, <=, APMIG_MKVP_MAX_BYTES);
    g_assert_cmpint(record->registers[APMIG_REGISTER_NEW].state, ==, APMIG_KEY_STATE_UNKNOWN);
    g_assert_cmpint(record->registers[APMIG_REGISTER_OLD].state, ==, APMIG_KEY_STATE_UNKNOWN);
    g_assert_true(apmig_text_is_plain(record->source, MAX_USER));
    g_assert_cmpint(record->at, >=, 0);
    g_assert_false(record->contradicted);
}

static void
assert_equal(const ApmigEvidenceRecord *a, const ApmigEvidenceRecord *b)
{
    g_assert_cmpuint(a->adapter, ==, b->adapter);
    g_assert_cmpuint(a->domain, ==, b->domain);
    g_assert_cmpint(a->evidence, ==, b->evidence);
    g_assert_cmpint(a->key_class, ==, b->key_class);
    g_assert_cmpmem(a->registers, sizeof a->registers, b->registers, sizeof b->registers);
    g_assert_cmpmem(&a->before, sizeof a->before, &b->before, sizeof b->before);
    g_assert_cmpuint(a->uid, ==, b->uid);
    g_assert_cmpstr(a->source, ==, b->source);
    g_assert_cmpint(a->at, ==, b->at);
}

static void
check_survives(const GPtrArray *records)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = apmig_declared_keys_encode(records, &error);
    g_autoptr(GPtrArray) again = NULL;

    g_assert_no_error(error);
    again = apmig_declared_keys_decode(text, strlen(text), &error);
    g_assert_no_error(error);
    g_assert_cmpuint(records->len, ==, again->len);
    for (guint i = 0; i < records->len; i++) {
        check_record(records->pdata[i]);
        assert_equal(records->pdata[i], again->pdata[i]);
    }
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autofree char *text = fuzz_terminate(data, size);
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) records = apmig_declared_keys_decode(text, size, &error);

    if (records) {
        g_assert_no_error(error);
        check_survives(records);
    } else {
        fuzz_check_error(error, APMIG_ERROR_STATE_FAILURE);
    }
    return 0;
}
