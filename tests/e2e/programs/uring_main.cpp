// e2e_uring server ACCEPT DATA | client PORT DATA: one connection, served through a ring of liburing.
// Room tests/e2e, no protocol section. ACCEPT: libc, ring; DATA: ring, poll, registered, passed, libc.
//
// The client sends a pattern, the server returns it; each prints how many bytes were right. liburing is loaded at run time, and its
// functions are looked up as the dynamic linker would: its headers are not needed.
#include <dlfcn.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <string>

#include "preload/uring_ring.hpp"
#include "tests/e2e/programs/net.hpp"

namespace {

using namespace smcd::e2e;
using smcd::preload::UringRing;

template <typename Function>
Function* find(const char* name) {
    void* const symbol = ::dlsym(RTLD_DEFAULT, name);
    return symbol != nullptr ? reinterpret_cast<Function*>(symbol) : (die("no %s", name), nullptr);
}

class Ring {
public:
    Ring() {
        if (::dlopen("liburing.so.2", RTLD_NOW | RTLD_GLOBAL) == nullptr) {
            die("no liburing: %s", ::dlerror());
        }
        if (const int error = find<int(unsigned, UringRing*, unsigned)>("io_uring_queue_init")(8, &ring(), 0); error != 0) {
            die("io_uring_queue_init: %s", std::strerror(-error));
        }
        submit_ = find<int(UringRing*, unsigned)>("io_uring_submit_and_wait");
        next_ = find<io_uring_sqe*(UringRing*)>("io_uring_get_sqe");
    }

    /// One request to its end. Its result.
    int run(const io_uring_sqe& request) {
        *next_(&ring()) = request;
        if (const int submitted = submit_(&ring(), 1); submitted != 1) {
            die("io_uring_submit_and_wait: %d", submitted);
        }
        auto& queue = ring().completions;
        const unsigned head = *queue.queue.kernel_head;
        const int result = queue.entries[head & *queue.queue.kernel_mask].res;
        __atomic_store_n(queue.queue.kernel_head, head + 1, __ATOMIC_RELEASE);
        return result;
    }

    void register_file(int fd) {
        const int error = find<int(UringRing*, const int*, unsigned)>("io_uring_register_files")(&ring(), &fd, 1);
        if (error != 0) {
            die("io_uring_register_files: %d", error);
        }
    }

private:
    UringRing& ring() noexcept { return *reinterpret_cast<UringRing*>(memory_.data()); }

    alignas(64) std::array<std::byte, 1024> memory_{}; // liburing's struct io_uring and more
    int (*submit_)(UringRing*, unsigned) = nullptr;
    io_uring_sqe* (*next_)(UringRing*) = nullptr;
};

io_uring_sqe request_of(unsigned operation, int fd) {
    io_uring_sqe request{};
    request.opcode = static_cast<__u8>(operation);
    request.fd = fd;
    return request;
}

/// Sends the descriptor over a UNIX socket through the ring, and receives it: the connection behind another number.
int pass(Ring& ring, int fd) {
    std::array<int, 2> pair{};
    check(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair.data()), "socketpair");
    char byte = 0;
    iovec part{&byte, 1};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    io_uring_sqe request = request_of(IORING_OP_SENDMSG, pair[0]);
    request.addr = reinterpret_cast<__u64>(&message);
    check(ring.run(request), "sendmsg");
    check(static_cast<int>(::recvmsg(pair[1], &message, 0)), "recvmsg");
    int received = -1;
    std::memcpy(&received, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(received));
    ::close(fd);
    return received;
}

/// A connection whose calls go through a ring, as `data` says.
class Connection {
public:
    Connection(Ring& ring, int fd, std::string data) : ring_(ring), fd_(fd), data_(std::move(data)) {
        if (data_ == "registered") {
            ring_.register_file(fd);
        }
        if (data_ == "passed") {
            fd_ = pass(ring, fd);
        }
    }

    ssize_t receive(void* buffer, std::size_t size) {
        if (data_ == "poll") {
            wait(POLLIN);
        }
        return is_direct() ? ::recv(fd_, buffer, size, 0) : transfer(IORING_OP_RECV, buffer, size);
    }

    ssize_t send(void* buffer, std::size_t size) {
        if (data_ == "poll") {
            wait(POLLOUT);
        }
        return is_direct() ? ::send(fd_, buffer, size, 0) : transfer(IORING_OP_SEND, buffer, size);
    }

    void close() {
        if (is_direct()) {
            ::close(fd_);
        } else {
            ring_.run(request_of(IORING_OP_CLOSE, fd_));
        }
    }

private:
    [[nodiscard]] bool is_direct() const { return data_ == "libc" || data_ == "poll" || data_ == "passed"; }

    void wait(short events) {
        io_uring_sqe request = request_of(IORING_OP_POLL_ADD, fd_);
        request.poll32_events = static_cast<__u32>(events);
        ring_.run(request);
    }

    int transfer(unsigned operation, void* buffer, std::size_t size) {
        const bool registered = data_ == "registered";
        io_uring_sqe request = request_of(operation, registered ? 0 : fd_);
        request.flags = registered ? IOSQE_FIXED_FILE : 0;
        request.addr = reinterpret_cast<__u64>(buffer);
        request.len = static_cast<__u32>(size);
        return ring_.run(request);
    }

    Ring& ring_;
    int fd_;
    std::string data_;
};

constexpr std::size_t kBytes = 300'000;
constexpr std::size_t kPiece = 10'000;

void serve(const std::string& accept, const std::string& data) {
    Ring ring;
    const int listener = listen_on("127.0.0.1", 0, 10);
    announce_port(local_port(listener));
    const int fd = accept == "ring" ? ring.run(request_of(IORING_OP_ACCEPT, listener)) : accept_one(listener);
    Connection connection(ring, check(fd, "accept"), data);
    std::array<char, kPiece> buffer{};
    std::size_t done = 0;
    for (;;) {
        const ssize_t got = connection.receive(buffer.data(), buffer.size());
        if (got <= 0) {
            break;
        }
        for (ssize_t sent = 0; sent < got;) {
            const ssize_t n = connection.send(buffer.data() + sent, static_cast<std::size_t>(got - sent));
            sent += n > 0 ? n : (die("send: %zd", n), 0);
        }
        done += static_cast<std::size_t>(got);
    }
    connection.close();
    std::printf("returned %zu\n", done);
}

void ask(std::uint16_t port, const std::string& data) {
    Ring ring;
    const int fd = connect_to("127.0.0.1", port);
    Connection connection(ring, fd, data);
    std::array<char, kPiece> out{};
    std::array<char, kPiece> in{};
    std::size_t right = 0;
    for (std::size_t done = 0; done < kBytes; done += kPiece) {
        for (std::size_t i = 0; i < kPiece; ++i) {
            out[i] = static_cast<char>((done + i) * 31 / 7);
        }
        for (std::size_t sent = 0; sent < kPiece;) {
            const ssize_t n = connection.send(out.data() + sent, kPiece - sent);
            sent += n > 0 ? static_cast<std::size_t>(n) : (die("send: %zd", n), 0);
        }
        for (std::size_t got = 0; got < kPiece;) {
            const ssize_t n = connection.receive(in.data() + got, kPiece - got);
            got += n > 0 ? static_cast<std::size_t>(n) : (die("receive: %zd", n), 0);
        }
        right += in == out ? kPiece : 0;
    }
    connection.close();
    std::printf("right %zu\n", right);
}

} // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        die("usage: e2e_uring server ACCEPT DATA | client PORT DATA");
    }
    if (std::string(argv[1]) == "server") {
        serve(argv[2], argv[3]);
    } else {
        ask(static_cast<std::uint16_t>(parse_number(argv[2])), argv[3]);
    }
    return 0;
}
