/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Questions that are answered by a reading which begins after them: whether the keys of a lock may be changed now, and what
 * a lock would do that nobody takes. They change no lock and close no gate.
 */
#include "engine/private.h"

static void
inquiry_free(gpointer data)
{
    Inquiry *inquiry = data;

    g_free(inquiry->id);
    apmig_scope_unref(inquiry->scope);
    g_free(inquiry);
}

GPtrArray *
engine_new_inquiries(void)
{
    return g_ptr_array_new_with_free_func(inquiry_free);
}

static Inquiry *
inquiry_new(ApmigEngine *engine, ApmigCaller caller, gint64 limit_usec)
{
    Inquiry *inquiry = g_new0(Inquiry, 1);

    inquiry->caller = caller;
    inquiry->proof_token = engine->last_token;
    inquiry->asked_at = engine->realtime;
    inquiry->deadline = engine->now + limit_usec;
    g_ptr_array_add(engine->inquiries, inquiry);
    engine_hurry(engine);
    return inquiry;
}

void
engine_forget_inquiries(ApmigEngine *engine, ApmigCaller caller)
{
    for (guint i = engine->inquiries->len; i > 0; i--)
        if (((const Inquiry *)g_ptr_array_index(engine->inquiries, i - 1))->caller == caller)
            g_ptr_array_remove_index(engine->inquiries, i - 1);
}

static ApmigReply *
reply_verdict(ApmigEngine *engine, const Inquiry *inquiry, const char *why_not)
{
    ApmigReply *reply = engine_reply(engine, APMIG_ACTION_REPLY_VERDICT, inquiry->caller);

    reply->allowed = !*why_not;
    reply->message = g_strdup(why_not);
    reply->read_at = inquiry->asked_at;
    return reply;
}

/* At the deadline: what is not known counts as in progress. */
static void
reply_unread(ApmigEngine *engine, const Inquiry *inquiry, const ApmigScope *scope)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autofree char *message = NULL;

    engine_describe_view(engine, scope, inquiry->proof_token, text);
    message = g_strdup_printf("nothing is proven: %s; ask again when libvirt answers", text->str);
    engine_reply_error(engine, inquiry->caller, APMIG_ERROR_HYPERVISOR_UNAVAILABLE, message);
}

/* --- may the keys be changed? --------------------------------------------------------------------- */

static char *
describe_departed(const Lock *lock)
{
    const GPtrArray *departed = lock->pub.record->departed;
    const ApmigLockGuest *first = g_ptr_array_index(departed, 0);

    return g_strdup_printf(
        "guest '%s' (%s)%s was here under lock %s and is not any more, and may have migrated: look where "
        "it runs, and say that you know with: apmigctl annotate %s TEXT",
        first->name, first->uuid, departed->len > 1 ? " and others" : "", lock->pub.record->id,
        lock->pub.record->id);
}

/* Returns: (transfer full): a clause; "": they may, if the reading is complete. */
static char *
why_not_ready(const ApmigEngine *engine, const Lock *lock)
{
    const char *id = lock->pub.record->id;
    g_autofree char *wait = apmig_engine_describe_wait(engine, &lock->pub);

    if (lock->pub.record->origin == APMIG_LOCK_RECOVERED)
        return g_strdup_printf("lock %s stands for a damaged one (%s), and is nobody's", id,
                               lock->pub.record->reason);
    switch (lock->pub.state) {
    case APMIG_LOCK_REQUESTED:
    case APMIG_LOCK_DRAINING:
        return g_strdup_printf("lock %s is not held yet: %s", id, *wait ? wait : "the disk has not answered");
    case APMIG_LOCK_PERMITTED:
        return g_strdup_printf("lock %s is not held while a permitted migration is in progress: %s", id,
                               *wait ? wait : "that it is over has not been proven yet");
    case APMIG_LOCK_UNPROVEN:
        return g_strdup_printf("that nothing is in progress under lock %s is not proven: %s", id,
                               *wait ? wait : lock->pub.unproven);
    case APMIG_LOCK_BREACHED:
        return g_strdup_printf("lock %s is breached: %s", id,
                               *wait ? wait : "that its migration is over has not been proven yet");
    case APMIG_LOCK_VERIFYING:
        return g_strdup_printf("the release of lock %s is under way", id);
    case APMIG_LOCK_HELD:
        break;
    }
    if (lock->pub.record->departed && lock->pub.record->departed->len)
        return describe_departed(lock);
    if (!*wait && engine->step_trouble)
        return g_strdup_printf("a migration that began now could not be ended: %s", engine->step_trouble);
    return *wait ? g_steal_pointer(&wait) : engine_describe_open_permits(engine, lock);
}

/* Returns: whether it was answered. */
static gboolean
settle_check(ApmigEngine *engine, const Inquiry *inquiry)
{
    const Lock *lock = engine_find_lock(engine, inquiry->id);
    g_autofree char *why_not = NULL;

    if (!engine->loaded) {
        engine_reply_error(engine, inquiry->caller, APMIG_ERROR_STATE_FAILURE, APMIG_LOCKS_UNREAD);
        return TRUE;
    }
    if (!lock) {
        g_autofree char *message =
            g_strdup_printf("there is no lock %s, or not any more: see apmigctl list", inquiry->id);

        engine_reply_error(engine, inquiry->caller, APMIG_ERROR_NO_SUCH_LOCK, message);
        return TRUE;
    }
    if (!engine_view_is_read(engine, lock->pub.record->scope, inquiry->proof_token)) {
        if (engine->now < inquiry->deadline)
            return FALSE;
        why_not = why_not_ready(engine, lock);
        if (*why_not)
            reply_verdict(engine, inquiry, why_not);
        else
            reply_unread(engine, inquiry, lock->pub.record->scope);
        return TRUE;
    }
    why_not = why_not_ready(engine, lock);
    reply_verdict(engine, inquiry, why_not);
    return TRUE;
}

void
engine_check(ApmigEngine *engine, const ApmigEvent *event)
{
    inquiry_new(engine, event->caller, event->check.limit_usec)->id = g_strdup(event->check.id);
}

/* --- what would a lock do? ------------------------------------------------------------------------ */

static ApmigRehearsed *
finding_new(const ApmigEngine *engine, const Migration *migration, ApmigOnBusy on_busy)
{
    ApmigRehearsed *finding = g_new0(ApmigRehearsed, 1);

    finding->migration_id = g_strdup(migration->pub.id);
    finding->uuid = g_strdup(migration->pub.uuid);
    finding->guest = g_strdup(migration->pub.guest);
    finding->outgoing = migration->pub.outgoing;
    finding->treatment = on_busy == APMIG_ON_BUSY_REFUSE ? APMIG_WOULD_REFUSE : APMIG_WOULD_WAIT;
    if (on_busy == APMIG_ON_BUSY_ABORT) {
        engine_foresee_steps(engine, migration, finding);
        finding->treatment = finding->n_steps > 0 ? APMIG_WOULD_END : APMIG_WOULD_WAIT;
    }
    if (!finding->why)
        finding->why = g_strdup("");
    return finding;
}

static void
reply_rehearsed(ApmigEngine *engine, const Inquiry *inquiry)
{
    g_autoptr(GPtrArray) findings = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_rehearsed_free);
    ApmigReply *reply;

    for (guint i = 0; i < engine->migrations->len; i++) {
        const Migration *migration = g_ptr_array_index(engine->migrations, i);

        if (apmig_scope_overlaps(inquiry->scope, migration->pub.scope))
            g_ptr_array_add(findings, finding_new(engine, migration, inquiry->on_busy));
    }
    reply = reply_verdict(engine, inquiry,
                          findings->len && inquiry->on_busy == APMIG_ON_BUSY_REFUSE
                              ? "the request would be refused: a migration is in progress"
                              : "");
    reply->findings = g_steal_pointer(&findings);
}

/* Returns: whether it was answered. */
static gboolean
settle_rehearsal(ApmigEngine *engine, const Inquiry *inquiry)
{
    if (engine_view_is_read(engine, inquiry->scope, inquiry->proof_token))
        reply_rehearsed(engine, inquiry);
    else if (engine->now >= inquiry->deadline)
        reply_unread(engine, inquiry, inquiry->scope);
    else
        return FALSE;
    return TRUE;
}

void
engine_rehearse(ApmigEngine *engine, const ApmigEvent *event)
{
    gint64 limit = event->take.timeout_usec ? event->take.timeout_usec : engine->policy->request_timeout_usec;
    Inquiry *inquiry = inquiry_new(engine, event->caller, limit);

    inquiry->scope = apmig_scope_ref(event->take.scope);
    inquiry->on_busy =
        event->take.on_busy != APMIG_ON_BUSY_UNSET ? event->take.on_busy : engine->policy->on_busy;
}

/* --- settling ------------------------------------------------------------------------------------ */

void
engine_settle_inquiries(ApmigEngine *engine)
{
    for (guint i = 0; i < engine->inquiries->len;) {
        const Inquiry *inquiry = g_ptr_array_index(engine->inquiries, i);
        gboolean answered = inquiry->id ? settle_check(engine, inquiry) : settle_rehearsal(engine, inquiry);

        if (answered)
            g_ptr_array_remove_index(engine->inquiries, i);
        else
            i++;
    }
}

gint64
engine_inquiries_next_deadline(const ApmigEngine *engine)
{
    gint64 deadline = G_MAXINT64;

    for (guint i = 0; i < engine->inquiries->len; i++)
        engine_earlier(&deadline, ((const Inquiry *)g_ptr_array_index(engine->inquiries, i))->deadline);
    return deadline;
}
