#!/usr/bin/env python3
"""The table of reasons from smcd/base/reason.hpp and reason.cpp: reasons.py [--check docs/reasons.md]."""
import pathlib
import re
import sys

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import generated  # noqa: E402

_TEXT = r'((?:"[^"]*"\s*)+|k\w+\s*)'
_CODE = re.compile(r"^\s*(\w+) = (0x[0-9A-Fa-f]+|0),", re.MULTILINE)
_ROW = re.compile(r'\{Reason::(\w+),\s*"(\w+)",\s*' + _TEXT + r",\s*" + _TEXT + r"\}")
_CONSTANT = re.compile(r"std::string_view (k\w+) =\s*" + _TEXT + ";")


def _words(text: str, constants: dict[str, str]) -> str:
    """The value of adjacent string literals, or of a constant."""
    return constants.get(text.strip()) or "".join(re.findall(r'"([^"]*)"', text))


def table(header: str, source: str) -> str:
    """header: reason.hpp with the codes; source: reason.cpp with the rows, in ascending order of code."""
    codes = dict(_CODE.findall(header))
    constants = {name: _words(text, {}) for name, text in _CONSTANT.findall(source)}
    cells = []
    for reason, name, text, advice in _ROW.findall(source):
        code = f"`0x{int(codes[reason], 16):08X}`"
        cells.append((code, f"`{name}`", _words(text, constants), _words(advice, constants)))
    if {cell[1] for cell in cells} != {f"`{name}`" for name in codes}:
        return ""
    return generated.table_of(["code", "name", "in words", "what to do"], cells)


def main() -> int:
    base = HERE.parents[1] / "smcd/base"
    header, source = ((base / name).read_text(encoding="utf-8") for name in ("reason.hpp", "reason.cpp"))
    return generated.main(table(header, source))


if __name__ == "__main__":
    sys.exit(main())
