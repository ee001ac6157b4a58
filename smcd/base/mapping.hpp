// Mapping: owns one mmap()ed range. Floor 0.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <span>
#include <utility>

#include "smcd/base/result.hpp"

namespace smcd {

class Mapping {
public:
    Mapping() noexcept = default;
    Mapping(Mapping&& other) noexcept
        : address_(std::exchange(other.address_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    Mapping& operator=(Mapping&& other) noexcept {
        if (this != &other) {
            reset();
            address_ = std::exchange(other.address_, nullptr);
            size_ = std::exchange(other.size_, 0);
        }
        return *this;
    }
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    ~Mapping() { reset(); }

    /// Maps size_bytes of fd from its start, shared. Errors: those of mmap().
    static Result<Mapping> map_shared(int fd, std::size_t size_bytes, int protection) {
        return map(fd, size_bytes, protection, MAP_SHARED);
    }

    /// Maps zeroed memory that stays shared with children of fork().
    static Result<Mapping> map_anonymous_shared(std::size_t size_bytes) {
        return map(-1, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
    }

    [[nodiscard]] std::byte* data() const noexcept { return address_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::span<std::byte> bytes() const noexcept { return {address_, size_}; }
    explicit operator bool() const noexcept { return address_ != nullptr; }

    void reset() noexcept {
        if (address_ != nullptr) {
            ::munmap(address_, size_);
        }
        address_ = nullptr;
        size_ = 0;
    }

private:
    static Result<Mapping> map(int fd, std::size_t size_bytes, int protection, int flags) {
        void* address = ::mmap(nullptr, size_bytes, protection, flags, fd, 0);
        if (address == MAP_FAILED) {
            return errno_error();
        }
        Mapping mapping;
        mapping.address_ = static_cast<std::byte*>(address);
        mapping.size_ = size_bytes;
        return mapping;
    }

    std::byte* address_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace smcd
