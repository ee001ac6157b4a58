// Histogram, intervals, plans and words of `smcu bench`.
#include <algorithm>
#include <cmath>
#include <random>
#include <sstream>

#include <gtest/gtest.h>

#include "bench/measure/histogram.hpp"
#include "bench/measure/plan.hpp"
#include "bench/measure/sample.hpp"
#include "bench/measure/statistics.hpp"
#include "bench/measure/words.hpp"

namespace smcd::bench {
namespace {

TEST(HistogramTest, IsExactForSmallValuesAndWithinAThousandthForLarge) {
    Histogram histogram;
    std::mt19937_64 random(1);
    std::vector<std::uint64_t> values;
    for (int i = 0; i < 20'000; ++i) {
        values.push_back(random() >> (20 + random() % 40));
        values.back() = std::min<std::uint64_t>(values.back(), 80'000'000'000'000);
        histogram.record(values.back());
    }
    std::sort(values.begin(), values.end());
    for (const double percent : {0.005, 1.0, 25.0, 50.0, 90.0, 99.0, 99.99, 100.0}) {
        const auto rank = static_cast<std::size_t>(std::ceil(percent / 100 * 20'000 - 1e-9));
        const std::uint64_t wanted = values[rank - 1];
        const std::uint64_t got = histogram.percentile_ns(percent);
        EXPECT_GE(got, wanted) << percent;
        EXPECT_LE(static_cast<double>(got), static_cast<double>(wanted) * 1.001) << percent;
    }
    EXPECT_EQ(histogram.min_ns(), values.front());
    EXPECT_EQ(histogram.max_ns(), values.back());
    EXPECT_EQ(histogram.count(), 20'000U);
}

TEST(HistogramTest, TravelsAsBuckets) {
    Histogram histogram;
    for (const std::uint64_t value : {1ULL, 1ULL, 5'000ULL, 123'456'789ULL}) {
        histogram.record(value);
    }
    Histogram copy;
    for (const auto& [index, count] : histogram.buckets()) {
        copy.add_bucket(index, count);
    }
    EXPECT_EQ(copy.count(), 4U);
    EXPECT_EQ(copy.buckets(), histogram.buckets());
    EXPECT_EQ(copy.percentile_ns(50), 1U);
    copy.add_bucket(UINT32_MAX, 1); // out of range: ignored
    EXPECT_EQ(copy.count(), 4U);
}

TEST(HistogramTest, TextHasTheColumnsAndTheFooterOfHdrHistogram) {
    Histogram histogram;
    for (std::uint64_t i = 1; i <= 1000; ++i) {
        histogram.record(i * 1000);
    }
    std::istringstream text(histogram.percentile_text());
    std::string line;
    std::getline(text, line);
    EXPECT_EQ(line, "       Value     Percentile TotalCount 1/(1-Percentile)");
    std::getline(text, line);
    double last = -1;
    std::vector<std::string> footer;
    while (std::getline(text, line)) {
        if (line[0] == '#') {
            footer.push_back(line);
            continue;
        }
        double value = 0;
        double percentile = 0;
        double count = 0;
        std::istringstream(line) >> value >> percentile >> count;
        EXPECT_GE(percentile, last);
        EXPECT_GE(count + 1e-6, percentile * 1000);
        EXPECT_NEAR(value, count, 2); // the values are 1..1000 us
        last = percentile;
    }
    EXPECT_EQ(last, 1.0);
    ASSERT_EQ(footer.size(), 3U);
    EXPECT_NE(footer[0].find("#[Mean    ="), std::string::npos);
    EXPECT_NE(footer[1].find("Total count    =         1000]"), std::string::npos);
    EXPECT_NE(footer[2].find("SubBuckets"), std::string::npos);
}

TEST(HistogramTest, NothingRecorded) {
    const Histogram histogram;
    EXPECT_EQ(histogram.percentile_ns(50), 0U);
    EXPECT_EQ(histogram.mean_ns(), 0);
    EXPECT_FALSE(histogram.percentile_text().empty());
}

TEST(IntervalTest, OfFewAndOfMany) {
    EXPECT_EQ(interval_of({}).median, 0);
    const Interval three = interval_of({3, 1, 2});
    EXPECT_EQ(three.median, 2);
    EXPECT_EQ(three.low, 1);
    EXPECT_EQ(three.high, 3);
    EXPECT_DOUBLE_EQ(three.coverage, 0.75);
    EXPECT_EQ(interval_of({1, 2}).median, 1.5);
    std::vector<double> values;
    for (int i = 1; i <= 9; ++i) {
        values.push_back(i);
    }
    // The second and the eighth of nine: 1 - 2 (1 + 9) / 512.
    const Interval nine = interval_of(values);
    EXPECT_EQ(nine.low, 2);
    EXPECT_EQ(nine.high, 8);
    EXPECT_NEAR(nine.coverage, 1 - 20.0 / 512, 1e-12);
}

TEST(PlanTest, SurvivesTheCommandLine) {
    Plan plan;
    plan.mode = Mode::mixed;
    plan.path = Path::zerocopy;
    plan.message_bytes = 64U << 20U;
    plan.seconds = 0.25;
    plan.count = 7;
    plan.connections = 3;
    plan.batch = 32;
    plan.rate = 1234.5;
    plan.nodelay = false;
    plan.congestion.clear();
    plan.profile = "latency";
    plan.client_cpu = 1;
    const auto words = plan.words();
    const auto back = parse_plan(words);
    ASSERT_TRUE(back.has_value());
    EXPECT_EQ(back->words(), words);
    EXPECT_EQ(back->congestion, "");
    EXPECT_EQ(back->profile, "latency");
    EXPECT_FALSE(parse_plan({"pingpong"}).has_value());
    auto wrong = words;
    wrong[1] = "pigeon";
    EXPECT_FALSE(parse_plan(wrong).has_value());
}

/// The preset rfc asks for a million round trips, which take TCP a minute where both ends sleep.
TEST(PlanTest, PatienceGrowsWithTheMessagesAndTheirBytes) {
    Plan plan;
    plan.seconds = 2;
    const double timed = patience_s(plan);
    EXPECT_LT(timed, 120);
    plan.count = 1'000'000;
    plan.message_bytes = 100;
    EXPECT_GT(patience_s(plan), 240);
    plan.count = 1000;
    plan.message_bytes = 64U << 20U;
    EXPECT_GT(patience_s(plan), 600);
}

TEST(WordsTest, ModesSizesPathsAndCpus) {
    EXPECT_EQ(mode_of_word("pp"), Mode::pingpong);
    EXPECT_EQ(mode_of_word("under-load"), Mode::load);
    EXPECT_EQ(mode_of_word("stream"), Mode::stream);
    EXPECT_FALSE(mode_of_word("fly").has_value());
    std::vector<std::uint64_t> sizes;
    EXPECT_TRUE(parse_sizes("1,64k,64M", sizes));
    EXPECT_EQ(sizes, (std::vector<std::uint64_t>{1, 65'536, 64U << 20U}));
    for (const char* text : {"0", "65M", "x", "1,,2", "-1"}) {
        EXPECT_FALSE(parse_sizes(text, sizes)) << text;
    }
    std::vector<Path> paths;
    EXPECT_TRUE(parse_paths("shim,zerocopy", true, paths));
    EXPECT_EQ(paths, (std::vector<Path>{Path::shim, Path::zerocopy}));
    EXPECT_FALSE(parse_paths("tcp", true, paths));
    EXPECT_TRUE(parse_paths("none", false, paths));
    EXPECT_TRUE(paths.empty());
    EXPECT_FALSE(parse_paths("", false, paths));
    Options options;
    EXPECT_TRUE(parse_cpus("3,1", options));
    EXPECT_EQ(options.server_cpu, 3);
    EXPECT_EQ(options.client_cpu, 1);
    EXPECT_TRUE(parse_cpus("same", options));
    for (const char* text : {"1", "a,b", "1,2,3", "-1,0"}) {
        EXPECT_FALSE(parse_cpus(text, options)) << text;
    }
}

} // namespace
} // namespace smcd::bench
