"""A documentation page whose end is a generated table: print it, or check that the page still ends so."""
import pathlib
import sys


def ends_with(page: str, table: str) -> bool:
    """Whether the page is some text, an empty line, and the table; and there is a table at all."""
    return bool(table) and page.endswith("\n\n" + table)


def main(table: str) -> int:
    """Without arguments: prints the table. --check PAGE: 1 when the page does not end with it."""
    words = sys.argv[1:]
    if not words:
        sys.stdout.write(table)
        return 0
    if len(words) != 2 or words[0] != "--check":
        print(f"usage: {sys.argv[0]} [--check PAGE]")
        return 2
    if ends_with(pathlib.Path(words[1]).read_text(encoding="utf-8"), table):
        return 0
    print(f"{words[1]} does not end with the table that {sys.argv[0]} prints; put it there")
    return 1


def table_of(head: list[str], rows: list[tuple[str, ...]]) -> str:
    """A markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
