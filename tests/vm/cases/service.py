# SPDX-License-Identifier: LGPL-2.1-or-later
"""The machine's own apmigd: the shipped unit under systemd, on the system bus."""

import json
import os
import re
import subprocess
from pathlib import Path

from host import ENVIRONMENT, wait_for

UNIT = "apmigd.service"
# The emulated processor's own: a debug exception out of nothing, and a fault of the thread in which a QEMU in here
# emulates another one. With KVM there is neither.
SLIP = re.compile(r"exc_debug_kernel|CPU \d+/TCG\[\d+\]")
HOOK = "/etc/libvirt/hooks/qemu.d/zz-apmigd"
AS_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")
MANAGER = ("org.apmigd1", "/org/apmigd1", "org.apmigd1.Manager")
AFFECTED = "<domain><name>g1</name><uuid>5c6a1b6e-0000-4000-8000-000000000001</uuid><metadata>" \
           "<apmigd:keys xmlns:apmigd='urn:apmigd:1' scope='04.0012'/></metadata></domain>"


def run(*argv, check=True, timeout=90, stdin=""):
    result = subprocess.run(list(map(str, argv)), check=False, timeout=timeout, input=stdin, capture_output=True,
                            text=True, env=ENVIRONMENT)
    if check and result.returncode:
        raise AssertionError(f"{' '.join(map(str, argv))}: status {result.returncode}: {result.stdout}{result.stderr}")
    return result


def systemctl(*argv, **options):
    return run("systemctl", *argv, **options).stdout


def show(name, unit=UNIT):
    """A property of the unit."""
    return systemctl("show", "--value", "-p", name, unit).strip()


def pid():
    return int(show("MainPID"))


def process_status():
    """/proc/PID/status of the daemon, as a dict."""
    lines = Path(f"/proc/{pid()}/status").read_text(encoding="ascii").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def busctl(*argv, **options):
    return run("busctl", "--json=short", *argv, **options)


def get(name, path="/org/apmigd1", interface="org.apmigd1.Manager", auto_start=False):
    result = busctl(f"--auto-start={'yes' if auto_start else 'no'}", "get-property", "org.apmigd1", path, interface,
                    name)
    return json.loads(result.stdout)["data"]


def hypervisor_seen():
    result = busctl("--auto-start=no", "get-property", *MANAGER, "HypervisorState", check=False)
    return result.returncode == 0 and json.loads(result.stdout)["data"] in ("connected", "complete")


def wait_ready(timeout=90):
    """Until it is up and sees libvirt."""
    wait_for(lambda: show("ActiveState") == "active" and hypervisor_seen(), "apmigd to be up and to see libvirt",
             timeout, 0.3)


def take(scope="all", reason="AES rotation"):
    """Takes a lock and returns its id."""
    result = busctl("--timeout=60", "call", *MANAGER, "TakeLock", "ssa{sv}", scope, reason, 0)
    return json.loads(result.stdout)["data"][0].rpartition("/")[2]


def release(lock_id):
    busctl("--timeout=60", "call", *MANAGER, "ReleaseLock", "oa{sv}", f"/org/apmigd1/lock/{lock_id}", 0)


def locks():
    """{id: state}"""
    data = json.loads(busctl("call", *MANAGER, "ListLocks").stdout)["data"][0]
    return {lock[1]: lock[3] for lock in data}


def held_at(lock_id):
    return get("HeldAt", f"/org/apmigd1/lock/{lock_id}", "org.apmigd1.Lock")


def wait_held(lock_id, timeout=60):
    wait_for(lambda: locks() == {lock_id: "held"}, f"lock {lock_id}, and it alone, to be held", timeout, 0.3)


def hook(operation="migrate", xml=AFFECTED):
    """Calls the hook script as libvirt does."""
    return run(HOOK, "g1", operation, "begin", "-", stdin=xml, check=False)


def journal(*matches):
    return run("journalctl", "-b", "-o", "cat", *matches).stdout


def emulator_slips():
    """What the kernel has said of them since it was booted."""
    return [line for line in run("dmesg").stdout.splitlines() if SLIP.search(line)]


def restore():
    """Up, seeing libvirt, and without a lock."""
    systemctl("start", "libvirtd.service", UNIT)
    wait_ready()
    for lock_id in locks():
        release(lock_id)


def kill(number):
    os.kill(pid(), number)
