"""Reads the tree: files with their room, their lines, and their code without comments and strings."""
import functools
import pathlib
import re
from dataclasses import dataclass

import rules

CXX = (".cpp", ".hpp", ".c", ".h", ".def")
TEXT = CXX + (".py", ".sh", ".cmake", ".md", ".txt", ".tsv", ".proto", ".map", ".in")

# Order matters: what starts first on the line hides the rest.
_TOKEN = re.compile(
    r'R"(?P<tag>[^()\s\\]{0,16})\(.*?\)(?P=tag)"'
    r'|//[^\n]*|/\*.*?\*/'
    r'|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'",
    re.DOTALL)


def _blank(match: re.Match) -> str:
    return re.sub(r"[^\n]", " ", match.group(0))


@dataclass(frozen=True)
class Violation:
    """One finding, printed as path:line: [check] text."""
    path: str
    line: int
    check: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: [{self.check}] {self.text}"


class Source:
    """One file of the tree."""

    def __init__(self, root: pathlib.Path, path: pathlib.Path):
        self.path = path.relative_to(root).as_posix()
        self.text = path.read_text(encoding="utf-8", errors="replace")
        self.lines = self.text.splitlines()

    @property
    def is_cxx(self) -> bool:
        return self.path.endswith(CXX)

    @functools.cached_property
    def code(self) -> str:
        """The text with comments and literals blanked; lines keep their numbers."""
        return _TOKEN.sub(_blank, self.text)

    @functools.cached_property
    def includes(self) -> list[tuple[int, str, str]]:
        """(line, '<' or '"', name) of each #include."""
        found = []
        for number, line in enumerate(self.lines, 1):
            match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
            if match:
                found.append((number, match.group(1), match.group(2)))
        return found

    def excused(self, line: int, word: str) -> bool:
        """Whether the line carries 'lint: allow WORD: reason'."""
        return re.search(rf"lint: allow {word}: \w", self.lines[line - 1]) is not None


class Tree:
    """All text files of the tree, without build output and without the canary of the lint."""

    def __init__(self, root: pathlib.Path):
        self.root = root
        self.sources = [Source(root, path) for path in self._paths()]
        self.by_path = {source.path: source for source in self.sources}

    def _paths(self):
        for name in sorted(rules.CODE_FOLDERS + ("docs", ".cmake", ".ci")):
            for path in sorted((self.root / name).rglob("*")):
                if path.is_file() and self._wanted(path.relative_to(self.root).as_posix()):
                    yield path
        for path in sorted(self.root.glob("*")):
            if path.is_file() and path.suffix in TEXT:
                yield path

    @staticmethod
    def _wanted(path: str) -> bool:
        if path.startswith("tests/lint/canary/") or "__pycache__" in path:
            return False
        return path.endswith(TEXT) or path.startswith(".ci/")

    def cxx(self):
        return [source for source in self.sources if source.is_cxx]


def room_of(path: str) -> str:
    """The room that a path belongs to; '' outside of all rooms."""
    parts = path.split("/")
    pair = "/".join(parts[:2])
    if pair in rules.FLOORS:
        return pair
    if parts[0] == "devices" and len(parts) > 1:
        return pair
    return parts[0] if parts[0] in rules.FLOORS else ""


class Exceptions:
    """exceptions.tsv: check, subject, limit, reason. Each line must still be needed."""

    def __init__(self, path: pathlib.Path):
        self._rows: dict[tuple[str, str], int] = {}
        self._used: set[tuple[str, str]] = set()
        self.broken: list[Violation] = []
        if not path.exists():
            return
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            fields = line.split("\t")
            if len(fields) != 4 or not fields[2].isdigit() or len(fields[3].split()) < 3:
                self.broken.append(Violation(path.name, number, "exceptions",
                                             "wanted: check, subject, limit, reason in words; by tabs"))
                continue
            self._rows[(fields[0], fields[1])] = int(fields[2])

    def limit(self, check: str, subject: str) -> int:
        """The excused size; 0 when there is no exception. Only to be asked when one is needed."""
        key = (check, subject)
        if key in self._rows:
            self._used.add(key)
        return self._rows.get(key, 0)

    def stale(self) -> list[Violation]:
        return [Violation("tests/lint/exceptions.tsv", 1, "exceptions",
                          f"'{check} {subject}' is not needed any more: remove it")
                for check, subject in sorted(set(self._rows) - self._used)]
