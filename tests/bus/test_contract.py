# SPDX-License-Identifier: LGPL-2.1-or-later
"""The running daemon against dbus/org.apmigd1.xml, and what it tells without being asked."""
import xml.etree.ElementTree as ElementTree

import pytest
from rig import LIMIT, LOCK, MANAGER, MIGRATION, NAME, ROOT_PATH, SOURCE, domain, until, uuid_of

EMITS_CHANGED = "org.freedesktop.DBus.Property.EmitsChangedSignal"


def describe_member(interface, member):
    """What a caller can rely on: a signature with names, or type, access and whether changes are told."""
    if member.tag == "property":
        annotations = {a.get("name"): a.get("value") for a in member.iter("annotation")}
        emits = annotations.get(EMITS_CHANGED, "true")
        return (member.tag, interface, member.get("name")), (member.get("type"), member.get("access"), emits)
    default = "in" if member.tag == "method" else "out"
    arguments = [(a.get("direction", default), a.get("type"), a.get("name")) for a in member.iter("arg")]
    return (member.tag, interface, member.get("name")), arguments


def describe(xml, *interfaces):
    node = ElementTree.fromstring(xml)
    members = [describe_member(interface.get("name"), member)
               for interface in node.iter("interface") if interface.get("name") in interfaces
               for member in interface if member.tag in ("method", "signal", "property")]
    assert len(dict(members)) == len(members), "a member is there twice"
    return dict(members)


def contract(*interfaces):
    return describe((SOURCE / "dbus" / "org.apmigd1.xml").read_text(), *interfaces)


@pytest.fixture
def introspect(root):
    def introspect(path):
        process = root.run("busctl", "introspect", "--xml-interface", NAME, path)
        out, err = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, err
        return out
    return introspect


def test_manager_is_as_published(running, introspect):
    """The introspection XML is the source: the running daemon has every member of it, and no other."""
    xml = introspect(ROOT_PATH)
    assert describe(xml, MANAGER) == contract(MANAGER)
    assert "org.freedesktop.DBus.ObjectManager" in {i.get("name") for i in ElementTree.fromstring(xml).iter("interface")}


def test_lock_is_as_published(running, root, introspect):
    assert describe(introspect(root.take()), LOCK) == contract(LOCK)


def test_migration_is_as_published(running, root, introspect):
    assert root.admit(domain()) == (True, "")
    path = root.migrations()[0]["path"]
    assert describe(introspect(path), MIGRATION) == contract(MIGRATION)


def test_published_interfaces_are_those_tested():
    node = ElementTree.fromstring((SOURCE / "dbus" / "org.apmigd1.xml").read_text())
    assert {i.get("name") for i in node.iter("interface")} == {MANAGER, LOCK, MIGRATION}


def test_properties_can_all_be_read(running, root):
    """GetAll gives each property of the contract, so none of them fails."""
    lock = root.take("05.*")
    assert root.admit(domain()) == (True, "")
    for path, interface in ((ROOT_PATH, MANAGER), (lock, LOCK), (root.migrations()[0]["path"], MIGRATION)):
        names = {name for kind, _, name in contract(interface) if kind == "property"}
        assert set(root.get(path, interface)) == names


def test_what_a_lock_shows(running, root):
    lock = root.take("5.12,04.0012", "AES rotation", {"on-busy": "wait", "change-id": "CHG1", "expected-duration-usec": 7})
    shown = root.lock(lock)
    assert lock == f"/org/apmigd1/lock/{shown['Id']}" and len(shown["Id"]) == 8
    assert shown["Scope"] == "04-05.0012"
    assert (shown["Reason"], shown["ChangeId"], shown["OnBusy"]) == ("AES rotation", "CHG1", "wait")
    assert (shown["OwnerUid"], shown["OwnerName"], shown["Origin"]) == (0, "root", "request")
    assert (shown["State"], shown["Waiting"], shown["Blockers"], shown["Breaches"]) == ("held", "", [], 0)
    assert shown["ExpectedDuration"] == 7
    assert 1_700_000_000_000_000 < shown["RequestedAt"] <= shown["HeldAt"]
    assert (shown["Result"], shown["Message"]) == ("", "")
    assert root.locks() == [{"path": lock, "id": shown["Id"], "scope": "04-05.0012", "state": "held", "uid": 0,
                             "reason": "AES rotation", "since": shown["RequestedAt"]}]


def test_what_the_manager_shows(running, root):
    version = running.bus.start(running.program, "--version").communicate(timeout=LIMIT)[0]
    manager = root.manager()
    assert f"apmigd {manager['Version']}\n" == version
    assert (manager["Locked"], manager["HookInstalled"], manager["HookLastCalled"]) == (False, False, 0)
    lock = root.take("04.0012")
    assert root.manager()["Locked"] is True
    until(lambda: root.manager()["HypervisorState"] == "complete", "a complete reading")
    root.release(lock)
    assert root.manager()["Locked"] is False
    assert root.manager()["HypervisorState"] == "connected"
    root.admit(domain())
    assert root.manager()["HookLastCalled"] > 1_700_000_000_000_000


def test_hook_installed_is_looked_up_each_time(running, root, folder):
    hook = folder / "hooks" / "qemu.d" / "zz-apmigd"
    hook.parent.mkdir(parents=True)
    hook.write_text("#!/bin/sh\n")
    assert root.manager()["HookInstalled"] is False  # not executable
    hook.chmod(0o755)
    assert root.manager()["HookInstalled"] is True
    hook.unlink()
    assert root.manager()["HookInstalled"] is False


def test_breach_is_told_from_draining_to_held_and_back(daemon, hypervisor, root, bus):
    """draining -> held -> breached -> held, each by PropertiesChanged, with the counts that belong to it: no memory left."""
    daemon.policy(held_interval_usec=100000)
    daemon.start()
    monitor = bus.monitor()
    hypervisor.guest(uuid_of(1), name="g1", affected="yes", scope="04.0012", step_ms=100)
    lock = root.take("04.*")
    hypervisor.guest(uuid_of(1), job="outgoing")
    until(lambda: monitor.changes(lock, "State")[-2:] == ["breached", "held"], "breached, then held again")
    assert monitor.changes(lock, "State") == ["draining", "held", "breached", "held"]
    assert (monitor.changes(lock, "Attempts"), monitor.changes(lock, "Breaches")) == ([1], [])
    assert [len(blockers) for blockers in monitor.changes(lock, "Blockers")] == [1, 0]
    assert monitor.changes(lock, "HeldAt") == [root.lock(lock)["HeldAt"]]
    assert monitor.changes(ROOT_PATH, "Locked") == [True]


def test_changes_of_a_migration_are_told(running, hypervisor, root, bus):
    monitor = bus.monitor()
    hypervisor.guest(uuid_of(1), name="g1", affected="yes", scope="04.0012", job="outgoing", step="nothing")
    lock = root.take("04.*", options={"no-wait": True})
    path = root.wait_for_migration(guest="g1")["path"]
    until(lambda: root.migration(path)["Steps"][0][1] == "requested", "the step")
    hypervisor.guest(uuid_of(1), postcopy=True)
    until(lambda: monitor.changes(path, "PostCopy") == [True], "post-copy")
    hypervisor.do("remove", uuid=uuid_of(1), stopped="migrated")
    until(lambda: monitor.changes(path, "Result"), "the end")
    assert monitor.changes(path, "Phase") == ["ended"]
    assert monitor.changes(path, "Result") == [root.migration(path)["Result"]]
    assert [step[:2] for step in monitor.changes(path, "Steps")[-1]] == [["libvirt-abort", "requested"],
                                                                       ["libvirt-abort", "not-abortable"]]
    root.wait_for_state(lock, "held")


def test_changes_of_the_view_are_told(running, hypervisor, root, bus):
    until(lambda: root.manager()["HypervisorState"] == "connected", "the connection")
    monitor = bus.monitor()
    lock = root.take()
    hypervisor.do("lose", reason="gone")
    hypervisor.do("connect")
    until(lambda: monitor.changes(ROOT_PATH, "HypervisorState")[-1:] == ["complete"], "a complete reading")
    root.release(lock)
    until(lambda: monitor.changes(ROOT_PATH, "HypervisorState")[-1:] == ["connected"], "the end of the reading")
    assert monitor.changes(ROOT_PATH, "HypervisorProblem") == ["gone", ""]
    states = monitor.changes(ROOT_PATH, "HypervisorState")
    assert states.index("complete") < states.index("disconnected")
    assert monitor.changes(ROOT_PATH, "Locked") == [True, False]


def test_objects_are_announced_with_their_properties(running, hypervisor, root, bus):
    monitor = bus.monitor()
    lock = root.take("04.0012")
    path, interfaces = monitor.wait_for("InterfacesAdded", lambda a: a[0] == lock)
    assert path == lock
    assert interfaces[LOCK]["Id"] == lock.rpartition("/")[2]
    assert interfaces[LOCK]["State"] in ("requested", "draining")
    root.release(lock)
    root.admit(domain())
    migration = root.migrations()[0]["path"]
    interfaces = monitor.wait_for("InterfacesAdded", lambda a: a[0] == migration)[1]
    assert interfaces[MIGRATION]["Guest"] == "g1" and interfaces[MIGRATION]["Phase"] == "admitted"
    assert all(s[0] == ROOT_PATH for s in monitor.signals("InterfacesAdded"))


def test_managed_objects_are_all_there(running, root):
    locks = [root.take("04.0012"), root.take("05.0012")]
    root.admit(domain(scope="06.0012"))
    objects = root.call(ROOT_PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")[0]
    migration = root.migrations()[0]["path"]
    assert set(objects) == {*locks, migration}
    assert objects[locks[1]][LOCK]["Scope"] == "05.0012"
    assert objects[migration][MIGRATION]["Uuid"] == uuid_of(1)


def ended(monitor, lock):
    """(result, message) as LockEnded told it, once."""
    path, lock_id, result, message = monitor.wait_for("LockEnded", lambda a: a[0] == lock)
    assert lock_id == path.rpartition("/")[2]
    assert len([s for s in monitor.signals("LockEnded") if s[3][0] == lock]) == 1
    return result, message


def test_released_is_told_and_stays_readable(running, root, bus):
    monitor = bus.monitor()
    lock = root.take()
    before = root.lock(lock)
    root.release(lock)
    result, message = ended(monitor, lock)
    assert result == "released"
    after = root.lock(lock)
    assert (after["State"], after["Result"], after["Message"], after["Blockers"]) == ("ended", "released", message, [])
    for name in ("Id", "Scope", "Reason", "HeldAt", "RequestedAt", "OwnerUid"):
        assert after[name] == before[name]
    assert root.locks() == []
    assert monitor.changes(lock, "Result") == ["released"]
    assert set(monitor.changes(lock, "State")) <= {"draining", "held", "verifying", "ended"}
    # Cards that cannot be asked do not keep a lock, and it is said that they were not.
    assert after["Unverified"] in message and (after["Unverified"] or "no AP bus" in message)


def test_forced_release_says_so(running, root, bus):
    monitor = bus.monitor()
    lock = root.take()
    root.release(lock, {"force": True})
    result, message = ended(monitor, lock)
    assert result == "released" and message.startswith("released by force. ")
    assert root.lock(lock)["Unverified"] in message and root.lock(lock)["Unverified"] != ""


def test_lock_ended_says_cancelled(running, hypervisor, root, bus):
    monitor = bus.monitor()
    hypervisor.do("lose", reason="gone")
    lock = root.take(options={"no-wait": True})
    root.release(lock)
    assert ended(monitor, lock)[0] == "cancelled"
    assert root.lock(lock)["Result"] == "cancelled"


def test_lock_ended_says_timeout(running, hypervisor, root, bus):
    monitor = bus.monitor()
    hypervisor.guest(uuid_of(1), name="g1", affected="yes", job="outgoing", step="nothing")
    assert root.start_take(options={"timeout-usec": 300000}).error().short == "Timeout"
    lock = monitor.wait_for("LockEnded")[0]
    result, message = ended(monitor, lock)
    assert result == "timeout" and "'g1' is migrating out" in message


def test_lock_ended_says_busy(running, hypervisor, root, bus):
    monitor = bus.monitor()
    hypervisor.guest(uuid_of(1), name="g1", affected="yes", job="outgoing")
    error = root.start_take(options={"on-busy": "refuse"}).error()
    lock = monitor.wait_for("LockEnded")[0]
    assert ended(monitor, lock) == ("busy", error.message)


def test_ended_migration_stays_readable(running, hypervisor, root):
    hypervisor.guest(uuid_of(1), name="g1", affected="yes", job="outgoing", step="nothing")
    lock = root.take(options={"no-wait": True, "on-busy": "wait"})
    path = root.wait_for_migration(guest="g1")["path"]
    assert root.lock(lock)["Blockers"] == [path]
    hypervisor.guest(uuid_of(1), job="none")
    ended_migration = root.wait_for_result(path)
    assert (ended_migration["Phase"], ended_migration["Result"]) == ("ended", "failed")
    assert root.migrations() == []


def test_only_so_many_ended_objects_stay(running, root, bus):
    """The 64 latest of a kind stay readable; those before are taken away, and that is told."""
    monitor = bus.monitor(f"type='signal',sender='{NAME}',member='InterfacesRemoved'")
    first = root.take("04.0012")
    root.release(first)
    paths = []
    for _ in range(64):
        paths.append(root.take("04.0012"))
        root.release(paths[-1])
    path, interfaces = monitor.wait_for("InterfacesRemoved")
    assert path == first and LOCK in interfaces
    assert root.start(first, "org.freedesktop.DBus.Properties", "GetAll", "s", LOCK).error().name.endswith("UnknownObject")
    assert root.lock(paths[0])["Result"] == "released"
    assert [s[3][0] for s in monitor.signals("InterfacesRemoved")] == [first]
