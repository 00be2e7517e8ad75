# SPDX-License-Identifier: LGPL-2.1-or-later
"""The two hosts inside, one rig for the whole run; and the machine's own apmigd, a service of its systemd."""

import signal
import sys
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "hosts"), str(HERE.parents[1])]
pytest.register_assert_rewrite("checks", "fencing", "host")

import service  # noqa: E402
from checks import KEYS  # noqa: E402 (needs the path)
from devices import STANDIN, DeviceRig, MediatedDevice, set_parameter  # noqa: E402
from fencing import POLICY, choose_steps  # noqa: E402

PARAMETERS = {"save_delay_ms": 0, "load_delay_ms": 0, "delay_uninterruptible": "N", "delay_locked": "N",
              "sessions_end": "N", "strict_resuming": "N", "set_fails": "N", "stream_version": 1, "hardware": 0x92000000,
              "hold_lock_ms": 0, "says_ap": "Y"}


def pytest_configure(config):
    def terminate(*_):
        raise KeyboardInterrupt  # the report is written all the same

    signal.signal(signal.SIGTERM, terminate)


@pytest.fixture(scope="session")
def shared_rig():
    with DeviceRig(install=Path("/")) as rig:
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
    if shared_rig.kept and "guest" not in request.fixturenames:
        shared_rig.clean()
    yield shared_rig
    keep = "guest" in request.fixturenames and not getattr(request.node, "failed", False)
    if not (keep and shared_rig.tidy()):
        shared_rig.clean()


@pytest.fixture
def kind():
    """Of the guest's device. A case may have it as a parameter."""
    return STANDIN


@pytest.fixture
def guest(rig, kind):
    """A guest with keys that runs on @a: the one of the case before, if that left it in order. So each case also shows
    that the guest can be moved again after the one before."""
    return rig.borrow_guest(kind, KEYS)


@pytest.fixture
def helpers(rig):
    """Both hosts have apmigd-fence, and apmigd ends migrations as it is shipped to."""
    for host in rig.hosts:
        host.start_fence()


@pytest.fixture
def steps(rig, helpers):
    """Has both hosts' apmigd end migrations by the steps named, and by them alone."""
    yield lambda *names: [choose_steps(host, *names) for host in rig.hosts]
    for host in rig.hosts:
        if host.path(POLICY).exists() and host.apmigd.status is None:
            choose_steps(host)
        host.path(POLICY).unlink(missing_ok=True)


@pytest.fixture
def other_driver(rig, standin):
    """The device's driver is not vfio_ap, and ends its data sessions with the state, as the interface has it."""
    standin("says_ap", "N")
    standin("sessions_end", "Y")


@pytest.fixture
def a(rig, request):
    """The host where the guest is."""
    if "guest" in request.fixturenames:
        request.getfixturevalue("guest")
        return rig.kept_host
    return rig.hosts[0]


@pytest.fixture
def b(rig, a):
    """The other one."""
    return next(host for host in rig.hosts if host is not a)


@pytest.fixture
def new_device():
    """Makes mediated devices that nobody has."""
    made = []

    def make(kind):
        made.append(MediatedDevice(kind))
        return made[-1]

    yield make
    for device in made:
        device.remove()


@pytest.fixture
def apmigd():
    """The machine's own: up, seeing libvirt, and without a lock, before and after."""
    service.restore()
    yield service
    service.restore()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    """A case that failed while the emulated processor slipped tells nothing: it is run once more."""
    place = {"nodeid": item.nodeid, "location": item.location}
    item.ihook.pytest_runtest_logstart(**place)
    slips = service.emulator_slips()
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    if any(report.failed for report in reports) and service.emulator_slips() != slips:
        item.failed = False
        item._initrequest()  # new fixtures
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(**place)
    return True


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    rig = getattr(item, "rig", None)
    item.failed = getattr(item, "failed", False) or report.failed
    if report.failed and rig:
        for host in rig.hosts:
            report.sections.append((host.name, host.describe()))
    if report.failed:  # at once: of a machine that hangs later the log is all that there is
        item.config.pluginmanager.getplugin("terminalreporter").write_line(f"\n{report.longreprtext}")
