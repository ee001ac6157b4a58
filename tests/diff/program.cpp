// The text form of programs. Room tests/diff, no protocol section.
#include "tests/diff/program.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <span>
#include <sstream>

namespace smcd::diff {
namespace {

constexpr char kActorNames[] = "ABab";

struct Name {
    const char* name;
    std::int64_t value;
};

constexpr Kind kNo = Kind::none;
constexpr Kind kNumber = Kind::number;
constexpr Kind kFlags = Kind::message_flags;

// In the order of Verb.
constexpr VerbInfo kVerbs[] = {
    {"open",       {Kind::actor, kNumber, kNumber},            false},
    {"connect",    {Kind::actor, kNumber, kNumber},            false},
    {"accept",     {kNumber, kNo, kNo},                        false},
    {"send",       {kNumber, kFlags, kNo},                     false},
    {"write",      {kNumber, kNo, kNo},                        false},
    {"writev",     {kNumber, kNo, kNumber},                    false},
    {"sendto",     {kNumber, kFlags, kNo},                     false},
    {"sendmsg",    {kNumber, kFlags, kNumber},                 false},
    {"sendmmsg",   {kNumber, kFlags, kNumber},                 false},
    {"pwritev2",   {kNumber, kNumber, kNumber},                false},
    {"sendfile",   {kNumber, kNo, kNo},                        false},
    {"splice_out", {kNumber, kNumber, kNo},                    false},
    {"recv",       {kNumber, kFlags, kNo},                     false},
    {"read",       {kNumber, kNo, kNo},                        false},
    {"readv",      {kNumber, kNo, kNumber},                    false},
    {"recvfrom",   {kNumber, kFlags, kNo},                     false},
    {"recvmsg",    {kNumber, kFlags, kNumber},                 false},
    {"recvmmsg",   {kNumber, kFlags, kNumber},                 false},
    {"preadv2",    {kNumber, kNumber, kNumber},                false},
    {"splice_in",  {kNumber, kNumber, kNo},                    false},
    {"shutdown",   {Kind::how, kNo, kNo},                      false},
    {"close",      {kNo, kNo, kNo},                            false},
    {"dup",        {kNumber, kNo, kNo},                        false},
    {"dup2",       {kNumber, kNo, kNo},                        false},
    {"fork",       {kNo, kNo, kNo},                            false},
    {"reap",       {kNo, kNo, kNo},                            false},
    {"kill",       {kNo, kNo, kNo},                            false},
    {"exit",       {kNo, kNo, kNo},                            false},
    {"exec",       {kNo, kNo, kNo},                            false},
    {"setopt",     {Kind::option, kNumber, kNo},               false},
    {"getopt",     {Kind::option, kNo, kNo},                   false},
    {"unread",     {kNo, kNo, kNo},                            true },
    {"unsent",     {kNo, kNo, kNo},                            true },
    {"nonblock",   {kNumber, kNo, kNo},                        false},
    {"fionbio",    {kNumber, kNo, kNo},                        false},
    {"getfl",      {kNo, kNo, kNo},                            true },
    {"atmark",     {kNo, kNo, kNo},                            true },
    {"sockname",   {kNo, kNo, kNo},                            true },
    {"peername",   {kNo, kNo, kNo},                            true },
    {"poll",       {Kind::poll_mask, kNumber, kNo},            true },
    {"ppoll",      {Kind::poll_mask, kNumber, kNo},            true },
    {"poll_all",   {Kind::poll_mask, kNo, kNo},                true },
    {"select",     {Kind::poll_mask, kNo, kNo},                true },
    {"epoll_new",  {kNumber, kNo, kNo},                        false},
    {"epoll_ctl",  {kNumber, Kind::control, Kind::epoll_mask}, false},
    {"epoll_nest", {kNumber, kNumber, Kind::epoll_mask},       false},
    {"epoll_wait", {kNumber, kNumber, kNo},                    false},
    {"to_tcp",     {kNo, kNo, kNo},                            false},
    {"async",      {kNumber, kNo, kNo},                        false},
    {"dprintf",    {kNumber, kNo, kNo},                        false},
    {"pass",       {kNo, kNo, kNo},                            false},
    {"disconnect", {kNo, kNo, kNo},                            false},
};
static_assert(std::size(kVerbs) == static_cast<std::size_t>(Verb::count));

constexpr Name kMessageFlags[] = {
    {"PEEK",         MSG_PEEK        },
    {"WAITALL",      MSG_WAITALL     },
    {"DONTWAIT",     MSG_DONTWAIT    },
    {"NOSIGNAL",     MSG_NOSIGNAL    },
    {"TRUNC",        MSG_TRUNC       },
    {"MORE",         MSG_MORE        },
    {"OOB",          MSG_OOB         },
    {"EOR",          MSG_EOR         },
    {"ERRQUEUE",     MSG_ERRQUEUE    },
    {"WAITFORONE",   MSG_WAITFORONE  },
    {"DONTROUTE",    MSG_DONTROUTE   },
    {"CMSG_CLOEXEC", MSG_CMSG_CLOEXEC},
};
constexpr Name kPollBits[] = {
    {"IN",    POLLIN   },
    {"PRI",   POLLPRI  },
    {"OUT",   POLLOUT  },
    {"RDHUP", POLLRDHUP},
};
constexpr Name kEpollBits[] = {
    {"IN",        EPOLLIN                             },
    {"PRI",       EPOLLPRI                            },
    {"OUT",       EPOLLOUT                            },
    {"RDHUP",     EPOLLRDHUP                          },
    {"ET",        std::int64_t{std::uint32_t{EPOLLET}}},
    {"ONESHOT",   EPOLLONESHOT                        },
    {"EXCLUSIVE", EPOLLEXCLUSIVE                      },
};
constexpr Name kHow[] = {
    {"RD",   SHUT_RD  },
    {"WR",   SHUT_WR  },
    {"RDWR", SHUT_RDWR},
    {"BAD",  7        },
};
constexpr Name kControl[] = {
    {"ADD", EPOLL_CTL_ADD},
    {"DEL", EPOLL_CTL_DEL},
    {"MOD", EPOLL_CTL_MOD},
};

constexpr OptionInfo kOptions[] = {
    {"SO_ERROR",         SOL_SOCKET,  SO_ERROR,         OptionType::number,       -1  },
    {"SO_TYPE",          SOL_SOCKET,  SO_TYPE,          OptionType::number,       -1  },
    {"SO_DOMAIN",        SOL_SOCKET,  SO_DOMAIN,        OptionType::number,       -1  },
    {"SO_PROTOCOL",      SOL_SOCKET,  SO_PROTOCOL,      OptionType::number,       -1  },
    {"SO_ACCEPTCONN",    SOL_SOCKET,  SO_ACCEPTCONN,    OptionType::number,       -1  },
    {"SO_LINGER",        SOL_SOCKET,  SO_LINGER,        OptionType::linger,       1   },
    {"SO_RCVTIMEO",      SOL_SOCKET,  SO_RCVTIMEO,      OptionType::milliseconds, 20  },
    {"SO_SNDTIMEO",      SOL_SOCKET,  SO_SNDTIMEO,      OptionType::milliseconds, 20  },
    {"SO_RCVLOWAT",      SOL_SOCKET,  SO_RCVLOWAT,      OptionType::number,       40  },
    {"SO_SNDLOWAT",      SOL_SOCKET,  SO_SNDLOWAT,      OptionType::number,       40  },
    {"SO_KEEPALIVE",     SOL_SOCKET,  SO_KEEPALIVE,     OptionType::number,       1   },
    {"SO_OOBINLINE",     SOL_SOCKET,  SO_OOBINLINE,     OptionType::number,       1   },
    {"SO_REUSEADDR",     SOL_SOCKET,  SO_REUSEADDR,     OptionType::number,       1   },
    {"SO_PRIORITY",      SOL_SOCKET,  SO_PRIORITY,      OptionType::number,       6   },
    {"SO_ZEROCOPY",      SOL_SOCKET,  SO_ZEROCOPY,      OptionType::number,       1   },
    {"TCP_INQ",          IPPROTO_TCP, TCP_INQ,          OptionType::number,       1   },
    {"SO_TIMESTAMP",     SOL_SOCKET,  SO_TIMESTAMP,     OptionType::number,       -1  },
    {"TCP_NODELAY",      IPPROTO_TCP, TCP_NODELAY,      OptionType::number,       -1  }, // off, it holds bytes back ...
    {"TCP_CORK",         IPPROTO_TCP, TCP_CORK,         OptionType::number,       -1  }, // ... as this does
    {"TCP_KEEPIDLE",     IPPROTO_TCP, TCP_KEEPIDLE,     OptionType::number,       100 },
    {"TCP_USER_TIMEOUT", IPPROTO_TCP, TCP_USER_TIMEOUT, OptionType::number,       5000},
    {"TCP_DEFER_ACCEPT", IPPROTO_TCP, TCP_DEFER_ACCEPT, OptionType::number,       -1  },
    {"TCP_INFO",         IPPROTO_TCP, TCP_INFO,         OptionType::tcp_state,    -1  },
    {"IP_TOS",           IPPROTO_IP,  IP_TOS,           OptionType::number,       -1  },
    {"NO_SUCH",          SOL_SOCKET,  0x7ff0,           OptionType::number,       1   },
};

std::span<const Name> bits_of(Kind kind) {
    switch (kind) {
    case Kind::message_flags:
        return kMessageFlags;
    case Kind::poll_mask:
        return kPollBits;
    case Kind::epoll_mask:
        return kEpollBits;
    case Kind::none:
    case Kind::number:
    case Kind::how:
    case Kind::option:
    case Kind::control:
    case Kind::actor:
        break;
    }
    return {};
}

std::string bits_text(std::span<const Name> names, std::int64_t value) {
    std::string text;
    for (const Name& name : names) {
        if ((value & name.value) != 0) {
            text += (text.empty() ? "" : "|") + std::string(name.name);
            value &= ~name.value;
        }
    }
    if (value != 0) {
        text += (text.empty() ? "" : "|") + std::to_string(value);
    }
    return text.empty() ? "0" : text;
}

std::string choice_text(std::span<const Name> names, std::int64_t value) {
    for (const Name& name : names) {
        if (name.value == value) {
            return name.name;
        }
    }
    return std::to_string(value);
}

std::string argument_text(Kind kind, std::int64_t value) {
    switch (kind) {
    case Kind::message_flags:
    case Kind::poll_mask:
    case Kind::epoll_mask:
        return bits_text(bits_of(kind), value);
    case Kind::how:
        return choice_text(kHow, value);
    case Kind::control:
        return choice_text(kControl, value);
    case Kind::option:
        return option(static_cast<std::size_t>(value)).name;
    case Kind::actor:
        return {kActorNames[value]};
    case Kind::none:
    case Kind::number:
        break;
    }
    return std::to_string(value);
}

std::optional<std::int64_t> number_of(std::string_view word) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || end != word.data() + word.size()) {
        return std::nullopt;
    }
    return value;
}

std::optional<std::int64_t> named(std::span<const Name> names, std::string_view word) {
    for (const Name& name : names) {
        if (word == name.name) {
            return name.value;
        }
    }
    return number_of(word);
}

std::optional<std::int64_t> bits_value(std::span<const Name> names, std::string_view word) {
    std::int64_t value = 0;
    while (!word.empty()) {
        const std::size_t bar = std::min(word.find('|'), word.size());
        const auto part = named(names, word.substr(0, bar));
        if (!part) {
            return std::nullopt;
        }
        value |= *part;
        word.remove_prefix(std::min(bar + 1, word.size()));
    }
    return value;
}

std::optional<std::int64_t> argument_value(Kind kind, std::string_view word) {
    switch (kind) {
    case Kind::message_flags:
    case Kind::poll_mask:
    case Kind::epoll_mask:
        return bits_value(bits_of(kind), word);
    case Kind::how:
        return named(kHow, word);
    case Kind::control:
        return named(kControl, word);
    case Kind::option: {
        const std::size_t position = option_named(word);
        return position < option_count() ? std::optional<std::int64_t>(position) : std::nullopt;
    }
    case Kind::actor: {
        const std::size_t at = std::string_view(kActorNames).find(word);
        return at < kActors && word.size() == 1 ? std::optional<std::int64_t>(at) : std::nullopt;
    }
    case Kind::none:
    case Kind::number:
        break;
    }
    return number_of(word);
}

std::optional<Op> parse_line(const std::string& line) {
    std::istringstream words(line);
    std::string actor;
    std::string verb;
    std::string slot;
    words >> actor >> verb >> slot;
    const auto who = argument_value(Kind::actor, actor);
    const auto where = number_of(slot);
    const auto* found = std::find_if(
        std::begin(kVerbs), std::end(kVerbs), [&](const VerbInfo& v) { return verb == v.name; });
    if (!who || !where || *where < 0 || *where >= kSlots || found == std::end(kVerbs)) {
        return std::nullopt;
    }
    Op op;
    op.actor = static_cast<std::uint8_t>(*who);
    op.slot = static_cast<std::uint8_t>(*where);
    op.verb = static_cast<Verb>(found - std::begin(kVerbs));
    std::string word;
    for (std::size_t i = 0; words >> word;) {
        if (word == "~" || word == "&") {
            (word == "~" ? op.blind : op.together) = true;
            continue;
        }
        while (i < 3 && found->kinds[i] == Kind::none) {
            ++i;
        }
        const auto value = i < 3 ? argument_value(found->kinds[i], word) : std::nullopt;
        if (!value) {
            return std::nullopt;
        }
        op.args[i++] = *value;
    }
    return op;
}

} // namespace

const VerbInfo& info(Verb verb) {
    return kVerbs[static_cast<std::size_t>(verb)];
}

const OptionInfo& option(std::size_t position) {
    return kOptions[std::min(position, std::size(kOptions) - 1)];
}

std::size_t option_count() {
    return std::size(kOptions);
}

std::size_t option_named(std::string_view name) {
    std::size_t i = 0;
    while (i < std::size(kOptions) && name != kOptions[i].name) {
        ++i;
    }
    return i;
}

std::string to_text(const Op& op) {
    const VerbInfo& verb = info(op.verb);
    std::string text = {kActorNames[op.actor], ' '};
    text += std::string(verb.name) + " " + std::to_string(op.slot);
    for (std::size_t i = 0; i < verb.kinds.size(); ++i) {
        if (verb.kinds[i] != Kind::none) {
            text += " " + argument_text(verb.kinds[i], op.args[i]);
        }
    }
    return text + (op.blind ? " ~" : "") + (op.together ? " &" : "");
}

std::string to_text(const Program& program) {
    std::string text;
    for (const Op& op : program) {
        text += to_text(op) + "\n";
    }
    return text;
}

std::optional<Program> parse(std::string_view text, std::string& error) {
    Program program;
    std::istringstream lines{std::string(text)};
    std::string line;
    while (std::getline(lines, line)) {
        if (line.empty() || line[0] == '#') {
            continue;
        }
        const auto op = parse_line(line);
        if (!op) {
            error = "no such call: " + line;
            return std::nullopt;
        }
        program.push_back(*op);
    }
    return program;
}

} // namespace smcd::diff
