# SPDX-License-Identifier: LGPL-2.1-or-later
"""Connections of the test run itself to a host's libvirtd and bus, for what is asked again and again: a process for
each question costs more than the question, and far more in a machine that is emulated. Both are opened at the first
question and again after they were lost."""

import ctypes
import os
from contextlib import contextmanager

import gi
import libvirt

gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib  # noqa: E402 (needs the version)

_libc = ctypes.CDLL(None, use_errno=True)
libvirt.registerErrorHandler(lambda *_: None, None)  # it would print each error

MIGRATION_OUT = libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT

_STATES = ("no state", "running", "idle", "paused", "in shutdown", "shut off", "crashed", "pmsuspended")
_REASONS = {1: "RUNNING", 3: "PAUSED", 5: "SHUTOFF"}
_TEXT = {"POSTCOPY": "post-copy", "POSTCOPY_FAILED": "post-copy failed", "FROM_SNAPSHOT": "from snapshot"}


@contextmanager
def network_of(pid):
    """The calling thread's network is that of @pid: a socket made meanwhile stays in it."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    other = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        _enter(other)
        try:
            yield
        finally:
            _enter(own)
    finally:
        os.close(own)
        os.close(other)


def _enter(fd):
    if _libc.setns(fd, 0):
        raise OSError(ctypes.get_errno(), "setns")


def _reason_name(state, reason):
    prefix = f"VIR_DOMAIN_{_REASONS.get(state)}_"
    for name, value in vars(libvirt).items():
        if name.startswith(prefix) and value == reason and not name.endswith("_LAST"):
            word = name.removeprefix(prefix)
            return _TEXT.get(word, word.lower().replace("_", " "))
    return "unknown"


class Libvirt:
    """Over TCP, which the hosts listen on without authentication."""

    def __init__(self, pid):
        self._pid, self._connection = pid, None

    def _ask(self, question):
        """That the connection is lost shows at the first question after that."""
        if self._connection:
            try:
                return question(self._connection)
            except libvirt.libvirtError:
                if self._connection.isAlive():
                    raise
        with network_of(self._pid):
            self._connection = libvirt.open("qemu+tcp://127.0.0.1/system")
        return question(self._connection)

    def _ask_about(self, name, question):
        """None when there is no such guest, or no answer about it."""
        try:
            return self._ask(lambda connection: question(connection.lookupByName(name)))
        except libvirt.libvirtError:
            return None

    def _list(self, flags):
        return self._ask(lambda connection: [guest.name() for guest in connection.listAllDomains(flags)])

    def guests(self):
        """Names of the active guests."""
        return self._list(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)

    def defined(self):
        """Names of the guests that are not active."""
        return self._list(libvirt.VIR_CONNECT_LIST_DOMAINS_INACTIVE)

    def state_of(self, name):
        """As `virsh domstate --reason` has it; "" when there is no such guest."""
        found = self._ask_about(name, lambda guest: guest.state())
        return f"{_STATES[found[0]]} ({_reason_name(*found)})" if found else ""

    def job(self, name):
        """What virDomainGetJobStats says; {} without a job."""
        stats = self._ask_about(name, lambda guest: guest.jobStats())
        return stats if stats and stats.get("type") != libvirt.VIR_DOMAIN_JOB_NONE else {}


class Bus:
    """A host's system bus; the caller is root."""

    def __init__(self, socket):
        self._address, self._connection = f"unix:path={socket}", None

    def _connected(self):
        if not self._connection or self._connection.is_closed():
            flags = (Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT | Gio.DBusConnectionFlags.MESSAGE_BUS_CONNECTION)
            self._connection = Gio.DBusConnection.new_for_address_sync(self._address, flags, None, None)
            self._connection.set_exit_on_close(False)
        return self._connection

    def call(self, path, interface, method, arguments=None, timeout=30):
        """Calls org.apmigd1, which must be there. Returns the values. @arguments: a GLib.Variant."""
        return self._connected().call_sync("org.apmigd1", path, interface, method, arguments, None,
                                           Gio.DBusCallFlags.NO_AUTO_START, int(timeout * 1000), None).unpack()

    def get(self, path, interface, name, timeout=30):
        return self.call(path, "org.freedesktop.DBus.Properties", "Get", GLib.Variant("(ss)", (interface, name)),
                         timeout)[0]


BusError = GLib.Error
