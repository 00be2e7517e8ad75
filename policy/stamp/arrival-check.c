/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "stamp/arrival-check.h"

#include "ap/find.h"
#include "base/sentence.h"

ApmigArrivalCheck *
apmig_arrival_check_new(void)
{
    ApmigArrivalCheck *check = g_new0(ApmigArrivalCheck, 1);

    check->findings = apmig_findings_new();
    check->doubts = g_ptr_array_new_with_free_func(g_free);
    return check;
}

void
apmig_arrival_check_free(ApmigArrivalCheck *check)
{
    if (!check)
        return;
    g_ptr_array_unref(check->findings);
    g_ptr_array_unref(check->doubts);
    g_free(check->refusal);
    g_free(check->device);
    g_free(check);
}

/* What is looked at first says why. */
static void
refuse(ApmigArrivalCheck *check, const char *sentence)
{
    if (!check->refusal)
        check->refusal = g_strdup(sentence);
}

void
apmig_arrival_check_add(ApmigArrivalCheck *check, ApmigFinding *finding, const char *refusal)
{
    g_ptr_array_add(check->findings, finding);
    if (refusal)
        refuse(check, refusal);
}

void
apmig_arrival_check_add_stamp(ApmigArrivalCheck *check, const ApmigStampVerdict *verdict)
{
    for (guint i = 0; i < verdict->findings->len; i++) {
        const ApmigFinding *finding = g_ptr_array_index(verdict->findings, i);

        g_ptr_array_add(check->findings,
                        apmig_finding_new(finding->severity, g_strdup(finding->subject), finding->code,
                                          finding->source, finding->destination, finding->remedy));
    }
    if (verdict->answer == APMIG_STAMP_DENY)
        refuse(check, verdict->sentence);
    else if (verdict->answer == APMIG_STAMP_WARN)
        g_ptr_array_add(check->doubts, g_strdup(verdict->sentence));
}

/* --- hardware: what does not fit ----------------------------------------------------------------- */

static char *
name_subject(const ApmigCompatFinding *finding)
{
    if (finding->code == APMIG_COMPAT_DEVICE_ABSENT)
        return g_strdup("device");
    if (finding->domain == APMIG_COMPAT_NONE)
        return g_strdup("host");
    if (finding->adapter == APMIG_COMPAT_NONE)
        return g_strdup_printf("control-domain %04x", finding->domain);
    return g_strdup_printf("queue %02x.%04x", finding->adapter, finding->domain);
}

static void
add_misfits(ApmigArrivalCheck *check, const GPtrArray *findings)
{
    for (guint i = 0; i < findings->len; i++) {
        const ApmigCompatFinding *finding = g_ptr_array_index(findings, i);

        g_ptr_array_add(check->findings,
                        apmig_finding_new(finding->severity, name_subject(finding),
                                          apmig_compat_code_to_string(finding->code), finding->source,
                                          finding->destination, finding->remedy));
    }
}

/* Returns: (transfer full) (nullable): the findings of that severity; NULL: there are none. */
static char *
describe(const GPtrArray *findings, ApmigSeverity severity)
{
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < findings->len; i++) {
        const ApmigCompatFinding *finding = g_ptr_array_index(findings, i);

        if (finding->severity == severity)
            g_ptr_array_add(texts, apmig_compat_finding_describe(finding));
    }
    return texts->len > 0 ? apmig_sentence_few(texts, " ") : NULL;
}

/* --- hardware: what fits ------------------------------------------------------------------------- */

static gpointer
key_of(guint adapter, guint domain)
{
    return GUINT_TO_POINTER(adapter * APMIG_AP_NUMBERS + domain);
}

/* Returns: (transfer full): a set of queues, by key_of(). */
static GHashTable *
collect_queues(const GPtrArray *findings)
{
    GHashTable *queues = g_hash_table_new(NULL, NULL);

    for (guint i = 0; i < findings->len; i++) {
        const ApmigCompatFinding *finding = g_ptr_array_index(findings, i);

        if (finding->adapter != APMIG_COMPAT_NONE)
            g_hash_table_add(queues, key_of(finding->adapter, finding->domain));
    }
    return queues;
}

static char *
describe_hardware(const ApmigApViewQueue *queue)
{
    const char *mode = apmig_ap_mode_to_string(queue->mode);

    return queue->raw_hwtype != 0 ? g_strdup_printf("%s, AP type %u", mode, queue->raw_hwtype)
                                  : g_strdup_printf("%s, AP type unknown", mode);
}

static void
add_fits(ApmigArrivalCheck *check, const ApmigApView *source, const ApmigApHost *destination,
         const GPtrArray *misfits)
{
    g_autoptr(GHashTable) noted = collect_queues(misfits);

    for (guint i = 0; i < source->queues->len; i++) {
        const ApmigApViewQueue *queue = &g_array_index(source->queues, ApmigApViewQueue, i);
        ApmigApViewQueue there = apmig_ap_view_describe_queue(destination, queue->adapter, queue->domain);
        g_autofree char *at_source = describe_hardware(queue);
        g_autofree char *here = describe_hardware(&there);

        if (g_hash_table_contains(noted, key_of(queue->adapter, queue->domain)))
            continue;
        g_ptr_array_add(check->findings,
                        apmig_finding_new(APMIG_SEVERITY_NONE,
                                          g_strdup_printf("queue %02x.%04x", queue->adapter, queue->domain),
                                          "hardware-fits", at_source, here, ""));
    }
}

void
apmig_arrival_check_add_hardware(ApmigArrivalCheck *check, const ApmigApView *source,
                                 const ApmigApHost *destination, const char *uuid)
{
    g_autoptr(GPtrArray) misfits = apmig_compat_check(source, destination, uuid);
    g_autofree char *misfit = describe(misfits, APMIG_SEVERITY_ERROR);
    g_autofree char *doubt = describe(misfits, APMIG_SEVERITY_WARNING);

    add_misfits(check, misfits);
    if (destination->present)
        add_fits(check, source, destination, misfits);
    if (misfit)
        refuse(check, misfit);
    if (doubt)
        g_ptr_array_add(check->doubts, g_steal_pointer(&doubt));
}
