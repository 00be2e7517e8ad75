# SPDX-License-Identifier: LGPL-2.1-or-later
"""Migrations that the hook said yes to, and what comes of them at the destination: nothing, then a guest; a definition alone; a
guest that comes home."""

import time

from checks import KEYS, assert_at_rest, assert_held, assert_unlocked, assert_waits, only_lock, uuids
from host import wait_for

LOCKABLE_WITHIN = 2  # seconds of an end
SECONDS = 4  # how long a script holds a moment open


def assert_lockable(host):
    taken = host.take(timeout_usec=LOCKABLE_WITHIN * 1000000).wait()
    assert taken.error is None, taken.message
    assert_held(host, taken.lock_id)


def test_never_appears_and_is_tried_again(rig, a, b):
    """Something after the hook fails, which libvirt tells nobody: until the admission time is over the guest may still
    come, so nothing is held. When another attempt has come, the yes to the first is over, too."""
    guest = rig.start_guest("g1", a, scope=KEYS)
    b.put_hook('[ "$2" != prepare ] || exit 1\n')
    assert not rig.migrate(guest, a, b).wait()
    assert rig.where(guest) is a and b.guests() == []
    assert uuids(b.migrations()) == {guest.uuid}
    take = b.take(timeout_usec=1000000).wait()
    assert take.error == "Timeout" and guest.name in take.message
    assert_unlocked(b)
    b.remove_hooks()
    assert rig.migrate(guest, a, b).wait()
    assert_lockable(b)
    assert_at_rest(rig, guest, b)


def test_offline(rig, a, b):
    """The hook cannot tell that nothing will start."""
    guest = rig.start_guest("g1", a, scope=KEYS, define=True)
    a.virsh("destroy", guest.name)
    a.virsh("migrate", "--offline", "--persistent", guest.name, f"qemu+tcp://{b.address}/system")
    assert_lockable(b)
    assert guest.name not in b.guests()


def test_comes_home(rig, a, b):
    """Its home has it defined all along: that it is known there and does not run says nothing."""
    guest = rig.start_guest("g1", b, scope=KEYS, define=True)
    assert rig.migrate(guest, b, a).wait()
    b.put_hook(f'[ "$2" = migrate ] || exit 0\ntouch /run/rig/slow\nsleep {SECONDS}\n', name="zzz-rig")
    marker = b.path("/run/rig/slow")
    marker.unlink(missing_ok=True)
    migration = rig.migrate(guest, a, b)
    wait_for(marker.exists, "the answer of apmigd's hook")
    take = b.take(timeout_usec=60000000)
    lock = only_lock(b)
    assert_waits(b, take, lock, SECONDS - 1.5)
    assert uuids(b.migrations()) == {guest.uuid}
    assert migration.wait(), migration.message
    arrived = time.monotonic()
    assert take.wait().lock_id == lock
    assert time.monotonic() - arrived < 5
    assert_held(b, lock)
    assert_at_rest(rig, guest, b)
