"""Guests for the tests in virtual machines: packages, initramfs, QEMU without KVM, and QMP.

Everything is made in the folder SMCD_VM_CACHE (default: build/vm of the tree) and kept there.
"""

import json
import os
import queue
import re
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = Path(os.environ.get("SMCD_VM_CACHE", ROOT / "build" / "vm"))
LIB = Path(os.environ.get("SMCD_VM_LIB", ROOT / "build" / "release" / "lib"))
BIN = Path(os.environ.get("SMCD_VM_BIN", ROOT / "build" / "release" / "bin"))
# In the order of insmod; a module that is built into the kernel, or absent, is left out.
MODULES = ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci",
           "failover", "net_failover", "virtio_net", "inet_diag", "tcp_diag",
           "llc", "stp", "garp", "mrp", "8021q",
           "libnvdimm", "nd_virtio", "virtio_pmem", "nd_btt", "nd_pmem", "device_dax", "dax_pmem")
KERNEL = "linux-image-cloud-amd64"  # depends on the newest one
MACHINE = ("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
           "-accel", "tcg,thread=multi", "-cpu", "qemu64,+rdrand", "-smp", "1", "-m", "384M")


class Failure(AssertionError):
    """Something did not happen within its watchdog."""


def download(package, folder):
    """Puts the .deb there. The lists of packages may be missing where everything was installed."""
    command = ["apt-get", "-qq", "download", package]
    if subprocess.run(command, cwd=folder, check=False).returncode != 0:
        subprocess.run(["apt-get", "-qq", "update"], check=True)
        subprocess.run(command, cwd=folder, check=True)


def kernel():
    """Debian's cloud kernel, taken out of its package: the image, and the folder of its modules."""
    folder = CACHE / "kernel"
    if not list(folder.glob("boot/vmlinuz-*")):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        download(KERNEL, folder)
        fields = subprocess.run(["dpkg-deb", "-f", str(next(folder.glob("*.deb"))), "Depends"],
                                stdout=subprocess.PIPE, text=True, check=True).stdout
        download(re.search(r"linux-image-[\w.+-]+", fields).group(0), folder)
        image = next(path for path in folder.glob("*.deb") if not path.name.startswith(KERNEL))
        subprocess.run(["dpkg-deb", "-x", str(image), str(folder)], check=True)
    return next(folder.glob("boot/vmlinuz-*")), next(folder.glob("lib/modules/*"))


def libraries_of(program):
    """The shared libraries of a program, its loader included."""
    listed = subprocess.run(["ldd", str(program)], stdout=subprocess.PIPE, text=True, check=True)
    return re.findall(r"(/\S+) \(0x", listed.stdout)


def make_initramfs(modules):
    """busybox, the library, smcu, socat and what they load."""
    tree = CACHE / "initramfs"
    shutil.rmtree(tree, ignore_errors=True)
    for folder in ("bin", "lib", "lib64", "modules"):
        (tree / folder).mkdir(parents=True)
    shutil.copy(HERE / "guest_init.sh", tree / "init")
    shutil.copy("/bin/busybox", tree / "bin" / "busybox")
    shutil.copy(LIB / "libsmcd-preload.so", tree / "lib")
    for program in (BIN / "smcu", Path(shutil.which("socat"))):
        shutil.copy(program, tree / "bin")
        for library in libraries_of(program):
            target = tree / library.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, target)
    order = []
    for name in MODULES:
        found = list(modules.rglob(f"{name}.ko"))
        if found:
            shutil.copy(found[0], tree / "modules")
            order.append(f"{name}.ko")
    (tree / "modules" / "order").write_text("\n".join(order) + "\n")
    (tree / "init").chmod(0o755)
    image = CACHE / "initramfs.cpio"
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    with open(image, "wb") as out:
        subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], cwd=tree, input=names.encode(),
                       stdout=out, check=True)
    return image


class Guest:
    """A virtual machine: the lines of its console, and its monitor."""

    def __init__(self, role, image, initramfs, devices, folder):
        self.role = role
        self.qmp_path = str(folder / f"{role}.qmp")
        command = [*MACHINE, "-kernel", str(image), "-initrd", str(initramfs),
                   "-append", f"console=ttyS0 quiet panic=-1 role={role}", "-serial", "stdio",
                   "-qmp", f"unix:{self.qmp_path},server=on,wait=off", *devices]
        self.lines = []
        self._news = queue.Queue()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            text = line.decode(errors="replace").rstrip()
            self.lines.append(text)
            self._news.put((time.monotonic(), text))
        self._news.put(None)

    def expect(self, pattern, seconds=120.0):
        """Time and match of the next line that fits."""
        end = time.monotonic() + seconds
        while True:
            try:
                item = self._news.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                item = None
            if item is None:
                raise Failure(f"{self.role}: no line like {pattern!r}:\n" +
                              "\n".join(self.lines[-30:]))
            match = re.search(pattern, item[1])
            if match:
                return item[0], match

    def forget_lines(self):
        """Drops what was printed so far."""
        while not self._news.empty():
            self._news.get_nowait()

    def falls_silent(self):
        """Whether nothing is printed for two seconds, behind the few lines that were under way."""
        for _ in range(1000):
            try:
                self._news.get(timeout=2)
            except queue.Empty:
                return True
        return False

    def qmp(self, command):
        """Executes one command of the monitor and waits for its answer."""
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(60)
            monitor.connect(self.qmp_path)
            stream = monitor.makefile("rw")
            stream.readline()
            for word in ("qmp_capabilities", command):
                stream.write(json.dumps({"execute": word}) + "\n")
                stream.flush()
                while "return" not in json.loads(stream.readline()):
                    pass

    def kill(self):
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stdout.close()
