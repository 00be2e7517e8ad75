# SPDX-License-Identifier: LGPL-2.1-or-later
"""A FAKE of polkit for tests: owns org.freedesktop.PolicyKit1 and answers CheckAuthorization as a file says.

    fake_polkit.py ANSWERS LOG

ANSWERS is a JSON object from action to "yes", "no", "challenge" (polkit wants an authentication) or "silent" (never
answers) or "fail" (answers with an error), "*" for the rest; it is read anew at each question. What everybody may by default
is not among the rest. Each question becomes a line of JSON in LOG. Prints "ready" once it has the name.
"""
import json
import sys

import gi

gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib  # noqa: E402

INTERFACE = """<node><interface name="org.freedesktop.PolicyKit1.Authority">
  <method name="CheckAuthorization">
    <arg type="(sa{sv})" name="subject" direction="in"/>
    <arg type="s" name="action_id" direction="in"/>
    <arg type="a{ss}" name="details" direction="in"/>
    <arg type="u" name="flags" direction="in"/>
    <arg type="s" name="cancellation_id" direction="in"/>
    <arg type="(bba{ss})" name="result" direction="out"/>
  </method>
  <method name="CancelCheckAuthorization"><arg type="s" name="cancellation_id" direction="in"/></method>
</interface></node>"""

ANSWERS, LOG = sys.argv[1:]
DEFAULTS = {"org.apmigd1.inspect": "yes"}


def record(**entry):
    with open(LOG, "a") as log:
        log.write(json.dumps(entry) + "\n")


def on_call(_connection, _sender, _path, _interface, method, arguments, invocation):
    if method == "CancelCheckAuthorization":
        record(cancelled=arguments.unpack()[0])
        invocation.return_value(None)
        return
    (kind, subject), action, details, flags, cancellation = arguments.unpack()
    record(action=action, details=details, kind=kind, sender=subject.get("name"), interactive=bool(flags & 1), id=cancellation)
    with open(ANSWERS) as file:
        answers = DEFAULTS | json.load(file)
    answer = answers.get(action, answers.get("*", "no"))
    if answer == "fail":
        invocation.return_dbus_error("org.freedesktop.PolicyKit1.Error.Failed", "its rules cannot be read")
    elif answer != "silent":
        invocation.return_value(GLib.Variant("((bba{ss}))", ((answer == "yes", answer == "challenge", {}),)))


def main():
    loop = GLib.MainLoop()
    connection = Gio.bus_get_sync(Gio.BusType.SYSTEM, None)
    interface = Gio.DBusNodeInfo.new_for_xml(INTERFACE).interfaces[0]
    connection.register_object("/org/freedesktop/PolicyKit1/Authority", interface, on_call, None, None)
    Gio.bus_own_name_on_connection(connection, "org.freedesktop.PolicyKit1", Gio.BusNameOwnerFlags.NONE,
                                   lambda *_: print("ready", flush=True), lambda *_: loop.quit())
    loop.run()
    sys.exit("fake polkit: the name is lost")


main()
