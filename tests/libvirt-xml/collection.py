# SPDX-License-Identifier: LGPL-2.1-or-later
"""libvirt's own XML files, thousands of them, from the source package of this machine's distribution.

    files = collection.get()    # {path in the package: bytes}; seconds when it has to be fetched

apt-get fetches it from where this machine has its packages, with a configuration that leaves the machine's own lists as
they are. It is kept under a key of these places and of this file; a collection that was not used for a week is removed.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path, PurePosixPath

APT = Path("/etc/apt")
KEPT = 7 * 86400  # seconds
LIMIT = 300  # seconds that one call of apt-get may take

# Nothing that is set up to follow an update on this machine is run, and nothing is kept of the package lists.
CONFIGURATION = """
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{folder}/sources";
Dir::State::lists "{folder}/lists";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Acquire::Retries "2";
APT::Sandbox::User "root";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""


class Unavailable(Exception):
    """The package cannot be had; says what to do."""


def cache_folder():
    return Path(os.environ.get("XDG_CACHE_HOME") or "/var/cache", "apmigd-libvirt-xml")


def source_lists():
    """{file name: text}: where this machine has binary packages from, turned into where their sources are."""
    lists = {}
    for path in [APT / "sources.list", *sorted((APT / "sources.list.d").glob("*"))]:
        if path.suffix not in (".list", ".sources") or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        lists[path.name] = to_one_line(text) if path.suffix == ".list" else to_stanzas(text)
    return {name: text for name, text in lists.items() if text}


def to_one_line(text):
    """Of "deb [...] URI SUITE COMPONENT..." lines; others are left out."""
    return "".join(f"deb-src {rest}\n" for rest in re.findall(r"^[ \t]*deb[ \t]+(.*)", text, re.MULTILINE))


def to_stanzas(text):
    """Of deb822 stanzas; those without binary packages are left out."""
    stanzas = re.split(r"\n[ \t]*\n", text)
    types = re.compile(r"^Types:(?=.*\bdeb(?!-)).*$", re.MULTILINE | re.IGNORECASE)
    return "".join(types.sub("Types: deb-src", stanza).strip("\n") + "\n\n" for stanza in stanzas if types.search(stanza))


def key():
    """Of what decides which package it is."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    digest.update(repr(sorted(source_lists().items())).encode())
    return digest.hexdigest()[:16]


def get():
    """All regular files whose name ends in .xml. Raises Unavailable."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one maker at a time
        folder = cache / key()
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            fetch(folder / "xml")
        (folder / "complete").touch()
        for mark in cache.glob("*/complete"):
            if mark.stat().st_mtime < time.time() - KEPT:
                shutil.rmtree(mark.parent)
        root = folder / "xml"
        return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.xml"))}


def fetch(destination):
    with scratch_folder() as folder:
        archive = download(folder)
        with tarfile.open(archive) as package:
            for member in package:
                if member.isreg() and member.name.endswith(".xml"):
                    write(destination, member.name, package.extractfile(member).read())


@contextlib.contextmanager
def scratch_folder():
    folder = Path(tempfile.mkdtemp(prefix="apmigd-libvirt-xml-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write(destination, name, data):
    parts = PurePosixPath(name).parts[1:]  # without the package's name and version
    assert parts and ".." not in parts, name
    path = destination.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def download(folder):
    """The path of libvirt's archive, which apt-get has checked against the distribution's signatures."""
    for name in ("sources", "lists/partial"):
        (folder / name).mkdir(parents=True)
    for name, text in source_lists().items():
        (folder / "sources" / name).write_text(text, encoding="utf-8")
    (folder / "apt.conf").write_text(CONFIGURATION.format(folder=folder), encoding="utf-8")
    # Whether a list cannot be had is told by what is missing then.
    said = apt_get(folder, "update") + apt_get(folder, "source", "--download-only", "libvirt")
    archives = list(folder.glob("libvirt_*.orig.tar.*"))
    archives = [path for path in archives if path.suffix != ".asc"]
    if len(archives) != 1:
        raise Unavailable("The source package of libvirt, whose XML files are tried here, cannot be fetched: this suite needs "
                          "the network, and a distribution's archive with sources in /etc/apt/sources.list or "
                          f"/etc/apt/sources.list.d. apt-get says:\n{said[-2000:]}")
    return archives[0]


def apt_get(folder, *arguments):
    """What it says. It fails also for archives that have no sources, and those may be others."""
    command = ["apt-get", "-q", "-c", folder / "apt.conf", *arguments]
    try:
        return subprocess.run(command, cwd=folder, env={**os.environ, "LC_ALL": "C.UTF-8"}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT).stdout
    except FileNotFoundError as error:
        raise Unavailable("The source package of libvirt, whose XML files are tried here, is fetched with apt-get, which "
                          "this machine does not have: run this suite on Debian or Ubuntu.") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"apt-get {arguments[0]} has not ended in {LIMIT} s: see whether the archive of packages in "
                          "/etc/apt can be reached.") from error
