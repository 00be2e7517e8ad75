# SPDX-License-Identifier: LGPL-2.1-or-later
"""What apmigd knows of libvirt comes on three ways: events, a folder that is watched, and answers. Each is cut alone under a
held lock: that is told, and nothing is said to be proven that is not."""

from checks import KEYS, assert_aborted, assert_held, departed, take_held, told, told_guests, wait_state
from host import wait_for

SWEEP = 35  # seconds: between two readings while events are alive, and some
STATUS = "/run/libvirt/qemu"
DEAF = "/run/rig/deaf"


def wait_late(host):
    wait_for(lambda: host.hypervisor_state() == "events late", "it to be told", SWEEP)


def test_events(rig, a):
    """libvirt's connection lives, and no event comes by it any more: a guest that is found is told of, and an affected one that
    is not found any more is named."""
    rig.deaths_expected = True
    a.path(DEAF).unlink(missing_ok=True)
    a.stop_apmigd()
    a.start_apmigd(failpoint="skip:libvirt-event", environment={"APMIGD_FAILPOINT_BEGIN": DEAF})
    guest = rig.start_guest("g1", a, scope=KEYS)
    lock = take_held(a)
    assert a.hypervisor_state() == "complete"
    a.path(DEAF).touch()
    rig.start_guest("g2", a)
    wait_late(a)
    assert any("g2" in line for line in told(a, "VIEW_LATE"))
    assert_held(a, lock)
    a.virsh("destroy", guest.name)
    wait_for(lambda: departed(a, lock) == [guest.name], "the guest to be missed", SWEEP)
    assert told_guests(a, "GUEST_DEPARTED") == [guest.name]


def test_folder_that_goes_away(rig, a):
    """Told while it is gone, and over when it is there again."""
    rig.start_guest("g1", a, scope=KEYS)
    lock = take_held(a)
    a.hide(STATUS)
    wait_late(a)
    a.restore_install()
    wait_for(lambda: a.hypervisor_state() == "complete", "the folder to be watched again")
    wait_state(a, lock, "held")


def test_folder_that_is_another(rig, a, b):
    """What is mounted over it is what libvirt writes into, and the one below lies still for ever. That is told, and from then
    on a migration is seen at its beginning, as ever."""
    guest = rig.start_guest("g1", a, scope=KEYS)
    lock = take_held(a)
    a.run("cp", "-a", STATUS, "/run/rig/status")
    a.run("mount", "--bind", "/run/rig/status", STATUS)
    try:
        wait_for(lambda: any("status folder" in line for line in told(a, "VIEW_LATE")), "it to be told", SWEEP)
        assert_aborted(rig.migrate(guest, a, b, bandwidth=1))
        wait_state(a, lock, "held")
        assert_held(a, lock)
        assert a.lock_property(lock, "Attempts") == 1
    finally:
        a.run("umount", STATUS)


def end_connections(host):
    """Those of apmigd alone: the only ones that are read-only."""
    admin = ("virt-admin", "-c", "libvirtd:///system")
    for line in host.run(*admin, "client-list", "libvirtd").stdout.splitlines():
        fields = line.split()
        if not fields or not fields[0].isdigit():
            continue
        info = host.run(*admin, "client-info", "libvirtd", fields[0], check=False).stdout
        if any("readonly" in text and "yes" in text for text in info.splitlines()):
            host.run(*admin, "client-disconnect", "libvirtd", fields[0])


def test_connection(rig, a):
    """It is made anew at once, and read anew."""
    rig.start_guest("g1", a, scope=KEYS)
    lock = take_held(a)
    end_connections(a)
    wait_for(lambda: told(a, "VIEW_LOST"), "the loss to be seen", 5)
    wait_for(lambda: any("not proven" in line for line in told(a, "VIEW_LATE")), "the lock to be doubted", 5)
    wait_state(a, lock, "held")
    assert_held(a, lock)
