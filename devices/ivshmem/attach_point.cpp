// Attachment points. Floor 2, docs/shared-memory.md "regions".
#include "devices/ivshmem/attach_point.hpp"

#include <dirent.h>
#include <sys/stat.h>

#include <array>
#include <atomic>
#include <memory>
#include <utility>

#include "devices/ivshmem/region.hpp"
#include "smcd/base/clock.hpp"
#include "smcd/base/error.hpp"
#include "smcd/base/high_fd.hpp"
#include "smcd/base/raw_syscall.hpp"

namespace smcd::dev::ivshmem {
namespace {

constexpr std::uint64_t kServerTimeoutNs = 2 * kNsPerSecond;
constexpr const char* kPciRoot = "/sys/bus/pci/devices";
constexpr const char* kMemoryResource = "resource2";
constexpr const char* kRegisterResource = "resource0";
constexpr std::size_t kRegisterBytes = 256;
constexpr std::size_t kIdRegister = 8;
constexpr std::size_t kDoorbellRegister = 12;

bool file_says(const std::string& path, const std::string& value) {
    const UniqueFd fd(raw::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    std::array<char, 16> text{};
    return fd.valid() && raw::read(fd.get(), text.data(), text.size() - 1) > 0 &&
           std::string(text.data()).compare(0, value.size(), value) == 0;
}

bool ends_with(const std::string& text, const std::string& end) {
    return text.size() >= end.size() &&
           text.compare(text.size() - end.size(), end.size(), end) == 0;
}

/// What a server passed: memory that nobody can shrink under our mapping but who could stop us
/// anyway. Either it is sealed, or a file of ours or of root that no other user may write.
Result<void> check_memory(int fd) noexcept {
    constexpr int kSealed = F_SEAL_SHRINK;
    const int seals = raw::fcntl(fd, F_GET_SEALS);
    if (seals >= 0 && (seals & kSealed) == kSealed) {
        return {};
    }

    struct stat info {};

    const bool safe = ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode) &&
                      (info.st_uid == 0 || info.st_uid == ::geteuid()) &&
                      (info.st_mode & (S_IWGRP | S_IWOTH)) == 0;
    if (!safe) {
        return engine_error(Errc::unsafe_memory);
    }
    return {};
}

Result<AttachPoint> open_server(const std::string& path) {
    AttachPoint point;
    SMCD_TRY(point.server, ServerLink::connect(path, point.file, kServerTimeoutNs));
    SMCD_TRY_VOID(check_memory(point.file.get()));
    SMCD_TRY(point.file, lift_fd(std::move(point.file)));
    SMCD_TRY(point.bytes, memory_bytes(point.file.get()));
    return point;
}

Result<AttachPoint> open_memory(const std::string& path) {
    AttachPoint point;
    UniqueFd fd(raw::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!fd.valid()) {
        return errno_error();
    }
    SMCD_TRY(point.file, lift_fd(std::move(fd)));
    SMCD_TRY(point.bytes, memory_bytes(point.file.get()));

    struct stat info {};

    point.device_memory = ::fstat(point.file.get(), &info) != 0 || S_ISCHR(info.st_mode);
    if (!ends_with(path, kMemoryResource)) {
        return point;
    }
    point.device_memory = true;
    const std::string folder = path.substr(0, path.size() - std::string(kMemoryResource).size());
    // BAR1 is the interrupt table: only the variant with doorbells has one.
    const bool has_doorbell = ::access((folder + "resource1").c_str(), F_OK) == 0;
    const UniqueFd registers(raw::open((folder + kRegisterResource).c_str(), O_RDWR | O_CLOEXEC));
    if (has_doorbell && registers.valid()) {
        auto mapped = Mapping::map_shared(registers.get(), kRegisterBytes, PROT_READ | PROT_WRITE);
        if (mapped) {
            point.registers = *std::move(mapped);
        }
    }
    return point;
}

} // namespace

Result<std::string> find_pci_memory(const std::string& pci_root) {
    const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(pci_root.c_str()), ::closedir);
    while (folder != nullptr) {
        const dirent* entry = ::readdir(folder.get());
        if (entry == nullptr) {
            break;
        }
        const std::string function = pci_root + "/" + entry->d_name;
        if (file_says(function + "/vendor", "0x1af4") &&
            file_says(function + "/device", "0x1110")) {
            return function + "/" + kMemoryResource;
        }
    }
    return Error(std::errc::no_such_file_or_directory);
}

Result<AttachPoint> open_attach_point(const std::string& path) {
    if (path == "pci") {
        SMCD_TRY(const std::string memory, find_pci_memory(kPciRoot));
        return open_memory(memory);
    }

    struct stat info {};

    if (::stat(path.c_str(), &info) != 0) {
        return errno_error();
    }
    return S_ISSOCK(info.st_mode) ? open_server(path) : open_memory(path);
}

std::uint32_t read_own_id(const Mapping& registers) noexcept {
    auto* word = reinterpret_cast<std::uint32_t*>(registers.data() + kIdRegister);
    return std::atomic_ref(*word).load(std::memory_order_relaxed);
}

void ring_register(const Mapping& registers, std::uint32_t ivshmem_id) noexcept {
    constexpr std::uint32_t kIdShift = 16;
    auto* word = reinterpret_cast<std::uint32_t*>(registers.data() + kDoorbellRegister);
    std::atomic_ref(*word).store(ivshmem_id << kIdShift, std::memory_order_release);
}

} // namespace smcd::dev::ivshmem
