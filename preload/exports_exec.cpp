// The exec family: the memory of this process is about to be replaced. Floor 4.
#include <cstdarg>
#include <vector>

#include "preload/exports.hpp"
#include "preload/leaving.hpp"

using namespace smcd::preload;  // NOLINT(google-build-using-namespace): this file is nothing but a skin

namespace {

/// Runs one exec call; it returns only when that fails.
template <typename Call>
int run_exec(Call call) {
    Shim* self = shim();
    if (self == nullptr) {
        return call();
    }
    const int before = errno;
    leave_survivors_of_exec(*self);
    const bool own_memory = !self->in_vfork_child();
    if (own_memory) {
        self->process.before_exec();
    }
    errno = before;
    const int rc = call();
    if (own_memory) {
        self->process.after_failed_exec();
    }
    return rc;
}

/// The words of a variable argument list up to its null pointer, `first` in front; null at the end.
std::vector<char*> collect(const char* first, va_list& arguments) {
    std::vector<char*> words{const_cast<char*>(first)};
    while (words.back() != nullptr) {
        words.push_back(va_arg(arguments, char*));
    }
    return words;
}

}  // namespace

SMCD_EXPORT int execve(const char* path, char* const* argv, char* const* envp) noexcept {
    return run_exec([&] { return real_calls().execve(path, argv, envp); });
}

SMCD_EXPORT int execv(const char* path, char* const* argv) noexcept {
    return run_exec([&] { return real_calls().execv(path, argv); });
}

SMCD_EXPORT int execvp(const char* file, char* const* argv) noexcept {
    return run_exec([&] { return real_calls().execvp(file, argv); });
}

SMCD_EXPORT int execvpe(const char* file, char* const* argv, char* const* envp) noexcept {
    return run_exec([&] { return real_calls().execvpe(file, argv, envp); });
}

SMCD_EXPORT int fexecve(int fd, char* const* argv, char* const* envp) noexcept {
    return run_exec([&] { return real_calls().fexecve(fd, argv, envp); });
}

SMCD_EXPORT int execveat(
    int folder, const char* path, char* const* argv, char* const* envp, int flags) noexcept {
    return run_exec([&] { return real_calls().execveat(folder, path, argv, envp, flags); });
}

SMCD_EXPORT int execl(const char* path, const char* word, ...) noexcept {
    va_list arguments;
    va_start(arguments, word);
    const std::vector<char*> argv = collect(word, arguments);
    va_end(arguments);
    return ::execv(path, argv.data());
}

SMCD_EXPORT int execlp(const char* file, const char* word, ...) noexcept {
    va_list arguments;
    va_start(arguments, word);
    const std::vector<char*> argv = collect(word, arguments);
    va_end(arguments);
    return ::execvp(file, argv.data());
}

SMCD_EXPORT int execle(const char* path, const char* word, ...) noexcept {
    va_list arguments;
    va_start(arguments, word);
    const std::vector<char*> argv = collect(word, arguments);
    auto* const* envp = va_arg(arguments, char* const*);
    va_end(arguments);
    return ::execve(path, argv.data(), envp);
}
