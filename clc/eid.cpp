#include <algorithm>

#include "clc/messages.hpp"

namespace smcd::clc {
namespace {

bool is_alphanumeric(char c) noexcept {
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

}  // namespace

Result<Eid> make_ueid(std::string_view text) {
    const bool valid = !text.empty() && text.size() <= kEidBytes && is_alphanumeric(text.front()) &&
                       text.find("..") == std::string_view::npos &&
                       std::all_of(text.begin(), text.end(), [](char c) {
                           return is_alphanumeric(c) || c == '.' || c == '-';
                       });
    if (!valid) {
        return Error(std::errc::invalid_argument);
    }
    Eid eid;
    eid.text.fill(' ');
    std::copy(text.begin(), text.end(), eid.text.begin());
    return eid;
}

const Eid& default_ueid() noexcept {
    static const Eid eid = *make_ueid("SMCD-IN-USER-SPACE");
    return eid;
}

}  // namespace smcd::clc
