"""libsmcd as a user finds it: installed, found by CMake and pkg-config, and the example of docs/library.md works."""
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import unittest

BUILD = pathlib.Path(os.environ["BUILD"])
CMAKE = os.environ["CMAKE"]
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SUM = sum(range(1_000_000))

LISTS = """cmake_minimum_required(VERSION 3.25)
project(example LANGUAGES C CXX)
set(CMAKE_CXX_STANDARD 20)
find_package(smcd 0.1 REQUIRED)
add_executable(shared example.cpp)
target_link_libraries(shared PRIVATE smcd::smcd)
add_executable(static example.cpp)
target_link_libraries(static PRIVATE smcd::smcd_static)
add_executable(plain_c plain.c)
target_link_libraries(plain_c PRIVATE smcd::smcd)
"""
PLAIN_C = """#include <smcd/smcd.h>
int main(void) {
    smcd_ctx* ctx = smcd_ctx_create(NULL);
    smcd_ctx_destroy(ctx);
    return ctx == NULL;
}
"""


def run(*command, cwd=None, env=None):
    done = subprocess.run([str(word) for word in command], cwd=cwd, env=env, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}")
    return done.stdout


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def add_up(program, wrap=()):
    """What client and server of the example print."""
    port = free_port()
    server = subprocess.Popen([*wrap, program, "serve", str(port)], stdout=subprocess.PIPE, text=True)
    try:
        line = server.stdout.readline()
        client = run(*wrap, program, "add", port) if line == "ready\n" else line
        return client, server.wait(timeout=60)
    finally:
        server.kill()
        server.stdout.close()
        server.wait()


class PackageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="smcd-package-")
        top = pathlib.Path(cls.folder.name)
        cls.prefix = top / "prefix"
        for component in ("runtime", "dev"):
            run(CMAKE, "--install", BUILD, "--prefix", cls.prefix, "--component", component)
        source = top / "source"
        source.mkdir()
        page = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
        example = re.search(r"```cpp\n(.*?)```", page, re.DOTALL).group(1)
        (source / "example.cpp").write_text(example, encoding="utf-8")
        (source / "plain.c").write_text(PLAIN_C, encoding="utf-8")
        (source / "CMakeLists.txt").write_text(LISTS, encoding="utf-8")
        cls.build = top / "build"
        run(CMAKE, "-G", "Ninja", "-S", source, "-B", cls.build,
            f"-DCMAKE_PREFIX_PATH={cls.prefix}")
        run(CMAKE, "--build", cls.build)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_example_runs_through_shared_memory(self):
        for name in ("shared", "static"):
            with self.subTest(name):
                self.assertEqual(add_up(self.build / name), (f"{SUM} over shared memory\n", 0))

    def test_example_runs_under_the_shim_too(self):
        wrap = (BUILD / "bin" / "smcu", "run", "--")
        self.assertEqual(add_up(self.build / "shared", wrap), (f"{SUM} over shared memory\n", 0))

    def test_plain_c_program(self):
        run(self.build / "plain_c")

    def test_exports_nothing_else(self):
        library = next(self.prefix.rglob("libsmcd.so.1"))
        symbols = run("nm", "-D", "--defined-only", library).split("\n")
        names = {line.split()[-1].split("@")[0] for line in symbols if line}
        foreign = {name for name in names if not name.startswith("smcd_")} - {"SMCD_1"}
        self.assertEqual(foreign, set())
        header = (ROOT / "smcd" / "include" / "smcd" / "smcd.h").read_text(encoding="utf-8")
        declared = set(re.findall(r"SMCD_API [^;]*?\b(smcd_\w+)\(", header))
        self.assertEqual(names - {"SMCD_1"}, declared)

    def test_pkg_config(self):
        folder = next(self.prefix.rglob("smcd.pc")).parent
        env = dict(os.environ, PKG_CONFIG_PATH=str(folder))
        self.assertIn("-lsmcd", run("pkg-config", "--libs", "smcd", env=env))


if __name__ == "__main__":
    unittest.main()
