"""Banned words with their replacement, and paths that only one machine has."""
import re

import rules
from sources import Tree, Violation


def check(tree: Tree):
    for source in tree.cxx():
        for word, (pattern, instead, folder) in rules.WORDS.items():
            if not source.path.startswith(folder):
                continue
            for match in re.finditer(pattern, source.code):
                line = source.code.count("\n", 0, match.start()) + 1
                if not source.excused(line, word):
                    yield Violation(source.path, line, "words", f"{word} is banned; use {instead}")


def check_paths(tree: Tree):
    private = re.compile(r"(?<![\w.$})/])/(%s)/" % "|".join(rules.PRIVATE_ROOTS))
    for source in tree.sources:
        for number, line in enumerate(source.lines, 1):
            match = private.search(line)
            if match and not source.excused(number, "path"):
                yield Violation(source.path, number, "paths", f"{match.group(0)}: a path of one machine")
