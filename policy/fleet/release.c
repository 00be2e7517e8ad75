/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fleet/release.h"

#include "base/sentence.h"
#include "fleet/private.h"

/* --- what is said --------------------------------------------------------------------------------- */

/* Returns: (transfer full) (nullable): the first few clauses of that standing */
static char *
describe_findings(const GPtrArray *findings, ApmigFleetKeyStanding standing)
{
    g_autoptr(GPtrArray) clauses = g_ptr_array_new();

    for (guint i = 0; i < findings->len; i++) {
        const ApmigFleetKeyFinding *finding = g_ptr_array_index(findings, i);

        if (finding->standing == standing)
            g_ptr_array_add(clauses, finding->clause);
    }
    return clauses->len > 0 ? apmig_sentence_few(clauses, "; ") : NULL;
}

static char *
describe_unverified(const GPtrArray *findings)
{
    g_autoptr(GPtrArray) clauses = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *few = NULL;

    for (guint i = 0; i < findings->len; i++) {
        const ApmigFleetKeyFinding *finding = g_ptr_array_index(findings, i);
        g_autofree char *hosts = apmig_sentence_few(finding->unknown, ", ");

        if (finding->unknown->len > 0)
            g_ptr_array_add(clauses,
                            g_strdup_printf("%02x.%04x (%s) on %s", finding->adapter, finding->domain,
                                            apmig_key_class_to_string(finding->key_class), hosts));
    }
    few = apmig_sentence_few(clauses, "; ");
    return clauses->len > 0 ? g_strdup_printf("Not verified: AP queues %s.", few) : g_strdup("");
}

static char *
describe_reasons(const GPtrArray *reasons)
{
    g_autoptr(GPtrArray) sentences = g_ptr_array_new();

    for (guint i = 0; i < reasons->len; i++)
        g_ptr_array_add(sentences, ((const ApmigFleetReason *)g_ptr_array_index(reasons, i))->sentence);
    return apmig_sentence_few(sentences, " ");
}

/* --- the decision --------------------------------------------------------------------------------- */

static void
refuse(ApmigFleetRelease *release, ApmigError code, char *message)
{
    release->standing = APMIG_FLEET_RELEASE_REFUSED;
    release->code = code;
    release->message = message;
}

static void
decide(ApmigFleetRelease *release)
{
    g_autofree char *unfinished = describe_findings(release->findings, APMIG_FLEET_KEY_UNFINISHED);
    g_autofree char *different = describe_findings(release->findings, APMIG_FLEET_KEY_DIFFERS);

    if (unfinished) {
        refuse(release, APMIG_ERROR_KEY_CHANGE_UNFINISHED,
               g_strdup_printf(
                   "A key change is unfinished: %s; set the new keys on every adapter of every host, "
                   "or clear NEW, and release the lock again.",
                   unfinished));
    } else if (different) {
        refuse(release, APMIG_ERROR_KEYS_DIFFER,
               g_strdup_printf(
                   "The master keys are not in step: %s; load and set the same keys on every host and "
                   "release the lock again, or force the release where they are meant to differ.",
                   different));
    } else if (release->reasons->len > 0) {
        release->standing = APMIG_FLEET_RELEASE_UNANSWERED;
        release->message = describe_reasons(release->reasons);
    } else {
        release->standing = APMIG_FLEET_RELEASE_IN_STEP;
        release->message = g_strdup("");
    }
}

/* Returns: (transfer container) (element-type ApmigFleetKeys): those that count */
static GPtrArray *
choose(const ApmigFleetQuestion *question, const ApmigFleetSnapshot *snapshot, const ApmigFleetLock *lock,
       const GPtrArray *keys, GPtrArray *reasons)
{
    GPtrArray *chosen = g_ptr_array_new();
    g_autoptr(GPtrArray) heads = g_ptr_array_new();

    for (guint i = 0; i < keys->len; i++)
        g_ptr_array_add(heads, &((ApmigFleetKeys *)g_ptr_array_index(keys, i))->head);
    for (guint i = 0; i < snapshot->document->members->len; i++) {
        const ApmigFleetMember *member = g_ptr_array_index(snapshot->document->members, i);
        int number = apmig_fleet_lock_find_left_out(lock, member)
                         ? -1
                         : fleet_reasons_of_heads(question, snapshot, heads, member, reasons);

        if (number >= 0)
            g_ptr_array_add(chosen, g_ptr_array_index(keys, (guint)number));
    }
    fleet_reasons_of_strangers(snapshot, heads, reasons);
    return chosen;
}

ApmigFleetRelease *
apmig_fleet_judge_release(const ApmigFleetQuestion *question, const ApmigFleetSnapshot *snapshot,
                          const GPtrArray *keys)
{
    ApmigFleetRelease *release = g_new0(ApmigFleetRelease, 1);
    g_autoptr(GPtrArray) chosen = NULL;
    const ApmigFleetLock *lock;

    release->reasons = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_fleet_reason_free);
    lock = fleet_reasons_of_snapshot(question, snapshot, APMIG_FLEET_RELEASING, release->reasons);
    chosen = lock ? choose(question, snapshot, lock, keys, release->reasons) : g_ptr_array_new();
    release->findings =
        lock ? apmig_fleet_compare_keys(snapshot->document, lock->scope, chosen) : g_ptr_array_new();
    release->unverified = describe_unverified(release->findings);
    decide(release);
    return release;
}

void
apmig_fleet_release_free(ApmigFleetRelease *release)
{
    if (!release)
        return;
    g_free(release->message);
    g_free(release->unverified);
    g_ptr_array_unref(release->findings);
    g_ptr_array_unref(release->reasons);
    g_free(release);
}
