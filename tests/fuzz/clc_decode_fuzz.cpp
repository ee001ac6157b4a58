// Fuzz target: any bytes as a CLC message. What decodes must encode to something that decodes to
// the same value. Floor 4.
#include <cstdlib>

#include "clc/messages.hpp"
#include "tests/fuzz/target.hpp"

namespace {

template <typename Decode>
void check(std::span<const std::byte> bytes, const Decode& decode) {
    const auto value = decode(bytes);
    if (!value) {
        return;
    }
    const smcd::clc::Message once = smcd::clc::encode(*value);
    const auto again = decode(once.span());
    if (!again) {
        std::abort();
    }
    // Encoding settles after one round: what we send is what we would read.
    const smcd::clc::Message twice = smcd::clc::encode(*again);
    if (twice.size != once.size || twice.data != once.data) {
        std::abort();
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span(data, size));
    static_cast<void>(smcd::clc::decode_header(bytes));
    check(bytes, smcd::clc::decode_proposal);
    check(bytes, smcd::clc::decode_accept_confirm);
    check(bytes, smcd::clc::decode_decline);
    return 0;
}
