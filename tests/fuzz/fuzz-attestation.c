/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Any bytes are what an evidence plug-in may print. What is taken of them is a pattern for a register that the class
 * has, of the past, and once; it is the same when it is said again in the format's own words, and when it travels in
 * a stamp.
 */
#include "fuzz.h"
#include "keys/attestation.h"
#include "stamp.h"

#include <string.h>

#define SOURCE "tke"
#define NOW    (G_GINT64_CONSTANT(1790000000) * G_USEC_PER_SEC)

/* --- records ------------------------------------------------------------------------------------- */

static guint
count_registers(const ApmigEvidenceRecord *record)
{
    guint n = 0;

    for (guint i = 0; i < APMIG_N_REGISTERS; i++)
        n += record->registers[i].length > 0;
    return n;
}

static void
check_record(const ApmigEvidenceRecord *record)
{
    guint whole = apmig_key_class_pattern_bytes(record->key_class);

    g_assert_true(record->adapter < APMIG_AP_NUMBERS && record->domain < APMIG_AP_NUMBERS);
    g_assert_cmpint(record->evidence, ==, APMIG_EVIDENCE_ATTESTED);
    g_assert_cmpstr(record->source, ==, SOURCE);
    g_assert_true(record->at > 0 && record->at <= NOW);
    g_assert_cmpuint(count_registers(record), >, 0);
    for (guint i = 0; i < APMIG_N_REGISTERS; i++) {
        const ApmigKeyRegister *reg = &record->registers[i];
        gboolean half = record->key_class == APMIG_KEY_WK && reg->length == APMIG_MKVP_WK_BYTES;

        g_assert_true((reg->length == 0) == (reg->state == APMIG_KEY_STATE_UNKNOWN));
        g_assert_true(reg->length == 0 || reg->length == whole || half);
        g_assert_true(reg->length == 0 || (i == APMIG_REGISTER_NEW) == apmig_key_register_is_pending(reg));
    }
    g_assert_true(record->key_class != APMIG_KEY_WK || record->registers[APMIG_REGISTER_OLD].length == 0);
}

static void
check_each_once(const GPtrArray *records)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    for (guint i = 0; i < records->len; i++) {
        const ApmigEvidenceRecord *record = records->pdata[i];

        check_record(record);
        g_assert_true(g_hash_table_add(
            seen, g_strdup_printf("%u.%u.%d", record->adapter, record->domain, record->key_class)));
    }
}

/* --- said again ---------------------------------------------------------------------------------- */

static void
append_registers(GString *text, const ApmigEvidenceRecord *record)
{
    for (guint i = 0; i < APMIG_N_REGISTERS; i++) {
        g_autofree char *pattern = apmig_key_pattern_to_string(&record->registers[i]);

        if (record->registers[i].length > 0)
            g_string_append_printf(
                text,
                "%s{\"queue\":\"%02x.%04x\",\"class\":\"%s\",\"register\":\"%s\",\"pattern\":\"%s\","
                "\"at\":%" G_GINT64_FORMAT "}",
                g_str_has_suffix(text->str, "[") ? "" : ",", record->adapter, record->domain,
                apmig_key_class_to_string(record->key_class), apmig_register_to_string((ApmigRegister)i),
                pattern, record->at / G_USEC_PER_SEC);
    }
}

static void
check_said_again(const GPtrArray *records)
{
    g_autoptr(GString) text = g_string_new("{\"version\":1,\"keys\":[");
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) again = NULL;

    for (guint i = 0; i < records->len; i++)
        append_registers(text, records->pdata[i]);
    g_string_append(text, "]}");
    again = apmig_attestation_parse(text->str, text->len, SOURCE, NOW, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(records->len, ==, again->len);
    for (guint i = 0; i < records->len; i++) {
        const ApmigEvidenceRecord *one = records->pdata[i], *other = again->pdata[i];

        g_assert_cmpuint(one->adapter, ==, other->adapter);
        g_assert_cmpuint(one->domain, ==, other->domain);
        g_assert_cmpint(one->key_class, ==, other->key_class);
        g_assert_cmpmem(one->registers, sizeof one->registers, other->registers, sizeof other->registers);
        g_assert_cmpint(one->at, ==, other->at);
    }
}

/* --- in a stamp ---------------------------------------------------------------------------------- */

static int
compare_queues(gconstpointer a, gconstpointer b)
{
    const ApmigApViewQueue *one = a, *other = b;

    return (int)(one->adapter * APMIG_AP_NUMBERS + one->domain) -
           (int)(other->adapter * APMIG_AP_NUMBERS + other->domain);
}

/* Returns: (transfer full): a guest that has all of these queues. */
static ApmigApView *
make_view(const GPtrArray *records)
{
    ApmigApView *view = apmig_ap_view_new();

    for (guint i = 0; i < records->len; i++) {
        const ApmigEvidenceRecord *record = records->pdata[i];
        const ApmigApViewQueue queue = {record->adapter, record->domain};

        g_array_append_val(view->queues, queue);
    }
    g_array_sort(view->queues, compare_queues);
    for (guint i = 1; i < view->queues->len;) {
        const ApmigApViewQueue *queue = &g_array_index(view->queues, ApmigApViewQueue, i);

        if (compare_queues(queue - 1, queue) == 0)
            g_array_remove_index(view->queues, i);
        else
            i++;
    }
    return view;
}

static void
check_stamp(const GPtrArray *records)
{
    g_autoptr(ApmigEvidence) evidence = apmig_evidence_new();
    g_autoptr(ApmigStamp) stamp = NULL;

    for (guint i = 0; i < records->len; i++)
        apmig_evidence_add(evidence, records->pdata[i], NULL);
    stamp = apmig_stamp_new(FUZZ_STAMP_HOST, NOW, make_view(records), evidence, NULL);
    fuzz_stamp_check_survives(stamp);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) records = apmig_attestation_parse((const char *)data, size, SOURCE, NOW, &error);

    if (records) {
        g_assert_no_error(error);
        check_each_once(records);
        check_said_again(records);
        check_stamp(records);
    } else {
        fuzz_check_error(error, APMIG_ERROR_INVALID_OPTION);
        g_assert_true(g_str_has_prefix(error->message, SOURCE ":"));
    }
    return 0;
}
