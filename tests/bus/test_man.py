# SPDX-License-Identifier: LGPL-2.1-or-later
"""The manual pages: they are read without a warning, and name what there is: members, verbs, options, keys, statuses."""
import configparser
import json
import re
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest
from rig import APMIGCTL, APMIGD, APMIGD_ACT, LIMIT, SOURCE

FOLDER = SOURCE / "docs" / "man"
PAGES = sorted(path.name for path in FOLDER.glob("*.[1-8]"))


def run(*command):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=LIMIT)


def source(page):
    return (FOLDER / page).read_text()


def items(page, macro):
    """The words that list items begin with, in a macro."""
    lines = re.findall(rf"^\.It {macro} (.*)$", source(page), re.MULTILINE)
    return [words.split()[0] for line in lines for words in line.split(f" , {macro} ")]


def long_options(*command):
    """Those that a program explains."""
    done = run(*command, "--help")
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"^  (?:-\w, )?--([a-z-]+)", done.stdout, re.MULTILINE))


def test_there_are_the_pages_that_are_installed():
    build = (FOLDER / "meson.build").read_text()
    assert sorted(re.findall(r"'([^']+)'", build)) == PAGES == [
        "apmigctl.1", "apmigd-act.8", "apmigd-policy.5", "apmigd.8", "apmigd.conf.5", "org.apmigd1.5"]


@pytest.mark.parametrize("page", PAGES)
def test_page_is_read_without_a_warning(page):
    done = run("mandoc", "-T", "lint", "-W", "warning", FOLDER / page)
    said = done.stdout + done.stderr
    assert not re.search("WARNING|ERROR|UNSUPP", said), said
    shown = run("mandoc", "-T", "utf8", FOLDER / page)
    assert shown.returncode == 0 and len(shown.stdout) > 500


@pytest.mark.parametrize("page", PAGES)
def test_pages_name_only_one_another_and_those_that_are_there(page):
    for name, section in re.findall(r"^\.Xr (\S+) (\d)", source(page), re.MULTILINE):
        assert f"{name}.{section}" in [*PAGES, "busctl.1", "systemd.time.7", "pkttyagent.1"]


def members_of_contract():
    """(interface, the line of the page) for each member of the introspection XML."""
    node = ElementTree.fromstring((SOURCE / "dbus" / "org.apmigd1.xml").read_text())
    for interface in node.iter("interface"):
        for member in interface:
            if member.tag not in ("method", "signal", "property"):
                continue
            if member.tag == "property":
                yield interface.get("name"), f".It Ic {member.get('name')} {member.get('type')}"
                continue
            arguments = {"in": [], "out": []}
            for argument in member.iter("arg"):
                arguments[argument.get("direction", "out")].append(f"{argument.get('type')} {argument.get('name')}")
            given = arguments["in" if member.tag == "method" else "out"]
            answer = f" -> ({', '.join(arguments['out'])})" if member.tag == "method" and arguments["out"] else ""
            yield interface.get("name"), f".It Ic {member.get('name')} Ns ({', '.join(given)}){answer}"


def test_interface_has_every_member():
    """With its arguments, below its interface, and no other."""
    sections = {section.partition("\n")[0]: section for section in source("org.apmigd1.5").split("\n.Ss ")[1:]}
    contract = list(members_of_contract())
    assert len(contract) > 50
    for interface in {interface for interface, _ in contract}:
        lines = re.findall(r"^\.It Ic .*$", sections[interface], re.MULTILINE)
        assert sorted(lines) == sorted(line for owner, line in contract if owner == interface)


def test_interface_has_every_error_and_option():
    xml = (SOURCE / "dbus" / "org.apmigd1.xml").read_text()
    errors = re.search(r"Errors, all of them.*?\n(.*?)\n  and org", xml, re.DOTALL).group(1)
    assert items("org.apmigd1.5", "Er") == re.findall(r"^    ([A-Z]\w+)  ", errors, re.MULTILINE)
    options = []
    for method in ("TakeLock", "ReleaseLock", "DeclareKeys"):
        text = re.search(rf"      {method}: .*?-->", xml, re.DOTALL).group(0)
        options += re.findall(r"^        ([a-z-]+) (s|t|b|a\{ss\}) +\S", text, re.MULTILINE)
    assert {("on-busy", "s"), ("timeout-usec", "t"), ("force", "b"), ("declare-mkvp", "a{ss}")} <= set(options)
    for option, kind in options:
        assert f".It Cm {option} Pq {kind}\n" in source("org.apmigd1.5")


def test_apmigctl_has_every_verb_with_its_options():
    verbs = re.findall(r"^  ([a-z-]+) .*  [A-Z]", run(APMIGCTL, "--help").stdout.partition("Options:")[0], re.MULTILINE)
    assert {"lock", "hook", "policy"} <= set(verbs)
    text = source("apmigctl.1")
    verbs_text, _, common_text = text.partition("\n.Ss Options of all verbs but hook")
    common = {"json", "quiet", "host", "help", "no-ask-password"}
    entries = re.split(r"^\.It Ic ", verbs_text.partition("\n.Ss Verbs")[2], flags=re.MULTILINE)[1:]
    assert [entry.split()[0] for entry in entries] == verbs
    for entry in entries:
        verb = entry.split()[0]
        own = set(re.findall(r"^\.It Fl -([a-z-]+)", entry, re.MULTILINE))
        assert own | (common if verb != "hook" else {"help"}) == long_options(APMIGCTL, verb), verb
    assert all(re.search(rf"^\.It Fl .*-{option}\b", common_text, re.MULTILINE) for option in common)


def test_apmigctl_has_every_option_of_many_hosts():
    section = source("apmigctl.1").partition("\n.Sh MANY HOSTS\n")[2].partition("\n.Sh ")[0]
    told = set(re.findall(r"Fl -([a-z-]+)", section))
    for verb in ("lock", "unlock", "ready", "wait", "watch", "keys", "status", "list", "check", "doctor"):
        assert f".It Ic {verb}" in section
        options = long_options(APMIGCTL, "--hosts=a", verb)
        assert options - {"help", "no-ask-password", "host", "json", "quiet"} <= told, verb


def test_apmigctl_has_every_exit_status():
    told = run(APMIGCTL, "--help").stdout.partition("Exit status:\n")[2]
    section = source("apmigctl.1").partition(".Sh EXIT STATUS")[2].partition(".El")[0]
    assert re.findall(r"^\.It (\d+)\n(.*)$", section, re.MULTILINE) == re.findall(r"^ +(\d+)  (.*)$", told, re.MULTILINE)


def test_every_condition_has_its_error_and_its_exit_status():
    """Of the one table, policy/base/error.c: the names in org.apmigd1(5), and below their status in apmigctl(1)."""
    header, table = ((SOURCE / "policy" / "base" / name).read_text() for name in ("error.h", "error.c"))
    numbers = dict(re.findall(r"APMIG_EXIT_(\w+) = (\d+)", header))
    conditions = {name: numbers[status] for name, status in re.findall(r'{"(\w+)", APMIG_EXIT_(\w+)}', table)}
    assert len(conditions) == len(re.findall(r"^    APMIG_ERROR_\w+,", header, re.MULTILINE)) == 18
    assert sorted(conditions) == sorted(items("org.apmigd1.5", "Er"))
    section = source("apmigctl.1").partition(".Sh EXIT STATUS")[2].partition(".El")[0]
    told = {name: status for status, names in re.findall(r"^\.It (\d+)\n.*\n\.Pq Er (.*)$", section, re.MULTILINE)
            for name in names.split(" , ")}
    assert told == conditions


@pytest.mark.parametrize("page, program", [("apmigd.8", APMIGD), ("apmigd-act.8", APMIGD_ACT)])
def test_a_program_has_every_option(page, program):
    named = set(re.findall(r"^\.It Fl -([a-z-]+)", source(page), re.MULTILINE))
    assert named == long_options(program)


def test_configuration_has_every_key():
    """As in the file that is installed, where each stands with its default after a #."""
    parser = configparser.ConfigParser()
    parser.optionxform = str
    text = (SOURCE / "systemd" / "apmigd.conf").read_text()
    parser.read_string(re.sub(r"^#(?=[A-Z][A-Za-z]*=)", "", text, flags=re.MULTILINE))
    for group in parser.sections():
        part = source("apmigd.conf.5").partition(f"\n.Ss [{group}]\n")[2].partition("\n.S")[0]
        assert re.findall(r"^\.It Cm (\w+) Ns =$", part, re.MULTILINE) == list(parser[group])


def test_policy_has_every_key():
    schema = json.loads((SOURCE / "policy/rules/policy.schema.json").read_text())
    rule = schema["$defs"]["rule"]["properties"]
    assert set(items("apmigd-policy.5", "Cm")) == {*schema["properties"], *rule, *rule["match"]["properties"]}
