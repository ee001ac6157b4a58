// The region that a fabric server provides: a file in its directory, and what the tables in it say.
// Floor 4, docs/fabric.md "region". Every field is a peer's claim: it is shown, not trusted.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "devices/ivshmem/peers.hpp"
#include "devices/ivshmem/region.hpp"
#include "smcd/base/result.hpp"
#include "smcd/base/unique_fd.hpp"

namespace smcd::fabric {

struct RegionOptions {
    std::string folder;
    std::uint64_t bytes = 0; ///< of a new region; 0: the default, or what is there
    std::uint32_t peers = 0; ///< slots of a new region; 0: what suits its size
};

struct ListenerView {
    std::string address;
    std::uint16_t port = 0;
    std::string pnetid;
};

struct PeerView {
    dev::ivshmem::Peer peer;
    bool same_kernel = false;
    bool dead = false; ///< under our kernel, and its lock is gone
    std::string name;
    std::uint32_t dmbs = 0;
    std::uint64_t dmb_bytes = 0;
    std::uint64_t opened = 0;
    std::vector<ListenerView> listeners;
};

class FabricRegion {
public:
    /// Opens or makes FOLDER/region, and takes the folder for this process. Errors: EBUSY (another
    /// server has it), EINVAL (a region of another size is there, or the size suits no region),
    /// those of open() and Region::open(). ENOMEM, ENOSPC: the file system has no room for the
    /// tables.
    [[nodiscard]] static Result<FabricRegion> open(const RegionOptions& options);

    [[nodiscard]] const dev::ivshmem::Region& region() const noexcept { return region_; }

    [[nodiscard]] const std::string& path() const noexcept { return path_; }

    /// First id of a block that no live peer knows from an earlier server.
    [[nodiscard]] std::uint32_t begin_run();
    [[nodiscard]] std::uint32_t runs() const noexcept;

    /// Slots that are not free.
    [[nodiscard]] std::vector<PeerView> peers() const;

    /// The machine behind that ivshmem id has ended: its peers have left. Those under our kernel
    /// are told by their locks.
    void on_client_ended(std::uint32_t id) noexcept;

    struct Whom {
        bool everybody = false;
        std::optional<std::uint32_t> pid;
        std::optional<std::uint32_t> slot;
    };

    /// No new DMBs for them (or again). Returns how many peers it concerns.
    std::uint32_t drain(const Whom& whom, bool undo) noexcept;
    [[nodiscard]] bool drained() const noexcept;

private:
    dev::ivshmem::Region region_;
    std::string path_;
    UniqueFd lock_; ///< of the folder
};

} // namespace smcd::fabric
