// A program of the differential tester: socket calls of two processes and of one child each, in
// order, with a text form to print and to replay. Room tests/diff, no protocol section.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace smcd::diff {

inline constexpr int kActors = 4; ///< A, B, and a child of each: a, b
inline constexpr int kSlots = 8;  ///< descriptors of a process, by number in the program
inline constexpr int kSets = 3;   ///< epoll sets of a process

enum class Verb : std::uint8_t {
    open,
    connect,
    accept,
    send,
    write,
    writev,
    sendto,
    sendmsg,
    sendmmsg,
    pwritev2,
    sendfile,
    splice_out,
    recv,
    read,
    readv,
    recvfrom,
    recvmsg,
    recvmmsg,
    preadv2,
    splice_in,
    shutdown,
    close,
    dup,
    dup2,
    fork,
    reap,
    kill,
    exit,
    exec,
    setopt,
    getopt,
    unread,
    unsent,
    nonblock,
    fionbio,
    getfl,
    atmark,
    sockname,
    peername,
    poll,
    ppoll,
    poll_all,
    select,
    epoll_new,
    epoll_ctl,
    epoll_nest,
    epoll_wait,
    to_tcp,
    async,
    dprintf,
    pass,
    disconnect,
    count,
};

/// What an argument is; decides how it is written.
enum class Kind : std::uint8_t {
    none,
    number,
    message_flags,
    how,
    poll_mask,
    epoll_mask,
    option,
    control,
    actor
};

struct VerbInfo {
    const char* name;
    std::array<Kind, 3> kinds;
    bool query; ///< changes nothing: may be repeated until both worlds agree
};

[[nodiscard]] const VerbInfo& info(Verb verb);

struct Op {
    Verb verb = Verb::poll;
    std::uint8_t actor = 0;
    std::uint8_t slot = 0;
    bool blind = false;    ///< goes on at once: what both see is not compared behind it ("~")
    bool together = false; ///< the next call of another process begins before this one ends ("&")
    std::array<std::int64_t, 3> args{};
    friend bool operator==(const Op&, const Op&) = default;
};

using Program = std::vector<Op>;

/// Options by the name under which programs know them; `args[0]` of setopt and getopt is the
/// position.
enum class OptionType : std::uint8_t { number, linger, milliseconds, tcp_state };

struct OptionInfo {
    const char* name;
    int level;
    int number;
    OptionType type;
    std::int64_t top; ///< random values are 0 to this; -1: only read
};

[[nodiscard]] const OptionInfo& option(std::size_t position);
[[nodiscard]] std::size_t option_count();
[[nodiscard]] std::size_t option_named(std::string_view name);

/// One line without its end, e.g. "A send 0 10 DONTWAIT|NOSIGNAL ~".
[[nodiscard]] std::string to_text(const Op& op);
[[nodiscard]] std::string to_text(const Program& program);
/// Lines that begin with '#' and empty ones are skipped. Nothing and a message in `error` if a line
/// makes no sense.
[[nodiscard]] std::optional<Program> parse(std::string_view text, std::string& error);

} // namespace smcd::diff
