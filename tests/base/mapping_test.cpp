// Tests of smcd/base/mapping.hpp. Floor 4.
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include <gtest/gtest.h>

#include "smcd/base/limits.hpp"
#include "smcd/base/mapping.hpp"
#include "smcd/base/memfd.hpp"

namespace smcd {
namespace {

constexpr int kReadWrite = PROT_READ | PROT_WRITE;

// Asks the kernel instead of touching: mincore() answers ENOMEM for unmapped ranges.
bool is_mapped(const std::byte* address) {
    unsigned char resident = 0;
    return ::mincore(const_cast<std::byte*>(address), kPageBytes, &resident) == 0;
}

TEST(MappingTest, TwoMappingsOfOneFileShareTheirBytes) {
    const Result<UniqueFd> fd = create_sealed_memfd("smcd-test", kPageBytes);
    ASSERT_TRUE(fd);
    const Result<Mapping> first = Mapping::map_shared(fd->get(), kPageBytes, kReadWrite);
    const Result<Mapping> second = Mapping::map_shared(fd->get(), kPageBytes, PROT_READ);
    ASSERT_TRUE(first && second);

    first->data()[17] = std::byte{42};

    EXPECT_EQ(second->bytes()[17], std::byte{42});
    EXPECT_EQ(second->size(), kPageBytes);
}

TEST(MappingTest, AnonymousMemoryIsSharedWithAForkedChild) {
    const Result<Mapping> memory = Mapping::map_anonymous_shared(kPageBytes);
    ASSERT_TRUE(memory);

    const pid_t child = ::fork();
    if (child == 0) {
        memory->data()[0] = std::byte{7};
        ::_exit(0);
    }
    ASSERT_GT(child, 0);
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);

    EXPECT_EQ(status, 0);
    EXPECT_EQ(memory->data()[0], std::byte{7});
}

TEST(MappingTest, MoveHandsTheRangeOverAndTheEndUnmapsIt) {
    const std::byte* address = nullptr;
    {
        Result<Mapping> source = Mapping::map_anonymous_shared(kPageBytes);
        ASSERT_TRUE(source);
        address = source->data();
        Mapping target;
        target = *std::move(source);
        EXPECT_EQ(target.data(), address);
        EXPECT_TRUE(is_mapped(address));
    }

    EXPECT_FALSE(is_mapped(address));
}

TEST(MappingTest, AssignmentUnmapsWhatWasThere) {
    Result<Mapping> first = Mapping::map_anonymous_shared(kPageBytes);
    Result<Mapping> second = Mapping::map_anonymous_shared(kPageBytes);
    ASSERT_TRUE(first && second);
    const std::byte* replaced = first->data();

    *first = *std::move(second);

    EXPECT_FALSE(is_mapped(replaced));
    EXPECT_TRUE(is_mapped(first->data()));
}

TEST(MappingTest, FailureOfMmapIsAnErrorValue) {
    EXPECT_EQ(Mapping::map_shared(-1, kPageBytes, PROT_READ).error(),
              std::errc::bad_file_descriptor);
    EXPECT_EQ(Mapping::map_anonymous_shared(0).error(), std::errc::invalid_argument);
}

} // namespace
} // namespace smcd
