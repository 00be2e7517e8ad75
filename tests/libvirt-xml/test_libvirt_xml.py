# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every XML file that libvirt tests itself with, as a guest that comes in: as it is, with vfio-ap devices more, with some
where libvirt has none, and cut off. What is right is worked out here by another parser, and then asked of the code that the
hook reads with, of a daemon under a lock, and of the hook itself.

A file is affected if it has a vfio-ap device, one in QEMU's command line, or an element of ours. All others come in, whatever
they are: with a UUID in any form or none, cut off, or no guests. An affected one that cannot be read is refused.
"""
import json
import os
import re
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import collection
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import common  # noqa: E402 (needs the path)
from common import GLib, Gio, rig  # noqa: E402

READER = rig.BUILD / "tests" / "libvirt-xml" / "read-guests"
QEMU = "{http://libvirt.org/schemas/domain/qemu/1.0}"
MOST_DEVICES = 16  # of vfio-ap, that a guest may have
DEVICE = (b"<hostdev mode='subsystem' type='mdev' model='vfio-ap'>"
          b"<source><address uuid='A1B2C3D4-f1bb-47f0-914d-000000000101'/></source></hostdev>")
ARGUMENT = (b"<q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'>"
            b"<q:arg value='{&quot;driver&quot;:&quot;vfio-ap&quot;}'/></q:commandline>")


# --- what is right ----------------------------------------------------------------------------------


def text_of(parent, name):
    """Of the one child of that name; None where there is not exactly one."""
    children = parent.findall(name)
    return "".join(children[0].itertext()) if len(children) == 1 else None


def uuid_of(text):
    """In the canonical form; None where it is none. libvirt takes hyphens and blanks between pairs of digits."""
    pairs = re.fullmatch(r"(?:[- ]*([0-9a-f]{2})){16}", text.strip().lower())
    digits = re.sub("[- ]", "", text.strip().lower())
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])) if pairs else None


def is_vfio_ap(hostdev):
    return hostdev.get("mode", "subsystem") == "subsystem" and (hostdev.get("type"), hostdev.get("model")) == ("mdev", "vfio-ap")


def address_of(hostdev):
    """The UUID of the mediated device, or "" where there is none to be read."""
    address = hostdev.find("source/address")
    return ("" if address is None else uuid_of(address.get("uuid", ""))) or ""


def is_in_command_line(root):
    return any("vfio-ap" in argument.get("value", "") for argument in root.findall(f"{QEMU}commandline/{QEMU}arg"))


def expected(xml):
    """What read-guests says of it, but for "reduced": {} of an error, and no more than that of one that is not affected."""
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        root = None
    if root is None or root.tag != "domain":
        return {} if b"vfio-ap" in xml or b"urn:apmigd:" in xml else {"affected": False}
    devices = [address_of(hostdev) for hostdev in root.findall("devices/hostdev") if is_vfio_ap(hostdev)]
    devices += [""] * is_in_command_line(root)
    if not devices:
        return {"affected": False}
    name, uuid = text_of(root, "name"), uuid_of(text_of(root, "uuid") or "")
    if not name or not uuid or len(devices) > MOST_DEVICES:
        return {}
    return {"name": name, "uuid": uuid, "affected": True, "has-unnamed": "" in devices,
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


def with_device_in_command_line(xml):
    """The last child of the root."""
    head, end, tail = xml.rpartition(b"</domain>")
    return head + ARGUMENT + end + tail if end else None


def with_device_elsewhere(xml):
    """In a comment, in the metadata, and in an element of somebody else; None for what is no domain."""
    start = re.search(rb"<domain\b[^>]*>", xml)
    if not start:
        return None
    devices = b"<devices>" + DEVICE + b"</devices>"
    other = (b"<!--" + devices + b"--><metadata><x:y xmlns:x='urn:x'>" + DEVICE + b"</x:y>" + devices + b"</metadata>"
             b"<devices xmlns='urn:x'>" + DEVICE + b"</devices><x:devices xmlns:x='urn:x'>" + DEVICE + b"</x:devices>")
    return xml[:start.end()] + other + xml[start.end():]


def guests_of(files):
    """Those that are no other thing than a guest."""
    return [path for path, xml in files.items() if re.search(rb"\A(<!--.*?-->|<\?.*?\?>|\s)*<domain\b", xml, re.DOTALL)]


@pytest.fixture(scope="module")
def files():
    try:
        files = collection.get()
    except collection.Unavailable as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    assert len(files) > 2000 and len(guests_of(files)) > 1500, "this is not libvirt's collection of XML files"
    assert any(expected(xml).get("affected") for xml in files.values())
    return files


@pytest.fixture(scope="module")
def cases(files):
    """{what is tried: its XML}"""
    cases = dict(files)
    for how in (with_device, with_unnamed_device, with_device_in_command_line, with_device_elsewhere):
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
    return {key: answer.get(key) for key in right} == right if right else "error" in answer


# --- the tests --------------------------------------------------------------------------------------


def test_what_is_read_is_right(cases, answers):
    wrong = {name: (answers[name], expected(xml)) for name, xml in cases.items() if not agrees(answers[name], expected(xml))}
    assert wrong == {}


def test_all_others_come_in(files, answers):
    """By the plainest rule there is."""
    refused = {path: answers[path] for path, xml in files.items()
               if b"vfio-ap" not in xml and b"urn:apmigd:" not in xml and answers[path].get("affected") is not False}
    assert refused == {}


def test_device_counts_where_libvirt_has_it(files, answers):
    """That the cases are what they are meant to be. A few of the collection's guests are not as libvirt would write them."""
    guests = guests_of(files)
    answered = {how: Counter(str(answers[f"{path}, {how}"].get("affected")) for path in guests if f"{path}, {how}" in answers)
                for how in ("with_device", "with_device_in_command_line", "with_device_elsewhere")}
    for how in ("with_device", "with_device_in_command_line"):
        assert answered[how]["True"] > 0.9 * len(guests) and answered[how]["False"] == 0
    assert answered["with_device_elsewhere"]["False"] > 0.9 * len(guests)
    assert all(answers[f"{path}, cut off"].get("affected") is not True for path in files)


def test_what_is_passed_on_is_the_same_guest(answers):
    """And nothing else of it."""
    guests = {name: answer for name, answer in answers.items() if "error" not in answer}
    for (name, answer), again in zip(guests.items(), read(answer["reduced"].encode() for answer in guests.values())):
        assert again == answer, name
        root = ElementTree.fromstring(answer["reduced"])
        identity = [child for child in ("name", "uuid") if answer[child]]
        assert [child.tag for child in root] == [*identity, "metadata", "devices"], name
        assert len(list(root.iter())) == 3 + len(identity) + 3 * len(answer["devices"]) + answer["has-unnamed"], name


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
    if not right:
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
        for text in filter(None, (xml.decode(), answers[name].get("reduced"))):
            check_denial(name, admit(manager, right.get("name", "g1"), text), right, lock)
    held = root.lock(lock)
    assert (held["State"], held["Breaches"]) == ("held", 0)
    assert root.migrations() == [] and daemon.admission_files() == []
    manager.release(lock)


def test_daemon_without_a_lock(daemon, manager, bus, files):
    """The affected ones come in, and apmigd knows by which devices."""
    root = rig.Client(bus)
    for path, xml in files.items():
        right = expected(xml)
        if not right.get("affected"):
            continue
        assert admit(manager, right["name"], xml.decode()) == (True, ""), path
        known = [root.migration(migration["path"])["Devices"] for migration in root.migrations()
                 if migration["uuid"] == right["uuid"]]
        assert known == [right["devices"]], path


def check_hook(path, xml, operation, lock, environment):
    right = expected(xml)
    process = subprocess.run([rig.APMIGCTL, "hook", right.get("name", "g1"), operation, "begin", "-"], input=xml,
                             capture_output=True, env=environment)
    refused = right.get("affected", operation == "migrate")
    assert (process.returncode, process.stdout) == (int(refused), b""), (path, process.stderr)
    said = process.stderr.decode()
    assert ("may not come in" in said) is refused, path
    assert (lock.rpartition("/")[2] in said) is right.get("affected", False), path
    assert right.get("affected") is not False or said == "", path


def test_hook_under_a_lock(daemon, manager, bus, files):
    """The program that libvirt's hook starts: for every guest, for some of what is none, and for some saved ones."""
    guests, paths = guests_of(files), list(files)
    lock = manager.take()
    environment = {**os.environ, **rig.ENVIRONMENT, "DBUS_SYSTEM_BUS_ADDRESS": bus.address}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = [pool.submit(check_hook, path, files[path], operation, lock, environment)
                for operation, some in (("migrate", {*guests, *paths[::20]}), ("restore", paths[::20])) for path in some]
        for run in runs:
            run.result()
    manager.release(lock)
