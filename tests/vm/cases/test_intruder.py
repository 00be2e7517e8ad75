# SPDX-License-Identifier: LGPL-2.1-or-later
"""Somebody has broken into apmigd: what he cannot do from there."""

import json
import pwd
from pathlib import Path

import pytest
from host import wait_for
from service import UNIT, run, systemctl

pytestmark = pytest.mark.service
HERE = Path(__file__).resolve().parent
FOLDER = Path("/run/apmigd-intruder")
DROP_IN = Path(f"/run/systemd/system/{UNIT}.d/intruder.conf")
LOOT = Path("/run/apmigd/loot")
GUESTS = {"affected": "5c6a1b6e-0000-4000-8000-00000000000a", "unaffected": "5c6a1b6e-0000-4000-8000-00000000000b"}
KEYS = "<metadata><apmigd:keys xmlns:apmigd='urn:apmigd:1' scope='04.0012'/></metadata>"
POOL = "<pool type='dir'><name>images</name><target><path>/var/lib/libvirt/images</path></target></pool>"
# Which of the bounds holds him back; of the others it is not told.
WORDS = {"abort an unaffected guest's job": "is not affected",
         "write an unaffected guest's metadata": "is not affected",
         "manage libvirt": "auth",
         "define a domain": "read only", "create a domain": "read only", "create a pool": "read only",
         "create a volume": "read only", "abort a job by itself": "read only", "write metadata by itself": "read only",
         "start a unit": "authentication", "stop a unit": "authentication", "start a program": "authentication"}


def main_pid(unit):
    return int(systemctl("show", "--value", "-p", "MainPID", unit))


@pytest.fixture
def guests():
    """Both run in the machine's own libvirt, which has a pool as well."""
    for name, uuid in GUESTS.items():
        xml = (f"<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid>{KEYS if name == 'affected' else ''}"
               "<memory unit='MiB'>16</memory><os><type>hvm</type></os></domain>")
        path = Path("/run", f"{name}.xml")
        path.write_text(xml, encoding="ascii")
        run("virsh", "create", path, "--paused")
        path.unlink()
    Path("/run/images.xml").write_text(POOL, encoding="ascii")
    run("virsh", "pool-create", "/run/images.xml")
    yield GUESTS
    for name in GUESTS:
        run("virsh", "destroy", name, check=False)
    run("virsh", "pool-destroy", "images", check=False)


@pytest.fixture
def intruder(apmigd, guests):
    """Has him try everything, beside an apmigd that holds a lock; gives what came of it."""
    def go():
        FOLDER.mkdir(exist_ok=True)
        qemu = int(Path("/run/libvirt/qemu/affected.pid").read_text(encoding="ascii"))
        targets = {"act": main_pid("apmigd-act.service"), "qemu": qemu, **guests}
        (FOLDER / "targets").write_text(json.dumps(targets), encoding="ascii")
        LOOT.unlink(missing_ok=True)
        DROP_IN.parent.mkdir(parents=True, exist_ok=True)
        DROP_IN.write_text(f"[Service]\nTimeoutStartSec=600\nExecStartPost=/usr/bin/python3 {HERE}/intruder.py {FOLDER}\n",
                           encoding="ascii")
        systemctl("daemon-reload")
        systemctl("restart", UNIT, timeout=600)
        return json.loads(LOOT.read_text(encoding="utf-8"))

    yield go
    DROP_IN.unlink(missing_ok=True)
    LOOT.unlink(missing_ok=True)
    systemctl("daemon-reload")
    systemctl("restart", UNIT)


def test_intruder(apmigd, guests, intruder, record_property):
    """As apmigd's user, in its unit's own sandbox and cgroup: nothing of all that libvirt, its helpers, polkit, systemd and the
    kernel keep from apmigd, and the guests and helpers are as they were."""
    lock = apmigd.take()
    act = wait_for(lambda: main_pid("apmigd-act.service"), "apmigd-act to be started", 30, 0.3)
    before = {name: run("virsh", "dumpxml", name).stdout for name in guests}
    loot = intruder()
    for name, outcome in loot["attempts"].items():
        record_property(name, ": ".join(outcome))
    assert main_pid("apmigd-act.service") == act
    assert loot["user"] == pwd.getpwnam("apmigd").pw_uid and loot["cgroup"].strip().endswith(f"/{UNIT}")
    assert {name: outcome for name, outcome in loot["attempts"].items() if outcome[0] != "refused"} == {}
    assert [name for name, outcome in loot["attempts"].items() if "No such" in outcome[1]] == []  # that would show nothing
    for name, words in WORDS.items():
        assert words in loot["attempts"][name][1].lower(), (name, loot["attempts"][name])
    assert {name: run("virsh", "dumpxml", name).stdout for name in guests} == before
    assert run("virsh", "domstate", "affected").stdout.strip() == "paused"
    apmigd.wait_held(lock)
