#include "smcd/runtime/profile.hpp"

#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

#include "smcd/base/log.hpp"
#include "smcd/core/channel.hpp"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace smcd {
namespace {

constexpr std::array<Profile, 5> kProfiles{
    {
     {"balanced", {30'000, false}, false},
     {"latency", {200'000, false}, false},
     {"efficient", {0, false}, false},
     {"throughput", {15'000, false}, false},
     {"isolated", {1'000'000'000, true}, true},
     }
};

struct Pages {
    void* begin;
    std::size_t bytes;
};

/// Whole pages around the object.
Pages pages_of(const void* object, std::size_t bytes) noexcept {
    constexpr std::uintptr_t kPage = 4096;
    const auto address = reinterpret_cast<std::uintptr_t>(object);
    const std::uintptr_t begin = address & ~(kPage - 1);
    const std::uintptr_t end = (address + bytes + kPage - 1) & ~(kPage - 1);
    return {reinterpret_cast<void*>(begin), bytes == 0 ? 0 : end - begin};
}

/// Everything that a call on the connection touches, besides the process's own memory.
std::array<Pages, 5> memory_of(const Channel& channel) noexcept {
    const auto view = [](const DmbView& dmb) {
        const auto* begin = reinterpret_cast<const std::byte*>(dmb.cdc);
        return begin == nullptr
                   ? Pages{nullptr, 0}
                   : pages_of(begin, static_cast<std::size_t>(dmb.ring - begin) + dmb.ring_bytes);
    };
    const auto bells = [](const dev::Bells* page) {
        return pages_of(page, page == nullptr ? 0 : sizeof(dev::Bells));
    };
    return {view(channel.own),
            view(channel.peer),
            bells(channel.own_bells),
            bells(channel.peer_bells),
            pages_of(channel.block, sizeof(ConnBlock))};
}

} // namespace

std::span<const Profile> profiles() noexcept {
    return kProfiles;
}

const Profile* find_profile(std::string_view name) noexcept {
    const auto* found = std::find_if(kProfiles.begin(),
                                     kProfiles.end(),
                                     [name](const Profile& entry) { return entry.name == name; });
    return found == kProfiles.end() ? nullptr : found;
}

std::string profile_names() {
    std::string names;
    for (const Profile& profile : kProfiles) {
        names += names.empty() ? "" : ", ";
        names += profile.name;
    }
    return names;
}

void pin_memory(const Channel& channel) noexcept {
    for (const Pages& pages : memory_of(channel)) {
        if (pages.bytes == 0) {
            continue;
        }
        static_cast<void>(::madvise(pages.begin, pages.bytes, MADV_POPULATE_WRITE));
        if (::mlock(pages.begin, pages.bytes) != 0) {
            rlimit limit{};
            ::getrlimit(RLIMIT_MEMLOCK, &limit);
            SMCD_LOG_LIMITED(error,
                             "profile isolated: %zu bytes are present but not locked: errno %d, "
                             "RLIMIT_MEMLOCK %llu",
                             pages.bytes,
                             errno,
                             static_cast<unsigned long long>(limit.rlim_cur));
        }
    }
}

void unpin_memory(const Channel& channel) noexcept {
    for (const Pages& pages : memory_of(channel)) {
        // Not the record: it shares its pages with those of other connections.
        if (pages.bytes != 0 && pages.begin != pages_of(channel.block, sizeof(ConnBlock)).begin) {
            ::munlock(pages.begin, pages.bytes);
        }
    }
}

} // namespace smcd
