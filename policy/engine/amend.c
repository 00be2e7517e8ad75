/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is changed of a lock that is there: its owner, when it is expected to be released, its reason. One change at a time
 * is written, and counts, with the answer to whoever asked for it, once it is durable. Neither what the lock covers nor its
 * state is touched.
 */
#include "engine/private.h"

#include <string.h>

#include "base/sentence.h"

#define SEPARATOR "; " /* between what a reason said and what is added to it */

typedef struct {
    ApmigCaller caller;
    ApmigAmendment what;
    guint32 uid;
    char *user;
    guint32 owner_uid;
    char *text;
    gboolean replace;
    gint64 asked_at; /* boot time */
    gint64 until;    /* boot time */
    gint64 extent;   /* realtime: the same */
} Amendment;

static void
amendment_free(gpointer data)
{
    Amendment *amendment = data;

    g_free(amendment->user);
    g_free(amendment->text);
    g_free(amendment);
}

void
lock_clear_amendments(Lock *lock)
{
    g_queue_clear_full(&lock->amendments, amendment_free);
}

gboolean
lock_changes_hands(const Lock *lock)
{
    const Amendment *amendment = g_queue_peek_head((GQueue *)&lock->amendments);

    return lock->heir && (lock->write != WRITE_AMEND || amendment->what == APMIG_AMEND_OWNER);
}

/* --- how the record is to be ---------------------------------------------------------------------- */

static void
give_to(ApmigLockRecord *record, const Amendment *amendment)
{
    g_free(record->owner_name);
    record->owner_name = g_strdup(amendment->user);
    record->owner_uid = amendment->uid;
    record->origin = APMIG_LOCK_BY_REQUEST;
}

/* Of the record the duration counts from the request; the clock may have jumped since. */
static void
extend_to(ApmigLockRecord *record, const Amendment *amendment)
{
    record->expected_duration_usec = MAX(amendment->extent - record->requested_at, 1);
}

static gboolean
say(ApmigLockRecord *record, const Amendment *amendment, GError **error)
{
    g_autofree char *reason = amendment->replace
                                  ? g_strdup(amendment->text)
                                  : g_strconcat(record->reason, SEPARATOR, amendment->text, NULL);

    if (strlen(reason) > APMIG_REASON_MAX_LENGTH) {
        g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_REASON,
                    "the reason of lock %s would have %" G_GSIZE_FORMAT
                    " bytes: at most %d are kept; say it shorter, or in place of what it says",
                    record->id, strlen(reason), APMIG_REASON_MAX_LENGTH);
        return FALSE;
    }
    g_free(record->reason);
    record->reason = g_steal_pointer(&reason);
    return TRUE;
}

/* Returns: (transfer full) (nullable): the record with the change made. */
static ApmigLockRecord *
amend_record(const Lock *lock, const Amendment *amendment, GError **error)
{
    g_autoptr(ApmigLockRecord) record = apmig_lock_record_copy(lock->pub.record);

    if (amendment->what != APMIG_AMEND_OWNER && record->owner_uid != amendment->owner_uid) {
        g_set_error(error, APMIG_ERROR, APMIG_ERROR_NOT_OWNER,
                    "lock %s has changed hands to %s meanwhile: ask again", record->id, record->owner_name);
        return NULL;
    }
    switch (amendment->what) {
    case APMIG_AMEND_OWNER:
        give_to(record, amendment);
        break;
    case APMIG_AMEND_DURATION:
        extend_to(record, amendment);
        break;
    case APMIG_AMEND_REASON:
        if (!say(record, amendment, error))
            return NULL;
        break;
    }
    return g_steal_pointer(&record);
}

/* --- writing ------------------------------------------------------------------------------------- */

static void
log_amended(ApmigEngine *engine, const Lock *lock, const Amendment *amendment, const ApmigLockRecord *before)
{
    g_autofree char *until = apmig_sentence_time(amendment->extent);

    switch (amendment->what) {
    case APMIG_AMEND_OWNER:
        engine_log(engine, APMIG_LOG_LOCK_TAKEN_OVER, LOG_NOTICE, lock, NULL,
                   "lock %s of %s (uid %u) was taken over by %s (uid %u): \"%s\"", before->id,
                   before->owner_name, before->owner_uid, amendment->user, amendment->uid, amendment->text);
        break;
    case APMIG_AMEND_DURATION:
        engine_log(engine, APMIG_LOG_LOCK_AMENDED, LOG_NOTICE, lock, NULL,
                   "lock %s was extended by %s (uid %u): it is expected to be released by %s", before->id,
                   amendment->user, amendment->uid, until);
        break;
    case APMIG_AMEND_REASON:
        engine_log(engine, APMIG_LOG_LOCK_AMENDED, LOG_NOTICE, lock, NULL,
                   "the reason of lock %s was changed by %s (uid %u) from \"%s\" to \"%s\"", before->id,
                   amendment->user, amendment->uid, before->reason, lock->pub.record->reason);
        break;
    }
}

void
lock_amended(ApmigEngine *engine, Lock *lock, const char *error)
{
    Amendment *amendment = g_queue_pop_head(&lock->amendments);
    g_autoptr(ApmigLockRecord) before = NULL;

    if (error) {
        engine_reply_error(engine, amendment->caller, APMIG_ERROR_STATE_FAILURE, error);
        g_clear_pointer(&lock->heir, apmig_lock_record_free);
        amendment_free(amendment);
        return;
    }
    before = apmig_lock_record_copy(lock->pub.record);
    lock_install_heir(lock);
    if (amendment->what == APMIG_AMEND_DURATION) {
        lock->pub.overdue = FALSE;
        lock_expect_end(engine, lock, amendment->until - lock->pub.record->expected_duration_usec);
    }
    lock->dirty = TRUE;
    if (amendment->caller)
        engine_reply(engine, APMIG_ACTION_REPLY_AMENDED, amendment->caller)->id = g_strdup(before->id);
    log_amended(engine, lock, amendment, before);
    amendment_free(amendment);
}

void
lock_fail_amendments(ApmigEngine *engine, Lock *lock)
{
    g_autofree char *message =
        g_strdup_printf("lock %s is just ending: see apmigctl list", lock->pub.record->id);

    while (!g_queue_is_empty(&lock->amendments)) {
        Amendment *amendment = g_queue_pop_head(&lock->amendments);

        engine_reply_error(engine, amendment->caller, APMIG_ERROR_NO_SUCH_LOCK, message);
        amendment_free(amendment);
    }
}

/* Not while the cards are asked for its release: whoever asked for that was allowed to, as things were then. */
void
engine_settle_amendments(ApmigEngine *engine, Lock *lock)
{
    while (!lock->op && !lock->keys_op && !g_queue_is_empty(&lock->amendments)) {
        Amendment *amendment = g_queue_peek_head(&lock->amendments);
        g_autoptr(GError) error = NULL;

        lock->heir = amend_record(lock, amendment, &error);
        if (lock->heir) {
            g_clear_pointer(&lock->acknowledged, g_ptr_array_unref);
            if (amendment->what == APMIG_AMEND_REASON && lock->pub.record->departed)
                lock->acknowledged = g_ptr_array_ref(lock->pub.record->departed);
            lock_write(engine, lock, WRITE_AMEND);
            return;
        }
        engine_reply_error(engine, amendment->caller, (ApmigError)error->code, error->message);
        amendment_free(g_queue_pop_head(&lock->amendments));
    }
}

/* --- a disk that does not answer ------------------------------------------------------------------ */

/* While the cards are asked, that is what it waits for. */
static gint64
amendment_due(const Lock *lock, const Amendment *amendment)
{
    if (!lock->op || lock->keys_op || !amendment->caller)
        return 0;
    return MAX(amendment->asked_at + APMIG_DISK_LIMIT_USEC, lock->disk_since + DISK_GRACE_USEC);
}

gint64
lock_next_late_amendment(const Lock *lock)
{
    gint64 next = G_MAXINT64;

    for (const GList *link = lock->amendments.head; link; link = link->next)
        engine_earlier(&next, amendment_due(lock, link->data));
    return next == G_MAXINT64 ? 0 : next;
}

/* Returns: (transfer full): what is known of it. */
static char *
describe_late(const Lock *lock, gboolean is_written)
{
    const char *id = lock->pub.record->id;

    if (is_written)
        return g_strdup_printf(
            "whether the change of lock %s is on the disk is not known: it counts when the disk "
            "has answered; mend the state folder and see apmigctl list",
            id);
    return g_strdup_printf(
        "lock %s was not changed, for the disk does not answer: mend the state folder and ask again", id);
}

/* The first may be being written, and then goes on; of the others nothing was begun. */
void
lock_answer_late_amendments(ApmigEngine *engine, Lock *lock)
{
    for (GList *link = lock->amendments.head, *after; link; link = after) {
        Amendment *amendment = link->data;
        gint64 due = amendment_due(lock, amendment);
        gboolean is_written = lock->write == WRITE_AMEND && link == lock->amendments.head;
        g_autofree char *message = NULL;

        after = link->next;
        if (!due || engine->now < due)
            continue;
        message = describe_late(lock, is_written);
        engine_log(engine, APMIG_LOG_STATE_FAILURE, LOG_ERR, lock, NULL, "%s", message);
        engine_reply_error(engine, amendment->caller, APMIG_ERROR_STATE_FAILURE, message);
        amendment->caller = 0;
        if (is_written)
            continue;
        amendment_free(amendment);
        g_queue_delete_link(&lock->amendments, link);
    }
}

/* --- the request --------------------------------------------------------------------------------- */

/* Returns: (nullable) (transfer full): why the request is refused at once. */
static char *
refuse_amendment(const ApmigEngine *engine, const Lock *lock, const ApmigEvent *event, ApmigError *ret_code)
{
    const char *id = event->amend.id;

    if (!engine->loaded) {
        *ret_code = APMIG_ERROR_STATE_FAILURE;
        return g_strdup(APMIG_LOCKS_UNREAD);
    }
    if (!lock || lock->ending) {
        *ret_code = APMIG_ERROR_NO_SUCH_LOCK;
        return g_strdup_printf("there is no lock %s, or not any more: see apmigctl list", id);
    }
    if (lock->pub.record->origin == APMIG_LOCK_RECOVERED) {
        *ret_code = APMIG_ERROR_STATE_FAILURE;
        return g_strdup_printf(
            "lock %s stands for damage (%s), of which nothing can be changed: when the keys are "
            "known to be in step, release it with: apmigctl unlock --force %s",
            id, lock->pub.record->reason, id);
    }
    if (event->amend.what == APMIG_AMEND_OWNER && lock_is_awaited(lock)) {
        *ret_code = APMIG_ERROR_BUSY;
        return g_strdup_printf(
            "%s still waits for lock %s to be held, and would get it: take it over when it is",
            lock->heir ? lock->heir->owner_name : lock->pub.record->owner_name, id);
    }
    return NULL;
}

void
engine_amend(ApmigEngine *engine, const ApmigEvent *event)
{
    Lock *lock = engine_find_lock(engine, event->amend.id);
    ApmigError code = APMIG_ERROR_NO_SUCH_LOCK;
    g_autofree char *refusal = refuse_amendment(engine, lock, event, &code);
    Amendment *amendment;

    if (refusal) {
        engine_reply_error(engine, event->caller, code, refusal);
        return;
    }
    amendment = g_new0(Amendment, 1);
    amendment->caller = event->caller;
    amendment->what = event->amend.what;
    amendment->uid = event->amend.uid;
    amendment->user = g_strdup(event->amend.user);
    amendment->owner_uid = event->amend.owner_uid;
    amendment->text = g_strdup(event->amend.text);
    amendment->replace = event->amend.replace;
    amendment->asked_at = engine->now;
    amendment->until = engine->now + event->amend.duration_usec;
    amendment->extent = engine->realtime + event->amend.duration_usec;
    g_queue_push_tail(&lock->amendments, amendment);
}
