/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a guest brings that comes in: its stamp against what this host knows, before any of its memory is sent. A stamp
 * can be forged by whoever may edit guests, and dropped: it forbids what would be allowed, and tells which queues a guest
 * with a device has, of which else all would have to be assumed.
 */
#include "engine-private.h"

#include "ap-compat.h"
#include "sentence.h"

/* A guest that is restored was saved here, or elsewhere, and long ago or not: its stamp tells of its keys then. That it
 * was saved under a lock tells nothing of now. Without a stamp it comes back all the same. */
static ApmigStampPolicy
stamp_policy(const ApmigEngine *engine, const ApmigEvent *event)
{
    const ApmigPolicy *policy = engine->policy;
    ApmigStampPolicy answers = {
        .keys_differ = policy->keys_differ,
        .keys_unknown = policy->keys_unknown,
        .missing = policy->stamp_missing,
        .fresh_seconds = policy->stamp_fresh_seconds,
        .own_host_id = event->admit.arrival.host_id,
    };

    if (!event->admit.restore)
        return answers;
    answers.keys_unknown = MIN(answers.keys_unknown, APMIG_STAMP_WARN);
    answers.missing = MIN(answers.missing, APMIG_STAMP_WARN);
    answers.fresh_seconds = 0;
    answers.own_host_id = NULL;
    return answers;
}

static gboolean
tells_of_device(const ApmigArrival *arrival)
{
    return arrival->has_device && arrival->stamp && arrival->stamp->view && !arrival->stamp->is_declared;
}

/* Of the guest's metadata only a whole stamp that counts tells what a device has, and only of a guest that has not
 * several of which it may be silent. */
ApmigScope *
engine_arrival_scope(const ApmigEngine *engine, const ApmigEvent *event)
{
    const ApmigArrival *arrival = &event->admit.arrival;
    const ApmigStamp *stamp = arrival->stamp;
    const ApmigStampPolicy policy = stamp_policy(engine, event);
    g_autoptr(ApmigScope) stamped = NULL;

    if (tells_of_device(arrival) && stamp->keys && apmig_stamp_counts(stamp, engine->realtime, &policy)) {
        stamped = apmig_ap_view_scope(stamp->view);
        return arrival->declared ? apmig_scope_union(stamped, arrival->declared) : g_steal_pointer(&stamped);
    }
    return event->admit.facts.scope ? apmig_scope_ref(event->admit.facts.scope) : apmig_scope_new_all();
}

/* --- the stamp ----------------------------------------------------------------------------------- */

static ApmigStampVerdict *
judge_stamp(const ApmigEngine *engine, const ApmigEvent *event)
{
    const ApmigArrival *arrival = &event->admit.arrival;
    const ApmigStampPolicy policy = stamp_policy(engine, event);
    g_autoptr(ApmigEvidence) nothing = apmig_evidence_new();
    ApmigStampVerdict *verdict;
    ApmigStamp stamp;

    if (arrival->stamp) {
        stamp = *arrival->stamp;
        if (event->admit.restore)
            stamp.lock = NULL;
    }
    verdict = apmig_stamp_judge(arrival->stamp ? &stamp : NULL,
                                arrival->evidence ? arrival->evidence : nothing, engine->realtime, &policy);
    if (arrival->stamp_problem) {
        g_free(verdict->sentence);
        verdict->sentence = g_strdup_printf("The guest's stamp does not read: %s.", arrival->stamp_problem);
    } else if (verdict->answer == APMIG_STAMP_DENY && arrival->stamp && stamp.lock) {
        g_autofree char *sentence = verdict->sentence;

        verdict->sentence = g_strdup_printf("%s When the keys are in step it is released there with: "
                                            "apmigctl unlock %s. Should there be no such lock "
                                            "any more: apmigctl unstamp %s",
                                            sentence, stamp.lock->id, event->admit.name);
    }
    return verdict;
}

/* --- the hardware -------------------------------------------------------------------------------- */

static GPtrArray *
describe_findings(const GPtrArray *findings, ApmigSeverity severity)
{
    GPtrArray *texts = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < findings->len; i++) {
        const ApmigCompatFinding *finding = findings->pdata[i];

        if (finding->severity == severity)
            g_ptr_array_add(texts, apmig_compat_finding_describe(finding));
    }
    return texts;
}

/* A guest that was detached from its device, or never had one, takes no configuration along. Returns: (transfer full) (nullable): why it
 * cannot run here. @ret_doubt: (out) (transfer full) (nullable): what may go wrong. */
static char *
check_hardware(const ApmigEvent *event, char **ret_doubt)
{
    const ApmigArrival *arrival = &event->admit.arrival;
    g_autoptr(GPtrArray) findings = NULL;
    g_autoptr(GPtrArray) errors = NULL;
    g_autoptr(GPtrArray) warnings = NULL;

    if (!arrival->host || !tells_of_device(arrival))
        return NULL;
    findings = apmig_compat_check(arrival->stamp->view, arrival->host, arrival->device);
    errors = describe_findings(findings, APMIG_SEVERITY_ERROR);
    warnings = describe_findings(findings, APMIG_SEVERITY_WARNING);
    if (warnings->len > 0)
        *ret_doubt = apmig_sentence_few(warnings, " ");
    return errors->len > 0 ? apmig_sentence_few(errors, " ") : NULL;
}

/* --- both ---------------------------------------------------------------------------------------- */

static void
log_doubt(ApmigEngine *engine, const ApmigEvent *event, const char *doubt)
{
    ApmigAction *entry;

    engine_log(engine, APMIG_LOG_ADMISSION_DOUBTFUL, LOG_WARNING, NULL, NULL,
               "nothing forbids guest %s to come in, but: %s", event->admit.name, doubt);
    entry = g_ptr_array_index(engine->actions, engine->actions->len - 1);
    entry->uuid = g_strdup(event->admit.uuid);
    entry->guest = g_strdup(event->admit.name);
}

char *
engine_judge_arrival(ApmigEngine *engine, const ApmigEvent *event)
{
    g_autoptr(ApmigStampVerdict) verdict = judge_stamp(engine, event);
    g_autofree char *doubt = NULL;
    char *misfit;

    if (verdict->answer == APMIG_STAMP_DENY)
        return g_steal_pointer(&verdict->sentence);
    misfit = check_hardware(event, &doubt);
    if (misfit)
        return misfit;
    if (verdict->answer == APMIG_STAMP_WARN)
        log_doubt(engine, event, verdict->sentence);
    if (doubt)
        log_doubt(engine, event, doubt);
    return NULL;
}
