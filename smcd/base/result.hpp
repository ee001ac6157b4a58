// Result<T>: a value or an error code; the names follow std::expected (C++23).
// Floor 0, no protocol. Errors are values here: nothing in the tree throws across a room border.
#pragma once

#include <cerrno>
#include <system_error>
#include <utility>
#include <variant>

namespace smcd {

/// The error half of a Result; converts implicitly into any Result<T>.
class Error {
public:
    explicit Error(std::error_code code) noexcept : code_(code) {}
    explicit Error(std::errc code) noexcept : code_(std::make_error_code(code)) {}
    [[nodiscard]] std::error_code code() const noexcept { return code_; }

private:
    std::error_code code_;
};

/// The current errno (or the given value) as an Error of the generic category.
[[nodiscard]] inline Error errno_error(int value = errno) noexcept {
    return Error(std::error_code(value, std::generic_category()));
}

template <typename T>
class [[nodiscard]] Result {
public:
    using value_type = T;

    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(google-explicit-constructor): value or error, both convert
    Result(Error error) : state_(std::in_place_index<1>, error.code()) {}  // NOLINT(google-explicit-constructor): value or error, both convert

    [[nodiscard]] bool has_value() const noexcept { return state_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }

    T& operator*() & noexcept { return *std::get_if<0>(&state_); }
    const T& operator*() const& noexcept { return *std::get_if<0>(&state_); }
    T&& operator*() && noexcept { return std::move(*std::get_if<0>(&state_)); }
    T* operator->() noexcept { return std::get_if<0>(&state_); }
    const T* operator->() const noexcept { return std::get_if<0>(&state_); }

    [[nodiscard]] T& value() & noexcept { return **this; }
    [[nodiscard]] const T& value() const& noexcept { return **this; }
    [[nodiscard]] T&& value() && noexcept { return std::move(**this); }

    /// The error; an empty code when there is a value.
    [[nodiscard]] std::error_code error() const noexcept {
        const auto* code = std::get_if<1>(&state_);
        return code == nullptr ? std::error_code() : *code;
    }

    template <typename U>
    [[nodiscard]] T value_or(U&& fallback) const {
        return has_value() ? **this : static_cast<T>(std::forward<U>(fallback));
    }

private:
    std::variant<T, std::error_code> state_;
};

template <>
class [[nodiscard]] Result<void> {
public:
    using value_type = void;

    Result() noexcept = default;
    Result(Error error) noexcept : code_(error.code()) {}  // NOLINT(google-explicit-constructor): value or error, both convert

    [[nodiscard]] bool has_value() const noexcept { return !code_; }
    explicit operator bool() const noexcept { return has_value(); }
    [[nodiscard]] std::error_code error() const noexcept { return code_; }

private:
    std::error_code code_;
};

}  // namespace smcd

#define SMCD_TRY_JOIN_(a, b) a##b
#define SMCD_TRY_JOIN(a, b) SMCD_TRY_JOIN_(a, b)

/// SMCD_TRY(auto x, expression): declares x from the value, or returns the error from the enclosing function.
#define SMCD_TRY(declaration, ...)                                                                 \
    auto SMCD_TRY_JOIN(smcd_try_, __LINE__) = (__VA_ARGS__);                                       \
    if (!SMCD_TRY_JOIN(smcd_try_, __LINE__)) {                                                     \
        return ::smcd::Error(SMCD_TRY_JOIN(smcd_try_, __LINE__).error());                          \
    }                                                                                              \
    declaration = *std::move(SMCD_TRY_JOIN(smcd_try_, __LINE__))

/// SMCD_TRY_VOID(expression): returns the error of a Result<void> from the enclosing function.
#define SMCD_TRY_VOID(...)                                                                         \
    if (auto smcd_try_result = (__VA_ARGS__); !smcd_try_result) {                                  \
        return ::smcd::Error(smcd_try_result.error());                                             \
    }                                                                                              \
    static_cast<void>(0)
