// Histogram of times with a relative error below 0.1 %, and its text in the format of HdrHistogram.
// Floor 4.
//
// Buckets double in width, each cut into 1024 equal parts; so recording is a shift and an
// increment.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace smcd::bench {

class Histogram {
public:
    Histogram();
    /// Thread: one at a time. Values above a day count as a day.
    void record(std::uint64_t value_ns, std::uint64_t count = 1) noexcept;
    void add(const Histogram& other);

    [[nodiscard]] std::uint64_t count() const noexcept { return count_; }

    [[nodiscard]] std::uint64_t min_ns() const noexcept { return count_ == 0 ? 0 : min_; }

    [[nodiscard]] std::uint64_t max_ns() const noexcept { return max_; }

    [[nodiscard]] double mean_ns() const noexcept;
    [[nodiscard]] double deviation_ns() const noexcept;
    /// Smallest recorded value that at least that share (0..100) of all does not exceed.
    [[nodiscard]] std::uint64_t percentile_ns(double percent) const noexcept;

    /// (index, count) of buckets that are not empty; from_buckets() makes the same histogram of
    /// them.
    [[nodiscard]] std::vector<std::pair<std::uint32_t, std::uint64_t>> buckets() const;
    void add_bucket(std::uint32_t index, std::uint64_t count);

    /// Value in microseconds times `scale`, Percentile, TotalCount, 1/(1-Percentile), and three
    /// lines of footer.
    [[nodiscard]] std::string percentile_text(double scale = 1.0) const;

private:
    static std::uint32_t index_of(std::uint64_t value) noexcept;
    static std::uint64_t highest_of(std::uint32_t index) noexcept;

    std::vector<std::uint64_t> counts_;
    std::uint64_t count_ = 0;
    std::uint64_t min_ = UINT64_MAX;
    std::uint64_t max_ = 0;
};

} // namespace smcd::bench
