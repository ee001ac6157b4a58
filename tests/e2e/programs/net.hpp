// Socket set-up shared by the test programs: they print what they see and leave on the first error.
// Room tests/e2e, no protocol section.
#pragma once

#include <cstdint>
#include <string>

namespace smcd::e2e {

/// Prints `what` with errno to stderr and exits with status 1.
[[noreturn]] void die_errno(const char* what);

/// Prints the formatted text to stderr and exits with status 1.
[[noreturn]] __attribute__((format(printf, 1, 2))) void die(const char* format, ...);

/// `result` if it is not -1; dies otherwise.
int check(int result, const char* what);

/// Listens on `host` ("127.0.0.1", "::1", "::" for dual stack); `port` 0 lets the kernel choose.
[[nodiscard]] int listen_on(const std::string& host, std::uint16_t port, int backlog);

/// Connects (blocking) to `host`, which may be "::ffff:127.0.0.1".
[[nodiscard]] int connect_to(const std::string& host, std::uint16_t port);

/// Accepts one connection, repeating on EINTR.
// Accepts; `port`: the peer's, also of a connection that has been reset already.
[[nodiscard]] int accept_one(int listener, std::uint16_t* port = nullptr);

[[nodiscard]] std::uint16_t local_port(int fd);
[[nodiscard]] std::uint16_t peer_port(int fd);
void set_nonblocking(int fd, bool on);

/// As many descriptors as the hard limit allows.
void allow_descriptors();

/// Monotonic time in seconds.
[[nodiscard]] double now_s();

/// Prints "port N" on stdout at once: the driver waits for this line.
void announce_port(std::uint16_t port);

/// The value after `--name` in argv, or `fallback`.
[[nodiscard]] std::string option(int argc, char** argv, const char* name, const char* fallback);

/// The same as a number of bytes or things; accepts the suffixes k, M and G (powers of 1024).
[[nodiscard]] std::uint64_t
number_option(int argc, char** argv, const char* name, std::uint64_t fallback);

/// True if `--name` stands alone in argv.
[[nodiscard]] bool flag_option(int argc, char** argv, const char* name);

/// Parses "64k", "1M", "3"; dies on anything else.
[[nodiscard]] std::uint64_t parse_number(const std::string& text);

} // namespace smcd::e2e
