/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Any bytes are a guest's metadata. A stamp that is read of them has every number and text in its bounds and is the same
 * when it is passed on; and it never makes this host believe that keys agree which this host does not know.
 */
#include "fuzz.h"
#include "engine/lock.h"
#include "stamp.h"
#include "base/text.h"

#include <string.h>

#define MAX_TEXT     256
#define MAX_PROBLEM  300
#define MAX_SENTENCE 16384
#define DIGITS       64

/* --- bounds -------------------------------------------------------------------------------------- */

static void
check_lock(const ApmigStampLock *lock)
{
    g_assert_true(apmig_lock_id_is_valid(lock->id));
    g_assert_true(apmig_text_is_plain(lock->owner, MAX_TEXT));
    g_assert_true(apmig_text_is_plain(lock->reason, MAX_TEXT));
    g_assert_cmpint(lock->since, >=, 0);
}

static void
check_queues(const GArray *queues)
{
    for (guint i = 0; i < queues->len; i++) {
        const ApmigApViewQueue *queue = &g_array_index(queues, ApmigApViewQueue, i);
        const ApmigApViewQueue *last = queue - 1;

        g_assert_true(queue->adapter < APMIG_AP_NUMBERS && queue->domain < APMIG_AP_NUMBERS);
        g_assert_true(i == 0 || queue->adapter > last->adapter ||
                      (queue->adapter == last->adapter && queue->domain > last->domain));
        g_assert_cmpuint(queue->functions & ~queue->known_functions, ==, 0);
        g_assert_cmpint(queue->mode, <=, APMIG_AP_MODE_ACCELERATOR);
    }
}

static void
check_keys(const ApmigEvidence *keys)
{
    g_autoptr(GPtrArray) records = apmig_evidence_list(keys);

    for (guint i = 0; i < records->len; i++) {
        const ApmigEvidenceRecord *record = records->pdata[i];
        guint whole = apmig_key_class_pattern_bytes(record->key_class);

        g_assert_true(apmig_text_is_plain(record->source, MAX_TEXT));
        g_assert_cmpint(record->at, >=, 0);
        for (guint j = 0; j < APMIG_N_REGISTERS; j++) {
            guint length = record->registers[j].length;

            g_assert_cmpint(record->registers[j].state, <=, APMIG_KEY_STATE_VALID);
            g_assert_true(length == 0 || length == whole ||
                          (record->key_class == APMIG_KEY_WK && length == APMIG_MKVP_WK_BYTES));
        }
    }
}

static void
check_stamp(const ApmigStamp *stamp)
{
    g_assert_true(g_uuid_string_is_valid(stamp->host_id));
    g_assert_cmpint(stamp->written_at, >=, 0);
    g_assert_cmpuint(strlen(stamp->digest), ==, stamp->view ? DIGITS : 0);
    if (stamp->lock)
        check_lock(stamp->lock);
    if (stamp->view)
        check_queues(stamp->view->queues);
    if (stamp->keys)
        check_keys(stamp->keys);
}

/* --- the judgement ------------------------------------------------------------------------------- */

static ApmigStampVerdict *
judge(const ApmigStamp *stamp, const ApmigEvidence *evidence)
{
    const ApmigStampPolicy strict = {APMIG_STAMP_DENY, APMIG_STAMP_DENY, APMIG_STAMP_DENY,
                                     .fresh_seconds = 0};
    ApmigStampVerdict *verdict = apmig_stamp_judge(stamp, evidence, 0, &strict);

    g_assert_true(apmig_text_is_plain(verdict->sentence, MAX_SENTENCE));
    g_assert_true(verdict->answer == APMIG_STAMP_OK || *verdict->sentence != '\0');
    g_assert_true(!stamp->lock || verdict->answer == APMIG_STAMP_DENY);
    return verdict;
}

static gboolean
has_master_keys(const ApmigApView *view)
{
    for (guint i = 0; i < view->queues->len; i++)
        if (g_array_index(view->queues, ApmigApViewQueue, i).mode != APMIG_AP_MODE_ACCELERATOR)
            return TRUE;
    return FALSE;
}

static void
check_judgement(const ApmigStamp *stamp)
{
    g_autoptr(ApmigEvidence) nothing = apmig_evidence_new();
    g_autoptr(ApmigStampVerdict) unknown = judge(stamp, nothing);
    g_autoptr(ApmigStampVerdict) same = stamp->keys ? judge(stamp, stamp->keys) : NULL;

    if (!stamp->view || has_master_keys(stamp->view))
        g_assert_cmpint(unknown->answer, ==, APMIG_STAMP_DENY);
    if (same && !stamp->lock)
        g_assert_false(g_str_has_prefix(same->sentence, "Master keys differ"));
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autoptr(GString) domain = fuzz_stamp_make_domain((const char *)data, size);
    g_autoptr(GError) error = NULL;
    g_autoptr(ApmigGuest) guest = apmig_guest_parse(domain->str, domain->len, &error);

    if (!guest) {
        fuzz_check_error(error, APMIG_ERROR_INVALID_GUEST);
        return 0;
    }
    g_assert_no_error(error);
    g_assert_true(!guest->stamp || !guest->stamp_problem);
    g_assert_true(!guest->stamp_problem || apmig_text_is_plain(guest->stamp_problem, MAX_PROBLEM));
    if (guest->stamp) {
        check_stamp(guest->stamp);
        check_judgement(guest->stamp);
        fuzz_stamp_check_survives(guest->stamp);
    }
    return 0;
}
