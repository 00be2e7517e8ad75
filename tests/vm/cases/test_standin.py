# SPDX-License-Identifier: LGPL-2.1-or-later
"""The stand-in for vfio_ap: the names and formats of the real one in sysfs, and the migration states as the kernel's
text has them (linux/vfio.h). What it is not to be is told in vfio_ap_standin/main.c."""

import errno
import os
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from devices import STANDIN
from host import wait_for

import vfio

pytestmark = pytest.mark.service
MATRIX = Path("/sys/devices/vfio_ap/matrix")
RECORD = 112  # bytes that travel
EMPTY_MASK = "0x" + 64 * "0"


@contextmanager
def raises(number):
    with pytest.raises(OSError) as raised:
        yield
    assert raised.value.errno == number, raised.value


@pytest.fixture
def device(new_device):
    return new_device(STANDIN)


@pytest.fixture
def opened(device):
    with vfio.opened(device.uuid) as descriptor:
        yield descriptor


# --- sysfs ---------------------------------------------------------------------------------------

def test_places():
    assert (MATRIX / "features").read_text(encoding="ascii") == "guest_matrix hotplug ap_config migratable\n"
    for link in ("/sys/bus/matrix/devices/matrix", "/sys/class/mdev_bus/matrix"):
        assert Path(link).resolve() == MATRIX
    assert (MATRIX / "driver").resolve() == Path("/sys/bus/matrix/drivers/vfio_ap")
    types = MATRIX / "mdev_supported_types"
    assert [path.name for path in types.iterdir()] == ["vfio_ap-passthrough"]
    assert (types / "vfio_ap-passthrough/name").read_text(encoding="ascii") == "VFIO AP Passthrough Device\n"


def test_device_attributes(device):
    assert device.path.resolve().parent == MATRIX
    modes = {"matrix": 0o444, "guest_matrix": 0o444, "control_domains": 0o444, "ap_config": 0o644}
    for verb in ("assign", "unassign"):
        for what in ("adapter", "domain", "control_domain"):
            modes[f"{verb}_{what}"] = 0o200
    assert {name: (device.path / name).stat().st_mode & 0o777 for name in modes} == modes


def test_matrix(device):
    assert device.read("matrix") == ""
    device.write("assign_adapter", "5")
    device.write("assign_adapter", "0x0a")
    assert device.read("matrix") == "05.\n0a.\n"
    device.write("assign_domain", "0x47")
    device.write("assign_domain", "0253")  # octal
    assert device.read("matrix") == "05.0047\n05.00ab\n0a.0047\n0a.00ab\n"
    assert device.read("guest_matrix") == device.read("matrix")
    device.write("unassign_adapter", "5")
    device.write("unassign_adapter", "10")
    assert device.read("matrix") == ".0047\n.00ab\n"
    device.write("assign_control_domain", "0xff")
    device.write("assign_control_domain", "3")
    assert device.read("control_domains") == "0003\n00ff\n"


def test_ap_config(device, new_device):
    for adapter in (0, 9, 255):
        device.write("assign_adapter", adapter)
    device.write("assign_domain", 0x47)
    device.write("assign_control_domain", 0x47)
    config = device.read("ap_config")
    domain = f"0x{1 << 255 >> 0x47:064x}"
    assert config == f"0x8040{59 * '0'}1,{domain},{domain}\n"
    other = new_device(STANDIN)
    other.write("ap_config", config.strip())
    for attribute in ("ap_config", "matrix", "control_domains"):
        assert other.read(attribute) == device.read(attribute)
    other.write("ap_config", ",".join(3 * [EMPTY_MASK]))
    assert other.read("matrix") == ""


def test_refusals(device):
    before = device.read("ap_config")
    for attribute in ("assign_adapter", "assign_domain", "assign_control_domain", "unassign_domain"):
        for value, number in (("256", errno.ENODEV), ("x", errno.EINVAL), ("-1", errno.EINVAL), ("08", errno.EINVAL)):
            with raises(number):
                device.write(attribute, value)
    for value in ("", EMPTY_MASK, ",".join(2 * [EMPTY_MASK]), ",".join(3 * [EMPTY_MASK[:-1]]),
                  ",".join(3 * [EMPTY_MASK[:-1] + "g"]), ",".join(4 * [EMPTY_MASK]), ";".join(3 * [EMPTY_MASK])):
        with raises(errno.EINVAL):
            device.write("ap_config", value)
    assert device.read("ap_config") == before


# --- migration -----------------------------------------------------------------------------------

def test_info(opened):
    assert opened.info == (vfio.FLAG_RESET | vfio.FLAG_PCI | vfio.FLAG_AP, 9, 5)
    assert opened.migration_flags == 1  # STOP_COPY alone
    assert opened.state == vfio.RUNNING


def save(device):
    """All that a device sends."""
    session = device.set_state(vfio.STOP_COPY)
    data = os.read(session, 4096)
    assert os.read(session, 4096) == b""
    os.close(session)
    device.set_state(vfio.RUNNING)
    return data


def test_save_and_load(device, opened):
    device.write("assign_adapter", 4)
    data = save(opened)
    assert len(data) == RECORD
    session = opened.set_state(vfio.RESUMING)
    assert os.write(session, data[:50]) == 50
    assert os.write(session, data[50:]) == RECORD - 50
    assert opened.set_state(vfio.RUNNING) == -1
    assert opened.state == vfio.RUNNING
    with raises(errno.ENODEV):
        os.write(session, b"x")
    os.close(session)


def test_another_configuration_is_refused(device, opened):
    data = save(opened)
    device.write("assign_adapter", 4)
    session = opened.set_state(vfio.RESUMING)
    with raises(errno.EINVAL):
        os.write(session, data)
    os.close(session)


@pytest.mark.parametrize("state", [vfio.STOP, vfio.RUNNING, vfio.RESUMING])
def test_leaving_stop_copy_ends_the_session(opened, state):
    session = opened.set_state(vfio.STOP_COPY)
    assert len(os.read(session, 10)) == 10
    other = opened.set_state(state)
    with raises(errno.ENODEV):
        os.read(session, 10)
    assert opened.state == state
    assert (other != -1) == (state == vfio.RESUMING)
    for fd in {session, other} - {-1}:
        os.close(fd)


@pytest.mark.parametrize("state", [vfio.STOP, vfio.RUNNING, vfio.STOP_COPY])
def test_leaving_resuming_ends_the_session(opened, state):
    session = opened.set_state(vfio.RESUMING)
    os.write(session, b"x")
    other = opened.set_state(state)
    with raises(errno.ENODEV):
        os.write(session, b"x")
    assert opened.state == state
    for fd in {session, other} - {-1}:
        os.close(fd)


def test_reset_ends_the_session(opened):
    for state, use in ((vfio.STOP_COPY, lambda fd: os.read(fd, 10)), (vfio.RESUMING, lambda fd: os.write(fd, b"x"))):
        session = opened.set_state(state)
        opened.reset()
        assert opened.state == vfio.RUNNING
        with raises(errno.ENODEV):
            use(session)
        os.close(session)


def test_close_ends_the_session(device):
    with vfio.opened(device.uuid) as descriptor:
        session = descriptor.set_state(vfio.RESUMING)
    with raises(errno.ENODEV):
        os.write(session, b"x")
    os.close(session)
    with vfio.opened(device.uuid) as descriptor:
        assert descriptor.state == vfio.RUNNING


def test_strict_resuming(opened, standin):
    """As the kernel's text demands; the session stays usable."""
    data = save(opened)
    standin("strict_resuming", "Y")
    session = opened.set_state(vfio.RESUMING)
    os.write(session, data[:50])
    with raises(errno.EINVAL):
        opened.set_state(vfio.STOP)
    assert opened.state == vfio.RESUMING
    os.write(session, data[50:])
    opened.set_state(vfio.STOP)
    assert opened.state == vfio.STOP
    os.close(session)


def test_states_it_does_not_have(opened):
    for state in (vfio.PRE_COPY, vfio.PRE_COPY_P2P, vfio.RUNNING_P2P, vfio.ERROR):
        with raises(errno.EINVAL):
            opened.set_state(state)
    assert opened.state == vfio.RUNNING


def test_delay(opened, standin):
    """It makes a window, in which the session can be ended from elsewhere."""
    standin("save_delay_ms", 3000)
    session = opened.set_state(vfio.STOP_COPY)
    failures = []

    def read():
        try:
            os.read(session, 10)
        except OSError as error:
            failures.append(error.errno)

    begin, reader = time.monotonic(), threading.Thread(target=read)
    reader.start()
    call = Path(f"/proc/self/task/{reader.native_id}/syscall")
    wait_for(lambda: call.read_text(encoding="ascii").startswith("0 "), "the thread to be in read(2)")
    opened.set_state(vfio.STOP)
    assert time.monotonic() - begin < 2.5
    reader.join()
    assert time.monotonic() - begin >= 3
    assert failures == [errno.ENODEV]
    os.close(session)
