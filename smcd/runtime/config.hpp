// Config: the settings of one process, read once from its environment and the configuration file. Floor 3, docs/configuration.md.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "devices/api/device_kind.hpp"
#include "smcd/runtime/profile.hpp"

namespace smcd {

/// One word of SMCD_DEVICES: "kind" or "kind:argument".
struct DeviceChoice {
    dev::DeviceKind kind = dev::DeviceKind::loopback;
    std::string argument; ///< the kind's own; ism: its CHID, 4 hex digits
};

/// By which versions of SMC-D connections are offered and taken.
enum class Versions {
    two,  ///< version 2
    both, ///< and where it fails version 1, over a native ism device that comes first
    one,  ///< version 1 alone
};

/// Enterprise ids of one process, as many as the kernel keeps.
inline constexpr std::size_t kUeidsMax = 4;

struct Config {
    bool disabled = false;             ///< SMCD_DISABLE=1
    std::uint32_t hot_entries = 16;     ///< SMCD_HOT_ENTRIES: so many entries of an epoll set are looked at in each wait
    std::uint8_t size_class = 5;       ///< default DMB: 512 KiB; SMCD_RCVBUF (alias SMC_RCVBUF)
    bool samples_tcp = false;          ///< of many connections that stay on TCP some are followed, the others only counted
    bool learns = true;                ///< SMCD_LEARN=0: bursts of short connections are accelerated too
    std::string stats_file;            ///< SMCD_STATS_FILE: one JSON line per process at its exit
    std::vector<std::string> ueids;    ///< SMCD_UEID, at most kUeidsMax; empty: the built-in default
    Versions versions = Versions::two; ///< SMCD_V1=1: both; SMCD_V1=only: one
    bool offers_seid = false;          ///< SMCD_SEID=1: the system enterprise id counts, too
    std::vector<DeviceChoice> devices{{}}; ///< SMCD_DEVICES, in order of preference
    std::vector<uid_t> allowed_uids;   ///< SMCD_ALLOW_UIDS: users besides our own that may share memory with us
    const Profile* profile = profiles().data(); ///< SMCD_PROFILE; never nullptr
    std::string fabric;                ///< SMCD_FABRIC: attachment point of the ivshmem device; empty: none
    std::uint16_t fabric_chid = 0xFF01; ///< SMCD_FABRIC_CHID
    std::string pnetid;                ///< SMCD_PNETID: the IP network that the fabric serves
    std::string ism_folder;            ///< SMCD_ISM_FOLDER: where ism devices of several network namespaces meet
    std::string static_peers;          ///< SMCD_STATIC_PEERS (static_rules.hpp)
};

/// Reads the environment and the file; values that make no sense keep the default and are reported once to the log.
[[nodiscard]] Config read_config();

/// Takes over what the profile of that name means. false: there is none.
[[nodiscard]] bool set_profile(Config& config, std::string_view name);

/// "A,B" -> the enterprise ids in that order; others, and those beyond kUeidsMax, are logged and left out.
[[nodiscard]] std::vector<std::string> parse_ueids(std::string_view text);

/// "33,107" -> the uids; words that are no number are logged and left out.
[[nodiscard]] std::vector<uid_t> parse_uids(std::string_view text);

/// "loopback,ism:0101" -> the devices in that order; words that name none are logged and left out.
[[nodiscard]] std::vector<DeviceChoice> parse_devices(std::string_view text);

/// "64k", "1M", "65536" -> bytes; 0 when it is not a size.
[[nodiscard]] std::uint64_t parse_size(const char* text) noexcept;

/// Smallest class whose DMB has at least that many bytes, at most class 6 (the kernel's cap).
[[nodiscard]] std::uint8_t size_class_for(std::uint64_t bytes) noexcept;

}  // namespace smcd
