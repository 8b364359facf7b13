#!/usr/bin/env python3
"""The backend of the kernel, on a kernel that has WireGuard: Debian's, in a
virtual machine without any hardware's help; and what takes a clock that may be
set. One of the long cases.

Usage: kernel_vm_test.py IM_TUNNEL [UNITTEST ARGUMENTS]

The machine gets an initramfs with kernel_vm_init.sh, the programs that it
calls with their libraries, and the kernel's modules. Skipped, with the reason,
where qemu or the kernel's package is missing.
"""

import gzip
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

import debian
import lab

MODULES = ("wireguard", "veth", "tun")
TOOLS = ("busybox", "ip", "wg")
CASES = ("device", "auto", "default", "foreground", "kernel-to-userspace", "userspace-to-kernel",
         "kernel-to-kernel", "clock-set-forward")
BOOT_AND_RUN_S = 400
OURS = pathlib.Path(sys.argv[1]).resolve().parent if len(sys.argv) > 1 else None


def modules_in_order(tree):
    """Paths of MODULES and of what they need, that first."""
    paths = {path.name.split(".")[0].replace("-", "_"): path for path in tree.rglob("*.ko")}
    order = []

    def add(name):
        path = paths.get(name.replace("-", "_"))
        if path is None or path in order:  # None: built into the kernel
            return
        needed = re.search(rb"\0depends=([^\0]*)\0", path.read_bytes())
        for other in needed.group(1).decode().split(",") if needed else ():
            if other:
                add(other)
        order.append(path)
    for name in MODULES:
        add(name)
    return order


def libraries(program):
    out = subprocess.run(["ldd", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                         text=True).stdout
    return re.findall(r"(/\S+)", out)


def archive(folder):
    """The folder as the kernel wants an initramfs: cpio, "newc"."""
    out = bytearray()

    def add(name, mode, data, number):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        out.extend(b"070701" + "".join(f"{field:08x}" for field in fields).encode())
        out.extend(name.encode() + b"\0")
        out.extend(bytes(-len(out) % 4))
        out.extend(data)
        out.extend(bytes(-len(out) % 4))
    for number, path in enumerate(sorted(folder.rglob("*")), start=1):
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            add(name, stat.S_IFDIR | 0o755, b"", number)
        else:
            add(name, stat.S_IFREG | 0o755, path.read_bytes(), number)
    add("TRAILER!!!", 0, b"", 0)
    return gzip.compress(bytes(out), 1)


def machine_folder(kernel, folder):
    """Fills the folder with what the machine needs."""
    for name in ("proc", "sys", "dev", "run", "etc", "tmp", "var", "bin/busyboxes", "modules"):
        (folder / name).mkdir(parents=True)
    programs = [shutil.which(tool) for tool in TOOLS]
    programs += [str(OURS / name) for name in ("im-tunnel", "kernel-device-check")]
    for program in programs:
        shutil.copy(program, folder / "bin")
        for library in libraries(program):
            target = folder / library.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, target)
    order = modules_in_order(kernel / "lib/modules")
    for path in order:
        shutil.copy(path, folder / "modules")
    (folder / "modules/order").write_text("".join(path.name + "\n" for path in order))
    shutil.copy(folder / "bin/busybox", folder / "bin/sh")
    shutil.copy(pathlib.Path(__file__).with_name("kernel_vm_init.sh"), folder / "init")


class KernelInAMachine(unittest.TestCase):
    """One boot for all cases."""

    @classmethod
    def setUpClass(cls):
        missing = [tool for tool in TOOLS + ("qemu-system-x86_64",) if not shutil.which(tool)]
        if missing:
            raise unittest.SkipTest("needs " + ", ".join(missing))
        try:
            kernel = debian.unpacked("bookworm", "linux-image-cloud-amd64",
                                     stands_for="linux-image-")
        except debian.Missing as reason:
            raise unittest.SkipTest(f"Debian's kernel: {reason}") from None
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary)
            machine_folder(kernel, folder / "root")
            (folder / "initramfs").write_bytes(archive(folder / "root"))
            image = next((kernel / "boot").glob("vmlinuz-*"))
            cls.console = cls.boot(image, folder / "initramfs")

    @staticmethod
    def boot(image, initramfs):
        machine = subprocess.Popen(
            ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1024",
             "-kernel", str(image), "-initrd", str(initramfs), "-append",
             "console=ttyS0 quiet panic=-1 random.trust_cpu=on", "-nic", "none", "-nographic",
             "-no-reboot"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace")
        try:
            return machine.communicate(timeout=BOOT_AND_RUN_S)[0]
        except subprocess.TimeoutExpired:
            machine.kill()
            return machine.communicate()[0]

    def test_every_case(self):
        passed = re.findall(r"(?m)^ok ([\w-]+)\s*$", self.console)
        if passed != list(CASES):
            self.fail(f"passed only {passed}; the machine said:\n{self.console[-8000:]}")
        self.assertIn("the end", self.console)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if not lab.long_cases():
        print("skipped: it is one of the long cases (IM_LONG=1)")
        sys.exit(lab.SKIPPED)
    result = unittest.main(argv=[sys.argv[0]] + sys.argv[2:], verbosity=2, exit=False).result
    if result.skipped and result.testsRun == 0:
        print("skipped:", result.skipped[0][1])
        sys.exit(lab.SKIPPED)
    sys.exit(0 if result.wasSuccessful() else 1)
