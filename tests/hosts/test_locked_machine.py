# SPDX-License-Identifier: LGPL-2.1-or-later
"""On a machine that itself holds a lock (see tests/locked-machine.sh) the demonstration works, and so do the suites: nothing
that they start sees what is the machine's own."""

import os
import subprocess
from pathlib import Path

import pytest
from host import HERE, PATIENCE, PYTHON

TESTS = HERE.parent
INSTALL = Path(os.environ.get("APMIGD_INSTALL", "/"))
AFFECTED = "<domain><name>g1</name><metadata><apmigd:keys xmlns:apmigd='urn:apmigd:1' scope='04.0012'/></metadata></domain>"


def run(*argv, timeout=600, stdin=""):
    return subprocess.run([TESTS / "locked-machine.sh", *argv], input=stdin, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=timeout * PATIENCE, check=False)


def test_its_lock_would_be_seen():
    """Who looks where the machine's state is is refused there; and this machine has not got it."""
    hook = [INSTALL / "usr/bin/apmigctl", "hook", "g1", "restore", "begin", "-"]
    refused = run(*hook, stdin=AFFECTED)
    assert refused.returncode != 0 and "0badc0de" in refused.stdout
    assert not Path("/var/lib/apmigd/locks/0badc0de.json").exists()


@pytest.mark.parametrize("argv", [
    ("hosts/demo.py", INSTALL), ("hosts/demo_fleet.py", INSTALL),
    ("-m", "pytest", "-p", "no:cacheprovider", "-q", "bus/test_hook.py", "-k", "restore")], ids=["demo", "demo-fleet", "bus"])
def test_nothing_of_it_is_seen(argv):
    result = run("env", "-C", TESTS, PYTHON, *argv)
    assert result.returncode == 0, result.stdout
