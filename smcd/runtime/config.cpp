#include "smcd/runtime/config.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include "clc/messages.hpp"
#include "smcd/base/ids.hpp"
#include "smcd/base/log.hpp"
#include "smcd/runtime/settings.hpp"

namespace smcd {
namespace {

constexpr std::uint8_t kSizeClassMax = 6;
constexpr unsigned long kFabricChidMin = 0xFF00;
constexpr unsigned long kFabricChidMax = 0xFFFE;

void read_profile(const Settings& settings, Config& config) {
    const char* value = settings.value("SMCD_PROFILE");
    if (value == nullptr) {
        return;
    }
    if (set_profile(config, value)) {
        return;
    }
    SMCD_LOG(error,
             "SMCD_PROFILE '%s' is none of %s: using %s",
             value,
             profile_names().c_str(),
             config.profile->name.data());
}

/// Up to 16 letters and digits, in upper case; anything else is nobody's.
std::string pnetid_of(std::string_view text) {
    constexpr std::size_t kPnetidMax = 16;
    std::string id;
    for (const char letter : text) {
        const bool lower = letter >= 'a' && letter <= 'z';
        if (!lower && (letter < 'A' || letter > 'Z') && (letter < '0' || letter > '9')) {
            SMCD_LOG(error, "SMCD_PNETID: letters and digits only");
            return {};
        }
        id += lower ? static_cast<char>(letter - 'a' + 'A') : letter;
    }
    return id.substr(0, kPnetidMax);
}

void read_fabric(const Settings& settings, Config& config) {
    const auto text = [&](const char* name) {
        const char* value = settings.value(name);
        return std::string(value == nullptr ? "" : value);
    };
    config.fabric = text("SMCD_FABRIC");
    config.pnetid = pnetid_of(text("SMCD_PNETID"));
    config.static_peers = text("SMCD_STATIC_PEERS");
    config.ism_folder = text("SMCD_ISM_FOLDER");
    if (const char* chid = settings.value("SMCD_FABRIC_CHID"); chid != nullptr) {
        const unsigned long number = std::strtoul(chid, nullptr, 0);
        if (number < kFabricChidMin || number > kFabricChidMax) {
            SMCD_LOG(error, "SMCD_FABRIC_CHID '%s' is not between 0xFF00 and 0xFFFE", chid);
        } else {
            config.fabric_chid = static_cast<std::uint16_t>(number);
        }
    }
}

}  // namespace

std::vector<DeviceChoice> parse_devices(std::string_view text) {
    std::vector<DeviceChoice> devices;
    while (!text.empty()) {
        const std::string_view word = text.substr(0, text.find(','));
        text.remove_prefix(std::min(text.size(), word.size() + 1));
        const std::string_view name = word.substr(0, word.find(':'));
        const auto& names = dev::kDeviceKindNames;
        const auto found = std::find(names.begin(), names.end(), name);
        if (found == names.end()) {
            SMCD_LOG(error, "SMCD_DEVICES: no device '%.*s'", static_cast<int>(word.size()), word.data());
            continue;
        }
        devices.push_back({static_cast<dev::DeviceKind>(found - names.begin()),
                           std::string(word.substr(std::min(word.size(), name.size() + 1)))});
    }
    return devices;
}

std::vector<uid_t> parse_uids(std::string_view text) {
    std::vector<uid_t> uids;
    while (!text.empty()) {
        const std::string_view word = text.substr(0, text.find(','));
        text.remove_prefix(std::min(text.size(), word.size() + 1));
        uid_t uid = 0;
        const auto parsed = std::from_chars(word.data(), word.data() + word.size(), uid);
        if (parsed.ec != std::errc() || parsed.ptr != word.data() + word.size()) {
            SMCD_LOG(error, "SMCD_ALLOW_UIDS: '%.*s' is no uid", static_cast<int>(word.size()), word.data());
            continue;
        }
        uids.push_back(uid);
    }
    return uids;
}

std::vector<std::string> parse_ueids(std::string_view text) {
    std::vector<std::string> ueids;
    while (!text.empty()) {
        const std::string_view word = text.substr(0, text.find(','));
        text.remove_prefix(std::min(text.size(), word.size() + 1));
        if (!clc::make_ueid(word) || ueids.size() == kUeidsMax) {
            SMCD_LOG(error, "SMCD_UEID: '%.*s' is left out", static_cast<int>(word.size()), word.data());
        } else if (std::find(ueids.begin(), ueids.end(), word) == ueids.end()) {
            ueids.emplace_back(word);
        }
    }
    return ueids;
}

bool set_profile(Config& config, std::string_view name) {
    const Profile* found = find_profile(name);
    config.profile = found == nullptr ? config.profile : found;
    return found != nullptr;
}

std::uint64_t parse_size(const char* text) noexcept {
    char* end = nullptr;
    const std::uint64_t number = std::strtoull(text, &end, 10);
    if (end == text) {
        return 0;
    }
    switch (*end) {
        case '\0':
            return number;
        case 'k':
        case 'K':
            return number << 10U;
        case 'm':
        case 'M':
            return number << 20U;
        default:
            return 0;
    }
}

std::uint8_t size_class_for(std::uint64_t bytes) noexcept {
    std::uint8_t size_class = 0;
    while (size_class < kSizeClassMax && dmb_size_bytes(SizeClass(size_class)) < bytes) {
        ++size_class;
    }
    return size_class;
}

Config read_config() {
    Config config;
    const Settings settings = Settings::read(settings_path());
    const char* disabled = settings.value("SMCD_DISABLE");
    config.disabled = disabled != nullptr && *disabled != '\0' && *disabled != '0';
    read_profile(settings, config);
    if (const char* size = settings.value("SMCD_RCVBUF", "SMC_RCVBUF"); size != nullptr) {
        const std::uint64_t bytes = parse_size(size);
        if (bytes == 0) {
            SMCD_LOG(error, "SMCD_RCVBUF '%s' is not a size", size);
        } else {
            config.size_class = size_class_for(bytes);
        }
    }
    if (const char* file = settings.value("SMCD_STATS_FILE"); file != nullptr) {
        config.stats_file = file;
    }
    if (const char* learn = settings.value("SMCD_LEARN"); learn != nullptr) {
        config.learns = std::string_view(learn) != "0";
    }
    if (const char* hot = settings.value("SMCD_HOT_ENTRIES"); hot != nullptr) {
        config.hot_entries = static_cast<std::uint32_t>(std::strtoul(hot, nullptr, 10));
    }
    if (const char* ueid = settings.value("SMCD_UEID"); ueid != nullptr) {
        config.ueids = parse_ueids(ueid);
    }
    if (const char* uids = settings.value("SMCD_ALLOW_UIDS"); uids != nullptr) {
        config.allowed_uids = parse_uids(uids);
    }
    if (const char* seid = settings.value("SMCD_SEID"); seid != nullptr) {
        config.offers_seid = std::string_view(seid) == "1";
    }
    if (const char* v1 = settings.value("SMCD_V1"); v1 != nullptr && std::string_view(v1) != "0") {
        config.versions = std::string_view(v1) == "only" ? Versions::one : Versions::both;
    }
    read_fabric(settings, config);
    if (!config.fabric.empty()) {
        config.devices.push_back({dev::DeviceKind::ivshmem, {}});
    }
    if (const char* devices = settings.value("SMCD_DEVICES"); devices != nullptr) {
        if (auto chosen = parse_devices(devices); !chosen.empty()) {
            config.devices = std::move(chosen);
        }
    }
    return config;
}

}  // namespace smcd
