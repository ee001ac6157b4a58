// The byte stream that every test of this room sends: each byte depends on (seed, position), so
// a lost, repeated, swapped or foreign byte is found at its exact position.
// Room tests/e2e, no protocol section.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace smcd::e2e {

/// Word number `index` of the stream `seed` (splitmix64).
[[nodiscard]] inline std::uint64_t pattern_word(std::uint64_t seed, std::uint64_t index) {
    std::uint64_t word = seed + (index + 1) * 0x9e3779b97f4a7c15ULL;
    word = (word ^ (word >> 30U)) * 0xbf58476d1ce4e5b9ULL;
    word = (word ^ (word >> 27U)) * 0x94d049bb133111ebULL;
    return word ^ (word >> 31U);
}

/// Writes the stream's bytes [position, position + size) to `out`.
inline void pattern_fill(char* out, std::size_t size, std::uint64_t seed, std::uint64_t position) {
    while (size > 0) {
        const std::uint64_t word = pattern_word(seed, position / 8);
        const std::size_t skip = position % 8;
        const std::size_t part = std::min<std::size_t>(8 - skip, size);
        char bytes[8];
        std::memcpy(bytes, &word, sizeof bytes);
        std::memcpy(out, bytes + skip, part);
        out += part;
        size -= part;
        position += part;
    }
}

/// The offset of the first byte of `data` that differs from the stream at `position`, or `size`.
[[nodiscard]] inline std::size_t
pattern_mismatch(const char* data, std::size_t size, std::uint64_t seed, std::uint64_t position) {
    std::size_t done = 0;
    while (done < size) {
        const std::uint64_t word = pattern_word(seed, (position + done) / 8);
        const std::size_t skip = (position + done) % 8;
        const std::size_t part = std::min<std::size_t>(8 - skip, size - done);
        char bytes[8];
        std::memcpy(bytes, &word, sizeof bytes);
        if (std::memcmp(data + done, bytes + skip, part) != 0) {
            while (data[done] == bytes[(position + done) % 8]) {
                ++done;
            }
            return done;
        }
        done += part;
    }
    return size;
}

} // namespace smcd::e2e
