# SPDX-License-Identifier: LGPL-2.1-or-later
"""The AppArmor profiles, compiled; nothing is loaded into this machine's kernel."""

import subprocess
from pathlib import Path

import pytest

PROFILES = Path(__file__).resolve().parents[2] / "packaging" / "apparmor"
NAMES = {"apmigd": "/usr/sbin/apmigd", "apmigd-act": "/usr/libexec/apmigd-act", "apmigd-fence": "/usr/libexec/apmigd-fence"}


def parse(*options, text=None):
    result = subprocess.run(["apparmor_parser", "--skip-kernel-load", "--skip-cache", *map(str, options)], input=text,
                            capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("name", NAMES)
def test_compiles(name):
    assert parse("--names", PROFILES / name).split() == [name]
    assert f"profile {name} {NAMES[name]} " in (PROFILES / name).read_text(encoding="utf-8")


def test_in_qemus_profile():
    """What libvirt's profiles of guests include from a folder of other packages' files."""
    file = PROFILES / "abstractions" / "libvirt-qemu.d" / "apmigd"
    parse(text=f'abi <abi/3.0>,\nprofile libvirt-guest {{\n  include "{file}"\n}}\n')


@pytest.mark.parametrize("name", NAMES)
def test_executes_nothing(name):
    """But itself, which is mapped: there is no rule for another program."""
    rules = [line.split("#")[0].strip() for line in (PROFILES / name).read_text(encoding="utf-8").splitlines()]
    modes = [rule.rstrip(",").rpartition(" ")[2] for rule in rules if rule.lstrip("owner ").startswith(("/", "@"))]
    assert modes and not [mode for mode in modes if "x" in mode]
