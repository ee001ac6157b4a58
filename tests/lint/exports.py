#!/usr/bin/env python3
"""Compares the preloaded library with the table of calls: exports.py LIBRARY CALLS_DEF. Exit 1 when they differ."""
import pathlib
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import rules  # noqa: E402


def table_names(text: str) -> set[str]:
    """The first field of each SMCD_CALL row."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(("//", "#"))]
    return set(re.findall(r"^\s*SMCD_CALL\w*\(\s*(\w+)\s*,", "\n".join(lines), re.MULTILINE))


def problems_of(table: set[str], nm_lines: list[str], needed: list[str], flags: set[str]) -> list[str]:
    """What is wrong, in words; nm_lines as of nm -D --defined-only."""
    problems = []
    exported = set()
    for line in nm_lines:
        _, kind, name = line.split()[:3]
        name = name.split("@")[0]
        if kind == "u":
            problems.append(f"unique symbol {name}: build with -fno-gnu-unique")
        elif kind != "A":
            exported.add(name)
    problems += [f"in the table but not exported: {name}" for name in sorted(table - exported)]
    problems += [f"exported but not in the table: {name}" for name in sorted(exported - table)]
    problems += [f"needs {name}" for name in needed if not name.startswith(rules.SHIM_NEEDED)]
    if "BIND_NOW" not in flags and "NOW" not in flags:
        problems.append("not linked with -z now: a symbol could be resolved inside a signal handler")
    if "TEXTREL" in flags:
        problems.append("has text relocations")
    return problems


def _output(*command: str) -> list[str]:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def main() -> int:
    library, calls = sys.argv[1], pathlib.Path(sys.argv[2])
    dynamic = "\n".join(_output("readelf", "--wide", "--dynamic", library))
    needed = re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic)
    flags = set(re.findall(r"\b(BIND_NOW|NOW|TEXTREL)\b", dynamic))
    table = table_names(calls.read_text(encoding="utf-8"))
    nm_lines = [line for line in _output("nm", "-D", "--defined-only", library) if line.strip()]
    problems = problems_of(table, nm_lines, needed, flags)
    for problem in problems:
        print(f"{library}: {problem}")
    print(f"exports: {len(table)} calls in the table, needs {', '.join(needed)}, {len(problems)} problems")
    return 1 if problems or not table else 0


if __name__ == "__main__":
    sys.exit(main())
