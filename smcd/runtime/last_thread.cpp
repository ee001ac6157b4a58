#include "smcd/runtime/last_thread.hpp"

#include <fcntl.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "smcd/base/raw_syscall.hpp"
#include "smcd/base/unique_fd.hpp"
#include "smcd/runtime/progress.hpp"

namespace smcd {
namespace {

constexpr std::chrono::milliseconds kLookEvery{20};

/// Threads of this process, with a main thread that has ended; 0: unknown.
long thread_count() noexcept {
    constexpr int kFieldsBetween =
        18; // proc(5): num_threads is field 20, the name in parentheses is field 2
    std::array<char, 1024> text{};
    const UniqueFd file(raw::open("/proc/self/stat", O_RDONLY | O_CLOEXEC));
    if (!file.valid() || raw::read(file.get(), text.data(), text.size() - 1) <= 0) {
        return 0;
    }
    const char* at = std::strrchr(text.data(), ')');
    for (int i = 0; at != nullptr && i < kFieldsBetween; ++i) {
        at = std::strchr(at + 1, ' ');
    }
    return at == nullptr ? 0 : std::strtol(at, nullptr, 10);
}

} // namespace

void LastThread::start() {
    timer_.expires_after(kLookEvery);
    timer_.async_wait([this](const boost::system::error_code& error) {
        if (error) {
            return;
        }
        constexpr long kMainAndUs = 2;
        const long count = thread_count();
        if (count > 0 && count <= kMainAndUs) {
            Progress::leave_progress_thread(); // what runs at exit is the application's
            std::exit(0);
        }
        start();
    });
}

} // namespace smcd
