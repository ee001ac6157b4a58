// Plain text for people: tables with aligned columns, hexadecimal codes, safe names. Floor 4, no
// protocol.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace smcd::tools {

/// "0x03010000"; at least `digits` digits.
[[nodiscard]] std::string hex(std::uint64_t value, int digits = 8);

/// Text of another process for a terminal: control characters and bytes outside ASCII become '?'.
[[nodiscard]] std::string printable(std::string_view text);

/// Calls f for each line, without its newline.
template <typename F>
void for_each_line(std::string_view text, F&& f) {
    while (!text.empty()) {
        const auto end = text.find('\n');
        f(text.substr(0, end));
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
}

/// Rows of cells; render() pads each column to its widest cell. The last column is not padded.
class Table {
public:
    explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}

    void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }

    /// Numbers of this column (from 0) are right-aligned.
    void align_right(std::size_t column) { right_.push_back(column); }

    [[nodiscard]] std::string render() const;

private:
    std::vector<std::vector<std::string>> rows_;
    std::vector<std::size_t> right_;
};

} // namespace smcd::tools
