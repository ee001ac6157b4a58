#include "smcd/tools/preload_path.hpp"

#include <unistd.h>

#include <array>
#include <climits>

namespace smcd::tools {
namespace {

constexpr std::string_view kSeparators = " :";

std::string_view file_name(std::string_view path) noexcept {
    const auto slash = path.rfind('/');
    return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

} // namespace

Result<std::string> own_path() {
    std::array<char, PATH_MAX> buffer{};
    const ssize_t n = ::readlink("/proc/self/exe", buffer.data(), buffer.size());
    if (n < 0) {
        return errno_error();
    }
    return std::string(buffer.data(), static_cast<std::size_t>(n));
}

Result<std::string> own_folder() {
    SMCD_TRY(std::string path, own_path());
    const auto slash = path.rfind('/');
    path.resize(slash == std::string::npos ? 0 : slash);
    return path;
}

std::vector<std::string> preload_candidates(std::string_view folder) {
    const std::string prefix = std::string(folder) + "/../";
    std::vector<std::string> places;
    for (const char* place : {"lib/", "lib/" SMCD_MULTIARCH "/", "lib64/"}) {
        places.push_back(prefix + place + std::string(kPreloadName));
    }
    places.push_back(std::string(SMCD_LIBDIR) + '/' + std::string(kPreloadName));
    return places;
}

Result<std::string> find_preload() {
    SMCD_TRY(const std::string folder, own_folder());
    for (const std::string& place : preload_candidates(folder)) {
        std::array<char, PATH_MAX> real{};
        // Resolved: the path must stay right when the program changes its working directory or
        // root.
        if (::realpath(place.c_str(), real.data()) != nullptr && ::access(real.data(), R_OK) == 0) {
            return std::string(real.data());
        }
    }
    return Error(std::errc::no_such_file_or_directory);
}

std::string compose_preload(std::string_view existing, std::string_view library) {
    std::string_view rest = existing;
    while (!rest.empty()) {
        const auto end = rest.find_first_of(kSeparators);
        if (file_name(rest.substr(0, end)) == file_name(library)) {
            return std::string(existing);
        }
        rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    }
    std::string composed(existing);
    if (!composed.empty() && kSeparators.find(composed.back()) == std::string_view::npos) {
        composed += ':';
    }
    composed += library;
    return composed;
}

bool is_preload_path(std::string_view path) noexcept {
    return path.find_first_of(kSeparators) == std::string_view::npos;
}

} // namespace smcd::tools
