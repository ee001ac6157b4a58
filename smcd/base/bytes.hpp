// ByteReader and ByteWriter: big-endian fields in a span, with no way past its end. Floor 0.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace smcd {

/// Reads forward; the first read past the end makes this and all later reads fail (values are zero then).
class ByteReader {
public:
    explicit ByteReader(std::span<const std::byte> bytes) noexcept : bytes_(bytes) {}

    template <std::unsigned_integral T>
    T be() noexcept {
        T value = 0;
        for (const std::byte b : take(sizeof(T))) {
            value = static_cast<T>(static_cast<T>(value << 7U << 1U) | std::to_integer<T>(b));
        }
        return value;
    }
    std::span<const std::byte> take(std::size_t n) noexcept {
        if (n > bytes_.size() - offset_) {
            failed_ = true;
            offset_ = bytes_.size();
            return {};
        }
        const auto part = bytes_.subspan(offset_, n);
        offset_ += n;
        return part;
    }
    void skip(std::size_t n) noexcept { static_cast<void>(take(n)); }
    /// A reader over [offset, end) of the whole; fails where the offset lies outside.
    [[nodiscard]] ByteReader at(std::size_t offset) const noexcept {
        ByteReader reader(bytes_);
        reader.skip(offset);
        return reader;
    }
    [[nodiscard]] bool failed() const noexcept { return failed_; }
    [[nodiscard]] std::size_t rest() const noexcept { return bytes_.size() - offset_; }

private:
    std::span<const std::byte> bytes_;
    std::size_t offset_ = 0;
    bool failed_ = false;
};

/// Writes forward into a caller's span; counts on past its end, so that one run can measure.
class ByteWriter {
public:
    explicit ByteWriter(std::span<std::byte> bytes) noexcept : bytes_(bytes) {}

    template <std::unsigned_integral T>
    void be(T value) noexcept {
        for (std::size_t i = sizeof(T); i-- > 0;) {
            put(static_cast<std::byte>(value >> (8 * i)));
        }
    }
    void bytes(std::span<const std::byte> data) noexcept {
        for (const std::byte b : data) {
            put(b);
        }
    }
    void zeros(std::size_t n) noexcept {
        for (; n > 0; --n) {
            put(std::byte{0});
        }
    }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool fits() const noexcept { return size_ <= bytes_.size(); }

private:
    void put(std::byte b) noexcept {
        if (size_ < bytes_.size()) {
            bytes_[size_] = b;
        }
        ++size_;
    }
    std::span<std::byte> bytes_;
    std::size_t size_ = 0;
};

}  // namespace smcd
