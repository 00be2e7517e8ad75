# SPDX-License-Identifier: LGPL-2.1-or-later
"""The SELinux module, built, linked with Debian's policy, and asked: who becomes what, and who may do what.

Debian's policy knows no virtqemud; what the module says of it is read from its intermediate language. Built against other
headers by APMIGD_SELINUX_HEADERS, a folder as /usr/share/selinux/devel/include: then it is built only.
"""

import bz2
import os
import shutil
import subprocess
from pathlib import Path

import pytest

MODULE = Path(__file__).resolve().parents[2] / "packaging" / "selinux"
HEADERS = Path(os.environ.get("APMIGD_SELINUX_HEADERS", "/usr/share/selinux/devel/include"))
DISTRIBUTION = ["base", "virt", "qemu"]  # modules of the distribution's, of which the last needs the other two
PROGRAMS = ["apmigd", "apmigd_act", "apmigd_fence"]
foreign = pytest.mark.skipif("APMIGD_SELINUX_HEADERS" in os.environ, reason="there is no policy for those headers here")


def run(*argv, cwd=None):
    result = subprocess.run([str(arg) for arg in argv], cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("selinux")
    for file in MODULE.glob("apmigd.*"):
        shutil.copy(file, folder)
    name = [f"HEADERDIR={HEADERS}", "NAME=apmigd"]  # of a policy, which is installed nowhere
    print(run("make", "-f", HEADERS / "Makefile" if "APMIGD_SELINUX_HEADERS" in os.environ else HEADERS.parent / "Makefile",
              *name, "apmigd.pp", cwd=folder))
    return folder


@pytest.fixture(scope="session")
def distribution(tmp_path_factory):
    """The distribution's modules, unpacked and not installed: that would make a policy for this machine."""
    folder = tmp_path_factory.mktemp("policy")
    run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", "selinux-policy-default", cwd=folder)
    run("dpkg-deb", "-x", next(folder.glob("*.deb")), folder / "root", cwd=folder)
    for name in DISTRIBUTION:
        packed = folder / "root/usr/share/selinux/default" / f"{name}.pp.bz2"
        (folder / f"{name}.pp").write_bytes(bz2.decompress(packed.read_bytes()))
    return folder


@pytest.fixture(scope="session")
def policy(built, distribution):
    """As the kernel would load it: it has passed the distribution's assertions."""
    run("semodule_link", "-o", built / "linked.pp", *(distribution / f"{name}.pp" for name in DISTRIBUTION), built / "apmigd.pp")
    run("semodule_expand", "-a", built / "linked.pp", built / "policy.bin")
    return built / "policy.bin"


def search(policy, *options):
    return [line for line in run("sesearch", *options, policy).splitlines() if line and not line.startswith("Found")]


def allowed(policy, source, target, kind):
    """What may be done, as a set of words."""
    words = set()
    for rule in search(policy, "-A", "-s", source, "-t", target, "-c", kind):
        what = rule.split(":", 1)[1].split(None, 1)[1].split(";")[0]
        words.update(what.strip("{} ").split())
    return words


def test_builds(built):
    assert (built / "apmigd.pp").stat().st_size > 0


@foreign
@pytest.mark.parametrize("program", PROGRAMS)
def test_started_by_systemd(policy, program):
    transitions = search(policy, "-T", "-t", f"{program}_exec_t")
    print("\n".join(transitions))
    assert f"type_transition init_t {program}_exec_t:process {program}_t;" in transitions


@foreign
def test_hook_leaves_libvirts_domain(policy, built):
    assert search(policy, "-T", "-t", "apmigd_hook_exec_t") == ["type_transition virtd_t apmigd_hook_exec_t:process apmigd_hook_t;"]
    language = run("/usr/libexec/selinux/hll/pp", built / "apmigd.pp")
    transitions = [line.strip() for line in language.splitlines() if "typetransition virt" in line]
    print("\n".join(transitions))
    assert transitions == [f"(typetransition {libvirt} apmigd_hook_exec_t process apmigd_hook_t)"
                           for libvirt in ("virtd_t", "virtqemud_t")]
    assert "execute" in allowed(policy, "virtd_t", "apmigd_hook_exec_t", "file")


@foreign
def test_only_the_fence_reaches_a_guest(policy):
    assert allowed(policy, "apmigd_fence_t", "svirt_t", "process") == {"getattr", "ptrace", "sigkill", "signull"}
    for other in ("apmigd_t", "apmigd_act_t", "apmigd_hook_t"):
        assert allowed(policy, other, "svirt_t", "process") <= {"getattr", "sigchld"}


@foreign
@pytest.mark.parametrize("program", PROGRAMS)
def test_executes_nothing(policy, program):
    assert search(policy, "-A", "-s", f"{program}_t", "-p", "execute_no_trans") == []
    assert [rule for rule in search(policy, "-T", "-s", f"{program}_t") if ":process" in rule] == []


@foreign
def test_rights_of_each(policy):
    """The rows of processes and rights: who has capabilities, who talks to whom, who writes what."""
    assert allowed(policy, "apmigd_fence_t", "apmigd_fence_t", "capability") == {"sys_ptrace", "dac_read_search", "kill"}
    for other in ("apmigd_t", "apmigd_act_t", "apmigd_hook_t"):
        assert allowed(policy, other, other, "capability") & {"sys_ptrace", "dac_read_search", "kill"} == set()
    for helper in ("apmigd_act_t", "apmigd_fence_t"):
        assert "connectto" in allowed(policy, "apmigd_t", helper, "unix_stream_socket")
    assert "connectto" in allowed(policy, "apmigd_hook_t", "apmigd_t", "unix_stream_socket")
    assert "connectto" not in allowed(policy, "apmigd_hook_t", "apmigd_act_t", "unix_stream_socket")
    for other in ("apmigd_act_t", "apmigd_fence_t", "apmigd_hook_t"):
        assert "write" not in allowed(policy, other, "apmigd_var_lib_t", "file")
    for program in ("apmigd_t", "apmigd_act_t", "apmigd_fence_t", "apmigd_hook_t"):
        assert "write" not in allowed(policy, program, "apmigd_conf_t", "file")
