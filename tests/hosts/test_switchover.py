# SPDX-License-Identifier: LGPL-2.1-or-later
"""A migration that is ended while its guest already stands still."""

import signal

from checks import KEYS, assert_at_rest, assert_held, take_held, wait_state
from host import wait_for

TRIES = 3
MANY_PAGES = 10240  # 40 MiB, which take a moment
ANY_DOWNTIME = 2000000  # ms: QEMU switches over as soon as it may


def cancel_at_switchover(rig, guest, a, b):
    """apmigd looks away until the guest stands still for its last memory to be sent. Returns whether it went on here."""
    a.apmigd.send(signal.SIGSTOP)
    migration = rig.migrate(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    a.virsh("migrate-setmaxdowntime", guest.name, ANY_DOWNTIME)
    wait_for(lambda: not a.state_of(guest.name).startswith("running"), "the switchover", interval=0.002)
    a.apmigd.send(signal.SIGCONT)
    return not migration.wait()


def test_cancelled_at_switchover(rig, a, b, record_property):
    """libvirt then tells of a guest that has been resumed after a migration, as where one has arrived. Whether apmigd's word
    comes in time is a matter of milliseconds; what it counts is not."""
    b.hide_hook()
    lock = take_held(a)
    watcher = None
    for number in range(1, TRIES + 1):
        guest = rig.start_guest(f"g{number}", a, scope=KEYS)
        watcher = watcher or a.watch_events(guest.name)
        stayed = cancel_at_switchover(rig, guest, a, b)
        wait_state(a, lock, "held")
        assert_at_rest(rig, guest, a if stayed else b)
        assert_held(a, lock, breaches=number)
        if stayed:
            break
    record_property("tries until one was cancelled at its switchover:", f"{number} {stayed}")
    assert not stayed or watcher.output.count("Resumed") >= number  # each but the first when it booted as well
    assert not any("migrates in" in line or "has come in" in line for line in a.apmigd_log().splitlines())
