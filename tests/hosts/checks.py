# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of this folder assert again and again, about both hosts at once."""

import re
import time

from host import wait_for

KEYS = "04.0012"  # the keys of an affected guest here
REASON = "AES rotation"
STAMP = "urn:apmigd:stamp:1"


def assert_at_rest(rig, guest, host):
    """The guest runs on @host and there alone, and nobody, libvirt or apmigd, knows of a migration of it."""
    assert rig.where(guest) is host
    for other in rig.hosts:
        wait_for(lambda other=other: (guest.name in other.guests()) == (other is host),
                 f"{guest} to be known on {host.name} alone, seen from {other.name}", 10)
    assert host.state_of(guest.name).startswith("running")
    assert not host.job(guest.name)
    for other in rig.hosts:
        assert other.apmigd.status is None
        wait_for(lambda other=other: guest.uuid not in uuids(other.migrations()),
                 f"{guest} to be in no migration on {other.name}", 10)


def uuids(migrations):
    return {migration["uuid"] for migration in migrations}


def assert_held(host, lock_id, breaches=0):
    """The only lock, and held. @breaches: None: any number of them."""
    locks = host.locks()
    assert [lock["id"] for lock in locks] == [lock_id]
    assert locks[0]["state"] == "held"
    assert host.lock_property(lock_id, "State") == "held"
    assert host.lock_property(lock_id, "Blockers") == []
    assert breaches is None or host.lock_property(lock_id, "Breaches") == breaches
    assert host.get_property("/org/apmigd1", "Manager", "Locked") is True


def assert_unlocked(host):
    assert host.locks() == []
    assert host.get_property("/org/apmigd1", "Manager", "Locked") is False


def assert_refused_by(migration, lock_id, reason=REASON, timeout=30, owner="root"):
    """`virsh migrate` failed, and says which lock was in the way, whose it is, and why it was taken."""
    assert not migration.wait(timeout)
    message = migration.message
    for word in (lock_id, reason, owner):
        assert word in message


def assert_aborted(migration, timeout=30):
    """`virsh migrate` failed because somebody ended the job. It tells what libvirt hears first: that, or that the
    destination's QEMU has read the end of its stream."""
    assert not migration.wait(timeout)
    message = migration.message
    assert any(word in message for word in ("cancel", "abort", "load of migration failed", "Broken pipe")), message


def take_held(host, **options):
    """Takes a lock where nothing stands in its way; returns its id."""
    taken = host.take(**options).wait()
    assert taken.error is None, taken.message
    assert_held(host, taken.lock_id)
    return taken.lock_id


def lock_state(host, lock_id):
    """None when there is no such lock."""
    return next((lock["state"] for lock in host.locks() if lock["id"] == lock_id), None)


def wait_state(host, lock_id, state, timeout=20):
    wait_for(lambda: lock_state(host, lock_id) == state, f"lock {lock_id} on {host.name} to be {state}", timeout)


def only_lock(host, state=None, timeout=20):
    """The id of the one lock there is, or will be in a moment; once it is in @state, if one is named. A lock is listed as soon
    as it is asked for, before it is durable: what is to be read of it by then is named here."""
    lock_id = wait_for(host.locks, f"a lock on {host.name}", timeout)[0]["id"]
    if state:
        wait_state(host, lock_id, state, timeout)
    return lock_id


def assert_waits(host, take, lock_id, seconds):
    """The request is draining, or will be in a moment, and from then on waits for so long at least."""
    wait_state(host, lock_id, "draining")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert lock_state(host, lock_id) == "draining" and not take.answered
        time.sleep(0.05)


def times_ended(host, lock_id):
    """How often a guest was kept from leaving: before its memory was sent, as nearly always, or after."""
    return host.lock_property(lock_id, "Attempts") + host.lock_property(lock_id, "Breaches")


def told(host, entry):
    """The lines of apmigd's log that are of that kind."""
    return [line for line in host.apmigd_log().splitlines() if line.startswith(entry + ":")]


def told_guests(host, entry):
    """The names of the guests of those lines, in their order, each as often as it is there."""
    return [found[1] for line in told(host, entry) if (found := re.search(r"\bguest=(\S+?)[\] ]", line))]


def departed(host, lock_id):
    """The names of the guests that are not there any more, and nobody saw how they went."""
    return [name for _, name in host.lock_property(lock_id, "Departed")]


def leaves_unhindered(rig, guest, source, destination, **options):
    """To a host where nobody is asked: apmigd's hook has to be hidden there."""
    migration = rig.migrate(guest, source, destination, **options)
    assert migration.wait(), migration.message
    assert rig.where(guest) is destination


def digest(host):
    """Until its apmigd, which holds a lock, has read the hypervisor anew: whatever happened before this, it has counted."""
    host.run("apmigctl", "ready", check=False)


def wait_stamp(host, guest, *parts, without=()):
    """Until the guest's stamp has these parts; returns its XML."""
    def seen():
        text = host.metadata(guest.name, STAMP)
        return text if text and all(p in text for p in parts) and not any(p in text for p in without) else None

    return wait_for(seen, f"a stamp of {guest} with {parts} and without {without} on {host.name}")


def host_id(stamp):
    """Of the host that wrote it."""
    return re.search(r'host="([0-9a-f-]{36})"', stamp)[1]


def migrate_back_and_forth(rig, guest, source, destination):
    """The proof that nothing stands in the way any more."""
    assert rig.migrate(guest, source, destination).wait()
    assert_at_rest(rig, guest, destination)
    assert rig.migrate(guest, destination, source, direct=True).wait()
    assert_at_rest(rig, guest, source)
