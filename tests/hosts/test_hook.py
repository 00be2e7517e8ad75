# SPDX-License-Identifier: LGPL-2.1-or-later
"""The hook script: without a daemon that answers, without apmigctl, without itself, and in every other operation."""

import signal
import time

import pytest
from checks import KEYS, assert_refused_by, assert_unlocked, migrate_back_and_forth, take_held
from host import wait_for

HOOK = "/etc/libvirt/hooks/qemu.d/zz-apmigd"
APMIGCTL = "/usr/bin/apmigctl"
BUS = "/run/dbus/system_bus_socket"
OTHER_OPERATIONS = ["prepare begin -", "start begin -", "started begin -", "stopped end -", "release end -",
                    "attach begin -", "reconnect begin -", "no-such-operation begin -"]


def assert_refused(rig, guest, source, destination):
    """A migration of an affected guest fails with a word from apmigd, and soon."""
    migration = rig.migrate(guest, source, destination)
    assert not migration.wait(20)
    assert "apmigd" in migration.message
    assert migration.duration < 12
    assert rig.where(guest) is source
    assert guest.name not in destination.guests()


def assert_passes(rig, guest, source, destination):
    """One of a guest that has nothing to do with keys succeeds."""
    migration = rig.migrate(guest, source, destination)
    assert migration.wait(30), migration.message
    assert rig.where(guest) is destination


@pytest.fixture
def affected(rig, a):
    return rig.start_guest("g1", a, scope=KEYS)


@pytest.fixture
def unaffected(rig, a):
    return rig.start_guest("plain", a)


def test_daemon_stopped(rig, a, b, affected, unaffected):
    rig.deaths_expected = True
    b.stop_apmigd()
    assert b.apmigd.status == 0
    assert_refused(rig, affected, a, b)
    assert_passes(rig, unaffected, a, b)
    b.start_apmigd()
    migrate_back_and_forth(rig, affected, a, b)


def test_daemon_hung(rig, a, b, affected, unaffected):
    b.apmigd.send(signal.SIGSTOP)
    assert_refused(rig, affected, a, b)
    assert_passes(rig, unaffected, a, b)
    b.apmigd.send(signal.SIGCONT)
    wait_for(lambda: b.migrations() == [], "the request that came too late to be given up", 90)
    migrate_back_and_forth(rig, affected, a, b)


def test_bus_absent(rig, a, b, affected, unaffected):
    """The gate rides on a socket of its own."""
    take_held(b)
    b.hide(BUS)
    assert_refused(rig, affected, a, b)
    assert_passes(rig, unaffected, a, b)


def test_way_out_of_an_apmigd_that_cannot_start(rig, a, b, affected):
    """A lock lies on the disk, apmigd has no way to start, and the other host dies: root moves the hook away, as the README says,
    libvirt needs no word of it, and the lock is there again with apmigd."""
    rig.deaths_expected = True
    lock = take_held(b)
    b.stop_apmigd()
    assert_refused(rig, affected, a, b)
    b.run("mv", HOOK, "/run/")
    try:
        assert_passes(rig, affected, a, b)
    finally:
        b.run("mv", "/run/zz-apmigd", HOOK)
    b.start_apmigd()
    assert [found["id"] for found in b.locks()] == [lock]
    assert_refused(rig, rig.start_guest("g2", a, scope=KEYS), a, b)


def test_apmigctl_absent(rig, a, b, affected, unaffected):
    """The script looks into the XML itself."""
    b.hide(APMIGCTL)
    assert_refused(rig, affected, a, b)
    assert_passes(rig, unaffected, a, b)


def test_other_operations_without_apmigctl(rig, a, b):
    """A guest's whole life otherwise: nothing of apmigd stands in its way, and nothing is printed."""
    for arguments in OTHER_OPERATIONS:
        for present in (True, False):
            if not present and not a.hidden:
                a.hide(APMIGCTL)
            result = a.run(HOOK, "g1", *arguments.split(), stdin="<domain/>")
            assert result.stdout == result.stderr == ""
    guest = rig.start_guest("g1", a, scope=KEYS, define=True)  # prepare, start, started
    a.libvirtd.end(signal.SIGKILL)
    a.start_libvirtd()  # reconnect
    assert rig.where(guest) is a
    a.virsh("suspend", guest.name)
    a.virsh("resume", guest.name)
    a.virsh("reset", guest.name)
    a.virsh("destroy", guest.name)  # stopped, release
    a.virsh("start", guest.name)
    assert rig.where(guest) is a


def save(host, guest):
    host.virsh("save", guest.name, "/var/lib/libvirt/saved")


def restore(host):
    return host.virsh("restore", "/var/lib/libvirt/saved", check=False)


def test_restore(rig, a, affected):
    """Keys come back with a saved guest as they do with a migrated one: a lock is in the way, nothing else is."""
    save(a, affected)
    lock = take_held(a)
    refused = restore(a)
    assert refused.returncode != 0 and lock in refused.stderr
    assert a.guests() == []
    a.release(lock)
    assert restore(a).returncode == 0
    assert rig.where(affected) is a


def test_restore_without_daemon(rig, a, affected):
    """It is how guests come back after a reboot; but a lock that can be read still counts."""
    rig.deaths_expected = True
    save(a, affected)
    a.stop_apmigd()
    assert restore(a).returncode == 0
    assert rig.where(affected) is a


@pytest.mark.parametrize("how", ["absent", "not executable"])
def test_hook_not_installed(rig, a, b, affected, how):
    """No gate, no lock; unless the administrator insists."""
    if how == "absent":
        a.hide(HOOK)
    else:
        a.path(HOOK).chmod(0o644)
    try:
        assert a.get_property("/org/apmigd1", "Manager", "HookInstalled") is False
        take = a.take().wait()
        assert take.error == "HookNotInstalled"
        assert HOOK in take.message
        assert_unlocked(a)
        taken = a.take(allow_missing_hook=True).wait()
        assert taken.error is None
        a.release(taken.lock_id)
    finally:
        if how != "absent":
            a.path(HOOK).chmod(0o755)
    a.restore_install()
    assert a.get_property("/org/apmigd1", "Manager", "HookInstalled") is True
    lock = take_held(b)
    assert_refused_by(rig.migrate(affected, a, b), lock)


def test_hook_is_called(rig, a, b, affected):
    before = time.time()
    assert b.get_property("/org/apmigd1", "Manager", "HookLastCalled") == 0
    assert rig.migrate(affected, a, b).wait()
    assert b.get_property("/org/apmigd1", "Manager", "HookLastCalled") >= before * 1e6
