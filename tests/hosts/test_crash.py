# SPDX-License-Identifier: LGPL-2.1-or-later
"""apmigd killed, libvirtd restarted and QEMU killed at every stage of a lock's life. A lock that a caller was told of
is there afterwards; nothing is held before it is proven again; the hook never says yes meanwhile."""

import signal

import pytest
from checks import (KEYS, REASON, assert_at_rest, assert_held, assert_refused_by, assert_unlocked,
                    migrate_back_and_forth, only_lock, take_held, uuids, wait_state)
from host import wait_for


def crash(rig, host):
    rig.deaths_expected = True
    host.stop_apmigd(signal.SIGKILL)
    assert host.apmigd.status == -signal.SIGKILL


def restart(host):
    """Back on the bus, whatever it sees of libvirt."""
    host.start_apmigd(wait=False)
    host.wait_apmigd(states=None)


def restart_at(rig, host, failpoint):
    """apmigd again, this time to kill itself at @failpoint."""
    rig.deaths_expected = True
    host.stop_apmigd()
    host.start_apmigd(failpoint=failpoint)


def wait_death(host):
    assert host.apmigd.wait(20) == -signal.SIGKILL


def assert_migration_fails_closed(rig, guest, source, destination):
    """While nobody answers, an affected guest does not come in."""
    migration = rig.migrate(guest, source, destination)
    assert not migration.wait()
    assert "apmigd" in migration.message
    assert_runs_at(rig, guest, source, destination)


def assert_runs_at(rig, guest, host, other):
    """As assert_at_rest(), where no apmigd can be asked."""
    assert rig.where(guest) is host
    assert guest.name not in other.guests()


# --- apmigd ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("failpoint, survives", [
    ("lock-before-write", False), ("lock-written", False), ("lock-durable", True), ("held-durable", True)])
def test_killed_while_taking(rig, a, b, failpoint, survives):
    guest = rig.start_guest("g1", b, scope=KEYS)
    restart_at(rig, a, failpoint)
    take = a.take()
    wait_death(a)
    assert take.wait().lock_id is None  # nobody was told
    assert_migration_fails_closed(rig, guest, b, a)
    a.start_apmigd()
    if survives:
        lock = only_lock(a)
        wait_state(a, lock, "held")
        assert a.locks()[0]["reason"] == REASON
        assert_refused_by(rig.migrate(guest, b, a), lock)
        a.release(lock)
    assert_unlocked(a)
    migrate_back_and_forth(rig, guest, b, a)


@pytest.mark.parametrize("failpoint, survives", [("lock-before-remove", True), ("lock-removed", False)])
def test_killed_while_releasing(rig, a, b, failpoint, survives):
    guest = rig.start_guest("g1", b, scope=KEYS)
    restart_at(rig, a, failpoint)
    lock = take_held(a)
    assert a.release(lock, check=False).returncode != 0
    wait_death(a)
    assert_migration_fails_closed(rig, guest, b, a)
    a.start_apmigd()
    if survives:
        wait_state(a, lock, "held")
        assert_refused_by(rig.migrate(guest, b, a), lock)
        a.release(lock)
    assert_unlocked(a)
    migrate_back_and_forth(rig, guest, b, a)


def test_killed_while_draining(rig, a, b):
    guest = rig.start_guest("g1", a, scope=KEYS)
    migration = rig.migrate(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    lock = a.take(on_busy="wait", no_wait=True).wait().lock_id
    wait_state(a, lock, "draining")
    crash(rig, a)
    restart(a)
    wait_state(a, lock, "draining")
    assert a.is_migrating_out(guest.name)
    rig.finish_migration(guest, a)
    assert migration.wait()
    wait_state(a, lock, "held")
    assert_held(a, lock)
    assert_at_rest(rig, guest, b)


def test_killed_while_held(rig, a, b):
    """What left meanwhile is found, ended, and counted: the keys may have changed under it."""
    guest = rig.start_guest("g1", a, scope=KEYS)
    other = rig.start_guest("g2", b, scope=KEYS)
    lock = take_held(a)
    held_at = a.lock_property(lock, "HeldAt")
    crash(rig, a)
    assert_migration_fails_closed(rig, other, b, a)
    migration = rig.migrate(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    restart(a)
    assert not migration.wait()
    wait_state(a, lock, "held")
    assert_held(a, lock, breaches=1)
    assert a.lock_property(lock, "HeldAt") == held_at
    assert_at_rest(rig, guest, a)
    assert_at_rest(rig, other, b)
    assert_refused_by(rig.migrate(other, b, a), lock)


def test_killed_before_yes_is_told(rig, a, b):
    """The admission is durable and the answer never sent: a no for the hook, and nothing is forgotten."""
    guest = rig.start_guest("g1", a, scope=KEYS)
    restart_at(rig, b, "admission-durable")
    migration = rig.migrate(guest, a, b)
    assert not migration.wait()
    wait_death(b)
    assert_runs_at(rig, guest, a, b)
    restart(b)
    wait_for(lambda: uuids(b.migrations()) == {guest.uuid}, "the admission to be known again")
    take = b.take(timeout_usec=1000000).wait()
    assert take.error == "Timeout" and guest.name in take.message
    assert_unlocked(b)


def test_killed_after_yes(rig, a, b):
    guest = rig.start_guest("g1", a, scope=KEYS)
    migration = rig.migrate(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    crash(rig, b)
    restart(b)
    take = b.take(timeout_usec=60000000)
    lock = only_lock(b, "draining")
    wait_for(lambda: uuids(b.migrations()) == {guest.uuid}, "the incoming migration to be known again")
    assert not take.answered and a.is_migrating_out(guest.name)
    rig.finish_migration(guest, a)
    assert migration.wait()
    assert take.wait().lock_id == lock
    assert_held(b, lock)
    assert_at_rest(rig, guest, b)


# --- libvirtd --------------------------------------------------------------------------------------


def restart_libvirtd(host, number=signal.SIGKILL):
    host.libvirtd.end(number, 60)
    host.start_libvirtd()


def test_libvirtd_down_while_requested(rig, a):
    """Without libvirt nothing is known, so nothing is held."""
    a.libvirtd.end(signal.SIGKILL)
    wait_for(lambda: a.hypervisor_state() == "disconnected", "the loss to be seen")
    take = a.take(timeout_usec=1500000).wait()
    assert take.error == "HypervisorUnavailable"
    assert_unlocked(a)
    take = a.take(timeout_usec=60000000)
    lock = only_lock(a)
    assert not take.answered
    a.start_libvirtd()
    assert take.wait().lock_id == lock
    assert_held(a, lock)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
def test_libvirtd_restarted_while_draining(rig, a, b, number):
    """The new libvirtd cancels what it finds half done; then nothing is in progress."""
    guest = rig.start_guest("g1", a, scope=KEYS)
    migration = rig.migrate(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    take = a.take(on_busy="wait", timeout_usec=120000000)
    lock = only_lock(a, "draining")
    a.libvirtd.send(number)
    wait_for(lambda: a.hypervisor_state() == "disconnected", "the loss to be seen")
    assert not take.answered
    a.libvirtd.wait(60)
    assert not take.answered
    a.start_libvirtd()
    assert not migration.wait()
    assert take.wait().lock_id == lock
    assert_held(a, lock)
    assert_at_rest(rig, guest, a)


def test_libvirtd_restarted_while_held(rig, a, b):
    guest = rig.start_guest("g1", a, scope=KEYS)
    other = rig.start_guest("g2", b, scope=KEYS)
    lock = take_held(a)
    restart_libvirtd(a)
    assert [entry["id"] for entry in a.locks()] == [lock]
    assert_refused_by(rig.migrate(other, b, a), lock)
    a.wait_apmigd()
    wait_state(a, lock, "held")
    assert_held(a, lock)
    assert not rig.migrate(guest, a, b, bandwidth=1).wait()
    wait_state(a, lock, "held")
    assert_at_rest(rig, guest, a)
    a.release(lock)
    migrate_back_and_forth(rig, guest, a, b)


def test_libvirtd_restarted_after_yes(rig, a, b):
    """The new libvirtd at the destination ends the guest that never came to run."""
    guest = rig.start_guest("g1", a, scope=KEYS)
    migration = rig.migrate(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    b.libvirtd.end(signal.SIGKILL)
    assert not migration.wait()
    take = b.take(timeout_usec=60000000)
    lock = only_lock(b)
    assert not take.answered
    b.start_libvirtd()
    assert take.wait().lock_id == lock
    assert_held(b, lock)
    assert_at_rest(rig, guest, a)


def test_libvirtd_down_while_releasing(rig, a, b):
    """Releasing needs no libvirt."""
    guest = rig.start_guest("g1", b, scope=KEYS)
    lock = take_held(a)
    a.libvirtd.end(signal.SIGKILL)
    a.release(lock)
    assert_unlocked(a)
    a.start_libvirtd()
    wait_for(lambda: a.hypervisor_state() != "disconnected", "libvirtd to be seen")  # or a yes counts for its whole time
    migrate_back_and_forth(rig, guest, b, a)


# --- QEMU ------------------------------------------------------------------------------------------


def test_source_qemu_killed(rig, a, b):
    """The guest is lost with it, on both sides; what is left is no migration."""
    guest = rig.start_guest("g1", a, scope=KEYS)
    migration = rig.migrate(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    takes = [host.take(on_busy="wait", timeout_usec=60000000) for host in (a, b)]
    locks = [only_lock(host, "draining") for host in (a, b)]
    assert a.kill(a.qemu_pid(guest.name))
    assert not migration.wait()
    for host, take, lock in zip((a, b), takes, locks):
        assert take.wait().lock_id == lock
        assert_held(host, lock)
        wait_for(lambda host=host: not host.guests() and not host.migrations(), f"{host.name} to have forgotten the guest")
