#include "tests/tools/fake_process.hpp"

#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "smcd/base/check.hpp"

namespace smcd::tools::testing {
namespace {

std::size_t whole_pages(std::size_t bytes) noexcept {
    constexpr std::size_t kPage = 4096;
    return (bytes + kPage - 1) / kPage * kPage;
}

std::uint64_t inode_of(int fd) {
    struct stat info {};

    SMCD_CHECK(::fstat(fd, &info) == 0);
    return info.st_ino;
}

void write_numbers(int fd, const FakeProcess::Numbers& numbers) {
    const std::size_t count = numbers.size();
    SMCD_CHECK(::write(fd, &count, sizeof(count)) == sizeof(count));
    const auto bytes = static_cast<ssize_t>(count * sizeof(std::uint64_t));
    SMCD_CHECK(::write(fd, numbers.data(), count * sizeof(std::uint64_t)) == bytes);
}

} // namespace

FakeProcess::FakeProcess(const std::function<Numbers()>& prepare) {
    int ready[2] = {-1, -1};
    int hold[2] = {-1, -1};
    SMCD_CHECK(::pipe(ready) == 0 && ::pipe(hold) == 0);
    pid_ = ::fork();
    SMCD_CHECK(pid_ >= 0);
    if (pid_ == 0) {
        ::close(hold[1]);
        write_numbers(ready[1], prepare());
        char end = 0;
        ::_exit(::read(hold[0], &end, 1) == 0 ? 0 : 1);
    }
    ::close(ready[1]);
    ::close(hold[0]);
    hold_ = hold[1];
    std::size_t count = 0;
    SMCD_CHECK(::read(ready[0], &count, sizeof(count)) == sizeof(count));
    numbers_.resize(count);
    for (std::uint64_t& number : numbers_) {
        SMCD_CHECK(::read(ready[0], &number, sizeof(number)) == sizeof(number));
    }
    ::close(ready[0]);
}

FakeProcess::~FakeProcess() {
    ::close(hold_);
    ::waitpid(pid_, nullptr, 0);
}

std::byte* map_named(const char* name, std::size_t map_bytes, std::size_t file_bytes) {
    const int fd = ::memfd_create(name, MFD_CLOEXEC);
    SMCD_CHECK(fd >= 0 && ::ftruncate(fd, static_cast<off_t>(file_bytes)) == 0);
    void* memory =
        ::mmap(nullptr, whole_pages(map_bytes), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    SMCD_CHECK(memory != MAP_FAILED);
    ::close(fd);
    return static_cast<std::byte*>(memory);
}

ProcessPage& publish_page() {
    auto& page = *reinterpret_cast<ProcessPage*>(map_named("smcd-proc", 4096, 4096));
    page.magic = kProcessPageMagic;
    page.version = kProcessPageVersion;
    page.pid = static_cast<std::uint32_t>(::getpid());
    return page;
}

ConnChunk& publish_chunk() {
    const std::size_t bytes = whole_pages(sizeof(ConnChunk));
    auto& chunk = *reinterpret_cast<ConnChunk*>(map_named("smcd-conn", bytes, bytes));
    chunk.header.magic = kConnChunkMagic;
    chunk.header.version = kConnChunkVersion;
    chunk.header.block_bytes = sizeof(ConnBlock);
    chunk.header.block_count = kBlocksPerChunk;
    chunk.header.pid = static_cast<std::uint32_t>(::getpid());
    return chunk;
}

void fill(ConnBlock& block, Phase phase, std::uint64_t inode) {
    block.phase.store(phase);
    block.generation.store(1);
    block.holders.store(1);
    block.pid = static_cast<std::uint32_t>(::getpid());
    block.inode = inode;
    block.device = 0xFFFF;
}

TcpTrio make_trio() {
    TcpTrio trio;
    trio.listener = ::socket(AF_INET, SOCK_STREAM, 0);
    trio.client = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    socklen_t length = sizeof(address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    SMCD_CHECK(::bind(trio.listener, generic, length) == 0 && ::listen(trio.listener, 1) == 0);
    SMCD_CHECK(::getsockname(trio.listener, generic, &length) == 0);
    SMCD_CHECK(::connect(trio.client, generic, length) == 0);
    trio.server = ::accept(trio.listener, nullptr, nullptr);
    SMCD_CHECK(trio.server >= 0);
    trio.inodes[0] = inode_of(trio.listener);
    trio.inodes[1] = inode_of(trio.client);
    trio.inodes[2] = inode_of(trio.server);
    return trio;
}

} // namespace smcd::tools::testing
