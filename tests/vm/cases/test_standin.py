# SPDX-License-Identifier: LGPL-2.1-or-later
"""The stand-in for vfio_ap: the names and formats of the real one in sysfs, and migration as the series that is to bring it
has it: v1 to v4, and two later states, here A and B (vfio_ap_standin/migration.c). What it is not to be is told in
vfio_ap_standin/main.c."""

import errno
import os
import struct
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


HEAD, QUEUE = struct.Struct("=IIII4Q"), struct.Struct("=QH6x")


def test_info_of_another_driver(opened, standin):
    standin("says_ap", "N")
    assert opened.info[0] == vfio.FLAG_RESET | vfio.FLAG_PCI


def save(device):
    """All that a device sends."""
    session = device.set_state(vfio.STOP_COPY)
    data = os.read(session, 4096)
    assert os.read(session, 4096) == b""
    os.close(session)
    device.set_state(vfio.RUNNING)
    return data


def refuse(number, session, data):
    with raises(number):
        os.write(session, data)
    os.close(session)


def test_stream(device, opened, standin):
    """Magic and version are B's; v4 and A have neither."""
    for adapter in (4, 7):
        device.write("assign_adapter", adapter)
    device.write("assign_domain", 0x12)
    device.write("assign_control_domain", 0)
    data = save(opened)
    assert HEAD.unpack_from(data) == (0x76666170, 1, 2, 0, 1 << 63, 0, 0, 0)
    assert [apqn for _, apqn in QUEUE.iter_unpack(data[HEAD.size:])] == [0x412, 0x712]
    standin("stream_version", 0)
    assert save(opened) == data[8:]


def test_streams_of_other_versions_are_refused(device, opened, standin):
    """B's: one kernel cannot take what the other one sends."""
    device.write("assign_adapter", 4)
    device.write("assign_domain", 0x12)
    data = save(opened)
    refuse(errno.EINVAL, opened.set_state(vfio.RESUMING), data[:4] + b"\2" + data[5:])
    opened.reset()
    refuse(errno.EINVAL, opened.set_state(vfio.RESUMING), data[8:])
    opened.reset()
    standin("stream_version", 0)
    refuse(errno.EINVAL, opened.set_state(vfio.RESUMING), data)


def test_save_and_load(device, opened):
    """Leaving RESUMING ends nothing: v3, v4 and later."""
    device.write("assign_adapter", 4)
    device.write("assign_domain", 0x12)
    data = save(opened)
    session = opened.set_state(vfio.RESUMING)
    assert os.write(session, data[:50]) == 50
    assert os.write(session, data[50:]) == len(data) - 50
    assert opened.set_state(vfio.RUNNING) == -1
    assert opened.state == vfio.RUNNING
    refuse(errno.EINVAL, session, b"x")  # there was all


def test_load_replaces_the_configuration(device, opened, new_device):
    """v4 and later. What comes of the migration afterwards does not bring it back."""
    device.write("assign_adapter", 4)
    device.write("assign_domain", 0x12)
    device.write("assign_control_domain", 0x12)
    data, source = save(opened), device.read("ap_config")
    other = new_device(STANDIN)
    other.write("assign_adapter", 9)
    other.write("assign_control_domain", 9)
    before = other.read("ap_config")
    with vfio.opened(other.uuid) as descriptor:
        session = descriptor.set_state(vfio.RESUMING)
        os.write(session, data[:-1])
        assert other.read("ap_config") == before
        os.write(session, data[-1:])
        assert other.read("ap_config") == source
        descriptor.reset()
        os.close(session)
    assert other.read("ap_config") == source


def test_stream_errors(device, opened, new_device):
    """What a foreign byte does in the data, through a duplicate: less than to fail, or more (docs/guarantees.md)."""
    device.write("assign_control_domain", 0x12)
    data = save(opened)
    other = new_device(STANDIN)
    other.write("assign_control_domain", 9)
    before = other.read("ap_config")
    with vfio.opened(other.uuid) as destination:
        session = destination.set_state(vfio.RESUMING)
        foreign = os.dup(session)
        assert os.write(foreign, b"x") == 1  # nobody notices before the stream comes
        refuse(errno.EINVAL, session, data)
        os.close(foreign)
        assert other.read("ap_config") == before
        destination.reset()
        session = destination.set_state(vfio.RESUMING)
        foreign = os.dup(session)
        os.write(session, data[:20])
        os.write(foreign, b"x")
        os.write(session, data[20:-1])
        refuse(errno.EINVAL, session, data[-1:])
        os.close(foreign)
        assert other.read("ap_config") not in (before, device.read("ap_config"))
        destination.reset()
        session = destination.set_state(vfio.RESUMING)
        os.write(session, data)
        loaded = other.read("ap_config")
        refuse(errno.EINVAL, session, b"x")
        assert other.read("ap_config") == loaded == device.read("ap_config")
        destination.reset()
        session = opened.set_state(vfio.STOP_COPY)
        foreign = os.dup(session)
        os.read(foreign, 8)
        rest = os.read(session, 4096)
        assert rest == data[8:] and os.read(session, 4096) == b""  # no error
        session_in = destination.set_state(vfio.RESUMING)
        os.write(session_in, data[:-1])
        destination.set_state(vfio.RUNNING)  # nor here
        for fd in (session, foreign, session_in):
            os.close(fd)


def test_other_hardware_is_refused(device, opened, standin):
    """v1 and later."""
    device.write("assign_adapter", 4)
    device.write("assign_domain", 0x12)
    data = save(opened)
    standin("hardware", 0x12000000)
    refuse(errno.EINVAL, opened.set_state(vfio.RESUMING), data)


@pytest.mark.parametrize("state", [vfio.STOP, vfio.RUNNING, vfio.RESUMING])
def test_session_outlives_stop_copy(opened, state):
    """v3, v4 and later."""
    session = opened.set_state(vfio.STOP_COPY)
    assert len(os.read(session, 10)) == 10
    other = opened.set_state(state)
    assert len(os.read(session, 10)) == 10
    assert opened.state == state
    assert (other != -1) == (state == vfio.RESUMING)
    for fd in {session, other} - {-1}:
        os.close(fd)


@pytest.mark.parametrize("state", [vfio.STOP, vfio.RUNNING, vfio.STOP_COPY])
def test_session_outlives_resuming(device, opened, state):
    """v3, v4 and later: all that was missing can come in any state."""
    device.write("assign_adapter", 4)
    device.write("assign_domain", 0x12)
    data = save(opened)
    device.write("unassign_adapter", 4)
    session = opened.set_state(vfio.RESUMING)
    os.write(session, data[:9])
    other = opened.set_state(state)
    assert os.write(session, data[9:]) == len(data) - 9
    assert opened.state == state and device.read("matrix") == "04.0012\n"
    for fd in {session, other} - {-1}:
        os.close(fd)


@pytest.mark.parametrize("state", [vfio.STOP, vfio.RUNNING])
def test_sessions_that_end_with_the_state(opened, standin, state):
    """v2, by a parameter."""
    standin("sessions_end", "Y")
    for begun, use, number in ((vfio.STOP_COPY, lambda fd: os.read(fd, 10), errno.ENODEV),
                               (vfio.RESUMING, lambda fd: os.write(fd, b"x"), errno.EIO)):
        session = opened.set_state(begun)
        use(session)
        opened.set_state(state)
        with raises(number):
            use(session)
        os.close(session)


def test_name_of_a_session(opened):
    """v3 and later; and its position shows how much of it went through."""
    session = opened.set_state(vfio.RESUMING)
    os.write(session, b"pa")
    assert os.readlink(f"/proc/self/fd/{session}") == "anon_inode:vfio_ap_mig_file"
    info = dict(line.split(":\t") for line in Path(f"/proc/self/fdinfo/{session}").read_text("ascii").splitlines())
    os.close(session)
    assert int(info["pos"]) == 2 and int(info["flags"], 8) & os.O_ACCMODE == os.O_WRONLY


def test_reset_ends_the_session(opened):
    """Every version; the errors are those of A and B."""
    for state, use, number in ((vfio.STOP_COPY, lambda fd: os.read(fd, 10), errno.EINVAL),
                               (vfio.RESUMING, lambda fd: os.write(fd, b"x"), errno.ENXIO)):
        session = opened.set_state(state)
        opened.reset()
        assert opened.state == vfio.RUNNING
        with raises(number):
            use(session)
        os.close(session)


def test_close_ends_the_session(device):
    """A and B."""
    with vfio.opened(device.uuid) as descriptor:
        session = descriptor.set_state(vfio.RESUMING)
    refuse(errno.ENODEV, session, b"x")
    with vfio.opened(device.uuid) as descriptor:
        assert descriptor.state == vfio.RUNNING


def test_session_keeps_the_device(device):
    """B: who removes it waits until the file of its session is closed."""
    with vfio.opened(device.uuid) as descriptor:
        session = descriptor.set_state(vfio.RESUMING)
    remover = threading.Thread(target=device.write, args=("remove", 1))
    remover.start()
    remover.join(1)
    assert remover.is_alive()
    os.close(session)
    remover.join(20)
    assert not remover.is_alive()
    device.living.remove(device)
    device.remove = lambda: None


def test_strict_resuming(device, opened, standin):
    """As the kernel's text demands, by a parameter; the session stays usable."""
    device.write("assign_adapter", 4)
    device.write("assign_domain", 0x12)
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


def test_error_is_left_by_a_reset_alone(opened, standin):
    """v4 and later: a change of state out of ERROR succeeds and does nothing."""
    standin("set_fails", "Y")
    with raises(errno.EIO):
        opened.set_state(vfio.RESUMING)
    standin("set_fails", "N")
    assert opened.state == vfio.ERROR
    assert opened.set_state(vfio.RUNNING) == -1
    assert opened.state == vfio.ERROR
    opened.reset()
    assert opened.state == vfio.RUNNING


def test_one_lock_for_all_devices(device, opened, new_device, standin):
    """Every version: for states, GET_INFO, resets and sysfs, of whichever device; who waits cannot be killed."""
    other = new_device(STANDIN)
    for use in (lambda: opened.state, lambda: opened.set_state(vfio.RUNNING), lambda: opened.info, opened.reset,
                lambda: other.read("ap_config"), lambda: other.write("assign_domain", 1)):
        standin("hold_lock_ms", 60_000)
        user = threading.Thread(target=use)
        user.start()
        stat = Path(f"/proc/self/task/{user.native_id}/stat")
        wait_for(lambda stat=stat: stat.read_text(encoding="ascii").rpartition(") ")[2].startswith("D"),
                 "the thread to wait for the lock")
        standin("hold_lock_ms", 0)
        user.join(20)
        assert not user.is_alive()
    begin = time.monotonic()
    standin("hold_lock_ms", 1500)
    assert opened.state == vfio.RUNNING and time.monotonic() - begin >= 1.4


def test_states_it_does_not_have(opened):
    for state in (vfio.PRE_COPY, vfio.PRE_COPY_P2P, vfio.RUNNING_P2P, vfio.ERROR):
        with raises(errno.EINVAL):
            opened.set_state(state)
    assert opened.state == vfio.RUNNING


def test_delay(opened, standin):
    """It makes a window, in which the session can be ended from elsewhere."""
    standin("save_delay_ms", 3000)
    standin("sessions_end", "Y")
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
