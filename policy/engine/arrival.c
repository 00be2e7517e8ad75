/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a guest brings that comes in: its stamp against what this host knows, before any of its memory is sent. A stamp
 * can be forged by whoever may edit guests, and dropped: it forbids what would be allowed, and tells which queues a guest
 * with a device has, of which else all would have to be assumed.
 */
#include "engine/private.h"

#include "stamp/arrival-check.h"

/* --- locks here ---------------------------------------------------------------------------------- */

/* By the time of the question, which a dry run does not tell the engine. Returns: (nullable): a permit to come in. A guest that
 * is restored needs none of another host, and gets none. */
static const ApmigPermit *
find_permit(const ApmigEngine *engine, const ApmigEvent *event)
{
    const ApmigPermit *permit =
        event->admit.restore ? NULL : engine_find_open_permit(engine, event->admit.uuid, event->admit.name);

    return permit && event->now < permit->expires_at ? permit : NULL;
}

/* @permit: that of the guest */
static void
pass_lock(const char *id, const ApmigPermit *permit, ApmigArrivalCheck *check)
{
    g_autofree char *destination =
        g_strdup_printf("permitted by %s: \"%s\"", permit->owner_name, permit->reason);

    apmig_arrival_check_add(check,
                            apmig_finding_new(APMIG_SEVERITY_NONE, g_strdup_printf("lock %s", id),
                                              "permitted", "", destination, ""),
                            NULL);
}

static void
check_lock(const Lock *lock, ApmigArrivalCheck *check)
{
    const ApmigLockRecord *record = lock->pub.record;
    g_autofree char *refusal = engine_describe_denial(lock);
    g_autofree char *destination = g_strdup_printf("of %s: \"%s\"", record->owner_name, record->reason);
    g_autofree char *remedy = g_strdup_printf(
        "When the keys are in step it is released on the destination host with: apmigctl unlock %s",
        record->id);

    apmig_arrival_check_add(check,
                            apmig_finding_new(APMIG_SEVERITY_ERROR, g_strdup_printf("lock %s", record->id),
                                              "locked-at-destination", "", destination, remedy),
                            refusal);
}

/* Oldest first, as engine_overlapping_lock() has it. */
static void
check_locks(const ApmigEngine *engine, const ApmigEvent *event, const ApmigPermit *permit,
            ApmigArrivalCheck *check)
{
    g_autoptr(ApmigScope) scope = engine_arrival_scope(engine, event);
    gboolean locked = FALSE;

    for (guint i = 0; i < engine->locks->len; i++) {
        const Lock *lock = g_ptr_array_index(engine->locks, i);

        if (!apmig_scope_overlaps(lock->pub.record->scope, scope))
            continue;
        if (permit)
            pass_lock(lock->pub.record->id, permit, check);
        else
            check_lock(lock, check);
        locked = TRUE;
    }
    if (!locked)
        apmig_arrival_check_add(
            check, apmig_finding_new(APMIG_SEVERITY_NONE, g_strdup("lock"), "not-locked", "", "none", ""),
            NULL);
}

/* --- the stamp ----------------------------------------------------------------------------------- */

/* Gives the one finding of @verdict other words. @sentence, @remedy: (transfer full) */
static void
restate(ApmigStampVerdict *verdict, const char *code, char *sentence, char *remedy)
{
    ApmigFinding *finding = g_ptr_array_index(verdict->findings, 0);

    g_free(verdict->sentence);
    verdict->sentence = sentence;
    g_free(finding->code);
    finding->code = g_strdup(code);
    g_free(finding->remedy);
    finding->remedy = remedy;
}

static void
restate_unreadable(ApmigStampVerdict *verdict, const char *problem)
{
    ApmigFinding *finding = g_ptr_array_index(verdict->findings, 0);

    restate(verdict, "stamp-unreadable", g_strdup_printf("The guest's stamp does not read: %s.", problem),
            g_strdup("Have it written anew on the source host: apmigctl unstamp GUEST, and restart apmigd."));
    g_free(finding->source);
    finding->source = g_strdup(problem);
}

/* @uuid: of the guest, which may have another name there */
static void
restate_lock(ApmigStampVerdict *verdict, const ApmigStampLock *lock, const char *uuid)
{
    char *remedy = g_strdup_printf(
        "When the keys are in step it is released there with: apmigctl unlock %s. Should there "
        "be no such lock any more, there: apmigctl unstamp %s, or without apmigd: virsh "
        "metadata %s urn:apmigd:stamp:1 --remove --live",
        lock->id, uuid, uuid);

    restate(verdict, "locked-at-source", g_strdup_printf("%s %s", verdict->sentence, remedy), remedy);
}

/* A permit passes a lock at the source over, and nothing else that the stamp says. */
static ApmigStampVerdict *
judge_stamp(const ApmigEngine *engine, const ApmigEvent *event, const ApmigPermit *permit)
{
    const ApmigArrival *arrival = &event->admit.arrival;
    const ApmigStampPolicy policy = engine_stamp_policy(engine, event);
    g_autoptr(ApmigEvidence) nothing = apmig_evidence_new();
    ApmigStampVerdict *verdict;
    ApmigStamp stamp;

    if (arrival->stamp) {
        stamp = *arrival->stamp;
        if (event->admit.restore || permit)
            stamp.lock = NULL;
    }
    verdict = apmig_stamp_judge(arrival->stamp ? &stamp : NULL,
                                arrival->evidence ? arrival->evidence : nothing, event->realtime, &policy);
    if (arrival->stamp_problem)
        restate_unreadable(verdict, arrival->stamp_problem);
    else if (verdict->answer == APMIG_STAMP_DENY && arrival->stamp && stamp.lock)
        restate_lock(verdict, stamp.lock, event->admit.uuid);
    return verdict;
}

/* --- the hardware -------------------------------------------------------------------------------- */

/* Returns: (nullable): UUID of the mediated device that the guest will have; NULL: not known. Borrowed. */
static const char *
check_device(const ApmigEngine *engine, const ApmigEvent *event, ApmigArrivalCheck *check)
{
    const char *own = event->admit.arrival.device;
    g_autofree char *why_not = engine_choose_device(engine, event, &check->device);

    if (why_not) {
        apmig_arrival_check_add(check,
                                apmig_finding_new(APMIG_SEVERITY_ERROR, g_strdup("device"), "no-device", own,
                                                  "none that can take its place", why_not),
                                why_not);
        return NULL;
    }
    if (check->device)
        apmig_arrival_check_add(check,
                                apmig_finding_new(APMIG_SEVERITY_NONE, g_strdup("device"), "device-replaced",
                                                  own, check->device, ""),
                                NULL);
    return check->device ? check->device : own;
}

/* A guest that was detached from its device, or never had one, takes no configuration along. One that is restored is kept out
 * by nothing that would let it start anew. */
static void
check_hardware(const ApmigEvent *event, const char *device, ApmigArrivalCheck *check)
{
    const ApmigArrival *arrival = &event->admit.arrival;

    if (!event->admit.restore && arrival->host && engine_arrival_tells_of_device(arrival))
        apmig_arrival_check_add_hardware(check, arrival->stamp->view, arrival->host, device);
    else
        apmig_arrival_check_add(
            check,
            apmig_finding_new(APMIG_SEVERITY_NONE, g_strdup("host"), "hardware-not-compared",
                              arrival->has_device ? "queues unknown" : "no vfio-ap device",
                              arrival->host ? "" : "unknown", ""),
            NULL);
}

/* --- all of it ----------------------------------------------------------------------------------- */

ApmigArrivalCheck *
engine_check_arrival(const ApmigEngine *engine, const ApmigEvent *event)
{
    ApmigArrivalCheck *check = apmig_arrival_check_new();
    const ApmigPermit *permit = find_permit(engine, event);
    g_autoptr(ApmigStampVerdict) verdict = judge_stamp(engine, event, permit);
    const ApmigStamp *stamp = event->admit.arrival.stamp;

    check_locks(engine, event, permit, check);
    if (permit && stamp && stamp->lock)
        pass_lock(stamp->lock->id, permit, check);
    apmig_arrival_check_add_stamp(check, verdict);
    check_hardware(event, check_device(engine, event, check), check);
    return check;
}

/* @refusal: (nullable): NULL: it is no obstacle */
static void
add_about_here(ApmigArrivalCheck *check, const char *subject, const char *code, const char *destination,
               const char *remedy, const char *refusal)
{
    ApmigSeverity severity = refusal ? APMIG_SEVERITY_ERROR : APMIG_SEVERITY_NONE;

    apmig_arrival_check_add(
        check, apmig_finding_new(severity, g_strdup(subject), code, "", destination, remedy), refusal);
}

ApmigArrivalCheck *
apmig_engine_check_arrival(const ApmigEngine *engine, const ApmigEvent *event)
{
    ApmigArrivalCheck *check = NULL;

    if (engine->loaded && event->admit.facts.affected != APMIG_AFFECTED_NO) {
        check = engine_check_arrival(engine, event);
        if (!event->admit.restore && engine_admissions_are_full(engine))
            add_about_here(check, "host", "admissions-full", "max-admissions are open",
                           "Wait for the guests that are coming in, or raise max-admissions in the policy.",
                           APMIG_ADMISSIONS_FULL);
        return check;
    }
    check = apmig_arrival_check_new();
    if (!engine->loaded)
        add_about_here(check, "host", "not-ready", "apmigd is starting", "Try again.", APMIG_NOT_LOADED);
    else
        add_about_here(check, "guest", "not-affected", "", "", NULL);
    return check;
}

void
engine_log_doubts(ApmigEngine *engine, const ApmigEvent *event, const ApmigArrivalCheck *check)
{
    for (guint i = 0; i < check->doubts->len; i++)
        entry_set_guest(engine_log(engine, APMIG_LOG_ADMISSION_DOUBTFUL, LOG_WARNING, NULL, NULL,
                                   "nothing forbids guest %s to come in, but: %s", event->admit.name,
                                   (const char *)g_ptr_array_index(check->doubts, i)),
                        event->admit.uuid, event->admit.name);
}
