# SPDX-License-Identifier: LGPL-2.1-or-later
"""The moments between two looks: each is held open by a slow hook script, or by a client that is stopped."""

import signal

from checks import (KEYS, assert_aborted, assert_at_rest, assert_held, assert_unlocked, migrate_back_and_forth,
                    only_lock, uuids, wait_state)
from host import wait_for

SECONDS = 3  # how long a slow script holds a moment open
MANY_PAGES = 5120  # 20 MiB, which take ten seconds at 2 MiB/s


def slow_hook(host, operation):
    """A script that stays in @operation for a while; returns a condition: it has been reached."""
    host.put_hook(f'[ "$2" = {operation} ] || exit 0\ntouch /run/rig/slow\nsleep {SECONDS}\n')
    marker = host.path("/run/rig/slow")
    marker.unlink(missing_ok=True)
    return marker.exists


def test_between_yes_and_appearance(rig, a, b):
    """The hook has said yes, and the guest is not there yet: an open admission, which held waits for."""
    guest = rig.start_guest("g1", a, scope=KEYS)
    reached = slow_hook(b, "prepare")
    migration = rig.migrate(guest, a, b, bandwidth=1)
    wait_for(reached, "the destination to prepare")
    take = b.take(timeout_usec=60000000)
    lock = only_lock(b)
    assert uuids(b.migrations()) == {guest.uuid}
    rig.wait_migrating(guest, a)
    assert not take.answered
    wait_state(b, lock, "draining")
    rig.finish_migration(guest, a)
    assert migration.wait()
    assert take.wait().lock_id == lock
    assert_held(b, lock)
    assert_at_rest(rig, guest, b)


def test_abort_during_begin(rig, a, b):
    """The destination still asks its hooks: the abort is remembered, and no memory is sent."""
    guest = rig.start_guest("g1", a, scope=KEYS)
    reached = slow_hook(b, "migrate")
    watcher = a.watch_events(guest.name)
    migration = rig.migrate(guest, a, b, bandwidth=1)
    wait_for(reached, "the destination to ask its hooks")
    take = a.take(timeout_usec=60000000)
    assert_aborted(migration)
    assert take.wait().error is None
    assert_held(a, take.lock_id)
    assert_at_rest(rig, guest, a)
    assert "migration-iteration" not in watcher.output
    assert_unlocked(b)


def test_completes_while_being_aborted(rig, a, b):
    """All is sent, and only the controlling client, stopped here, has not gone on: an abort returns 0 and does
    nothing. Held comes when the migration is over, and apmigd says that it completed anyway."""
    guest = rig.start_guest("g1", a, scope=KEYS)
    migration = rig.migrate(guest, a, b, bandwidth=1, direct=True)
    rig.wait_migrating(guest, a)
    migration.process.send(signal.SIGSTOP)
    rig.finish_migration(guest, a)
    wait_for(lambda: "phase='perform3_done'" in a.path(f"/run/libvirt/qemu/{guest.name}.xml").read_text(encoding="utf-8"),
             "all of the guest to be sent")
    take = a.take(timeout_usec=60000000)
    lock = only_lock(a)
    watched = wait_for(lambda: a.lock_property(lock, "Blockers"), "the migration to be seen")[0]
    wait_for(lambda: "requested" in str(a.get_property(watched, "Migration", "Steps")), "an abort that libvirt takes")
    assert not take.answered
    wait_state(a, lock, "draining")
    migration.process.send(signal.SIGCONT)
    assert migration.wait()
    assert take.wait().lock_id == lock
    assert_held(a, lock)
    assert_at_rest(rig, guest, b)
    assert a.get_property(watched, "Migration", "Result") == "completed-anyway"


def test_take_at_any_moment(rig, a, b):
    """Fast migrations, and a take somewhere in each: whatever comes of both, they agree."""
    guest = rig.start_guest("g1", a, scope=KEYS)
    source, destination = a, b
    for tenths in range(0, 10, 2):
        migration = rig.migrate(guest, source, destination)
        wait_for(lambda: migration.ended or migration.duration > tenths / 10, "the moment", interval=0.005)
        take = source.take().wait()
        assert take.error is None
        wait_state(source, take.lock_id, "held")
        if migration.wait():
            source, destination = destination, source
        assert_at_rest(rig, guest, source)
        for host in rig.hosts:
            for lock in host.locks():
                host.release(lock["id"])
    migrate_back_and_forth(rig, guest, source, destination)


def test_postcopy_is_waited_for(rig, a, b):
    """The guest runs at the destination already: nothing may be aborted any more."""
    guest = rig.start_guest("g1", a, scope=KEYS, pages=MANY_PAGES)
    migration = rig.migrate(guest, a, b, "--postcopy", "--postcopy-bandwidth", "2", bandwidth=1)
    rig.wait_migrating(guest, a)
    a.virsh("migrate-postcopy", guest.name)
    wait_for(lambda: "post-copy" in a.state_of(guest.name), "post-copy")
    takes = [host.take(timeout_usec=60000000) for host in (a, b)]
    locks = [only_lock(host, "draining") for host in (a, b)]
    watched = wait_for(lambda: a.lock_property(locks[0], "Blockers"), "the migration to be seen")[0]
    assert migration.wait()
    for host, take, lock in zip((a, b), takes, locks):
        assert take.wait().lock_id == lock
        assert_held(host, lock)
    assert_at_rest(rig, guest, b)
    assert a.get_property(watched, "Migration", "Result") in ("completed", "completed-anyway", "not-abortable")
