# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every XML file that libvirt tests itself with, as a guest that comes in: as it is, with vfio-ap devices more, with some
where libvirt has none, and cut off. What is right is worked out here by another parser, and then asked of the code that the
hook reads with, of a daemon under a lock, and of the hook itself.

libvirt hands its hooks what it has formatted itself: with a UUID, in the canonical form. Of the collection's files, which
people have written, those without are refused.
"""
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import collection
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import common  # noqa: E402 (needs the path)
from common import GLib, Gio, rig  # noqa: E402

READER = rig.BUILD / "tests" / "libvirt-xml" / "read-guests"
CANONICAL = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
MOST_DEVICES = 16  # of vfio-ap, that a guest may have
DEVICE = (b"<hostdev mode='subsystem' type='mdev' model='vfio-ap'>"
          b"<source><address uuid='A1B2C3D4-f1bb-47f0-914d-000000000101'/></source></hostdev>")
PROGRAM_RUNS = 200  # of the hook itself, besides those with anything that it looks for


# --- what is right ----------------------------------------------------------------------------------


def text_of(parent, name):
    """Of the one child of that name; None where there is not exactly one."""
    children = parent.findall(name)
    return "".join(children[0].itertext()) if len(children) == 1 else None


def is_vfio_ap(hostdev):
    return hostdev.get("mode", "subsystem") == "subsystem" and (hostdev.get("type"), hostdev.get("model")) == ("mdev", "vfio-ap")


def address_of(hostdev):
    """The UUID of the mediated device, or "" where there is none to be read."""
    address = hostdev.find("source/address")
    uuid = "" if address is None else address.get("uuid", "")
    return uuid.lower() if CANONICAL.fullmatch(uuid) else ""


def expected(xml):
    """None: it is no guest that libvirt would hand to a hook. Else the same as of read-guests, but for "reduced"."""
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return None
    name, uuid = text_of(root, "name"), text_of(root, "uuid")
    devices = [address_of(hostdev) for hostdev in root.findall("devices/hostdev") if is_vfio_ap(hostdev)]
    if root.tag != "domain" or not name or not uuid or not CANONICAL.fullmatch(uuid) or len(devices) > MOST_DEVICES:
        return None
    return {"name": name, "uuid": uuid.lower(), "affected": devices != [], "has-unnamed": "" in devices,
            "devices": list(dict.fromkeys(device for device in devices if device))}


# --- what is tried ----------------------------------------------------------------------------------


def with_device(xml):
    """Before the last end of a list of devices; None where there is no such list."""
    head, end, tail = xml.rpartition(b"</devices>")
    return head + DEVICE + end + tail if end else None


def with_unnamed_device(xml):
    """Besides one that has a UUID."""
    xml = with_device(xml)
    return xml and xml.replace(DEVICE, DEVICE + b"<hostdev type='mdev' model='vfio-ap'/>")


def with_device_elsewhere(xml):
    """In a comment, in the metadata, and in an element of somebody else; None for what is no domain."""
    start = re.search(rb"<domain\b[^>]*>", xml)
    if not start:
        return None
    devices = b"<devices>" + DEVICE + b"</devices>"
    other = (b"<!--" + devices + b"--><metadata><x:y xmlns:x='urn:x'>" + DEVICE + b"</x:y>" + devices + b"</metadata>"
             b"<devices xmlns='urn:x'>" + DEVICE + b"</devices><x:devices xmlns:x='urn:x'>" + DEVICE + b"</x:devices>")
    return xml[:start.end()] + other + xml[start.end():]


@pytest.fixture(scope="module")
def files():
    try:
        files = collection.get()
    except collection.Unavailable as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    domains = [xml for xml in files.values() if expected(xml)]
    assert len(files) > 2000 and len(domains) > 1500, "this is not libvirt's collection of XML files"
    assert any(expected(xml)["affected"] for xml in domains)
    return files


@pytest.fixture(scope="module")
def cases(files):
    """{what is tried: its XML}"""
    cases = dict(files)
    for how in (with_device, with_unnamed_device, with_device_elsewhere):
        cases.update({f"{path}, {how.__name__}": xml for path, before in files.items() if (xml := how(before))})
    cases.update({f"{path}, cut off": xml[:len(xml) // 2] for path, xml in files.items()})
    return cases


@pytest.fixture(scope="module")
def answers(cases):
    """{what is tried: what read-guests says of it}"""
    return dict(zip(cases, read(cases.values())))


def read(texts):
    texts = list(texts)
    given = b"".join(b"%d\n%b" % (len(text), text) for text in texts)
    process = subprocess.run([READER], input=given, stdout=subprocess.PIPE, env={**os.environ, **rig.ENVIRONMENT})
    lines = process.stdout.splitlines()
    assert process.returncode == 0 and len(lines) == len(texts), \
        f"read-guests ended with {process.returncode} at {texts[min(len(lines), len(texts) - 1)]!r}"
    return [json.loads(line) for line in lines]


def agrees(answer, right):
    return "error" in answer if right is None else {key: answer.get(key) for key in right} == right


# --- the tests --------------------------------------------------------------------------------------


def test_what_is_read_is_right(cases, answers):
    wrong = {name: (answers[name], expected(xml)) for name, xml in cases.items() if not agrees(answers[name], expected(xml))}
    assert wrong == {}


def test_device_counts_where_libvirt_has_it(files, answers):
    """That the cases are what they are meant to be."""
    guests = [path for path, xml in files.items() if expected(xml)]
    affected = {how: Counter(answers[f"{path}, {how}"].get("affected") for path in guests if f"{path}, {how}" in answers)
                for how in ("with_device", "with_device_elsewhere")}
    assert affected["with_device"][True] > 0.9 * len(guests) and affected["with_device"][False] == 0
    assert affected["with_device_elsewhere"][False] > 0.9 * len(guests)
    assert all("error" in answers[f"{path}, cut off"] for path in files)


def test_what_is_passed_on_is_the_same_guest(answers):
    """And nothing else of it."""
    guests = {name: answer for name, answer in answers.items() if "error" not in answer}
    for (name, answer), again in zip(guests.items(), read(answer["reduced"].encode() for answer in guests.values())):
        assert again == answer, name
        root = ElementTree.fromstring(answer["reduced"])
        assert [child.tag for child in root] == ["name", "uuid", "metadata", "devices"], name
        assert len(list(root.iter())) == 5 + 3 * len(answer["devices"]) + answer["has-unnamed"], name


@pytest.fixture
def bus():
    if os.geteuid() != 0:
        pytest.fail("the bus policy lets root own the name of apmigd: run this suite as root", pytrace=False)
    with common.private_bus() as bus:
        yield bus


@pytest.fixture
def daemon(bus):
    daemon = rig.Daemon(bus, bus.folder, rig.APMIGD_SCRIPTED, f"scripted:{bus.folder}/hypervisor")
    with common.started(daemon):
        yield daemon


@pytest.fixture
def manager(daemon, bus):
    return common.Manager(bus)


def admit(manager, guest, xml):
    """(allowed, reason), or the last part of an error's name."""
    try:
        allowed, reason, _ = manager.call("AdmitMigration", GLib.Variant("(sssss)", (guest, "migrate", "begin", "-", xml)))
        return allowed, reason
    except GLib.Error as error:
        return Gio.DBusError.get_remote_error(error).removeprefix(rig.ERROR)


def check_denial(name, answer, right, lock):
    if right is None:
        assert answer == "InvalidGuest", name
    elif right["affected"]:
        assert answer[0] is False and lock.rpartition("/")[2] in answer[1], name
    else:
        assert answer == (True, ""), name


def test_daemon_under_a_lock(daemon, manager, bus, files, cases, answers):
    """As it is, and as the hook hands it on."""
    root, lock = rig.Client(bus), manager.take()
    for name, xml in cases.items():
        if name not in files and not name.endswith(", with_device"):
            continue
        right = expected(xml)
        guest = right["name"] if right else "g1"
        for text in filter(None, (xml.decode(), answers[name].get("reduced"))):
            check_denial(name, admit(manager, guest, text), right, lock)
    held = root.lock(lock)
    assert (held["State"], held["Breaches"]) == ("held", 0)
    assert root.migrations() == [] and daemon.admission_files() == []
    manager.release(lock)


def test_daemon_without_a_lock(daemon, manager, bus, files):
    """The affected ones come in, and apmigd knows by which devices."""
    root = rig.Client(bus)
    for path, xml in files.items():
        right = expected(xml)
        if not right or not right["affected"]:
            continue
        assert admit(manager, right["name"], xml.decode()) == (True, ""), path
        known = [root.migration(migration["path"])["Devices"] for migration in root.migrations()
                 if migration["uuid"] == right["uuid"]]
        assert known == [right["devices"]], path


def test_hook_under_a_lock(daemon, manager, bus, files):
    """The program that libvirt's hook starts."""
    looked_for = re.compile(rb"<metadata|type=['\"]mdev")
    others = [path for path, xml in files.items() if not looked_for.search(xml)]
    sample = [path for path, xml in files.items() if looked_for.search(xml)] + others[::len(others) // PROGRAM_RUNS]
    lock = manager.take()
    for path in sample:
        right = expected(files[path])
        process = subprocess.run(
            [rig.APMIGCTL, "hook", right["name"] if right else "g1", "migrate", "begin", "-"], input=files[path],
            capture_output=True, env={**os.environ, **rig.ENVIRONMENT, "DBUS_SYSTEM_BUS_ADDRESS": bus.address})
        refused = right is None or right["affected"]
        assert (process.returncode, process.stdout) == (int(refused), b""), (path, process.stderr)
        said = process.stderr.decode()
        assert ("may not come in" in said) is refused, path
        assert (lock.rpartition("/")[2] in said) is (refused and right is not None), path
    manager.release(lock)
