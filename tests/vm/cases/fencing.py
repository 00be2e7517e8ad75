# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the cases about ending a migration have in common: which steps apmigd may take, what it says that it did, and
how things must stand afterwards: where the guest runs, what the device's state is on either side, that nothing is
traced or held open, and that the guest can be moved again."""

import json
import re
import signal

import proc
from checks import assert_at_rest
from host import wait_for

import vfio

PATIENT = {"timeout": 240, "timeout_usec": 200_000_000}  # everything takes longer here
DEADLINES = {"libvirt-abort": 20_000_000, "vfio-state": 10_000_000, "kill-incoming": 20_000_000}
POLICY = "/etc/apmigd/policy.d/50-test.json"


def choose_steps(host, *names):
    """Has the host's apmigd end migrations by the steps named, and by them alone; without names as shipped."""
    reloads = host.apmigd_log().count("policy reloaded")
    if names:
        path = host.path(POLICY)
        path.parent.mkdir(parents=True, exist_ok=True)
        steps = [{"step": name, "deadline-usec": DEADLINES[name]} for name in names]
        path.write_text(json.dumps({"steps": steps}), encoding="ascii")
    else:
        host.path(POLICY).unlink(missing_ok=True)
    host.apmigd.send(signal.SIGHUP)
    wait_for(lambda: host.apmigd_log().count("policy reloaded") > reloads, f"the policy of {host.name} to be read")


# --- what apmigd says ----------------------------------------------------------------------------

def migration_on(host, direction, timeout=20):
    """The path of the one migration there."""
    def find():
        return [m["path"] for m in host.migrations() if m["direction"] == direction and m["phase"] != "admitted"]

    return wait_for(find, f"a migration {direction} on {host.name}", timeout)[0]


def steps_of(host, path):
    """(step, outcome, when it began in usec, message)"""
    return host.get_property(path, "Migration", "Steps")


def outcomes(host, path):
    return [(step, outcome) for step, outcome, _, _ in steps_of(host, path)]


def frozen_ms(host, path):
    """For how long the QEMU that was killed was frozen before."""
    message, = [message for step, outcome, _, message in steps_of(host, path)
                if (step, outcome) == ("kill-incoming", "requested")]
    return int(re.match(r"frozen for (\d+) ms: ", message)[1])


def wait_outcome(host, path, step, outcome, timeout=60):
    wait_for(lambda: (step, outcome) in outcomes(host, path), f"{step} to be {outcome} on {host.name}", timeout)


def result_of(host, path):
    return host.get_property(path, "Migration", "Result")


# --- how things stand ----------------------------------------------------------------------------

def assert_untouched_processes(*devices):
    """No task of their QEMUs is traced or stopped."""
    for device in devices:
        pid = vfio.user_of(device.uuid)
        for status in proc.read_all(f"/proc/{pid}/task/*/status").values() if pid else ():
            assert "TracerPid:\t0\n" in status and "State:\tT" not in status and "State:\tt" not in status


def assert_runs_at(rig, guest, host, other):
    """There alone, with a running device, and nobody knows of a migration of it."""
    assert_at_rest(rig, guest, host)
    assert guest.devices[host].state == vfio.RUNNING
    assert other not in guest.devices or guest.devices[other].state is None
    assert_untouched_processes(guest.devices[host])


def assert_still_at_source(rig, guest, source, destination, migration):
    assert not migration.wait(90), "the migration has completed"
    assert_runs_at(rig, guest, source, destination)


def assert_moves_again(rig, guest, source, destination):
    """With the same devices, or with new ones in the place of those of a driver that keeps its state: no descriptor of
    ours holds them."""
    again = rig.move(guest, source, destination)
    assert again.wait(90), again.message
    assert_runs_at(rig, guest, destination, source)
