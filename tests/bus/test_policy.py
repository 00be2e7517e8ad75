# SPDX-License-Identifier: LGPL-2.1-or-later
"""Policy files as rules: the schema against the code, what is in force and where it comes from, a bad reload."""
import copy
import json
import subprocess

import jsonschema
import pytest
import rig
from rig import MANAGER, ROOT_PATH, until, uuid_of

SCHEMA = json.loads((rig.SOURCE / "policy/rules/policy.schema.json").read_text())
DEFAULT = json.loads((rig.SOURCE / "policy/rules/default.json").read_text())

ABORT = {"step": "libvirt-abort", "deadline-usec": 5000000}
FENCE = {"step": "vfio-state", "deadline-usec": 2000000}
KILL = {"step": "kill-incoming", "deadline-usec": 5000000}


def rule(guest="a", **keys):
    return {"match": {"guest": guest}, **{key.replace("_", "-"): value for key, value in keys.items()}}


def rules(*some):
    return {"rules": list(some)}


def scoped(scope):
    return rules({"match": {"scope": scope}})


GOOD = [
    {}, DEFAULT, rules(), rules(rule()), rules(rule("*")), rules(rule("a" * 255)), rules(rule("\u00e4" * 127)),
    rules(rule("5d0c5c40-6b5b-4b6e-9d3f-3a52f6f1c001", on_busy="wait", admission_usec=1000000, steps=[ABORT])),
    rules(rule(steps=[KILL, FENCE])), rules(rule(steps=[KILL])), rules(rule(steps=[ABORT, KILL])), rules(rule(steps=[FENCE])), rules(*(rule(f"g{n}") for n in range(256))),
    rules({"match": {"guest": "a"}}, {"match": {"scope": "all"}}, {"match": {"guest": "a", "scope": "all"}}),
    {"steps": [KILL]}, {"steps": [KILL, ABORT, FENCE]}, {"overdue-again-usec": 0},
    *map(scoped, ("all", "04.0012", "4.12", "*.*", "*.0012", "04-07.0010-001f", "FF.00fF", "04.*,05.0001,6.1-2", "0.000")),
]

BAD = [
    [], None, 1, "abort", {"on-bussy": "wait"}, {"rules": None}, {"rules": {}}, rules(1), rules({}), rules({"match": {}}),
    rules({"match": None}), rules({"match": "a"}), rules({"match": ["a"]}), rules({"match": {"name": "a"}}),
    rules({"match": {"guest": None}}), rules({"match": {"guest": ""}}), rules(rule("a" * 256)), rules(rule(match={"guest": 1})),
    rules(rule(on_busy=None)), rules(rule(on_busy="")), rules(rule(on_bussy="wait")), rules(rule(steps=[])),
    rules(rule(steps=[ABORT, ABORT])),
    rules(*(rule(f"g{n}") for n in range(257))),
    {"steps": {}}, {"steps": [FENCE, FENCE]}, {"steps": [FENCE, {**FENCE, "deadline-usec": 300000}]}, {"steps": [1]},
    {"steps": [{}]}, {"steps": [ABORT, FENCE, KILL, ABORT]}, {"steps": [{"step": "vfio-state"}]},
    {"steps": [{"deadline-usec": 100000}]}, {"steps": [{**FENCE, "more": 1}]}, {"max-locks": True}, {"max-locks": "64"},
    {"max-locks": 1.5}, {"max-locks": None}, {"on-busy": ["abort"]}, {"overdue-again-usec": 59999999},
    {"overdue-again-usec": 315360000000001}, {"overdue-again-usec": -1}, {"overdue-again-usec": False},
    *map(scoped, ("", "none", "04", "04.", ".0012", "all,04.*", "004.12", "04.00012", "04.0100", "100.1", "04.12 ", " 04.12",
                  "04.12,", ",04.12", "04.12;05.12", "0x4.12", "04.12-", "04--05.1", "g4.12", "all\n", "04.12\n", None, 4, [])),
]

# What a schema cannot say; its description names them.
STRICTER = [
    '{"max-locks": 1, "max-locks": 1}', '{"max-locks": 64.0}', '{"max-locks": 64e0}', json.dumps(scoped("07-04.*")),
    json.dumps(scoped(",".join(["04.0012"] * 513))), json.dumps(rules(rule("\u00e4" * 128))), json.dumps(rules(rule(), rule())),
    json.dumps(rules(rule("5d0c5c40-6b5b-4b6e-9d3f-3a52f6f1c001"), rule("5D0C5C40-6b5b-4b6e-9d3f-3a52f6f1c001"))),
]


def properties_of(schema):
    """Those of every object in it: (a function that makes a document of a value, its key, its schema)."""
    step = schema["$defs"]["step"]["properties"]["deadline-usec"]
    own = {key: value for key, value in schema["$defs"]["rule"]["properties"].items() if key != "match"}
    for key, value in schema["properties"].items():
        yield (lambda item, key=key: {key: item}), key, resolve(schema, value)
    for key, value in own.items():
        yield (lambda item, key=key: rules({"match": {"guest": "a"}, key: item})), key, resolve(schema, value)
    yield (lambda item: {"steps": [{**ABORT, "deadline-usec": item}]}), "deadline-usec", step


def resolve(schema, value):
    return schema["$defs"][value["$ref"].rpartition("/")[2]] if "$ref" in value else value


def at_the_bounds(schema):
    """What each key of the schema just allows, and just not."""
    for make, _, value in properties_of(schema):
        if "minimum" in value:
            good = [value["minimum"], value["maximum"]]
            bad = [value["minimum"] - 1, value["maximum"] + 1]
        elif "enum" in value:
            good, bad = value["enum"], ["", value["enum"][0] + "s", value["enum"][0].upper(), 0]
        else:
            continue
        yield from ((make(item), True) for item in good)
        yield from ((make(item), False) for item in bad)


@pytest.fixture
def checked(daemon):
    """(exit status, standard error) of --check-config for a policy file."""
    def check(text):
        (daemon.policy_dir / "50-test.json").write_text(text)
        done = subprocess.run([str(daemon.program), "--check-config", "--config", str(daemon.config), "--policy-dir",
                               str(daemon.policy_dir)], capture_output=True, text=True, timeout=rig.LIMIT)
        return done.returncode, done.stderr
    return check


# --- the schema and the code ------------------------------------------------------------------------


def test_schema_and_code_say_the_same(checked):
    """Of each document both, and both what is meant."""
    validator = jsonschema.Draft202012Validator(SCHEMA)
    validator.check_schema(SCHEMA)
    documents = [(document, True) for document in GOOD] + [(document, False) for document in BAD] + list(at_the_bounds(SCHEMA))
    assert len(documents) > 150
    for document, good in documents:
        status, err = checked(json.dumps(document))
        verdicts = (status == 0, validator.is_valid(document))
        assert verdicts == (good, good), f"(apmigd, schema) are {verdicts}: {json.dumps(document)[:200]}\n{err}"


def test_code_is_stricter_only_where_the_schema_says_so(checked):
    for text in STRICTER:
        status, err = checked(text)
        assert status == 1 and err.startswith("apmigd: "), text[:200]
        assert jsonschema.Draft202012Validator(SCHEMA).is_valid(json.loads(text)), text[:200]


def test_schema_has_the_keys_of_the_code(checked):
    """No key is in one alone: the sentence about an unknown one names all."""
    places = {
        "$": ({"x": 1}, SCHEMA["properties"]),
        "$.rules[0]": (rules({"x": 1}), SCHEMA["$defs"]["rule"]["properties"]),
        "$.rules[0].match": (rules({"match": {"x": 1}}), SCHEMA["$defs"]["rule"]["properties"]["match"]["properties"]),
        "$.steps[0]": ({"steps": [{"x": 1}]}, SCHEMA["$defs"]["step"]["properties"]),
    }
    for place, (document, properties) in places.items():
        err = checked(json.dumps(document))[1]
        start = f"{place}.x is no key of a policy, the keys here are: "
        assert start in err
        assert set(err.partition(start)[2].strip().rstrip(".").split(", ")) == set(properties)


def test_schema_has_the_defaults():
    """Those of what is shipped, where one value is the default."""
    defaults = {key: resolve(SCHEMA, value).get("default") for key, value in SCHEMA["properties"].items()}
    assert defaults.pop("rules") == []
    assert defaults.pop("steps") is None
    assert defaults == {key: value for key, value in DEFAULT.items() if key != "steps"}


def test_documentation_has_every_key():
    text = (rig.SOURCE / "docs" / "policy.md").read_text()
    for key in SCHEMA["properties"]:
        assert f"`{key}`" in text or key == "rules", key
    example = text.split("    {\n", 1)[1].split("\n    }\n", 1)[0]
    assert jsonschema.Draft202012Validator(SCHEMA).is_valid(json.loads("{" + example + "}"))


def test_place_is_named(checked):
    wrong = {**FENCE, "deadline-usec": 1}
    status, err = checked(json.dumps(rules(rule("a"), rule("b"), rule("c", steps=[wrong]))))
    assert status == 1
    assert "50-test.json: $.rules[2].steps[0].deadline-usec must be an integer from 100000 to 600000000." in err


# --- what is in force -------------------------------------------------------------------------------


def described(root):
    return json.loads(root.call(ROOT_PATH, MANAGER, "DescribePolicy")[0])


def apmigctl(root, *arguments):
    process = root.run(rig.APMIGCTL, *arguments)
    out, err = process.communicate(timeout=rig.LIMIT)
    assert (process.returncode, err) == (0, ""), err
    return out


def test_policy_is_described_with_its_files(daemon, hypervisor, root, nobody):
    site, host = daemon.policy_dir / "10-site.json", daemon.policy_dir / "20-host.json"
    first = {"match": {"guest": "db-*", "scope": "04.0012"}, "on-busy": "refuse"}
    second = {"match": {"guest": "web-*"}, "steps": [ABORT], "admission-usec": 90000000}
    site.write_text(json.dumps({"on-busy": "wait", "max-locks": 3, "rules": [first]}))
    host.write_text(json.dumps({"max-locks": 4, "rules": [second, rule("web-1\u001b[31m")]}))
    daemon.start()
    policy = described(nobody)
    assert policy["settings"] == {**DEFAULT, "on-busy": "wait", "max-locks": 4}
    assert policy["origins"] == {"on-busy": str(site), "max-locks": str(host)}
    assert policy["rules"] == [{"origin": str(site), "index": 0, **first}, {"origin": str(host), "index": 0, **second},
                               {"origin": str(host), "index": 1, **rule("web-1\u001b[31m")}]
    file = copy.deepcopy({**policy["settings"], "rules": policy["rules"]})
    for described_rule in file["rules"]:
        del described_rule["origin"], described_rule["index"]
    assert jsonschema.Draft202012Validator(SCHEMA).is_valid(file)

    assert json.loads(apmigctl(nobody, "policy", "--json=short")) == {**policy, "trouble": ""}
    text = apmigctl(nobody, "policy")
    lines = [line.split() for line in text.splitlines()]
    assert ["db-*", "04.0012", "on-busy:", "refuse", f"{site}:", "$.rules[0]"] in lines
    assert ["max-locks", "4", str(host)] in lines and ["max-locks-per-user", "16", "built", "in"] in lines
    assert [line[0] for line in lines if line[-1:] and line[-1].startswith("$.rules")] == ["db-*", "web-*", "web-1\\u{1b}[31m"]
    assert "\x1b" not in text


def test_bad_reload_is_seen_until_it_is_over(daemon, hypervisor, root, bus):
    daemon.policy(max_locks=1)
    daemon.start()
    monitor = bus.monitor()
    file = daemon.policy_dir / "60-bad.json"
    assert root.manager()["PolicyTrouble"] == ""
    file.write_text(json.dumps(rules(rule("a"), rule("b", on_busy="perhaps"))))
    daemon.reload()
    trouble = root.manager()["PolicyTrouble"]
    assert trouble.startswith(f'{file}: $.rules[1].on-busy is "perhaps" but must be ')
    assert described(root)["rules"] == [] and described(root)["settings"]["max-locks"] == 1
    assert f"Policy: the old one stays in force: {trouble}" in apmigctl(root, "status")
    assert trouble in apmigctl(root, "policy").splitlines()[0]
    assert json.loads(apmigctl(root, "policy", "--json=short"))["trouble"] == trouble
    file.write_text(json.dumps(rules(rule("a"))))
    daemon.reload()
    assert root.manager()["PolicyTrouble"] == ""
    assert described(root)["rules"] == [{"origin": str(file), "index": 0, **rule("a")}]
    assert "stays in force" not in apmigctl(root, "status")
    until(lambda: monitor.changes(ROOT_PATH, "PolicyTrouble") == [trouble, ""], "both changes")


# --- what it does -----------------------------------------------------------------------------------


def migrate_two(hypervisor):
    hypervisor.guest(uuid_of(1), name="web-1", affected="yes", scope="04.0012", job="outgoing")
    hypervisor.guest(uuid_of(2), name="db-1", affected="yes", scope="05.0012", job="outgoing")


def test_one_waits_and_the_other_is_ended(daemon, hypervisor, root):
    daemon.policy(rules=[{"match": {"scope": "05.*"}, "on-busy": "wait"}])
    daemon.start()
    migrate_two(hypervisor)
    taking = root.start_take()
    until(lambda: hypervisor.calls("step", uuid_of(1)), "the end of one")
    root.wait_for_migration(guest="db-1")
    assert taking.is_waiting() and hypervisor.calls("step", uuid_of(2)) == []
    hypervisor.guest(uuid_of(2), job="none")
    assert root.lock(taking.answer()[0])["State"] == "held"
    assert hypervisor.calls("step", uuid_of(2)) == []


def test_one_refusal_fails_the_request_and_ends_nothing(daemon, hypervisor, root):
    daemon.policy(rules=[{"match": {"guest": "db-*"}, "on-busy": "refuse"}])
    daemon.start()
    migrate_two(hypervisor)
    error = root.start_take().error()
    assert error.short == "Busy" and "guest 'db-1' has a rule in the policy, $.rules[0] of " in error.message
    assert hypervisor.calls("step") == []
    lock = root.take(options={"on-busy": "abort"})  # the request's word comes first
    assert root.lock(lock)["State"] == "held"
    assert hypervisor.calls("step", uuid_of(1)) and hypervisor.calls("step", uuid_of(2))
