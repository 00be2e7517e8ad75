/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fleet/fixture.h"

#include "ap/fixture.h"

#define CASE(name, test) g_test_add("/fleet/judge/" name, Fleet, NULL, fleet_set_up, test, fleet_tear_down)

static ApmigFleetVerdict *
judge(const Fleet *fleet)
{
    return apmig_fleet_judge(&fleet->question, &fleet->snapshot, fleet->answers);
}

/* NO-GO for one reason, about @host, "" for the fleet. */
static void
assert_no_go(const Fleet *fleet, ApmigFleetReasonKind kind, const char *host, const char *sentence)
{
    g_autoptr(ApmigFleetVerdict) verdict = judge(fleet);
    const ApmigFleetReason *reason;

    g_assert_cmpint(verdict->go, ==, APMIG_FLEET_NO_GO);
    g_assert_cmpuint(verdict->reasons->len, ==, 1);
    reason = g_ptr_array_index(verdict->reasons, 0);
    g_assert_cmpstr(apmig_fleet_reason_kind_to_string(reason->kind), ==,
                    apmig_fleet_reason_kind_to_string(kind));
    g_assert_cmpstr(reason->host, ==, host);
    g_assert_cmpstr(reason->sentence, ==, sentence);
    g_assert_true(g_str_has_prefix(verdict->sentence, "NO-GO: "));
    assert_says(verdict->sentence, sentence);
}

static void
assert_go(const Fleet *fleet)
{
    g_autoptr(ApmigFleetVerdict) verdict = judge(fleet);

    g_assert_cmpstr(verdict->sentence, ==, "GO: all 3 hosts hold the lock of change CHG-1.");
    g_assert_cmpint(verdict->go, ==, APMIG_FLEET_GO);
    g_assert_cmpuint(verdict->n_hosts, ==, 3);
    g_assert_cmpuint(verdict->n_held, ==, 3);
    g_assert_cmpuint(verdict->left_out->len, ==, 0);
    g_assert_cmpuint(verdict->reasons->len, ==, 0);
}

/* --- GO ------------------------------------------------------------------------------------------- */

static void
test_go(Fleet *fleet, gconstpointer data)
{
    g_autoptr(ApmigFleetVerdict) verdict = judge(fleet);

    assert_go(fleet);
    g_assert_cmpuint(verdict->warnings->len, ==, 0);
    g_assert_cmpstr(apmig_fleet_go_to_string(APMIG_FLEET_GO), ==, "GO");
    g_assert_cmpstr(apmig_fleet_go_to_string(APMIG_FLEET_GO_EXCEPT), ==, "GO-EXCEPT");
    g_assert_cmpstr(apmig_fleet_go_to_string(APMIG_FLEET_NO_GO), ==, "NO-GO");
}

/* Another lock was written since, and some have answered that already. */
static void
test_later_revisions(Fleet *fleet, gconstpointer data)
{
    fleet->snapshot.revision = FLEET_REVISION + 2;
    fleet_answer(fleet, 1)->head.revision = FLEET_REVISION + 2;
    fleet_answer(fleet, 2)->head.revision = FLEET_REVISION + 1;
    assert_go(fleet);
}

static void
test_breaches_are_named(Fleet *fleet, gconstpointer data)
{
    g_autoptr(ApmigFleetVerdict) verdict = NULL;

    fleet_lock_answer(fleet, 2)->breaches = 3;
    assert_go(fleet);
    verdict = judge(fleet);
    g_assert_cmpuint(verdict->warnings->len, ==, 1);
    g_assert_cmpstr(g_ptr_array_index(verdict->warnings, 0), ==,
                    "kvm2 has seen 3 breaches of the lock of change CHG-1 so far.");
}

/* As by ssh: hosts that do not tell an id answer by their name. */
static void
test_by_name(Fleet *fleet, gconstpointer data)
{
    for (guint n = 1; n <= 3; n++) {
        ApmigFleetMember *member = g_ptr_array_index(fleet->document->members, n - 1);

        fleet_set_text(&member->id, "");
        fleet_set_text(&fleet_answer(fleet, n)->head.host, member->name);
        fleet_set_text(&fleet_answer(fleet, n)->boot_id, "");
    }
    assert_go(fleet);
}

static void
test_age_without_limit(Fleet *fleet, gconstpointer data)
{
    fleet->snapshot.max_age_usec = G_MAXINT64;
    fleet_answer(fleet, 1)->head.received_at = 0;
    assert_go(fleet);
}

/* --- GO-EXCEPT ------------------------------------------------------------------------------------ */

static void
assert_go_except(Fleet *fleet, const char *host)
{
    g_autoptr(ApmigFleetVerdict) verdict = NULL;

    fleet_leave_out(fleet, host);
    verdict = judge(fleet);
    g_assert_cmpstr(
        verdict->sentence, ==,
        "GO-EXCEPT: 2 of 3 hosts hold the lock of change CHG-1; the keys of kvm3 must not be changed.");
    g_assert_cmpint(verdict->go, ==, APMIG_FLEET_GO_EXCEPT);
    g_assert_cmpuint(verdict->n_held, ==, 2);
    g_assert_cmpuint(verdict->left_out->len, ==, 1);
    g_assert_cmpuint(verdict->warnings->len, ==, 1);
    g_assert_cmpstr(
        g_ptr_array_index(verdict->warnings, 0), ==,
        "The keys of kvm3 must not be changed: anna has left it out of the lock of change CHG-1 (its board is "
        "out).");
}

static void
test_except_silent(Fleet *fleet, gconstpointer data)
{
    g_ptr_array_remove_index(fleet->answers, 2);
    assert_go_except(fleet, "kvm3");
}

static void
test_except_by_id(Fleet *fleet, gconstpointer data)
{
    g_ptr_array_remove_index(fleet->answers, 2);
    assert_go_except(fleet, fleet_host_id(3));
}

/* Whatever it says does not count: it may have been opened. */
static void
test_except_answering(Fleet *fleet, gconstpointer data)
{
    fleet_lock_answer(fleet, 3)->state = APMIG_FLEET_HOST_FORCED_OPEN;
    assert_go_except(fleet, "kvm3");
}

static void
test_except_another(Fleet *fleet, gconstpointer data)
{
    g_ptr_array_remove_index(fleet->answers, 0);
    fleet_leave_out(fleet, "kvm3");
    assert_no_go(fleet, APMIG_FLEET_SILENT, "kvm1",
                 "There is no answer of kvm1 (it has not answered): see that apmigd runs there and can be "
                 "reached, or leave the host out by name, and then do not change its keys.");
}

static void
test_except_unknown(Fleet *fleet, gconstpointer data)
{
    fleet_leave_out(fleet, "kvm33");
    assert_no_go(
        fleet, APMIG_FLEET_NO_DOCUMENT, "",
        "The fleet's document leaves \"kvm33\" out of lock 3f9a21c0, which is no host of the fleet: see "
        "its name.");
}

static void
test_except_all(Fleet *fleet, gconstpointer data)
{
    fleet_leave_out(fleet, "kvm1");
    fleet_leave_out(fleet, "kvm2");
    fleet_leave_out(fleet, "kvm3");
    assert_no_go(fleet, APMIG_FLEET_NO_HOSTS, "",
                 "All hosts are left out, and so nothing is locked: take them in again.");
}

/* --- F1: every host holds, on disk and with its gate shut ------------------------------------------ */

static const struct {
    ApmigFleetHostState state;
    const char *blocker;
    const char *sentence;
} states[] = {
    {APMIG_FLEET_HOST_REQUESTED, NULL,
     "kvm2 does not hold the lock of change CHG-1, which is requested there: wait until its migrations are over."},
    {APMIG_FLEET_HOST_DRAINING, "guest 'g1' is coming in",
     "kvm2 does not hold the lock of change CHG-1, which is draining there (guest 'g1' is coming in): wait until its "
     "migrations are over."},
    {APMIG_FLEET_HOST_PERMITTED, NULL,
     "kvm2 does not hold the lock of change CHG-1, which is permitted there: wait until its migrations are over."},
    {APMIG_FLEET_HOST_UNPROVEN, "libvirt has not answered for 20 s",
     "kvm2 does not hold the lock of change CHG-1, which is unproven there (libvirt has not answered for 20 s): see there "
     "with apmigctl status what is not known."},
    {APMIG_FLEET_HOST_BREACHED, NULL,
     "kvm2 does not hold the lock of change CHG-1, which is breached there: a migration is in progress there, see where the "
     "guest goes, and wait until it is over."},
    {APMIG_FLEET_HOST_VERIFYING, NULL,
     "kvm2 does not hold the lock of change CHG-1, which is verifying there: ask for a new lock."},
    {APMIG_FLEET_HOST_RECOVERED, NULL,
     "kvm2 does not hold the lock of change CHG-1, which is recovered there: its lock is damaged: see there with apmigctl "
     "status, and ask for a new one."},
    {APMIG_FLEET_HOST_RELEASED, NULL,
     "kvm2 does not hold the lock of change CHG-1, which is released there: ask for a new lock."},
    /* F2: GO knows of a force */
    {APMIG_FLEET_HOST_FORCED_OPEN, NULL,
     "kvm2 does not hold the lock of change CHG-1, which is forced-open there: somebody has opened that host by force: "
     "stop the change, and ask for a new lock."},
};

static void
test_not_held(Fleet *fleet, gconstpointer data)
{
    for (gsize i = 0; i < G_N_ELEMENTS(states); i++) {
        ApmigFleetLockAnswer *lock = fleet_lock_answer(fleet, 2);

        lock->state = states[i].state;
        fleet_set_clause(&lock->blockers, states[i].blocker);
        assert_no_go(fleet, APMIG_FLEET_NOT_HELD, "kvm2", states[i].sentence);
    }
}

static void
test_never_held(Fleet *fleet, gconstpointer data)
{
    fleet_lock_answer(fleet, 2)->held_at = 0;
    assert_no_go(fleet, APMIG_FLEET_NOT_HELD, "kvm2",
                 "kvm2 does not hold the lock of change CHG-1, which is held there: ask for a new lock.");
}

static void
test_not_locked(Fleet *fleet, gconstpointer data)
{
    g_ptr_array_set_size(fleet_answer(fleet, 2)->locks, 0);
    assert_no_go(
        fleet, APMIG_FLEET_NOT_LOCKED, "kvm2",
        "kvm2 has answered, and does not have the lock of change CHG-1: see its log for why it was not taken.");
}

static void
test_other_lock(Fleet *fleet, gconstpointer data)
{
    fleet_set_text(&fleet_lock_answer(fleet, 2)->id, "3f9a21c1");
    assert_no_go(
        fleet, APMIG_FLEET_NOT_LOCKED, "kvm2",
        "kvm2 has answered, and does not have the lock of change CHG-1: see its log for why it was not taken.");
}

static void
test_other_scope(Fleet *fleet, gconstpointer data)
{
    ApmigFleetLockAnswer *lock = fleet_lock_answer(fleet, 2);

    apmig_scope_unref(lock->scope);
    lock->scope = scope_of("04.0012");
    assert_no_go(
        fleet, APMIG_FLEET_OTHER_SCOPE, "kvm2",
        "kvm2 has the lock of change CHG-1 for other AP queues than the document says: ask for a new lock.");
}

static void
test_gate_open(Fleet *fleet, gconstpointer data)
{
    fleet_set_text(&fleet_answer(fleet, 2)->hook_problem, "it is not executable");
    assert_no_go(
        fleet, APMIG_FLEET_GATE_OPEN, "kvm2",
        "On kvm2 nothing keeps incoming migrations out (it is not executable): install the hook there.");
}

static void
test_blocked(Fleet *fleet, gconstpointer data)
{
    fleet_set_clause(&fleet_lock_answer(fleet, 2)->blockers, "no step could end guest 'g1'");
    assert_no_go(
        fleet, APMIG_FLEET_BLOCKED, "kvm2",
        "On kvm2 something is in progress, or may be, under the lock of change CHG-1 (no step could end guest "
        "'g1'): wait until it is over.");
}

static void
test_permitted(Fleet *fleet, gconstpointer data)
{
    fleet_set_clause(&fleet_lock_answer(fleet, 2)->permits, "guest 'g1' until noon");
    assert_no_go(
        fleet, APMIG_FLEET_PERMITTED, "kvm2",
        "On kvm2 a migration is permitted under the lock of change CHG-1 (guest 'g1' until noon): wait until it is "
        "over, or take the permit back.");
}

static void
test_departed(Fleet *fleet, gconstpointer data)
{
    fleet_set_clause(&fleet_lock_answer(fleet, 2)->departed, "guest 'g1'");
    assert_no_go(
        fleet, APMIG_FLEET_DEPARTED, "kvm2",
        "On kvm2 guests have gone, and may have migrated, under the lock of change CHG-1 (guest 'g1'): find out "
        "where they run, and say so there with apmigctl annotate.");
}

/* --- F5: another store, or one that has gone back --------------------------------------------------- */

#define REPLACED(revision, cluster)                                                                          \
    "The store has been replaced: revision 7 of store " FLEET_CLUSTER " was asked about, and this is "       \
    "revision " revision " of store " cluster "; every lock stays until an administrator has accepted it."

static void
test_other_cluster(Fleet *fleet, gconstpointer data)
{
    fleet->snapshot.cluster_id = "42";
    assert_no_go(fleet, APMIG_FLEET_STORE_REPLACED, "", REPLACED("7", "42"));
}

static void
test_lower_revision(Fleet *fleet, gconstpointer data)
{
    fleet->snapshot.revision = FLEET_REVISION - 1;
    assert_no_go(fleet, APMIG_FLEET_STORE_REPLACED, "", REPLACED("6", FLEET_CLUSTER));
}

/* The answer knows what the store has forgotten. */
static void
test_answer_ahead(Fleet *fleet, gconstpointer data)
{
    fleet_answer(fleet, 2)->head.revision = FLEET_REVISION + 1;
    assert_no_go(fleet, APMIG_FLEET_OTHER_DOCUMENT, "kvm2",
                 "kvm2 answers revision 8, and the document is only at 7: the store has gone back, and an "
                 "administrator has to accept it.");
}

/* --- F6: no answer is no --------------------------------------------------------------------------- */

static void
test_silent(Fleet *fleet, gconstpointer data)
{
    g_autoptr(ApmigFleetVerdict) verdict = NULL;

    g_ptr_array_remove_index(fleet->answers, 1);
    assert_no_go(fleet, APMIG_FLEET_SILENT, "kvm2",
                 "There is no answer of kvm2 (it has not answered): see that apmigd runs there and can be "
                 "reached, or leave the host out by name, and then do not change its keys.");
    verdict = judge(fleet);
    g_assert_cmpuint(verdict->n_hosts, ==, 3);
    g_assert_cmpuint(verdict->n_held, ==, 2);
    assert_says(verdict->sentence, "NO-GO: 2 of 3 hosts hold the lock. ");
}

static void
test_problem(Fleet *fleet, gconstpointer data)
{
    fleet_set_text(&fleet_answer(fleet, 2)->head.problem, "ssh ended with status 255");
    assert_no_go(
        fleet, APMIG_FLEET_SILENT, "kvm2",
        "There is no answer of kvm2 (ssh ended with status 255): see that apmigd runs there and can be "
        "reached, or leave the host out by name, and then do not change its keys.");
}

static void
test_nobody(Fleet *fleet, gconstpointer data)
{
    g_autoptr(ApmigFleetVerdict) verdict = NULL;

    g_ptr_array_set_size(fleet->answers, 0);
    verdict = judge(fleet);
    g_assert_cmpint(verdict->go, ==, APMIG_FLEET_NO_GO);
    g_assert_cmpuint(verdict->reasons->len, ==, 3);
}

static void
test_no_hosts(Fleet *fleet, gconstpointer data)
{
    g_ptr_array_set_size(fleet->document->members, 0);
    g_ptr_array_set_size(fleet->answers, 0);
    assert_no_go(fleet, APMIG_FLEET_NO_HOSTS, "",
                 "The fleet has no hosts, and so nothing is locked: add them.");
}

static void
test_stale(Fleet *fleet, gconstpointer data)
{
    static const gint64 times[] = {FLEET_NOW - FLEET_MAX_AGE - 1, FLEET_NOW + 1, -1, G_MININT64};

    fleet_answer(fleet, 2)->head.received_at = FLEET_NOW - FLEET_MAX_AGE;
    assert_go(fleet);
    for (gsize i = 0; i < G_N_ELEMENTS(times); i++) {
        fleet_answer(fleet, 2)->head.received_at = times[i];
        assert_no_go(fleet, APMIG_FLEET_STALE, "kvm2",
                     "The answer of kvm2 is too old, for it says nothing of the time since then: ask again.");
    }
}

static void
test_answered_twice(Fleet *fleet, gconstpointer data)
{
    fleet_set_text(&fleet_answer(fleet, 3)->head.host, fleet_host_id(2));
    fleet_leave_out(fleet, "kvm3");
    assert_no_go(fleet, APMIG_FLEET_ANSWERED_TWICE, "kvm2",
                 "There are two answers of kvm2: find out which other host answers under its id, such as one "
                 "that was cloned from it.");
}

/* Two names of one machine, which is then counted twice. */
static void
test_same_machine(Fleet *fleet, gconstpointer data)
{
    fleet_set_text(&fleet_answer(fleet, 3)->boot_id, fleet_answer(fleet, 2)->boot_id);
    fleet_set_text(&fleet_answer(fleet, 3)->head.host, "kvm3");
    fleet_leave_out(fleet, "kvm3");
    assert_no_go(fleet, APMIG_FLEET_ANSWERED_TWICE, "kvm2",
                 "kvm2 and kvm3 are the same machine, and a host may be missing: name each host once.");
}

static void
test_same_id(Fleet *fleet, gconstpointer data)
{
    fleet_set_text(&((ApmigFleetMember *)g_ptr_array_index(fleet->document->members, 2))->id,
                   fleet_host_id(2));
    assert_no_go(
        fleet, APMIG_FLEET_NO_DOCUMENT, "",
        "The fleet's document has two hosts of the id 11111111-1111-4111-8111-000000000002, one of them "
        "\"kvm3\": take out the one that is there twice.");
}

static void
test_not_listed(Fleet *fleet, gconstpointer data)
{
    fleet_set_text(&fleet_answer(fleet, 3)->head.host, fleet_host_id(4));
    fleet_leave_out(fleet, "kvm3");
    assert_no_go(
        fleet, APMIG_FLEET_NOT_LISTED, fleet_host_id(4),
        "11111111-1111-4111-8111-000000000004 answers, and is no host of the fleet's document: add it, "
        "or take it out of the fleet and remove what it has answered.");
}

/* --- F7: answers name revision and cluster ---------------------------------------------------------- */

static void
test_older_answer(Fleet *fleet, gconstpointer data)
{
    fleet_answer(fleet, 2)->head.revision = FLEET_REVISION - 1;
    assert_no_go(
        fleet, APMIG_FLEET_OLDER_REVISION, "kvm2",
        "kvm2 has answered revision 6, and not yet 7, which asks: wait, see that apmigd runs there and "
        "can be reached, or leave the host out by name, and then do not change its keys.");
}

static void
test_answer_of_other_store(Fleet *fleet, gconstpointer data)
{
    fleet_set_text(&fleet_answer(fleet, 2)->head.cluster_id, "42");
    assert_no_go(fleet, APMIG_FLEET_OTHER_DOCUMENT, "kvm2",
                 "kvm2 answers fleet \"prod\" in store 42, and not this one in store " FLEET_CLUSTER
                 ": see its configuration.");
}

static void
test_answer_of_other_fleet(Fleet *fleet, gconstpointer data)
{
    fleet_set_text(&fleet_answer(fleet, 2)->head.fleet, "test");
    assert_no_go(fleet, APMIG_FLEET_OTHER_DOCUMENT, "kvm2",
                 "kvm2 answers fleet \"test\" in store " FLEET_CLUSTER
                 ", and not this one in store " FLEET_CLUSTER ": see its configuration.");
}

/* A write of which nobody knows whether it was made. */
static void
test_no_question(Fleet *fleet, gconstpointer data)
{
    fleet->question.revision = 0;
    assert_no_go(fleet, APMIG_FLEET_NO_QUESTION, "",
                 "It is not known whether what was asked was written, and so nothing answers it: ask again.");
}

/* --- F8: who asked for a release relies on nothing; F4: what others wrote since ---------------------- */

static void
test_release_asked(Fleet *fleet, gconstpointer data)
{
    fleet_lock(fleet)->state = APMIG_FLEET_RELEASING;
    assert_no_go(
        fleet, APMIG_FLEET_RELEASE_ASKED, "",
        "The release of lock 3f9a21c0 has been asked for, and it is releasing: nobody relies on it any "
        "more; ask for a new one.");
    fleet_lock(fleet)->state = APMIG_FLEET_RELEASED;
    fleet->asked->state = APMIG_FLEET_RELEASED;
    assert_no_go(
        fleet, APMIG_FLEET_RELEASE_ASKED, "",
        "The release of lock 3f9a21c0 has been asked for, and it is released: nobody relies on it any "
        "more; ask for a new one.");
}

/* It was put back since: who asked for the release does not get his GO back. */
static void
test_locked_again(Fleet *fleet, gconstpointer data)
{
    fleet->asked->state = APMIG_FLEET_RELEASING;
    assert_no_go(
        fleet, APMIG_FLEET_NO_LOCK, "",
        "Lock 3f9a21c0 is not as it was asked about: somebody has changed it, or which hosts are left "
        "out; ask again.");
}

static void
test_changed_since(Fleet *fleet, gconstpointer data)
{
    ApmigFleetLock *lock = fleet_lock(fleet);
    char **const texts[] = {&lock->reason, &lock->change_id, &lock->owner};

    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autofree char *before = g_strdup(*texts[i]);

        fleet_set_text(texts[i], "another");
        assert_no_go(
            fleet, APMIG_FLEET_NO_LOCK, "",
            "Lock 3f9a21c0 is not as it was asked about: somebody has changed it, or which hosts are "
            "left out; ask again.");
        fleet_set_text(texts[i], before);
    }
    apmig_fleet_lock_leave_out(lock, "kvm3", "bert", "", 9);
    assert_no_go(
        fleet, APMIG_FLEET_NO_LOCK, "",
        "Lock 3f9a21c0 is not as it was asked about: somebody has changed it, or which hosts are left "
        "out; ask again.");
}

static void
test_lock_gone(Fleet *fleet, gconstpointer data)
{
    g_ptr_array_set_size(fleet->document->locks, 0);
    assert_no_go(fleet, APMIG_FLEET_NO_LOCK, "",
                 "The fleet's document has no lock 3f9a21c0 any more: ask for a new one.");
}

/* --- F9: a document that is missing or damaged ------------------------------------------------------ */

static void
test_no_document(Fleet *fleet, gconstpointer data)
{
    fleet->snapshot.document = NULL;
    assert_no_go(fleet, APMIG_FLEET_NO_DOCUMENT, "",
                 "The fleet's document is missing or damaged (it is not there): every lock stays until an "
                 "administrator has mended it.");
    fleet->snapshot.document_problem = "doc:1:1: this is no JSON";
    assert_no_go(
        fleet, APMIG_FLEET_NO_DOCUMENT, "",
        "The fleet's document is missing or damaged (doc:1:1: this is no JSON): every lock stays until "
        "an administrator has mended it.");
}

/* --- everything at once ----------------------------------------------------------------------------- */

static void
test_all_reasons(Fleet *fleet, gconstpointer data)
{
    g_autoptr(ApmigFleetVerdict) verdict = NULL;
    ApmigFleetLockAnswer *lock = fleet_lock_answer(fleet, 1);

    fleet_set_text(&fleet_answer(fleet, 1)->hook_problem, "it is missing");
    fleet_set_clause(&lock->blockers, "one");
    fleet_set_clause(&lock->permits, "two");
    fleet_set_clause(&lock->departed, "three");
    g_ptr_array_remove_index(fleet->answers, 2);
    verdict = judge(fleet);
    g_assert_cmpuint(verdict->reasons->len, ==, 5);
    g_assert_cmpuint(verdict->n_held, ==, 1);
    g_assert_true(g_str_has_suffix(verdict->sentence, " and 1 more"));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    CASE("go", test_go);
    CASE("later-revisions", test_later_revisions);
    CASE("breaches-are-named", test_breaches_are_named);
    CASE("by-name", test_by_name);
    CASE("age-without-limit", test_age_without_limit);
    CASE("except/silent", test_except_silent);
    CASE("except/by-id", test_except_by_id);
    CASE("except/answering", test_except_answering);
    CASE("except/another", test_except_another);
    CASE("except/unknown", test_except_unknown);
    CASE("except/all", test_except_all);
    CASE("f1/not-held", test_not_held);
    CASE("f1/never-held", test_never_held);
    CASE("f1/not-locked", test_not_locked);
    CASE("f1/other-lock", test_other_lock);
    CASE("f1/other-scope", test_other_scope);
    CASE("f1/gate-open", test_gate_open);
    CASE("f1/blocked", test_blocked);
    CASE("f1/permitted", test_permitted);
    CASE("f1/departed", test_departed);
    CASE("f5/other-cluster", test_other_cluster);
    CASE("f5/lower-revision", test_lower_revision);
    CASE("f5/answer-ahead", test_answer_ahead);
    CASE("f6/silent", test_silent);
    CASE("f6/problem", test_problem);
    CASE("f6/nobody", test_nobody);
    CASE("f6/no-hosts", test_no_hosts);
    CASE("f6/stale", test_stale);
    CASE("f6/answered-twice", test_answered_twice);
    CASE("f6/same-machine", test_same_machine);
    CASE("f6/same-id", test_same_id);
    CASE("f6/not-listed", test_not_listed);
    CASE("f7/older-answer", test_older_answer);
    CASE("f7/other-store", test_answer_of_other_store);
    CASE("f7/other-fleet", test_answer_of_other_fleet);
    CASE("f7/no-question", test_no_question);
    CASE("f8/release-asked", test_release_asked);
    CASE("f8/locked-again", test_locked_again);
    CASE("f4/changed-since", test_changed_since);
    CASE("f4/lock-gone", test_lock_gone);
    CASE("f9/no-document", test_no_document);
    CASE("all-reasons", test_all_reasons);
    return g_test_run();
}
