#include "bench/measure/histogram.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>

namespace smcd::bench {
namespace {

constexpr std::uint32_t kHalfBits = 10; // 1024 parts in each doubling
constexpr std::uint32_t kHalf = 1U << kHalfBits;
constexpr std::uint64_t kValueMax = 86'400'000'000'000;
constexpr double kNsPerUs = 1000.0;
constexpr int kTicksPerHalfDistance = 5;

} // namespace

std::uint32_t Histogram::index_of(std::uint64_t value) noexcept {
    if (value < 2 * kHalf) {
        return static_cast<std::uint32_t>(value);
    }
    const auto shift = static_cast<std::uint32_t>(std::bit_width(value)) - kHalfBits - 1;
    return shift * kHalf + static_cast<std::uint32_t>(value >> shift);
}

std::uint64_t Histogram::highest_of(std::uint32_t index) noexcept {
    if (index < 2 * kHalf) {
        return index;
    }
    const std::uint32_t shift = index / kHalf - 1;
    return ((std::uint64_t{index - shift * kHalf} + 1) << shift) - 1;
}

Histogram::Histogram() : counts_(index_of(kValueMax) + 1) {}

void Histogram::record(std::uint64_t value_ns, std::uint64_t count) noexcept {
    value_ns = std::min(value_ns, kValueMax);
    counts_[index_of(value_ns)] += count;
    count_ += count;
    min_ = std::min(min_, value_ns);
    max_ = std::max(max_, value_ns);
}

void Histogram::add(const Histogram& other) {
    for (std::size_t i = 0; i < counts_.size(); ++i) {
        counts_[i] += other.counts_[i];
    }
    count_ += other.count_;
    min_ = std::min(min_, other.min_);
    max_ = std::max(max_, other.max_);
}

double Histogram::mean_ns() const noexcept {
    double sum = 0;
    for (std::uint32_t i = 0; i < counts_.size(); ++i) {
        sum += static_cast<double>(counts_[i]) * static_cast<double>(highest_of(i));
    }
    return count_ == 0 ? 0 : sum / static_cast<double>(count_);
}

double Histogram::deviation_ns() const noexcept {
    const double mean = mean_ns();
    double sum = 0;
    for (std::uint32_t i = 0; i < counts_.size(); ++i) {
        const double off = static_cast<double>(highest_of(i)) - mean;
        sum += static_cast<double>(counts_[i]) * off * off;
    }
    return count_ == 0 ? 0 : std::sqrt(sum / static_cast<double>(count_));
}

std::uint64_t Histogram::percentile_ns(double percent) const noexcept {
    const auto wanted = static_cast<std::uint64_t>(
        std::max(1.0, std::ceil(percent / 100.0 * static_cast<double>(count_) - 1e-9)));
    std::uint64_t seen = 0;
    for (std::uint32_t i = 0; i < counts_.size(); ++i) {
        seen += counts_[i];
        if (seen >= wanted) {
            return std::clamp(highest_of(i), min_ns(), max_);
        }
    }
    return max_;
}

std::vector<std::pair<std::uint32_t, std::uint64_t>> Histogram::buckets() const {
    std::vector<std::pair<std::uint32_t, std::uint64_t>> found;
    for (std::uint32_t i = 0; i < counts_.size(); ++i) {
        if (counts_[i] != 0) {
            found.emplace_back(i, counts_[i]);
        }
    }
    return found;
}

void Histogram::add_bucket(std::uint32_t index, std::uint64_t count) {
    if (index < counts_.size() && count != 0) {
        record(highest_of(index), count);
    }
}

std::string Histogram::percentile_text(double scale) const {
    std::string text = "       Value     Percentile TotalCount 1/(1-Percentile)\n\n";
    char line[128];
    const auto value = [&](std::uint64_t ns) { return static_cast<double>(ns) / kNsPerUs * scale; };
    std::uint64_t seen = 0;
    double next = 0; // the next percentile to be told
    for (std::uint32_t i = 0; i < counts_.size() && count_ != 0; ++i) {
        seen += counts_[i];
        const double here = static_cast<double>(seen) / static_cast<double>(count_);
        while (counts_[i] != 0 && here >= next && next < 1.0) {
            std::snprintf(line,
                          sizeof(line),
                          "%12.3f %2.12f %10llu %14.2f\n",
                          value(std::min(highest_of(i), max_)),
                          next,
                          static_cast<unsigned long long>(seen),
                          1.0 / (1.0 - next));
            text += line;
            if (here >= 1.0) {
                break;
            }
            const double halves = std::pow(2.0, std::floor(std::log2(1.0 / (1.0 - next))) + 1);
            next += 1.0 / (kTicksPerHalfDistance * halves);
        }
    }
    if (count_ != 0) {
        std::snprintf(line,
                      sizeof(line),
                      "%12.3f %2.12f %10llu\n",
                      value(max_),
                      1.0,
                      static_cast<unsigned long long>(count_));
        text += line;
    }
    std::snprintf(line,
                  sizeof(line),
                  "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n",
                  mean_ns() / kNsPerUs * scale,
                  deviation_ns() / kNsPerUs * scale);
    text += line;
    std::snprintf(line,
                  sizeof(line),
                  "#[Max     = %12.3f, Total count    = %12llu]\n",
                  value(max_),
                  static_cast<unsigned long long>(count_));
    text += line;
    std::snprintf(line,
                  sizeof(line),
                  "#[Buckets = %12zu, SubBuckets     = %12u]\n",
                  counts_.size() / kHalf,
                  2 * kHalf);
    return text + line;
}

} // namespace smcd::bench
