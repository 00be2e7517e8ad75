# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who speaks to the private socket: GIO's D-Bus without a bus, and the hook as libvirt runs it."""
import os
import subprocess
import time

from gi.repository import Gio, GLib
from rig import APMIGCTL, ENVIRONMENT, LIMIT, MANAGER, PROPERTIES, ROOT_PATH, BusError, until


class Private:
    """A connection to the private socket, as whoever runs the tests, that is root."""

    def __init__(self, daemon):
        self.connection = Gio.DBusConnection.new_for_address_sync(
            f"unix:path={daemon.runtime}/private", Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT, None, None)
        self.signals = []
        self.connection.signal_subscribe(None, None, None, None, None, Gio.DBusSignalFlags.NONE, self._on_signal)

    def _on_signal(self, connection, sender, path, interface, member, arguments):
        self.signals.append((path, member, arguments.unpack()))

    def call(self, path, interface, member, signature="()", *arguments):
        try:
            reply = self.connection.call_sync(None, path, interface, member, GLib.Variant(signature, arguments), None,
                                              Gio.DBusCallFlags.NONE, LIMIT * 1000, None)
        except GLib.Error as error:
            raise BusError(Gio.DBusError.get_remote_error(error), error.message) from None
        return reply.unpack()

    def send(self, path, interface, member, signature="()", *arguments):
        """Without waiting for the reply."""
        message = Gio.DBusMessage.new_method_call(None, path, interface, member)
        message.set_body(GLib.Variant(signature, arguments))
        self.connection.send_message(message, Gio.DBusSendMessageFlags.NONE)
        self.connection.flush_sync(None)

    def take(self, scope="all", reason="AES rotation", **options):
        return self.call(ROOT_PATH, MANAGER, "TakeLock", "(ssa{sv})", scope, reason, options)[0]

    def release(self, path):
        self.call(ROOT_PATH, MANAGER, "ReleaseLock", "(oa{sv})", path, {})

    def locks(self):
        return self.call(ROOT_PATH, MANAGER, "ListLocks")[0]

    def get(self, path, interface):
        return self.call(path, PROPERTIES, "GetAll", "(s)", interface)[0]

    def wait_for(self, member, condition=lambda arguments: True):
        """The arguments of the first such signal."""
        def find():
            while GLib.MainContext.default().iteration(False):
                pass
            return next((s[2] for s in self.signals if s[1] == member and condition(s[2])), None)
        return until(find, f"signal {member}")

    def close(self):
        if not self.connection.is_closed():
            self.connection.close_sync(None)


class Hook:
    """'apmigctl hook' beside a daemon. Each run gives (exit status, standard error), and how long it took."""

    def __init__(self, daemon, text="[Hook]\n"):
        self.config = daemon.folder / "hook.conf"
        self.config.write_text(text)
        self.environment = {**os.environ, **ENVIRONMENT, "DBUS_SYSTEM_BUS_ADDRESS": daemon.bus.address,
                            "STATE_DIRECTORY": str(daemon.state), "RUNTIME_DIRECTORY": str(daemon.runtime)}
        self.seconds = []

    def run(self, xml, operation="migrate", guest="g1"):
        begin = time.monotonic()
        done = subprocess.run([APMIGCTL, "hook", "--config", self.config, guest, operation, "begin", "-"], input=xml,
                              capture_output=True, text=True, env=self.environment, timeout=2 * LIMIT)
        self.seconds.append(time.monotonic() - begin)
        assert done.stdout == ""
        return done.returncode, done.stderr
