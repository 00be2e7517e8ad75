# SPDX-License-Identifier: LGPL-2.1-or-later
"""The main job of apmigd, shown and explained. See tests/demo.sh."""

import re

from telling import command, explain, run, show, tell_where, type_on

KEYS = "04.0012"
REASON = "AES master key rotation"
BUS = ["busctl", "call", "org.apmigd1", "/org/apmigd1", "org.apmigd1.Manager"]


def begin(rig, a, b):
    explain("Two hosts, each with a libvirtd, a system bus and an apmigd of its own, at the paths where packages put "
            f"them. On host-a runs g1, a guest whose keys lie on adapter 04, domain 0012 ({KEYS}).")
    guest = rig.start_guest("g1", a, scope=KEYS)
    tell_where(rig, guest, a)
    explain("The virtualization administrator moves it to host-b. The bandwidth is limited, so that there is "
            "something to see.")
    migration = rig.migrate(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    show(a, command(guest, b, "--bandwidth", "1"), "", background=True)
    type_on(a, "virsh", "domjobinfo", guest.name, only="Operation|Time elapsed|Memory")
    explain("host-b let it in a moment ago, and knows of it:")
    type_on(b, "apmigctl", "migrations")
    return guest, migration


def take(rig, a, guest, migration):
    explain("Now the crypto administrator wants to change the AES master key, which must not happen while a guest is "
            "on its way. So she asks for the lock. The answer comes when it is certain that no migration is in "
            "progress on this host; the one under way is ended.")
    path = re.search('"(.*)"', type_on(a, *BUS, "TakeLock", "ssa{sv}", "all", REASON, "0"))[1]
    assert not migration.wait()
    explain("The lock is held. The migration has failed, and its initiator is told so; the guest has noticed nothing.")
    show(a, command(guest, rig.hosts[1], "--bandwidth", "1"), migration.message)
    tell_where(rig, guest, a)
    type_on(a, "apmigctl", "status")
    return path


def try_to_migrate(rig, a, b, guest, path):
    explain("Now she may change keys. Meanwhile no affected guest comes in: the hook of libvirt on host-a asks apmigd, "
            "and whoever tries on host-b reads whose lock it is, and why.")
    other = rig.start_guest("g2", b, scope=KEYS)
    type_on(b, *command(other, a), fails=True)
    tell_where(rig, other, b)
    explain("libvirt asks nobody before a guest leaves. Such a migration is ended as soon as it is seen, and counted "
            "as a breach of the lock.")
    type_on(a, *command(guest, b, "--bandwidth", "1"), fails=True)
    tell_where(rig, guest, a)
    type_on(a, "apmigctl", "list", path.rpartition("/")[2])
    explain("A guest without crypto hardware is none of apmigd's business: it comes in under the lock.")
    plain = rig.start_guest("g3", b)
    type_on(b, *command(plain, a))
    tell_where(rig, plain, a)
    return other


def release(rig, a, b, guest, other, path):
    explain("The keys are in step on both hosts. The lock is released, and everything goes its way again.")
    type_on(a, *BUS, "ReleaseLock", "oa{sv}", path, "0")
    type_on(a, "apmigctl", "status")
    type_on(b, *command(other, a))
    tell_where(rig, other, a)
    type_on(a, *command(guest, b))
    tell_where(rig, guest, b)


def play(rig):
    a, b = rig.hosts
    guest, migration = begin(rig, a, b)
    path = take(rig, a, guest, migration)
    other = try_to_migrate(rig, a, b, guest, path)
    release(rig, a, b, guest, other, path)


run(play, ("host-a", "host-b"))
