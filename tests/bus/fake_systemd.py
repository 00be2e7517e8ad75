# SPDX-License-Identifier: LGPL-2.1-or-later
"""A FAKE of systemd for tests: owns org.freedesktop.systemd1 and has the units that a file names.

    fake_systemd.py UNITS

UNITS is a JSON object from a unit's name to [ActiveState, StateChangeTimestamp]; it is read anew at each question. A
unit that is not in it has the LoadState "not-found", as systemd says it, and one that is "masked" that. Prints "ready" once
it has the name.
"""
import json
import sys

import gi

gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib  # noqa: E402

INTERFACE = """<node><interface name="org.freedesktop.systemd1.Unit">
  <property name="LoadState" type="s" access="read"/>
  <property name="ActiveState" type="s" access="read"/>
  <property name="StateChangeTimestamp" type="t" access="read"/>
</interface></node>"""
NAMES = [f"{name}.{kind}" for name in ("libvirtd", "virtqemud", "libvirtd-ro", "virtqemud-ro") for kind in ("service", "socket")]


def main():
    loop = GLib.MainLoop()
    connection = Gio.bus_get_sync(Gio.BusType.SYSTEM, None)
    interface = Gio.DBusNodeInfo.new_for_xml(INTERFACE).interfaces[0]

    def register(name):
        def get(_connection, _sender, _path, _interface, member):
            with open(sys.argv[1]) as file:
                unit = json.load(file).get(name)
            state, time = unit or ("inactive", 0)
            load = state if state == "masked" else "loaded" if unit else "not-found"
            return {"LoadState": GLib.Variant("s", load),
                    "ActiveState": GLib.Variant("s", "inactive" if load == "masked" else state), "StateChangeTimestamp": GLib.Variant("t", time)}[member]
        path = "/org/freedesktop/systemd1/unit/" + name.replace(".", "_2e").replace("-", "_2d")
        connection.register_object(path, interface, None, get, None)

    for name in NAMES:
        register(name)
    Gio.bus_own_name_on_connection(connection, "org.freedesktop.systemd1", Gio.BusNameOwnerFlags.NONE,
                                   lambda *_: print("ready", flush=True), lambda *_: loop.quit())
    loop.run()
    sys.exit("fake systemd: the name is lost")


main()
