# SPDX-License-Identifier: LGPL-2.1-or-later
"""A fake AP tree: files as sysfs has them for crypto hardware that is not there, for apmigd's --sysfs-root.

It is made of the sample of tests/data/ap, with adapters and domains of its own. Which files a queue has, how they read,
and what becomes of its key registers is as in drivers/s390/crypto of Linux 6.12: mkvps, online and load come and go with
cex4queue (zcrypt_cex4.c), status with vfio_ap (vfio_ap_ops.c); aqmask says whose a queue is (ap_bus.c). A key change goes
its way as in a card: SET makes NEW the current key and keeps the former one as OLD, but for EP11, which has no OLD.
"""

import os
import shutil
from pathlib import Path

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "ap" / "hostA" / "sys"
CCA, EP11 = "02", "05"  # adapters of the sample
CARDS = {"04": CCA, "05": EP11}
DOMAINS = ("0012", "0013")
NUMBERS = 256

AES, APKA = "00000000000000a1", "755cb8e7740d0001"
ASYM = "101112131415161718191a1b1c1d1e1f"
WK = "f9d6ef6c1e0bb9fc1a37ebdd2d4e1a01c0ffee00c0ffee00c0ffee00c0ffee00"


def mask(numbers):
    """As sysfs writes it: the leftmost bit is number 0."""
    return "0x" + "".join(format(sum(8 >> bit for bit in range(4) if first + bit in numbers), "x")
                          for first in range(0, NUMBERS, 4)) + "\n"


class Registers:
    """NEW, CUR and OLD of one master key: pairs of state and pattern, which is "" unless the state has one."""

    def __init__(self, pattern):
        self.new, self.cur, self.old = ("empty", ""), ("valid", pattern), ("invalid", "")

    def set(self, keeps_old):
        if keeps_old:
            self.old = self.cur
        self.new, self.cur = ("empty", ""), ("valid", self.new[1])


def show_cca(keys):
    """cca_mkvps_show()"""
    return "".join(f"{name} {register}: {state} 0x{pattern or '0' * len(keys[name].cur[1])}\n" for name in keys
                   for register, (state, pattern) in zip(("NEW", "CUR", "OLD"),
                                                         (keys[name].new, keys[name].cur, keys[name].old)))


def show_ep11(keys):
    """ep11_mkvps_show()"""
    return "".join(f"WK {register}: {state} {'0x' + pattern if pattern else '-'}\n"
                   for register, (state, pattern) in (("CUR", keys["WK"].cur), ("NEW", keys["WK"].new)))


class FakeApTree:
    def __init__(self, root):
        """@root: a folder that is not there yet"""
        self.root = Path(root)
        self.bus, self.devices = self.root / "bus/ap", self.root / "devices/ap"
        self.of_guests, self.keys = set(), {}
        shutil.copytree(SAMPLE / "bus/ap", self.bus, symlinks=True,
                        ignore=lambda folder, names: names if Path(folder).parent.name in ("ap", "drivers") else [])
        for folder in ("devices", "drivers/cex4card", "drivers/cex4queue", "drivers/vfio_ap"):
            (self.bus / folder).mkdir(parents=True, exist_ok=True)
        self._write(self.bus / "ap_adapter_mask", mask({int(card, 16) for card in CARDS}))
        for name in ("ap_usage_domain_mask", "ap_control_domain_mask"):
            self._write(self.bus / name, mask({int(domain, 16) for domain in DOMAINS}))
        self._write(self.bus / "aqmask", mask(set(range(NUMBERS))))
        self._write(self.bus / "bindings", "{0}/{0} (complete)\n".format(len(CARDS) * len(DOMAINS)))
        for card, like in CARDS.items():
            self._add_card(card, like)

    # --- the files -------------------------------------------------------------------------------

    @staticmethod
    def _write(path, text):
        """In one piece, for whoever reads it at that moment."""
        new = path.with_name(path.name + ".new")
        new.write_text(text, encoding="ascii")
        new.rename(path)

    @staticmethod
    def _copy_files(source, target):
        target.mkdir(parents=True)
        for file in source.iterdir():
            if file.is_symlink() or file.is_file():
                shutil.copy(file, target, follow_symlinks=False)

    def _link(self, folder, target):
        (self.bus / folder / target.name).symlink_to(os.path.relpath(target, self.bus / folder))

    def _add_card(self, card, like):
        folder = self.devices / f"card{card}"
        self._copy_files(SAMPLE / f"devices/ap/card{like}", folder)
        self._link("devices", folder)
        self._link("drivers/cex4card", folder)
        for domain in DOMAINS:
            queue = f"{card}.{domain}"
            self.keys[queue] = {"WK": Registers(WK)} if like == EP11 else {
                "AES": Registers(AES), "APKA": Registers(APKA), "ASYM": Registers(ASYM)}
            self._bind(queue, like)

    def _bind(self, queue, like):
        """To the driver that aqmask says."""
        folder = self.devices / f"card{queue[:2]}" / queue
        driver, domain = ("vfio_ap", "0005") if queue[3:] in self.of_guests else ("cex4queue", "0004")
        shutil.rmtree(folder, ignore_errors=True)
        self._copy_files(SAMPLE / f"devices/ap/card{like}/{like}.{domain}", folder)
        for name in ("cex4queue", "vfio_ap"):
            (self.bus / "drivers" / name / queue).unlink(missing_ok=True)
        self._link(f"drivers/{driver}", folder)
        if not (self.bus / "devices" / queue).is_symlink():
            self._link("devices", folder)
        if driver == "vfio_ap":
            self._write(folder / "status", "unassigned\n")
        else:
            self._show_keys(queue)

    def _show_keys(self, queue):
        keys = self.keys[queue]
        if queue[3:] not in self.of_guests:
            self._write(self.devices / f"card{queue[:2]}" / queue / "mkvps",
                        show_ep11(keys) if "WK" in keys else show_cca(keys))

    # --- what is done to the hardware ------------------------------------------------------------

    def give_to_guests(self, domain):
        """As `echo -DOMAIN > aqmask` does: its queues go to vfio_ap."""
        self.of_guests.add(domain)
        self._write(self.bus / "aqmask", mask(set(range(NUMBERS)) - {int(own, 16) for own in self.of_guests}))
        for card, like in CARDS.items():
            self._bind(f"{card}.{domain}", like)

    def load(self, queue, key_class, pattern=""):
        """The first part of a new key, or with @pattern all of it."""
        states = ("uncommitted", "committed") if key_class == "WK" else ("partial", "full")
        self.keys[queue][key_class].new = (states[bool(pattern)], pattern)
        self._show_keys(queue)

    def set(self, queue, key_class):
        """Makes the new key, which is loaded, the current one."""
        self.keys[queue][key_class].set(key_class != "WK")
        self._show_keys(queue)

    def remove(self):
        shutil.rmtree(self.root)
