// Tests of smcd/base/memfd.hpp: what we create passes, each hostile descriptor is refused. Floor 4.
#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

#include "smcd/base/error.hpp"
#include "smcd/base/limits.hpp"
#include "smcd/base/mapping.hpp"
#include "smcd/base/memfd.hpp"
#include "tests/base/support.hpp"

namespace smcd {
namespace {

constexpr std::size_t kSize = 5 * kPageBytes;
constexpr int kAllSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

UniqueFd memfd_with_seals(int seals) {
    Result<UniqueFd> fd = create_memfd("smcd-test", kSize);
    if (!fd || (seals != 0 && ::fcntl(fd->get(), F_ADD_SEALS, seals) != 0)) {
        return {};
    }
    return *std::move(fd);
}

void expect_unsafe(const UniqueFd& fd) {
    ASSERT_TRUE(fd.valid());
    EXPECT_EQ(check_sealed_memfd(fd.get(), kSize).error(), Errc::unsafe_memory);
}

TEST(MemfdTest, CreatedFileIsZeroedSealedAndCloexec) {
    const Result<UniqueFd> fd = create_sealed_memfd("smcd-test", kSize);
    ASSERT_TRUE(fd) << fd.error().message();

    EXPECT_TRUE(test::has_cloexec(fd->get()));
    EXPECT_EQ(::fcntl(fd->get(), F_GET_SEALS) & kAllSeals, kAllSeals);
    const Result<Mapping> mapping = Mapping::map_shared(fd->get(), kSize, PROT_READ | PROT_WRITE);
    ASSERT_TRUE(mapping);
    for (const std::byte value : mapping->bytes()) {
        ASSERT_EQ(value, std::byte{0});
    }
}

TEST(MemfdTest, CreatedFileCanNeitherShrinkNorGrow) {
    const Result<UniqueFd> fd = create_sealed_memfd("smcd-test", kSize);
    ASSERT_TRUE(fd);

    EXPECT_EQ(::ftruncate(fd->get(), kSize - 1), -1);
    EXPECT_EQ(errno, EPERM);
    EXPECT_EQ(::ftruncate(fd->get(), kSize + 1), -1);
    EXPECT_EQ(errno, EPERM);
    EXPECT_EQ(::fcntl(fd->get(), F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
}

TEST(MemfdTest, SizesOutsideTheLimitsAreRefusedBeforeAnySystemCall) {
    EXPECT_EQ(create_memfd("smcd-test", 0).error(), std::errc::invalid_argument);
    EXPECT_EQ(create_memfd("smcd-test", kMemfdBytesMax + 1).error(), std::errc::invalid_argument);
    EXPECT_TRUE(create_memfd("smcd-test", kMemfdBytesMax));
}

TEST(MemfdTest, CheckAcceptsWhatWeCreate) {
    const Result<UniqueFd> fd = create_sealed_memfd("smcd-test", kSize);
    ASSERT_TRUE(fd);

    EXPECT_TRUE(check_sealed_memfd(fd->get(), kSize));
}

TEST(MemfdTest, CheckAcceptsFurtherSeals) {
    const UniqueFd fd = memfd_with_seals(0);
    ASSERT_TRUE(fd.valid());

    ASSERT_TRUE(seal_memfd(fd.get(), F_SEAL_FUTURE_WRITE));

    EXPECT_TRUE(check_sealed_memfd(fd.get(), kSize));
    EXPECT_EQ(Mapping::map_shared(fd.get(), kSize, PROT_READ | PROT_WRITE).error(),
              std::errc::operation_not_permitted);
    EXPECT_TRUE(Mapping::map_shared(fd.get(), kSize, PROT_READ));
}

TEST(MemfdTest, CheckRefusesEveryIncompleteSetOfSeals) {
    constexpr std::array kIncomplete{0,
                                     F_SEAL_SHRINK,
                                     F_SEAL_GROW,
                                     F_SEAL_SEAL,
                                     F_SEAL_SHRINK | F_SEAL_GROW,
                                     F_SEAL_SHRINK | F_SEAL_SEAL,
                                     F_SEAL_GROW | F_SEAL_SEAL,
                                     F_SEAL_WRITE | F_SEAL_GROW};
    for (const int seals : kIncomplete) {
        SCOPED_TRACE(seals);
        expect_unsafe(memfd_with_seals(seals));
    }
}

TEST(MemfdTest, CheckRefusesEveryOtherSize) {
    const Result<UniqueFd> fd = create_sealed_memfd("smcd-test", kSize);
    ASSERT_TRUE(fd);

    for (const std::size_t size : {std::size_t{0},
                                   std::size_t{1},
                                   kSize - kPageBytes,
                                   kSize - 1,
                                   kSize + 1,
                                   kSize + kPageBytes,
                                   std::size_t{1} << 40U,
                                   ~std::size_t{0}}) {
        EXPECT_EQ(check_sealed_memfd(fd->get(), size).error(), Errc::unsafe_memory) << size;
    }
}

TEST(MemfdTest, CheckRefusesAPipeAnEventfdAnEpollSetAndASocket) {
    std::array<int, 2> ends{-1, -1};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const UniqueFd read_end(ends[0]);
    const UniqueFd write_end(ends[1]);

    expect_unsafe(read_end);
    expect_unsafe(write_end);
    expect_unsafe(UniqueFd(::eventfd(0, EFD_CLOEXEC)));
    expect_unsafe(UniqueFd(::epoll_create1(EPOLL_CLOEXEC)));
    expect_unsafe(UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)));
}

TEST(MemfdTest, CheckRefusesDevicesAndDirectories) {
    expect_unsafe(UniqueFd(::open("/dev/zero", O_RDWR | O_CLOEXEC)));
    expect_unsafe(UniqueFd(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
}

TEST(MemfdTest, CheckRefusesAFileOfAFolder) {
    std::string path = ::testing::TempDir() + "smcd-memfd-XXXXXX";
    const UniqueFd fd(::mkstemp(path.data()));
    ASSERT_TRUE(fd.valid());
    ASSERT_EQ(::unlink(path.c_str()), 0);
    ASSERT_EQ(::ftruncate(fd.get(), kSize), 0);

    expect_unsafe(fd);
}

// A file on a tmpfs mount has the right magic and answers F_GET_SEALS, yet stays truncatable.
TEST(MemfdTest, CheckRefusesAFileOnTmpfs) {
    std::string path = "/dev/shm/smcd-memfd-XXXXXX";
    const UniqueFd fd(::mkstemp(path.data()));
    if (!fd) {
        GTEST_SKIP() << "no writable /dev/shm";
    }
    ASSERT_EQ(::unlink(path.c_str()), 0);
    ASSERT_EQ(::ftruncate(fd.get(), kSize), 0);

    expect_unsafe(fd);
}

// It answers F_GET_SEALS, takes all seals, and raises SIGBUS when no huge page is free.
TEST(MemfdTest, CheckRefusesAHugetlbFile) {
    constexpr std::size_t kHugeBytes = std::size_t{2} << 20U;
    const UniqueFd fd(
        ::memfd_create("smcd-huge", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | MFD_HUGE_2MB));
    if (!fd) {
        GTEST_SKIP() << "the kernel has no huge pages of 2 MiB";
    }
    ASSERT_EQ(::ftruncate(fd.get(), kHugeBytes), 0);
    ASSERT_TRUE(seal_memfd(fd.get()));

    EXPECT_EQ(check_sealed_memfd(fd.get(), kHugeBytes).error(), Errc::unsafe_memory);
}

TEST(MemfdTest, CheckRefusesSecretMemory) {
#ifdef SYS_memfd_secret
    const UniqueFd fd(static_cast<int>(::syscall(SYS_memfd_secret, O_CLOEXEC)));
    if (!fd) {
        GTEST_SKIP() << "the kernel has no secret memory";
    }
    ASSERT_EQ(::ftruncate(fd.get(), kSize), 0);

    expect_unsafe(fd);
#else
    GTEST_SKIP() << "built without the number of memfd_secret()";
#endif
}

TEST(MemfdTest, CheckRefusesADescriptorThatOnlyNamesAPath) {
    const Result<UniqueFd> fd = create_sealed_memfd("smcd-test", kSize);
    ASSERT_TRUE(fd);
    const std::string path = "/proc/self/fd/" + std::to_string(fd->get());

    expect_unsafe(UniqueFd(::open(path.c_str(), O_PATH | O_CLOEXEC)));
}

TEST(MemfdTest, CheckOfAClosedDescriptorIsAnError) {
    EXPECT_EQ(check_sealed_memfd(-1, kSize).error(), std::errc::bad_file_descriptor);
}

} // namespace
} // namespace smcd
