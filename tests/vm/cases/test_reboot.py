# SPDX-License-Identifier: LGPL-2.1-or-later
"""A lock outlives the host: it is in force again before libvirt can ask."""

import json
from pathlib import Path

import pytest
import service
from host import wait_for

pytestmark = pytest.mark.service
NOTES = Path("/var/lib/reboot-test.json")
ANSWERS = Path("/var/lib/reboot-test.answers")
PROBE_UNIT = Path("/etc/systemd/system/hook-probe.service")
PROBE = """\
[Unit]
Description=Asks the hook from the first moment on
DefaultDependencies=no
After=local-fs.target
Before=apmigd.service libvirtd.service

[Service]
ExecStart=/bin/sh -c 'for n in 1 2 3 4 5 6 7 8 9 10; do \
    {hook} g1 migrate begin - </var/lib/reboot-test.xml >/dev/null 2>&1; echo $? >>{answers}; done'

[Install]
WantedBy=sysinit.target
"""


@pytest.mark.before_reboot
def test_lock_before_reboot():
    service.restore()
    lock = service.take(reason="AES rotation over a reboot")
    NOTES.write_text(json.dumps({"lock": lock, "held_at": service.held_at(lock)}), encoding="ascii")
    Path("/var/lib/reboot-test.xml").write_text(service.AFFECTED, encoding="ascii")
    PROBE_UNIT.write_text(PROBE.format(hook=service.HOOK, answers=ANSWERS), encoding="ascii")
    service.systemctl("daemon-reload")
    service.systemctl("enable", PROBE_UNIT.name)


@pytest.mark.after_reboot
def test_lock_after_reboot():
    notes = json.loads(NOTES.read_text(encoding="ascii"))
    service.wait_ready()
    service.wait_held(notes["lock"])
    assert service.held_at(notes["lock"]) == notes["held_at"]
    refused = service.hook()
    assert refused.returncode == 1
    assert notes["lock"] in refused.stderr


@pytest.mark.after_reboot
def test_hook_refused_from_the_first_moment():
    def answers():
        return ANSWERS.read_text(encoding="ascii").split()

    wait_for(lambda: len(answers()) == 10, "the hook to be asked ten times", 90, 0.5)
    assert set(answers()) == {"1"}
    assert int(service.show("ExecMainStartTimestampMonotonic", PROBE_UNIT.name)) < \
        int(service.show("ActiveEnterTimestampMonotonic"))


@pytest.mark.after_reboot
def test_up_before_libvirt():
    assert int(service.show("ActiveEnterTimestampMonotonic")) <= \
        int(service.show("ExecMainStartTimestampMonotonic", "libvirtd.service"))
    assert service.show("NRestarts") == "0"


@pytest.mark.after_reboot
def test_released_after_reboot():
    lock, = service.locks()
    service.release(lock)
    assert service.hook().returncode == 0
