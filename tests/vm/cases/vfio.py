# SPDX-License-Identifier: LGPL-2.1-or-later
"""VFIO's user interface (linux/vfio.h), as far as the cases need it: a device of one's own, or a look at QEMU's."""

import ctypes
import fcntl
import os
import struct
from contextlib import contextmanager
from pathlib import Path

import proc

ERROR, STOP, RUNNING, STOP_COPY, RESUMING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P = range(8)
STATES = ("ERROR", "STOP", "RUNNING", "STOP_COPY", "RESUMING", "RUNNING_P2P", "PRE_COPY", "PRE_COPY_P2P")
FLAG_RESET, FLAG_PCI, FLAG_AP = 1 << 0, 1 << 1, 1 << 5

_BASE = (ord(";") << 8) + 100
SET_IOMMU, GROUP_SET_CONTAINER, GROUP_GET_DEVICE_FD = _BASE + 2, _BASE + 4, _BASE + 6
DEVICE_GET_INFO, DEVICE_RESET, DEVICE_FEATURE = _BASE + 7, _BASE + 11, _BASE + 17
TYPE1V2_IOMMU = 3
FEATURE_GET, FEATURE_SET = 1 << 16, 1 << 17
FEATURE_MIGRATION, FEATURE_STATE = 1, 2
SYS_PIDFD_GETFD = 438

_libc = ctypes.CDLL(None, use_errno=True)


class Device:
    """A device descriptor."""

    def __init__(self, fd):
        self.fd = fd

    def close(self):
        os.close(self.fd)

    def _feature(self, flags, form, *values):
        data = bytearray(struct.pack("II", 8 + struct.calcsize(form), flags) + struct.pack(form, *values))
        fcntl.ioctl(self.fd, DEVICE_FEATURE, data)
        return struct.unpack_from(form, data, 8)

    @property
    def migration_flags(self):
        return self._feature(FEATURE_GET | FEATURE_MIGRATION, "Q", 0)[0]

    @property
    def state(self):
        return self._feature(FEATURE_GET | FEATURE_STATE, "Ii", 0, -1)[0]

    def set_state(self, state):
        """Returns the descriptor of the data session that this began, or -1."""
        return self._feature(FEATURE_SET | FEATURE_STATE, "Ii", state, -1)[1]

    def reset(self):
        fcntl.ioctl(self.fd, DEVICE_RESET)

    @property
    def info(self):
        """Flags, number of regions and of interrupts."""
        data = bytearray(struct.pack("IIII", 16, 0, 0, 0))
        fcntl.ioctl(self.fd, DEVICE_GET_INFO, data)
        return struct.unpack("IIII", data)[1:]


@contextmanager
def opened(uuid):
    """The mediated device @uuid, opened as QEMU opens it."""
    group_number = os.path.basename(os.readlink(f"/sys/bus/mdev/devices/{uuid}/iommu_group"))
    container = os.open("/dev/vfio/vfio", os.O_RDWR)
    group = os.open(f"/dev/vfio/{group_number}", os.O_RDWR)
    try:
        fcntl.ioctl(group, GROUP_SET_CONTAINER, struct.pack("i", container))
        fcntl.ioctl(container, SET_IOMMU, TYPE1V2_IOMMU)
        device = Device(fcntl.ioctl(group, GROUP_GET_DEVICE_FD, bytearray(str(uuid).encode() + b"\0")))
        try:
            yield device
        finally:
            device.close()
    finally:
        os.close(group)
        os.close(container)


def user_of(uuid):
    """The pid of the QEMU whose command line has the device @uuid, or None."""
    for path, command in proc.read_all("/proc/[0-9]*/cmdline").items():
        if "qemu" in command.partition("\0")[0] and str(uuid) in command:
            return int(path.parent.name)
    return None


def descriptors(pid, text):
    """The numbers of @pid's descriptors whose link has @text in it."""
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if text in os.readlink(path):
                found.append(int(path.name))
        except FileNotFoundError:
            continue
    return found


def look_at_qemu(uuid):
    """The migration state of the device @uuid in the QEMU that has it open, and whether that holds the device's data
    session: (STATE, HOLDS). None when none has it open."""
    try:
        pid = user_of(uuid)
        number = pid and next(iter(descriptors(pid, "[vfio-device]")), None)
        if number is None:
            return None
        pidfd = os.pidfd_open(pid)
        fd = _libc.syscall(SYS_PIDFD_GETFD, pidfd, number, 0)
        os.close(pidfd)
        if fd < 0:
            return None
        device = Device(fd)
        try:
            return device.state, bool(descriptors(pid, "_mig"))
        finally:
            device.close()
    except (FileNotFoundError, ProcessLookupError):
        return None
