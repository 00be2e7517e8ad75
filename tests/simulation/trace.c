/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Events and actions as lines of a trace.
 */
#include "simulation.h"

static const char *const event_names[] = {
    "STORE_LOADED",    "TAKE",
    "RELEASE",         "AMEND",
    "CHECK",           "PERMIT",
    "REVOKE",          "CALLER_GONE",
    "ADMIT",           "LOCK_PERSISTED",
    "LOCK_REMOVED",    "ADMISSION_PERSISTED",
    "PERMIT_WRITTEN",  "DECLARED_PERSISTED",
    "VIEW_STARTED",    "VIEW_LOST",
    "GUESTS_LISTED",   "GUEST_ANSWERED",
    "FACTS_READ",      "HEARTBEAT_ANSWERED",
    "GUEST_NEWS",      "HINT",
    "HINTS_CHANGED",   "STEP_FINISHED",
    "GUEST_LOOKED_AT", "STEPS_CHANGED",
    "KEYS_READ",       "STAMP_FINISHED",
    "USES_READ",       "HARDWARE_CHANGED",
    "POLICY_CHANGED",  "DEADLINE",
};
static const char *const action_names[] = {
    [APMIG_ACTION_PERSIST_LOCK] = "persist-lock",
    [APMIG_ACTION_REMOVE_LOCK] = "remove-lock",
    [APMIG_ACTION_PERSIST_ADMISSION] = "persist-admission",
    [APMIG_ACTION_REMOVE_ADMISSION] = "remove-admission",
    [APMIG_ACTION_PERSIST_PERMIT] = "persist-permit",
    [APMIG_ACTION_REMOVE_PERMIT] = "remove-permit",
    [APMIG_ACTION_LIST_GUESTS] = "list-guests",
    [APMIG_ACTION_QUERY_GUEST] = "query-guest",
    [APMIG_ACTION_HEARTBEAT] = "heartbeat",
    [APMIG_ACTION_RUN_STEP] = "run-step",
    [APMIG_ACTION_LOOK_AT_GUEST] = "look-at-guest",
    [APMIG_ACTION_READ_KEYS] = "read-keys",
    [APMIG_ACTION_STAMP_GUEST] = "stamp-guest",
    [APMIG_ACTION_READ_USES] = "read-uses",
    [APMIG_ACTION_REPLY_TAKEN] = "reply-taken",
    [APMIG_ACTION_REPLY_RELEASED] = "reply-released",
    [APMIG_ACTION_REPLY_AMENDED] = "reply-amended",
    [APMIG_ACTION_REPLY_VERDICT] = "reply-verdict",
    [APMIG_ACTION_REPLY_PERMIT] = "reply-permit",
    [APMIG_ACTION_REPLY_ADMIT] = "reply-admit",
    [APMIG_ACTION_REPLY_ERROR] = "reply-error",
    [APMIG_ACTION_PUBLISH_LOCK] = "publish-lock",
    [APMIG_ACTION_FORGET_LOCK] = "forget-lock",
    [APMIG_ACTION_PUBLISH_MIGRATION] = "publish-migration",
    [APMIG_ACTION_FORGET_MIGRATION] = "forget-migration",
    [APMIG_ACTION_PUBLISH_PERMITS] = "publish-permits",
    [APMIG_ACTION_PUBLISH_VIEW] = "publish-view",
    [APMIG_ACTION_LOG] = "log",
    [APMIG_ACTION_PERSIST_DECLARED] = "persist-declared",
    [APMIG_ACTION_REPLY_DECLARED] = "reply-declared",
};
static const char *const news_names[] = {
    [APMIG_NEWS_CHANGED] = "changed",
    [APMIG_NEWS_STARTED] = "started",
    [APMIG_NEWS_PLUGGED] = "plugged",
    [APMIG_NEWS_DEFINED] = "defined",
    [APMIG_NEWS_ARRIVING] = "arriving",
    [APMIG_NEWS_SENDING] = "sending",
    [APMIG_NEWS_SUSPENDED] = "suspended",
    [APMIG_NEWS_RESUMED] = "resumed",
    [APMIG_NEWS_JOB_MIGRATED] = "job-migrated",
    [APMIG_NEWS_JOB_SAVED] = "job-saved",
    [APMIG_NEWS_STOPPED] = "stopped",
    [APMIG_NEWS_STOPPED_SAVED] = "stopped-saved",
    [APMIG_NEWS_STOPPED_LOST] = "stopped-lost",
    [APMIG_NEWS_STOPPED_MIGRATED] = "stopped-migrated",
    [APMIG_NEWS_OTHER] = "other",
};
static const char *const job_names[] = {"none", "outgoing", "incoming", "other", "gone", "unknown"};
static const char *const stamping_names[] = {"done", "busy", "failed"};
static const char *const affected_names[] = {"unknown", "unaffected", "affected"};

G_STATIC_ASSERT(G_N_ELEMENTS(event_names) == APMIG_EVENT_DEADLINE + 1);
G_STATIC_ASSERT(G_N_ELEMENTS(action_names) == APMIG_ACTION_LOG + 1);

static const char *
facts_text(const ApmigGuestFacts *facts)
{
    return facts->scope ? apmig_scope_to_string(facts->scope) : affected_names[facts->affected];
}

static void
describe_answer(GString *text, const ApmigEvent *event)
{
    g_string_append_printf(text, " token %" G_GUINT64_FORMAT " %.8s job %s%s", event->answered.token,
                           event->answered.uuid, job_names[event->answered.job],
                           event->answered.postcopy ? " in post-copy" : "");
    if (event->answered.facts_read)
        g_string_append_printf(text, " facts %s", facts_text(&event->answered.facts));
}

static void
describe_take(GString *text, const ApmigEvent *event)
{
    g_string_append_printf(
        text, " caller %" G_GUINT64_FORMAT " lock %s scope %s on-busy '%s' timeout %" G_GINT64_FORMAT "%s%s",
        event->caller, event->take.id, apmig_scope_to_string(event->take.scope),
        apmig_on_busy_to_string(event->take.on_busy), event->take.timeout_usec,
        event->take.no_wait ? " no-wait" : "",
        event->take.rehearse                         ? " rehearsed"
        : event->take.origin == APMIG_LOCK_BY_ITSELF ? " by itself"
                                                     : "");
}

static void
describe_list(GString *text, const ApmigEvent *event)
{
    g_string_append_printf(text, " token %" G_GUINT64_FORMAT "%s:", event->listed.token,
                           event->listed.error ? " failed" : "");
    for (guint i = 0; i < event->listed.n_guests; i++)
        g_string_append_printf(text, " %s", event->listed.guests[i].name);
}

void
trace_event(Sim *sim, const ApmigEvent *event)
{
    g_autoptr(GString) text = NULL;

    if (!sim->trace && !sim->trace_tail)
        return;
    text = g_string_new(event_names[event->type]);
    switch (event->type) {
    case APMIG_EVENT_TAKE:
        describe_take(text, event);
        break;
    case APMIG_EVENT_RELEASE:
        g_string_append_printf(text, " caller %" G_GUINT64_FORMAT " lock %s%s", event->caller,
                               event->release.id, event->release.force ? " force" : "");
        break;
    case APMIG_EVENT_AMEND:
        g_string_append_printf(text, " caller %" G_GUINT64_FORMAT " lock %s what %d uid %u", event->caller,
                               event->amend.id, event->amend.what, event->amend.uid);
        break;
    case APMIG_EVENT_CHECK:
        g_string_append_printf(text, " caller %" G_GUINT64_FORMAT " lock %s", event->caller, event->check.id);
        break;
    case APMIG_EVENT_CALLER_GONE:
        g_string_append_printf(text, " caller %" G_GUINT64_FORMAT, event->caller);
        break;
    case APMIG_EVENT_PERMIT:
        g_string_append_printf(
            text, " caller %" G_GUINT64_FORMAT " permit %s for '%s' '%.8s', %" G_GINT64_FORMAT, event->caller,
            event->permit.id, event->permit.name, event->permit.uuid, event->permit.duration_usec);
        break;
    case APMIG_EVENT_REVOKE:
        g_string_append_printf(text, " caller %" G_GUINT64_FORMAT " %s", event->caller, event->revoke.guest);
        break;
    case APMIG_EVENT_ADMIT:
        g_string_append_printf(text, " caller %" G_GUINT64_FORMAT " %s facts %s%s", event->caller,
                               event->admit.name, facts_text(&event->admit.facts),
                               event->admit.restore ? " restore" : "");
        break;
    case APMIG_EVENT_LOCK_PERSISTED:
    case APMIG_EVENT_LOCK_REMOVED:
    case APMIG_EVENT_ADMISSION_PERSISTED:
    case APMIG_EVENT_PERMIT_WRITTEN:
        g_string_append_printf(text, " op %" G_GUINT64_FORMAT "%s", event->persisted.op,
                               event->persisted.error ? " failed" : "");
        break;
    case APMIG_EVENT_GUESTS_LISTED:
        describe_list(text, event);
        break;
    case APMIG_EVENT_GUEST_ANSWERED:
        describe_answer(text, event);
        break;
    case APMIG_EVENT_FACTS_READ:
        g_string_append_printf(text, " token %" G_GUINT64_FORMAT " %.8s facts %s", event->facts_read.token,
                               event->facts_read.uuid, facts_text(&event->facts_read.facts));
        break;
    case APMIG_EVENT_GUEST_NEWS:
        g_string_append_printf(text, " %.8s %s", event->news.uuid, news_names[event->news.what]);
        break;
    case APMIG_EVENT_HINT:
        g_string_append_printf(text, " %.8s %s", event->hint.uuid ? event->hint.uuid : "-",
                               event->hint.name ? event->hint.name : "-");
        break;
    case APMIG_EVENT_STEP_FINISHED:
        g_string_append_printf(text, " op %" G_GUINT64_FORMAT " %s", event->step.op,
                               apmig_step_outcome_to_string(event->step.outcome));
        break;
    case APMIG_EVENT_GUEST_LOOKED_AT:
        g_string_append_printf(text, " op %" G_GUINT64_FORMAT "%s", event->looked_at.op,
                               event->looked_at.saving ? " saving" : "");
        break;
    case APMIG_EVENT_KEYS_READ:
        g_string_append_printf(text, " op %" G_GUINT64_FORMAT "%s", event->keys_read.op,
                               event->keys_read.error ? " failed" : "");
        break;
    case APMIG_EVENT_STAMP_FINISHED:
        g_string_append_printf(text, " op %" G_GUINT64_FORMAT " %s", event->stamping.op,
                               stamping_names[event->stamping.result]);
        break;
    default:
        break;
    }
    sim_trace(sim, "%s", text->str);
}

static void
append_reply(GString *text, const ApmigAction *action)
{
    const ApmigReply *reply = &action->reply;

    if (reply->caller)
        g_string_append_printf(text, " caller %" G_GUINT64_FORMAT, reply->caller);
    if (action->type == APMIG_ACTION_REPLY_ERROR)
        g_string_append_printf(text, " %s", apmig_error_name(reply->code));
    if (action->type == APMIG_ACTION_REPLY_ADMIT || action->type == APMIG_ACTION_REPLY_VERDICT)
        g_string_append(text, reply->allowed ? " yes" : " no");
    if (reply->permit)
        g_string_append_printf(text, " permit %s%s", reply->permit->id,
                               reply->permit->used_by ? " used" : "");
    if (reply->id)
        g_string_append_printf(text, " %s", reply->id);
    if (reply->message)
        g_string_append_printf(text, ": %s", reply->message);
}

static void
append_entry(GString *text, const ApmigLogEntry *entry)
{
    if (entry->uuid)
        g_string_append_printf(text, " %.8s", entry->uuid);
    if (entry->lock_id)
        g_string_append_printf(text, " %s", entry->lock_id);
    if (entry->message)
        g_string_append_printf(text, ": %s", entry->message);
}

static void
append_step(GString *text, const ApmigAction *action)
{
    g_string_append_printf(text, " %.8s %s %s of %s, device %.8s", action->step.uuid,
                           apmig_step_to_string(action->step.kind), action->step.outgoing ? "out" : "in",
                           action->step.migration_id, action->step.device ? action->step.device : "-");
}

static void
append_action(GString *text, const ApmigAction *action)
{
    switch (action->type) {
    case APMIG_ACTION_PERSIST_LOCK:
    case APMIG_ACTION_REMOVE_LOCK:
        g_string_append_printf(text, " lock %s held-at %" G_GINT64_FORMAT " breaches %u", action->lock->id,
                               action->lock->held_at, action->lock->breaches);
        break;
    case APMIG_ACTION_PERSIST_ADMISSION:
    case APMIG_ACTION_REMOVE_ADMISSION:
        g_string_append_printf(text, " %.8s", action->admission->uuid);
        break;
    case APMIG_ACTION_PERSIST_PERMIT:
    case APMIG_ACTION_REMOVE_PERMIT:
        g_string_append_printf(text, " permit %s%s", action->permit->id,
                               action->permit->used_by ? " used" : "");
        break;
    case APMIG_ACTION_LIST_GUESTS:
    case APMIG_ACTION_HEARTBEAT:
    case APMIG_ACTION_QUERY_GUEST:
        g_string_append_printf(text, " token %" G_GUINT64_FORMAT, action->query.token);
        if (action->query.uuid)
            g_string_append_printf(text, " %.8s", action->query.uuid);
        break;
    case APMIG_ACTION_RUN_STEP:
        append_step(text, action);
        break;
    case APMIG_ACTION_LOOK_AT_GUEST:
        g_string_append_printf(text, " %.8s", action->look.uuid);
        break;
    case APMIG_ACTION_READ_KEYS:
    case APMIG_ACTION_READ_USES:
        g_string_append_printf(text, " %s", action->reading.lock_id);
        break;
    case APMIG_ACTION_STAMP_GUEST:
        g_string_append_printf(text, " %.8s", action->stamp.uuid);
        for (guint i = 0; i < action->stamp.locks->len; i++)
            g_string_append_printf(text, " %s",
                                   ((const ApmigLockRecord *)g_ptr_array_index(action->stamp.locks, i))->id);
        break;
    case APMIG_ACTION_LOG:
        append_entry(text, &action->entry);
        break;
    case APMIG_ACTION_PUBLISH_LOCK:
    case APMIG_ACTION_FORGET_LOCK:
    case APMIG_ACTION_PUBLISH_MIGRATION:
    case APMIG_ACTION_FORGET_MIGRATION:
        g_string_append_printf(text, " %s", action->id);
        break;
    case APMIG_ACTION_PUBLISH_PERMITS:
    case APMIG_ACTION_PUBLISH_VIEW:
    case APMIG_ACTION_PERSIST_DECLARED:
        break;
    default:
        append_reply(text, action);
        break;
    }
}

void
trace_action(Sim *sim, const ApmigAction *action)
{
    g_autoptr(GString) text = NULL;

    if (!sim->trace && !sim->trace_tail)
        return;
    text = g_string_new("    -> ");
    g_string_append(text, action_names[action->type]);
    if (action->op)
        g_string_append_printf(text, " op %" G_GUINT64_FORMAT, action->op);
    append_action(text, action);
    sim_trace(sim, "%s", text->str);
}
