// SliceAllocator: who has which bytes of our own slice. Private memory; the region holds no word of
// it. Floor 2. First fit in units of a page, neighbours merged.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

namespace smcd::dev::ivshmem {

class SliceAllocator {
public:
    SliceAllocator() = default;

    explicit SliceAllocator(std::uint64_t bytes) { free_.emplace(0, bytes); }

    /// Offset of `bytes` free bytes; nothing when there is no such range. Throws bad_alloc.
    [[nodiscard]] std::optional<std::uint64_t> take(std::uint64_t bytes) {
        for (auto it = free_.begin(); it != free_.end(); ++it) {
            if (it->second >= bytes) {
                const std::uint64_t offset = it->first;
                cut(it, offset, bytes);
                return offset;
            }
        }
        return std::nullopt;
    }

    /// Takes exactly that range; false when a part of it is not free.
    bool take_at(std::uint64_t offset, std::uint64_t bytes) {
        auto it = free_.upper_bound(offset);
        if (it == free_.begin()) {
            return false;
        }
        --it;
        if (bytes > it->second || offset - it->first > it->second - bytes) {
            return false;
        }
        cut(it, offset, bytes);
        return true;
    }

    void give_back(std::uint64_t offset, std::uint64_t bytes) {
        auto next = free_.lower_bound(offset);
        if (next != free_.end() && next->first == offset + bytes) {
            bytes += next->second;
            next = free_.erase(next);
        }
        if (next != free_.begin()) {
            const auto before = std::prev(next);
            if (before->first + before->second == offset) {
                before->second += bytes;
                return;
            }
        }
        free_.emplace_hint(next, offset, bytes);
    }

    [[nodiscard]] std::uint64_t free_bytes() const {
        std::uint64_t sum = 0;
        for (const auto& [offset, bytes] : free_) {
            sum += bytes;
        }
        return sum;
    }

private:
    using Ranges = std::map<std::uint64_t, std::uint64_t>; ///< offset -> bytes

    void cut(Ranges::iterator range, std::uint64_t offset, std::uint64_t bytes) {
        const std::uint64_t begin = range->first;
        const std::uint64_t end = begin + range->second;
        if (offset + bytes < end) {
            free_.emplace(offset + bytes, end - offset - bytes);
        }
        if (offset > begin) {
            range->second = offset - begin;
        } else {
            free_.erase(range);
        }
    }

    Ranges free_;
};

} // namespace smcd::dev::ivshmem
