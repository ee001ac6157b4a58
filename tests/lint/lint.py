#!/usr/bin/env python3
"""Checks the rules of docs/style.md over the whole tree: lint.py ROOT. Exit 1 when one is broken."""
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from checks import docs, floors, sizes, targets, words  # noqa: E402
from sources import Exceptions, Tree  # noqa: E402


def violations_of(root: pathlib.Path):
    """All violations in the tree below root, sorted by place."""
    tree = Tree(root)
    exceptions = Exceptions(root / "tests" / "lint" / "exceptions.tsv")
    found = list(exceptions.broken)
    for check in (floors.check, words.check, words.check_paths, targets.check,
                  targets.check_top_level, docs.check):
        found += check(tree)
    found += sizes.check(tree, exceptions)
    found += exceptions.stale()
    return len(tree.sources), sorted(found, key=lambda v: (v.path, v.line, v.check))


def main() -> int:
    count, found = violations_of(pathlib.Path(sys.argv[1]).resolve())
    for violation in found:
        print(violation)
    print(f"lint: {count} files, {len(found)} violations")
    if count == 0:
        print("lint: no files found: wrong folder?")
        return 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
