# SPDX-License-Identifier: LGPL-2.1-or-later
"""The two hosts inside, one rig for the whole run; and the machine's own apmigd, a service of its systemd."""

import signal
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "hosts")]

import service  # noqa: E402 (needs the path)
from devices import DeviceRig, MediatedDevice, set_parameter  # noqa: E402

PARAMETERS = {"save_delay_ms": 0, "load_delay_ms": 0, "delay_uninterruptible": "N", "delay_locked": "N",
              "strict_resuming": "N"}


def pytest_configure(config):
    def terminate(*_):
        raise KeyboardInterrupt  # the report is written all the same

    signal.signal(signal.SIGTERM, terminate)


@pytest.fixture(scope="session")
def shared_rig(tmp_path_factory):
    # apmigd is installed in the machine itself, so on its hosts too: nothing is to be laid on top.
    with DeviceRig(install=tmp_path_factory.mktemp("nothing")) as rig:
        yield rig


@pytest.fixture
def standin():
    """Its parameters can be changed at will."""
    yield set_parameter
    for name, value in PARAMETERS.items():
        set_parameter(name, value)


@pytest.fixture
def rig(shared_rig, standin, request):
    request.node.rig = shared_rig
    yield shared_rig
    shared_rig.clean()


@pytest.fixture
def a(rig):
    return rig.hosts[0]


@pytest.fixture
def b(rig):
    return rig.hosts[1]


@pytest.fixture
def new_device():
    """Makes mediated devices that nobody has."""
    yield MediatedDevice
    MediatedDevice.remove_all()


@pytest.fixture
def apmigd():
    """The machine's own: up, seeing libvirt, and without a lock, before and after."""
    service.restore()
    yield service
    service.restore()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    rig = getattr(item, "rig", None)
    if report.failed and rig:
        for host in rig.hosts:
            report.sections.append((host.name, host.describe()))
