# SPDX-License-Identifier: LGPL-2.1-or-later
"""Calls AdmitMigration with a domain XML from a file, which may be larger than an argument of busctl.

    admit_file.py GUEST FILE

Prints "allowed", or "denied: REASON", or "ERROR NAME: MESSAGE".
"""
import sys

import gi

gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib  # noqa: E402

guest, path = sys.argv[1:]
with open(path) as file:
    xml = file.read()
bus = Gio.bus_get_sync(Gio.BusType.SYSTEM, None)
try:
    reply = bus.call_sync("org.apmigd1", "/org/apmigd1", "org.apmigd1.Manager", "AdmitMigration",
                          GLib.Variant("(sssss)", (guest, "migrate", "begin", "-", xml)), None,
                          Gio.DBusCallFlags.NONE, GLib.MAXINT, None)
    allowed, reason, _device_map = reply.unpack()
    print("allowed" if allowed else f"denied: {reason}")
except GLib.Error as error:
    name = Gio.DBusError.get_remote_error(error)
    Gio.DBusError.strip_remote_error(error)
    print(f"{name}: {error.message}")
