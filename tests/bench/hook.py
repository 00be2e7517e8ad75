# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the hook costs each start, stop and migration of a guest, against a program that does nothing and against the
shortest script that would ask apmigd; on the clock, and in processor time without apmigd's own.

    hook.py [ROUNDS]
"""

import os
import subprocess

import common
from common import rig
from test_hook import Host

ASK = 'xml=$(cat); busctl call org.apmigd1 /org/apmigd1 org.apmigd1.Manager AdmitMigration sssss g1 migrate begin - "$xml"'
# Of the size of a small guest's.
MORE = "".join(f"<controller type='pci' index='{n}' model='pcie-root-port'/>" for n in range(60))


def clock_time(command, **options):
    return common.timed(subprocess.run, command, check=True, stdout=subprocess.DEVNULL, **options)


def domain(scope):
    return rig.domain(scope=scope).replace("<devices>", f"<devices>{MORE}").encode()


class Bench:
    def __init__(self, bus, host):
        self.script = host.script
        self.environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": bus.address, "STATE_DIRECTORY": str(host.state)}

    def _way(self, measure, *command, scope="04.0012"):
        xml = domain(scope)
        return lambda: measure(command, input=xml, env=self.environment)

    def _hook(self, measure, operation, **options):
        return self._way(measure, self.script, "g1", operation, "begin", "-", **options)

    def run(self, count):
        for name, measure in (("on the clock", clock_time), ("processor time", common.processor_time)):
            common.compare(f"Operations that apmigd has nothing to do with, {name}",
                           {"/bin/true": self._way(measure, "/bin/true"),
                            "sh -c :": self._way(measure, "/bin/sh", "-c", ":"),
                            "start": self._hook(measure, "start"), "release": self._hook(measure, "release")}, count)
            common.compare(f"A guest that comes in, {name}",
                           {"sh and busctl": self._way(measure, "/bin/sh", "-c", ASK),
                            "migrate": self._hook(measure, "migrate"),
                            "migrate, not affected": self._hook(measure, "migrate", scope=None),
                            "/bin/true": self._way(measure, "/bin/true")}, count)


def main():
    with common.private_bus() as bus:
        daemon = rig.Daemon(bus, bus.folder, rig.APMIGD_SCRIPTED, f"scripted:{bus.folder}/hypervisor")
        folder = bus.folder / "host"
        folder.mkdir()
        with common.started(daemon):
            Bench(bus, Host(folder)).run(common.rounds(50))


main()
