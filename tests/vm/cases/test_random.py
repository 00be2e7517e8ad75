# SPDX-License-Identifier: LGPL-2.1-or-later
"""Locks asked for at random moments of migrations, over their whole life. What came of each is told at the end.

The environment variable APMIGD_MOMENTS says how many (20), APMIGD_SEED with what seed (a fresh one), APMIGD_FROM how many of
them are left out, in whole batches: those that an earlier run with that seed has made. APMIGD_VARIANT has the stand-in do as another driver: "v2" of vfio_ap's series, "strict" as the interface demands, "other" as a driver whose sessions
end with the state; all trials are on the stand-in then."""

import os
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from checks import KEYS, wait_state
from devices import KINDS, STANDIN
from fencing import PATIENT, assert_runs_at, assert_untouched_processes
from host import wait_for
from service import emulator_slips

import vfio

pytestmark = pytest.mark.random
MOMENTS = int(os.environ.get("APMIGD_MOMENTS", "20"))
FROM = int(os.environ.get("APMIGD_FROM") or 0)
SEED = int(os.environ.get("APMIGD_SEED") or random.SystemRandom().randrange(1 << 32))
VARIANTS = {"": {}, "v2": {"sessions_end": "Y"}, "strict": {"strict_resuming": "Y"},
            "other": {"says_ap": "N", "sessions_end": "Y"}}
VARIANT = os.environ.get("APMIGD_VARIANT", "")
BATCH = 10  # trials that one guest lives through
LONGEST = 3.5  # seconds after the start of `virsh migrate`: most are over by then
VOID, VOID_MAX = "void, as the emulated processor slipped", 2  # so many trials of a batch may tell nothing
MIGRATING = (vfio.PRE_COPY, vfio.PRE_COPY_P2P, vfio.STOP_COPY)


class Trial:
    def __init__(self, dice, kind, number):
        self.number, self.moment = number, dice.uniform(0, LONGEST)
        self.asked = dice.choice([("source",), ("destination",), ("source", "destination")])
        self.direct, self.paused = dice.random() < 0.4, dice.random() < 0.25
        slow = dice.random() < 0.5 and kind is STANDIN
        self.save_delay, self.load_delay = (dice.choice([0, 300, 900]) if slow else 0 for _ in range(2))

    def __str__(self):
        return (f"seed {SEED}, trial {self.number}: {' and '.join(self.asked)} asked after {self.moment:.2f} s, "
                f"{'direct' if self.direct else 'p2p'}{', to arrive paused' if self.paused else ''}, "
                f"save {self.save_delay} ms, load {self.load_delay} ms")


def take(host, device, incoming):
    """Takes a lock and looks at the moment of the answer whether anything moves: what it says must be true then."""
    taken = host.take(**PATIENT).wait(90)
    seen = vfio.look_at_qemu(device.uuid) if device else None
    return taken, not (seen and (seen == (vfio.RESUMING, True) if incoming else seen[0] in MIGRATING))


def conclude(rig, guest, source, destination, migration, trial):
    """Returns where the guest is: there and nowhere else, whatever happened."""
    moved = migration.wait(90)
    here, there = (destination, source) if moved else (source, destination)
    if moved and trial.paused and destination.state_of(guest.name).startswith("paused"):
        assert vfio.look_at_qemu(guest.devices[destination].uuid) == (vfio.RESUMING, False), trial
        assert_untouched_processes(guest.devices[destination])
        destination.virsh("resume", guest.name)
    assert_runs_at(rig, guest, here, there)
    return here


def run_trial(rig, guest, source, destination, standin, trial):
    for name, value in VARIANTS[VARIANT].items():
        standin(name, value)
    standin("save_delay_ms", trial.save_delay)
    standin("load_delay_ms", trial.load_delay)
    hosts = {"source": source, "destination": destination}
    migration = rig.move(guest, source, destination, *(["--suspend"] if trial.paused else []), direct=trial.direct)
    time.sleep(trial.moment)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda name: take(hosts[name], guest.devices.get(hosts[name]), name == "destination"),
                                trial.asked))
    here = conclude(rig, guest, source, destination, migration, trial)
    for name, (taken, truthful) in zip(trial.asked, answers):
        assert taken.error is None, f"{trial}: {taken.message}"
        assert truthful, f"{trial}: held on the {name} while the guest moved"
        wait_state(hosts[name], taken.lock_id, "held", 60)  # a migration that began after that was a breach
        hosts[name].release(taken.lock_id)
        wait_for(lambda name=name: not hosts[name].locks(), "the lock to be gone")
    return here


@pytest.mark.timeout(BATCH * 120)
@pytest.mark.parametrize("batch, kind", [(batch, STANDIN if VARIANT else KINDS[batch % len(KINDS)])
                                         for batch in range(FROM // BATCH, -(-MOMENTS // BATCH))])
def test_at_random(rig, a, b, guest, helpers, standin, batch, kind, record_property):
    dice = random.Random(f"{SEED} {batch}")
    here, there, seen = a, b, Counter()
    for number in range(BATCH * batch, min(BATCH * (batch + 1), MOMENTS)):
        trial, slips = Trial(dice, kind, number), emulator_slips()
        try:
            place = run_trial(rig, guest, here, there, standin, trial)
        except AssertionError:
            seen[VOID] += 1
            if emulator_slips() == slips or seen[VOID] > VOID_MAX:
                raise
            rig.clean()
            guest, here, there = rig.borrow_guest(kind, KEYS), *rig.hosts
            for host in rig.hosts:
                host.start_fence()
            continue
        seen["stayed" if place is here else "moved"] += 1
        if place is there:
            here, there = there, here
    record_property(f"{kind}, seed {SEED}, batch {batch}", ", ".join(f"{count} {what}" for what, count in seen.items()))
