#include "bench/measure/statistics.hpp"

#include <algorithm>
#include <cmath>

namespace smcd::bench {
namespace {

constexpr double kCoverage = 0.95;

/// P(at most k of n fair coins show heads).
double coin_sum(std::size_t n, std::size_t k) {
    double sum = 0;
    double term = std::pow(0.5, static_cast<double>(n));
    for (std::size_t i = 0; i <= k; ++i) {
        sum += term;
        term *= static_cast<double>(n - i) / static_cast<double>(i + 1);
    }
    return sum;
}

} // namespace

Interval interval_of(std::vector<double> values) {
    if (values.empty()) {
        return {};
    }
    std::sort(values.begin(), values.end());
    const std::size_t n = values.size();
    Interval result;
    result.median = n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
    // Dropping `cut` values at each end leaves out the median with probability 2 P(at most cut - 1
    // ... below it).
    std::size_t cut = 0;
    while (2 * (cut + 1) < n && 1 - 2 * coin_sum(n, cut + 1) >= kCoverage) {
        ++cut;
    }
    result.low = values[cut];
    result.high = values[n - 1 - cut];
    result.coverage = n == 1 ? 0 : 1 - 2 * coin_sum(n, cut);
    return result;
}

} // namespace smcd::bench
