#include "tests/diff/generate.hpp"

#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <utility>

#include "tests/diff/generate_transfer.hpp"
#include "tests/diff/known.hpp"

namespace smcd::diff {
namespace {

class Generator : private Transfers {
public:
    using Transfers::Transfers;

    Program run() {
        warm_ = chance(60);
        first_connection();
        if (warm_ && chance(5)) {
            at_once(300'000);
        }
        if (chance(15)) {
            connection(1);
        }
        if (chance(6)) {
            processes(static_cast<int>(below(2)));
        }
        if (chance(25)) {
            start_epoll();
        }
        const std::size_t calls = program_.size() + 3 + below(chance(20) ? 30 : 12);
        while (program_.size() < calls) {
            any_call();
        }
        return program_;
    }

private:
    void connection(int slot) {
        const int from = static_cast<int>(below(2));
        const bool inside = chance(6);
        const int to = inside ? from : 1 - from;
        const std::int64_t six = chance(12) ? 1 : 0;
        add(Verb::open, from, slot, {to, six, warm_ ? 1 : 0}).blind = !warm_ && chance(60);
        is_open(from, slot) = true;
        is_open(to, inside ? slot + 4 : slot) = true;
    }

    /// Sometimes the server takes its time to accept, and the client goes on meanwhile.
    void first_connection() {
        if (warm_ || chance(70)) {
            return connection(0);
        }
        const int from = static_cast<int>(below(2));
        const std::int64_t six = chance(12) ? 1 : 0;
        const bool nonblocking = chance(30);
        intact_ = !nonblocking;
        add(Verb::connect, from, 0, {1 - from, six, nonblocking ? 1 : 0}).blind = true;
        is_open(from, 0) = true;
        for (std::int64_t n = below(3); n > 0; --n) {
            send(from, 0);
        }
        add(Verb::accept, 1 - from, 0, {six, 0, 0}).blind = chance(50);
        is_open(1 - from, 0) = true;
    }

    void options(int actor, int slot) {
        const auto which = below(static_cast<std::int64_t>(option_count()));
        const OptionInfo& chosen = option(static_cast<std::size_t>(which));
        const bool slow = chosen.type == OptionType::milliseconds;
        // These are not seen by relatives: docs/known-differences.md, "Back to TCP".
        const bool alone = slow || std::string_view(chosen.name) == "SO_RCVLOWAT";
        if ((slow && chance(80)) || (alone && chosen.top >= 0 && forked_)) {
            return;
        }
        if (chosen.top < 0 || chance(30)) {
            add(Verb::getopt, actor, slot, {which, 0, 0});
            return;
        }
        std::int64_t value = below(chosen.top + 1);
        if (chosen.type == OptionType::linger) {
            value = one_of<std::int64_t>({-1, 0, 0, 1});
        }
        Op op;
        op.verb = Verb::setopt;
        op.args = {which, value, 0};
        if (forked_ && leads_to_tcp(op)) {
            return; // as leaving()
        }
        add(Verb::setopt, actor, slot, op.args).blind = !warm_ && chance(40);
    }

    void descriptors(int actor, int slot) {
        const int other = static_cast<int>(below(kSlots));
        switch (below(8)) {
        case 0:
            if (is_open(actor, other) && !may_close()) {
                break;
            }
            add(Verb::dup, actor, slot, {other, 0, 0});
            intact_ = intact_ && !is_open(actor, other);
            is_open(actor, other) = true;
            break;
        case 1:
            if (!may_close()) {
                break;
            }
            add(Verb::dup2, actor, slot, {other, 0, 0});
            intact_ = intact_ && !is_open(actor, other);
            break;
        case 2:
        case 3:
            intact_ = false;
            add(Verb::nonblock, actor, slot, {below(2), 0, 0});
            break;
        case 4:
            intact_ = false;
            add(Verb::fionbio, actor, slot, {below(2), 0, 0});
            break;
        default:
            add(Verb::getfl, actor, slot);
            break;
        }
    }

    void queries(int actor, int slot) {
        const std::int64_t mask = one_of<std::int64_t>({POLLIN,
                                                        POLLOUT,
                                                        POLLIN | POLLOUT,
                                                        POLLRDHUP,
                                                        0,
                                                        POLLIN | POLLPRI | POLLOUT | POLLRDHUP});
        switch (below(9)) {
        case 0:
            add(Verb::unread, actor, slot);
            break;
        case 1:
            if (chance(20)) { // TCP acknowledges up to 40 ms later
                add(Verb::unsent, actor, slot);
            }
            break;
        case 2:
            add(chance(50) ? Verb::sockname : Verb::peername, actor, slot);
            break;
        case 3:
            add(Verb::poll_all, actor, slot, {mask, 0, 0});
            break;
        case 4:
            add(Verb::select, actor, slot, {mask, 0, 0});
            break;
        case 5:
            add(Verb::atmark, actor, slot);
            break;
        case 6:
            add(Verb::getopt,
                actor,
                slot,
                {static_cast<std::int64_t>(option_named("SO_ERROR")), 0, 0});
            break;
        default:
            add(chance(70) ? Verb::poll : Verb::ppoll, actor, slot, {mask, chance(3) ? 5 : 0, 0});
            break;
        }
    }

    std::int64_t epoll_mask() {
        std::int64_t mask = one_of<std::int64_t>(
            {EPOLLIN, EPOLLIN, EPOLLOUT, EPOLLIN | EPOLLOUT, EPOLLIN | EPOLLRDHUP, 0});
        mask |= chance(40) ? std::int64_t{std::uint32_t{EPOLLET}} : 0;
        mask |= chance(15) ? std::int64_t{EPOLLONESHOT} : 0;
        mask |= chance(2) ? std::int64_t{EPOLLEXCLUSIVE} : 0;
        mask |= chance(5) ? std::int64_t{EPOLLPRI} : 0;
        return mask;
    }

    void start_epoll() {
        int actor = 0;
        int slot = 0;
        if (!choose(actor, slot) || actor > 1) {
            return;
        }
        add(Verb::epoll_new, actor, 0, {0, 0, 0});
        sets_[actor] = 1;
        add(Verb::epoll_ctl, actor, slot, {0, EPOLL_CTL_ADD, epoll_mask()});
        if (chance(15)) {
            add(Verb::epoll_new, actor, 0, {1, 0, 0});
            add(Verb::epoll_nest,
                actor,
                0,
                {1, 0, EPOLLIN | (chance(40) ? std::int64_t{std::uint32_t{EPOLLET}} : 0)});
            sets_[actor] = 2;
        }
    }

    void epoll(int actor, int slot) {
        if (actor > 1) {
            return; // edges of a set that both wait in are told to each: docs/known-differences.md
        }
        if (sets_[actor % 2] == 0) {
            return start_epoll();
        }
        const std::int64_t set = below(sets_[actor % 2]);
        if (chance(70)) {
            add(Verb::epoll_wait, actor, slot, {set, chance(3) ? 5 : 0, 0});
            return;
        }
        const std::int64_t what =
            one_of<std::int64_t>({EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_MOD, EPOLL_CTL_DEL});
        add(Verb::epoll_ctl, actor, slot, {set, what, epoll_mask()});
    }

    void processes(int actor) {
        actor %= 2;
        if (sets_[0] + sets_[1] > 0) {
            return;
        }
        if (!child_[actor]) {
            add(Verb::fork, actor, 0);
            forked_ = true;
            child_[actor] = true;
            return;
        }
        intact_ = false;
        if (!may_close()) {
            return;
        }
        add(chance(70) ? Verb::reap : Verb::kill, actor, 0);
        child_[actor] = false;
    }

    void leaving(int actor, int slot) {
        if (forked_) {
            return; // a child alone with a connection answers at its first call only:
                    // docs/known-differences.md
        }
        const bool intact = std::exchange(intact_, false);
        switch (below(12)) {
        case 0:
        case 1:
            add(Verb::async, actor, slot, {below(2), 0, 0});
            break;
        case 2:
        case 3:
            add(Verb::dprintf, actor, slot, {1 + below(20), 0, 0});
            waiting_[1 - actor % 2] += 20;
            break;
        case 4:
        case 5:
            if (intact) { // later there may be no way back
                add(Verb::pass, actor, slot);
            }
            break;
        case 6:
            if (intact && warm_) {
                add(Verb::disconnect, actor, slot);
            }
            break;
        case 7:
            if (intact && chance(40) && actor < 2) {
                add(Verb::exec, actor, slot);
                sets_[actor] = 0;
            }
            break;
        case 8:
            if (chance(20) && actor < 2 && may_close()) {
                add(Verb::exit, actor, slot);
            }
            break;
        default:
            add(Verb::to_tcp, actor, slot).blind = chance(50);
            break;
        }
    }

    void close(int actor, int slot) {
        if (!may_close()) {
            return;
        }
        intact_ = false;
        add(Verb::close, actor, slot).blind = !warm_ && chance(30);
        if (actor < 2) {
            is_open(actor, slot) = false;
        }
    }

    void any_call() {
        int actor = 0;
        int slot = 0;
        if (!choose(actor, slot)) {
            const int fresh = static_cast<int>(below(3));
            if (may_close() || !(is_open(0, fresh) || is_open(1, fresh))) {
                connection(fresh);
            }
            return;
        }
        const std::int64_t dice = below(1000);
        if (dice < 300) {
            send(actor, slot);
        } else if (dice < 570) {
            receive(actor, slot);
        } else if (dice < 690) {
            queries(actor, slot);
        } else if (dice < 760) {
            epoll(actor, slot);
        } else if (dice < 820) {
            options(actor, slot);
        } else if (dice < 880) {
            intact_ = false;
            // What crosses a handshake after SHUT_RD: docs/known-differences.md, "Ends".
            const std::int64_t how = warm_ ? below(3) : std::int64_t{SHUT_WR};
            add(Verb::shutdown, actor, slot, {chance(97) ? how : 7, 0, 0}).blind =
                !warm_ && chance(30);
        } else if (dice < 925) {
            close(actor, slot);
        } else if (dice < 955) {
            descriptors(actor, slot);
        } else if (dice < 965) {
            processes(actor);
        } else if (dice < 980) {
            leaving(actor, slot);
        } else {
            at_once(800);
        }
    }
};

} // namespace

Program generate(std::uint64_t seed) {
    return Generator(seed).run();
}

} // namespace smcd::diff
