// Every way of moving bytes through a connected stream socket, behind two functions.
// Room tests/e2e, no protocol section.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>

namespace smcd::e2e {

enum class Call {
    read_write,
    send_recv,
    vector,    // readv, writev with uneven pieces
    message,   // sendmsg, recvmsg with uneven pieces
    send_to,   // sendto, recvfrom with a null address
    multi,     // sendmmsg, recvmmsg
    file,      // sendfile; received by read
    splice,    // through a pipe
    peek,      // recv(MSG_PEEK), then recv of what was seen
    wait_all,  // recv(MSG_WAITALL)
    dont_wait, // MSG_DONTWAIT on a blocking socket
    truncate,  // recv(MSG_TRUNC) drops some of the bytes unseen
    mix,       // any of the above, a new choice for every call
};

/// Parses the names above with '-' for '_' ("read-write"); dies on anything else.
[[nodiscard]] Call parse_call(const std::string& text);

/// What one receiving call did: `size` as recv() returns it (errno is set when it is -1).
struct Received {
    ssize_t size = 0;
    bool discarded = false; // the bytes were dropped by MSG_TRUNC: nothing to compare
};

/// Scratch state of one connection: a pipe for splice, a file for sendfile, random choices.
/// Thread: one Mover per direction, used by one thread at a time.
class Mover {
public:
    Mover(Call call, bool blocking, std::uint64_t seed);
    ~Mover();
    Mover(const Mover&) = delete;
    Mover& operator=(const Mover&) = delete;

    /// Sends up to `size` bytes; returns as send() does.
    ssize_t put(int fd, const char* data, std::size_t size);

    /// Receives up to `size` bytes; the caller knows that at least `size` more are on their way.
    Received get(int fd, char* data, std::size_t size);

private:
    [[nodiscard]] Call choose(bool sending);
    ssize_t put_vector(int fd, const char* data, std::size_t size, bool message);
    ssize_t put_multi(int fd, const char* data, std::size_t size);
    ssize_t put_file(int fd, const char* data, std::size_t size);
    ssize_t put_splice(int fd, const char* data, std::size_t size);
    ssize_t get_vector(int fd, char* data, std::size_t size, bool message);
    ssize_t get_multi(int fd, char* data, std::size_t size);
    ssize_t get_splice(int fd, char* data, std::size_t size);
    ssize_t get_peek(int fd, char* data, std::size_t size);
    ssize_t get_all(int fd, char* data, std::size_t size);
    void open_pipe();
    void open_file();

    Call call_;
    bool blocking_;
    std::mt19937_64 random_;
    int pipe_[2] = {-1, -1};
    std::size_t pipe_bytes_ = 0; ///< what it holds
    int file_ = -1;
    off_t file_end_ = 0;
};

} // namespace smcd::e2e
