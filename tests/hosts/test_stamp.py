# SPDX-License-Identifier: LGPL-2.1-or-later
"""Stamps: what the source says of a guest in its metadata, and what the destination makes of it. No network of ours."""

import signal
import time

import pytest
from checks import (KEYS, REASON, STAMP, assert_at_rest, assert_held, assert_refused_by, assert_unlocked, host_id,
                    only_lock, take_held, uuids, wait_stamp)
from host import wait_for

OTHER_KEYS = "05.0012"
NOT_DELAYED = 10  # seconds: libvirt's wait for the end of a job is 30


@pytest.fixture(autouse=True)
def stamps(rig):
    for host in rig.hosts:
        host.set_policy('{"stamp": "full"}')
        host.apmigd.send(signal.SIGHUP)
        wait_for(lambda host=host: "policy reloaded" in host.apmigd_log(), f"the policy of {host.name}")


@pytest.mark.parametrize("direct", [False, True], ids=["p2p", "direct"])
@pytest.mark.parametrize("alive", [True, False], ids=["apmigd", "no-apmigd"])
def test_lock_at_the_source_alone(rig, a, b, direct, alive):
    """The destination refuses, and says whose lock it is there, even when nobody at the source would stop the guest."""
    guest = rig.start_guest("g1", a, scope=KEYS)
    before = wait_stamp(a, guest, without=["lock"])
    lock = take_held(a)
    wait_stamp(a, guest, lock, REASON, host_id(before))
    assert KEYS in a.metadata(guest.name, "urn:apmigd:1")  # the administrator's element is as it was
    assert_unlocked(b)
    if not alive:
        rig.deaths_expected = True
        a.stop_apmigd(signal.SIGKILL)

    migration = rig.migrate(guest, a, b, direct=direct)
    assert_refused_by(migration, lock)
    assert "locked at the source" in migration.message
    assert guest.name not in b.guests()
    assert lock in b.apmigd_log()
    if not alive:
        a.start_apmigd()
    assert_at_rest(rig, guest, a)

    a.release(lock)
    wait_stamp(a, guest, without=["lock"])
    assert rig.migrate(guest, a, b, direct=direct).wait()
    assert_at_rest(rig, guest, b)
    after = wait_stamp(b, guest, without=[host_id(before)])
    assert "lock" not in after
    assert KEYS in b.metadata(guest.name, "urn:apmigd:1")


def test_lock_that_arrives_late_is_in_the_stamp(rig, a, b):
    """One that is taken where the guest is now, not where it was."""
    guest = rig.start_guest("g1", a, scope=KEYS)
    assert rig.migrate(guest, a, b).wait()
    lock = take_held(b)
    wait_stamp(b, guest, lock)
    assert_unlocked(a)
    assert_refused_by(rig.migrate(guest, b, a), lock)
    assert_at_rest(rig, guest, b)


def test_lock_while_a_guest_migrates(rig, a, b):
    """libvirt keeps who writes metadata waiting until a migration is over, 30 s at most: no lock waits for that."""
    moving = rig.start_guest("g1", a, scope=KEYS)
    others = rig.start_guests(3, a, prefix="o", scope=OTHER_KEYS)
    for guest in [moving, *others]:
        wait_stamp(a, guest)
    migration = rig.migrate(moving, a, b, bandwidth=1)
    rig.wait_migrating(moving, a)

    begin = time.monotonic()
    lock = a.take(scope=OTHER_KEYS).wait().lock_id
    assert time.monotonic() - begin < NOT_DELAYED
    for guest in others:
        wait_stamp(a, guest, lock)
    assert time.monotonic() - begin < NOT_DELAYED
    assert not migration.ended and a.is_migrating_out(moving.name)

    second = a.take(scope=KEYS).wait()  # which ends the migration
    assert time.monotonic() - begin < 2 * NOT_DELAYED
    assert not migration.wait()
    wait_stamp(a, moving, second.lock_id)
    assert_at_rest(rig, moving, a)
    assert not [line for line in a.libvirtd_log() if "state change lock" in line]


def test_lock_that_waits_for_a_guest_is_not_delayed(rig, a, b):
    """Once that one is gone, it is held, whatever stamps are still to be written."""
    moving = rig.start_guest("g1", a, scope=KEYS)
    staying = rig.start_guest("g2", a, scope=KEYS)
    for guest in (moving, staying):
        wait_stamp(a, guest)
    migration = rig.migrate(moving, a, b, bandwidth=1)
    rig.wait_migrating(moving, a)
    take = a.take(on_busy="wait", timeout_usec=60000000)
    lock = only_lock(a, "draining")
    rig.finish_migration(moving, a)
    assert migration.wait()
    arrived = time.monotonic()
    assert take.wait().lock_id == lock
    assert time.monotonic() - arrived < NOT_DELAYED
    wait_stamp(a, staying, lock)
    assert_at_rest(rig, moving, b)
    assert not [line for line in a.libvirtd_log() if "state change lock" in line]


def test_migration_under_way_is_stamped_where_it_arrives(rig, a, b):
    """It brought none of the lock that was taken meanwhile; where it is now, it gets what is true there."""
    guest = rig.start_guest("g1", a, scope=KEYS)
    first = wait_stamp(a, guest)
    migration = rig.migrate(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    assert uuids(b.migrations()) == {guest.uuid}
    rig.finish_migration(guest, a)
    assert migration.wait()
    wait_stamp(b, guest, without=[host_id(first)])


def test_nothing_of_a_stamp_is_left_without_stamps(rig, a, b):
    b.set_policy('{"stamp": "off"}')
    b.stop_apmigd()
    b.start_apmigd()
    guest = rig.start_guest("g1", a, scope=KEYS)
    wait_stamp(a, guest)
    assert rig.migrate(guest, a, b).wait()
    wait_for(lambda: not b.metadata(guest.name, STAMP), "the source's stamp to go")
    assert KEYS in b.metadata(guest.name, "urn:apmigd:1")


def test_unstamp(rig, a):
    guest = rig.start_guest("g1", a, scope=KEYS)
    plain = rig.start_guest("g2", a)
    wait_stamp(a, guest)
    assert a.run("apmigctl", "unstamp", "--all").stdout == "1 stamp taken away\n"
    assert not a.metadata(guest.name, STAMP) and not a.metadata(plain.name, STAMP)
    lock = take_held(a)
    wait_stamp(a, guest, lock)
    assert not a.metadata(plain.name, STAMP)
    assert a.run("apmigctl", "unstamp", guest.name).stdout == "1 stamp taken away\n"
    assert_held(a, lock)
