# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ends of the daemon at every moment that matters: no lock that a caller was told of is ever missing."""
import json
import signal

import pytest
import rig
from rig import domain, lasting, until, uuid_of

G1 = uuid_of(1)


failpoints = pytest.mark.skipif(not rig.has_failpoints(), reason="the build is without -Dfailpoints=true")


def dies_at(daemon, call):
    """Waits for the daemon to kill itself; the caller learns that nobody answers any more."""
    assert daemon.wait() == -signal.SIGKILL
    error = call.error()
    assert error.name.startswith("org.freedesktop.DBus.Error.NoReply")


def marked(daemon):
    return (daemon.state / "locks" / ".in-use").exists()


# --- taking a lock ----------------------------------------------------------------------------------


def until_one_file_each(daemon, root):
    """Nothing is left of a write that was cut off. One that says since when a lock is held may be under way."""
    until(lambda: len(root.locks()) == len(daemon.lock_files()), "one file for each lock")


@failpoints
@pytest.mark.parametrize("point, survives", [("lock-before-write", False), ("lock-written", False), ("lock-renamed", True),
                                             ("lock-durable", True)])
@pytest.mark.parametrize("no_wait", [False, True], ids=["wait", "no-wait"])
def test_crash_before_anybody_was_told(daemon, hypervisor, root, point, survives, no_wait):
    """A lock whose caller got no answer may be there afterwards; then it is listed, and is a lock like any other."""
    daemon.start(APMIGD_FAILPOINT=point)
    dies_at(daemon, root.start_take("04.*", options={"no-wait": True} if no_wait else None))
    daemon.start()
    assert len(root.locks()) == (1 if survives else 0)
    until_one_file_each(daemon, root)
    assert marked(daemon) == survives
    if survives:
        lock = root.wait_for_lock(state="held", scope="04.*", reason="AES rotation")
        assert root.admit(domain())[0] is False
        root.release(lock["path"])
    assert root.admit(domain()) == (True, "")
    assert daemon.lock_files() == [] and not marked(daemon)


@failpoints
def test_crash_after_held_was_written(daemon, hypervisor, root):
    daemon.start(APMIGD_FAILPOINT="held-durable")
    dies_at(daemon, root.start_take())
    on_disk = json.loads((daemon.state / "locks" / daemon.lock_files()[0]).read_text())
    assert on_disk["held-at"] > 0
    daemon.start()
    lock = root.wait_for_lock(state="held")
    assert root.lock(lock["path"])["HeldAt"] == on_disk["held-at"]


@failpoints
def test_crash_while_one_is_held_and_another_is_taken(daemon, hypervisor, root):
    daemon.start()
    first = root.take("04.*")
    daemon.stop()
    for point in ("lock-before-write", "lock-written", "lock-renamed", "lock-durable"):
        hypervisor.disconnect()
        daemon.start(APMIGD_FAILPOINT=point)
        dies_at(daemon, root.start_take("05.*"))
        assert marked(daemon)
        daemon.start()
        assert first in [lock["path"] for lock in root.locks()]
        for lock in root.locks()[1:]:
            root.release(lock["path"])
        root.wait_for_state(first, "held")
        daemon.stop()


# --- releasing one ----------------------------------------------------------------------------------


@failpoints
@pytest.mark.parametrize("point, others, survives", [
    ("lock-before-remove", 0, True),
    ("lock-before-remove", 1, True),
    ("marker-removed", 0, True),
    ("marker-removed", 1, True),
    ("lock-removed", 0, False),
    ("lock-removed", 1, False),
])
def test_crash_while_releasing(daemon, hypervisor, root, point, others, survives):
    """Nobody was told that it is released: it is there as it was, or gone for good. Other locks stay."""
    daemon.start()
    kept = [root.take("05.*")] if others else []
    lock = root.take("04.*")
    before = lasting(root.lock(lock))
    daemon.stop()
    daemon.start(APMIGD_FAILPOINT=point)
    root.wait_for_state(lock, "held")
    dies_at(daemon, root.start_release(lock))
    daemon.start()
    expected = kept + ([lock] if survives else [])
    assert sorted(entry["path"] for entry in root.locks()) == sorted(expected)
    assert marked(daemon) == bool(expected)
    for path in expected:
        root.wait_for_state(path, "held")
    if lock in expected:
        after = root.lock(lock)
        assert {k: after[k] for k in ("HeldAt", "RequestedAt", "Reason")} == \
               {k: before[k] for k in ("HeldAt", "RequestedAt", "Reason")}
        assert root.admit(domain())[0] is False
    else:
        assert root.admit(domain()) == (True, "")


@failpoints
def test_crash_between_the_record_of_a_yes_and_the_yes(daemon, hypervisor, root):
    daemon.start(APMIGD_FAILPOINT="admission-durable")
    call = root.start_admit(domain())
    dies_at(daemon, call)
    daemon.start()
    assert [(m["uuid"], m["phase"]) for m in root.migrations()] == [(G1, "admitted")]
    error = root.start_take(options={"timeout-usec": 300000}).error()
    assert error.short == "Timeout" and "'g1' was let in" in error.message


# --- kill -9, SIGTERM -------------------------------------------------------------------------------


def test_killed_while_draining(daemon, hypervisor, root):
    hypervisor.initially({"do": "guest", "uuid": G1, "name": "g1", "affected": "yes", "job": "outgoing", "step": "nothing"})
    daemon.start()
    taking = root.start_take()
    lock = root.wait_for_lock(state="draining")["path"]
    root.wait_for_migration(guest="g1")
    daemon.kill()
    hypervisor.disconnect()
    assert taking.error().name.startswith("org.freedesktop.DBus.Error.NoReply")
    daemon.start()
    shown = root.lock(lock)
    assert (shown["State"], shown["HeldAt"], shown["Breaches"]) == ("draining", 0, 0)
    assert root.admit(domain("g2", uuid_of(2)), "g2")[0] is False
    root.wait_for_migration(guest="g1")
    until(lambda: hypervisor.calls("step", G1), "the abort, as before")
    hypervisor.guest(G1, job="none")
    root.wait_for_state(lock, "held")


def test_killed_while_a_no_wait_lock_drains(daemon, hypervisor, root):
    daemon.start()
    hypervisor.do("lose", reason="gone")
    lock = root.take("04.*", "told of", {"no-wait": True, "change-id": "CHG1", "on-busy": "wait"})
    before = lasting(root.lock(lock))
    daemon.kill()
    hypervisor.disconnect()
    hypervisor.initially({"do": "lose", "reason": "not up yet"})
    daemon.start()
    after = lasting(root.lock(lock))
    assert {k: v for k, v in after.items() if k != "Waiting"} == {k: v for k, v in before.items() if k != "Waiting"}
    assert after["State"] == "draining"


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_held_lock_outlives_the_daemon(daemon, hypervisor, root, how):
    """It is unproven until the first complete reading, and then held since when it was."""
    daemon.start()
    lock = root.take("04.*,05.0001", "AES rotation", {"change-id": "CHG1", "expected-duration-usec": 10**12})
    before = lasting(root.lock(lock))
    getattr(daemon, how)()
    hypervisor.disconnect()
    hypervisor.initially({"do": "lose", "reason": "libvirtd is not up yet"})
    daemon.start()
    shown = root.lock(lock)
    assert shown["State"] == "unproven" and "libvirtd is not up yet" in shown["Unproven"]
    assert shown["HeldAt"] == before["HeldAt"]
    assert root.admit(domain())[0] is False
    hypervisor.do("connect")
    assert lasting(root.wait_for_state(lock, "held")) == before


def test_migration_found_under_a_lock_that_was_held_is_a_breach(daemon, hypervisor, root):
    daemon.start()
    lock = root.take(options={"on-busy": "wait"})
    daemon.kill()
    hypervisor.disconnect()
    hypervisor.initially({"do": "guest", "uuid": G1, "name": "g1", "affected": "yes", "job": "outgoing", "data-processed": 1,
                          "step": "nothing"})
    daemon.start()
    assert root.wait_for_state(lock, "breached")["Breaches"] == 1
    until(lambda: hypervisor.calls("step", G1), "the abort")
    hypervisor.guest(G1, job="none")
    root.wait_for_state(lock, "held")


def test_killed_again_and_again(daemon, hypervisor, root):
    """All locks are there each time, oldest first."""
    daemon.start()
    locks = [root.take(f"0{n}.*", f"reason {n}") for n in range(8)]
    before = root.locks()
    for _ in range(5):
        daemon.kill()
        hypervisor.disconnect()
        daemon.start()
        assert [lock["path"] for lock in root.locks()] == locks
    until(lambda: root.locks() == before, "all to be held again")


def test_killed_while_many_take_and_release(daemon, hypervisor, root):
    """Every lock whose TakeLock was answered is there, every one whose release was answered is not."""
    daemon.start()
    for round_number in range(3):
        takes = [root.start_take(f"{n:02x}.{round_number:04x}", options={"no-wait": True}) for n in range(12)]
        until(lambda: len(daemon.lock_files()) >= 3 + round_number * 3, "some to be written")
        daemon.kill()
        hypervisor.disconnect()
        told = []
        for call in takes:
            try:
                told.append(call.answer()[0])
            except rig.BusError:
                pass
        daemon.start()
        present = [lock["path"] for lock in root.locks()]
        assert set(told) <= set(present)
        until_one_file_each(daemon, root)
        for path in present[3:]:
            root.release(path)
    assert len(root.locks()) == 3


def test_term_withdraws_what_is_waited_for_and_keeps_the_rest(daemon, hypervisor, root):
    """An error to who waits means that there is no lock; who was told of one has it."""
    daemon.start()
    hypervisor.guest(G1, name="g1", affected="yes", job="outgoing", step="nothing")
    told = root.take("04.*", options={"no-wait": True})
    taking = root.start_take("05.*")
    until(lambda: len(root.locks()) == 2, "both")
    daemon.stop()
    taking.error()
    hypervisor.disconnect()
    daemon.start()
    assert [lock["path"] for lock in root.locks()] == [told]
    root.wait_for_state(told, "held")


def test_end_with_a_withheld_hypervisor_is_quick(daemon, hypervisor, root):
    daemon.start()
    hypervisor.do("defaults", list_ms=-1)
    root.take(options={"no-wait": True})
    daemon.stop()


# --- never two --------------------------------------------------------------------------------------


def second(daemon, folder, bus, state):
    (folder / "second").mkdir()
    other = rig.Daemon(bus, folder / "second", rig.APMIGD_SCRIPTED, f"scripted:{folder}/second/hypervisor")
    other.state = state
    other.spawn()
    return other


def test_second_daemon_on_the_same_folder_fails(daemon, hypervisor, root, folder):
    daemon.start()
    lock = root.take()
    before = lasting(root.lock(lock))
    (folder / "bus2").mkdir()
    bus = rig.Bus(folder / "bus2")  # so that it is not the name that stops it
    try:
        other = second(daemon, folder, bus, daemon.state)
        assert other.wait() == 1
        assert f"another apmigd runs on {daemon.state}; stop it first" in other.read_log()
        assert not bus.has_name()
    finally:
        bus.close()
    assert lasting(root.lock(lock)) == before and len(daemon.lock_files()) == 1
    root.release(lock)
    daemon.stop()
    daemon.start()  # the folder is free again


def test_second_daemon_on_the_same_bus_fails(daemon, hypervisor, root, folder, bus):
    daemon.start()
    lock = root.take()
    other = second(daemon, folder, bus, folder / "second" / "state")
    assert other.wait() == 1
    assert "another apmigd is running" in other.read_log()
    assert not any("READY=1" in text for text in other.notified)
    assert other.lock_files() == []
    assert root.lock(lock)["State"] == "held"
    root.release(lock)
