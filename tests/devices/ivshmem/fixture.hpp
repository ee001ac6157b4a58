// Fixtures of the ivshmem tests: a region in a memory file, and peers of it. Floor 4.
#pragma once

#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "devices/ivshmem/ivshmem.hpp"
#include "devices/ivshmem/region.hpp"
#include "smcd/base/memfd.hpp"
#include "tests/devices/support.hpp"

namespace smcd::dev::test {

inline constexpr SizeClass kSmall{0};
inline constexpr std::size_t kRegionBytes = std::size_t{16} << 20U;

inline std::string path_of(int fd) {
    return "/proc/self/fd/" + std::to_string(fd);
}

/// A peer of the region behind a path.
struct Party {
    explicit Party(const std::string& path, IvshmemOptions options = {})
        : doorbells(*DoorbellTable::create()) {
        options.path = path;
        auto opened = IvshmemDevice::open(*doorbells, std::move(options));
        EXPECT_TRUE(opened) << opened.error().message();
        device = *std::move(opened);
    }

    [[nodiscard]] LinkGroupId group() const { return *device->link_group_id(); }

    [[nodiscard]] Result<Dmb> register_for(LinkGroupId writer,
                                           SizeClass size_class = kSmall) const {
        return device->register_dmb({device->gid(), writer, size_class});
    }

    std::unique_ptr<DoorbellTable> doorbells;
    std::unique_ptr<IvshmemDevice> device;
};

/// A region and a second view of it, for looking and for meddling.
class IvshmemTest : public ::testing::Test {
protected:
    static constexpr std::uint32_t kPeers = 4;

    IvshmemTest()
        : file(*create_memfd("region", kRegionBytes)), path(path_of(file.get())),
          region(*ivshmem::Region::open(UniqueFd(::dup(file.get())), kRegionBytes, kPeers)) {}

    /// Slot of the live peer with that group; kPeers: none.
    [[nodiscard]] std::uint32_t slot_of(LinkGroupId group) const {
        for (std::uint32_t slot = 0; slot < region.peers(); ++slot) {
            if (region.slot(slot).peer.group.load() == group.value()) {
                return slot;
            }
        }
        return kPeers;
    }

    UniqueFd file;
    std::string path;
    ivshmem::Region region;
};

} // namespace smcd::dev::test
