# SPDX-License-Identifier: LGPL-2.1-or-later
"""A change of master keys, from the rehearsal to the report, with what its people type and nothing else.

dora and emil are crypto administrators, whom polkit lets take and release locks; root keeps the hosts running.
"""

import signal
import sys
from pathlib import Path

import pytest
from checks import (KEYS, assert_aborted, assert_at_rest, assert_refused_by, migrate_back_and_forth, times_ended,
                    wait_state)
from host import wait_for

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))

from fake_journald import FakeJournald, journal_stream  # noqa: E402 (needs the path)

CHANGE, REASON = "CHG0042", "AES master key rotation"
RULE = """\
polkit.addRule(function (action, subject) {
    if (action.id.startsWith("org.apmigd1.") && ["dora", "emil"].indexOf(subject.user) >= 0)
        return polkit.Result.YES;
});
"""
OK, BREACH, BLIND, NO_GO = 0, 31, 32, 33


@pytest.fixture
def journal(a):
    """What a real host's journald would keep."""
    journal = FakeJournald(a.path("/run/systemd/journal"))
    a.stop_apmigd()
    a.start_apmigd(environment={"JOURNAL_STREAM": journal_stream(a.path("/var/log/apmigd.log"))})
    yield journal
    journal.close()
    a.run("rm", "-r", "/run/systemd/journal")


@pytest.fixture
def people(a):
    rule = a.path("/etc/polkit-1/rules.d/50-crypto.rules")
    rule.write_text(RULE, encoding="utf-8")
    for name in ("dora", "emil"):
        a.run("useradd", "--no-create-home", name)
    wait_for(lambda: a.run(*argv("emil", "lock", "all", "a try", "--rehearse"), check=False).returncode == OK,
             "polkit to have read the rule")
    yield
    for name in ("dora", "emil"):
        a.run("userdel", name)
    rule.unlink()


def argv(user, *words):
    return ["setpriv", "--reuid", user, "--regid", user, "--init-groups", "--", "apmigctl", *words]


def types(host, user, *words, status=OK):
    """What @user then reads."""
    result = host.run(*argv(user, *words), check=False)
    assert result.returncode == status, result.stdout + result.stderr
    return result.stdout + result.stderr


def begin_watch(host, user):
    """With a look at the locks it begins; from then on it misses nothing."""
    watch = host.spawn(*argv(user, "watch"))
    wait_for(lambda: watch.output, "watch to begin")
    return watch


def with_memory_sent(rig, guest, source, destination):
    """A migration that the source's apmigd sees late."""
    source.apmigd.send(signal.SIGSTOP)
    migration = rig.migrate(guest, source, destination, bandwidth=1)
    rig.wait_migrating(guest, source)
    source.apmigd.send(signal.SIGCONT)
    return migration


def test_key_change(rig, a, b, journal, people):
    moving, staying, leaving = [rig.start_guest(name, a, scope=KEYS) for name in ("g1", "g2", "g3")]
    under_way = rig.migrate(moving, a, b, bandwidth=1)
    rig.wait_migrating(moving, a)

    # The evening before: which guests are concerned, and what would a lock do now?
    affected = types(a, "dora", "affected", KEYS)
    assert all(guest.name in affected for guest in (moving, staying, leaving))
    rehearsed = types(a, "dora", "lock", KEYS, REASON, "--rehearse")
    assert "g1" in rehearsed and "libvirt-abort" in rehearsed and "g2" not in rehearsed
    assert a.is_migrating_out("g1") and a.locks() == []

    # The change begins. The migration in progress is ended, and the hypervisor read anew: the keys may be touched.
    types(a, "dora", "lock", KEYS, REASON, "--for", "3d", "--change-id", CHANGE)
    assert_aborted(under_way)
    assert_at_rest(rig, moving, a)
    (lock,) = [lock["id"] for lock in a.locks()]
    assert types(a, "dora", "ready").startswith("GO")

    # Somebody migrates a guest all the same. It is ended, as a rule before its memory leaves, and whoever watches knows.
    watch = begin_watch(a, "dora")
    assert_aborted(rig.migrate(staying, a, b, bandwidth=1))
    assert watch.wait() in (BREACH, BLIND) and "g2" in watch.output
    wait_state(a, lock, "held")
    assert_at_rest(rig, staying, a)
    assert types(a, "dora", "ready").startswith("GO")

    # The shift ends.
    types(a, "emil", "take-over", lock, "--reason", "dora goes home")
    assert a.lock_property(lock, "OwnerName") == "emil"

    # This host has to be emptied of one guest now, whatever becomes of its keys. Nobody else goes, nor does it come back.
    types(a, "root", "permit", "g3", "--once", "--reason", "its disk controller fails")
    assert "g3" in types(a, "emil", "ready", status=NO_GO)
    watch = begin_watch(a, "emil")
    assert_aborted(with_memory_sent(rig, staying, a, b))
    assert watch.wait() in (BREACH, BLIND)  # libvirt tells first that memory leaves, not to where
    permitted = rig.migrate(leaving, a, b)
    assert permitted.wait(), permitted.message
    assert_at_rest(rig, leaving, b)
    wait_state(a, lock, "held")
    assert times_ended(a, lock) == 2 and a.lock_property(lock, "Breaches") >= 1
    assert types(a, "emil", "ready").startswith("GO")
    assert_refused_by(rig.migrate(leaving, b, a), lock, REASON, owner="emil")

    # The keys are in step.
    types(a, "emil", "unlock", lock)
    assert a.locks() == []
    migrate_back_and_forth(rig, moving, a, b)

    # What the auditor reads.
    journal.write_file(a.path("/run/rig/journal"))
    report = types(a, "root", "report", CHANGE, "--directory", "/run/rig/journal")
    for part in (lock, REASON, "g1", "g2", "g3", "its disk controller fails", "dora goes home", "2 times breached",
                 "1 guests refused", "3 migrations ended by apmigd"):
        assert part in report, report
