"""Links of the documentation that lead nowhere."""
import posixpath
import re

from sources import Tree, Violation

_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


def check(tree: Tree):
    for source in tree.sources:
        if not source.path.endswith(".md"):
            continue
        for number, line in enumerate(source.lines, 1):
            for target in _LINK.findall(line):
                path = posixpath.normpath(posixpath.join(posixpath.dirname(source.path), target))
                if not (tree.root / path).exists():
                    yield Violation(source.path, number, "docs", f"the link to {target} leads nowhere")
