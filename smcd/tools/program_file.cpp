#include "smcd/tools/program_file.hpp"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include "smcd/base/unique_fd.hpp"

namespace smcd::tools {
namespace {

constexpr std::size_t kProgramHeadersMax = 128;
constexpr std::size_t kLoaderNameMax = 4096;

bool read_at(int fd, void* to, std::size_t bytes, std::uint64_t offset) noexcept {
    return ::pread(fd, to, bytes, static_cast<off_t>(offset)) == static_cast<ssize_t>(bytes);
}

/// By path: such files are often not readable. For root, neither set-uid root nor file capabilities
/// add anything.
bool is_privileged(const std::string& path) noexcept {
    struct stat info {};

    if (::stat(path.c_str(), &info) != 0) {
        return false;
    }
    const bool uid_changes = (info.st_mode & S_ISUID) != 0 && info.st_uid != ::geteuid();
    const bool gid_changes = (info.st_mode & S_ISGID) != 0 && info.st_gid != ::getegid();
    const bool capable =
        ::geteuid() != 0 && ::getxattr(path.c_str(), "security.capability", nullptr, 0) > 0;
    return uid_changes || gid_changes || capable;
}

/// The machine type of this very program, and so of the library beside it.
Elf32_Half own_machine() noexcept {
    ElfW(Ehdr) header{};
    const UniqueFd fd(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    return fd.valid() && read_at(fd.get(), &header, sizeof(header), 0) ? header.e_machine : EM_NONE;
}

Preloadable judge_loader(int fd, const ElfW(Phdr) & segment) {
    if (segment.p_filesz == 0 || segment.p_filesz > kLoaderNameMax) {
        return Preloadable::unknown;
    }
    std::string name(segment.p_filesz, '\0');
    if (!read_at(fd, name.data(), name.size(), segment.p_offset)) {
        return Preloadable::unknown;
    }
    const std::string_view base = std::string_view(name).substr(name.rfind('/') + 1);
    return base.starts_with("ld-linux") || base.starts_with("ld.so") || base.starts_with("ld64.so")
               ? Preloadable::yes
               : Preloadable::other_loader;
}

Preloadable inspect_elf(int fd) {
    ElfW(Ehdr) header{};
    if (!read_at(fd, &header, sizeof(header), 0)) {
        return Preloadable::unknown;
    }
    constexpr unsigned char kOwnClass = sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32;
    if (header.e_ident[EI_CLASS] != kOwnClass || header.e_machine != own_machine()) {
        return Preloadable::other_machine;
    }
    const std::size_t count = std::min<std::size_t>(header.e_phnum, kProgramHeadersMax);
    for (std::size_t i = 0; i < count; ++i) {
        ElfW(Phdr) segment{};
        if (!read_at(fd, &segment, sizeof(segment), header.e_phoff + i * header.e_phentsize)) {
            return Preloadable::unknown;
        }
        if (segment.p_type == PT_INTERP) {
            return judge_loader(fd, segment);
        }
    }
    return Preloadable::statically_linked;
}

/// Interpreter of a "#!" line; empty: not a script.
std::string script_interpreter(int fd) {
    std::array<char, 256> line{};
    const ssize_t n = ::pread(fd, line.data(), line.size() - 1, 0);
    if (n < 3 || line[0] != '#' || line[1] != '!') {
        return {};
    }
    std::string_view text(line.data() + 2, static_cast<std::size_t>(n) - 2);
    text = text.substr(0, text.find('\n'));
    const auto begin = text.find_first_not_of(" \t");
    if (begin == std::string_view::npos) {
        return {};
    }
    text.remove_prefix(begin);
    return std::string(text.substr(0, text.find_first_of(" \t")));
}

} // namespace

std::string_view describe(Preloadable answer) noexcept {
    switch (answer) {
    case Preloadable::statically_linked:
        return "is statically linked";
    case Preloadable::privileged:
        return "is set-uid, set-gid or has file capabilities";
    case Preloadable::other_machine:
        return "is built for another machine type";
    case Preloadable::other_loader:
        return "uses another C library's loader";
    case Preloadable::yes:
    case Preloadable::unknown:
        break;
    }
    return {};
}

Result<std::string> find_program(const std::string& name) {
    if (name.empty()) {
        return Error(std::errc::no_such_file_or_directory);
    }
    if (name.find('/') != std::string::npos) {
        if (::access(name.c_str(), F_OK) != 0) {
            return errno_error();
        }
        return name;
    }
    const char* variable = std::getenv("PATH"); // NOLINT(concurrency-mt-unsafe): one thread
    std::string_view folders = variable == nullptr ? "/bin:/usr/bin" : variable;
    bool denied = false;
    for (;;) {
        const auto end = folders.find(':');
        const std::string_view folder = folders.substr(0, end);
        const std::string path = (folder.empty() ? "." : std::string(folder)) + '/' + name;

        struct stat info {};

        if (::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode)) {
            if (::access(path.c_str(), X_OK) == 0) {
                return path;
            }
            denied = true;
        }
        if (end == std::string_view::npos) {
            break;
        }
        folders.remove_prefix(end + 1);
    }
    return Error(denied ? std::errc::permission_denied : std::errc::no_such_file_or_directory);
}

Preloadable inspect_program(const std::string& path) {
    std::string file = path;
    // A script names a program that may be a script itself; the kernel stops after a few rounds,
    // and so do we.
    for (int round = 0; round < 4; ++round) {
        if (is_privileged(file)) {
            return Preloadable::privileged;
        }
        const UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
        if (!fd.valid()) {
            return Preloadable::unknown;
        }
        std::array<char, SELFMAG> magic{};
        if (!read_at(fd.get(), magic.data(), magic.size(), 0)) {
            return Preloadable::unknown;
        }
        if (std::memcmp(magic.data(), ELFMAG, SELFMAG) == 0) {
            return inspect_elf(fd.get());
        }
        file = script_interpreter(fd.get());
        if (file.empty()) {
            return Preloadable::unknown;
        }
    }
    return Preloadable::unknown;
}

} // namespace smcd::tools
