# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is not known under a lock: silence, guests that have gone, attempts; and how everybody who looks is told."""
import json
import signal

import pytest
import rig
from journal import IDS
from rig import APMIGCTL, domain, until, uuid_of

G1, G2 = uuid_of(1), uuid_of(2)
OK, WARNING, CRITICAL = 0, 1, 2
BREACHED, BLIND, NO_GO = 31, 32, 33


@pytest.fixture
def quick(daemon, hypervisor, folder):
    """The daemon with its hook, and the shortest silence that a policy may allow."""
    hook = folder / "hooks" / "qemu.d" / "zz-apmigd"
    hook.parent.mkdir(parents=True)
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o755)
    daemon.policy(silence_usec=1000000, held_interval_usec=100000)
    return daemon.start()


def resting(hypervisor, uuid=G1, name="g1", **members):
    hypervisor.start_guest(uuid, name=name, affected="yes", scope="04.0012", **members)


def restart(daemon, hypervisor, *found):
    """Killed, and started again with what it finds."""
    daemon.kill()
    hypervisor.disconnect()
    hypervisor.initially(*found)
    daemon.start()


def test_silence_of_libvirt(quick, hypervisor, root, ctl):
    """As when all of its workers are busy: unproven with a reason, told everywhere; it ends with the next answer."""
    resting(hypervisor)
    lock = root.take("04.*", "AES rotation")
    proven_at = root.lock(lock)["ProvenAt"]
    assert root.lock(lock)["Unproven"] == "" and proven_at >= root.lock(lock)["RequestedAt"]
    watching = root.run(APMIGCTL, "watch")
    hypervisor.do("defaults", heartbeat_ms=-1)
    shown = root.wait_for_state(lock, "unproven")
    assert "libvirt has not answered since" in shown["Unproven"] and shown["Breaches"] == 0
    assert root.admit(domain())[0] is False  # the gate is shut as before

    out, err = watching.communicate(timeout=rig.LIMIT)
    assert (watching.returncode, err) == (BLIND, "") and f"lock {lock[-8:]}: UNPROVEN: libvirt has not answered" in out
    status, out, err = ctl("status", "--check")
    assert (status, err) == (CRITICAL, "") and f"what goes on under lock {lock[-8:]} is not known: libvirt" in out
    status, out, _ = ctl("ready")
    assert status == NO_GO and "is not proven" in out
    assert "Unproven: libvirt has not answered" in ctl("list", lock[-8:])[1]
    assert f"Lock {lock[-8:]} is unproven: libvirt" in ctl("status")[1]
    assert 'apmigd_locks{state="unproven"} 1' in ctl("metrics")[1]

    hypervisor.do("defaults", heartbeat_ms=0)
    hypervisor.do("release", what="heartbeat")
    shown = root.wait_for_state(lock, "held")
    assert shown["Unproven"] == "" and shown["ProvenAt"] >= proven_at and shown["HeldAt"] <= shown["ProvenAt"]
    assert ctl("status", "--check")[0] == OK and ctl("ready")[0] == OK


def test_what_works_under_an_unproven_lock(quick, hypervisor, root, ctl):
    """It is in force as one that is held is: a release asks the cards, and it can be amended and taken over."""
    resting(hypervisor)
    lock = root.take("04.*", "AES rotation")
    hypervisor.do("lose", reason="libvirtd was stopped")
    shown = root.wait_for_state(lock, "unproven")
    assert "libvirtd was stopped" in shown["Unproven"] and root.admit(domain())[0] is False
    for verb in (("extend", lock[-8:], "3d"), ("annotate", lock[-8:], "libvirtd is down"),
                 ("take-over", lock[-8:], "--reason=the night shift"),
                 ("permit", "g1", "--once", "--reason=it has to")):
        status, _, err = ctl(*verb)
        assert status == OK, err
    assert root.lock(lock)["State"] == "unproven" and "libvirtd is down" in root.lock(lock)["Reason"]
    status, out, err = ctl("unlock", lock[-8:])
    assert status == OK, err
    ended = root.lock(lock)  # the cards were asked for; there is none here
    assert ended["Result"] == "released" and "no AP bus on this host" in ended["Message"]


def test_guest_that_leaves_unseen_is_a_breach(quick, hypervisor, root, ctl):
    """No question has shown its migration: libvirt's event of how it stopped does, and names it."""
    resting(hypervisor)
    lock = root.take("04.*")
    watching = root.run(APMIGCTL, "watch")
    watching.stdout.readline()
    hypervisor.do("remove", uuid=G1, stopped="migrated")
    until(lambda: root.lock(lock)["Breaches"] == 1, "the breach")
    assert root.lock(lock)["Departed"] == []  # it is known how it went
    out, err = watching.communicate(timeout=rig.LIMIT)
    assert (watching.returncode, err) == (BREACHED, "") and "BREACHED" in out
    assert "g1" in next(line for line in quick.read_log().splitlines() if line.startswith("LOCK_BREACHED"))


def test_attempts_are_no_breaches(quick, hypervisor, root, ctl):
    resting(hypervisor, step_ms=0)
    lock = root.take("04.*")
    for n in range(5):
        hypervisor.guest(G1, job="outgoing")
        hypervisor.hint(uuid=G1)
        until(lambda: root.lock(lock)["Attempts"] == n + 1, f"attempt {n + 1}")
        root.wait_for_state(lock, "held")
    assert root.lock(lock)["Breaches"] == 0
    assert "held, 5 attempts" in ctl("list")[1]
    assert "apmigd_locks_attempts 5" in ctl("metrics")[1]


def test_watch_tells_attempts_apart(quick, hypervisor, root):
    """One that was over before watch looked again: it goes on, for no memory has left."""
    resting(hypervisor, step_ms=0)
    lock = root.take("04.*")
    watching = root.run(APMIGCTL, "watch", lock[-8:])
    watching.stdout.readline()
    watching.send_signal(signal.SIGSTOP)
    hypervisor.guest(G1, job="outgoing")
    hypervisor.hint(uuid=G1)
    until(lambda: root.lock(lock)["Attempts"] == 1, "the attempt")
    root.wait_for_state(lock, "held")
    watching.send_signal(signal.SIGCONT)
    assert "attempts: 1 more" in watching.stdout.readline()
    root.release(lock)
    out, err = watching.communicate(timeout=rig.LIMIT)
    assert (watching.returncode, err) == (OK, "") and "BREACHED" not in out


def test_report_has_what_was_not_known(journaled, journal, hypervisor, root, folder, ctl):
    resting(hypervisor, step_ms=0)
    resting(hypervisor, G2, "g2")
    lock = root.take("04.*", options={"change-id": "CHG1"})
    hypervisor.guest(G1, job="outgoing")
    hypervisor.hint(uuid=G1)
    journal.wait_for(LOCK_ID=lock[-8:], MESSAGE_ID=IDS["LOCK_ATTEMPTED"])
    root.wait_for_state(lock, "held")
    hypervisor.do("remove", uuid=G2)  # nobody tells how it went
    hypervisor.do("lose", reason="libvirtd was stopped")
    journal.wait_for(LOCK_ID=lock[-8:], MESSAGE_ID=IDS["VIEW_LATE"])
    hypervisor.do("connect")
    journal.wait_for(LOCK_ID=lock[-8:], MESSAGE_ID=IDS["GUEST_DEPARTED"])
    journal.write_file(folder / "files")
    status, out, err = ctl("report", "--directory", folder / "files", "CHG1", "--json=short")
    assert (status, err) == (OK, "")
    assert {e["Event"] for e in json.loads(out)["Entries"]} >= {"LOCK_ATTEMPTED", "VIEW_LATE", "GUEST_DEPARTED"}
    counts = json.loads(out)["Counts"]
    assert (counts["Attempted"], counts["Departed"], counts["Late"]) == (1, 1, 1)


def test_guest_that_vanishes_while_nobody_looks(quick, hypervisor, root, ctl, bus):
    """Kept over kill -9; NO-GO until somebody says that he knows where it is, durably."""
    resting(hypervisor)
    resting(hypervisor, G2, 'g "2"')
    lock = root.take("04.*")
    until(lambda: len(json.loads((quick.state / "locks" / f"{lock[-8:]}.json").read_text()).get("guests", [])) == 2,
          "both guests in the lock's file")
    restart(quick, hypervisor, {"do": "guest", "uuid": G1, "name": "g1", "affected": "yes", "scope": "04.0012"})
    until(lambda: root.lock(lock)["Departed"] == [[G2, 'g "2"']], "the guest that has gone")
    root.wait_for_state(lock, "held")
    assert "GUEST_DEPARTED" in quick.read_log()

    status, out, _ = ctl("ready")
    assert status == NO_GO and G2 in out and f"apmigctl annotate {lock[-8:]}" in out
    status, out, _ = ctl("status", "--check")
    assert status == CRITICAL and G2 in out
    for verb in (("list", lock[-8:]), ("status",)):
        assert G2 in (out := ctl(*verb)[1]) and f"apmigctl annotate {lock[-8:]} TEXT" in out
    assert "apmigd_locks_departed_guests 1" in ctl("metrics")[1]

    restart(quick, hypervisor, {"do": "guest", "uuid": G1, "name": "g1", "affected": "yes", "scope": "04.0012"})
    assert root.lock(lock)["Departed"] == [[G2, 'g "2"']]
    root.wait_for_state(lock, "held")
    monitor = bus.monitor()
    assert ctl("annotate", lock[-8:], "g2 was shut down")[0] == OK
    assert root.lock(lock)["Departed"] == [] and ctl("ready")[0] == OK and ctl("status", "--check")[0] == OK
    until(lambda: monitor.changes(lock, "Departed") == [[]], "the change to be told")
    restart(quick, hypervisor, {"do": "guest", "uuid": G1, "name": "g1", "affected": "yes", "scope": "04.0012"})
    assert root.lock(lock)["Departed"] == []


def test_lock_that_covers_nothing(quick, hypervisor, root, ctl):
    """Likely a slip: told when it is taken, and as long as it is so."""
    quick.wait_for_log("VIEW_STARTED")
    until(lambda: "queues" in root.lock(root.take("07.*"))["Coverage"], "the host to be read")
    status, out, err = ctl("lock", "04.*", "AES rotation")
    assert status == OK and "covers no AP queue of this host and no guest on it" in err
    lock = next(lock["path"] for lock in root.locks() if lock["scope"] == "04.*")
    quick.wait_for_log(f"lock {lock[-8:]} of scope 04.* covers no AP queue")
    status, out, _ = ctl("status", "--check")
    assert status == WARNING and "covers no AP queue" in out
    assert "covers nothing here" in ctl("list")[1] and "covers no AP queue" in ctl("status")[1]
    assert "apmigd_locks_covering_nothing 2" in ctl("metrics")[1]
    resting(hypervisor)
    hypervisor.do("changed", uuid=G1, change="started")
    until(lambda: root.lock(lock)["Coverage"]["guests"] == ["g1"], "the guest to be covered")
    assert "apmigd_locks_covering_nothing 1" in ctl("metrics")[1]


def test_coverage(daemon, hypervisor, root, ctl):
    daemon.copy_sysfs()
    daemon.start()
    resting(hypervisor)
    hypervisor.guest(G2, name="g2", affected="no")
    lock = root.take("02-05.0004,04.0012")
    until(lambda: "queues" in root.lock(lock)["Coverage"], "the host to be read")
    assert root.lock(lock)["Coverage"] == {"queues": ["02.0004", "05.0004"], "guests": ["g1"]}
    assert "covers no AP queue" not in daemon.read_log()
    root.release(lock)
    assert root.lock(lock)["Coverage"] == {}
