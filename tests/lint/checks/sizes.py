"""Sizes of files and functions, with a ratchet for the excused ones."""
import rules
from functions import functions_of
from sources import Exceptions, Tree, Violation


def check(tree: Tree, exceptions: Exceptions):
    for source in tree.sources:
        if source.path.endswith(rules.SIZED_SUFFIXES):
            yield from _file(source.path, len(source.lines), exceptions)
        if source.is_cxx:
            for function in functions_of(source.code):
                yield from _function(source.path, function, exceptions)


def _file(path: str, lines: int, exceptions: Exceptions):
    if lines > rules.FILE_LINES_WALL:
        yield Violation(path, 1, "file-size", f"{lines} lines, the wall is {rules.FILE_LINES_WALL}")
    elif lines > rules.FILE_LINES_ALARM and lines > exceptions.limit("file-size", path):
        yield Violation(path, 1, "file-size",
                        f"{lines} lines, over {rules.FILE_LINES_ALARM}: split it by concept")


def _function(path: str, function, exceptions: Exceptions):
    if function.lines <= rules.FUNCTION_LINES_MAX:
        return
    if function.lines > exceptions.limit("function-size", f"{path}#{function.name}"):
        yield Violation(path, function.first, "function-size",
                        f"{function.name}: {function.lines} lines, over {rules.FUNCTION_LINES_MAX}")
