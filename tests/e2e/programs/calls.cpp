// Every way of moving bytes through a connected stream socket, behind two functions.
// Room tests/e2e, no protocol section.
#include "tests/e2e/programs/calls.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "tests/e2e/programs/net.hpp"

namespace smcd::e2e {
namespace {

constexpr off_t kFileBytesMax = off_t{64} << 20U;

struct Name {
    const char* text;
    Call call;
};

constexpr std::array kNames = {
    Name{"read-write", Call::read_write},
    Name{"send-recv",  Call::send_recv },
    Name{"vector",     Call::vector    },
    Name{"message",    Call::message   },
    Name{"send-to",    Call::send_to   },
    Name{"multi",      Call::multi     },
    Name{"file",       Call::file      },
    Name{"splice",     Call::splice    },
    Name{"peek",       Call::peek      },
    Name{"wait-all",   Call::wait_all  },
    Name{"dont-wait",  Call::dont_wait },
    Name{"truncate",   Call::truncate  },
    Name{"mix",        Call::mix       },
};

// Cuts [data, data + size) in five uneven pieces, an empty one among them.
std::array<iovec, 5> cut(const char* data, std::size_t size) {
    std::array<iovec, 5> pieces{};
    const std::array<std::size_t, 5> parts = {
        size / 7, 0, size / 3, size / 5, size - size / 7 - size / 3 - size / 5};
    char* at = const_cast<char*>(data);
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        pieces[i] = {at, parts[i]};
        at += parts[i];
    }
    return pieces;
}

} // namespace

Call parse_call(const std::string& text) {
    for (const Name& name : kNames) {
        if (text == name.text) {
            return name.call;
        }
    }
    die("unknown call %s", text.c_str());
}

Mover::Mover(Call call, bool blocking, std::uint64_t seed)
    : call_(call), blocking_(blocking), random_(seed) {}

Mover::~Mover() {
    for (const int fd : {pipe_[0], pipe_[1], file_}) {
        if (fd != -1) {
            ::close(fd);
        }
    }
}

Call Mover::choose(bool sending) {
    if (call_ != Call::mix) {
        return call_;
    }
    for (;;) {
        const Call choice = kNames[random_() % kNames.size()].call;
        const bool only_receives =
            choice == Call::peek || choice == Call::wait_all || choice == Call::truncate;
        const bool no_wait = choice == Call::dont_wait && blocking_;
        if (choice != Call::mix && !(sending && only_receives) && !no_wait) {
            return choice;
        }
    }
}

void Mover::open_pipe() {
    if (pipe_[0] == -1) {
        check(::pipe2(pipe_, O_CLOEXEC), "pipe2");
        // An ordinary user's pipes are small when there are many of them.
        pipe_bytes_ = static_cast<std::size_t>(check(::fcntl(pipe_[0], F_GETPIPE_SZ), "F_GETPIPE_SZ"));
    }
}

void Mover::open_file() {
    if (file_ != -1 && file_end_ >= kFileBytesMax) {
        ::close(file_);
        file_ = -1;
    }
    if (file_ == -1) {
        file_ = check(::memfd_create("e2e", MFD_CLOEXEC), "memfd_create");
        file_end_ = 0;
    }
}

ssize_t Mover::put(int fd, const char* data, std::size_t size) {
    switch (choose(true)) {
    case Call::read_write:
        return ::write(fd, data, size);
    case Call::vector:
        return put_vector(fd, data, size, false);
    case Call::message:
        return put_vector(fd, data, size, true);
    case Call::send_to:
        return ::sendto(fd, data, size, MSG_NOSIGNAL, nullptr, 0);
    case Call::multi:
        return put_multi(fd, data, size);
    case Call::file:
        return put_file(fd, data, size);
    case Call::splice:
        return put_splice(fd, data, size);
    case Call::dont_wait:
        return ::send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    case Call::send_recv:
    case Call::peek:
    case Call::wait_all:
    case Call::truncate:
    case Call::mix:
        break;
    }
    return ::send(fd, data, size, MSG_NOSIGNAL);
}

ssize_t Mover::put_vector(int fd, const char* data, std::size_t size, bool message) {
    auto pieces = cut(data, size);
    if (!message) {
        return ::writev(fd, pieces.data(), static_cast<int>(pieces.size()));
    }
    msghdr header{};
    header.msg_iov = pieces.data();
    header.msg_iovlen = pieces.size();
    return ::sendmsg(fd, &header, MSG_NOSIGNAL);
}

ssize_t Mover::put_multi(int fd, const char* data, std::size_t size) {
    auto pieces = cut(data, size);
    std::array<mmsghdr, 2> messages{};
    messages[0].msg_hdr.msg_iov = pieces.data();
    messages[0].msg_hdr.msg_iovlen = 3;
    messages[1].msg_hdr.msg_iov = pieces.data() + 3;
    messages[1].msg_hdr.msg_iovlen = 2;
    const std::size_t first = pieces[0].iov_len + pieces[2].iov_len;
    const unsigned start = first == 0 ? 1 : 0;
    const int sent = ::sendmmsg(fd, messages.data() + start, 2 - start, MSG_NOSIGNAL);
    if (sent <= 0) {
        return sent;
    }
    ssize_t total = 0;
    for (unsigned i = start; i < start + static_cast<unsigned>(sent); ++i) {
        total += static_cast<ssize_t>(messages[i].msg_len);
    }
    if (start == 0 && sent == 2 && messages[0].msg_len != first) {
        die("sendmmsg sent message 2 after %u of %zu bytes of message 1",
            messages[0].msg_len,
            first);
    }
    return total;
}

// A page that sendfile() has queued is still read from the file: never write a page twice.
ssize_t Mover::put_file(int fd, const char* data, std::size_t size) {
    open_file();
    const off_t start = (file_end_ + 4095) / 4096 * 4096 + 1;
    if (::pwrite(file_, data, size, start) != static_cast<ssize_t>(size)) {
        die_errno("pwrite");
    }
    off_t offset = start;
    const ssize_t sent = ::sendfile(fd, file_, &offset, size);
    file_end_ = start + static_cast<off_t>(size);
    if (sent >= 0 && offset != start + sent) {
        die("sendfile sent %zd but moved its offset by %lld",
            sent,
            static_cast<long long>(offset - start));
    }
    return sent;
}

ssize_t Mover::put_splice(int fd, const char* data, std::size_t size) {
    open_pipe();
    const ssize_t held = ::write(pipe_[1], data, std::min(size, pipe_bytes_));
    if (held <= 0) {
        die_errno("write to a pipe");
    }
    const ssize_t sent =
        ::splice(pipe_[0], nullptr, fd, nullptr, static_cast<std::size_t>(held), 0);
    const int saved = errno;
    std::vector<char> rest(static_cast<std::size_t>(held - std::max<ssize_t>(sent, 0)));
    if (!rest.empty() &&
        ::read(pipe_[0], rest.data(), rest.size()) != static_cast<ssize_t>(rest.size())) {
        die("splice returned %zd but took more from the pipe", sent);
    }
    errno = saved;
    return sent;
}

Received Mover::get(int fd, char* data, std::size_t size) {
    switch (choose(false)) {
    case Call::read_write:
    case Call::file:
        return {::read(fd, data, size)};
    case Call::vector:
        return {get_vector(fd, data, size, false)};
    case Call::message:
        return {get_vector(fd, data, size, true)};
    case Call::send_to:
        return {::recvfrom(fd, data, size, 0, nullptr, nullptr)};
    case Call::multi:
        return {get_multi(fd, data, size)};
    case Call::splice:
        return {get_splice(fd, data, size)};
    case Call::peek:
        return {get_peek(fd, data, size)};
    case Call::wait_all:
        return {get_all(fd, data, size)};
    case Call::dont_wait:
        return {::recv(fd, data, size, MSG_DONTWAIT)};
    case Call::truncate:
        if (random_() % 2 == 0) {
            return {::recv(fd, nullptr, size, MSG_TRUNC), true};
        }
        return {::recv(fd, data, size, 0)};
    case Call::send_recv:
    case Call::mix:
        break;
    }
    return {::recv(fd, data, size, 0)};
}

ssize_t Mover::get_vector(int fd, char* data, std::size_t size, bool message) {
    auto pieces = cut(data, size);
    if (!message) {
        return ::readv(fd, pieces.data(), static_cast<int>(pieces.size()));
    }
    msghdr header{};
    header.msg_iov = pieces.data();
    header.msg_iovlen = pieces.size();
    const ssize_t size_received = ::recvmsg(fd, &header, 0);
    if (size_received >= 0 && (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC | MSG_OOB)) != 0) {
        die("recvmsg set msg_flags 0x%x", static_cast<unsigned>(header.msg_flags));
    }
    return size_received;
}

ssize_t Mover::get_multi(int fd, char* data, std::size_t size) {
    iovec piece{data, size};
    mmsghdr message{};
    message.msg_hdr.msg_iov = &piece;
    message.msg_hdr.msg_iovlen = 1;
    const int got = ::recvmmsg(fd, &message, 1, 0, nullptr);
    return got <= 0 ? got : static_cast<ssize_t>(message.msg_len);
}

ssize_t Mover::get_splice(int fd, char* data, std::size_t size) {
    open_pipe();
    const ssize_t held = ::splice(fd, nullptr, pipe_[1], nullptr, std::min(size, pipe_bytes_), 0);
    if (held <= 0) {
        return held;
    }
    ssize_t done = 0;
    while (done < held) {
        const ssize_t part = ::read(pipe_[0], data + done, static_cast<std::size_t>(held - done));
        if (part <= 0) {
            die("splice returned %zd, the pipe held %zd", held, done);
        }
        done += part;
    }
    return held;
}

ssize_t Mover::get_peek(int fd, char* data, std::size_t size) {
    std::vector<char> seen(size);
    const ssize_t peeked = ::recv(fd, seen.data(), size, MSG_PEEK);
    if (peeked <= 0) {
        return peeked;
    }
    const ssize_t got = ::recv(fd, data, static_cast<std::size_t>(peeked), 0);
    if (got != peeked || std::memcmp(seen.data(), data, static_cast<std::size_t>(got)) != 0) {
        die("peeked %zd bytes, then received %zd or other bytes", peeked, got);
    }
    return got;
}

ssize_t Mover::get_all(int fd, char* data, std::size_t size) {
    const ssize_t got = ::recv(fd, data, size, MSG_WAITALL);
    if (blocking_ && got > 0 && got != static_cast<ssize_t>(size)) {
        die("MSG_WAITALL for %zu bytes returned %zd", size, got);
    }
    return got;
}

} // namespace smcd::e2e
