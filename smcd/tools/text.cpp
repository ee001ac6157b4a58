#include "smcd/tools/text.hpp"

#include <algorithm>
#include <cstdio>

namespace smcd::tools {

std::string hex(std::uint64_t value, int digits) {
    char buffer[32];
    std::snprintf(
        buffer, sizeof(buffer), "0x%0*llx", digits, static_cast<unsigned long long>(value));
    return buffer;
}

std::string printable(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
        if (c < 0x20 || c > 0x7e) {
            c = '?';
        }
    }
    return out;
}

std::string Table::render() const {
    std::vector<std::size_t> widths(rows_.front().size(), 0);
    for (const auto& row : rows_) {
        for (std::size_t i = 0; i < row.size() && i < widths.size(); ++i) {
            widths[i] = std::max(widths[i], row[i].size());
        }
    }
    std::string out;
    for (const auto& row : rows_) {
        std::string line;
        for (std::size_t i = 0; i < row.size() && i < widths.size(); ++i) {
            const std::string padding(widths[i] - row[i].size(), ' ');
            const bool right = std::find(right_.begin(), right_.end(), i) != right_.end();
            line += i == 0 ? "" : "  ";
            line += right ? padding + row[i] : row[i] + padding;
        }
        line.erase(line.find_last_not_of(' ') + 1);
        out += line + '\n';
    }
    return out;
}

} // namespace smcd::tools
