#include "smcd/tools/size_text.hpp"

#include <charconv>

namespace smcd::tools {
namespace {

/// Shift that a suffix stands for, or -1.
int shift_of(std::string_view suffix) noexcept {
    if (suffix.empty()) {
        return 0;
    }
    if (suffix == "k" || suffix == "K") {
        return 10;
    }
    return suffix == "m" || suffix == "M" ? 20 : -1;
}

} // namespace

std::optional<std::uint64_t> parse_size_text(std::string_view text) noexcept {
    std::uint64_t number = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    const int shift = shift_of(std::string_view(stop, static_cast<std::size_t>(end - stop)));
    if (error != std::errc() || shift < 0 || number == 0 || number > kSizeBytesMax >> shift) {
        return std::nullopt;
    }
    return number << shift;
}

} // namespace smcd::tools
