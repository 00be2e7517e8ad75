# SPDX-License-Identifier: LGPL-2.1-or-later
"""libvirtd that hangs for longer than its clients' keepalive waits, and goes on. APMIGD_SILENCES: how often."""

import os
import signal
import time

import proc
import pytest
from checks import KEYS, assert_aborted, assert_at_rest, assert_held, lock_state, take_held, wait_state
from host import wait_for

TIMES = int(os.environ.get("APMIGD_SILENCES", "1"))
TOLD_WITHIN = 25  # seconds
SILENCE = 40  # seconds: each connection has been given up by then, and one that is being opened waits


def libvirt_threads(host):
    names = proc.read_all(f"/proc/{host.apmigd.pid}/task/*/comm", host.path("")).values()
    return [name for name in names if name.startswith("libvirt-")]


def stop_for(host, seconds, meanwhile):
    host.libvirtd.send(signal.SIGSTOP)
    end = time.monotonic() + seconds
    try:
        result = meanwhile()
        time.sleep(max(0, end - time.monotonic()))
    finally:
        host.libvirtd.send(signal.SIGCONT)
    return result


@pytest.mark.parametrize("number", range(1, TIMES + 1))
def test_libvirtd_that_hangs(rig, a, b, number):
    """Calls are under way when it begins to, and come back when it goes on. Nothing is proven meanwhile, and that is told;
    afterwards apmigd is still there, has left nothing behind, and sees and ends what happens then."""
    guests = rig.start_guests(4, a, scope=KEYS)
    lock_id = take_held(a)

    def ask():
        checks = [a.spawn("apmigctl", "check", guest.name) for guest in guests]
        wait_for(lambda: lock_state(a, lock_id) == "unproven", "the silence to be noticed", TOLD_WITHIN)
        wait_for(lambda: a.hypervisor_state() == "disconnected", "the connections to be given up", 30)
        assert lock_state(a, lock_id) == "unproven"
        return checks

    checks = stop_for(a, SILENCE, ask)
    assert a.apmigd.status is None
    wait_for(lambda: a.hypervisor_state() == "complete", "libvirtd to be seen", 60)
    for check in checks:
        check.wait()
    wait_for(lambda: len(libvirt_threads(a)) <= 8, "threads that hung to end")
    wait_state(a, lock_id, "held")
    assert_held(a, lock_id)
    assert_aborted(rig.migrate(guests[0], a, b, bandwidth=1))
    assert_at_rest(rig, guests[0], a)
