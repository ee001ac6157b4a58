"""Files that no target builds, headers that nobody includes, names that do not belong at the top."""
import pathlib

import rules
from sources import Tree, Violation


def check(tree: Tree):
    included = {name for source in tree.cxx() for _, _, name in source.includes}
    for source in tree.cxx():
        if source.path.endswith((".cpp", ".c")):
            if not _in_a_target(tree, source.path):
                yield Violation(source.path, 1, "targets", "no CMakeLists.txt above names it")
        elif source.path not in included and not source.path.startswith("smcd/include/"):
            yield Violation(source.path, 1, "targets", "nobody includes it")


def _in_a_target(tree: Tree, path: str) -> bool:
    file = pathlib.PurePosixPath(path)
    for folder in file.parents:
        lists = tree.by_path.get((folder / "CMakeLists.txt").as_posix())
        if lists is None:
            continue
        relative = file.relative_to(folder).as_posix()
        words = lists.text.replace("(", " ").replace(")", " ").replace('"', " ").split()
        if relative in words or f"${{CMAKE_CURRENT_SOURCE_DIR}}/{relative}" in words:
            return True
    return False


def check_top_level(tree: Tree):
    for path in sorted(tree.root.iterdir()):
        if not path.name.startswith(".") and path.name not in rules.TOP_LEVEL:
            yield Violation(path.name, 1, "top-level", "does not belong at the top of the tree")
