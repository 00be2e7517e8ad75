# SPDX-License-Identifier: LGPL-2.1-or-later
"""What apmigd tells of AP queues and master keys, on the sample host, and what a release makes of it."""
import json
import os
import re
import shlex
import time

import pytest
import rig
from rig import ROOT_PATH, MANAGER, SOURCE, until, uuid_of

G1 = uuid_of(1)
D1, D2 = "a1b2c3d4-f1bb-47f0-914d-000000000101", "a1b2c3d4-f1bb-47f0-914d-000000000102"

AES, AES_OLD = "0xb2732827c67f8ef9", "0xb072bc5c245aac8a"
APKA, ASYM = "0x755cb8e7740d0001", "0x101112131415161718191a1b1c1d1e1f"
WK = "0xf9d6ef6c1e0bb9fc1a37ebdd2d4e1a01c0ffee00c0ffee00c0ffee00c0ffee00"
NEW_AES = "0x1111111111111111"
LONG_AGO = 1_700_000_000_000_000
ATTESTED = {"class": "attested"}


@pytest.fixture
def host(daemon, hypervisor):
    """apmigd on the sample host, with one guest; cards are asked at every question."""
    daemon.copy_sysfs()
    hypervisor.initially({"do": "guest", "uuid": G1, "name": "g1", "affected": "yes", "scope": "02.0005", "devices": [D1]})
    daemon.policy(evidence_interval_usec=1000000)
    return daemon.start()


# --- queues ---------------------------------------------------------------------------------------------

CARDS = {"02": ("CEX8C", "CCA"), "05": ("CEX8P", "EP11"), "0a": ("CEX7A", "accelerator")}
STATUS = {"02.0005": "in use", "02.002c": "in use", "02.004f": "in use", "05.0005": "in use", "05.002c": "in use",
          "05.004f": "unassigned", "0a.0005": "unassigned", "0a.002c": "unassigned", "0a.004f": "in use"}
DEVICES = {"02.0005": D1, "02.002c": D1, "05.0005": D1, "05.002c": D1, "02.004f": D2, "0a.004f": D2}


def expected_queue(adapter, domain):
    queue = f"{adapter}.{domain}"
    kind, mode = CARDS[adapter]
    own = domain == "0004"
    shown = {"queue": queue, "adapter": int(adapter, 16), "domain": int(domain, 16), "type": kind, "mode": mode,
             "driver": "cex4queue" if own else "vfio_ap", "config": True, "chkstop": False, "guest-known": True}
    shown.update({"online": True} if own else {"status": STATUS[queue]})
    if queue in DEVICES:
        shown["device"] = DEVICES[queue]
    if DEVICES.get(queue) == D1:
        shown.update({"guest": G1, "guest-name": "g1"})
    return shown


def test_queues_are_described_completely(host, nobody):
    assert nobody.queues() == {f"{adapter}.{domain}": expected_queue(adapter, domain)
                               for adapter in CARDS for domain in ("0004", "0005", "002c", "004f")}


def test_serial_numbers_are_known_once_the_cards_were_asked(host, root):
    assert "serial" not in root.queues()["02.0005"]
    root.keys()
    assert root.queues()["02.0005"]["serial"] == "93AAB1C2"
    assert root.queues()["05.0004"]["serial"] == "93AABCDE07251234"


def test_queues_without_a_hypervisor(host, hypervisor, root):
    hypervisor.do("lose", reason="libvirtd closed the connection")
    queue = root.queues()["02.0005"]
    assert queue["guest-known"] is False and "guest" not in queue and queue["device"] == D1


def test_queues_for_people(host, ctl):
    status, out, err = ctl("queues")
    assert (status, err) == (0, "")
    title, *rows = out.splitlines()
    assert title.split() == ["QUEUE", "TYPE", "MODE", "DRIVER", "STATE", "USED", "BY"]
    assert [row.split(maxsplit=1)[0] for row in rows] == sorted(
        f"{adapter}.{domain}" for adapter in CARDS for domain in ("0004", "0005", "002c", "004f"))
    rows = {row.split()[0]: row for row in rows}
    assert rows["02.0004"].split() == ["02.0004", "CEX8C", "CCA", "cex4queue", "online", "this", "host"]
    assert rows["02.0005"].endswith("guest g1") and "in use" in rows["02.0005"]
    assert f"not of this libvirt, device {D2}" in rows["02.004f"]
    assert rows["05.004f"].split()[-2:] == ["unassigned", "-"]


def test_queues_as_json(host, root, ctl):
    status, out, _ = ctl("queues", "--json=short")
    assert status == 0 and {queue["queue"]: queue for queue in json.loads(out)} == root.queues()


def test_a_host_without_crypto_hardware(running, root, ctl):
    assert root.queues() == {} and root.keys() == {}
    assert ctl("queues") == (0, "This host has no AP queues.\n", "")
    assert ctl("keys") == (0, "This host has no such AP queues.\n", "")


# --- keys -----------------------------------------------------------------------------------------------

def test_keys_are_described_completely(host, nobody):
    keys = nobody.keys()
    assert sorted(keys) == sorted(
        [(f"02.{domain}", name) for domain in ("0004", "0005", "002c", "004f") for name in ("AES", "APKA", "ASYM")]
        + [(f"05.{domain}", "WK") for domain in ("0004", "0005", "002c", "004f")]
        + [(f"0a.{domain}", "") for domain in ("0004", "0005", "002c", "004f")])
    aes = keys["02.0004", "AES"]
    assert aes.pop("time") > LONG_AGO
    assert aes == {"queue": "02.0004", "adapter": 2, "domain": 4, "class": "AES", "evidence": "verified", "pending": False,
                   "new-state": "empty", "cur-state": "valid", "cur": AES, "old-state": "valid", "old": AES_OLD}
    assert (keys["02.0004", "APKA"]["cur"], keys["02.0004", "APKA"]["old-state"]) == (APKA, "invalid")
    assert keys["02.0004", "ASYM"]["cur"] == ASYM
    assert (keys["05.0004", "WK"]["cur"], keys["05.0004", "WK"]["new-state"]) == (WK, "empty")
    unknown = keys["02.0005", "AES"]
    assert "set aside for guests" in unknown.pop("explanation")
    assert unknown == {"queue": "02.0005", "adapter": 2, "domain": 5, "class": "AES", "evidence": "unknown",
                       "pending": False, "new-state": "unknown", "cur-state": "unknown", "old-state": "unknown"}
    assert "no master keys" in keys["0a.0005", ""]["explanation"]
    assert sorted({queue for queue, _ in nobody.keys("*.0005")}) == ["02.0005", "05.0005", "0a.0005"]


def test_keys_for_people(host, ctl):
    status, out, err = ctl("keys")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["QUEUE", "CLASS", "EVIDENCE", "SINCE", "NEW", "CUR", "OLD"]
    rows = {tuple(line.split()[:2]): line.split() for line in lines[1:5]}
    assert rows["02.0004", "AES"][2] == "verified" and rows["02.0004", "AES"][-3:] == ["empty", AES, AES_OLD]
    assert rows["05.0004", "WK"][-3:] == ["empty", WK, "-"]
    assert ("Unknown: 02.0005 (AES, APKA, ASYM), 02.002c (AES, APKA, ASYM), 02.004f (AES, APKA, ASYM), 05.0005 (WK), "
            "05.002c (WK), 05.004f (WK)\n  Each is set aside for guests") in out
    assert "Unknown: 0a.0004, 0a.0005, 0a.002c, 0a.004f\n  Each is one of an accelerator" in out


def test_keys_as_json(host, root, ctl):
    status, out, _ = ctl("keys", "--json=pretty", "02.*")
    shown = {(key["queue"], key["class"]): key for key in json.loads(out)}
    assert status == 0 and sorted(shown) == sorted(root.keys("02.*"))
    assert shown["02.0004", "AES"]["cur"] == AES


def test_cards_are_not_asked_again_and_again(daemon, root, ctl):
    daemon.copy_sysfs()
    daemon.start()
    assert root.keys()["02.0004", "AES"]["cur"] == AES
    daemon.set_mkvps("02.0004", AES_CUR=f"valid {NEW_AES}")
    assert root.keys()["02.0004", "AES"]["cur"] == AES  # of half a minute at most
    until(lambda: root.keys(fresh=True)["02.0004", "AES"]["cur"] == NEW_AES, "the card to be asked")
    assert NEW_AES in ctl("keys", "--fresh")[1]


@pytest.mark.parametrize("arguments, name", [
    (("nonsense", "0"), "InvalidScope"),
    (("all", "1", "fresh", "s", "yes"), "InvalidOption"),
    (("all", "1", "stale", "b", "true"), "InvalidOption"),
])
def test_questions_that_are_wrong(running, root, arguments, name):
    assert root.start(ROOT_PATH, MANAGER, "ListKeys", "sa{sv}", *arguments).error().short == name


def test_a_card_that_hangs_keeps_nobody(host, root):
    path = host.sysfs / "bus/ap/devices/02.0004/mkvps"
    path.unlink()
    os.mkfifo(path)
    begun = time.monotonic()
    keys = root.keys(fresh=True)
    assert keys["02.0004", "AES"]["evidence"] == "unknown" and keys["05.0004", "WK"]["cur"] == WK
    assert "gave no answer" in keys["02.0004", "AES"]["explanation"]
    assert root.keys(fresh=True)["05.0004", "WK"]["cur"] == WK  # and no second thread hangs there
    assert time.monotonic() - begun < rig.LIMIT / 2
    assert host.process.poll() is None


# --- release --------------------------------------------------------------------------------------------

def test_release_of_keys_in_step(host, root, ctl):
    lock = root.take("*.0004")
    status, out, _ = ctl("unlock", lock.rsplit("/", 1)[1])
    assert status == 0 and "SYM (DES)" in out


def test_half_loaded_key_keeps_the_lock(host, root, ctl):
    """A NEW register that is not empty is a change that is not over: the queue is named, and the lock stays."""
    lock = root.take("*.0004")
    host.set_mkvps("02.0004", AES_NEW="partial 0x0000000000000000")
    error = root.start_release(lock).error()
    assert error.short == "KeyChangeUnfinished"
    assert "AES NEW is partial" in error.message and "02.0004" in error.message
    assert root.lock(lock)["State"] == "held"
    status, _, err = ctl("unlock", lock.rsplit("/", 1)[1])
    assert status == 11 and "02.0004" in err
    assert "A new key is loaded and not set (02.0004 AES)." in ctl("status")[1]
    assert root.keys("02.0004", fresh=True)["02.0004", "AES"]["pending"] is True
    host.set_mkvps("02.0004", AES_NEW="empty 0x0000000000000000", AES_CUR=f"valid {NEW_AES}", AES_OLD=f"valid {AES}")
    root.release(lock)
    assert "Keys:" not in ctl("status")[1]


def make_second_cca_card(host):
    """The accelerator becomes a CCA card, whose queue of the host's own domain has the same keys as the first."""
    devices = host.sysfs / "bus/ap/devices"
    for name, text in (("type", "CEX8C\n"), ("ap_functions", "0x93800000\n")):
        (devices / "card0a" / name).write_text(text)
    (devices / "0a.0004/mkvps").write_text((devices / "02.0004/mkvps").read_text())


def test_adapters_with_different_keys_keep_the_lock_until_forced(host, root):
    make_second_cca_card(host)
    lock = root.take("*.0004")
    host.set_mkvps("0a.0004", AES_CUR=f"valid {NEW_AES}")
    error = root.start_release(lock).error()
    assert error.short == "KeysDiffer"
    for part in ("02.0004", AES, "0a.0004", NEW_AES):
        assert part in error.message
    assert root.lock(lock)["State"] == "held"
    root.release(lock, {"force": True})
    assert root.locks() == []


# --- declarations ---------------------------------------------------------------------------------------

def test_what_is_declared_is_kept_with_user_and_time(host, root, ctl):
    lock = root.take("*.0005")
    root.release(lock, {"declare-mkvp": {"02.0005 AES": NEW_AES, "*.0005 WK": WK}})
    assert root.locks() == []
    key = root.keys()["02.0005", "AES"]
    assert (key["evidence"], key["source"], key["uid"], key["cur"]) == ("declared", "root", 0, NEW_AES)
    assert key["time"] > LONG_AGO and "before" not in key and "explanation" not in key
    assert root.keys()["05.0005", "WK"]["cur"] == WK
    assert root.keys()["02.0005", "APKA"]["evidence"] == "unknown"
    assert "KEYS_DECLARED: root (uid 0) declares the AES master key in CUR of AP queues 02.0005" in host.read_log()
    host.restart()
    assert root.keys()["02.0005", "AES"] == key
    assert "declared by root" in ctl("keys", "02.0005")[1]


def test_declarations_on_the_command_line(host, root, ctl, folder):
    (folder / "keys.txt").write_text(f"# from the TKE\n\n02.002c:APKA = {APKA}  # first\n05.002c:WK={WK}\n")
    lock = root.take("*.002c").rsplit("/", 1)[1]
    status, out, err = ctl("unlock", lock, f"--declare=02.002c:AES={AES}", f"--declare=*.002c:ASYM={ASYM}",
                           f"--declare-from={folder}/keys.txt")
    assert (status, err) == (0, "") and "Warning" not in out
    keys = root.keys("*.002c")
    assert {name: key.get("cur") for name, key in keys.items() if key["class"]} == {
        ("02.002c", "AES"): AES, ("02.002c", "APKA"): APKA, ("02.002c", "ASYM"): ASYM, ("05.002c", "WK"): WK}


def test_unchanged_pattern_is_a_warning(host, root, ctl):
    root.release(root.take("02.0005"), {"declare-mkvp": {"02.0005 AES": AES}})
    lock = root.take("02.0005")
    status, out, _ = ctl("unlock", lock.rsplit("/", 1)[1], f"--declare=02.0005:AES={AES}")
    assert status == 0 and "Warning: AP queue 02.0005" in out and "unchanged" in out
    assert "unchanged" in root.lock(lock)["Warnings"]
    assert "is unchanged" in host.read_log()
    assert root.keys()["02.0005", "AES"]["before"] == AES


@pytest.mark.parametrize("pair, says", [
    (("02.002c AES", AES), "which the lock on \"*.0005\" does not cover"),
    (("02.* AES", AES), "does not cover"),
    (("02.0005 SYM", AES), "no host can check"),
    (("02.0005 AES", "0x00"), "16 hexadecimal digits"),
    (("02.0005", AES), "\"04.0012 AES\""),
    (("03.0005 AES", AES), "means no AP queue of this host"),
    (("0a.0005 AES", AES), "means no AP queue of this host"),
])
def test_wrong_declarations_keep_the_lock(host, root, pair, says):
    lock = root.take("*.0005")
    error = root.start_release(lock, {"declare-mkvp": dict([("02.0005 APKA", APKA), pair])}).error()
    assert error.short == "InvalidOption" and says in error.message and pair[0].split()[0] in error.message
    assert root.lock(lock)["State"] == "held"
    assert root.keys()["02.0005", "APKA"]["evidence"] == "unknown"  # all or nothing


def test_declarations_that_contradict_each_other(host, root):
    lock = root.take("*.0005")
    error = root.start_release(lock, {"declare-mkvp": {"02.0005 AES": AES, "*.0005 AES": NEW_AES}}).error()
    assert error.short == "InvalidOption" and "contradict" in error.message


def test_declaring_in_the_wrong_type(host, root):
    lock = root.take("*.0005")
    error = root.start_release(lock, {"declare-mkvp": "02.0005 AES=0x"}).error()
    assert error.short == "InvalidOption" and "a{ss}" in error.message


@pytest.mark.parametrize("argument", ["--declare=02.0005", "--declare=02.0005:AES", "--declare-from=/no/such/file"])
def test_declarations_that_do_not_read(host, root, ctl, argument):
    lock = root.take("*.0005")
    status, _, err = ctl("unlock", lock.rsplit("/", 1)[1], argument)
    assert status == 2 and len(err.splitlines()) == 1
    assert root.lock(lock)["State"] == "held"


def test_others_declare_under_their_own_name(host, bus, root, nobody):
    polkit = bus.start_polkit()
    lock = nobody.take("02.0005")
    nobody.release(lock, {"declare-mkvp": {"02.0005 AES": AES}})
    assert root.keys()["02.0005", "AES"]["source"] == "nobody"
    assert polkit.actions() == ["org.apmigd1.take-lock", "org.apmigd1.release-lock"]


def see_card_again(host, queue):
    """The queue is given back to the host, whose card of that domain has the keys of 02.0004."""
    device = host.sysfs / "bus/ap/devices" / queue
    (device / "driver").unlink()
    (device / "driver").symlink_to("../../../../bus/ap/drivers/cex4queue")
    for name in ("mkvps", "online"):
        (device / name).write_text((host.sysfs / "bus/ap/devices/02.0004" / name).read_text())


def test_a_card_that_contradicts_a_word_is_an_alarm(host, root, ctl):
    root.release(root.take("02.0005"), {"declare-mkvp": {"02.0005 AES": NEW_AES}})
    see_card_again(host, "02.0005")
    key = root.keys(fresh=True)["02.0005", "AES"]
    assert (key["evidence"], key["cur"]) == ("verified", AES)
    assert len(key["contradicted"]) == 1 and NEW_AES in key["contradicted"][0] and "root" in key["contradicted"][0]
    assert host.read_log().count("KEYS_CONTRADICTED: AP queue 02.0005") == 1
    assert "The card has another key than was said (02.0005 AES)." in ctl("status")[1]
    assert "WRONG: 02.0005 AES was said to be" in ctl("keys")[1]


def test_damaged_declarations_are_ignored_loudly(host, root):
    root.release(root.take("02.0005"), {"declare-mkvp": {"02.0005 AES": AES}})
    host.stop()
    (host.state / "declared-keys.json").write_text("{}")
    host.start()
    assert root.locks() == [] and root.keys()["02.0005", "AES"]["evidence"] == "unknown"
    assert "declared-keys.json is damaged" in host.read_log()


def test_declarations_that_cannot_be_written_keep_the_lock(host, root):
    lock = root.take("02.0005")
    (host.state / "declared-keys.json").mkdir()
    (host.state / "declared-keys.json" / "in-the-way").touch()
    error = root.start_release(lock, {"declare-mkvp": {"02.0005 AES": AES}}).error()
    assert error.short == "StateFailure"
    assert root.lock(lock)["State"] == "held" and root.keys()["02.0005", "AES"]["evidence"] == "unknown"


# --- declarations without a lock ------------------------------------------------------------------------

def test_whoever_may_declares_at_any_time(host, bus, root, nobody):
    polkit = bus.start_polkit()
    assert nobody.declare({"02.0005 AES": AES, "*.0005 WK": WK}) == []
    assert polkit.actions() == ["org.apmigd1.declare-keys"]
    key = root.keys()["02.0005", "AES"]
    assert (key["evidence"], key["source"], key["uid"], key["cur"]) == ("declared", "nobody", 65534, AES)
    assert root.keys()["05.0005", "WK"]["cur"] == WK
    host.restart()
    assert root.keys()["02.0005", "AES"] == key


def test_what_is_attested_counts_more(host, root, ctl):
    assert root.declare({"02.0005 AES": AES}, ATTESTED) == []
    key = root.keys()["02.0005", "AES"]
    assert (key["evidence"], key["source"], key["cur"]) == ("attested", "root", AES)
    assert "attested by root" in ctl("keys")[1]
    assert "have the pattern " + AES + " (attested)" in host.read_log()
    [warning] = root.declare({"02.0005 AES": NEW_AES})
    assert NEW_AES in warning and "is declared only" in warning and f"{AES} was attested by root (uid 0)" in warning
    assert root.keys()["02.0005", "AES"] == key
    host.restart()
    assert root.keys()["02.0005", "AES"] == key
    assert root.declare({"02.0005 AES": NEW_AES}, ATTESTED) == []
    assert root.keys()["02.0005", "AES"]["before"] == AES


def test_a_program_repeats_itself_without_a_warning(host, root):
    for _ in range(3):
        assert root.declare({"*.0005 AES": AES}, ATTESTED) == []
    assert "is unchanged" not in host.read_log()


def test_a_card_contradicts_what_was_attested(host, root):
    root.declare({"02.0005 AES": NEW_AES}, ATTESTED)
    see_card_again(host, "02.0005")
    key = root.keys(fresh=True)["02.0005", "AES"]
    assert (key["evidence"], key["cur"]) == ("verified", AES) and "attested by root" in key["contradicted"][0]
    assert host.read_log().count("KEYS_CONTRADICTED: AP queue 02.0005") == 1
    [warning] = root.declare({"02.0005 AES": NEW_AES}, ATTESTED)
    assert f"the card has {AES}" in warning


def test_attesting_with_a_release_needs_both_rights(host, bus, root, nobody):
    polkit = bus.start_polkit()
    nobody.release(nobody.take("02.0005"), {"declare-mkvp": {"02.0005 AES": AES}, "declare-class": "attested"})
    assert polkit.actions() == ["org.apmigd1.take-lock", "org.apmigd1.release-lock", "org.apmigd1.declare-keys"]
    assert root.keys()["02.0005", "AES"]["evidence"] == "attested"


def test_who_may_only_release_does_not_attest(host, bus, root, nobody):
    bus.start_polkit({"org.apmigd1.declare-keys": "no", "*": "yes"})
    lock = nobody.take("02.0005")
    error = nobody.start_release(lock, {"declare-mkvp": {"02.0005 AES": AES}, "declare-class": "attested"}).error()
    assert error.name == rig.ACCESS_DENIED and "org.apmigd1.declare-keys" in error.message
    assert root.lock(lock)["State"] == "held" and root.keys()["02.0005", "AES"]["evidence"] == "unknown"


@pytest.mark.parametrize("patterns, options, says", [
    ({}, {}, "No key is declared"),
    ({"02.0005 AES": AES, "03.0005 AES": AES}, {}, "means no AP queue of this host"),
    ({"02.0005 AES": AES}, {"class": "verified"}, "must be declared or attested"),
    ({"02.0005 AES": AES}, {"class": ""}, "must be declared or attested"),
    ({"02.0005 AES": AES}, {"class": True}, "must be a string"),
    ({"02.0005 AES": AES}, {"change-id": "a\nb"}, "control character"),
    ({"02.0005 AES": AES}, {"force": True}, "known here: class, change-id"),
    ({f"02.{i:04x} AES": AES for i in range(257)}, {}, "more than 256 entries"),
])
def test_wrong_declarations_without_a_lock(host, root, patterns, options, says):
    error = root.start_declare(patterns, options).error()
    assert error.short == "InvalidOption" and says in error.message
    assert root.keys()["02.0005", "AES"]["evidence"] == "unknown"  # all or nothing


def test_apmigctl_declares(host, root, ctl, folder):
    (folder / "keys.txt").write_text(f"# from the TKE\n02.002c:APKA = {APKA}\n05.002c:WK={WK}\n")
    status, out, err = ctl("declare", "--class=attested", "--change-id=CHG1", f"--from={folder}/keys.txt",
                           f"*.002c:AES={AES}")
    assert (status, err) == (0, "") and "Warning" not in out
    keys = root.keys("*.002c")
    assert {name: key["cur"] for name, key in keys.items() if key["evidence"] == "attested"} == {
        ("02.002c", "AES"): AES, ("02.002c", "APKA"): APKA, ("05.002c", "WK"): WK}
    assert ctl("declare", "-q", f"02.002c:AES={NEW_AES}")[1].startswith("Warning: AP queue 02.002c: ")
    [warning] = json.loads(ctl("declare", "--json=short", f"02.002c:AES={NEW_AES}")[1])["Warnings"]
    assert "counts until" in warning


def test_apmigctl_attests_with_a_release(host, root, ctl):
    lock = root.take("02.0005").rsplit("/", 1)[1]
    assert ctl("unlock", lock, f"--declare=02.0005:AES={AES}", "--declare-class=attested")[0] == 0
    assert root.keys()["02.0005", "AES"]["evidence"] == "attested"


@pytest.mark.parametrize("arguments, status", [
    ([], 2), (["02.0005:AES"], 2), (["--from=/no/such/file"], 2), (["--class=verified", f"02.0005:AES={AES}"], 3),
    ([f"03.0005:AES={AES}"], 3)])
def test_apmigctl_declares_nothing_wrong(host, root, ctl, arguments, status):
    found, out, err = ctl("declare", *arguments)
    assert (found, out, len(err.splitlines())) == (status, "", 1)
    assert root.keys()["02.0005", "AES"]["evidence"] == "unknown"


def test_the_service_of_the_manual(host, bus, root, nobody, folder):
    """That of docs/declaring-keys.md, of a user whom polkit allows this and nothing else."""
    polkit = bus.start_polkit({"org.apmigd1.declare-keys": "yes", "*": "no"})
    manual = (SOURCE / "docs" / "declaring-keys.md").read_text().replace("\\\n", "")
    command = shlex.split(re.search(r"^ *ExecStart=(.*)$", manual, re.MULTILINE).group(1))
    program = folder / "tke-patterns"
    program.write_text(f"#!/bin/sh\necho '02.0005:AES={AES}'\necho '*.0005:WK={WK}'\n")
    program.chmod(0o755)
    runtime = folder / "tke-export"
    runtime.mkdir()
    runtime.chmod(0o777)
    command[-1] = command[-1].replace("/usr/local/sbin/tke-patterns", str(program))
    environment = {"RUNTIME_DIRECTORY": str(runtime), "PATH": f"{rig.APMIGCTL.parent}:{os.environ['PATH']}"}
    process = nobody.run(*command, environment=environment)
    assert process.communicate(timeout=rig.LIMIT) == ("", "") and process.returncode == 0
    assert polkit.actions() == ["org.apmigd1.declare-keys"]
    assert (root.keys()["02.0005", "AES"]["evidence"], root.keys()["05.0005", "WK"]["source"]) == ("attested", "nobody")


def test_attested_keys_that_cannot_be_written_are_not_known(host, root):
    (host.state / "declared-keys.json").mkdir()
    (host.state / "declared-keys.json" / "in-the-way").touch()
    assert root.start_declare({"02.0005 AES": AES}, ATTESTED).error().short == "StateFailure"
    assert root.keys()["02.0005", "AES"]["evidence"] == "unknown"


# --- changes that nobody announced ----------------------------------------------------------------------

@pytest.fixture
def watched(host):
    """With the cards asked ten times a second."""
    def watched(**policy):
        host.policy(watch_keys_usec=100000, **policy)
        host.reload()
        time.sleep(0.5)  # a few readings: what is there already is no change
        return host
    return watched


def test_unannounced_key_locks_by_itself(watched, root, bus):
    monitor = bus.monitor()
    host = watched(on_unannounced="lock")
    assert root.locks() == []
    host.set_mkvps("02.0004", AES_NEW="partial 0x0000000000000000")
    lock = root.wait_for_lock(scope="*.0004", state="held")
    assert "AES NEW is partial in AP queue 02.0004" in lock["reason"]
    assert (root.lock(lock["path"])["Origin"], root.lock(lock["path"])["OwnerName"]) == ("itself", "apmigd")
    scope, message = monitor.wait_for("KeysChanged")
    assert scope == "02.0004" and "AES NEW is partial" in message
    assert "KEYS_CHANGED: " in host.read_log()
    assert root.take("*.0004") == lock["path"]  # whoever changes them takes it over
    assert root.lock(lock["path"])["Origin"] == "request"


@pytest.mark.parametrize("policy, told", [("warn", True), ("ignore", False)])
def test_unannounced_key_without_a_lock(watched, root, bus, policy, told):
    monitor = bus.monitor()
    host = watched(on_unannounced=policy)
    host.set_mkvps("02.0004", AES_CUR=f"valid {NEW_AES}")
    until(lambda: root.keys("02.0004", fresh=True)["02.0004", "AES"]["cur"] == NEW_AES, "the card to be asked")
    time.sleep(0.5)
    assert (len(monitor.signals("KeysChanged")) == 1) is told and ("KEYS_CHANGED" in host.read_log()) is told
    assert root.locks() == []


def test_announced_key_is_no_alarm(watched, root):
    host = watched(on_unannounced="lock")
    lock = root.take("*.0004")
    host.set_mkvps("02.0004", AES_CUR=f"valid {NEW_AES}", AES_OLD=f"valid {AES}")
    root.release(lock)
    time.sleep(0.5)
    assert root.locks() == [] and "KEYS_CHANGED" not in host.read_log()
