# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two (or more) real libvirt hosts on one machine, with guests that dirty their memory for ever.

    with Rig(install=DESTDIR) as rig:
        a, b = rig.hosts
        guest = rig.start_guest("g1", a, scope="04.0012")
        move = rig.migrate(guest, a, b, bandwidth=1)
        rig.wait_migrating(guest, a)
        ...
        move.wait()
        assert rig.where(guest) is a

Needs root. Nothing is left on the machine: everything of a host dies with its first process (see host_init.py).
"""

import atexit
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from host import ENVIRONMENT, HERE, Host, Process, wait_for

PREFIX = "apmigd-rig-"
PAGES = 1024  # 4 MiB dirtied 18 times a second: with a bandwidth of 1 MiB/s a migration never ends by itself
FLOPPY_SIZE = 1474560

DOMAIN = """\
<domain type='qemu'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <metadata>{metadata}</metadata>
  <memory unit='MiB'>{memory}</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='fd'/></os>
  <on_poweroff>destroy</on_poweroff>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='floppy'>
      <driver name='qemu' type='raw'/><source file='{image}'/><target dev='fda'/><readonly/>
    </disk>
    <controller type='usb' model='none'/>
    <serial type='file'><source path='/var/lib/libvirt/serial/{name}' append='on'/></serial>
    <memballoon model='none'/>
  </devices>
</domain>
"""
METADATA = "<apmigd:keys xmlns:apmigd='urn:apmigd:1' scope='{}'/>"


class Guest:
    """@scope: what its keys are, or None for a guest that apmigd has nothing to do with."""

    def __init__(self, name, scope, image, memory):
        self.name, self.scope, self.uuid = name, scope, str(uuid.uuid4())
        metadata = METADATA.format(scope) if scope else ""
        self.xml = DOMAIN.format(name=name, uuid=self.uuid, metadata=metadata, memory=memory, image=image)

    def __str__(self):
        return self.name


class Migration:
    """A `virsh migrate` under way."""

    def __init__(self, process: Process):
        self.process = process

    @property
    def ended(self):
        return self.process.status is not None

    def wait(self, timeout=60):
        """Returns whether it succeeded."""
        return self.process.wait(timeout) == 0

    @property
    def message(self):
        return self.process.output.strip()

    @property
    def duration(self):
        return self.process.duration


def reap_leftovers(folder):
    """Removes what earlier runs left that were killed: their processes end by themselves, their folders do not."""
    for root in Path(folder).glob(PREFIX + "*"):
        try:
            with open(root / "owner", encoding="ascii") as owner:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(root, ignore_errors=True)
        except (BlockingIOError, FileNotFoundError):
            continue


class Rig:
    def __init__(self, names=("host-a", "host-b"), install=None):
        if os.geteuid() != 0:
            raise PermissionError("the rig makes namespaces and mounts: run it as root")
        reap_leftovers(tempfile.gettempdir())
        self.root = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._owner = open(self.root / "owner", "w", encoding="ascii")
        fcntl.flock(self._owner, fcntl.LOCK_EX)
        self.hosts, self._images, self._building = [], {}, threading.Lock()
        atexit.register(self.close)
        try:
            self._start(names, install)
        except BaseException:
            self.close()
            raise

    def _start(self, names, install):
        addresses = {name: f"10.77.0.{number}" for number, name in enumerate(names, 1)}
        for name, address in addresses.items():
            self.hosts.append(Host(self.root, name, address, addresses, install))
        self._connect()
        for host in self.hosts:
            host.start_bus()
            host.start_libvirtd(wait=False)
        for host in self.hosts:
            host.wait_libvirtd()
        if install:
            for host in self.hosts:
                host.start_act()
                host.start_apmigd()

    def _connect(self):
        """A bridge in the first host; each other one has a link to it."""
        first = self.hosts[0]
        self._ip(first, "link", "add", "lan0", "type", "bridge")
        for number, host in enumerate(self.hosts[1:], 1):
            self._ip(first, "link", "add", f"port{number}", "type", "veth", "peer", "name", "lan0", "netns", host.pid)
            self._ip(first, "link", "set", f"port{number}", "master", "lan0", "up")
        for host in self.hosts:
            self._ip(host, "address", "add", f"{host.address}/24", "dev", "lan0")
            self._ip(host, "link", "set", "lan0", "up")

    @staticmethod
    def _ip(host, *argv):
        # Only the network namespace: `netns PID` must mean a pid of out here.
        subprocess.run(["nsenter", "-t", str(host.pid), "-n", "ip", *map(str, argv)], check=True, env=ENVIRONMENT,
                       timeout=20)

    def close(self):
        atexit.unregister(self.close)
        for host in self.hosts:
            host.close()
        self.hosts = []
        self._owner.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def clean(self):
        """Back to the beginning: no guest, no lock, no hook of a test, and every daemon runs."""
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            for step in (self._end_daemons, self._end_guests, self._start_daemons):
                list(pool.map(step, self.hosts))  # each on all hosts before the next on any

    @staticmethod
    def _end_daemons(host):
        host.end_background()
        host.remove_hooks()
        host.stop_apmigd(signal.SIGKILL)
        host.restore_install()
        host.stop_act()
        if host.libvirtd.status is not None:
            host.start_libvirtd(wait=False)

    @staticmethod
    def _end_guests(host):
        host.wait_libvirtd()
        host.end_guests()
        host.forget_apmigd()

    @staticmethod
    def _start_daemons(host):
        if host.install:
            host.start_act()
        host.start_apmigd()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # --- guests ----------------------------------------------------------------------------------

    def _image(self, pages):
        """A floppy with the boot sector assembled to dirty @pages pages."""
        with self._building:
            if pages not in self._images:
                self._images[pages] = self._build_image(pages)
            return self._images[pages]

    def _build_image(self, pages):
        binary, image = self.root / "guest.o", self.root / f"guest-{pages}.img"
        subprocess.run(["as", "--32", "--defsym", f"PAGES={pages}", "-o", binary, HERE / "guest.S"], check=True)
        subprocess.run(["ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary", "-o", image, binary],
                       check=True)
        os.truncate(image, FLOPPY_SIZE)
        return image

    def start_guest(self, name, host, scope=None, pages=PAGES, memory=32, define=False):
        """Starts a guest, transient unless @define, and waits until it runs."""
        guest = Guest(name, scope, self._image(pages), memory)
        path = f"/run/rig/{name}.xml"
        host.path(path).write_text(guest.xml, encoding="utf-8")
        host.virsh("define" if define else "create", path)
        if define:
            host.virsh("start", name)
        wait_for(lambda: host.serial_size(name), f"{name} to boot on {host.name}")
        return guest

    def start_guests(self, count, host, prefix="g", **options):
        """Several at once."""
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(lambda n: self.start_guest(f"{prefix}{n}", host, **options), range(1, count + 1)))

    def where(self, guest, timeout=10):
        """The host where the guest runs: its serial log grows there, and nowhere else. None: nowhere."""
        def sizes():
            return [host.serial_size(guest.name) for host in self.hosts]

        before, end = sizes(), time.monotonic() + timeout
        while time.monotonic() < end:
            time.sleep(0.06)
            grown = [now - then for now, then in zip(sizes(), before)]
            if max(grown) >= 5:
                places = [host for host, more in zip(self.hosts, grown) if more]
                if len(places) > 1:  # it may have moved meanwhile: look again
                    before = sizes()
                    continue
                return places[0]
        return None

    # --- migrations ------------------------------------------------------------------------------

    def migrate(self, guest, source, destination, *extra, direct=False, bandwidth=None):
        """Starts `virsh migrate` on @source. @bandwidth in MiB/s; with 1 it lasts until it is ended."""
        argv = ["virsh", "-q", "-c", "qemu:///system", "migrate", "--live", *extra]
        if not direct:
            argv.append("--p2p")
        if bandwidth:
            argv += ["--bandwidth", str(bandwidth)]
        argv += [guest.name, f"qemu+tcp://{destination.address}/system"]
        return Migration(source.spawn(*argv))

    def finish_migration(self, guest, source):
        """Gives a slow migration all the bandwidth there is, so that it completes."""
        source.virsh("migrate-setspeed", guest.name, "10000")

    def wait_migrating(self, guest, source, timeout=60):
        """Until memory is being sent."""
        wait_for(lambda: source.memory_sent(guest.name), f"memory of {guest.name} sent by {source.name}", timeout)
