/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is asked before a guest moves: at its source what it would bring, at its destination what would be said of that.
 * Neither changes anything.
 */
#include "core/private.h"

#include "base/boot-time.h"

#define GUESTS_LIMIT_USEC (5 * G_USEC_PER_SEC)

/* For whom; this host's keys are read for it, and then perhaps the guest is looked up. */
typedef struct {
    ApmigCore *core;
    char *name;        /* of the guest that is to be described; NULL: @guest is to be checked */
    ApmigGuest *guest; /* that would come in */
    Caller *caller;
    gint64 asked_at; /* boot time: when the guests' devices began to be read */
    guint idle_id;   /* it is answered at the next turn of the main loop; 0: not */
} Checking;

static void
checking_free(gpointer data)
{
    Checking *checking = data;

    if (checking->idle_id != 0)
        g_source_remove(checking->idle_id);
    g_free(checking->name);
    apmig_guest_free(checking->guest);
    g_free(checking);
}

static Checking *
checking_new(ApmigCore *core, AnswerFunc func, gpointer user_data)
{
    Checking *checking = g_new0(Checking, 1);

    checking->core = core;
    checking->caller = core_add_question(core, func, user_data);
    g_hash_table_add(core->checkings, checking);
    return checking;
}

static void
end(Checking *checking)
{
    core_end_question(checking->caller);
    g_hash_table_remove(checking->core->checkings, checking);
}

void
core_checks_init(ApmigCore *core)
{
    core->checkings = g_hash_table_new_full(NULL, NULL, checking_free, NULL);
}

/* --- at the source ------------------------------------------------------------------------------- */

static void
guest_described(const char *xml, const GError *error, gpointer user_data)
{
    Checking *checking = user_data;

    if (checking->caller->func)
        ((ApmigGuestDescribedFunc)checking->caller->func)(xml, error, checking->caller->user_data);
    end(checking);
}

/* Without a reading the stamp says what was known before it. */
static void
source_read(const ApmigApHost *host, const GPtrArray *readings, const ApmigEvidence *evidence,
            const char *error, gpointer user_data)
{
    Checking *checking = user_data;
    ApmigCore *core = checking->core;
    g_autoptr(ApmigAction) plan = apmig_engine_plan_stamp(core->engine);

    core->hypervisor->describe_guest(core->hypervisor, checking->name,
                                     apmig_stamp_order_new(plan, core->identity->id, core->identity->name,
                                                           g_get_real_time(), core_host_facts(core, NULL)),
                                     guest_described, checking);
}

ApmigCaller
apmig_core_describe_guest(ApmigCore *core, const char *guest, ApmigGuestDescribedFunc func,
                          gpointer user_data)
{
    Checking *checking = checking_new(core, (AnswerFunc)func, user_data);
    g_autoptr(ApmigScope) all = apmig_scope_new_all();

    checking->name = g_strdup(guest);
    apmig_core_read_keys(core, all, FALSE, source_read, checking);
    return checking->caller->number;
}

/* --- at the destination -------------------------------------------------------------------------- */

static void
tell(Checking *checking, const ApmigArrivalCheck *check, const GError *error)
{
    if (checking->caller->func)
        ((ApmigArrivalCheckFunc)checking->caller->func)(check, error, checking->caller->user_data);
    end(checking);
}

/* @guests: (nullable): the active ones here, with their devices; NULL: not known */
static void
answer(Checking *checking, const GPtrArray *guests)
{
    const ApmigGuest *guest = checking->guest;
    g_autoptr(GPtrArray) in_use = core_list_devices(guests);
    ApmigEvent event = {.type = APMIG_EVENT_ADMIT,
                        .now = apmig_boot_time(),
                        .realtime = g_get_real_time(),
                        .admit = {.uuid = guest->uuid,
                                  .name = guest->name,
                                  .facts = apmig_guest_facts(guest),
                                  .arrival = core_describe_arrival(checking->core, guest)}};
    g_autoptr(ApmigArrivalCheck) check = NULL;

    event.admit.arrival.in_use = in_use ? (const char *const *)in_use->pdata : NULL;
    event.admit.arrival.asked_at = checking->asked_at;
    check = apmig_engine_check_arrival(checking->core->engine, &event);
    tell(checking, check, NULL);
}

static void
guests_listed(const ApmigApHost *host, const GPtrArray *guests, const char *error, gpointer user_data)
{
    answer(user_data, guests);
}

static void
destination_read(const ApmigApHost *host, const GPtrArray *readings, const ApmigEvidence *evidence,
                 const char *problem, gpointer user_data)
{
    Checking *checking = user_data;
    g_autoptr(GError) error = NULL;

    if (host && checking->core->remap_devices != APMIG_REMAP_OFF) {
        checking->asked_at = apmig_boot_time();
        apmig_queue_lister_list(checking->core->queue_lister, GUESTS_LIMIT_USEC, guests_listed, checking);
        return;
    }
    if (host) {
        answer(checking, NULL);
        return;
    }
    error = g_error_new(APMIG_ERROR, APMIG_ERROR_TIMEOUT, "%s: try again.", problem);
    tell(checking, NULL, error);
}

/* Of a guest that is not affected nothing has to be read. */
static gboolean
answer_at_once(gpointer user_data)
{
    Checking *checking = user_data;

    checking->idle_id = 0;
    answer(checking, NULL);
    return G_SOURCE_REMOVE;
}

ApmigCaller
apmig_core_check_arrival(ApmigCore *core, ApmigGuest *guest, ApmigArrivalCheckFunc func, gpointer user_data)
{
    Checking *checking = checking_new(core, (AnswerFunc)func, user_data);
    g_autoptr(ApmigScope) scope = NULL;

    checking->guest = guest;
    if (guest->affected == APMIG_AFFECTED_NO) {
        checking->idle_id = g_idle_add(answer_at_once, checking);
        return checking->caller->number;
    }
    scope = guest->stamp && guest->stamp->view ? apmig_ap_view_scope(guest->stamp->view)
                                               : apmig_scope_ref(guest->scope);
    apmig_core_read_keys(core, scope, FALSE, destination_read, checking);
    return checking->caller->number;
}
