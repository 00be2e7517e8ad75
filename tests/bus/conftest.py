# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests on the private bus have in common; rig.py has the parts."""
import os
import pathlib
import shutil
import sys
import tempfile

import pytest

import rig
from journal import Journal

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1])]

import terminate  # noqa: E402 (needs the path)

pytest_configure = terminate.pytest_configure


@pytest.fixture
def folder():
    """A folder that ordinary users can reach, unlike pytest's own."""
    if os.geteuid() != 0:
        pytest.skip("the bus policy lets root own the name, and callers are to be several users: run it as root")
    path = pathlib.Path(tempfile.mkdtemp(prefix="apmigd-bus-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def bus(folder):
    """A bus without apmigd."""
    bus = rig.Bus(folder)
    yield bus
    bus.close()


@pytest.fixture
def root(bus):
    return rig.Client(bus)


@pytest.fixture
def nobody(bus):
    return rig.Client(bus, rig.NOBODY)


@pytest.fixture
def other(bus):
    return rig.Client(bus, rig.OTHER)


@pytest.fixture
def ctl(root):
    """Runs apmigctl; gives (exit status, standard output, standard error)."""
    def ctl(*arguments, client=root):
        process = client.run(rig.APMIGCTL, *arguments)
        out, err = process.communicate(timeout=rig.LIMIT)
        return process.returncode, out, err
    return ctl


@pytest.fixture
def daemon(bus, folder):
    """apmigd-scripted, not started yet."""
    daemon = rig.Daemon(bus, folder, rig.APMIGD_SCRIPTED, f"scripted:{folder}/hypervisor")
    yield daemon
    try:
        daemon.close()
    finally:
        if daemon.log.exists():
            print(daemon.log.read_text())  # pytest shows it where a test failed


@pytest.fixture
def hypervisor(daemon, folder):
    """What apmigd-scripted takes for the hypervisor."""
    hypervisor = rig.Hypervisor(folder / "hypervisor")
    yield hypervisor
    hypervisor.disconnect()


@pytest.fixture
def disk(daemon, bus):
    """A file system of its own for the daemon's state; to be named before what starts the daemon."""
    disk = rig.Disk(bus, daemon.state)
    daemon.state = disk.path
    return disk


@pytest.fixture
def running(daemon, hypervisor):
    """apmigd-scripted, running; with nothing to see yet."""
    daemon.start()
    return daemon


@pytest.fixture
def journal(folder):
    journal = Journal(folder / "journal")
    yield journal
    journal.close()


@pytest.fixture
def journaled(daemon, hypervisor, journal):
    """apmigd-scripted, running, with its journal."""
    journal.attach(daemon)
    daemon.start()
    return daemon


def pytest_make_parametrize_id(val):
    """Names of cases that fit on a line."""
    text = ascii(val)
    return text if len(text) <= 40 else f"{text[:37]}..."
