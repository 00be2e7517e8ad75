# SPDX-License-Identifier: LGPL-2.1-or-later
"""The life of a lock over migrations of a scripted hypervisor: what is ended, waited for, left alone, and told."""
import time

import pytest
from rig import LIMIT, domain, until, uuid_of

G1, G2, G3 = uuid_of(1), uuid_of(2), uuid_of(3)


@pytest.fixture
def quick(daemon, hypervisor):
    """The daemon with short intervals, and steps that are late after 200 ms."""
    daemon.policy(held_interval_usec=100000, steps=[{"step": "libvirt-abort", "deadline-usec": 200000}])
    return daemon.start()


def affected(hypervisor, uuid=G1, name="g1", scope="04.0012", **members):
    hypervisor.guest(uuid, name=name, affected="yes", scope=scope, **members)


# --- draining ---------------------------------------------------------------------------------------


def test_nothing_is_asked_of_the_hypervisor_without_a_lock(running, hypervisor, root):
    """But for what a guest has, once, while it answers."""
    affected(hypervisor)
    hypervisor.hint(uuid=G1)
    until(lambda: hypervisor.calls("query", G1), "what it has to be read")
    until(lambda: hypervisor.do("calls")["withheld"] == 0, "the answer")
    affected(hypervisor, job="outgoing")
    hypervisor.calls(clear=True)
    for _ in range(3):
        hypervisor.hint(uuid=G1)
        hypervisor.hint()
    assert root.migrations() == []
    assert {call["call"] for call in hypervisor.calls()} <= {"list"}  # a hint of anything may be one of a new guest
    assert root.manager()["HypervisorState"] == "connected"


def test_held_only_when_the_migration_is_over(running, hypervisor, root):
    affected(hypervisor, job="outgoing", step="nothing", data_total=1000, data_remaining=412, elapsed_usec=7)
    taking = root.start_take()
    migration = root.wait_for_migration(guest="g1", direction="out", phase="outgoing", scope="04.0012")["path"]
    until(lambda: root.migration(migration)["Steps"], "a step")
    lock = root.wait_for_lock(state="draining")
    shown = root.lock(lock["path"])
    assert shown["Blockers"] == [migration] and shown["HeldAt"] == 0
    assert shown["Waiting"] == "guest 'g1' is migrating out"
    assert root.migration(migration)["Progress"] == {"data-total": 1000, "data-processed": 0, "data-remaining": 412,
                                                     "elapsed-usec": 7}
    assert taking.is_waiting()
    hypervisor.guest(G1, job="none")
    assert taking.answer() == [lock["path"]]
    assert root.lock(lock["path"])["State"] == "held"
    assert root.wait_for_result(migration)["Result"] == "aborted"


def test_held_rests_on_readings_that_began_after_the_request(running, hypervisor, root):
    """A list that was asked for before the request was durable proves nothing for it, however late it comes."""
    until(lambda: hypervisor.calls("list", clear=True), "the list of the start")
    hypervisor.do("defaults", list_ms=-1)
    first = root.take("01.0001", options={"no-wait": True})
    until(lambda: hypervisor.do("release", what="list")["released"], "the question of before it was durable")
    until(lambda: len(hypervisor.calls("list")) == 2, "the question of after it")
    assert root.lock(first)["State"] == "draining"
    second = root.take("02.0001", options={"no-wait": True})
    assert hypervisor.do("release", what="list")["released"] == 1
    root.wait_for_state(first, "held")
    assert root.lock(second)["State"] == "draining"
    until(lambda: hypervisor.do("release", what="list")["released"], "the next question")
    root.wait_for_state(second, "held")


def test_a_state_that_changed_between_question_and_answer(running, hypervisor, root):
    """The list tells how things were when it was asked for; a guest that migrates since is found all the same."""
    hypervisor.do("defaults", as_of="question", list_ms=100)
    taking = root.start_take()
    until(lambda: hypervisor.calls("list"), "the question")
    affected(hypervisor, job="outgoing", step="nothing")
    hypervisor.hint(uuid=G1)
    lock = until(lambda: [lock for lock in root.locks() if lock["state"] in ("breached", "held", "draining")], "a lock")[0]
    root.wait_for_migration(guest="g1")
    until(lambda: root.lock(lock["path"])["Blockers"], "the migration to be in the way")
    assert root.lock(lock["path"])["State"] in ("draining", "breached")
    hypervisor.guest(G1, job="none")
    taking.answer()
    root.wait_for_state(lock["path"], "held")


def test_abort_ends_it_and_the_guest_stays(running, hypervisor, root):
    affected(hypervisor, job="outgoing", step_ms=100)
    lock = root.take("04.*")
    assert root.lock(lock)["State"] == "held"
    assert [call["uuid"] for call in hypervisor.calls("step")] == [G1]
    assert root.migrations() == []


def test_five_at_once_are_ended_in_parallel(running, hypervisor, root):
    for number in range(1, 6):
        affected(hypervisor, uuid_of(number), f"g{number}", job="outgoing", step_ms=500)
    lock = root.take()
    steps = hypervisor.calls("step")
    assert sorted(step["uuid"] for step in steps) == [uuid_of(number) for number in range(1, 6)]
    assert max(step["at-ms"] for step in steps) - min(step["at-ms"] for step in steps) < 400
    assert root.lock(lock)["Breaches"] == 0


def test_wait_touches_nothing(running, hypervisor, root):
    affected(hypervisor, job="outgoing")
    taking = root.start_take(options={"on-busy": "wait"})
    migration = root.wait_for_migration(guest="g1")["path"]
    root.wait_for_lock(state="draining")
    assert taking.is_waiting()
    hypervisor.do("remove", uuid=G1, stopped="migrated")
    lock = taking.answer()[0]
    assert root.lock(lock)["State"] == "held"
    assert hypervisor.calls("step") == []
    assert root.wait_for_result(migration)["Result"] == "completed"


def test_policy_decides_where_the_request_does_not(daemon, hypervisor, root):
    daemon.policy(on_busy="refuse")
    daemon.start()
    affected(hypervisor, job="outgoing", step_ms=50)
    assert root.start_take().error().short == "Busy"
    assert hypervisor.calls("step") == []
    lock = root.take(options={"on-busy": "abort"})
    assert root.lock(lock)["OnBusy"] == "abort" and len(hypervisor.calls("step")) == 1


def test_one_migration_to_be_refused_spares_all(running, hypervisor, root):
    for number in range(1, 4):
        affected(hypervisor, uuid_of(number), f"g{number}", job="outgoing")
    error = root.start_take(options={"on-busy": "refuse"}).error()
    assert error.short == "Busy" and hypervisor.calls("step") == []
    assert root.locks() == []


# --- ends that do not come as asked for --------------------------------------------------------------


def test_abort_that_said_yes_but_came_too_late(running, hypervisor, root, bus):
    monitor = bus.monitor()
    affected(hypervisor, job="outgoing", step="completes", step_ms=50)
    lock = root.take()
    migration = monitor.wait_for("InterfacesAdded", lambda a: "/migration/" in a[0])[0]
    ended = root.wait_for_result(migration)
    assert ended["Result"] == "completed-anyway"
    assert [step[:2] for step in ended["Steps"]] == [["libvirt-abort", "requested"]]
    assert root.lock(lock)["State"] == "held"


def test_abort_without_effect_is_tried_again(quick, hypervisor, root):
    affected(hypervisor, job="outgoing", step="nothing")
    taking = root.start_take()
    until(lambda: len(hypervisor.calls("step")) >= 3, "three tries")
    assert taking.is_waiting()
    hypervisor.guest(G1, step="ends")
    taking.answer()


def test_abort_that_fails_is_tried_again(quick, hypervisor, root):
    affected(hypervisor, job="outgoing", step="refuses")
    taking = root.start_take()
    migration = root.wait_for_migration(guest="g1")["path"]
    until(lambda: len(hypervisor.calls("step")) >= 2, "two tries")
    assert root.migration(migration)["Steps"][0][1] == "failed"
    hypervisor.guest(G1, step="ends")
    taking.answer()
    assert root.wait_for_result(migration)["Result"] == "aborted"


def test_abort_that_is_not_possible_is_not_tried_again(quick, hypervisor, root):
    affected(hypervisor, job="outgoing", step="not-abortable")
    error = root.start_take(options={"timeout-usec": 800000}).error()
    assert error.short == "Timeout" and "'g1'" in error.message
    assert len(hypervisor.calls("step")) == 1
    migration = root.wait_for_migration(guest="g1")["path"]
    assert root.migration(migration)["Steps"][0][1] == "not-abortable"
    hypervisor.do("remove", uuid=G1, stopped="migrated")
    assert root.wait_for_result(migration)["Result"] == "not-abortable"


def test_abort_that_never_answers_is_late(quick, hypervisor, root):
    affected(hypervisor, job="outgoing", step="nothing", step_answer_ms=-1)
    taking = root.start_take()
    migration = root.wait_for_migration(guest="g1")["path"]
    until(lambda: [s for s in root.migration(migration)["Steps"] if s[1] == "late"], "the step to be late")
    assert taking.is_waiting()
    hypervisor.guest(G1, job="none")
    taking.answer()
    assert hypervisor.do("release", what="step")["released"] == 1  # an answer after the end
    assert root.wait_for_result(migration)["Result"] == "aborted"


def test_nothing_is_done_in_postcopy(quick, hypervisor, root):
    """The guest runs at its destination already: ending the migration would lose it."""
    affected(hypervisor, job="outgoing", postcopy=True)
    error = root.start_take(options={"timeout-usec": 500000}).error()
    assert error.short == "Timeout" and "post-copy, which cannot be aborted" in error.message
    assert hypervisor.calls("step") == []
    migration = root.wait_for_migration(guest="g1")["path"]
    shown = root.migration(migration)
    assert shown["PostCopy"] is True and shown["Steps"][0][1] == "not-abortable"


def test_nothing_is_done_once_in_postcopy(quick, hypervisor, root):
    affected(hypervisor, job="outgoing", step="nothing")
    taking = root.start_take()
    until(lambda: hypervisor.calls("step"), "the first try")
    hypervisor.guest(G1, postcopy=True)
    migration = root.wait_for_migration(guest="g1")["path"]
    until(lambda: root.migration(migration)["PostCopy"], "post-copy to be seen")
    hypervisor.do("calls", clear=True)
    until(lambda: len(hypervisor.calls("query", G1)) > 10, "more readings")
    assert hypervisor.calls("step") == []
    hypervisor.do("remove", uuid=G1, stopped="migrated")
    taking.answer()


# --- who is left alone ------------------------------------------------------------------------------


def test_unaffected_guest_is_left_alone(quick, hypervisor, root):
    """It is asked about once, for what it is; then never again, whatever it does."""
    hypervisor.guest(G1, name="g1", affected="no", job="outgoing")
    affected(hypervisor, G2, "g2", job="outgoing", step="nothing")
    taking = root.start_take()
    until(lambda: len(hypervisor.calls("query", G2)) > 10, "some readings")
    assert [m["guest"] for m in root.migrations()] == ["g2"]
    assert len(hypervisor.calls("query", G1)) == 1 and hypervisor.calls("step", G1) == []
    hypervisor.guest(G2, job="none")
    taking.answer()
    hypervisor.hint(uuid=G1)
    hypervisor.hint(name="g1")
    until(lambda: len(hypervisor.calls("list")) > 3, "more readings")
    assert len(hypervisor.calls("query", G1)) == 1


def test_guest_of_another_scope_is_left_alone(running, hypervisor, root):
    affected(hypervisor, scope="05.0012", job="outgoing")
    lock = root.take("04.*")
    assert root.lock(lock)["State"] == "held"
    assert hypervisor.calls("step") == [] and root.lock(lock)["Blockers"] == []


@pytest.mark.parametrize("job", ["other", "none"])
def test_save_dump_and_snapshot_are_left_alone(running, hypervisor, root, job):
    affected(hypervisor, job=job)
    lock = root.take()
    assert root.lock(lock)["State"] == "held"
    assert hypervisor.calls("step") == [] and root.migrations() == []


def test_guest_that_cannot_be_read_is_waited_for_but_not_touched(quick, hypervisor, root):
    hypervisor.guest(G1, name="g1", affected="unknown", job="outgoing")
    error = root.start_take("04.0012", options={"timeout-usec": 400000}).error()
    assert error.short == "Timeout" and "its queues are not known, so it is left alone" in error.message
    assert hypervisor.calls("step") == []
    hypervisor.guest(G1, affected="yes", scope="05.0012")
    root.take("04.0012")  # known now, and of another scope
    assert hypervisor.calls("step") == []


def test_incoming_is_waited_for_and_named(quick, hypervisor, root):
    """It is ended from its source; this host only knows that it is there."""
    affected(hypervisor, job="incoming")
    error = root.start_take(options={"timeout-usec": 400000}).error()
    assert error.short == "Timeout"
    assert f"guest 'g1' is migrating in: end it on its source host with: virsh domjobabort {G1}" in error.message
    assert hypervisor.calls("step") == []
    taking = root.start_take()
    root.wait_for_lock(state="draining")
    hypervisor.guest(G1, job="none")
    taking.answer()


def test_new_devices_of_a_guest_count(quick, hypervisor, root):
    """A guest that gets queues while it runs is read anew when libvirt tells of the change."""
    hypervisor.guest(G1, name="g1", affected="no")
    lock = root.take("04.*")
    affected(hypervisor, job="outgoing", data_processed=1, step_ms=50)
    hypervisor.do("changed", uuid=G1)
    until(lambda: root.lock(lock)["Breaches"] == 1, "the breach")
    root.wait_for_state(lock, "held")
    assert [call["uuid"] for call in hypervisor.calls("step")] == [G1]


# --- breaches ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_busy", ["abort", "wait", "refuse"])
def test_breach_is_ended_whatever_on_busy_says(quick, hypervisor, root, on_busy):
    affected(hypervisor, step="nothing")
    lock = root.take(options={"on-busy": on_busy})
    hypervisor.guest(G1, job="outgoing", data_processed=1)
    shown = root.wait_for_state(lock, "breached")
    assert shown["Breaches"] == 1 and len(shown["Blockers"]) == 1
    until(lambda: hypervisor.calls("step", G1), "the abort")
    hypervisor.guest(G1, job="none")
    shown = root.wait_for_state(lock, "held")
    assert shown["Breaches"] == 1 and shown["Blockers"] == []
    assert "LOCK_BREACHED" in quick.read_log()


def test_every_breach_counts_once(quick, hypervisor, root):
    affected(hypervisor, step_ms=50)
    lock = root.take()
    for count in (1, 2, 3):
        hypervisor.guest(G1, job="outgoing", data_processed=1)
        until(lambda: root.lock(lock)["Breaches"] == count, f"breach {count}")
        root.wait_for_state(lock, "held")
    quick.restart()
    assert root.lock(lock)["Breaches"] == 3


def test_guest_that_comes_in_past_the_hook_is_a_breach(quick, hypervisor, root):
    """Known as one when it has come: while it does, libvirt does not tell what it has."""
    lock = root.take()
    affected(hypervisor, job="incoming")
    shown = root.wait_for_state(lock, "unproven")
    assert shown["Breaches"] == 0 and "'g1' is migrating in" in shown["Waiting"]
    assert hypervisor.calls("step") == []
    hypervisor.guest(G1, job="none")
    assert root.wait_for_state(lock, "held")["Breaches"] == 1


def test_breach_does_not_concern_a_lock_of_another_scope(quick, hypervisor, root):
    affected(hypervisor, step="nothing")
    here, there = root.take("04.*"), root.take("05.*")
    hypervisor.guest(G1, job="outgoing")
    root.wait_for_state(here, "breached")
    assert root.lock(there)["State"] == "held" and root.lock(there)["Breaches"] == 0


def test_breached_lock_can_be_released(quick, hypervisor, root):
    affected(hypervisor, step="nothing")
    lock = root.take()
    hypervisor.guest(G1, job="outgoing")
    root.wait_for_state(lock, "breached")
    root.release(lock)
    assert root.lock(lock)["Result"] == "released"


@pytest.fixture
def seldom(daemon, hypervisor, root):
    """The path of a held lock; the next reading is a minute away, so that only a hint can tell of a change."""
    daemon.policy(held_interval_usec=60000000)
    daemon.start()
    affected(hypervisor, step="nothing")
    lock = root.take()

    def is_idle():
        before = len(hypervisor.calls())
        time.sleep(0.3)  # six times what is between two readings while it drains
        return len(hypervisor.calls()) == before
    until(is_idle, "the last reading of when it drained")
    return lock


@pytest.mark.parametrize("hint", [{"uuid": G1}, {"name": "g1"}, {}], ids=["uuid", "name", "anything"])
def test_hints_are_followed(seldom, hypervisor, root, hint):
    hypervisor.guest(G1, job="outgoing", data_processed=1)
    assert root.lock(seldom)["State"] == "held"  # nobody has told
    hypervisor.hint(**hint)
    assert root.wait_for_state(seldom, "breached")["Breaches"] == 1


def test_hint_of_a_new_guest_is_followed(seldom, hypervisor, root):
    affected(hypervisor, G2, "g2", job="incoming")
    hypervisor.hint(uuid=G2)
    root.wait_for_state(seldom, "unproven")


# --- callers ----------------------------------------------------------------------------------------


def test_caller_that_vanishes_while_draining_takes_the_request_back(running, hypervisor, root, bus):
    monitor = bus.monitor()
    affected(hypervisor, job="outgoing", step="nothing")
    taking = root.start_take()
    lock = root.wait_for_lock(state="draining")
    assert root.admit(domain())[0] is False
    taking.kill()
    path, _, result, message = monitor.wait_for("LockEnded")
    assert (path, result) == (lock["path"], "cancelled") and "disconnected" in message
    assert root.locks() == [] and running.lock_files() == []
    assert root.admit(domain()) == (True, "")


def test_caller_that_vanishes_later_leaves_the_lock(running, root):
    lock = root.take()  # busctl has ended by now
    assert root.lock(lock)["State"] == "held"
    assert root.locks()[0]["path"] == lock


def test_caller_of_a_release_that_vanishes_changes_nothing(running, root):
    lock = root.take()
    root.start_release(lock).kill()
    until(lambda: root.lock(lock)["State"] in ("held", "ended"), "an end")
    running.restart()
    assert len(root.locks()) == len(running.lock_files()) <= 1


def test_no_wait_answers_while_draining(running, hypervisor, root):
    affected(hypervisor, job="outgoing", step="nothing")
    lock = root.take(options={"no-wait": True})
    assert root.lock(lock)["State"] == "draining"
    assert running.lock_files() == [f"{lock.rpartition('/')[2]}.json"]
    assert root.admit(domain())[0] is False
    root.wait_for_migration(guest="g1")
    hypervisor.guest(G1, job="none")
    root.wait_for_state(lock, "held")


def test_no_wait_has_a_deadline_if_given(running, hypervisor, root):
    affected(hypervisor, job="outgoing", step="nothing")
    lock = root.take(options={"no-wait": True, "timeout-usec": 200000})
    ended = root.wait_for_state(lock, "ended")
    assert ended["Result"] == "timeout" and "'g1' is migrating out" in ended["Message"]
    assert root.locks() == [] and running.lock_files() == []


def test_no_wait_has_no_deadline_otherwise(daemon, hypervisor, root):
    daemon.policy(request_timeout_usec=100000)
    daemon.start()
    affected(hypervisor, job="outgoing", step="nothing")
    waited_for = root.start_take("05.*", options={"on-busy": "wait", "timeout-usec": 600000})
    lock = root.take("04.*", options={"no-wait": True})
    waited_for.answer()
    until(lambda: len(hypervisor.calls("query", G1)) > 10, "more than the policy's deadline")
    assert root.lock(lock)["State"] == "draining"


def test_many_at_once_get_one_lock(running, root):
    calls = [root.start_take() for _ in range(8)]
    taken, refused = [], []
    for call in calls:
        try:
            taken.append(call.answer()[0])
        except Exception as error:
            refused.append(error.name)
    assert len(taken) == 1 and refused == ["org.apmigd1.Error.Locked"] * 7
    assert [lock["path"] for lock in root.locks()] == taken


def test_same_change_is_given_the_lock_that_is_there(running, hypervisor, root):
    """Also when its first request has lost its console."""
    affected(hypervisor, job="outgoing", step="nothing")
    change = {"change-id": "CHG-17", "on-busy": "wait", "timeout-usec": LIMIT * 1000000}
    first = root.start_take("04.*", options=change)
    until(root.locks, "the lock")
    again = root.start_take("04.*", options=change)
    lock = root.take("04.*", options={"change-id": "CHG-17", "no-wait": True})
    first.kill()
    hypervisor.guest(G1, job="none")
    assert again.answer() == [lock] and root.take("04.*", options=change) == lock
    assert [one["path"] for one in root.locks()] == [lock] and root.lock(lock)["State"] == "held"
    for scope, options in [("04.0012", change), ("04.*", {"change-id": "CHG-18"}), ("04.*", change | {"only-new": True})]:
        assert root.start_take(scope, options=options).error().short == "Locked"


def test_release_of_several_callers_succeeds_for_each(running, root):
    lock = root.take()
    calls = [root.start_release(lock) for _ in range(4)]
    outcomes = []
    for call in calls:
        try:
            outcomes.append(call.answer())
        except Exception as error:
            outcomes.append(error.name)
    assert [] in outcomes and all(o in ([], "org.apmigd1.Error.NoSuchLock") for o in outcomes)
    assert root.locks() == []


def test_overdue_is_told_and_changes_nothing(running, root, bus):
    monitor = bus.monitor()
    lock = root.take(options={"expected-duration-usec": 300000})
    until(lambda: monitor.changes(lock, "Overdue") == [True], "the lock to be overdue")
    assert root.lock(lock)["State"] == "held"
    assert "LOCK_OVERDUE" in running.read_log()
    running.restart()
    until(lambda: root.lock(lock)["Overdue"], "the lock to be overdue again")
    root.release(lock)


# --- the view ---------------------------------------------------------------------------------------


def test_connection_lost_while_draining(running, hypervisor, root):
    affected(hypervisor, job="outgoing", step="nothing")
    taking = root.start_take()
    lock = root.wait_for_lock(state="draining")["path"]
    root.wait_for_migration(guest="g1")
    hypervisor.hint(uuid=G1)  # as libvirt's status folder does: else its events count as late after a while
    hypervisor.do("lose", reason="libvirtd was restarted")
    until(lambda: root.manager()["HypervisorState"] == "disconnected", "the loss")
    assert "libvirtd was restarted" in root.lock(lock)["Waiting"]
    hypervisor.guest(G1, job="none")
    assert taking.is_waiting() and root.lock(lock)["State"] == "draining"  # nothing is proven without a view
    hypervisor.do("connect")
    assert taking.answer() == [lock]
    assert root.manager()["HypervisorState"] == "complete"


def test_connection_lost_while_held(quick, hypervisor, root):
    """The lock stays; what began meanwhile is found once the view is back."""
    affected(hypervisor, step="nothing")
    lock = root.take()
    hypervisor.do("lose", reason="libvirtd was restarted")
    until(lambda: root.manager()["HypervisorState"] == "disconnected", "the loss")
    assert root.admit(domain())[0] is False
    hypervisor.guest(G1, job="outgoing", data_processed=1)
    hypervisor.do("connect")
    assert root.wait_for_state(lock, "breached")["Breaches"] == 1
    root.release(lock)


def test_lost_view_refuses_no_guest_without_a_lock(running, hypervisor, root):
    hypervisor.do("lose", reason="gone")
    assert root.admit(domain()) == (True, "")


def test_late_answers_of_a_lost_connection_count_for_nothing(running, hypervisor, root):
    until(lambda: hypervisor.calls("list", clear=True), "the list of the start")
    hypervisor.do("defaults", list_ms=-1)
    lock = root.take(options={"no-wait": True})
    until(lambda: hypervisor.calls("list"), "the question")
    hypervisor.do("lose", reason="gone")
    hypervisor.do("connect")
    until(lambda: len(hypervisor.calls("list")) == 2, "the question anew")
    asked = hypervisor.do("calls")["withheld"]
    assert asked == 2
    affected(hypervisor, job="outgoing", step="nothing")
    hypervisor.do("defaults", list_ms=0)
    hypervisor.do("release", what="list")
    root.wait_for_migration(guest="g1")
    assert root.lock(lock)["State"] == "draining"


def test_guest_whose_query_hangs_stalls_no_other(quick, hypervisor, root):
    affected(hypervisor, G1, "g1", scope="04.0012")
    affected(hypervisor, G2, "g2", scope="05.0012")
    first = root.take("04.*")
    root.release(first)
    hypervisor.guest(G1, query_ms=-1)
    stuck = root.take("04.*", options={"no-wait": True})
    until(lambda: "not told the job state of guest 'g1'" in root.lock(stuck)["Waiting"], "g1 to be asked")
    lock = root.take("05.*")
    assert root.lock(lock)["State"] == "held"
    hypervisor.guest(G2, job="outgoing", data_processed=1, step_ms=50)
    until(lambda: root.lock(lock)["Breaches"] == 1, "the breach of g2")
    root.wait_for_state(lock, "held")
    assert root.lock(stuck)["State"] == "draining"
    assert hypervisor.do("calls")["withheld"] == 1  # one query in flight per guest
    hypervisor.guest(G1, query_ms=0)
    hypervisor.do("release", uuid=G1)
    root.wait_for_state(stuck, "held")


def test_many_guests_are_read_in_time(running, hypervisor, root):
    for number in range(1, 201):
        affected(hypervisor, uuid_of(number), f"g{number}", query_ms=20)
    lock = root.take()
    assert root.lock(lock)["State"] == "held"
    assert {call["uuid"] for call in hypervisor.calls("query")} == {uuid_of(number) for number in range(1, 201)}
