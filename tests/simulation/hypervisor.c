/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the engine can learn of the true state, and do about it. An answer shows the truth of some moment
 * between question and delivery. Answers may be slow, fail or never come; a call that says it aborted proves
 * nothing; the connection may be lost, and what was under way then comes late, as an answer to a question that
 * is void, or never.
 */
#include "simulation.h"

typedef struct {
    guint64 token;
    Guest *guest; /* NULL: the list */
    gboolean want_facts;
    gboolean fails;
    guint incarnation;
    guint connection;
    gint64 asked_at;
    gint64 deliver_at;
    gint64 since;     /* of the guest's presence, when the question was put */
    gboolean crossed; /* the guest came or went between question and truth */
    /* the truth, when it was looked at */
    guint present; /* bits by guest */
    ApmigJob job;
    gboolean postcopy;
    gboolean stranded;
    Migration *migration;
    ApmigAffected kind;
    guint mask;
    gboolean varies;
    gboolean facts_first; /* what it has is told before its job */
    char device[37];
} Question;

typedef struct {
    guint64 op;
    Guest *guest;
    guint incarnation;
    guint connection;
    ApmigStepOutcome outcome;
} Step;

typedef struct {
    News news;
    Guest *guest;
    Migration *migration; /* (nullable): that has ended */
    guint connection;
} Message;

static gboolean
is_current(const Sim *sim, guint incarnation, guint connection)
{
    return sim->connected && sim->incarnation == incarnation && sim->connection == connection;
}

static gint64
answer_delay(Sim *sim)
{
    if (!sim->calm && dice_chance(&sim->dice, sim->profile.slow))
        return dice_spread(&sim->dice, 50 * MSEC, 40 * SECOND);
    return dice_spread(&sim->dice, 150, 3 * MSEC);
}

/* --- news ---------------------------------------------------------------------------------------- */

/* What a guest has may be other than before. */
static gboolean
is_of_change(News news)
{
    return news == NEWS_CHANGED || news == NEWS_STARTED || news == NEWS_ARRIVING;
}

static void
deliver_message(Sim *sim, gpointer object, guint64 number)
{
    static const ApmigNews kinds[] = {
        [NEWS_CHANGED] = APMIG_NEWS_CHANGED,
        [NEWS_STARTED] = APMIG_NEWS_STARTED,
        [NEWS_ARRIVING] = APMIG_NEWS_ARRIVING,
        [NEWS_SENDING] = APMIG_NEWS_SENDING,
        [NEWS_SUSPENDED] = APMIG_NEWS_SUSPENDED,
        [NEWS_RESUMED] = APMIG_NEWS_RESUMED,
        [NEWS_JOB_SAVED] = APMIG_NEWS_JOB_SAVED,
        [NEWS_STOPPED] = APMIG_NEWS_STOPPED,
        [NEWS_STOPPED_SAVED] = APMIG_NEWS_STOPPED_SAVED,
        [NEWS_DEFINED] = APMIG_NEWS_DEFINED,
        [NEWS_STOPPED_LOST] = APMIG_NEWS_STOPPED_LOST,
        [NEWS_STOPPED_MIGRATED] = APMIG_NEWS_STOPPED_MIGRATED,
    };
    Message *message = object;
    Guest *guest = message->guest;
    ApmigEvent event = {0};

    if (!sim->connected || sim->connection != message->connection)
        return;
    if (message->news == NEWS_HINT) {
        event.type = APMIG_EVENT_HINT;
        event.hint.uuid = dice_chance(&sim->dice, 300) ? NULL : guest->uuid;
        event.hint.name = dice_chance(&sim->dice, 300) ? NULL : guest->name;
    } else {
        event.type = APMIG_EVENT_GUEST_NEWS;
        event.news.uuid = guest->uuid;
        event.news.name = guest->name;
        event.news.what = kinds[message->news];
    }
    if (is_of_change(message->news)) {
        guest->changes_untold--;
        truth_forget_sent(guest);
        guest->changing = FALSE;
        guest->told.facts = guest->before.facts = FALSE;
        guest->facts_from = sim->now;
        guest->facts_token = sim->newest_token;
    }
    if (message->news == NEWS_SENDING && message->migration)
        truth_guest_sends(sim, message->migration);
    if (message->news == NEWS_SENDING && !message->migration)
        sim->may_count++;
    if (message->news == NEWS_JOB_SAVED || message->news == NEWS_STOPPED ||
        message->news == NEWS_STOPPED_SAVED)
        truth_forget_sent(guest); /* the memory went into a file, for all that can be known */
    if (message->news == NEWS_STOPPED_MIGRATED)
        truth_guest_leaves(sim, message->migration);
    if (apmig_news_is_stop(event.news.what) && event.type == APMIG_EVENT_GUEST_NEWS) {
        truth_guest_stops(sim, guest);
        guest->had = (Had){0};
        guest->told.stopped_at = sim->now;
        guest->told.stop_token = sim->newest_token;
        guest->told.lasts = FALSE;
    }
    daemon_deliver(sim, &event);
}

void
hypervisor_tell(Sim *sim, News news, Guest *guest)
{
    Message *message;
    gint64 at;

    if (!sim->connected || (news == NEWS_HINT && dice_chance(&sim->dice, sim->profile.hints_lost)))
        return;
    message = g_new0(Message, 1);
    message->news = news;
    message->guest = guest;
    message->connection = sim->connection;
    message->migration = news == NEWS_SENDING ? guest->migration : guest->leaving;
    guest->changes_untold += is_of_change(news);
    at = sim->now + (dice_chance(&sim->dice, sim->profile.late)
                         ? dice_spread(&sim->dice, 100 * MSEC, 10 * SECOND)
                         : dice_spread(&sim->dice, 100, 20 * MSEC));
    sim->last_event_at = MAX(sim->last_event_at, at);
    sim_queue_for_daemon(sim, sim->last_event_at - sim->now, deliver_message, message, 0, g_free);
}

/* --- questions ------------------------------------------------------------------------------------- */

static void
look(Sim *sim, gpointer object, guint64 number)
{
    Question *question = object;
    Guest *guest = question->guest;

    for (guint i = 0; i < sim->n_guests; i++)
        if (sim->guests[i].presence != GUEST_ABSENT)
            question->present |= 1u << i;
    if (!guest)
        return;
    question->crossed = guest->since != question->since;
    question->job = guest_job(guest);
    question->migration = guest->migration;
    question->postcopy = guest->migration && guest->migration->stage == STAGE_POSTCOPY;
    question->stranded = question->job == APMIG_JOB_NONE && guest->stranded;
    question->kind = guest->kind;
    question->mask = guest->mask;
    question->varies = guest->varies;
    if (guest->varies && !sim->calm && dice_chance(&sim->dice, sim->profile.sysfs_hangs)) {
        question->mask = sim->mask_all;
        question->deliver_at += dice_spread(&sim->dice, 100 * MSEC, 3 * SECOND);
        sim_cover(sim, COVER_SYSFS_HANGS);
    }
    question->facts_first = question->want_facts && dice_chance(&sim->dice, 500);
    g_strlcpy(question->device, guest->device.uuid, sizeof(question->device));
}

/* What was told of it is of another life; that its last question was answered stays true. */
static void
forget(Guest *guest)
{
    guest->told = (Told){.token = guest->told.token};
    guest->before = (Told){0};
}

/* Who is not in it, and has not answered since it was asked for, is forgotten: one that comes back is another. */
static void
note_list(Sim *sim, const Question *question)
{
    if (question->fails)
        return;
    sim->listed_from = MAX(sim->listed_from, question->asked_at);
    sim->listed_at = sim->now;
    for (guint i = 0; i < sim->n_guests; i++) {
        if (question->present & (1u << i))
            continue;
        sim->guests[i].told.lasts = FALSE;
        if (question->token > sim->guests[i].sent_token)
            truth_forget_sent(
                &sim->guests[i]); /* it is named as gone, and what starts next is another life */
        if (sim->guests[i].told.heard_at < question->asked_at)
            forget(&sim->guests[i]);
    }
}

/* The first answer that shows a migration. When the end of the one before it was not seen, they look like one; also when a look
 * has shown that one, and no question was put since of which the answer did not. */
static void
note_migration(Sim *sim, const Question *question)
{
    Migration *migration = question->migration;
    Guest *guest = question->guest;
    gboolean merged = guest->last_job == question->job && guest->last_incarnation == sim->incarnation;

    if (guest->told.saving_at && guest->told.saved != migration)
        merged |= question->job == APMIG_JOB_OUTGOING;
    guest->last_job = question->job;
    guest->last_incarnation = sim->incarnation;

    if (!migration || question->crossed || migration->told_incarnation == sim->incarnation)
        return;
    migration->told_incarnation = sim->incarnation;
    migration->told_at = merged ? sim->now - 1 : sim->now;
    migration->merged = merged;
    /* One that the helper's look has shown may have had a step before. */
    migration->steps = merged || migration->step_incarnation == sim->incarnation;
}

static void
note_facts(Sim *sim, const Question *question)
{
    Told *told = &question->guest->told;

    told->facts = TRUE;
    told->facts_asked_at = question->asked_at;
    told->doubted = FALSE;
    told->affected = question->kind;
    told->mask = question->mask;
    told->varies = question->varies;
    told->kept = FALSE;
    told->lasts = told->current =
        question->asked_at >= question->guest->facts_from && question->token > question->guest->facts_token;
    g_strlcpy(told->device, question->kind == APMIG_AFFECTED_YES ? question->device : "",
              sizeof(told->device));
    unplug_told(sim, question->guest);
}

/* The engine is about to be told: remember what it can know from now on. */
static void
note_answer(Sim *sim, const Question *question, gboolean facts)
{
    Told *told = &question->guest->told;
    const gboolean is_later = question->token > told->stop_token; /* put after the news of its last stop */

    if (question->token != told->asking)
        return; /* overtaken by a question to a later life of the guest */
    told->asking = 0;
    told->answered_at = sim->now;
    if (question->fails)
        return;
    note_migration(sim, question);
    question->guest->before = (Told){0};
    if (question->job != APMIG_JOB_GONE)
        told->heard_at = sim->now;
    if (question->job == APMIG_JOB_GONE || question->job == APMIG_JOB_INCOMING)
        told->lasts = FALSE;
    if (told->stopped_at && is_later)
        told->facts = FALSE; /* they are of an earlier life, as they are of one that was not coming in */
    if (question->job == APMIG_JOB_INCOMING && told->job != APMIG_JOB_INCOMING)
        told->facts = FALSE;
    if (is_later)
        told->stopped_at = 0;
    if (sim->now > question->asked_at + SECOND)
        told->prompt_since = 0;
    else if (!told->prompt_since)
        told->prompt_since = sim->now;
    told->good_at = sim->now;
    if (question->asked_at > told->saving_at)
        told->saving_at = 0;
    told->asked_at = question->asked_at;
    told->token = question->token;
    if (question->job == APMIG_JOB_OTHER && question->token > question->guest->sent_token)
        truth_forget_sent(question->guest); /* as after NEWS_JOB_SAVED */
    told->job = question->job;
    told->postcopy = question->postcopy;
    told->migration = question->migration;
    if (facts)
        note_facts(sim, question);
}

static void
answer_list(Sim *sim, const Question *question, gboolean current)
{
    ApmigGuestName names[MAX_GUESTS];
    ApmigEvent event = {.type = APMIG_EVENT_GUESTS_LISTED};
    guint count = 0;

    for (guint i = 0; i < sim->n_guests; i++)
        if (question->present & (1u << i))
            names[count++] = (ApmigGuestName){sim->guests[i].uuid, sim->guests[i].name};
    event.listed.token = question->token;
    event.listed.error = question->fails ? "the call timed out" : NULL;
    event.listed.guests = question->fails ? NULL : names;
    event.listed.n_guests = question->fails ? 0 : count;
    if (current)
        note_list(sim, question);
    daemon_deliver(sim, &event);
}

/* Of a guest that comes in or is gone nothing can be read. */
static gboolean
can_be_read(const Question *question)
{
    return question->job == APMIG_JOB_NONE || question->job == APMIG_JOB_OUTGOING ||
           question->job == APMIG_JOB_OTHER;
}

static ApmigGuestFacts
facts_of(Sim *sim, const Question *question, const char *const *devices)
{
    return (ApmigGuestFacts){
        .affected = question->kind,
        .scope = question->kind == APMIG_AFFECTED_YES ? sim_scope(sim, question->mask) : NULL,
        .devices = devices,
        .scope_varies = question->varies,
    };
}

static void
answer_query(Sim *sim, const Question *question, gboolean current)
{
    ApmigEvent event = {.type = APMIG_EVENT_GUEST_ANSWERED};
    const char *const devices[] = {
        question->kind == APMIG_AFFECTED_YES && *question->device ? question->device : NULL, NULL};
    gboolean facts = ((question->want_facts && !question->facts_first) || question->varies) &&
                     !question->fails && can_be_read(question);

    event.answered.token = question->token;
    event.answered.uuid = question->guest->uuid;
    event.answered.job = question->fails ? APMIG_JOB_UNKNOWN : question->job;
    event.answered.error = question->fails ? "the call timed out" : NULL;
    event.answered.postcopy = !question->fails && question->postcopy;
    event.answered.facts_read = facts;
    event.answered.stranded = !question->fails && question->stranded;
    if (facts)
        event.answered.facts = facts_of(sim, question, devices);
    if (current)
        note_answer(sim, question, facts);
    daemon_deliver(sim, &event);
}

static void
answer(Sim *sim, gpointer object, guint64 number)
{
    Question *question = object;
    gboolean current = is_current(sim, question->incarnation, question->connection);

    if (sim->incarnation != question->incarnation)
        return;
    if (!current) {
        if (dice_chance(&sim->dice, 500))
            return;
        sim_cover(sim, COVER_STALE_ANSWER);
    }
    if (question->guest)
        answer_query(sim, question, current);
    else
        answer_list(sim, question, current);
}

/* As the daemon does: what a guest has is read first, for its job may take long to be told, or never be. */
static void
tell_facts(Sim *sim, gpointer object, guint64 number)
{
    Question *question = object;
    const char *const devices[] = {
        question->kind == APMIG_AFFECTED_YES && *question->device ? question->device : NULL, NULL};
    ApmigEvent event = {.type = APMIG_EVENT_FACTS_READ};

    if (!is_current(sim, question->incarnation, question->connection))
        return;
    event.facts_read.token = question->token;
    event.facts_read.uuid = question->guest->uuid;
    event.facts_read.facts = facts_of(sim, question, devices);
    if (question->token == question->guest->told.asking) {
        if (question->token > question->guest->told.stop_token)
            question->guest->told.stopped_at = 0;
        if (question->guest->told.job == APMIG_JOB_GONE) /* in its earlier life */
            question->guest->told.job = APMIG_JOB_NONE;
        if (!question->guest->told.facts)
            question->guest->told.known_at = sim->now;
        note_facts(sim, question);
    }
    sim_cover(sim, question->fails ? COVER_FACTS_ALONE : COVER_FACTS_FIRST);
    daemon_deliver(sim, &event);
}

/* libvirt answers lists by workers of their own. */
static gboolean
is_starved(Sim *sim)
{
    guint busy = 0;

    for (guint i = 0; sim->profile.workers && !sim->calm && i < sim->n_guests; i++)
        busy += sim->guests[i].migration && sim->guests[i].migration->outgoing;
    return sim->profile.workers && busy >= sim->profile.workers;
}

static void
looked(Sim *sim, gpointer object, guint64 number)
{
    Question *question = object;

    if (question->guest && is_starved(sim)) {
        sim_cover(sim, COVER_STARVED);
        question->deliver_at = MAX(question->deliver_at, sim->now + 210 * MSEC);
        sim_queue(sim, 200 * MSEC, looked, g_rc_box_acquire(question), 0, g_rc_box_release);
        return;
    }
    if (question->guest && question->guest->restoring) { /* libvirt answers when that is over */
        sim_queue(sim, 50 * MSEC, looked, g_rc_box_acquire(question), 0, g_rc_box_release);
        return;
    }
    look(sim, question, 0);
    if (question->guest && question->facts_first && can_be_read(question))
        sim_queue_for_daemon(sim, MAX(question->deliver_at - sim->now, 0) / 2, tell_facts,
                             g_rc_box_acquire(question), 0, g_rc_box_release);
    sim_queue_for_daemon(sim, MAX(question->deliver_at - sim->now, 0), answer, g_rc_box_acquire(question), 0,
                         g_rc_box_release);
}

static void
ask(Sim *sim, guint64 token, Guest *guest, gboolean want_facts)
{
    Question *question;
    gint64 delay = answer_delay(sim);

    sim->newest_token = token;
    if (!sim->calm && dice_chance(&sim->dice, sim->profile.silent))
        return; /* it hangs until the connection is lost */
    question = g_rc_box_new0(Question);
    question->token = token;
    question->guest = guest;
    question->want_facts = want_facts;
    question->fails = !sim->connected || (!sim->calm && dice_chance(&sim->dice, sim->profile.failing));
    question->incarnation = sim->incarnation;
    question->connection = sim->connection;
    question->asked_at = sim->now;
    question->since = guest ? guest->since : 0;
    question->deliver_at = sim->now + delay;
    sim_queue(sim, dice_roll(&sim->dice, 0, delay), looked, question, 0, g_rc_box_release);
}

void
hypervisor_list(Sim *sim, guint64 token)
{
    sim->list_asked = TRUE;
    ask(sim, token, NULL, FALSE);
}

void
hypervisor_query(Sim *sim, guint64 token, Guest *guest, gboolean want_facts)
{
    guest->told.asking = token;
    guest->told.life = guest->life;
    ask(sim, token, guest, want_facts);
}

/* Now and then, for the time to the next one: nobody else is asked for it. */
static void
tell_of_steps(Sim *sim, guint64 token)
{
    const gboolean no_steps = !sim->calm && token % 8 == 5;

    if (no_steps == sim->no_steps)
        return;
    sim->no_steps = no_steps;
    daemon_deliver(
        sim, &(ApmigEvent){.type = APMIG_EVENT_STEPS_CHANGED, .steps = {no_steps ? "nobody listens" : NULL}});
}

static void
heartbeat_answered(Sim *sim, gpointer object, guint64 token)
{
    const Question *question = object;
    ApmigEvent event = {.type = APMIG_EVENT_HEARTBEAT_ANSWERED};

    if (!is_current(sim, question->incarnation, question->connection))
        return;
    if (is_starved(sim)) {
        sim_queue_for_daemon(sim, 200 * MSEC, heartbeat_answered, g_rc_box_acquire(object), token,
                             g_rc_box_release);
        return;
    }
    event.heartbeat.token = token;
    event.heartbeat.error = question->fails ? "the call timed out" : NULL;
    if (!question->fails)
        sim->beaten_at = sim->now;
    daemon_deliver(sim, &event);
    tell_of_steps(sim, token);
}

void
hypervisor_heartbeat(Sim *sim, guint64 token)
{
    Question *question;

    if (!sim->calm && dice_chance(&sim->dice, sim->profile.silent))
        return;
    question = g_rc_box_new0(Question);
    question->fails = !sim->calm && dice_chance(&sim->dice, sim->profile.failing);
    question->incarnation = sim->incarnation;
    question->connection = sim->connection;
    sim_queue_for_daemon(sim, answer_delay(sim), heartbeat_answered, question, token, g_rc_box_release);
}

/* --- steps --------------------------------------------------------------------------------------- */

static void
step_finished(Sim *sim, gpointer object, guint64 number)
{
    Step *step = object;
    ApmigEvent event = {.type = APMIG_EVENT_STEP_FINISHED};

    if (sim->incarnation != step->incarnation)
        return;
    if (!is_current(sim, step->incarnation, step->connection)) {
        if (dice_chance(&sim->dice, 500))
            return;
        step->outcome = APMIG_STEP_FAILED;
    }
    event.step.op = step->op;
    event.step.outcome = step->outcome;
    event.step.message = step->outcome == APMIG_STEP_REQUESTED ? ""
                         : step->outcome == APMIG_STEP_NO_JOB  ? "no migration is in progress"
                         : step->outcome == APMIG_STEP_NOT_ABORTABLE
                             ? "cannot abort migration in post-copy mode"
                             : "the call failed";
    if (step->outcome == APMIG_STEP_NOT_ABORTABLE)
        sim_cover(sim, COVER_POSTCOPY);
    daemon_deliver(sim, &event);
}

static void
step_arrives(Sim *sim, gpointer object, guint64 number)
{
    Step *step = object;

    step->outcome = migration_abort(sim, step->guest);
    sim_trace(sim, "the abort of %s arrives", step->guest->name);
    sim_queue_for_daemon(sim, answer_delay(sim), step_finished, g_rc_box_acquire(step), 0, g_rc_box_release);
}

void
hypervisor_step(Sim *sim, guint64 op, Guest *guest)
{
    Step *step = g_rc_box_new0(Step);

    step->op = op;
    step->guest = guest;
    step->incarnation = sim->incarnation;
    step->connection = sim->connection;
    sim_queue(sim, answer_delay(sim), step_arrives, step, 0, g_rc_box_release);
}

/* --- the connection ---------------------------------------------------------------------------------- */

static void
forget_told(Sim *sim)
{
    for (guint i = 0; i < sim->n_guests; i++) {
        Guest *guest = &sim->guests[i];

        guest->changing = FALSE;
        guest->changes_untold = 0;
        truth_forget_sent(guest);
        if (guest->migration)
            truth_may_count(guest->migration);
        else
            truth_guest_was_not_seen_to_stay(guest);
        if (guest->told.asked_at || guest->told.saving_at)
            guest->before = guest->told;
        guest->told = (Told){0};
    }
    sim->listed_from = sim->listed_at = sim->beaten_at = 0;
    sim->list_asked = FALSE;
}

static void
tell_view_lost(Sim *sim, const char *reason)
{
    ApmigEvent event = {.type = APMIG_EVENT_VIEW_LOST};

    event.view_lost.reason = reason;
    daemon_deliver(sim, &event);
}

static void
try_connect(Sim *sim, gpointer object, guint64 incarnation)
{
    ApmigEvent event = {.type = APMIG_EVENT_VIEW_STARTED};

    if (sim->incarnation != incarnation || !sim->engine || sim->connected)
        return;
    if (!sim->libvirtd_up) {
        hypervisor_connect(sim, dice_roll(&sim->dice, 1, 10) * SECOND);
        tell_view_lost(sim, "there is nobody at libvirt's socket");
        return;
    }
    sim->connected = TRUE;
    sim->connection++;
    sim->connected_at = sim->last_event_at = sim->now;
    forget_told(sim);
    daemon_deliver(sim, &event);
}

void
hypervisor_connect(Sim *sim, gint64 delay)
{
    sim_queue_for_daemon(sim, delay, try_connect, NULL, sim->incarnation, NULL);
}

static void
libvirtd_returns(Sim *sim, gpointer object, guint64 number)
{
    sim_trace(sim, "libvirtd is there again");
    sim->libvirtd_up = TRUE;
}

void
hypervisor_lose(Sim *sim, gboolean libvirtd_too)
{
    if (!sim->libvirtd_up)
        return;
    if (libvirtd_too) {
        sim_trace(sim, "libvirtd goes away");
        sim->libvirtd_up = FALSE;
        sim_queue(sim, dice_spread(&sim->dice, 100 * MSEC, 30 * SECOND), libvirtd_returns, NULL, 0, NULL);
        guests_disturbed(sim);
    }
    if (!sim->connected)
        return;
    sim->connected = FALSE;
    forget_told(sim);
    hypervisor_connect(sim, dice_spread(&sim->dice, 10 * MSEC, 2 * SECOND));
    tell_view_lost(sim, libvirtd_too ? "libvirtd closed the connection" : "the connection broke");
}

void
hypervisor_forget(Sim *sim)
{
    sim->connected = FALSE;
    forget_told(sim);
    for (guint i = 0; i < sim->n_guests; i++) {
        sim->guests[i].before = (Told){0};
        sim->guests[i].had = (Had){0};
        sim->guests[i].facts_token = sim->guests[i].sent_token = 0; /* the next run counts anew */
    }
    sim->newest_token = 0;
}
