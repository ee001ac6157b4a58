// The forms in which a result leaves the program. Floor 4.
#pragma once

#include <string>

#include "bench/measure/campaign.hpp"

namespace smcd::bench {

/// For people: settings, one row per line, ratios, floor.
[[nodiscard]] std::string table_text(const Options& options, const Result& result);
/// The report with its series, as JSON; field names as in report.proto.
[[nodiscard]] std::string json_text(const Result& result);
/// One row per sample.
[[nodiscard]] std::string csv_text(const Result& result);
/// A picture: the medians with their intervals over the message size.
[[nodiscard]] std::string svg_text(const Options& options, const Result& result);

/// Writes everything that the options ask for. false: a file could not be written; said on stderr.
[[nodiscard]] bool write_all(const Options& options, const Result& result);

/// "64", "4k", "1M", or with digits behind the point; for axes and rows.
[[nodiscard]] std::string size_label(double bytes);

} // namespace smcd::bench
