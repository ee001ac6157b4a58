// Semantics: a socket used as a file: offsets, sendfile, splice, stdio.
// Room tests/e2e, no protocol section.
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>

#include "tests/e2e/programs/net.hpp"
#include "tests/e2e/semantics/harness.hpp"

namespace smcd::e2e {
namespace {

int file_with(const char* text, std::size_t size) {
    const int file = check(::memfd_create("e2e", MFD_CLOEXEC), "memfd_create");
    check(static_cast<int>(::write(file, text, size)), "write");
    check(static_cast<int>(::lseek(file, 0, SEEK_SET)), "lseek");
    return file;
}

void positions(Context& c) {
    const int fd = c.open();
    std::array<char, 8> buffer{};
    iovec piece{buffer.data(), 8};
    c.peer().run("send 4");
    c.await(fd, POLLIN);
    c.result("lseek", ::lseek(fd, 0, SEEK_CUR));
    c.result("pread", ::pread(fd, buffer.data(), 8, 0));
    c.result("pwrite", ::pwrite(fd, "x", 1, 0));
    c.result("preadv", ::preadv(fd, &piece, 1, 0));
    c.result("preadv2 nowait", ::preadv2(fd, &piece, 1, -1, RWF_NOWAIT));
    piece = {const_cast<char*>("yz"), 2};
    c.result("pwritev2", ::pwritev2(fd, &piece, 1, -1, 0));
    c.say("peer got %s", c.peer().run("recv 2").c_str());
}

void not_a_file(Context& c) {
    const int fd = c.open();
    c.result("fsync", ::fsync(fd));
    c.result("ftruncate", ::ftruncate(fd, 0));
    c.result("fallocate", ::fallocate(fd, 0, 0, 1));
    c.result("isatty", ::isatty(fd) == 1 ? 1 : -1);
    c.result("mmap", ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);

    struct stat status {};

    c.result("fstat", ::fstat(fd, &status));
    c.say("a socket: %d, size %lld",
          S_ISSOCK(status.st_mode) ? 1 : 0,
          static_cast<long long>(status.st_size));
    c.result("copy_file_range", ::copy_file_range(fd, nullptr, fd, nullptr, 10, 0));
}

void sendfile_from_a_file(Context& c) {
    const int fd = c.open();
    const int file = file_with("0123456789", 10);
    off_t offset = 3;
    c.result("sendfile at 3", ::sendfile(fd, file, &offset, 4));
    c.say("offset %lld, file at %lld",
          static_cast<long long>(offset),
          static_cast<long long>(::lseek(file, 0, SEEK_CUR)));
    c.say("peer got %s", c.peer().run("recv 4").c_str());
    c.result("sendfile", ::sendfile(fd, file, nullptr, 2));
    c.say("file at %lld", static_cast<long long>(::lseek(file, 0, SEEK_CUR)));
    c.result("sendfile beyond the end", ::sendfile(fd, file, nullptr, 100));
    c.result("sendfile at the end", ::sendfile(fd, file, nullptr, 100));
    c.result("sendfile of 0", ::sendfile(fd, file, nullptr, 0));
    c.say("peer got %s", c.peer().run("recv 10").c_str());
    offset = -1;
    c.result("negative offset", ::sendfile(fd, file, &offset, 1));
    c.result("from a bad descriptor", ::sendfile(fd, -1, nullptr, 1));
    fill(fd);
    offset = 0;
    c.result("sendfile when full", (set_nonblocking(fd, true), ::sendfile(fd, file, &offset, 5)));
    c.say("offset %lld", static_cast<long long>(offset));
}

void sendfile_after_shutdown(Context& c) {
    const int fd = c.open();
    const int file = file_with("0123456789", 10);
    ::shutdown(fd, SHUT_WR);
    c.result("sendfile", ::sendfile(fd, file, nullptr, 5));
    c.say("SIGPIPE %d, file at %lld",
          take_sigpipes(),
          static_cast<long long>(::lseek(file, 0, SEEK_CUR)));
}

void splice_both_ways(Context& c) {
    const int fd = c.open();
    std::array<int, 2> pipe{};
    check(::pipe(pipe.data()), "pipe");
    set_nonblocking(fd, true);
    c.result("splice of nothing", ::splice(fd, nullptr, pipe[1], nullptr, 10, 0));
    set_nonblocking(fd, false);
    c.peer().run("send 5");
    c.await(fd, POLLIN);
    c.result("socket to pipe", ::splice(fd, nullptr, pipe[1], nullptr, 10, 0));
    c.result("pipe to socket", ::splice(pipe[0], nullptr, fd, nullptr, 10, 0));
    c.say("peer got %s", c.peer().run("recv 5").c_str());
    c.peer().post(Context::when_asleep() + "send 4");
    c.result("woken", ::splice(fd, nullptr, pipe[1], nullptr, 10, 0));
    c.peer().reply();
    loff_t offset = 0;
    c.result("with an offset", ::splice(fd, &offset, pipe[1], nullptr, 10, 0));
    c.result("socket to socket", ::splice(fd, nullptr, fd, nullptr, 10, 0));
    c.peer().run("close");
    c.await(fd, POLLIN);
    c.result("at the end", ::splice(fd, nullptr, pipe[1], nullptr, 10, 0));
}

// One thread fills and empties the pipe: it must never wait for room once it has moved something.
void splice_with_a_pipe_that_is_full(Context& c) {
    const int fd = c.open();
    std::array<int, 2> pipe{};
    check(::pipe(pipe.data()), "pipe");
    c.result("an empty pipe", ::splice(pipe[0], nullptr, fd, nullptr, 10, SPLICE_F_NONBLOCK));
    c.result("a byte", ::write(pipe[1], "x", 1));
    c.peer().run("send 100000");
    c.await(fd, POLLIN);
    c.say("blocking: some %d", ::splice(fd, nullptr, pipe[1], nullptr, 100'000, 0) > 0);
    set_nonblocking(fd, true);
    ssize_t moved = 1;
    for (int i = 0; i < 100 && moved > 0; ++i) {
        moved = ::splice(fd, nullptr, pipe[1], nullptr, 100'000, SPLICE_F_NONBLOCK);
    }
    c.result("at last", moved);
    std::size_t total = 0;
    set_nonblocking(pipe[0], true);
    for (std::array<char, 65536> sink{}; total < 100'001;) {
        const ssize_t n = ::read(pipe[0], sink.data(), sink.size());
        if (n > 0) {
            total += static_cast<std::size_t>(n);
        } else {
            c.await(fd, POLLIN);
            ::splice(fd, nullptr, pipe[1], nullptr, 100'000, SPLICE_F_NONBLOCK);
        }
    }
    c.say("in all %zu", total);
    c.result("not a pipe", ::splice(fd, nullptr, file_with("", 0), nullptr, 10, 0));
}

void formatted_output(Context& c) {
    const int fd = c.open();
    c.result("dprintf", ::dprintf(fd, "%s %d", "number", 42));
    c.say("peer got %s", c.peer().run("recv 9").c_str());
    ::send(fd, "after", 5, 0);
    c.say("peer got %s", c.peer().run("recv 5").c_str());
}

void stdio_stream(Context& c) {
    const int fd = c.open();
    std::FILE* out = ::fdopen(::dup(fd), "w");
    std::FILE* in = ::fdopen(fd, "r");
    c.result("fprintf", std::fprintf(out, "line %d\n", 1));
    std::fflush(out);
    c.say("peer got %s", c.peer().run("recv 7; send 10").c_str());
    std::array<char, 11> text{};
    c.result("fread", static_cast<ssize_t>(std::fread(text.data(), 1, 10, in)));
    c.say("'%s'", text.data());
    c.peer().run("close");
    c.say("getc at the end: %d", std::fgetc(in));
    std::fclose(out);
    std::fclose(in);
}

void stdio_with_bytes_waiting(Context& c) {
    const int fd = c.open();
    c.peer().run("send 20");
    c.receive(fd, 5);
    std::FILE* in = ::fdopen(fd, "r+");
    std::array<char, 16> text{};
    c.result("fread", static_cast<ssize_t>(std::fread(text.data(), 1, 15, in)));
    c.say("'%s'", text.data());
    std::fputs("bye", in);
    std::fclose(in);
    c.say("peer got %s", c.peer().run("drain").c_str());
}

constexpr std::array kCases = {
    Case{"positions",                       positions                      },
    Case{"not_a_file",                      not_a_file                     },
    Case{"sendfile_from_a_file",            sendfile_from_a_file           },
    Case{"sendfile_after_shutdown",         sendfile_after_shutdown        },
    Case{"splice_both_ways",                splice_both_ways               },
    Case{"splice_with_a_pipe_that_is_full", splice_with_a_pipe_that_is_full},
    Case{"formatted_output",                formatted_output               },
    Case{"stdio_stream",                    stdio_stream                   },
    Case{"stdio_with_bytes_waiting",        stdio_with_bytes_waiting       },
};

} // namespace

std::span<const Case> file_cases() {
    return kCases;
}

} // namespace smcd::e2e
