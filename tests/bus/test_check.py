# SPDX-License-Identifier: LGPL-2.1-or-later
"""The check before a migration: two hosts, each with apmigd on a bus of its own, and an ssh between them that is none."""
import json
import shutil
import xml.etree.ElementTree as ElementTree

import pytest
import rig
from rig import APMIGCTL, MANAGER, ROOT_PATH, domain, uuid_of

OK, USAGE, NOT_FOUND, UNREACHABLE, WOULD_DENY = 0, 2, 8, 13, 20

G1, G2 = uuid_of(1), uuid_of(2)
DEVICE = "a1b2c3d4-f1bb-47f0-914d-000000000101"
OTHER_DEVICE = "bbbbbbbb-0000-4000-8000-000000000001"
QUEUES = ("02.0005", "02.002c", "05.0005", "05.002c")  # that the sample host's device has

AES, OTHER_AES = "0xb2732827c67f8ef9", "0x1111111111111111"
KEYS = {"02.0005 AES": AES, "02.0005 APKA": "0x755cb8e7740d0001", "02.0005 ASYM": "0x101112131415161718191a1b1c1d1e1f",
        "02.002c AES": AES, "02.002c APKA": "0x755cb8e7740d0001", "02.002c ASYM": "0x101112131415161718191a1b1c1d1e1f",
        "05.0005 WK": "0x" + "f9" * 32, "05.002c WK": "0x" + "e8" * 32}

NODE = f"""<node>
  {domain("g1", G1, None, DEVICE).replace("type='kvm'", "type='test'")}
  {domain("plain", G2, None).replace("type='kvm'", "type='test'")}
</node>"""

# As sd_bus_open_system_remote() calls it: ssh -xT [-p PORT] -- HOST systemd-stdio-bridge
SSH = """#!/bin/sh
while [ "$1" != -- ]; do shift; done
[ "$2" = zhost2 ] || { echo "ssh: no such host" >&2; exit 255; }
exec systemd-stdio-bridge --bus-path=unix:path=%s/bus
"""


class Host:
    """apmigd on a bus of its own, on a machine with an id of its own and the sample hardware."""

    def __init__(self, folder, machine_id):
        folder.mkdir()
        (folder / "machine-id").write_text(f"{machine_id}\n")
        (folder / "node.xml").write_text(NODE)
        self.bus = rig.Bus(folder)
        self.daemon = rig.Daemon(self.bus, folder, rig.APMIGD, f"test://{folder}/node.xml")
        self.daemon.wrapper = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/machine-id && exec "$@"',
                               folder / "machine-id"]
        self.daemon.copy_sysfs()
        self.daemon.end_strangers()
        features = self.daemon.sysfs / "devices/vfio_ap/matrix/features"
        features.write_text(features.read_text().strip() + " migratable\n")
        self.root = rig.Client(self.bus)

    def start(self, **policy):
        if policy:
            self.daemon.policy(**policy)
        self.daemon.start()
        rig.until(lambda: "connected to" in self.daemon.read_log(), "libvirt")
        return self

    def declare(self, **others):
        """Tells it the keys of the guest's queues."""
        self.root.release(self.root.take(",".join(QUEUES)), {"declare-mkvp": {**KEYS, **others}})

    def move_device(self, device, uuid):
        """Gives a mediated device that no guest uses another UUID."""
        devices = self.daemon.sysfs / "bus/mdev/devices"
        (devices / device).rename(devices / uuid)
        for queue in QUEUES:
            (self.daemon.sysfs / "bus/ap/devices" / queue / "status").write_text("assigned\n")

    def describe(self, guest="g1"):
        return self.root.call(ROOT_PATH, MANAGER, "DescribeGuest", "s", guest)[0]

    def check(self, xml):
        """(allowed, reason, findings)"""
        allowed, reason, findings = self.root.call(ROOT_PATH, MANAGER, "CheckMigration", "s", xml)
        return allowed, reason, [tuple(finding) for finding in findings]

    def close(self):
        self.daemon.close()
        self.bus.close()
        if self.daemon.process:
            print(self.daemon.read_log())


@pytest.fixture
def here(folder):
    host = Host(folder / "here", "1" * 32)
    yield host
    host.close()


@pytest.fixture
def there(folder):
    host = Host(folder / "there", "2" * 32)
    yield host
    host.close()


@pytest.fixture
def ctl(here, there, folder):
    """Runs apmigctl on this host; gives (exit status, standard output, standard error)."""
    ssh = folder / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(SSH % there.bus.folder)
    ssh.chmod(0o755)

    def ctl(*arguments):
        path = f"{ssh.parent}:/usr/bin:/bin:/usr/lib/systemd"
        process = here.root.run(APMIGCTL, *arguments, environment={"PATH": path})
        out, err = process.communicate(timeout=2 * rig.LIMIT)
        return process.returncode, out, err
    return ctl


def codes(findings, *severities):
    return sorted({(subject, code) for severity, subject, code, *_ in findings if severity in severities})


# --- two hosts ----------------------------------------------------------------------------------------


def test_all_is_well(here, there, ctl):
    here.start(stamp="off").declare()
    there.start().declare()
    status, out, err = ctl("check", "g1", "--to", "zhost2")
    assert (status, err) == (OK, "") and out.startswith("guest 'g1' may go to zhost2\nnote: nothing tells whether")
    status, out, err = ctl("check", G1, "--to=zhost2", "--explain")
    assert (status, err) == (OK, "")
    rows = [line.split() for line in out.splitlines()]
    assert ["RESULT", "SUBJECT", "FINDING", "SOURCE", "DESTINATION"] in rows
    assert ["ok", "queue", "02.0005", "keys-agree", "AES", f"{AES},", "declared", "AES", f"{AES},", "declared"] in rows
    assert ["ok", "lock", "not-locked", "-", "none"] in rows
    assert sum("hardware-fits" in row for row in rows) == len(QUEUES)
    assert "What to do" not in out and max(len(line) for line in out.splitlines()) <= 120
    answer = json.loads(ctl("check", "g1", "--to", "zhost2", "--json=short")[1])
    assert (answer["Guest"], answer["To"], answer["Allowed"], answer["Reason"]) == ("g1", "zhost2", True, "")
    assert "same data format" in answer["Note"]
    assert {finding["Severity"] for finding in answer["Findings"]} == {"information"}
    assert there.root.migrations() == [] and there.daemon.admission_files() == []
    assert "ADMISSION" not in there.daemon.read_log()
    assert ctl("check", "plain", "--to", "zhost2", "-q") == (OK, "", "")


def test_keys_differ(here, there, ctl):
    here.start().declare()
    there.start().declare(**{"02.002c AES": OTHER_AES})
    status, out, err = ctl("check", "g1", "--to", "zhost2")
    assert (status, err) == (WOULD_DENY, "")
    assert "may not go to zhost2: Master keys differ: AP queue 02.002c" in out
    row = next(line for line in out.splitlines() if line.startswith("ERROR"))
    for part in ("queue 02.002c", "keys-differ", AES, OTHER_AES):
        assert part in row
    assert "  queue 02.002c:\n    Load and set the same master key" in out
    # And the hook would be told the same.
    xml = here.describe()
    allowed, reason, findings = there.check(xml)
    assert codes(findings, "error") == [("queue 02.002c", "keys-differ")] and findings[0][0] == "error"
    assert there.root.admit(xml) == (allowed, reason) == (False, reason) and reason in out


def test_keys_that_are_not_known(here, there, ctl):
    here.start(stamp="digest").declare()
    there.start(keys_unknown="deny")
    allowed, reason, findings = there.check(here.describe())
    assert not allowed and "a digest alone" in reason
    assert codes(findings, "error") == [("stamp", "keys-unknown")]
    there.declare()
    assert there.check(here.describe())[0] is True


def test_hardware_that_does_not_fit(here, there, ctl):
    """As it is, and not as it was read a while ago."""
    here.start().declare()
    there.start().declare()
    assert ctl("check", "g1", "--to", "zhost2")[0] == OK
    devices = there.daemon.sysfs / "bus/mdev/devices"
    (devices / DEVICE).unlink()
    queue = there.daemon.sysfs / "bus/ap/devices/05.0005"
    shutil.rmtree(queue.resolve())
    if queue.is_symlink():
        queue.unlink()
    status, out, _ = ctl("check", "g1", "--to", "zhost2")
    assert status == WOULD_DENY
    assert "device-absent" in out and "queue 05.0005  queue-absent" in out and "usage domain 0005" in out


def test_device_of_another_uuid(here, there, ctl):
    """Said is what the hook would do."""
    here.start().declare()
    there.start(remap_devices="matching").declare()
    there.move_device(DEVICE, OTHER_DEVICE)
    allowed, reason, findings = there.check(here.describe())
    assert (allowed, reason) == (True, "")
    assert [finding for finding in findings if finding[1] == "device"] == [
        ("information", "device", "device-replaced", DEVICE, OTHER_DEVICE, "")]
    assert there.daemon.admission_files() == []


def test_device_that_a_guest_has(here, there, ctl):
    here.start().declare()
    node = there.daemon.folder / "node.xml"
    node.write_text(NODE.replace(domain("plain", G2, None).replace("type='kvm'", "type='test'"),
                                 domain("other", G2, None, OTHER_DEVICE).replace("type='kvm'", "type='test'")))
    there.start(remap_devices="matching").declare()
    there.move_device(DEVICE, OTHER_DEVICE)
    allowed, reason, findings = there.check(here.describe())
    assert not allowed and f"{OTHER_DEVICE} matches, but another guest has it" in reason
    assert codes(findings, "error") == [("device", "no-device")]


def test_locks_on_either_side(here, there, ctl):
    here.start()
    there.start()
    lock = here.root.take("02.*", "AES rotation of spring").rpartition("/")[2]
    status, out, _ = ctl("check", "g1", "--to", "zhost2")
    assert status == WOULD_DENY and f"lock {lock}" in out and "locked-at-source" in out
    assert "locked at the source" in out and f"apmigctl unlock {lock}" in out
    here.root.release(f"{ROOT_PATH}/lock/{lock}")
    there.root.take("04.*", "of other queues")
    assert ctl("check", "g1", "--to", "zhost2")[0] == OK
    lock = there.root.take("02.*", "APKA rotation").rpartition("/")[2]
    status, out, _ = ctl("check", "g1", "--to", "zhost2")
    assert status == WOULD_DENY and "locked-at-destination" in out and f"apmigctl unlock {lock}" in out
    assert codes(there.check(here.describe())[2], "error") == [(f"lock {lock}", "locked-at-destination")]


def test_what_goes_wrong_on_the_way(here, there, ctl):
    here.start()
    status, _, err = ctl("check", "g1", "--to", "zhost3")
    assert status == UNREACHABLE and "no such host" in err and "'zhost3' cannot be reached over ssh" in err
    status, _, err = ctl("check", "g1", "--to", "zhost2")
    assert status == UNREACHABLE and "on host 'zhost2'" in err
    assert ctl("check", "nobody", "--to", "zhost2")[0] == NOT_FOUND
    assert ctl("check", "--to", "zhost2")[0] == USAGE


def test_asking_another_host(here, there, ctl):
    here.start()
    there.start()
    there.root.take("02.*", "over there")
    for arguments in (("-H", "zhost2", "list"), ("list", "--host=zhost2"), ("--host=zhost2", "status")):
        status, out, err = ctl(*arguments)
        assert (status, err) == (OK, "") and "over there" in out
    assert ctl("list") == (OK, "No locks.\n", "")
    assert ctl("-H", "zhost2", "check", "g1")[0] == WOULD_DENY
    assert ctl("lock", "05.*", "from afar", "--host", "zhost2")[0] == OK
    assert [lock["reason"] for lock in there.root.locks()] == ["over there", "from afar"] and here.root.locks() == []
    assert ctl("-H", "zhost2")[0] == USAGE
    assert ctl("hook", "-H", "zhost2", "g1", "migrate", "begin", "-")[0] == USAGE


# --- the members of the bus ---------------------------------------------------------------------------


def test_a_description_has_nothing_to_hide(here):
    here.start()
    root = ElementTree.fromstring(here.describe())
    assert [child.tag for child in root] == ["name", "uuid", "metadata", "devices"]
    stamp = root.find("metadata")[0]
    assert stamp.tag == "{urn:apmigd:stamp:1}stamp" and stamp.get("form") == "full"
    assert [queue.get("at") for queue in stamp.iter("{urn:apmigd:stamp:1}queue")] == list(QUEUES)
    assert [child.tag for child in ElementTree.fromstring(here.describe("plain"))] == ["name", "uuid", "metadata", "devices"]
    assert here.root.start(ROOT_PATH, MANAGER, "DescribeGuest", "s", "nobody").error().short == "NoSuchGuest"
    assert here.root.start(ROOT_PATH, MANAGER, "DescribeGuest", "s", "").error().short == "InvalidGuest"


@pytest.mark.parametrize("xml", ["", "no XML", "<domain/>", "<!DOCTYPE domain><domain/>",
                                 domain().replace("<memory>", "<memory>" + "x" * 600 * 1024)],
                         ids=["empty", "text", "no-name", "document-type", "long"])
def test_what_is_no_guest(running, nobody, xml, folder):
    (folder / "call.txt").write_text(xml)
    process = nobody.run("sh", "-c", 'exec python3 -c "$0" "$1"', CALL, folder / "call.txt")
    out, err = process.communicate(timeout=rig.LIMIT)
    assert out.startswith("org.apmigd1.Error.InvalidGuest:"), err
    assert running.process.poll() is None


# busctl takes no argument of that length.
CALL = """
import sys
from gi.repository import Gio, GLib
bus = Gio.bus_get_sync(Gio.BusType.SYSTEM)
try:
    bus.call_sync("org.apmigd1", "/org/apmigd1", "org.apmigd1.Manager", "CheckMigration",
                  GLib.Variant("(s)", (open(sys.argv[1]).read(),)), None, 0, 10000)
except GLib.Error as error:
    print(Gio.dbus_error_get_remote_error(error) + ": " + error.message)
"""


# --- one host -----------------------------------------------------------------------------------------


def test_explained_on_this_host(here, there, ctl):
    here.start()
    status, out, err = ctl("check", "g1", "--explain")
    assert (status, err) == (OK, "") and "guest 'g1' may come in\n" in out and "This host has no locks." in out
    assert f"its vfio-ap device {DEVICE}" in out and "02.0005,02.002c,05.0005,05.002c" in out
    lock = here.root.take("02.*", "AES rotation").rpartition("/")[2]
    here.root.take("04.*", "of other queues")
    status, out, _ = ctl("check", "g1", "--explain")
    assert status == WOULD_DENY
    rows = [line.split() for line in out.splitlines()]
    assert ["YES", lock, "02.*", "root", "AES", "rotation"] in rows
    assert any(row[:1] == ["no"] and row[2] == "04.*" for row in rows)
    answer = json.loads(ctl("check", "g1", "--explain", "--json=short")[1])
    assert answer["Locks"] == [f"{ROOT_PATH}/lock/{lock}"]
    assert [origin["From"] for origin in answer["Origins"]] == [f"its vfio-ap device {DEVICE}"]
    status, out, _ = ctl("check", "plain", "--explain")
    assert status == OK and "so no lock concerns it" in out
