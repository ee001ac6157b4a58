#include "smcd/base/check.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace smcd {

void check_failed(const char* condition,
                  const char* file,
                  int line,
                  std::int64_t left,
                  std::int64_t right) noexcept {
    char text[512];
    const int length = std::snprintf(text,
                                     sizeof(text),
                                     "smcd: check failed: %s (%lld, %lld) at %s:%d\n",
                                     condition,
                                     static_cast<long long>(left),
                                     static_cast<long long>(right),
                                     file,
                                     line);
    if (length > 0) {
        const auto size = static_cast<unsigned long>(length) < sizeof(text)
                              ? static_cast<unsigned long>(length)
                              : sizeof(text) - 1;
        ::syscall(SYS_write, 2, text, size);
    }
    std::abort();
}

}  // namespace smcd
