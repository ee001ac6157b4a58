#include <gtest/gtest.h>

#include "smcd/tools/run_words.hpp"

namespace smcd::tools {
namespace {

using Words = std::vector<std::string>;

struct Row {
    Words words;
    Words own;
    Words command;
};

TEST(RunWordsTest, SplitsWhereTheCommandBegins) {
    const std::vector<Row> rows{
        {{"ls"},                             {},                       {"ls"}           },
        {{"ls", "-r", "5"},                  {},                       {"ls", "-r", "5"}},
        {{"-r", "64k", "ls", "-l"},          {"-r", "64k"},            {"ls", "-l"}     },
        {{"-r64k", "ls"},                    {"-r64k"},                {"ls"}           },
        {{"-dr", "64k", "ls"},               {"-dr", "64k"},           {"ls"}           },
        {{"--rcvbuf=64k", "ls"},             {"--rcvbuf=64k"},         {"ls"}           },
        {{"--profile", "latency", "ls"},     {"--profile", "latency"}, {"ls"}           },
        {{"--debug", "--", "ls", "--", "x"}, {"--debug"},              {"ls", "--", "x"}},
        {{"--", "-x"},                       {},                       {"-x"}           },
        {{"--help"},                         {"--help"},               {}               },
        {{"--foo", "ls"},                    {"--foo"},                {"ls"}           },
        {{"-", "a"},                         {},                       {"-", "a"}       },
        {{"", "a"},                          {},                       {"", "a"}        },
        {{"--"},                             {},                       {}               },
        {{"-r"},                             {"-r"},                   {}               },
        {{},                                 {},                       {}               },
    };
    for (const Row& row : rows) {
        const RunWords split = split_run_words(row.words);

        EXPECT_EQ(split.own, row.own) << ::testing::PrintToString(row.words);
        EXPECT_EQ(split.command, row.command) << ::testing::PrintToString(row.words);
    }
}

} // namespace
} // namespace smcd::tools
