# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is installed for systemd, the bus and polkit: does it say to them what it should?"""
import configparser
import os
import pathlib
import re
import shutil
import stat
import subprocess
import xml.etree.ElementTree

import pytest
from rig import LIMIT

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("APMIGD_BUILD", ROOT / "build" / "plain"))
# Tenths; the reference for small daemons, systemd-oomd, has 2.0.
EXPOSURE_LIMIT = 15
SERVICES = ["apmigd.service", "apmigd-act.service", "apmigd-fence@.service", "apmigd-metrics.service"]
# Newer than the oldest systemd that is supported, which ignores them with a line in the journal.
NEWER_KEYS = ("RestartSteps", "RestartMaxDelaySec")


def run(*args, **kwargs):
    return subprocess.run(args, capture_output=True, text=True, timeout=3 * LIMIT, **kwargs)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The folder that everything is installed below."""
    folder = tmp_path_factory.mktemp("install")
    done = run("meson", "install", "-C", str(BUILD), "--no-rebuild", "--quiet", "--destdir", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def unit(tree):
    return tree / "usr/lib/systemd/system/apmigd.service"


def settings(unit):
    """Section and key to the list of values."""
    found, section = {}, None
    for line in unit.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault((section, key), []).append(value)
    return found


def test_installed_files(tree):
    """At the places that the interface fixes, with the rights they need."""
    executables = ["usr/sbin/apmigd", "usr/bin/apmigctl", "usr/libexec/apmigd-act", "usr/libexec/apmigd-fence",
                   "etc/libvirt/hooks/qemu.d/zz-apmigd"]
    others = ["usr/lib/systemd/system/apmigd.service", "usr/lib/systemd/system/apmigd-fence.socket",
              "usr/lib/systemd/system/apmigd-act.socket", "usr/lib/systemd/system/apmigd-act.service",
              "usr/lib/systemd/system/apmigd-fence@.service", "usr/lib/systemd/system/apmigd-metrics.service",
              "usr/lib/systemd/system/apmigd-metrics.timer", "usr/lib/sysusers.d/apmigd.conf",
              "usr/lib/systemd/catalog/apmigd.catalog", "usr/share/dbus-1/system-services/org.apmigd1.service",
              "usr/share/dbus-1/system.d/org.apmigd1.conf", "usr/share/dbus-1/interfaces/org.apmigd1.xml",
              "usr/share/polkit-1/actions/org.apmigd1.policy", "usr/share/polkit-1/rules.d/60-apmigd.rules",
              "etc/apmigd/apmigd.conf", "usr/share/apmigd/policy/default.json", "usr/share/apmigd/policy.schema.json",
              "usr/share/man/man1/apmigctl.1", "usr/share/man/man5/apmigd-policy.5", "usr/share/man/man5/apmigd.conf.5",
              "usr/share/man/man5/org.apmigd1.5", "usr/share/man/man8/apmigd.8", "usr/share/man/man8/apmigd-act.8",
              "usr/share/bash-completion/completions/apmigctl"]
    for name in executables + others:
        mode = (tree / name).stat().st_mode
        assert stat.S_ISREG(mode), name
        assert bool(mode & 0o111) == (name in executables), name
        assert not mode & 0o022, name
        assert mode & 0o044 == 0o044, name


def test_hook_script_runs_what_is_installed(tree):
    script = (tree / "etc/libvirt/hooks/qemu.d/zz-apmigd").read_text()
    path = re.search(r"^apmigctl=/(.*)$", script, re.MULTILINE).group(1)
    assert (tree / path).exists()


def complaints(tree, unit, tmp_path):
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace("ExecStart=/", f"ExecStart={tree}/"))
    done = run("systemd-analyze", "verify", "--man=no", str(copy))
    return [line for line in (done.stdout + done.stderr).splitlines()
            if "apmigd" in line and not any(f"'{key}'" in line for key in NEWER_KEYS)]


@pytest.mark.parametrize("name", SERVICES)
def test_each_is_sandboxed_and_bounded(tree, name):
    """A process is worth little to who breaks into it, takes so much memory at most, and one for a request ends."""
    service = tree / "usr/lib/systemd/system" / name
    done = run("systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_LIMIT}", str(service))
    assert done.returncode == 0, done.stdout + done.stderr
    found = settings(service)
    assert re.fullmatch(r"\d+M", found["Service", "MemoryMax"][0]) and ("Service", "TasksMax") in found
    assert (("Service", "RuntimeMaxSec") in found) == ("@" in name)
    assert found["Service", "NoNewPrivileges"] == ["yes"] and found["Service", "LimitCORE"] == ["0"]


def test_no_service_is_forgotten(tree):
    assert sorted(path.name for path in (tree / "usr/lib/systemd/system").glob("*.service")) == sorted(SERVICES)


def test_unit_verifies(tree, unit, tmp_path):
    assert complaints(tree, unit, tmp_path) == []


def test_fence_unit(tree, tmp_path):
    """Its capabilities are the three that it needs; one process a request; nobody but apmigd may ask."""
    fence = tree / "usr/lib/systemd/system/apmigd-fence@.service"
    found = settings(fence)
    capabilities = ["CAP_SYS_PTRACE CAP_DAC_READ_SEARCH CAP_KILL"]
    assert found["Service", "CapabilityBoundingSet"] == found["Service", "AmbientCapabilities"] == capabilities
    assert found["Service", "User"] == ["apmigd-fence"]  # nobody else's
    assert found["Service", "ExecStart"] == ["/usr/libexec/apmigd-fence --peer=apmigd"]
    assert "\nu apmigd-fence " in (tree / "usr/lib/sysusers.d/apmigd.conf").read_text()
    socket = settings(tree / "usr/lib/systemd/system/apmigd-fence.socket")
    assert (socket["Socket", "Accept"], socket["Socket", "SocketUser"], socket["Socket", "SocketMode"]) == (
        ["yes"], ["apmigd"], ["0600"])
    instance = tree / "usr/lib/systemd/system/apmigd-fence@0.service"
    instance.symlink_to(fence.name)
    try:
        assert complaints(tree, instance, tmp_path) == []
    finally:
        instance.unlink()


def test_act_unit(tree, tmp_path):
    """The one process that may manage guests: for apmigd alone, as a user of its own, and with no other right."""
    act = tree / "usr/lib/systemd/system/apmigd-act.service"
    found = settings(act)
    assert found["Service", "CapabilityBoundingSet"] == found["Service", "AmbientCapabilities"] == [""]
    assert found["Service", "User"] == ["apmigd-act"]
    assert found["Service", "ExecStart"] == ["/usr/libexec/apmigd-act --peer=apmigd"]
    assert found["Service", "RestrictAddressFamilies"] == ["AF_UNIX"] and found["Service", "PrivateNetwork"] == ["yes"]
    assert "\nu apmigd-act " in (tree / "usr/lib/sysusers.d/apmigd.conf").read_text()
    assert complaints(tree, act, tmp_path) == []
    unit = tree / "usr/lib/systemd/system/apmigd-act.socket"
    socket = settings(unit)
    assert (socket["Socket", "SocketUser"], socket["Socket", "SocketMode"]) == (["apmigd"], ["0600"])
    assert socket["Socket", "ListenSequentialPacket"] == ["/run/apmigd-act.sock"]
    assert ("Socket", "Accept") not in socket  # one process for all requests
    assert complaints(tree, unit, tmp_path) == []


def test_one_unit_brings_all_that_a_host_needs(unit):
    """Enabled, started, or only brought up by the bus."""
    for section, key in (("Unit", "Wants"), ("Unit", "After"), ("Install", "Also")):
        assert {"apmigd-act.socket", "apmigd-fence.socket"} <= set(settings(unit)[section, key][0].split())


def test_metrics_unit(tree, tmp_path):
    """A user of its own with no right but to write where the collector looks; nothing runs it unless it is enabled."""
    unit = tree / "usr/lib/systemd/system/apmigd-metrics.service"
    found = settings(unit)
    assert found["Service", "DynamicUser"] == ["yes"] and ("Service", "User") not in found
    assert found["Service", "CapabilityBoundingSet"] == found["Service", "AmbientCapabilities"] == [""]
    assert found["Service", "PrivateNetwork"] == ["yes"]
    folder, = found["Service", "ReadWritePaths"]
    assert found["Service", "ExecStart"] == [f"/usr/bin/apmigctl metrics --output={folder}/apmigd.prom"]
    assert ("Install", "WantedBy") not in found
    assert complaints(tree, unit, tmp_path) == []
    group, = found["Service", "SupplementaryGroups"]
    assert f"\ng {group} " in (tree / "usr/lib/sysusers.d/apmigd.conf").read_text()
    timer = tree / "usr/lib/systemd/system/apmigd-metrics.timer"
    assert settings(timer)["Timer", "OnUnitActiveSec"] == ["15"] and complaints(tree, timer, tmp_path) == []
    assert not any(path.is_symlink() for path in (tree / "usr/lib/systemd/system").rglob("*"))


def test_fence_loads_few_libraries(tree):
    """It holds CAP_SYS_PTRACE: GLib and what GLib and the compiler need, and nothing of apmigd's many others."""
    done = run("ldd", tree / "usr/libexec/apmigd-fence")
    assert done.returncode == 0, done.stderr
    loaded = set(re.findall(r"^\s*lib(\S+?)\.so", done.stdout, re.MULTILINE))
    assert "glib-2.0" in loaded
    unwanted = ("json", "gobject", "gio", "mount", "selinux", "blkid", "systemd", "xml2", "virt")
    assert [name for name in sorted(loaded) if name.startswith(unwanted)] == []


def test_unit_keeps_its_promises(unit):
    """Those that no tool checks."""
    found = settings(unit)
    single = {key: values[0] for key, values in found.items() if len(values) == 1}
    assert single["Unit", "StartLimitIntervalSec"] == "0"
    assert single["Service", "Restart"] == "always"
    assert set(single["Unit", "Before"].split()) == {"libvirtd.service", "virtqemud.service"}
    assert single["Service", "Type"] == "notify" and "WatchdogSec" in str(single)
    assert single["Service", "StateDirectoryMode"] == "0700" and single["Service", "RuntimeDirectoryMode"] == "0711"
    assert single["Service", "RuntimeDirectoryPreserve"] == "yes"
    assert single["Service", "LimitCORE"] == "0"
    assert single["Service", "CapabilityBoundingSet"] == ""
    # udev's events come over netlink, and to the host's network namespace alone; IP is closed by its address family.
    assert single["Service", "RestrictAddressFamilies"] == "AF_UNIX AF_NETLINK"
    assert ("Service", "PrivateNetwork") not in found
    # Nothing but its own folders: a lock of somebody else's means nothing to it.
    assert ("Service", "ReadWritePaths") not in found
    # What is read of crypto hardware is in sysfs.
    assert not any("/sys" in value for key in ("InaccessiblePaths", "TemporaryFileSystem")
                   for value in found.get(("Service", key), []))
    # A dependency on libvirt would stop the gate together with what it guards.
    for key in ("Requires", "BindsTo", "PartOf", "Requisite"):
        assert ("Unit", key) not in found


def test_bus_activation_leads_to_the_unit(tree, unit):
    """By its alias, which only an enabled one has."""
    service = configparser.ConfigParser()
    service.read(tree / "usr/share/dbus-1/system-services/org.apmigd1.service")
    section = service["D-BUS Service"]
    assert section["SystemdService"] == "dbus-org.apmigd1.service" == settings(unit)["Install", "Alias"][0]
    assert not (unit.parent / section["SystemdService"]).exists()
    assert section["Name"] == "org.apmigd1" == settings(unit)["Service", "BusName"][0]


def test_bus_policy_lists_what_is_allowed(tree):
    """To everybody each method of the contract but root's, and what only reads; by its name, and nothing else."""
    policy = xml.etree.ElementTree.parse(tree / "usr/share/dbus-1/system.d/org.apmigd1.conf")
    contract = xml.etree.ElementTree.parse(tree / "usr/share/dbus-1/interfaces/org.apmigd1.xml")
    methods = {(i.get("name"), m.get("name")) for i in contract.iter("interface") for m in i.iter("method")}
    roots = {("org.apmigd1.Manager", "AdmitMigration"), ("org.apmigd1.Manager", "RemoveStamps")}
    reading = {("org.freedesktop.DBus." + interface, member) for interface, member in (
        ("Introspectable", "Introspect"), ("ObjectManager", "GetManagedObjects"), ("Peer", "GetMachineId"), ("Peer", "Ping"),
        ("Properties", "Get"), ("Properties", "GetAll"))}
    everybody = policy.find("policy[@context='default']")
    assert [rule.attrib for rule in everybody.findall("deny")] == [{"send_destination": "org.apmigd1"}]
    assert all(set(rule.attrib) == {"send_destination", "send_interface", "send_member"} for rule in everybody.findall("allow"))
    allowed = [(rule.get("send_interface"), rule.get("send_member")) for rule in everybody.findall("allow")]
    assert len(allowed) == len(set(allowed)) and set(allowed) == methods - roots | reading


def test_memory_is_bounded_above_what_a_bus_may_send(unit):
    """dbus-broker keeps up to 512 MiB for a user: what is killed for that opens no gate."""
    service = settings(unit)
    high, most = (int(service["Service", key][0].removesuffix("M")) for key in ("MemoryHigh", "MemoryMax"))
    assert high < most and most > 512


def test_user_is_one_everywhere(tree, unit):
    """The unit's, sysusers' and the bus's; and polkit's is that of apmigd-act."""
    user = settings(unit)["Service", "User"][0]
    act = settings(tree / "usr/lib/systemd/system/apmigd-act.service")["Service", "User"][0]
    rules = (tree / "usr/share/polkit-1/rules.d/60-apmigd.rules").read_text()
    assert re.findall(r'subject.user == "(.*?)"', rules) == [act] and act != user
    policy = xml.etree.ElementTree.parse(tree / "usr/share/dbus-1/system.d/org.apmigd1.conf")
    owners = [rule.get("user") for rule in policy.findall("policy") if rule.find("allow[@own='org.apmigd1']") is not None]
    assert user in owners


def test_user_can_be_made(tree, unit, tmp_path):
    if os.getuid() != 0:
        pytest.skip("systemd-sysusers --root needs root")
    (tmp_path / "etc").mkdir()
    done = run("systemd-sysusers", f"--root={tmp_path}", str(tree / "usr/lib/sysusers.d/apmigd.conf"))
    assert done.returncode == 0, done.stderr
    user = settings(unit)["Service", "User"][0]
    fields = [line.split(":") for line in (tmp_path / "etc/passwd").read_text().splitlines()]
    made = [entry for entry in fields if entry[0] == user]
    assert len(made) == 1 and made[0][2] != "0" and made[0][6].endswith("nologin")


def test_catalog_compiles(tree, tmp_path):
    source = tree / "usr/lib/systemd/catalog/apmigd.catalog"
    folder = tmp_path / "usr/lib/systemd/catalog"
    folder.mkdir(parents=True)
    (tmp_path / "var/lib/systemd/catalog").mkdir(parents=True)
    shutil.copy(source, folder)
    done = run("journalctl", f"--root={tmp_path}", "--update-catalog")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    listed = run("journalctl", f"--root={tmp_path}", "--list-catalog").stdout
    ids = re.findall(r"^-- ([0-9a-f]{32})$", source.read_text(), re.MULTILINE)
    assert ids and len(ids) == len(set(ids))
    for message_id in ids:
        assert message_id in listed
