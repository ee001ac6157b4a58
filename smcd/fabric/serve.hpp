// `smcu fabric serve`: the server as a whole. Floor 4, docs/fabric.md.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace smcd::fabric {

struct ServeOptions {
    std::string folder;
    std::string socket;      ///< of the ivshmem protocol; empty: FOLDER/ivshmem
    unsigned mode = 0600;    ///< of that socket
    std::uint64_t bytes = 0; ///< of a new region; 0: the default
    std::uint32_t peers = 0; ///< slots of a new region; 0: what suits its size
    std::uint32_t vectors = 1;
    std::uint32_t clients_max = 1024;
    std::chrono::milliseconds patience{30'000};
};

/// Paths below the folder of a fabric.
[[nodiscard]] std::string ivshmem_path(const std::string& folder);
[[nodiscard]] std::string management_path(const std::string& folder);
/// Where a fabric lives when nobody says: /run/smcd for root, else $XDG_RUNTIME_DIR/smcd.
[[nodiscard]] std::string default_folder();

/// Serves until SIGTERM or SIGINT; the exit status. Says "ready" on stdout, and to systemd.
[[nodiscard]] int serve(const ServeOptions& options);

} // namespace smcd::fabric
