# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the hook costs each start, stop and migration of a guest, against a program that does nothing and against the
shortest script that would ask apmigd.

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


def domain(scope):
    return rig.domain(scope=scope).replace("<devices>", f"<devices>{MORE}").encode()


def main():
    with common.private_bus() as bus:
        daemon = rig.Daemon(bus, bus.folder, rig.APMIGD_SCRIPTED, f"scripted:{bus.folder}/hypervisor")
        folder = bus.folder / "host"
        folder.mkdir()
        host = Host(folder)
        environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": bus.address, "STATE_DIRECTORY": str(host.state)}

        def way(*command, scope="04.0012"):
            xml = domain(scope)
            return lambda: common.timed(subprocess.run, command, input=xml, env=environment, check=True,
                                        stdout=subprocess.DEVNULL)

        def hook(operation, **options):
            return way(host.script, "g1", operation, "begin", "-", **options)

        with common.started(daemon):
            count = common.rounds(50)
            common.compare("Operations that apmigd has nothing to do with",
                           {"/bin/true": way("/bin/true"), "sh -c :": way("/bin/sh", "-c", ":"), "start": hook("start"),
                            "release": hook("release")}, count)
            common.compare("A guest that comes in",
                           {"sh and busctl": way("/bin/sh", "-c", ASK), "migrate": hook("migrate"),
                            "migrate, not affected": hook("migrate", scope=None), "/bin/true": way("/bin/true")}, count)


main()
