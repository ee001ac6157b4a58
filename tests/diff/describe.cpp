#include "tests/diff/describe.hpp"

#include <poll.h>

#include <array>
#include <cstring>

namespace smcd::diff {
namespace {

struct Bit {
    unsigned value;
    const char* name;
};

constexpr std::array kBits = {
    Bit{POLLIN,    "IN"   },
    Bit{POLLPRI,   "PRI"  },
    Bit{POLLOUT,   "OUT"  },
    Bit{POLLERR,   "ERR"  },
    Bit{POLLHUP,   "HUP"  },
    Bit{POLLNVAL,  "NVAL" },
    Bit{POLLRDHUP, "RDHUP"},
};

} // namespace

std::string describe(const Outcome& outcome) {
    std::string text = std::to_string(outcome.value);
    if (outcome.error != 0) {
        const char* name = ::strerrorname_np(outcome.error);
        text += std::string(" ") + (name != nullptr ? name : std::to_string(outcome.error));
    }
    if (outcome.sigpipes != 0) {
        text += " SIGPIPE";
    }
    if (outcome.hash != 0) {
        text += " bytes";
        for (std::size_t i = 0;
             i < outcome.bytes.size() && static_cast<std::int64_t>(i) < outcome.value;
             ++i) {
            constexpr const char* kDigits = "0123456789abcdef";
            const auto byte = static_cast<unsigned char>(outcome.bytes[i]);
            text += {' ', kDigits[byte >> 4U], kDigits[byte & 15U]};
        }
        text += " (hash " + std::to_string(outcome.hash) + ")";
    }
    for (std::int32_t i = 0; i < outcome.extra_count; ++i) {
        text += (i == 0 ? " [" : " ") + std::to_string(outcome.extra[static_cast<std::size_t>(i)]);
    }
    return text + (outcome.extra_count > 0 ? "]" : "");
}

std::string describe(const View& view) {
    if (!view.open) {
        return "closed";
    }
    std::string text;
    for (const Bit& bit : kBits) {
        if ((view.events & bit.value) != 0) {
            text += (text.empty() ? "" : "|") + std::string(bit.name);
        }
    }
    return (text.empty() ? "no event" : text) + ", unread " + std::to_string(view.unread);
}

} // namespace smcd::diff
