# SPDX-License-Identifier: LGPL-2.1-or-later
"""A lock asked for in each moment of a migration's life, with all the steps that are shipped, on the source and on the
destination. Whatever comes of it, guest, devices, `virsh migrate` and apmigd agree."""

import os
import re
import select
import signal
import statistics
import threading
import time

import pytest
from checks import KEYS, assert_at_rest, assert_held, assert_waits, only_lock
from devices import KINDS, MTTY, STANDIN
from fencing import (PATIENT, assert_runs_at, assert_still_at_source, frozen_ms, migration_on, outcomes, result_of,
                     wait_outcome)
from host import wait_for

import vfio

TRIALS = int(os.environ.get("APMIGD_TRIALS", "2"))
MANY_PAGES = 40_000  # of 4 KiB, in a guest of which all is dirty when it is stopped: its last pass takes seconds


SIDES = ["destination", pytest.param("source", marks=pytest.mark.thorough)]


@pytest.fixture(params=SIDES)
def asked(request, a, b):
    """The host on which the lock is asked for."""
    return a if request.param == "source" else b


def assert_agreement(rig, guest, a, b, migration, taken, asked):
    """The guest is in one place, the one that `virsh migrate` tells, and the lock is held."""
    assert taken.error is None, taken.message
    if migration.wait(90):
        assert_runs_at(rig, guest, b, a)
    else:
        assert_runs_at(rig, guest, a, b)
    assert_held(asked, taken.lock_id)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_while_memory_is_sent(rig, a, b, guest, steps, kind, asked):
    """It would go on for ever. From the source it is ended by libvirt; from the destination by the end of its QEMU, as
    the other host has no lock."""
    steps("libvirt-abort", "vfio-state", "kill-incoming")
    migration = rig.move(guest, a, b, bandwidth=1, direct=asked is b)
    rig.wait_migrating(guest, a)
    seen = migration_on(b, "in")
    taken = asked.take(**PATIENT).wait(90)
    assert taken.error is None, taken.message
    assert_still_at_source(rig, guest, a, b, migration)
    assert_held(asked, taken.lock_id)
    wait_for(lambda: result_of(b, seen), "the destination to know that it is over")
    assert result_of(b, seen) == ("aborted" if asked is b else "failed")
    if asked is b:  # mtty refuses to leave RESUMING with data missing; on vfio-ap that ends nothing
        assert outcomes(b, seen)[:2] == [("vfio-state", "failed" if kind is MTTY else "nothing-to-do"),
                                         ("kill-incoming", "requested")]
        assert frozen_ms(b, seen) <= 100


@pytest.mark.thorough
def test_in_the_last_pass(rig, a, b, helpers, asked):
    """The guest is stopped and the rest of its memory under way: a matter of seconds."""
    guest = rig.start_device_guest("g1", a, STANDIN, scope=KEYS, pages=MANY_PAGES, memory=192)
    migration = rig.move(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    a.virsh("migrate-setmaxdowntime", guest.name, "2000000")
    wait_for(lambda: guest.devices[a].state != vfio.RUNNING, "the guest to be stopped", 60)
    taken = asked.take(**PATIENT).wait(90)
    assert_agreement(rig, guest, a, b, migration, taken, asked)


def test_while_the_device_is_saved(rig, a, b, guest, helpers, standin, asked):
    """All of the memory is sent; the device's data is held back. At the destination its stream can still be made to fail.
    On the source libvirt tells nothing of the job while QEMU reads the device, so that on vfio_ap a lock that is asked for
    now comes too late."""
    standin("save_delay_ms", 12_000)
    migration = rig.move(guest, a, b)
    wait_for(lambda: guest.devices[a].state == vfio.STOP_COPY, "the device to be saved", 60)
    taken = asked.take(**PATIENT).wait(90)
    if asked is b:
        assert_still_at_source(rig, guest, a, b, migration)
    assert_agreement(rig, guest, a, b, migration, taken, asked)


# What the stand-in does, by what it stands for.
DRIVERS = {"vfio_ap": {}, "other": {"says_ap": "N", "sessions_end": "Y"}}


@pytest.mark.timeout((TRIALS + 1) * 200)
@pytest.mark.parametrize("driver", DRIVERS)
def test_source_asked_while_the_device_is_saved(rig, a, b, guest, helpers, standin, driver, record_property):
    """libvirt tells no job before QEMU has read the device. That the guest was stopped for its switchover it has told, and
    that the device is being saved is to be seen: what can be done on that driver is done."""
    results = []
    for name, value in DRIVERS[driver].items():
        standin(name, value)
    for _ in range(TRIALS):
        standin("save_delay_ms", 12_000)
        migration = rig.move(guest, a, b)
        wait_for(lambda: guest.devices[a].state == vfio.STOP_COPY, "the device to be saved", 60)
        taking = a.take(**PATIENT)
        seen = migration_on(a, "out")
        wait_outcome(a, seen, "vfio-state", "requested" if driver == "other" else "nothing-to-do")
        assert guest.devices[a].state == (vfio.STOP if driver == "other" else vfio.STOP_COPY)
        standin("save_delay_ms", 0)
        taken = taking.wait(90)
        assert_agreement(rig, guest, a, b, migration, taken, a)
        results.append(result_of(a, seen))
        assert results[-1] == "aborted" or (driver, results[-1]) == ("vfio_ap", "completed-anyway"), results
        a.release(taken.lock_id)
        if migration.wait(1):
            a, b = b, a
    record_property(driver, ", ".join(f"{results.count(result)} {result}" for result in sorted(set(results))))


@pytest.mark.thorough
def test_after_the_load(rig, a, b, guest, helpers, asked):
    """Nothing is left to be ended, and nobody has started the guest yet: hands off, however long it takes."""
    migration = rig.move(guest, a, b, bandwidth=1, direct=True)
    rig.wait_migrating(guest, a)
    a.kill(migration.process.pid, signal.SIGSTOP)
    try:
        rig.finish_migration(guest, a)
        wait_for(lambda: vfio.look_at_qemu(guest.devices[b].uuid) == (vfio.RESUMING, False), "the load to end", 60)
        taking = asked.take(**PATIENT)
        assert_waits(asked, taking, only_lock(asked), 6)  # the steps are tried in vain
    finally:
        a.kill(migration.process.pid, signal.SIGCONT)
    taken = taking.wait(90)
    assert migration.wait(90), migration.message
    assert_agreement(rig, guest, a, b, migration, taken, asked)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_after_completion(rig, a, b, guest, helpers, kind, asked):
    """It is over: nothing is done, and nothing stands between the lock and held."""
    migration = rig.move(guest, a, b)
    assert migration.wait(90), migration.message
    taken = asked.take(**PATIENT).wait(90)
    assert_agreement(rig, guest, a, b, migration, taken, asked)
    assert guest.devices[b].state == vfio.RUNNING


@pytest.mark.thorough
def test_asked_again(rig, a, b, guest, steps, other_driver):
    """A request that is given up leaves a fence behind; the next one finds it, and waits for what comes of it."""
    steps("vfio-state")
    migration = rig.move(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    seen = migration_on(b, "in")
    first = b.take(**PATIENT)
    wait_outcome(b, seen, "vfio-state", "requested")
    first.vanish()
    wait_for(lambda: not b.locks(), "the first lock to be gone")
    assert guest.devices[b].state == vfio.STOP and not migration.ended
    again = b.take(**PATIENT)
    lock = only_lock(b)
    other = b.take(**PATIENT).wait(60)
    assert other.error == "Locked" and lock in other.message
    assert guest.devices[b].state == vfio.STOP and not again.answered
    rig.finish_migration(guest, a)
    assert_still_at_source(rig, guest, a, b, migration)
    assert again.wait(90).lock_id == lock
    assert_held(b, lock)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", [MTTY], ids=str)
def test_both_hosts_at_once(rig, a, b, guest, helpers):
    """As it is done: each host whose keys change has a lock of its own."""
    migration = rig.move(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    takings = [host.take(**PATIENT) for host in (a, b)]
    for host, taking in zip((a, b), takings):
        assert_held(host, taking.wait(90).lock_id)
    assert_still_at_source(rig, guest, a, b, migration)


def test_other_host_without_apmigd(rig, a, b, guest, helpers):
    """The source has nothing but libvirt, and the memory never converges: ended within the lock's deadline."""
    a.stop_apmigd()
    migration = rig.move(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    taken = b.take(**PATIENT).wait(90)
    assert taken.error is None, taken.message
    assert_held(b, taken.lock_id)
    a.start_apmigd()
    assert_still_at_source(rig, guest, a, b, migration)


@pytest.mark.thorough
def test_guest_that_has_arrived_migrates_on(rig, a, b, guest, helpers):
    """A QEMU that was an incoming one once is an outgoing one now: it is never killed."""
    assert rig.move(guest, a, b).wait(90)
    back = rig.move(guest, b, a, bandwidth=1)
    rig.wait_migrating(guest, b)
    taken = b.take(**PATIENT).wait(90)
    assert_held(b, taken.lock_id)
    assert_still_at_source(rig, guest, b, a, back)
    assert_at_rest(rig, guest, b)


class Death(threading.Thread):
    """When a process was gone."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.fd, self.at = os.pidfd_open(pid), None
        self.start()

    def run(self):
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        if poll.poll(200_000):
            self.at = time.monotonic()


def take_and_kill(rig, guest, a, b, finish_after=None):
    """One lock asked for at the destination. Returns the result there, the seconds from the request until the incoming
    QEMU was gone, and whether `virsh migrate` says that the guest has moved."""
    migration = rig.move(guest, a, b, bandwidth=1)
    rig.wait_migrating(guest, a)
    seen, death = migration_on(b, "in"), Death(vfio.user_of(guest.devices[b].uuid))
    begun, taking = time.monotonic(), b.take(**PATIENT)
    if finish_after is not None:
        time.sleep(finish_after)
        rig.finish_migration(guest, a)
    taken = taking.wait(90)
    assert_agreement(rig, guest, a, b, migration, taken, b)
    wait_for(lambda: result_of(b, seen), "the destination to know that it is over")
    result = result_of(b, seen)
    b.release(taken.lock_id)
    return result, death.at and death.at - begun, migration.wait(1)


@pytest.mark.thorough
@pytest.mark.timeout((TRIALS + 3) * 150)
def test_guest_that_would_arrive_before_a_step_is_late(rig, a, b, guest, helpers, record_property):
    """It converges later than the kill takes, and earlier than the two seconds that vfio-state has: it is ended, unless
    its load was finished by then, which is said."""
    times = [take_and_kill(rig, guest, a, b)[1] for _ in range(3)]
    wait, results = min(statistics.median(times) + 0.3, 1.9), []
    for _ in range(TRIALS):
        result, killed, arrived = take_and_kill(rig, guest, a, b, finish_after=wait)
        assert (result, arrived) in (("aborted", False), ("completed-anyway", True)), (result, arrived)
        results.append(result)
        times += [killed] if killed else []
        if arrived:
            a, b = b, a
    record_property("take to kill", f"median {statistics.median(times):.2f} s, worst {max(times):.2f} s; finished after "
                                    f"{wait:.2f} s: {results.count('aborted')} of {TRIALS} ended")


def kills(host):
    return len(re.findall(r"kill-incoming of guest .*: done, ", host.log_of("/var/log/apmigd-fence.log")))


def fences(host):
    return host.apmigd_log().count("vfio-state of guest g1: requested")


def managed_save(host, guest):
    """Begun as soon as its migration lets it. Returns what was saved. Its guest is gone, and is the host's from now on."""
    host.path("/run/rig/defined.xml").write_text(guest.xml_for(host), encoding="utf-8")
    host.virsh("define", "/run/rig/defined.xml")
    wait_for(lambda: host.run("virsh", "managedsave", guest.name, check=False, timeout=120).returncode == 0,
             f"{guest} to be saved on {host.name}", 120)
    return host.path(f"/var/lib/libvirt/qemu/save/{guest.name}.save").read_bytes()


def restore_elsewhere(host, guest, saved):
    """Without the hook, which would refuse it: libvirt runs whatever lies in its folder, by any name. At the first attempt."""
    host.hide_hook()
    host.path("/run/rig/saved").write_bytes(saved)
    host.path("/run/rig/restored.xml").write_text(guest.xml_for(host), encoding="utf-8")
    host.virsh("restore", "/run/rig/saved", "--xml", "/run/rig/restored.xml", timeout=120)
    assert host.state_of(guest.name).startswith("running")


@pytest.mark.thorough
@pytest.mark.timeout((TRIALS + 1) * 300)
def test_save_and_restore_after_an_incoming_one_was_ended(rig, a, b, guest, helpers, standin):
    """Both under a lock, of the same guest, with the same device, and slow. The QEMU of a restore is started in the same way
    as that which was killed just before; nobody ends it, and nobody touches the save."""
    for trial in range(TRIALS):
        standin("save_delay_ms", 1500)
        standin("load_delay_ms", 6000)
        before = kills(b), fences(a) + fences(b)
        migration = rig.move(guest, a, b, bandwidth=1)
        rig.wait_migrating(guest, a)
        death = Death(vfio.user_of(guest.devices[b].uuid))
        takings = [a.take(on_busy="wait", **PATIENT), b.take(**PATIENT)]
        wait_for(lambda death=death: death.at, "the incoming QEMU to be gone", 60)
        saved = managed_save(a, guest)
        restore_elsewhere(b, guest, saved)
        assert not migration.wait(90) and kills(b) == before[0] + 1, trial
        for host, taking in zip((a, b), takings):
            assert_held(host, taking.wait(90).lock_id)
        assert fences(a) + fences(b) == before[1], trial
        b.virsh("destroy", guest.name)
        b.restore_install()
        for host, taking in zip((a, b), takings):
            host.release(taking.wait(1).lock_id)
        wait_for(lambda: not a.locks(), "the source's lock to be gone")
        a.virsh("start", guest.name, timeout=120)
        a.virsh("undefine", guest.name)
        assert_runs_at(rig, guest, a, b)
