#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <memory>
#include <random>

#include <gtest/gtest.h>

#include "smcd/tools/shim_memory.hpp"
#include "tests/tools/fake_process.hpp"

namespace smcd::tools {
namespace {

using testing::FakeProcess;
using testing::fill;
using testing::map_named;
using testing::publish_chunk;
using testing::publish_page;

std::vector<std::byte> bytes_of(const void* object, std::size_t size) {
    std::vector<std::byte> bytes(size);
    std::memcpy(bytes.data(), object, size);
    return bytes;
}

/// A chunk with a valid header and no connections.
std::unique_ptr<ConnChunk> empty_chunk() {
    auto chunk = std::make_unique<ConnChunk>();
    chunk->header.magic = kConnChunkMagic;
    chunk->header.version = kConnChunkVersion;
    chunk->header.block_bytes = sizeof(ConnBlock);
    chunk->header.block_count = kBlocksPerChunk;
    chunk->header.pid = 42;
    return chunk;
}

std::optional<ConnChunkView> decode(const ConnChunk& chunk) {
    const auto bytes = bytes_of(&chunk, sizeof(chunk));
    return decode_chunk(bytes, bytes);
}

TEST(ShimMemoryTest, DecodesBlocksInUse) {
    const auto chunk = empty_chunk();
    fill(chunk->blocks[3], Phase::smc, 77);
    chunk->blocks[3].rx.bytes.store(123);
    chunk->blocks[3].reason.store(5);
    fill(chunk->blocks[4], Phase::closed, 78);
    fill(chunk->blocks[5], Phase::tcp, 79);
    chunk->blocks[5].holders.store(0);

    const auto view = decode(*chunk);

    ASSERT_TRUE(view);
    EXPECT_EQ(view->creator, 42);
    ASSERT_EQ(view->blocks.size(), 1U);
    EXPECT_EQ(view->blocks[0].inode, 77U);
    EXPECT_EQ(view->blocks[0].rx_bytes, 123U);
    EXPECT_EQ(view->blocks[0].reason, 5U);
}

TEST(ShimMemoryTest, RefusesForeignHeaders) {
    const auto wrong = [](auto change) {
        const auto chunk = empty_chunk();
        change(chunk->header);
        return !decode(*chunk).has_value();
    };

    EXPECT_TRUE(wrong([](ConnChunkHeader& header) { ++header.magic; }));
    EXPECT_TRUE(wrong([](ConnChunkHeader& header) { ++header.version; }));
    EXPECT_TRUE(wrong([](ConnChunkHeader& header) { ++header.block_bytes; }));
    EXPECT_TRUE(wrong([](ConnChunkHeader& header) { ++header.block_count; }));
    EXPECT_FALSE(wrong([](ConnChunkHeader&) {}));
}

TEST(ShimMemoryTest, RefusesShortMemory) {
    const auto bytes = bytes_of(empty_chunk().get(), sizeof(ConnChunk));
    const std::span<const std::byte> whole(bytes);
    for (const std::size_t size :
         {std::size_t{0}, std::size_t{8}, sizeof(ConnChunkHeader), sizeof(ConnChunk) - 1}) {
        EXPECT_FALSE(decode_chunk(whole.first(size), whole)) << size;
        EXPECT_FALSE(decode_chunk(whole, whole.first(size))) << size;
        EXPECT_FALSE(decode_page(whole.first(std::min(size, sizeof(ProcessPage) - 1)))) << size;
    }
}

TEST(ShimMemoryTest, LeavesOutBlocksThatChangeHands) {
    const auto before = empty_chunk();
    const auto after = empty_chunk();
    for (ConnChunk* chunk : {before.get(), after.get()}) {
        fill(chunk->blocks[0], Phase::smc, 1);
        fill(chunk->blocks[1], Phase::smc, 2);
    }
    after->blocks[1].generation.store(2);

    const auto view = decode_chunk(bytes_of(before.get(), sizeof(ConnChunk)),
                                   bytes_of(after.get(), sizeof(ConnChunk)));

    ASSERT_TRUE(view);
    ASSERT_EQ(view->blocks.size(), 1U);
    EXPECT_EQ(view->blocks[0].inode, 1U);
}

TEST(ShimMemoryTest, SurvivesGarbage) {
    const auto seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    const auto valid = empty_chunk();
    for (int round = 0; round < 50; ++round) {
        std::vector<std::byte> bytes(sizeof(ConnChunk));
        std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<std::byte>(random()); });

        EXPECT_FALSE(decode_chunk(bytes, bytes));
        EXPECT_FALSE(decode_page(bytes));

        std::memcpy(bytes.data(), &valid->header, sizeof(valid->header));
        const auto view = decode_chunk(bytes, bytes);
        ASSERT_TRUE(view);
        EXPECT_TRUE(
            std::all_of(view->blocks.begin(), view->blocks.end(), [](const ConnView& block) {
                return block.phase <= Phase::closed && block.holders != 0 && block.inode != 0;
            }));
    }
}

TEST(ShimMemoryTest, ReadsAnotherProcess) {
    const FakeProcess other([] {
        ProcessPage& page = publish_page();
        page.connections_smc.store(3);
        page.reason_codes[0].store(9);
        page.reason_counts[0].store(4);
        fill(publish_chunk().blocks[0], Phase::smc, 1234);
        return FakeProcess::Numbers{};
    });

    const ShimSnapshot snapshot = scan_processes(other.pid());

    ASSERT_EQ(snapshot.processes.size(), 1U);
    const ShimProcess& process = snapshot.processes.front();
    EXPECT_EQ(process.pid, other.pid());
    ASSERT_TRUE(process.counters);
    EXPECT_EQ(process.counters->accelerated, 3U);
    ASSERT_EQ(process.counters->reasons.size(), 1U);
    EXPECT_EQ(process.counters->reasons.front(), std::pair(std::uint32_t{9}, std::uint64_t{4}));
    ASSERT_EQ(process.chunks.size(), 1U);
    EXPECT_EQ(snapshot.chunks.at(process.chunks.front()).blocks.size(), 1U);
    EXPECT_EQ(snapshot.foreign, 0U);
    EXPECT_EQ(snapshot.denied, 0U);
}

TEST(ShimMemoryTest, FindsItAmongAllProcesses) {
    const FakeProcess other([] {
        publish_page();
        return FakeProcess::Numbers{};
    });

    const ShimSnapshot snapshot = scan_processes();

    EXPECT_TRUE(std::any_of(
        snapshot.processes.begin(), snapshot.processes.end(), [&](const ShimProcess& process) {
            return process.pid == other.pid() && process.counters;
        }));
}

TEST(ShimMemoryTest, ReportsDamagedPages) {
    const FakeProcess other([] {
        std::memset(static_cast<void*>(&publish_page()), 0x5a, sizeof(ProcessPage));
        std::memset(static_cast<void*>(&publish_chunk()), 0x5a, sizeof(ConnChunk));
        return FakeProcess::Numbers{};
    });

    const ShimSnapshot snapshot = scan_processes(other.pid());

    ASSERT_EQ(snapshot.processes.size(), 1U);
    EXPECT_FALSE(snapshot.processes.front().counters);
    EXPECT_TRUE(snapshot.chunks.empty());
    EXPECT_EQ(snapshot.foreign, 1U);
}

TEST(ShimMemoryTest, SurvivesMappingsWithoutMemoryBehindThem) {
    const FakeProcess other([] {
        map_named("smcd-proc", sizeof(ProcessPage), 0);
        map_named("smcd-conn", sizeof(ConnChunk), 4096);
        map_named("smcd-conn", 4096, 4096);
        map_named("smcd-conn-not", sizeof(ConnChunk), sizeof(ConnChunk));
        return FakeProcess::Numbers{};
    });

    const ShimSnapshot snapshot = scan_processes(other.pid());

    ASSERT_EQ(snapshot.processes.size(), 1U);
    EXPECT_FALSE(snapshot.processes.front().counters);
    EXPECT_TRUE(snapshot.chunks.empty());
}

TEST(ShimMemoryTest, CountsSharedMemoryOnce) {
    const FakeProcess parent([] {
        publish_page();
        fill(publish_chunk().blocks[0], Phase::smc, 1);
        const pid_t child = ::fork();
        if (child == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            ::pause();
            ::_exit(0);
        }
        return FakeProcess::Numbers{static_cast<std::uint64_t>(child)};
    });
    const auto child = static_cast<pid_t>(parent.numbers().at(0));

    const ShimSnapshot snapshot = scan_processes();
    ::kill(child, SIGKILL);

    std::size_t pages = 0;
    std::vector<ChunkId> chunks;
    for (const ShimProcess& process : snapshot.processes) {
        if (process.pid == parent.pid() || process.pid == child) {
            pages += process.counters ? 1 : 0;
            chunks.insert(chunks.end(), process.chunks.begin(), process.chunks.end());
        }
    }
    EXPECT_EQ(pages, 1U);
    ASSERT_EQ(chunks.size(), 2U);
    EXPECT_EQ(chunks[0], chunks[1]);
}

TEST(ShimMemoryTest, AnOrdinaryProcessIsNotListed) {
    const FakeProcess other([] { return FakeProcess::Numbers{}; });
    constexpr pid_t kNobody = 0x3fffffff;

    EXPECT_TRUE(scan_processes(other.pid()).processes.empty());
    EXPECT_TRUE(scan_processes(kNobody).processes.empty());
}

} // namespace
} // namespace smcd::tools
