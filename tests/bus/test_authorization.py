# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may call what: root, others with polkit (a fake of it), others without, and what the bus itself keeps away."""
import xml.etree.ElementTree as ElementTree

import pytest
import rig
from rig import ACCESS_DENIED, INSPECT, LOCK, MANAGER, ROOT_PATH, SOURCE, domain, until

ACTION = "org.apmigd1."
FREE, POLKIT, ROOT_ONLY = "everybody", "polkit", "root only"

# A row for every method: who may call it, and a call that is in order. {lock} is the path of root's lock.
METHODS = {
    (MANAGER, "TakeLock"): (POLKIT, ("ssa{sv}", "05.*", "AES rotation", "0")),
    (MANAGER, "RehearseLock"): (POLKIT, ("ssa{sv}", "05.*", "AES rotation", "0")),
    (MANAGER, "ReleaseLock"): (POLKIT, ("oa{sv}", "{lock}", "0")),
    (MANAGER, "ListLocks"): (FREE, ()),
    (MANAGER, "ListMigrations"): (FREE, ()),
    (MANAGER, "AdmitMigration"): (ROOT_ONLY, ("sssss", "g1", "migrate", "begin", "-", domain(scope="06.*"))),
    (MANAGER, "CheckGuest"): (FREE, ("s", "g1")),
    (MANAGER, "DescribeGuest"): (FREE, ("s", "g1")),
    (MANAGER, "CheckMigration"): (FREE, ("s", domain(scope="06.*"))),
    (MANAGER, "ListGuests"): (FREE, ("sa{sv}", "all", "0")),
    (MANAGER, "RemoveStamps"): (ROOT_ONLY, ("s", "g1")),
    (MANAGER, "ListQueues"): (FREE, ()),
    (MANAGER, "ListKeys"): (FREE, ("sa{sv}", "all", "0")),
    (MANAGER, "DeclareKeys"): (POLKIT, ("a{ss}a{sv}", "1", "05.0005 WK", "0x" + "5a" * 32, "0")),
    (MANAGER, "DescribePolicy"): (FREE, ()),
    (MANAGER, "PermitMigration"): (POLKIT, ("ssa{sv}", "h1", "host dies", "0")),
    (MANAGER, "RevokePermit"): (POLKIT, ("s", "h2")),
    (MANAGER, "ListPermits"): (FREE, ()),
    (LOCK, "Release"): (POLKIT, ("a{sv}", "0")),
    (LOCK, "TakeOver"): (POLKIT, ("sa{sv}", "shift ends", "0")),
    (LOCK, "Extend"): (POLKIT, ("ta{sv}", "3600000000", "0")),
    (LOCK, "Annotate"): (POLKIT, ("sa{sv}", "card 05 is late", "0")),
    (LOCK, "Check"): (FREE, ("a{sv}", "0")),
}

# Of those that polkit is asked about, those whose first action does not depend on whose lock it is.
ACTIONS = {"TakeLock": "take-lock", "RehearseLock": "take-lock", "TakeOver": "take-over-lock",
           "PermitMigration": "permit-migration", "RevokePermit": "permit-migration", "DeclareKeys": "declare-keys"}


def methods_of_the_contract():
    node = ElementTree.fromstring((SOURCE / "dbus" / "org.apmigd1.xml").read_text())
    return [(i.get("name"), m.get("name")) for i in node.iter("interface") for m in i.iter("method")]


def test_every_method_has_a_row():
    assert sorted(METHODS) == sorted(methods_of_the_contract())


@pytest.fixture
def lock(running, hypervisor, root):
    """A lock of root's, a permit, a guest to ask about, and crypto hardware."""
    running.copy_sysfs()
    running.end_strangers()
    hypervisor.guest(rig.uuid_of(1), name="g1", affected="yes", scope="04.0012")
    root.call(ROOT_PATH, MANAGER, "PermitMigration", "ssa{sv}", "h2", "host dies", "0")
    return root.take("04.*", "root's own")


def start(client, method, lock):
    interface, member = method
    arguments = [argument.replace("{lock}", lock) for argument in METHODS[method][1]]
    return client.start(lock if interface == LOCK else ROOT_PATH, interface, member, *arguments)


@pytest.mark.parametrize("method", METHODS)
def test_root_may_call_it(lock, root, method):
    start(root, method, lock).answer()


@pytest.mark.parametrize("method", [m for m, row in METHODS.items() if row[0] == FREE])
def test_everybody_may_call_it(lock, nobody, method):
    start(nobody, method, lock).answer()


@pytest.mark.parametrize("method", [m for m, row in METHODS.items() if row[0] == FREE])
def test_reading_that_the_site_has_closed(lock, root, nobody, bus, method):
    bus.start_polkit({INSPECT: "no", "*": "yes"})
    error = start(nobody, method, lock).error()
    assert error.name == ACCESS_DENIED and INSPECT in error.message
    start(root, method, lock).answer()


@pytest.mark.parametrize("method", [m for m, row in METHODS.items() if row[0] != FREE])
def test_without_polkit_only_root_may_call_it(running, lock, root, nobody, method):
    error = start(nobody, method, lock).error()
    if METHODS[method][0] == ROOT_ONLY:
        assert error.name == ACCESS_DENIED  # from the bus, which says it in its own words
    elif method[1] in ACTIONS:
        assert error.name == ACCESS_DENIED
        assert ACTION + ACTIONS[method[1]] in error.message and "polkit is not running" in error.message
    else:  # of a lock that is another's, it is said whose it is
        assert error.short == "NotOwner"
        assert "root" in error.message and "polkit is not running" in error.message
    assert [entry["path"] for entry in root.locks()] == [lock]
    assert root.lock(lock)["State"] == "held" and root.migrations() == []
    assert len(running.lock_files()) == 1 and running.admission_files() == []


@pytest.mark.parametrize("method", [m for m, row in METHODS.items() if row[0] == ROOT_ONLY])
def test_polkit_does_not_make_anybody_root(running, lock, root, nobody, bus, method):
    bus.start_polkit("yes")
    assert start(nobody, method, lock).error().name == ACCESS_DENIED
    assert root.migrations() == []


@pytest.fixture
def open_bus(folder):
    """A bus that lets everything through to apmigd."""
    (folder / "open").mkdir()
    bus = rig.Bus(folder / "open", '<policy context="mandatory"><allow send_destination="org.apmigd1"/></policy>')
    yield bus
    bus.close()


def test_apmigd_itself_refuses_admissions_to_others(open_bus, folder):
    """It does not rely on the bus policy."""
    daemon = rig.Daemon(open_bus, folder, rig.APMIGD_SCRIPTED, f"scripted:{folder}/hypervisor").start()
    root, nobody = rig.Client(open_bus), rig.Client(open_bus, rig.NOBODY)
    for xml in (domain(), "no XML at all"):  # which is not even read
        error = nobody.start_admit(xml).error()
        assert error.name == ACCESS_DENIED and "only root may call AdmitMigration" in error.message
    assert root.migrations() == [] and root.manager()["HookLastCalled"] == 0
    daemon.close()


def test_properties_are_for_everybody_and_not_to_be_set(lock, nobody, root):
    assert rig.lasting(nobody.lock(lock)) == rig.lasting(root.lock(lock))
    assert nobody.manager()["Locked"] is True
    for client in (nobody, root):
        call = client.start(lock, rig.PROPERTIES, "Set", "ssv", LOCK, "Reason", "s", "mine now")
        assert call.error().name.endswith((".PropertyReadOnly", ".AccessDenied"))
    assert root.lock(lock)["Reason"] == "root's own"


def test_nobody_else_may_own_the_name(running, nobody):
    process = nobody.run("busctl", "call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "RequestName", "su",
                         "org.apmigd1", "0")
    assert process.communicate(timeout=rig.LIMIT)[1] == "Call failed: Access denied\n"


# --- polkit -----------------------------------------------------------------------------------------


def test_polkit_lets_in(running, nobody, root, bus):
    polkit = bus.start_polkit("yes")
    lock = nobody.take("04.0012", "mine")
    shown = root.lock(lock)
    assert (shown["OwnerUid"], shown["OwnerName"], shown["State"]) == (65534, "nobody", "held")
    nobody.release(lock)
    assert polkit.actions() == [ACTION + "take-lock", ACTION + "release-lock"]
    question = polkit.asked()[0]
    assert question["kind"] == "system-bus-name" and question["sender"].startswith(":1.")
    assert question["interactive"] is True  # busctl allows it


def test_polkit_is_told_what_is_asked_for(running, nobody, other, root, bus):
    """So that a rule can tell who may lock what."""
    polkit = bus.start_polkit("yes")
    lock = nobody.take("04.12", "mine")
    name = lock.rpartition("/")[2]
    root.call(ROOT_PATH, MANAGER, "PermitMigration", "ssa{sv}", "g7", "it dies", "0")
    nobody.call(ROOT_PATH, MANAGER, "PermitMigration", "ssa{sv}", "g8", "it dies", "0")
    nobody.call(ROOT_PATH, MANAGER, "RevokePermit", "s", "g8")
    nobody.release(lock)
    lock_of_root = root.take("05.*")
    other.release(lock_of_root, {"force": True})
    of_nobody = {"scope": "04.0012", "lock": name, "owner": "nobody"}
    of_root = {"scope": "05.*", "lock": lock_of_root.rpartition("/")[2], "owner": "root"}
    assert [(question["action"].removeprefix(ACTION), question["details"]) for question in polkit.asked()] == [
        ("take-lock", {"scope": "04.0012"}), ("permit-migration", {"guest": "g8"}), ("permit-migration", {"guest": "g8"}),
        ("release-lock", of_nobody), ("release-others-lock", of_root), ("force-release", of_root)]


def test_root_is_not_asked_about(running, root, bus):
    polkit = bus.start_polkit("no")
    lock = root.take()
    root.release(lock, {"force": True})
    assert polkit.asked() == []


@pytest.mark.parametrize("answer, said", [("no", "does not allow it to you"), ("challenge", "got no authentication")])
def test_polkit_says_no(running, nobody, root, bus, answer, said):
    bus.start_polkit(answer)
    error = nobody.start_take().error()
    assert error.name == ACCESS_DENIED
    assert ACTION + "take-lock" in error.message and said in error.message
    assert root.locks() == [] and running.lock_files() == []


def test_silent_polkit_blocks_nobody_else(running, nobody, other, root, bus):
    polkit = bus.start_polkit("silent")
    waiting = nobody.start_take("04.0012", "mine")
    until(polkit.actions, "the question to polkit")
    lock = root.take("04.0012")
    assert other.locks()[0]["path"] == lock
    assert root.admit(domain())[0] is False
    root.release(lock)
    assert waiting.is_waiting()
    polkit.answers("yes")
    other.take("05.0012")
    assert waiting.is_waiting()
    waiting.kill()
    until(lambda: "cancelled" in polkit.asked()[-1], "polkit to be told that nobody waits any more")
    assert [entry["scope"] for entry in root.locks()] == ["05.0012"]


def test_who_waits_for_polkit_has_no_lock_yet(running, nobody, root, bus):
    """The gate closes when the request is accepted, not while somebody types a password."""
    polkit = bus.start_polkit("silent")
    waiting = nobody.start_take("04.0012")
    until(polkit.actions, "the question to polkit")
    assert root.locks() == [] and root.admit(domain()) == (True, "")
    assert waiting.is_waiting()


# --- owner and others -------------------------------------------------------------------------------


@pytest.fixture
def theirs(running, nobody, bus):
    """A lock of nobody's, and the polkit that let it be taken."""
    polkit = bus.start_polkit("yes")
    return nobody.take("04.0012", "mine"), polkit


@pytest.mark.parametrize("how", ["ReleaseLock", "Release"])
def test_another_users_lock_needs_another_action(theirs, other, root, how):
    lock, polkit = theirs

    def start_release():
        if how == "Release":
            return other.start(lock, LOCK, "Release", "a{sv}", "0")
        return other.start_release(lock)

    polkit.answers({ACTION + "release-lock": "yes", "*": "no"})
    error = start_release().error()
    assert error.short == "NotOwner" and ACTION + "release-others-lock" in error.message
    assert root.lock(lock)["State"] == "held"
    polkit.answers({ACTION + "release-others-lock": "yes", "*": "no"})
    assert start_release().answer() == []
    assert root.locks() == []


def test_owner_needs_the_action_of_release_too(theirs, nobody, root):
    lock, polkit = theirs
    polkit.answers("no")
    error = nobody.start_release(lock).error()
    assert error.name == ACCESS_DENIED and ACTION + "release-lock" in error.message
    assert root.lock(lock)["State"] == "held"


def test_force_needs_an_action_in_addition(theirs, nobody, other, root):
    lock, polkit = theirs
    polkit.answers({ACTION + "force-release": "no", "*": "yes"})
    for client in (nobody, other):
        error = client.start_release(lock, {"force": True}).error()
        assert error.name == ACCESS_DENIED and ACTION + "force-release" in error.message
    assert polkit.actions()[-4:] == [ACTION + "release-lock", ACTION + "force-release",
                                     ACTION + "release-others-lock", ACTION + "force-release"]
    assert root.lock(lock)["State"] == "held"
    nobody.release(lock, {"force": False})  # said, but not asked for
    assert root.locks() == []


def test_force_alone_does_not_suffice(theirs, other, root):
    lock, polkit = theirs
    polkit.answers({ACTION + "force-release": "yes", "*": "no"})
    assert other.start_release(lock, {"force": True}).error().short == "NotOwner"
    assert root.lock(lock)["State"] == "held"


def test_root_releases_anybodys_lock(theirs, root):
    root.release(theirs[0])
    assert root.locks() == []


def test_lock_that_ended_while_polkit_was_asked(theirs, nobody, root):
    lock, polkit = theirs
    polkit.answers("silent")
    releasing = nobody.start_release(lock)
    until(lambda: len(polkit.actions()) == 2, "the question to polkit")
    root.release(lock)
    assert releasing.is_waiting()
    releasing.kill()
    assert root.locks() == []


def test_names_of_owners_survive_a_restart(theirs, running, root):
    lock = theirs[0]
    running.restart()
    shown = root.lock(lock)
    assert (shown["OwnerUid"], shown["OwnerName"], shown["Reason"]) == (65534, "nobody", "mine")


def test_apmigctl_says_what_is_roots(running, nobody, ctl):
    """In place of the bus's own words."""
    status, out, err = ctl("unstamp", "--all", client=nobody)
    assert (status, out) == (4, "") and err == "apmigctl: Not authorized: only root may call RemoveStamps.\n"
