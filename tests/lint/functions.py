"""Finds C++ functions and their lengths by matching braces. A heuristic: good for counting lines."""
import re
from dataclasses import dataclass

_CONTAINER = re.compile(r"\b(namespace|class|struct|union|enum|extern)\b")
_NAME = re.compile(r"([~\w:]+|operator\s*\S+?)\s*\(")


@dataclass(frozen=True)
class Function:
    """A function body: name as written, first and last line of the braces."""
    name: str
    first: int
    last: int

    @property
    def lines(self) -> int:
        return self.last - self.first + 1


def _without_preprocessor(code: str) -> str:
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: re.sub(r"[^\n]", " ", m.group(0)), code,
                  flags=re.MULTILINE)


def _flat(header: str) -> str:
    """The header on one line, without template parameters, attributes and alignas()."""
    text = re.sub(r"\[\[.*?\]\]|\balignas\s*\([^()]*(\([^()]*\))?[^()]*\)", " ", header, flags=re.DOTALL)
    text = " ".join(text.split())
    match = re.match(r"template\s*<", text)
    while match:
        depth, end = 1, match.end()
        while end < len(text) and depth:
            depth += {"<": 1, ">": -1}.get(text[end], 0)
            end += 1
        text = text[end:].strip()
        match = re.match(r"template\s*<", text)
    return text


def _is_container(header: str) -> bool:
    return bool(_CONTAINER.search(header)) and "(" not in header


def _is_function(header: str) -> bool:
    return "(" in header and not header.endswith(("(", ",", "=", "{"))


def functions_of(code: str) -> list[Function]:
    """code: C++ without comments and literals. Nested functions (lambdas) count with their parent."""
    code = _without_preprocessor(code)
    found: list[Function] = []
    header, line, index = "", 1, 0
    closers: list[bool] = []  # for each open container
    while index < len(code):
        char = code[index]
        if char == "{":
            flat = _flat(header)
            if _is_container(flat):
                closers.append(True)
                header = ""
            else:
                end = _matching(code, index)
                last = line + code.count("\n", index, end)
                # Ctor(...) : a_{1}, b_{2} { body }: an initializer, not yet the body.
                rest = code[end + 1:end + 200].lstrip()
                if rest[:1] in (",", "{"):
                    header += " "
                else:
                    if _is_function(flat):
                        name = _NAME.search(flat)
                        found.append(Function(name.group(1) if name else flat[:40], line, last))
                    header = ""
                index, line = end, last
        elif char == "}" and closers:
            closers.pop()
            header = ""
        elif char == ";":
            header = ""
        else:
            header += char
            line += char == "\n"
        index += 1
    return found


def _matching(code: str, start: int) -> int:
    depth = 0
    for index in range(start, len(code)):
        depth += {"{": 1, "}": -1}.get(code[index], 0)
        if depth == 0:
            return index
    return len(code) - 1
