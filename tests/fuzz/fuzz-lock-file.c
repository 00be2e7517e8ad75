/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Any bytes are a lock that can be written again and is the same then, and that every guest under it can carry to the
 * next host; or an error that can be shown.
 */
#include "fuzz.h"
#include "stamp.h"
#include "store/json.h"

#include <string.h>

#define ID "3f9a21c0"

static void
assert_same_guests(const GPtrArray *a, const GPtrArray *b)
{
    g_assert_cmpuint(a ? a->len : 0, ==, b ? b->len : 0);
    for (guint i = 0; a && i < a->len; i++) {
        const ApmigLockGuest *one = g_ptr_array_index(a, i), *other = g_ptr_array_index(b, i);

        g_assert_cmpstr(one->uuid, ==, other->uuid);
        g_assert_cmpstr(one->name, ==, other->name);
    }
}

static void
assert_equal(const ApmigLockRecord *a, const ApmigLockRecord *b)
{
    g_assert_cmpstr(a->id, ==, b->id);
    g_assert_true(apmig_scope_equal(a->scope, b->scope));
    g_assert_cmpstr(a->reason, ==, b->reason);
    g_assert_cmpstr(a->change_id, ==, b->change_id);
    g_assert_cmpint(a->origin, ==, b->origin);
    g_assert_cmpuint(a->owner_uid, ==, b->owner_uid);
    g_assert_cmpstr(a->owner_name, ==, b->owner_name);
    g_assert_cmpint(a->on_busy, ==, b->on_busy);
    g_assert_cmpint(a->requested_at, ==, b->requested_at);
    g_assert_cmpint(a->held_at, ==, b->held_at);
    g_assert_cmpint(a->expected_duration_usec, ==, b->expected_duration_usec);
    g_assert_cmpuint(a->breaches, ==, b->breaches);
    g_assert_cmpuint(a->attempts, ==, b->attempts);
    assert_same_guests(a->guests, b->guests);
    assert_same_guests(a->departed, b->departed);
}

/* Persisting a lock that was loaded must not fail: that would lose it. */
static void
check_survives(const ApmigLockRecord *record)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = apmig_lock_record_encode(record, &error);
    g_autoptr(ApmigLockRecord) again = NULL;

    g_assert_no_error(error);
    g_assert_cmpuint(strlen(text), <=, APMIG_STORE_MAX_BYTES);
    again = apmig_lock_record_decode(text, strlen(text), ID, &error);
    g_assert_no_error(error);
    assert_equal(record, again);
}

static void
check_travels(const ApmigLockRecord *record)
{
    ApmigStampLock lock = {record->id, record->reason, record->owner_name, MAX(record->requested_at, 0)};
    ApmigStamp stamp = {.host_id = (char *)FUZZ_STAMP_HOST, .digest = (char *)"", .lock = &lock};

    fuzz_stamp_check_lock_travels(&stamp);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autofree char *text = fuzz_terminate(data, size);
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigLockRecord) record = apmig_lock_record_decode(text, size, ID, &error);

    if (record) {
        g_assert_no_error(error);
        g_assert_false(apmig_scope_is_none(record->scope));
        g_assert_cmpint(record->origin, !=, APMIG_LOCK_RECOVERED);
        check_survives(record);
        check_travels(record);
    } else {
        fuzz_check_error(error, APMIG_ERROR_STATE_FAILURE);
    }
    return 0;
}
