#!/usr/bin/env python3
"""The table of interposed calls from preload/calls.def: interposition.py [--check docs/interposition.md]."""
import pathlib
import re
import sys

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import generated  # noqa: E402

_ROW = re.compile(r'^SMCD_CALL\(\s*(\w+),\s*(\w+),\s*(\w+),\s*"([^"]*)"\)', re.MULTILINE)


def table(text: str) -> str:
    """text: calls.def. One row for each SMCD_CALL, by family in the order of the file."""
    rows = [match.groups() for match in _ROW.finditer(text)]
    families = list(dict.fromkeys(family for _, family, _, _ in rows))
    rows.sort(key=lambda row: families.index(row[1]))
    cells = [(f"`{name}`", family, status, note) for name, family, status, note in rows]
    return generated.table_of(["call", "family", "status", "what we do"], cells) if rows else ""


def main() -> int:
    return generated.main(table((HERE.parents[1] / "preload/calls.def").read_text(encoding="utf-8")))


if __name__ == "__main__":
    sys.exit(main())
