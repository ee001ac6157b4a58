// Relaxed<T>: a variable that one thread may read while another changes it. Floor 0.
//
// Reads and writes are atomic and relaxed: nothing is ordered by them, and they cost what a plain variable costs. Arithmetic
// is not atomic as a whole; a change of another thread at the same moment may be lost, which heuristics bear.
#pragma once

#include <atomic>
#include <type_traits>

namespace smcd {

template <typename T>
class Relaxed {
public:
    constexpr Relaxed() noexcept = default;
    constexpr Relaxed(T value) noexcept : value_(value) {} // NOLINT(google-explicit-constructor): a number
    constexpr Relaxed(const Relaxed& other) noexcept : value_(other.get()) {}
    Relaxed& operator=(const Relaxed& other) noexcept { return *this = other.get(); }
    ~Relaxed() = default;
    [[nodiscard]] T get() const noexcept { return value_.load(std::memory_order_relaxed); }
    operator T() const noexcept { return get(); } // NOLINT(google-explicit-constructor)

    T operator->() const noexcept
        requires std::is_pointer_v<T>
    {
        return *this;
    }

    Relaxed& operator=(T value) noexcept {
        value_.store(value, std::memory_order_relaxed);
        return *this;
    }
    Relaxed& operator+=(T by) noexcept { return *this = static_cast<T>(*this + by); }
    Relaxed& operator/=(T by) noexcept { return *this = static_cast<T>(*this / by); }
    T operator++() noexcept { return *this += 1; }

private:
    std::atomic<T> value_{};
};

} // namespace smcd
