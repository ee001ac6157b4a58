// Checks of our own invariants. SMCD_CHECK is on in every build, SMCD_DCHECK only in debug builds (hot paths).
// A check states one condition, has no side effect and prints its two values. Floor 0.
#pragma once

#include <cstdint>

namespace smcd {

/// Prints the failed condition and its values to stderr with raw writes, then aborts.
[[noreturn]] void check_failed(const char* condition,
                               const char* file,
                               int line,
                               std::int64_t left,
                               std::int64_t right) noexcept;

}  // namespace smcd

#define SMCD_CHECK_OP_(left, op, right)                                                            \
    do {                                                                                           \
        if (!((left)op(right))) [[unlikely]] {                                                     \
            ::smcd::check_failed(#left " " #op " " #right,                                         \
                                 __FILE__,                                                         \
                                 __LINE__,                                                         \
                                 static_cast<std::int64_t>(left),                                  \
                                 static_cast<std::int64_t>(right));                                \
        }                                                                                          \
    } while (false)

#define SMCD_CHECK_EQ(left, right) SMCD_CHECK_OP_(left, ==, right)
#define SMCD_CHECK_LE(left, right) SMCD_CHECK_OP_(left, <=, right)
#define SMCD_CHECK_LT(left, right) SMCD_CHECK_OP_(left, <, right)
#define SMCD_CHECK(condition) SMCD_CHECK_OP_(static_cast<bool>(condition), ==, true)

#ifdef NDEBUG
#define SMCD_DCHECK(condition) static_cast<void>(0)
#else
#define SMCD_DCHECK(condition) SMCD_CHECK(condition)
#endif
