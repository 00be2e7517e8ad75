# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the other cases rest on: the machine is up, current, and has the devices."""

import re
from pathlib import Path

import pytest
from devices import KINDS
from service import emulator_slips, run, systemctl

pytestmark = pytest.mark.service


def test_no_unit_has_failed():
    assert systemctl("list-units", "--failed", "--plain", "--no-legend") == ""


def test_versions():
    release = Path("/proc/sys/kernel/osrelease").read_text(encoding="ascii")
    assert tuple(map(int, release.split(".")[:2])) >= (6, 12)
    qemu = run("qemu-system-x86_64", "--version").stdout.split()
    assert int(qemu[3].split(".")[0]) >= 10
    assert int(run("virsh", "--version").stdout.split(".")[0]) >= 11


def test_drivers_are_loaded():
    for kind in KINDS:
        assert (kind.types / "create").exists()
        assert int((kind.types / "available_instances").read_text(encoding="ascii")) > 4


@pytest.mark.last
def test_kernel_has_not_complained():
    """After all the other cases of this boot. The emulated processor's own slips are none of the drivers'."""
    complaints = re.compile(r"WARNING:|BUG:|Oops|INFO: task .* blocked|general protection|UBSAN|refcount_t")
    lines, slips = run("dmesg").stdout.splitlines(), emulator_slips()
    assert [line for line in lines if complaints.search(line) and line not in slips] == []
