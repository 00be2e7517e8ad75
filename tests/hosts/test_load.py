# SPDX-License-Identifier: LGPL-2.1-or-later
"""Twenty guests that migrate at once. Each migration keeps one of libvirtd's workers, twenty by default: then nobody
can be asked, nor told to abort. Unknown counts as in progress."""

import pytest
from checks import KEYS, assert_at_rest, assert_held, assert_waits, only_lock
from host import wait_for

COUNT = 20
DEFAULT_WORKERS, RAISED_WORKERS = (5, 20), (50, 60)  # at least, at most


@pytest.fixture
def guests(rig, a):
    yield rig.start_guests(COUNT, a, scope=KEYS)
    for host in rig.hosts:
        host.set_workers(*DEFAULT_WORKERS)


def migrate_all(rig, guests, a, b):
    """Starts them all; they migrate once the destination has a QEMU for each."""
    migrations = [rig.migrate(guest, a, b, bandwidth=1) for guest in guests]
    wait_for(lambda: all(b.qemu_pid(guest.name) for guest in guests), "twenty incoming guests", 60)
    assert not any(migration.ended for migration in migrations)
    return migrations


def assert_all_ended(rig, guests, migrations, a, take):
    assert take.wait(60).error is None, take.message
    assert not any(a.is_migrating_out(guest.name) for guest in guests)
    assert_held(a, take.lock_id)
    for migration in migrations:
        assert not migration.wait(60)
    for guest in guests:
        assert_at_rest(rig, guest, a)


def test_default_workers(rig, a, b, guests):
    """Never held while one runs, however long it takes; with more workers the aborts get through."""
    migrations = migrate_all(rig, guests, a, b)
    take = a.take(timeout_usec=110000000)
    assert_waits(a, take, only_lock(a), 8)
    assert not any(migration.ended for migration in migrations)
    a.set_workers(*RAISED_WORKERS)
    assert_all_ended(rig, guests, migrations, a, take)


def test_raised_workers(rig, a, b, guests, record_property):
    for host in (a, b):
        host.set_workers(*RAISED_WORKERS)
    migrations = migrate_all(rig, guests, a, b)
    take = a.take(timeout_usec=60000000)
    assert_all_ended(rig, guests, migrations, a, take)
    record_property(f"{COUNT} migrations were ended, seconds:", f"{take.process.duration:.1f}")
