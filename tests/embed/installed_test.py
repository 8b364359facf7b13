#!/usr/bin/env python3
"""installed_test.py SOURCE BUILD: what is installed can be built against.

Installs the package into a prefix in the build folder, moves that elsewhere (it
must not matter where it lies), builds examples/embed against it by CMake and by
pkg-config, and has both sets of programs asked over the tunnel (im_embed_tests).
"""

import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import unittest

SOURCE = pathlib.Path(sys.argv[1])
BUILD = pathlib.Path(sys.argv[2])
FOLDER = BUILD / "installed_test"
PREFIX = FOLDER / "moved"
EXAMPLES = SOURCE / "examples" / "embed"


def run(*command, **kwargs):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=250, **kwargs)
    if done.returncode != 0:
        raise AssertionError(f"{shlex.join(map(str, command))}:\n{done.stdout}")
    return done.stdout


def pkg_config(*arguments):
    (folder,) = PREFIX.glob("lib*/**/pkgconfig")
    default = run("pkg-config", "--variable", "pc_path", "pkg-config").strip()
    environment = dict(os.environ, PKG_CONFIG_LIBDIR=f"{folder}:{default}")
    return shlex.split(run("pkg-config", *arguments, env=environment))


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        shutil.rmtree(FOLDER, ignore_errors=True)
        run("cmake", "--install", BUILD, "--component", "development",
            "--prefix", FOLDER / "prefix")
        (FOLDER / "prefix").rename(PREFIX)

    def ask(self, folder, *programs):
        out = run(BUILD / "bin" / "im_embed_tests",
                  "--gtest_filter=" + ":".join(f"*/{name}" for name in programs),
                  env=dict(os.environ, IM_HELLO=str(folder)))
        self.assertRegex(out, rf"PASSED  \] {len(programs)} test")

    def test_by_cmake(self):
        folder = FOLDER / "cmake"
        run("cmake", "-S", EXAMPLES, "-B", folder, f"-DCMAKE_PREFIX_PATH={PREFIX}",
            "-DCMAKE_BUILD_TYPE=Debug", "-G", "Ninja")
        run("cmake", "--build", folder, "-j2")
        self.ask(folder, "hello", "hello_blocking", "hello_c")

    def test_by_pkg_config(self):
        folder = FOLDER / "pkg-config"
        folder.mkdir()
        run("c++", "-std=c++20", EXAMPLES / "hello.cc", "-o", folder / "hello",
            *pkg_config("--cflags", "--libs", "im-netstack", "im-tunnel"))
        run("cc", "-std=gnu99", EXAMPLES / "hello_c.c", "-o", folder / "hello_c",
            *pkg_config("--cflags", "--libs", "im-net"))
        self.ask(folder, "hello", "hello_c")

    def test_headers_name_nothing_that_is_not_there(self):
        # Each compiles alone, with what is installed only.
        headers = PREFIX / "include" / "imaginary-machines"
        names = sorted(path.relative_to(headers).as_posix() for path in headers.rglob("*.h"))
        self.assertIn("netstack/net.h", names)
        self.assertFalse([name for name in names if "lwip" in name])
        includes = "".join(f'#include "{name}"\n' for name in names)
        run("c++", "-std=c++20", "-fsyntax-only", "-x", "c++", "-",
            *pkg_config("--cflags", "im-net"), input=includes)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
