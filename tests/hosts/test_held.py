# SPDX-License-Identifier: LGPL-2.1-or-later
"""Migrations that begin while the lock is held: those that come in are refused, those that leave are ended."""

import pytest
from checks import (KEYS, assert_aborted, assert_at_rest, assert_held, assert_refused_by, migrate_back_and_forth,
                    take_held, times_ended, wait_state)

MODES = pytest.mark.parametrize("direct", [False, True], ids=["p2p", "direct"])
TRIES, REFUSED_DURING_BEGIN = 10, 9


@MODES
def test_incoming(rig, a, b, direct):
    guest = rig.start_guest("g1", b, scope=KEYS)
    lock = take_held(a)
    migration = rig.migrate(guest, b, a, direct=direct)
    assert_refused_by(migration, lock)
    assert_held(a, lock)
    assert_at_rest(rig, guest, b)
    checked = a.call_manager("CheckGuest", "s", rig.start_guest("g2", a, scope=KEYS).name)
    assert checked[0] is False and checked[2] == [f"/org/apmigd1/lock/{lock}"]
    a.release(lock)
    migrate_back_and_forth(rig, guest, b, a)


@MODES
def test_outgoing(rig, a, b, direct):
    """libvirt asks nobody on the source: it is ended at once, and counted."""
    guest = rig.start_guest("g1", a, scope=KEYS)
    lock = take_held(a)
    assert_aborted(rig.migrate(guest, a, b, bandwidth=1, direct=direct))
    wait_state(a, lock, "held")
    assert_held(a, lock, breaches=None)
    assert times_ended(a, lock) == 1
    assert_at_rest(rig, guest, a)
    assert b.locks() == []
    a.release(lock)
    migrate_back_and_forth(rig, guest, a, b)


def test_outgoing_with_a_lock_on_the_other_side(rig, a, b):
    """Both hosts locked: the destination refuses before the source has anything to end."""
    guest = rig.start_guest("g1", a, scope=KEYS)
    locks = {host: take_held(host) for host in (a, b)}
    migration = rig.migrate(guest, a, b)
    assert not migration.wait()
    for host, lock in locks.items():
        wait_state(host, lock, "held")
    assert_held(b, locks[b])
    assert_at_rest(rig, guest, a)


def test_outgoing_is_refused_during_begin(rig, a, b, record_property):
    """No memory is sent: libvirt announces the first pass over it with an event, which never comes."""
    guest = rig.start_guest("g1", a, scope=KEYS)
    lock = take_held(a)
    watcher = a.watch_events(guest.name)
    refused = 0
    for _ in range(TRIES):
        before = watcher.output.count("migration-iteration")
        assert_aborted(rig.migrate(guest, a, b, bandwidth=1))
        wait_state(a, lock, "held")
        refused += watcher.output.count("migration-iteration") == before
        assert_at_rest(rig, guest, a)
    record_property("refused before any memory was sent:", f"{refused} of {TRIES}")
    assert refused >= REFUSED_DURING_BEGIN
    assert times_ended(a, lock) == TRIES
    assert a.lock_property(lock, "Attempts") >= REFUSED_DURING_BEGIN
