// A stand-in for the preloaded library: publishes a ProcessPage as the real one does, and touches
// nothing else.
#include <sys/mman.h>
#include <unistd.h>

#include "smcd/runtime/statistics.hpp"

namespace {

[[gnu::constructor]] void publish() {
    const int fd = ::memfd_create("smcd-proc", MFD_CLOEXEC);
    if (fd < 0 || ::ftruncate(fd, 4096) != 0) {
        return;
    }
    void* memory = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ::close(fd);
    if (memory == MAP_FAILED) {
        return;
    }
    auto& page = *static_cast<smcd::ProcessPage*>(memory);
    page.version = smcd::kProcessPageVersion;
    page.pid = static_cast<std::uint32_t>(::getpid());
    page.magic = smcd::kProcessPageMagic;
}

} // namespace
