/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What an engine learns of the guests of its host: the truth of some moment between question and answer. Answers may be
 * slow, fail or hang; none lies, and each event comes.
 */
#include "fleet.h"

typedef struct {
    Host *host;
    Guest *guest; /* (nullable): the list */
    ApmigToken token;
    gboolean want_facts, fails;
    guint incarnation, connection;
    gint64 deliver_at;
    /* the truth, when it was looked at */
    ApmigJob job;
    guint present; /* bits by guest */
} Question;

typedef struct {
    Host *host;
    Guest *guest;
    gboolean is_hint;
    ApmigNews news;
    guint64 op;
    ApmigStepOutcome outcome;
    ApmigStampForm form;
    GPtrArray *locks; /* (nullable): of ApmigLockRecord */
    guint incarnation, connection;
} Errand;

static gint64
answer_delay(Sim *sim, const Host *host)
{
    gint64 delay = !sim->calm && dice_chance(&sim->dice, sim->profile.slow)
                       ? dice_spread(&sim->dice, 50 * MSEC, 20 * SECOND)
                       : dice_spread(&sim->dice, 150, 3 * MSEC);

    return MAX(host->hangs_until - sim->now, 0) + delay;
}

static gboolean
is_current(const Host *host, guint incarnation, guint connection)
{
    return host->connected && host->incarnation == incarnation && host->connection == connection;
}

/* --- questions ----------------------------------------------------------------------------------- */

static void
answer_list(Sim *sim, const Question *question)
{
    ApmigGuestName names[MAX_GUESTS];
    ApmigEvent event = {.type = APMIG_EVENT_GUESTS_LISTED};

    for (guint i = 0; i < sim->n_guests && !question->fails; i++)
        if (question->present & (1u << i))
            names[event.listed.n_guests++] = (ApmigGuestName){sim->guests[i].uuid, sim->guests[i].name};
    event.listed.token = question->token;
    event.listed.error = question->fails ? "the call timed out" : NULL;
    event.listed.guests = question->fails ? NULL : names;
    host_tell(sim, question->host, &event);
}

static void
answer(Sim *sim, gpointer object, guint64 number)
{
    const Question *question = object;
    ApmigEvent event = {.type = APMIG_EVENT_GUEST_ANSWERED};

    if (!is_current(question->host, question->incarnation, question->connection))
        return;
    if (!question->guest) {
        answer_list(sim, question);
        return;
    }
    event.answered.token = question->token;
    event.answered.uuid = question->guest->uuid;
    event.answered.job = question->fails ? APMIG_JOB_UNKNOWN : question->job;
    event.answered.error = question->fails ? "the call timed out" : NULL;
    event.answered.facts_read = !question->fails && question->want_facts &&
                                (question->job == APMIG_JOB_NONE || question->job == APMIG_JOB_OUTGOING);
    if (event.answered.facts_read)
        event.answered.facts = guest_facts(sim, question->guest);
    host_tell(sim, question->host, &event);
}

static void
look(Sim *sim, gpointer object, guint64 number)
{
    Question *question = object;

    for (guint i = 0; i < sim->n_guests; i++)
        if (guest_job(&sim->guests[i], question->host) != APMIG_JOB_GONE)
            question->present |= 1u << i;
    if (question->guest)
        question->job = guest_job(question->guest, question->host);
    sim_later(sim, question->deliver_at - sim->now, answer, g_rc_box_acquire(question), 0, g_rc_box_release);
}

static void
ask(Sim *sim, Host *host, ApmigToken token, Guest *guest, gboolean want_facts)
{
    const gint64 delay = answer_delay(sim, host);
    Question *question;

    if (!sim->calm && dice_chance(&sim->dice, sim->profile.silent))
        return; /* it hangs until the connection is lost */
    question = g_rc_box_new0(Question);
    question->host = host;
    question->guest = guest;
    question->token = token;
    question->want_facts = want_facts;
    question->fails = !sim->calm && dice_chance(&sim->dice, sim->profile.failing);
    question->incarnation = host->incarnation;
    question->connection = host->connection;
    question->deliver_at = sim->now + delay;
    sim_later(sim, dice_roll(&sim->dice, 0, delay), look, question, 0, g_rc_box_release);
}

void
libvirt_list(Sim *sim, Host *host, ApmigToken token)
{
    ask(sim, host, token, NULL, FALSE);
}

void
libvirt_query(Sim *sim, Host *host, const ApmigAction *action)
{
    ask(sim, host, action->query.token, guest_by_uuid(sim, action->query.uuid), action->query.want_facts);
}

/* --- errands ------------------------------------------------------------------------------------- */

static Errand *
errand_new(Host *host, Guest *guest, guint64 op)
{
    Errand *errand = g_rc_box_new0(Errand);

    errand->host = host;
    errand->guest = guest;
    errand->op = op;
    errand->incarnation = host->incarnation;
    errand->connection = host->connection;
    return errand;
}

static void
errand_clear(gpointer data)
{
    g_clear_pointer(&((Errand *)data)->locks, g_ptr_array_unref);
}

static void
errand_unref(gpointer errand)
{
    g_rc_box_release_full(errand, errand_clear);
}

static gboolean
is_heard(const Errand *errand)
{
    return is_current(errand->host, errand->incarnation, errand->connection);
}

static void
beaten(Sim *sim, gpointer object, guint64 token)
{
    const Errand *errand = object;

    if (is_heard(errand))
        host_tell(sim, errand->host,
                  &(ApmigEvent){.type = APMIG_EVENT_HEARTBEAT_ANSWERED, .heartbeat = {token, NULL}});
}

void
libvirt_heartbeat(Sim *sim, Host *host, ApmigToken token)
{
    sim_later(sim, answer_delay(sim, host), beaten, errand_new(host, NULL, 0), token, errand_unref);
}

static void
looked_at(Sim *sim, gpointer object, guint64 number)
{
    const Errand *errand = object;

    host_tell(sim, errand->host,
              &(ApmigEvent){.type = APMIG_EVENT_GUEST_LOOKED_AT,
                            .looked_at = {errand->op, errand->guest->source == errand->host &&
                                                          errand->guest->stage >= STAGE_SENDING}});
}

void
libvirt_look(Sim *sim, Host *host, const ApmigAction *action)
{
    sim_later(sim, 5 * MSEC, looked_at, errand_new(host, guest_by_uuid(sim, action->look.uuid), action->op),
              0, errand_unref);
}

static void
stepped(Sim *sim, gpointer object, guint64 number)
{
    const Errand *errand = object;
    ApmigEvent event = {.type = APMIG_EVENT_STEP_FINISHED};

    if (!is_heard(errand))
        return;
    event.step.op = errand->op;
    event.step.outcome = errand->outcome;
    event.step.message = "";
    host_tell(sim, errand->host, &event);
}

static void
step(Sim *sim, gpointer object, guint64 number)
{
    Errand *errand = object;

    if (!is_heard(errand))
        return;
    errand->outcome = guest_abort(sim, errand->guest, errand->host);
    sim_later(sim, answer_delay(sim, errand->host), stepped, g_rc_box_acquire(errand), 0, errand_unref);
}

void
libvirt_step(Sim *sim, Host *host, const ApmigAction *action)
{
    Errand *errand = errand_new(host, guest_by_uuid(sim, action->step.uuid), action->op);

    errand->outcome = APMIG_STEP_UNAVAILABLE;
    sim_later(sim, answer_delay(sim, host), action->step.kind == APMIG_STEP_LIBVIRT_ABORT ? step : stepped,
              errand, 0, errand_unref);
}

/* --- stamps -------------------------------------------------------------------------------------- */

static void
stamped(Sim *sim, gpointer object, guint64 result)
{
    const Errand *errand = object;

    if (is_heard(errand))
        host_tell(sim, errand->host,
                  &(ApmigEvent){.type = APMIG_EVENT_STAMP_FINISHED,
                                .stamping = {errand->op, (ApmigStamping)result, NULL}});
}

static void
stamp(Sim *sim, gpointer object, guint64 number)
{
    const Errand *errand = object;
    Guest *guest = errand->guest;
    const ApmigJob job = guest_job(guest, errand->host);
    g_autoptr(ApmigStampLock) lock = NULL;

    if (!is_heard(errand))
        return;
    if (job == APMIG_JOB_NONE && guest->mask) {
        lock = apmig_stamp_choose_lock(errand->locks, sim->scopes[guest->mask]);
        guest->stamped_by = errand->form == APMIG_STAMP_OFF ? NULL : errand->host;
        g_strlcpy(guest->stamp, lock ? lock->id : "", sizeof(guest->stamp));
    }
    sim_later(sim, 1 * MSEC, stamped, g_rc_box_acquire(object),
              job == APMIG_JOB_NONE || job == APMIG_JOB_GONE ? APMIG_STAMPING_DONE : APMIG_STAMPING_BUSY,
              errand_unref);
}

void
libvirt_stamp(Sim *sim, Host *host, const ApmigAction *action)
{
    Errand *errand = errand_new(host, guest_by_uuid(sim, action->stamp.uuid), action->op);

    errand->form = action->stamp.form;
    errand->locks = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_lock_record_free);
    for (guint i = 0; i < action->stamp.locks->len; i++)
        g_ptr_array_add(errand->locks, apmig_lock_record_copy(g_ptr_array_index(action->stamp.locks, i)));
    sim_later(sim, dice_spread(&sim->dice, 1 * MSEC, 100 * MSEC), stamp, errand, 0, errand_unref);
}

/* --- news ---------------------------------------------------------------------------------------- */

static void
deliver(Sim *sim, gpointer object, guint64 number)
{
    const Errand *errand = object;
    ApmigEvent event = {.type = errand->is_hint ? APMIG_EVENT_HINT : APMIG_EVENT_GUEST_NEWS};

    if (!is_heard(errand))
        return;
    if (errand->is_hint) {
        event.hint.uuid = errand->guest->uuid;
        event.hint.name = errand->guest->name;
    } else {
        event.news.uuid = errand->guest->uuid;
        event.news.name = errand->guest->name;
        event.news.what = errand->news;
    }
    host_tell(sim, errand->host, &event);
}

static void
send(Sim *sim, Host *host, Guest *guest, gboolean is_hint, ApmigNews news)
{
    const gint64 at = sim->now + dice_spread(&sim->dice, 100, 20 * MSEC);
    Errand *errand;

    if (!host->connected)
        return;
    errand = errand_new(host, guest, 0);
    errand->is_hint = is_hint;
    errand->news = news;
    host->last_news_at = MAX(host->last_news_at, at);
    sim_later(sim, host->last_news_at - sim->now, deliver, errand, 0, errand_unref);
}

void
libvirt_news(Sim *sim, Host *host, Guest *guest, ApmigNews news)
{
    send(sim, host, guest, FALSE, news);
    send(sim, host, guest, TRUE, news);
}

void
libvirt_hint(Sim *sim, Host *host, Guest *guest)
{
    send(sim, host, guest, TRUE, APMIG_NEWS_OTHER);
}

/* --- the connection ------------------------------------------------------------------------------ */

static void
connect_now(Sim *sim, gpointer object, guint64 incarnation)
{
    Host *host = object;

    if (host->incarnation != incarnation || !host->engine || host->connected)
        return;
    host->connected = TRUE;
    host->connection++;
    host->last_news_at = sim->now;
    host_tell(sim, host, &(ApmigEvent){.type = APMIG_EVENT_HINTS_CHANGED, .hints = {TRUE}});
    host_tell(sim, host, &(ApmigEvent){.type = APMIG_EVENT_VIEW_STARTED});
}

void
libvirt_connect(Sim *sim, Host *host, gint64 delay)
{
    sim_later(sim, delay, connect_now, host, host->incarnation, NULL);
}

void
libvirt_cut(Sim *sim, Host *host)
{
    if (!host->connected)
        return;
    sim_trace(sim, "%s: the connection to libvirt breaks", host->name);
    host->connected = FALSE;
    libvirt_connect(sim, host, dice_spread(&sim->dice, 10 * MSEC, 10 * SECOND));
    host_tell(sim, host,
              &(ApmigEvent){.type = APMIG_EVENT_VIEW_LOST, .view_lost = {"libvirtd closed the connection"}});
}
