"""The tables of the lint: floors, bans, sizes. Change a rule here and say why in the commit."""

# Folders that hold code; everything in them belongs to a room.
CODE_FOLDERS = ("smcd", "devices", "clc", "preload", "tests", "bench")
# What may stand at the top of the tree, beside dot files. build/ and out/ are never committed.
TOP_LEVEL = set(CODE_FOLDERS) | {"CMakeLists.txt", "docs", "README.md", "build", "out"}

# Room -> rooms that it may include besides itself. A folder belongs to the longest name that fits;
# "devices/*" is each device of its own. docs/architecture.md draws the same table.
_DEVICES = ("devices/api", "devices/*")
_ENGINE = ("smcd/base", "clc", "smcd/core") + _DEVICES
_ALL = _ENGINE + ("smcd/runtime", "smcd/include", "smcd/library", "smcd/tools", "smcd/fabric", "preload", "bench", "tests")
FLOORS = {
    "smcd/base": (),
    "clc": ("smcd/base",),
    "devices/api": ("smcd/base",),
    "devices/*": ("devices/api", "smcd/base"),
    "devices/ism": ("devices/api", "devices/loopback", "smcd/base"),  # uses its links as a bus
    "smcd/core": ("clc", "devices/api", "smcd/base"),
    "smcd/include": (),
    "smcd/runtime": _ENGINE + ("smcd/include",),
    "smcd/library": _ENGINE + ("smcd/runtime", "smcd/include"),
    "smcd/tools": _ENGINE + ("smcd/runtime", "smcd/include"),
    "smcd/fabric": _ENGINE + ("smcd/runtime", "smcd/include", "smcd/tools"),
    "preload": _ENGINE + ("smcd/runtime", "smcd/include"),
    "bench": _ALL,
    "tests": _ALL,
}

# Library -> (pattern of the included header, rooms that may).
LIBRARIES = {
    "Boost.Asio": (r"^boost/asio", ("smcd/runtime", "smcd/tools", "smcd/fabric")),
    "spdlog": (r"^spdlog/", ("smcd/runtime", "smcd/tools")),
    "CLI11": (r"^CLI/", ("smcd/runtime", "smcd/tools", "smcd/fabric", "bench")),
    "Protobuf": (r"^google/protobuf|\.pb\.h$", ("smcd/fabric", "bench")),
    "source_location": (r"^source_location$", ()),
    "cassert": (r"^(cassert|assert\.h)$", ()),
}

# Word -> (pattern over code without comments and strings, what to use, folder it concerns or "").
# One line may be excused by a comment: lint: allow WORD: reason
WORDS = {
    "assert": (r"(?<![\w:])assert\s*\(", "SMCD_CHECK (smcd/base/check.hpp)", ""),
    "source_location": (r"std::source_location", "__FILE__ and __LINE__; clang 14 rejects it", ""),
    "volatile": (r"(?<!asm )(?<!__asm__ )\bvolatile\b(?!\s+(std::)?sig_atomic_t)",
                 "std::atomic with a named order", ""),
    "sleep": (r"\b(sleep_for|sleep_until|usleep)\s*\(|::sleep\s*\(",
              "wait for the event itself, under a watchdog", "tests"),
}

FILE_LINES_ALARM = 400   # over it: only with a line in exceptions.tsv
FILE_LINES_WALL = 600    # over it: never
FUNCTION_LINES_MAX = 70  # over it: only with a line in exceptions.tsv, and no longer than it says
SIZED_SUFFIXES = (".cpp", ".hpp", ".c", ".h", ".py", ".sh", ".cmake")

# First folders of paths that only one machine has; the pieces of a pattern, so that this file passes itself.
PRIVATE_ROOTS = ("home", "root", "work", "workspace", "mnt", "srv", "media", "Users", r"tmp(?=/\w)")

# What the preloaded library may bring into a process.
SHIM_NEEDED = ("libc.so.", "libm.so.", "ld-linux")
