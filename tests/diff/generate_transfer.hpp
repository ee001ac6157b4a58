// The part of the generator that makes bytes move. Room tests/diff, no protocol section.
#pragma once

#include <sys/socket.h>

#include "tests/diff/chooser.hpp"

namespace smcd::diff {

/// What was sent and not read stays below these, as the rings and TCP's buffers do not fill alike.
inline constexpr std::int64_t kWarmBytes = 40'000;
inline constexpr std::int64_t kColdBytes = 9'000; ///< three quarters of the pre-buffer, and some

class Transfers : public Chooser {
public:
    using Chooser::Chooser;

protected:
    void send(int actor, int slot) {
        const std::int64_t budget = warm_ ? kWarmBytes : kColdBytes;
        const std::int64_t n = std::min(size(), budget - sent_[actor % 2]);
        if (n < 0) {
            return;
        }
        sent_[actor % 2] += n;
        waiting_[1 - actor % 2] += n;
        std::int64_t flags = chance(70) ? MSG_NOSIGNAL : 0;
        flags |= chance(20) ? MSG_DONTWAIT : 0;
        flags |= warm_ && intact_ && chance(1)
                     ? MSG_MORE
                     : 0; // cold, TCP holds it back longer than calm takes
        if (!forked_ && intact_ && !urgent_ && chance(2)) {
            flags |= MSG_OOB; // not twice: TCP drops one that is unread when the next comes
            urgent_ = true;
        }
        flags |=
            chance(1) ? one_of<std::int64_t>({MSG_EOR, MSG_DONTROUTE, MSG_ERRQUEUE, 0x800}) : 0;
        const Verb verb = one_of<Verb>({Verb::send,
                                        Verb::send,
                                        Verb::send,
                                        Verb::write,
                                        Verb::writev,
                                        Verb::sendto,
                                        Verb::sendmsg,
                                        Verb::sendmmsg,
                                        Verb::pwritev2,
                                        Verb::sendfile,
                                        Verb::splice_out});
        Op op;
        op.args = {n, 0, 0};
        const auto kinds = info(verb).kinds;
        if (kinds[1] == Kind::message_flags) {
            op.args[1] = flags;
        } else if (verb == Verb::pwritev2) {
            op.args[1] = chance(90) ? -1 : 0;
        } else if (verb == Verb::splice_out) {
            op.args[1] = below(2);
        }
        if (kinds[2] == Kind::number) {
            op.args[2] = verb == Verb::sendmmsg ? 1 + below(4) : below(5);
        }
        Op& added = add(verb, actor, slot, op.args);
        if (verb == Verb::sendmmsg) {
            added.args[1] &= ~std::int64_t{
                MSG_OOB}; // which of several is the urgent one? TCP itself has one pointer
        }
        added.blind = !warm_ && chance(50);
    }

    void receive(int actor, int slot) {
        std::int64_t& waits = waiting_[actor % 2];
        std::int64_t n = chance(50) ? size() : waits + below(20);
        std::int64_t flags = 0;
        const bool may_wait = waits > 0 || chance(6);
        flags |= !may_wait || chance(30) ? MSG_DONTWAIT : 0;
        flags |= chance(20) ? MSG_PEEK : 0;
        flags |= chance(5) ? MSG_TRUNC : 0;
        flags |=
            chance(1) ? one_of<std::int64_t>({MSG_ERRQUEUE, MSG_CMSG_CLOEXEC, MSG_NOSIGNAL}) : 0;
        flags |= chance(2) ? MSG_OOB : 0;
        if (chance(10)) {
            flags |= MSG_WAITALL;
            n = chance(80) ? std::min(n, waits) : n;
        }
        // A receive of nothing that waits ends on TCP with whatever wakes it, be it an
        // acknowledgement.
        flags |= n == 0 ? MSG_DONTWAIT : 0;
        Verb verb = Verb::recv;
        if (may_wait && (flags & MSG_DONTWAIT) == 0) {
            verb = one_of<Verb>({Verb::recv,
                                 Verb::recv,
                                 Verb::read,
                                 Verb::readv,
                                 Verb::recvfrom,
                                 Verb::recvmsg,
                                 Verb::recvmmsg,
                                 Verb::preadv2,
                                 Verb::splice_in});
        } else {
            verb = one_of<Verb>(
                {Verb::recv, Verb::recv, Verb::recvfrom, Verb::recvmsg, Verb::recvmmsg});
        }
        const auto kinds = info(verb).kinds;
        std::array<std::int64_t, 3> args{n, flags, 0};
        if (verb == Verb::preadv2) {
            args[1] = chance(95) ? -1 : 0;
        } else if (verb == Verb::splice_in) {
            args[1] = below(2);
        }
        if (kinds[2] == Kind::number) {
            args[2] = 1 + below(verb == Verb::recvmmsg ? 3 : 4);
        }
        if (verb == Verb::recvmmsg) {
            args[0] = std::max<std::int64_t>(n, 20); // each message has room
        }
        if (verb == Verb::recvmmsg && (flags & MSG_DONTWAIT) == 0) {
            args[1] |= MSG_WAITFORONE; // or it waits for all of them
        }
        if ((flags & MSG_PEEK) == 0) {
            waits = std::max<std::int64_t>(waits - n, 0);
        }
        add(verb, actor, slot, args);
    }

    /// Both sides at the same time; the result does not depend on who is first.
    void at_once(std::int64_t top) {
        if (!intact_ || !is_open(0, 0) || !is_open(1, 0) || waiting_[0] != 0 || waiting_[1] != 0) {
            return;
        }
        const std::int64_t n = 1 + below(top);
        const int reader = static_cast<int>(below(2));
        if (chance(70)) {
            add(Verb::recv, reader, 0, {n, MSG_WAITALL, 0}).together = true;
            add(Verb::send, 1 - reader, 0, {n, MSG_NOSIGNAL, 0});
            return;
        }
        add(Verb::send, reader, 0, {std::min<std::int64_t>(n, 800), MSG_NOSIGNAL, 0}).together =
            true;
        add(Verb::send, 1 - reader, 0, {std::min<std::int64_t>(n, 800), MSG_NOSIGNAL, 0});
        waiting_[0] = waiting_[1] = std::min<std::int64_t>(n, 800);
    }
};

} // namespace smcd::diff
