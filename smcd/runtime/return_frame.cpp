#include "smcd/runtime/return_frame.hpp"

#include <algorithm>

#include "smcd/base/bytes.hpp"

namespace smcd {
namespace {

constexpr std::array<std::byte, 8> kHead{std::byte{'S'}, std::byte{'M'}, std::byte{'C'}, std::byte{'T'}, std::byte{1}};

void put(ByteWriter& writer, Cursor cursor) noexcept {
    writer.be<std::uint16_t>(cursor.wrap);
    writer.be<std::uint32_t>(cursor.count);
    writer.be<std::uint16_t>(0);
}

Cursor get(ByteReader& reader) noexcept {
    Cursor cursor;
    cursor.wrap = reader.be<std::uint16_t>();
    cursor.count = reader.be<std::uint32_t>();
    reader.skip(2);
    return cursor;
}

}  // namespace

std::array<std::byte, kReturnFrameBytes> encode(const ReturnFrame& frame) noexcept {
    std::array<std::byte, kReturnFrameBytes> bytes{};
    ByteWriter writer(bytes);
    writer.bytes(kHead);
    put(writer, frame.consumed);
    put(writer, frame.produced);
    return bytes;
}

FrameFront decode(std::span<const std::byte> inbound, ReturnFrame& frame) noexcept {
    const std::size_t known = std::min(inbound.size(), kHead.size());
    if (!std::equal(kHead.begin(), kHead.begin() + static_cast<std::ptrdiff_t>(known), inbound.begin())) {
        return FrameFront::garbage;
    }
    if (inbound.size() < kReturnFrameBytes) {
        return FrameFront::incomplete;
    }
    ByteReader reader(inbound.first(kReturnFrameBytes));
    reader.skip(kHead.size());
    frame.consumed = get(reader);
    frame.produced = get(reader);
    return FrameFront::frame;
}

}  // namespace smcd
