/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fleet/judge.h"

#include <string.h>

#include "base/sentence.h"
#include "fleet/private.h"

/* What is judged, and what has come of it so far. */
typedef struct {
    const ApmigFleetQuestion *question;
    const ApmigFleetSnapshot *snapshot;
    const GPtrArray *answers;
    GPtrArray *heads; /* of ApmigFleetHead: of the answers, in their order */
    ApmigFleetVerdict *verdict;
    const char *lock; /* what it is called in sentences */
} Case;

const char *
apmig_fleet_go_to_string(ApmigFleetGo go)
{
    static const char *const words[] = {
        [APMIG_FLEET_NO_GO] = "NO-GO",
        [APMIG_FLEET_GO_EXCEPT] = "GO-EXCEPT",
        [APMIG_FLEET_GO] = "GO",
    };

    g_return_val_if_fail((guint)go < G_N_ELEMENTS(words), "NO-GO");
    return words[go];
}

/* By which administrators know it. Returns: (transfer full) */
static char *
name_lock(const ApmigFleetLock *lock)
{
    return *lock->change_id ? g_strdup_printf("the lock of change %s", lock->change_id)
                            : g_strdup_printf("lock %s", lock->id);
}

/* @sentence: (transfer full) */
static void
add_reason(const Case *judged, ApmigFleetReasonKind kind, const ApmigFleetMember *member, char *sentence)
{
    fleet_reasons_add(judged->verdict->reasons, kind, member, sentence);
}

/* --- one lock on one host ------------------------------------------------------------------------- */

static const char *
remedy_of(ApmigFleetHostState state)
{
    switch (state) {
    case APMIG_FLEET_HOST_REQUESTED:
    case APMIG_FLEET_HOST_DRAINING:
    case APMIG_FLEET_HOST_PERMITTED:
        return "wait until its migrations are over";
    case APMIG_FLEET_HOST_UNPROVEN:
        return "see there with apmigctl status what is not known";
    case APMIG_FLEET_HOST_BREACHED:
        return "a migration is in progress there, see where the guest goes, and wait until it is over";
    case APMIG_FLEET_HOST_RECOVERED:
        return "its lock is damaged: see there with apmigctl status, and ask for a new one";
    case APMIG_FLEET_HOST_FORCED_OPEN:
        return "somebody has opened that host by force: stop the change, and ask for a new lock";
    case APMIG_FLEET_HOST_VERIFYING:
    case APMIG_FLEET_HOST_RELEASED:
    case APMIG_FLEET_HOST_HELD:
    default:
        return "ask for a new lock";
    }
}

/* @clauses: as GStrv. Returns: (transfer full): the first few. */
static char *
few_of(char *const *clauses)
{
    g_autoptr(GPtrArray) array = g_ptr_array_new();

    for (; *clauses; clauses++)
        g_ptr_array_add(array, *clauses);
    return apmig_sentence_few(array, "; ");
}

static gboolean
check_state(const Case *judged, const ApmigFleetMember *member, const ApmigFleetLockAnswer *lock)
{
    g_autofree char *blockers = few_of(lock->blockers);
    gboolean says_why = *blockers != '\0';

    if (lock->state == APMIG_FLEET_HOST_HELD && lock->held_at > 0)
        return TRUE;
    add_reason(judged, APMIG_FLEET_NOT_HELD, member,
               g_strdup_printf("%s does not hold %s, which is %s there%s%s%s: %s.", member->name,
                               judged->lock, apmig_fleet_host_state_to_string(lock->state),
                               says_why ? " (" : "", blockers, says_why ? ")" : "", remedy_of(lock->state)));
    return FALSE;
}

/* @what: is the matter, if there are any @clauses, and @remedy what helps */
static gboolean
check_none(const Case *judged, const ApmigFleetMember *member, const ApmigFleetLockAnswer *lock,
           char *const *clauses, ApmigFleetReasonKind kind, const char *what, const char *remedy)
{
    g_autofree char *few = few_of(clauses);

    if (!*clauses)
        return TRUE;
    add_reason(judged, kind, member,
               g_strdup_printf("On %s %s under %s (%s): %s.", member->name, what, judged->lock, few, remedy));
    return FALSE;
}

static gboolean
check_scope(const Case *judged, const ApmigFleetMember *member, const ApmigFleetLockAnswer *lock)
{
    if (lock->scope && apmig_scope_equal(lock->scope, judged->question->lock->scope))
        return TRUE;
    add_reason(judged, APMIG_FLEET_OTHER_SCOPE, member,
               g_strdup_printf("%s has %s for other AP queues than the document says: ask for a new lock.",
                               member->name, judged->lock));
    return FALSE;
}

static gboolean
check_lock(const Case *judged, const ApmigFleetMember *member, const ApmigFleetLockAnswer *lock)
{
    gboolean ok = check_scope(judged, member, lock);

    if (lock->breaches > 0)
        g_ptr_array_add(judged->verdict->warnings,
                        g_strdup_printf("%s has seen %u breaches of %s so far.", member->name, lock->breaches,
                                        judged->lock));
    if (!check_state(judged, member, lock))
        return FALSE;
    ok &= check_none(judged, member, lock, lock->blockers, APMIG_FLEET_BLOCKED,
                     "something is in progress, or may be,", "wait until it is over");
    ok &= check_none(judged, member, lock, lock->permits, APMIG_FLEET_PERMITTED, "a migration is permitted",
                     "wait until it is over, or take the permit back");
    ok &= check_none(judged, member, lock, lock->departed, APMIG_FLEET_DEPARTED,
                     "guests have gone, and may have migrated,",
                     "find out where they run, and say so there with apmigctl annotate");
    return ok;
}

/* --- one host ------------------------------------------------------------------------------------- */

static gboolean
check_gate(const Case *judged, const ApmigFleetMember *member, const ApmigFleetAnswer *answer)
{
    if (*answer->hook_problem == '\0')
        return TRUE;
    add_reason(judged, APMIG_FLEET_GATE_OPEN, member,
               g_strdup_printf("On %s nothing keeps incoming migrations out (%s): install the hook there.",
                               member->name, answer->hook_problem));
    return FALSE;
}

static gboolean
check_locks(const Case *judged, const ApmigFleetMember *member, const ApmigFleetAnswer *answer)
{
    gboolean found = FALSE, ok = TRUE;

    for (guint i = 0; i < answer->locks->len; i++) {
        const ApmigFleetLockAnswer *lock = g_ptr_array_index(answer->locks, i);

        if (!g_str_equal(lock->id, judged->question->lock->id))
            continue;
        found = TRUE;
        ok &= check_lock(judged, member, lock);
    }
    if (!found)
        add_reason(judged, APMIG_FLEET_NOT_LOCKED, member,
                   g_strdup_printf("%s has answered, and does not have %s: see its log for why it was "
                                   "not taken.",
                                   member->name, judged->lock));
    return found && ok;
}

/* A machine that is counted twice stands for one that nobody has looked at. */
static gboolean
check_alone(const Case *judged, const ApmigFleetMember *member, const ApmigFleetAnswer *answer)
{
    for (guint i = 0; i < judged->answers->len; i++) {
        const ApmigFleetAnswer *other = g_ptr_array_index(judged->answers, i);

        if (other == answer || other->head.problem || *answer->boot_id == '\0' ||
            !g_str_equal(other->boot_id, answer->boot_id))
            continue;
        add_reason(
            judged, APMIG_FLEET_ANSWERED_TWICE, member,
            g_strdup_printf("%s and %s are the same machine, and a host may be missing: name each host "
                            "once.",
                            member->name, other->head.host));
        return FALSE;
    }
    return TRUE;
}

static void
judge_host(const Case *judged, const ApmigFleetMember *member)
{
    int number = fleet_reasons_of_heads(judged->question, judged->snapshot, judged->heads, member,
                                        judged->verdict->reasons);
    const ApmigFleetAnswer *answer = number >= 0 ? g_ptr_array_index(judged->answers, (guint)number) : NULL;
    gboolean ok;

    if (!answer)
        return;
    ok = check_alone(judged, member, answer);
    ok &= check_gate(judged, member, answer);
    ok &= check_locks(judged, member, answer);
    judged->verdict->n_held += ok;
}

static void
leave_out(const Case *judged, const ApmigFleetMember *member, const ApmigFleetLeftOut *left_out)
{
    g_ptr_array_add(judged->verdict->left_out, g_strdup(member->name));
    g_ptr_array_add(judged->verdict->warnings,
                    g_strdup_printf("The keys of %s must not be changed: %s has left it out of %s%s%s%s.",
                                    member->name, left_out->by, judged->lock, *left_out->reason ? " (" : "",
                                    left_out->reason, *left_out->reason ? ")" : ""));
}

/* --- all of them ---------------------------------------------------------------------------------- */

static void
judge_hosts(const Case *judged, const ApmigFleetLock *lock)
{
    const ApmigFleetDocument *document = judged->snapshot->document;

    judged->verdict->n_hosts = document->members->len;
    for (guint i = 0; i < document->members->len; i++) {
        const ApmigFleetMember *member = g_ptr_array_index(document->members, i);
        const ApmigFleetLeftOut *left_out = apmig_fleet_lock_find_left_out(lock, member);

        if (left_out)
            leave_out(judged, member, left_out);
        else
            judge_host(judged, member);
    }
    fleet_reasons_of_strangers(judged->snapshot, judged->heads, judged->verdict->reasons);
}

/* Both are asked for: no reason against it, and a proof of every host that is to have one. */
static ApmigFleetGo
decide(const ApmigFleetVerdict *verdict)
{
    if (verdict->reasons->len > 0 || verdict->n_held == 0 ||
        verdict->n_held + verdict->left_out->len != verdict->n_hosts)
        return APMIG_FLEET_NO_GO;
    return verdict->left_out->len > 0 ? APMIG_FLEET_GO_EXCEPT : APMIG_FLEET_GO;
}

static char *
describe_no_go(const ApmigFleetVerdict *verdict)
{
    g_autoptr(GPtrArray) sentences = g_ptr_array_new();
    g_autofree char *few = NULL;

    for (guint i = 0; i < verdict->reasons->len; i++)
        g_ptr_array_add(sentences,
                        ((const ApmigFleetReason *)g_ptr_array_index(verdict->reasons, i))->sentence);
    few = apmig_sentence_few(sentences, " ");
    if (verdict->n_hosts == 0)
        return g_strdup_printf("NO-GO: %s", few);
    return g_strdup_printf("NO-GO: %u of %u hosts hold the lock. %s", verdict->n_held, verdict->n_hosts, few);
}

static char *
describe(const ApmigFleetVerdict *verdict, const char *lock)
{
    g_autofree char *left_out = apmig_sentence_few(verdict->left_out, ", ");

    switch (verdict->go) {
    case APMIG_FLEET_GO:
        return g_strdup_printf("GO: all %u hosts hold %s.", verdict->n_hosts, lock);
    case APMIG_FLEET_GO_EXCEPT:
        return g_strdup_printf("GO-EXCEPT: %u of %u hosts hold %s; the keys of %s must not be changed.",
                               verdict->n_held, verdict->n_hosts, lock, left_out);
    case APMIG_FLEET_NO_GO:
    default:
        return describe_no_go(verdict);
    }
}

ApmigFleetVerdict *
apmig_fleet_judge(const ApmigFleetQuestion *question, const ApmigFleetSnapshot *snapshot,
                  const GPtrArray *answers)
{
    ApmigFleetVerdict *verdict = g_new0(ApmigFleetVerdict, 1);
    g_autoptr(GPtrArray) heads = g_ptr_array_new();
    g_autofree char *name = name_lock(question->lock);
    const Case judged = {question, snapshot, answers, heads, verdict, name};
    const ApmigFleetLock *lock;

    verdict->reasons = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_fleet_reason_free);
    verdict->left_out = g_ptr_array_new_with_free_func(g_free);
    verdict->warnings = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; i < answers->len; i++)
        g_ptr_array_add(heads, &((ApmigFleetAnswer *)g_ptr_array_index(answers, i))->head);
    lock = fleet_reasons_of_snapshot(question, snapshot, APMIG_FLEET_LOCKED, verdict->reasons);
    if (lock)
        judge_hosts(&judged, lock);
    verdict->go = decide(verdict);
    verdict->sentence = describe(verdict, name);
    return verdict;
}

void
apmig_fleet_verdict_free(ApmigFleetVerdict *verdict)
{
    if (!verdict)
        return;
    g_free(verdict->sentence);
    g_ptr_array_unref(verdict->left_out);
    g_ptr_array_unref(verdict->reasons);
    g_ptr_array_unref(verdict->warnings);
    g_free(verdict);
}
