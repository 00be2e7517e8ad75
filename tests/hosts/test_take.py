# SPDX-License-Identifier: LGPL-2.1-or-later
"""Taking the lock: with nothing in progress, with migrations either way, and with those it has nothing to do with."""

import json
import re

import pytest
from checks import (KEYS, REASON, assert_aborted, assert_at_rest, assert_held, assert_refused_by, assert_unlocked,
                    migrate_back_and_forth, only_lock, take_held, uuids)
from host import wait_for

MODES = pytest.mark.parametrize("direct", [False, True], ids=["p2p", "direct"])


def test_nothing_in_progress(rig, a, b):
    guest = rig.start_guest("g1", a, scope=KEYS)
    lock = take_held(a)
    assert_unlocked(b)
    shown = a.run("apmigctl", "status").stdout
    assert lock in shown and "held" in shown and REASON in shown
    assert lock in json.dumps(json.loads(a.run("apmigctl", "list", "--json=short").stdout))
    a.release(lock)
    assert_unlocked(a)
    migrate_back_and_forth(rig, guest, a, b)


@MODES
def test_one_outgoing(rig, a, b, direct):
    """The main job, as an administrator types it."""
    guest = rig.start_guest("g1", a, scope=KEYS)
    migration = rig.migrate(guest, a, b, bandwidth=1, direct=direct)
    rig.wait_migrating(guest, a)
    assert uuids(b.migrations()) == {guest.uuid}

    reply = a.run("busctl", "call", "org.apmigd1", "/org/apmigd1", "org.apmigd1.Manager", "TakeLock", "ssa{sv}", "all",
                  REASON, "0").stdout
    assert not a.job(guest.name)
    lock = re.fullmatch(r'o "/org/apmigd1/lock/([0-9a-f]+)"\n', reply)[1]
    assert_held(a, lock)
    assert_aborted(migration)
    assert_at_rest(rig, guest, a)
    assert_unlocked(b)

    other = rig.start_guest("g2", b, scope=KEYS)
    assert_refused_by(rig.migrate(other, b, a, direct=direct), lock)
    assert_at_rest(rig, other, b)
    a.release(lock)
    assert rig.migrate(other, b, a, direct=direct).wait()
    assert_at_rest(rig, other, a)


@MODES
def test_one_incoming_is_waited_for(rig, a, b, direct):
    guest = rig.start_guest("g1", b, scope=KEYS)
    migration = rig.migrate(guest, b, a, bandwidth=1, direct=direct)
    rig.wait_migrating(guest, b)
    take = a.take()
    lock = only_lock(a, "draining")
    blockers = wait_for(lambda: a.lock_property(lock, "Blockers"), "the guest to be in the way")
    assert [a.get_property(path, "Migration", "Guest") for path in blockers] == [guest.name]
    assert not take.answered and not migration.ended

    rig.finish_migration(guest, b)
    assert migration.wait()
    assert take.wait().lock_id == lock
    assert_held(a, lock)
    assert_at_rest(rig, guest, a)


def test_incoming_at_the_deadline(rig, a, b):
    """From here it cannot be ended yet: the request fails, names the guest, and leaves everything as it was."""
    guest = rig.start_guest("g1", b, scope=KEYS)
    migration = rig.migrate(guest, b, a, bandwidth=1)
    rig.wait_migrating(guest, b)
    take = a.take(timeout_usec=2000000).wait()
    assert take.error == "Timeout"
    assert guest.name in take.message
    assert_unlocked(a)
    assert not migration.ended and b.is_migrating_out(guest.name)
    rig.finish_migration(guest, b)
    assert migration.wait()
    assert_at_rest(rig, guest, a)


def test_five_both_ways(rig, a, b):
    leaving = rig.start_guests(5, a, prefix="out", scope=KEYS)
    coming = rig.start_guests(5, b, prefix="in", scope=KEYS)
    aborted = [rig.migrate(guest, a, b, bandwidth=1) for guest in leaving]
    completed = [rig.migrate(guest, b, a, bandwidth=1) for guest in coming]
    for guest in leaving:
        rig.wait_migrating(guest, a)
    for guest in coming:
        rig.wait_migrating(guest, b)
    for host, guests in ((a, coming), (b, leaving)):
        assert uuids(host.migrations()) >= {guest.uuid for guest in guests}  # and who was first asked while he left

    take = a.take(timeout_usec=60000000)
    lock = only_lock(a)
    for migration in aborted:
        assert_aborted(migration)
    wait_for(lambda: len(a.lock_property(lock, "Blockers")) == 5, "the incoming ones to be left")
    assert not take.answered
    for guest in coming:
        rig.finish_migration(guest, b)
    for migration in completed:
        assert migration.wait()
    assert take.wait().lock_id == lock
    assert_held(a, lock)
    for guest in leaving + coming:
        assert_at_rest(rig, guest, a)


def test_scope_that_does_not_overlap(rig, a, b):
    guest = rig.start_guest("g1", a, scope=KEYS)
    migration = rig.migrate(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    lock = take_held(a, scope="05.*")
    assert take_held(b, scope="*.0013")
    assert a.is_migrating_out(guest.name)
    rig.finish_migration(guest, a)
    assert migration.wait()
    assert_at_rest(rig, guest, b)
    assert rig.migrate(guest, b, a).wait()
    assert_at_rest(rig, guest, a)
    assert_held(a, lock)


@MODES
def test_unaffected_guest(rig, a, b, direct):
    """It migrates under a lock of everything, both ways, and a lock does not wait for it."""
    guest = rig.start_guest("g1", a)
    migration = rig.migrate(guest, a, b, bandwidth=1, direct=direct)
    rig.wait_migrating(guest, a)
    locks = [take_held(host) for host in (a, b)]
    assert a.is_migrating_out(guest.name)
    rig.finish_migration(guest, a)
    assert migration.wait()
    migrate_back_and_forth(rig, guest, b, a)
    for host, lock in zip((a, b), locks):
        assert_held(host, lock)
        assert host.migrations() == []


def test_on_busy_wait(rig, a, b):
    guest = rig.start_guest("g1", a, scope=KEYS)
    migration = rig.migrate(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    take = a.take(on_busy="wait", timeout_usec=60000000)
    lock = only_lock(a, "draining")
    late = rig.start_guest("g2", b, scope=KEYS)
    assert_refused_by(rig.migrate(late, b, a), lock)  # the gate is closed while it drains
    assert not take.answered and a.is_migrating_out(guest.name)
    rig.finish_migration(guest, a)
    assert migration.wait()
    assert take.wait().lock_id == lock
    assert_held(a, lock)
    assert_at_rest(rig, guest, b)
    assert_at_rest(rig, late, b)


def test_on_busy_refuse(rig, a, b):
    guest = rig.start_guest("g1", a, scope=KEYS)
    migration = rig.migrate(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    take = a.take(on_busy="refuse").wait()
    assert take.error == "Busy"
    assert guest.name in take.message
    assert_unlocked(a)
    assert not migration.ended and a.is_migrating_out(guest.name)
    rig.finish_migration(guest, a)
    assert migration.wait()
    assert_at_rest(rig, guest, b)


def test_caller_that_vanishes_cancels(rig, a, b):
    guest = rig.start_guest("g1", a, scope=KEYS)
    migration = rig.migrate(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    take = a.take(on_busy="wait", timeout_usec=60000000)
    only_lock(a, "draining")
    take.vanish()
    wait_for(lambda: a.locks() == [], "the lock to be gone with its caller")
    rig.finish_migration(guest, a)
    assert migration.wait()
    migrate_back_and_forth(rig, guest, b, a)
