#!/usr/bin/env python3
"""Tests the lint itself: the canary tree must give exactly the violations listed here."""
import pathlib
import shutil
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import exports  # noqa: E402
import generated  # noqa: E402
import interposition  # noqa: E402
import lint  # noqa: E402
import reasons  # noqa: E402
from functions import functions_of  # noqa: E402
from sources import Source  # noqa: E402

EXPECTED = [
    ("clc/lonely.hpp", 1, "targets"),
    ("clc/orphan.hpp", 4, "libraries"),
    ("clc/orphan.hpp", 5, "libraries"),
    ("devices/loopback/sideways.cpp", 2, "floors"),
    ("devices/loopback/sideways.cpp", 4, "floors"),
    ("docs/page.md", 2, "docs"),
    ("smcd/base/named.cpp", 2, "libraries"),
    ("smcd/base/named.cpp", 6, "words"),
    ("smcd/base/named.cpp", 9, "words"),
    ("smcd/base/unnamed.cpp", 1, "paths"),
    ("smcd/base/unnamed.cpp", 1, "targets"),
    ("smcd/base/unnamed.cpp", 2, "floors"),
    ("smcd/base/unnamed.cpp", 3, "floors"),
    ("smcd/base/unnamed.cpp", 4, "floors"),
    ("stray.txt", 1, "top-level"),
    ("tests/base/sleepy_test.cpp", 8, "words"),
]

SAMPLE = """\
// A {comment} and "text {" do not count.
#define MACRO(x) do { \\
        use(x); \\
    } while (false)
namespace a::b {
namespace {
constexpr std::array kRows{Row{1}, Row{2}};
const auto kList = std::to_array<Row>({
    {1}, {2},
});
}
template <class T, typename U = std::vector<T>>
class alignas(64) [[nodiscard]] Box : public Base {
public:
    Box(int x) : x_{x}, y_{0} {
        use("}");
    }
    int get() const noexcept { return x_; }
    bool operator==(const Box& other) const {
        return x_ == other.x_ && '{' != other.c;
    }
private:
    int x_{0};
};
struct stat look(int fd) {
    if (fd) {
        auto f = [](int i) {
            return i;
        };
    }
    return {};
}
extern "C" {
long skin(void)
{
    return R"x({{{)x"[0] + 1'000'000;
}
}
TEST_F(BoxTest, Opens) {
    open();
}
}
"""


class CanaryTest(unittest.TestCase):
    """The rules that need no compiler."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name) / "tree"
        shutil.copytree(HERE / "canary", self.root)

    def found(self):
        return [(v.path, v.line, v.check) for v in lint.violations_of(self.root)[1]]

    def write(self, path: str, text: str):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text, encoding="utf-8")

    def test_every_violation_of_the_canary_is_reported_and_nothing_else(self):
        self.assertEqual(self.found(), EXPECTED)

    def test_sizes_are_limited_and_excused_by_name_and_size(self):
        self.write("docs/conf.py", "x = 1\n" * 401)
        self.write("tests/big.sh", "true\n" * 601)
        body = "void grow() {\n" + "    use();\n" * 69 + "}\n"
        self.write("smcd/base/named.cpp", body)
        sizes = [v for v in self.found() if v[2].endswith("-size")]
        self.assertEqual(sizes, [("docs/conf.py", 1, "file-size"),
                                 ("smcd/base/named.cpp", 1, "function-size"),
                                 ("tests/big.sh", 1, "file-size")])

        self.write("tests/lint/exceptions.tsv",
                   "file-size\tdocs/conf.py\t500\tone long table\n"
                   "file-size\ttests/big.sh\t700\tthe wall stands nevertheless\n"
                   "function-size\tsmcd/base/named.cpp#grow\t71\tone long switch\n")
        found = self.found()
        self.assertEqual([v for v in found if v[2].endswith("-size")],
                         [("tests/big.sh", 1, "file-size")])

        self.write("smcd/base/named.cpp", body.replace("use();\n", "use();\n\n", 1))
        self.assertIn(("smcd/base/named.cpp", 1, "function-size"), self.found())

    def test_an_exception_that_is_not_needed_is_reported(self):
        self.write("tests/lint/exceptions.tsv", "file-size\tdocs/gone.py\t500\tone long table\n")
        self.assertIn(("tests/lint/exceptions.tsv", 1, "exceptions"), self.found())

    def test_an_exception_without_a_reason_is_reported(self):
        self.write("tests/lint/exceptions.tsv", "file-size\tdocs/gone.py\t500\tbig\n")
        self.assertIn(("exceptions.tsv", 1, "exceptions"), self.found())


class FunctionsTest(unittest.TestCase):
    """The brace matcher."""

    def test_finds_each_function_with_its_length_and_no_data(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "sample.cpp"
            path.write_text(SAMPLE, encoding="utf-8")
            found = functions_of(Source(pathlib.Path(folder), path).code)
        self.assertEqual([(f.name, f.lines) for f in found],
                         [("Box", 3), ("get", 1), ("operator==", 3), ("look", 8), ("skin", 3),
                          ("TEST_F", 3)])


class ExportsTest(unittest.TestCase):
    """The comparison of a library with the table of calls."""

    def test_the_table_is_read_without_comments_and_macros(self):
        text = ('// SMCD_CALL(not_this, x, y, "")\n#define SMCD_CALL(name, ...) name\n'
                'SMCD_CALL(close, descriptor, accelerated, "a (note)")\n'
                'SMCD_CALL(__read_chk,\n          transfer, accelerated, "")\n')
        self.assertEqual(exports.table_names(text), {"close", "__read_chk"})

    def test_a_missing_an_extra_and_a_unique_symbol_and_a_library_are_reported(self):
        nm = ["0000 T close@@SMCD_1", "0000 A SMCD_1", "0000 T helper", "0000 u _ZGVZ1fvE1x"]
        problems = exports.problems_of({"close", "read"}, nm, ["libc.so.6", "libstdc++.so.6"],
                                       {"BIND_NOW"})
        self.assertEqual(len(problems), 4)
        for word in ("read", "helper", "_ZGVZ1fvE1x", "libstdc++"):
            self.assertTrue(any(word in problem for problem in problems), word)

    def test_a_matching_library_passes(self):
        problems = exports.problems_of({"close"}, ["0000 T close"], ["libc.so.6", "libm.so.6"],
                                       {"BIND_NOW"})
        self.assertEqual(problems, [])


class GeneratedTest(unittest.TestCase):
    """The tables at the end of documentation pages."""

    def test_calls_are_read_and_grouped_by_family(self):
        text = ('// SMCD_CALL(name, family, status, note)\nSMCD_CALL(a, one, accelerated, "x (y)")\n'
                'SMCD_CALL(b, two, observed, "")\nSMCD_CALL(c, one, tcp_only, "z")\n')
        rows = interposition.table(text).splitlines()
        self.assertEqual(rows[2:], ["| `a` | one | accelerated | x (y) |", "| `c` | one | tcp_only | z |",
                                    "| `b` | two | observed |  |"])

    def test_reasons_are_read_with_joined_texts_and_constants(self):
        header = "    none = 0, ///< fine\n    broken = 0x0FE0000A,\n"
        source = ('constexpr std::string_view kWhy =\n    "ask";\n{Reason::none, "none",\n "fine",\n ""},\n'
                  '{Reason::broken, "broken",\n "it is "\n "broken", kWhy},\n')
        rows = reasons.table(header, source).splitlines()
        self.assertEqual(rows[2:], ["| `0x00000000` | `none` | fine |  |",
                                    "| `0x0FE0000A` | `broken` | it is broken | ask |"])
        self.assertEqual(reasons.table(header + "    more = 0x0FE0000B,\n", source), "")

    def test_a_page_that_differs_or_has_no_table_fails(self):
        table = generated.table_of(["a"], [("b",)])
        self.assertTrue(generated.ends_with("words\n\n" + table, table))
        self.assertFalse(generated.ends_with("words\n\n" + table.replace("b", "c"), table))
        self.assertFalse(generated.ends_with("words\n\n", ""))


if __name__ == "__main__":
    unittest.main()
