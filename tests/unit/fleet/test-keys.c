/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fleet/fixture.h"

#include <string.h>

#include "ap/fixture.h"
#include "base/error.h"

#define HOST "11111111-1111-4111-8111-000000000001"
#define KEY                                                                                                  \
    "{\"queue\":\"04.0012\",\"class\":\"AES\",\"evidence\":\"verified\",\"source\":\"\",\"time\":5,"         \
    "\"new-state\":\"full\",\"new\":\"0x00000000000000a3\",\"cur-state\":\"valid\","                         \
    "\"cur\":\"0x00000000000000a1\",\"old-state\":\"invalid\",\"old\":\"\"}"
#define SAID                                                                                                 \
    "{\"queue\":\"05.0012\",\"class\":\"WK\",\"evidence\":\"declared\",\"source\":\"anna\",\"time\":6,"      \
    "\"new-state\":\"unknown\",\"new\":\"\",\"cur-state\":\"valid\","                                        \
    "\"cur\":\"0xf9d6ef6c1e0bb9fc1a37ebdd2d4e1a01\",\"old-state\":\"unknown\",\"old\":\"\"}"
#define NOTHING                                                                                                \
    "{\"queue\":\"06.0012\",\"class\":\"APKA\",\"evidence\":\"unknown\",\"source\":\"\",\"time\":0,"           \
    "\"new-state\":\"unknown\",\"new\":\"\",\"cur-state\":\"unknown\",\"cur\":\"\",\"old-state\":\"unknown\"," \
    "\"old\":\"\"}"
#define SOUND                                                                                                \
    "{\"version\":1,\"fleet\":\"prod\",\"host\":\"" HOST "\",\"cluster-id\":\"42\",\"revision\":7,"          \
    "\"keys\":[" KEY "," SAID "," NOTHING "]}"

static ApmigFleetKeys *
parse(const char *text, GError **error)
{
    return apmig_fleet_keys_parse(text, strlen(text), "keys", error);
}

static void
test_round_trip(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigFleetKeys) keys = parse(SOUND, &error);
    g_autofree char *text = NULL;
    const ApmigEvidenceRecord *record;

    g_assert_no_error(error);
    g_assert_cmpuint(keys->records->len, ==, 3);
    record = g_ptr_array_index(keys->records, 1);
    g_assert_cmpuint(record->adapter, ==, 5);
    g_assert_cmpuint(record->domain, ==, 0x12);
    g_assert_cmpint(record->evidence, ==, APMIG_EVIDENCE_DECLARED);
    g_assert_cmpuint(record->registers[APMIG_REGISTER_CUR].length, ==, APMIG_MKVP_WK_BYTES);
    text = apmig_fleet_keys_write(keys, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(text, ==, SOUND);
}

#define UNFIT "does not fit to its pattern, or to the evidence there is."

static const struct {
    const char *old, *new_text, *message;
} faults[] = {
    {"\"keys\":[", "\"keys\":[7,", "keys: $.keys[0] must be an object."},
    {"\"keys\"", "\"key\"",
     "keys: $.key is unknown, the keys here are: version, fleet, host, cluster-id, revision, keys."},
    {"\"revision\":7,", "", "keys: $.revision must be an integer."},
    {KEY, KEY "," KEY, "keys: $.keys[1].class stands there twice for its queue."},
    {"04.0012", "4.12", "keys: $.keys[0].queue must be an AP queue, as in 04.0012."},
    {"04.0012", "04.0112", "keys: $.keys[0].queue must be an AP queue, as in 04.0012."},
    {"AES", "DES", "keys: $.keys[0].class must be AES, APKA, ASYM or WK."},
    {"verified", "sure", "keys: $.keys[0].evidence must be verified, attested, declared or unknown."},
    {"\"time\":5", "\"time\":-5", "keys: $.keys[0].time is -5, and must be from 0 on."},
    {"\"new-state\":\"full\"", "\"new-state\":\"half\"",
     "keys: $.keys[0].new-state must be the state of a register, as in valid."},
    {"0x00000000000000a3", "0x00000000000000",
     "keys: $.keys[0].new must be \"0x\" and 16 hexadecimal digits, not all of them 0."},
    {"0x00000000000000a1", "0x0000000000000000",
     "keys: $.keys[0].cur must be \"0x\" and 16 hexadecimal digits, not all of them 0."},
    {"0xf9d6ef6c1e0bb9fc1a37ebdd2d4e1a01", "0xf9d6ef6c1e0bb9fc1a37ebdd2d4e1a",
     "keys: $.keys[1].cur must be \"0x\" and 64 hexadecimal digits, not all of them 0."},
    /* what does not fit together */
    {"\"new-state\":\"full\"", "\"new-state\":\"empty\"", "keys: $.keys[0].new-state " UNFIT},
    {"\"cur-state\":\"valid\"", "\"cur-state\":\"invalid\"", "keys: $.keys[0].cur-state " UNFIT},
    {"verified", "unknown", "keys: $.keys[0].new-state " UNFIT},
    {"verified", "attested", "keys: $.keys[0].new-state " UNFIT},
    {"\"cur-state\":\"unknown\"", "\"cur-state\":\"empty\"", "keys: $.keys[2].cur-state " UNFIT},
    {"\"source\":\"\"", "\"source\":\"\",\"uid\":0",
     "keys: $.keys[0].uid is unknown, the keys here are: queue, class, evidence, source, time, new-state, new, "
     "cur-state, cur, old-state, old."},
};

static void
test_faults(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(faults); i++) {
        g_autofree char *text = fleet_replace(SOUND, faults[i].old, faults[i].new_text);
        g_autoptr(GError) error = NULL;
        g_autoptr(ApmigFleetKeys) keys = parse(text, &error);

        g_assert_null(keys);
        g_assert_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION);
        g_assert_cmpstr(error->message, ==, faults[i].message);
    }
}

/* The longest that there may be, and one more. */
static void
test_bounds(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigFleetKeys) keys = parse(SOUND, &error);
    ApmigEvidenceRecord *record = g_ptr_array_index(keys->records, 0);
    g_autofree char *text = NULL;

    record->registers[APMIG_REGISTER_OLD] = record->registers[APMIG_REGISTER_CUR];
    g_ptr_array_set_size(keys->records, 1);
    for (guint i = 1; i < APMIG_FLEET_MAX_KEYS; i++) {
        ApmigEvidenceRecord *copy = apmig_evidence_record_copy(record);

        copy->adapter = i / APMIG_AP_NUMBERS + 0x10;
        copy->domain = i % APMIG_AP_NUMBERS;
        copy->at = 1700000000000000;
        g_ptr_array_add(keys->records, copy);
    }
    text = apmig_fleet_keys_write(keys, &error);
    g_assert_no_error(error);
    g_assert_nonnull(text);
    g_ptr_array_add(keys->records, apmig_evidence_record_copy(record));
    g_assert_null(apmig_fleet_keys_write(keys, &error));
    assert_says(error->message, "$.keys has 3073 elements, at most 3072 are allowed.");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fleet/keys/round-trip", test_round_trip);
    g_test_add_func("/fleet/keys/faults", test_faults);
    g_test_add_func("/fleet/keys/bounds", test_bounds);
    return g_test_run();
}
