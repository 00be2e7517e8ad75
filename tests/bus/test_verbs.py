# SPDX-License-Identifier: LGPL-2.1-or-later
"""The verbs of a working day that only look: wait and watch, ready, affected and the rehearsal of a lock."""
import json

import pytest
import rig
from rig import APMIGCTL, LOCK, MANAGER, ROOT_PATH, domain, until, uuid_of

G1, G2 = uuid_of(1), uuid_of(2)

OK, BUSY, TIMEOUT, NOT_FOUND, HYPERVISOR, REFUSED, UNREACHABLE = 0, 6, 7, 8, 9, 12, 13
LOCK_ENDED, BREACHED, BLIND, NO_GO = 30, 31, 32, 33


@pytest.fixture
def quick(daemon, hypervisor):
    """The daemon with short intervals."""
    daemon.policy(held_interval_usec=100000)
    return daemon.start()


class Running:
    """apmigctl that is under way, and its lines."""

    def __init__(self, client, *arguments):
        self.process = client.run(APMIGCTL, *arguments)

    def line(self):
        return self.process.stdout.readline()

    def lines_until(self, text):
        """All until that with the text, which must come."""
        lines = [self.line()]
        while text not in lines[-1]:
            assert lines[-1], f"it ended after {lines} {self.process.stderr.read()}"
            lines.append(self.line())
        return lines

    def is_waiting(self):
        return self.process.poll() is None

    def end(self):
        """(exit status, the rest of standard output, standard error)"""
        out, err = self.process.communicate(timeout=rig.LIMIT)
        return self.process.returncode, out, err


@pytest.fixture
def ctl(root):
    return lambda *arguments: Running(root, *arguments)


def migrating(hypervisor, **members):
    hypervisor.guest(G1, name="g1", affected="yes", scope="04.0012", step="nothing", **members)


# --- wait -------------------------------------------------------------------------------------------


def test_wait_until_held(running, hypervisor, root, ctl):
    migrating(hypervisor, job="outgoing")
    lock = root.take("04.*", options={"no-wait": True})
    waiting = ctl("wait", lock[-8:-2])
    migration = root.wait_for_migration(guest="g1")["path"]
    assert root.lock(lock)["Blockers"] == [migration] and waiting.is_waiting()
    hypervisor.guest(G1, job="none")
    assert waiting.end() == (OK, f"Lock {lock[-8:]} is held.\n", "")
    status, out, _ = ctl("wait", lock[-8:], "--json=short").end()  # it is already
    assert status == OK and rig.lasting(json.loads(out)) == {**rig.lasting(root.lock(lock)), "Path": lock}


def test_wait_until_ended(running, hypervisor, root, ctl):
    hypervisor.do("lose", reason="libvirtd was stopped")
    lock = root.take(options={"no-wait": True})
    waiting = ctl("wait", lock[-8:])
    root.release(lock)
    status, out, err = waiting.end()
    assert (status, err) == (LOCK_ENDED, "") and out.startswith(f"Lock {lock[-8:]} has ended: cancelled: ")
    assert ctl("wait", lock[-8:], "--quiet").end() == (LOCK_ENDED, "", "")
    assert ctl("wait", "00000000").end()[0] == NOT_FOUND


def test_wait_gives_up_and_leaves_the_lock(running, hypervisor, root, ctl):
    migrating(hypervisor, job="outgoing")
    lock = root.take(options={"no-wait": True})
    root.wait_for_migration(guest="g1")
    status, out, err = ctl("wait", lock[-8:], "--timeout=1s").end()
    assert (status, out) == (TIMEOUT, "") and "'g1' is migrating out" in err and "the time is up" in err
    assert root.lock(lock)["State"] == "draining"


def test_wait_for_what_is_never_held(daemon, hypervisor, ctl):
    locks = daemon.state / "locks"
    locks.mkdir(parents=True)
    (locks / "0a1b2c3d.json").write_text("garbage")
    daemon.start()
    status, _, err = ctl("wait", "0a1b2c3d").end()
    assert status == REFUSED and "apmigctl unlock --force 0a1b2c3d" in err


def test_wait_ends_with_apmigd(running, hypervisor, root, ctl):
    """Without a bus that starts it there is nobody to ask."""
    migrating(hypervisor, job="outgoing")
    lock = root.take(options={"no-wait": True})
    waiting = ctl("wait", lock[-8:])
    root.wait_for_migration(guest="g1")
    running.kill()
    assert waiting.end()[0] == UNREACHABLE


# --- watch ------------------------------------------------------------------------------------------


def test_watch_ends_at_a_breach(quick, hypervisor, root, ctl):
    migrating(hypervisor)
    lock = root.take("04.*", "AES rotation")
    watching = ctl("watch")
    assert f'lock {lock[-8:]}: held, scope 04.*, of root: "AES rotation"' in watching.line()
    hypervisor.guest(G1, job="outgoing")
    status, out, err = watching.end()
    assert (status, err) == (BREACHED, "")
    assert f"lock {lock[-8:]}: BREACHED: guest 'g1' is migrating out; do not change keys" in out
    assert ctl("watch", lock[-8:]).end()[0] == BREACHED  # it still is


def test_watch_tells_of_a_breach_that_was_short(quick, hypervisor, root, ctl):
    hypervisor.guest(G1, name="g1", affected="yes", scope="04.0012", step_ms=0)
    lock = root.take("04.*")
    watching = ctl("watch", "--quiet", "--json=short", lock[-8:])
    until(lambda: watching.process.poll() is not None or hypervisor.guest(G1, job="outgoing"), "the breach to be told")
    status, out, _ = watching.end()
    told = json.loads(out)
    assert status == BREACHED and (told["Event"], told["Lock"]) == ("breach", lock[-8:])


def test_watch_tells_what_is_overdue_and_ends_with_its_lock(running, root, ctl):
    other = root.take("05.*")
    lock = root.take("04.*", options={"expected-duration-usec": 300000})
    watching = ctl("watch", lock[-8:])
    assert "held" in watching.line()
    assert f"overdue: announced for 0 s; it stays until it is released with: apmigctl unlock {lock[-8:]}" in watching.line()
    root.release(other)
    root.release(lock)
    status, out, err = watching.end()
    assert (status, err) == (OK, "") and "ended: released: " in out and other[-8:] not in out


def test_watch_ends_when_nothing_is_seen(running, hypervisor, root, ctl):
    root.take("04.*")
    watching = ctl("watch")
    watching.line()
    hypervisor.do("lose", reason="libvirtd was restarted")
    hypervisor.do("connect")  # a moment is enough for a migration to begin
    status, out, _ = watching.end()
    assert status == BLIND and "the hypervisor cannot be reached" in out


def test_watch_ends_with_apmigd(running, root, ctl):
    root.take("04.*")
    watching = ctl("watch", "--json=short")
    watching.line()
    running.kill()
    status, out, _ = watching.end()
    assert status == BLIND and json.loads(out)["Event"] == "view-lost"


def test_watch_follows_locks_that_come(running, root, ctl):
    first = root.take("04.*")
    watching = ctl("watch")
    watching.lines_until(first[-8:])
    second = root.take("05.*")
    assert "held" in watching.lines_until(f"lock {second[-8:]}: held")[-1]
    root.release(first)
    watching.lines_until(f"lock {first[-8:]}: ended: released")
    assert watching.is_waiting()
    watching.process.kill()


def test_watch_without_apmigd(bus, ctl):
    for verb in (["wait", "x"], ["watch"]):
        status, out, err = ctl(*verb).end()
        assert (status, out) == (UNREACHABLE, "") and "systemctl status apmigd" in err


# --- ready ------------------------------------------------------------------------------------------


def test_ready_reads_anew(running, hypervisor, root, ctl):
    """The next reading is 5 s away: only one that is asked for tells."""
    migrating(hypervisor)
    lock = root.take("04.*")
    hypervisor.do("calls", clear=True)
    status, out, err = ctl("ready", lock[-8:]).end()
    assert (status, err) == (OK, "")
    assert out.startswith(f"GO: lock {lock[-8:]} on 04.* is held, and no migration was found after 20")
    assert hypervisor.calls("list") and hypervisor.calls("query", G1)
    hypervisor.guest(G1, job="outgoing")  # nobody tells
    status, out, err = ctl("ready").end()
    assert (status, err) == (NO_GO, "")
    assert out.startswith(f"NO-GO: lock {lock[-8:]} is breached: guest 'g1' is migrating out (read after 20")


def test_ready_of_several_locks(running, hypervisor, root, ctl):
    assert ctl("ready").end() == (NO_GO, "NO-GO: there is no lock.\n", "")
    migrating(hypervisor, job="outgoing")
    held = root.take("05.*")
    draining = root.take("04.*", options={"no-wait": True})
    status, out, _ = ctl("ready", "--json=short").end()
    verdicts = json.loads(out)
    assert status == NO_GO
    assert [(v["lock"], v["ready"]) for v in verdicts] == [(held, True), (draining, False)]
    assert "is not held yet: guest 'g1' is migrating out" in verdicts[1]["reason"]
    assert ctl("ready", held[-8:], "--quiet").end() == (OK, "", "")
    assert ctl("ready", "00000000").end()[0] == NOT_FOUND


def test_ready_without_an_answer_is_no_go(running, hypervisor, root, ctl):
    migrating(hypervisor)
    lock = root.take("04.*")
    hypervisor.guest(G1, query_ms=-1)
    status, out, err = ctl("ready", lock[-8:], "--timeout=1s").end()
    assert (status, out) == (HYPERVISOR, "")
    assert "NO-GO: nothing is proven: libvirt has not told the job state of guest 'g1'" in err
    hypervisor.do("lose", reason="libvirtd was stopped")
    status, out, err = ctl("ready", lock[-8:], "--timeout=1s").end()
    assert status in (HYPERVISOR, NO_GO) and "libvirtd was stopped" in out + err
    assert root.lock(lock)["State"] == "unproven"


def test_ready_warns_of_a_missing_hook(running, hypervisor, root, ctl):
    hypervisor.do("lose", reason="to come back as QEMU")
    hypervisor.do("connect", has_hook=True)
    lock = root.take("04.*", options={"allow-missing-hook": True})
    status, out, _ = ctl("ready").end()
    assert status == OK and "Warning: nothing keeps incoming migrations out: " in out and "zz-apmigd" in out
    assert root.call(lock, LOCK, "Check", "a{sv}", "0")[0]["warning"]


# --- affected ---------------------------------------------------------------------------------------


def test_affected(running, hypervisor, root, ctl):
    device = "88888888-8888-4888-8888-888888888888"
    migrating(hypervisor, devices=[device])
    hypervisor.guest(G2, name="g2", affected="yes", scope="05.0012")
    hypervisor.guest(uuid_of(3), name="g3", affected="no")
    lock = root.take("05.*", "AES rotation of spring")
    root.admit(domain("g4", uuid_of(4), "04.0013"), "g4")
    status, out, err = ctl("affected", "all").end()
    assert (status, err) == (OK, "")
    rows = [line.split(maxsplit=3) for line in out.splitlines()[1:]]
    assert [row[:3] for row in rows] == [["g1", "04.0012", "yes"], ["g2", "05.0012", "no:"], ["g4", "04.0013", "yes"]]
    assert "AES rotation of spring" in rows[1][3] and rows[0][3] == "-" and rows[2][3] == "in"
    guests = json.loads(ctl("affected", "*.0012", "--json=short").end()[1])
    assert [(g["uuid"], g["devices"], g["allowed"], g["locks"]) for g in guests] == [
        (G1, [device], True, []), (G2, [], False, [lock])]
    assert ctl("affected", "07.*").end() == (OK, "No guest on this host has such queues.\n", "")
    assert ctl("affected", "zz").end()[0] == 3


def test_affected_without_hypervisor(running, hypervisor, ctl):
    hypervisor.do("lose", reason="libvirtd was stopped")
    assert ctl("affected", "all").end()[0] == HYPERVISOR


# --- lock --rehearse --------------------------------------------------------------------------------


def test_rehearsal_leaves_no_trace(running, hypervisor, root, ctl):
    migrating(hypervisor, job="outgoing")
    hypervisor.guest(G2, name="g2", affected="yes", scope="05.0012", job="outgoing")
    status, out, err = ctl("lock", "04.*", "AES rotation", "--rehearse").end()
    assert (status, err) == (OK, "")
    assert out.splitlines() == ["Rehearsal: no lock was taken on 04.*, and nothing was ended.",
                                "  guest 'g1' is leaving: this would be ended with libvirt-abort"]
    assert root.locks() == [] and running.lock_files() == [] and hypervisor.calls("step") == []
    assert root.admit(domain("g3", uuid_of(3)), "g3") == (True, "")
    status, out, _ = ctl("lock", "04.*", "AES rotation", "--rehearse", "--on-busy=refuse", "--json=short").end()
    answer = json.loads(out)
    assert status == BUSY and answer["Possible"] is False and "a migration is in progress" in answer["WhyNot"]
    assert {m["guest"]: (m["direction"], m["treatment"]) for m in answer["Migrations"]} == {
        "g1": ("out", "refuse"), "g3": ("in", "refuse")}


def test_rehearsal_with_nothing_in_progress(running, hypervisor, root, ctl):
    migrating(hypervisor)
    status, out, _ = ctl("lock", "all", "AES rotation", "--rehearse").end()
    assert status == OK and "no migration of an affected guest is in progress" in out
    hypervisor.do("calls", clear=True)
    hypervisor.hint()
    assert {call["call"] for call in hypervisor.calls()} <= {"list"}  # nobody looks at a guest any more
    lock = root.take("04.*", "AES rotation of spring")
    status, out, err = ctl("lock", "all", "APKA rotation", "--rehearse").end()
    assert (status, out) == (5, "") and lock[-8:] in err
    assert [entry["path"] for entry in root.locks()] == [lock]


def test_rehearsal_needs_what_the_lock_needs(running, nobody, bus):
    call = nobody.start(ROOT_PATH, MANAGER, "RehearseLock", "ssa{sv}", "all", "AES rotation", "0")
    assert call.error().name == rig.ACCESS_DENIED
    bus.start_polkit("yes")
    assert nobody.call(ROOT_PATH, MANAGER, "RehearseLock", "ssa{sv}", "all", "AES rotation", "0") == [True, "", []]
