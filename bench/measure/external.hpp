// Programs of others as measuring instruments: server and client on TCP or under `smcu run`.
// Floor 4.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace smcd::bench {

/// Whether a program of that name can be started.
[[nodiscard]] bool is_installed(const std::string& program);

/// A TCP port of 127.0.0.1 that nobody uses at the moment. 0: none.
[[nodiscard]] std::uint16_t free_port();

/// A started program; ended by the destructor: SIGINT, and SIGKILL for one that does not listen.
class External {
public:
    /// under_shim: through `smcu run`. Its output is read by output().
    External(std::vector<std::string> words, bool under_shim);
    ~External();
    External(const External&) = delete;
    External& operator=(const External&) = delete;

    /// Waits until something listens on the port. false: the program ended, or 15 s are over.
    [[nodiscard]] bool wait_listening(std::uint16_t port);
    /// What it printed, until its end; nothing after `seconds`, or when it failed.
    [[nodiscard]] std::optional<std::string> output(double seconds);

private:
    int pid_ = -1;
    int output_ = -1;
    bool reaped_ = false;
};

/// The number behind the first occurrence of `mark`; nothing: it is not there.
[[nodiscard]] std::optional<double> number_behind(std::string_view text, std::string_view mark);

} // namespace smcd::bench
