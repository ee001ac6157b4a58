"""Who may include whom: floors between rooms, libraries per room, includes from the root."""
import re

import rules
from sources import Tree, Violation, room_of


def _allowed(room: str, target: str) -> bool:
    key = room if room in rules.FLOORS else "devices/*"
    for allowed in rules.FLOORS[key]:
        if target == allowed or (allowed == "devices/*" and target.startswith("devices/")):
            return True
    return room == target


def check(tree: Tree):
    for source in tree.cxx():
        room = room_of(source.path)
        for line, kind, name in source.includes:
            yield from _library(source.path, room, line, name)
            if kind == '"':
                yield from _edge(tree, source.path, room, line, name)
            elif name.startswith("smcd/") and not _allowed(room, "smcd/include"):
                yield Violation(source.path, line, "floors", f"{room} may not use the public <{name}>")


def _edge(tree: Tree, path: str, room: str, line: int, name: str):
    if re.search(r"\.pb\.h$", name):
        return
    target = room_of(name)
    if not target or "/" not in name:
        yield Violation(path, line, "floors", f'write "{name}" from the root of the tree')
    elif not _allowed(room, target):
        yield Violation(path, line, "floors", f"{room} may not include {target} ({name})")
    elif name not in tree.by_path:
        yield Violation(path, line, "floors", f"{name} does not exist")


def _library(path: str, room: str, line: int, name: str):
    for library, (pattern, rooms) in rules.LIBRARIES.items():
        if re.search(pattern, name) and room not in rooms:
            where = ", ".join(rooms) or "nowhere"
            yield Violation(path, line, "libraries", f"{library} ({name}) is allowed in: {where}")
