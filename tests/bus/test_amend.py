# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is changed of a lock that is there: its owner, its duration, its reason; by whom, and what is left of it."""
import json

import pytest
import rig
from rig import LOCK, lasting, until, uuid_of

G1 = uuid_of(1)
ACTION = "org.apmigd1."
OK, USAGE, INVALID, DENIED, BUSY = 0, 2, 3, 4, 6
HOUR = 3600 * 10**6


def on_disk(daemon, lock):
    return json.loads((daemon.state / "locks" / f"{lock[-8:]}.json").read_text())


@pytest.fixture
def theirs(running, nobody, bus):
    """A lock of nobody's, and the polkit that let it be taken."""
    polkit = bus.start_polkit("yes")
    return nobody.take("04.0012", "AES rotation"), polkit


def start_take_over(client, lock, reason="shift ends", *options):
    return client.start(lock, LOCK, "TakeOver", "sa{sv}", reason, *(options or ("0",)))


def start_extend(client, lock, usec=HOUR):
    return client.start(lock, LOCK, "Extend", "ta{sv}", usec, "0")


def start_annotate(client, lock, text="card 05 is late"):
    return client.start(lock, LOCK, "Annotate", "sa{sv}", text, "0")


def test_take_over(theirs, running, other, root, nobody, bus):
    lock, polkit = theirs
    monitor = bus.monitor()
    before = lasting(root.lock(lock))
    assert start_take_over(other, lock).answer() == []
    assert polkit.actions()[-1] == ACTION + "take-over-lock"
    record = on_disk(running, lock)
    assert (record["owner-uid"], record["owner-name"], record["reason"]) == (1, "daemon", "AES rotation")
    changed = {"OwnerUid": 1, "OwnerName": "daemon"}
    assert lasting(root.lock(lock)) == {**before, **changed}
    until(lambda: monitor.changes(lock, "OwnerName") == ["daemon"], "the change to be told")
    assert f'lock {lock[-8:]} of nobody (uid 65534) was taken over by daemon (uid 1): "shift ends"' in running.read_log()
    polkit.answers({ACTION + "release-others-lock": "no", "*": "yes"})
    assert nobody.start_release(lock).error().short == "NotOwner"
    running.restart()
    assert root.lock(lock)["OwnerName"] == "daemon"
    other.release(lock)


def test_take_over_needs_its_own_action(theirs, other, root):
    lock, polkit = theirs
    polkit.answers({ACTION + "take-over-lock": "no", "*": "yes"})
    error = start_take_over(other, lock).error()
    assert error.name == rig.ACCESS_DENIED and ACTION + "take-over-lock" in error.message
    assert root.lock(lock)["OwnerName"] == "nobody"


def test_take_over_by_apmigctl(theirs, running, root, ctl):
    lock = theirs[0]
    assert ctl("take-over", lock[-8:])[0] == USAGE  # says no reason
    assert ctl("take-over", lock[-8:], "--reason=")[0] == INVALID
    assert root.lock(lock)["OwnerUid"] == 65534
    assert ctl("take-over", lock[-8:], "--reason=shift ends") == (OK, f"Lock {lock[-8:]} is yours now.\n", "")
    assert root.lock(lock)["OwnerUid"] == 0


def test_owner_that_is_still_waited_for_stays(running, hypervisor, root, ctl):
    hypervisor.guest(G1, name="g1", affected="yes", job="outgoing", step="nothing")
    taking = root.start_take()
    lock = root.wait_for_lock(state="draining")
    status, _, err = ctl("take-over", lock["id"], "--reason=shift ends")
    assert status == BUSY and "root still waits for lock" in err
    hypervisor.guest(G1, job="none")
    taking.answer()


def test_extend(running, root, ctl):
    lock = root.take(options={"expected-duration-usec": 200000})
    until(lambda: root.lock(lock)["Overdue"], "the lock to be overdue")
    status, out, err = ctl("extend", lock[-8:], "3h")
    assert (status, err) == (OK, "") and out.startswith(f"Lock {lock[-8:]} is expected to be released by 20")
    shown = root.lock(lock)
    assert shown["Overdue"] is False and 0 <= shown["ExpectedDuration"] - 3 * HOUR < rig.LIMIT * 10**6
    assert on_disk(running, lock)["expected-duration"] == shown["ExpectedDuration"]
    assert f"lock {lock[-8:]} was extended by root (uid 0)" in running.read_log()
    running.restart()
    assert root.lock(lock)["Overdue"] is False
    start_extend(root, lock, 1).answer()
    until(lambda: root.lock(lock)["Overdue"], "the lock to be overdue again")
    assert ctl("extend", lock[-8:], "soon")[0] == USAGE


def test_annotate(running, root, ctl):
    lock = root.take("04.*", "AES rotation")
    assert ctl("annotate", lock[-8:], "card 05 is late") == (OK, f"Lock {lock[-8:]} has a new reason.\n", "")
    assert on_disk(running, lock)["reason"] == root.lock(lock)["Reason"] == "AES rotation; card 05 is late"
    assert root.start_take("04.0012").error().message.endswith(f"apmigctl unlock {lock[-8:]}")
    assert "card 05 is late" in root.admit(rig.domain())[1]  # so others read it
    status, out, _ = ctl("annotate", lock[-8:], "--replace", "AES rotation, done tonight", "--json=short")
    assert status == OK and lasting(json.loads(out)) == {**lasting(root.lock(lock)), "Path": lock}
    assert root.lock(lock)["Reason"] == "AES rotation, done tonight"
    assert 'from "AES rotation; card 05 is late" to "AES rotation, done tonight"' in running.read_log()
    status, _, err = ctl("annotate", lock[-8:], "x" * 250)
    assert status == INVALID and "at most 256 are kept" in err


@pytest.mark.parametrize("start", [start_extend, start_annotate], ids=["extend", "annotate"])
def test_only_the_owner_changes_it(theirs, nobody, other, root, ctl, start):
    lock, polkit = theirs
    before = lasting(root.lock(lock))
    polkit.answers({ACTION + "release-others-lock": "no", "*": "yes"})
    error = start(other, lock).error()
    assert error.short == "NotOwner"
    for part in ("belongs to nobody", f"apmigctl take-over {lock[-8:]}", ACTION + "release-others-lock"):
        assert part in error.message
    assert lasting(root.lock(lock)) == before
    assert start(nobody, lock).answer() == []
    assert polkit.actions()[-1] == ACTION + "take-lock"
    polkit.answers({ACTION + "release-others-lock": "yes", "*": "no"})
    assert start(nobody, lock).error().name == rig.ACCESS_DENIED
    assert start(other, lock).answer() == []


def test_take_over_that_was_answered_survives_a_kill(theirs, running, other, root):
    lock = theirs[0]
    start_take_over(other, lock).answer()
    running.kill()
    running.start()
    assert root.lock(lock)["OwnerName"] == "daemon"
