# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two hosts (tests/hosts) whose guests have a mediated device.

A mediated device exists once in a kernel, so each host has one of its own for a guest, and `virsh migrate --xml` names
the other one.
"""

import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from host import wait_for
from rig import PAGES, Guest, Rig

import vfio

HOSTDEV = """\
    <hostdev mode='subsystem' type='mdev' model='vfio-pci' managed='no'>
      <source><address uuid='{uuid}'/></source><alias name='ua-device'/>
    </hostdev>
"""
OVERRIDE = """\
  <qemu:override><qemu:device alias='ua-device'><qemu:frontend>
    {properties}
  </qemu:frontend></qemu:device></qemu:override>
"""


class Kind:
    """A driver of mediated devices. @properties: of QEMU's vfio-pci, all "on" or "off"."""

    def __init__(self, name, types, session, reusable, **properties):
        self.name, self.types, self.session, self.reusable = name, Path(types), session, reusable
        self.properties = {name.replace("_", "-"): value for name, value in properties.items()}

    def __repr__(self):
        return self.name


# None of them can tell QEMU which memory its device writes to. Each writes to none.
STANDIN = Kind("vfio_ap_standin", "/sys/devices/vfio_ap/matrix/mdev_supported_types/vfio_ap-passthrough",
               session="vfio_ap_mig_file", reusable=True, enable_migration="on")
# It stays in the state in which a QEMU left it.
MTTY = Kind("mtty", "/sys/devices/virtual/mtty/mtty/mdev_supported_types/mtty-1", session="mtty_mig", reusable=False,
            enable_migration="on", x_pre_copy_dirty_page_tracking="off", x_device_dirty_page_tracking="off")
KINDS = [STANDIN, MTTY]


class MediatedDevice:
    living = []

    def __init__(self, kind, queues=()):
        """@queues: pairs of adapter and domain, of a stand-in."""
        self.kind, self.uuid = kind, str(uuid.uuid4())
        (kind.types / "create").write_text(self.uuid, encoding="ascii")
        self.path = Path("/sys/bus/mdev/devices", self.uuid)
        self.living.append(self)
        for adapter, domain in queues:
            self.write("assign_adapter", adapter)
            self.write("assign_domain", domain)
        wait_for(Path("/dev/vfio", (self.path / "iommu_group").readlink().name).exists, "udev to make the group", 10)

    def write(self, attribute, value):
        (self.path / attribute).write_text(f"{value}\n", encoding="ascii")

    def read(self, attribute):
        return (self.path / attribute).read_text(encoding="ascii")

    @property
    def state(self):
        """As its QEMU has it; None without one."""
        seen = vfio.look_at_qemu(self.uuid)
        return seen and seen[0]

    def remove(self):
        """Fails when somebody still has it open."""
        self.living.remove(self)
        subprocess.run(["timeout", "15", "sh", "-c", f"echo 1 >{self.path}/remove"], check=True)

    @classmethod
    def remove_all(cls):
        for device in list(cls.living):
            device.remove()


class DeviceGuest(Guest):
    def __init__(self, name, scope, image, memory, kind, queues):
        super().__init__(name, scope, image, memory)
        self.kind, self.queues, self.devices, self.bare_xml = kind, queues, {}, self.xml

    def xml_for(self, host):
        """The domain with @host's device, which is made when there is none, or none that can be used again."""
        if host in self.devices and not self.kind.reusable:
            self.devices.pop(host).remove()
        if host not in self.devices:
            self.devices[host] = MediatedDevice(self.kind, self.queues)
        properties = "".join(f"<qemu:property name='{name}' type='string' value='{value}'/>"
                             for name, value in self.kind.properties.items())
        return self.bare_xml.replace(
            "<domain ", "<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0' ").replace(
            "  </devices>", HOSTDEV.format(uuid=self.devices[host].uuid) + "  </devices>").replace(
            "</domain>", OVERRIDE.format(properties=properties) + "</domain>")


class DeviceRig(Rig):
    kept = kept_host = None  # a guest that one case leaves to the next, and where it runs

    def borrow_guest(self, kind, scope):
        """A guest with a device of @kind that runs on @kept_host: the one kept, or a new one."""
        if not (self.kept and self.kept.kind is kind and self.kept.scope == scope):
            if self.kept:
                self.clean()
            self.kept_host = self.hosts[0]
            self.kept = self.start_device_guest("g1", self.kept_host, kind, scope)
        return self.kept

    def tidy(self):
        """After a case that went well: every daemon runs, there is no lock, and the kept guest is left alone. Returns
        whether that is in order."""
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            list(pool.map(self._tidy_host, self.hosts))
        places = [host for host in self.hosts if self.kept.name in host.guests()]
        if len(places) != 1 or not places[0].state_of(self.kept.name).startswith("running"):
            return False
        self.kept_host = places[0]
        return self.kept.devices[self.kept_host].state == vfio.RUNNING and not self.kept_host.job(self.kept.name)

    @staticmethod
    def _tidy_host(host):
        host.end_background()
        host.remove_hooks()
        host.restore_install()
        if host.libvirtd.status is not None:
            host.start_libvirtd()
        if host.act.status is not None:
            host.start_act()
        if host.apmigd.status is not None:
            host.start_apmigd()
        for lock in host.locks():
            host.release(lock["id"])

    def start_device_guest(self, name, host, kind, scope=None, queues=((4, 0x12),), pages=PAGES, memory=32, iothreads=0):
        """Starts a guest with a device of @kind and waits until it runs. @queues are those of a stand-in."""
        guest = DeviceGuest(name, scope, self._image(pages), memory, kind, queues if kind is STANDIN else ())
        guest.bare_xml = guest.bare_xml.replace("<os>", f"<iothreads>{iothreads}</iothreads><os>")
        guest.xml = guest.xml_for(host)
        path = f"/run/rig/{name}.xml"
        host.path(path).write_text(guest.xml, encoding="utf-8")
        host.virsh("create", path, timeout=120)
        wait_for(lambda: host.serial_size(name), f"{name} to boot on {host.name}", 60)
        return guest

    def move(self, guest, source, destination, *extra, **options):
        """Starts `virsh migrate` of a guest with a device; see Rig.migrate()."""
        path = f"/run/rig/{guest.name}-moved.xml"
        source.path(path).write_text(guest.xml_for(destination), encoding="utf-8")
        return self.migrate(guest, source, destination, "--xml", path, *extra, **options)

    def clean(self):
        super().clean()
        MediatedDevice.remove_all()
        self.kept = None


def set_parameter(name, value):
    """Of the stand-in."""
    Path("/sys/module/vfio_ap_standin/parameters", name).write_text(f"{value}\n", encoding="ascii")
