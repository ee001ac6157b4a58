#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>

#include <gtest/gtest.h>

#include "smcd/tools/preload_path.hpp"
#include "smcd/tools/program_file.hpp"

namespace smcd::tools {
namespace {

/// A folder that is removed with everything in it.
class ProgramFileTest : public ::testing::Test {
protected:
    ProgramFileTest() {
        folder_ = ::testing::TempDir() + "smcu-program-XXXXXX";
        ::mkdtemp(folder_.data());
    }

    ~ProgramFileTest() override {
        for (const std::string& file : files_) {
            ::unlink(file.c_str());
        }
        ::rmdir(folder_.c_str());
    }

    std::string write(const std::string& name, const std::string& bytes, mode_t mode = 0755) {
        const std::string path = folder_ + '/' + name;
        std::ofstream(path, std::ios::binary) << bytes;
        ::chmod(path.c_str(), mode);
        files_.push_back(path);
        return path;
    }

    std::string folder_;
    std::vector<std::string> files_;
};

/// The test program itself, with its PT_INTERP turned into something else.
std::string without_interpreter() {
    std::ifstream file(*own_path(), std::ios::binary);
    std::string bytes(4096, '\0'); // its headers, and more; a sanitized program has some ten million
    file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    Elf64_Ehdr header{};
    std::memcpy(&header, bytes.data(), sizeof(header));
    for (std::size_t i = 0; i < header.e_phnum; ++i) {
        const std::size_t at = header.e_phoff + i * header.e_phentsize;
        Elf64_Phdr segment{};
        std::memcpy(&segment, bytes.data() + at, sizeof(segment));
        if (segment.p_type == PT_INTERP) {
            segment.p_type = PT_NULL;
            std::memcpy(bytes.data() + at, &segment, sizeof(segment));
        }
    }
    return bytes.substr(0, header.e_phoff + std::size_t{header.e_phnum} * header.e_phentsize);
}

TEST_F(ProgramFileTest, AnOrdinaryProgramCanBePreloaded) {
    EXPECT_EQ(inspect_program(*own_path()), Preloadable::yes);
}

TEST_F(ProgramFileTest, WithoutAnInterpreterItIsStatic) {
    EXPECT_EQ(inspect_program(write("static", without_interpreter())),
              Preloadable::statically_linked);
}

TEST_F(ProgramFileTest, AnotherMachineIsSeen) {
    std::string bytes = without_interpreter();
    bytes[EI_CLASS] = ELFCLASS32;

    EXPECT_EQ(inspect_program(write("small", bytes)), Preloadable::other_machine);
}

TEST_F(ProgramFileTest, AScriptIsJudgedByItsInterpreter) {
    const std::string still = write("static", without_interpreter());

    EXPECT_EQ(inspect_program(write("a", "#!/bin/sh\n")), Preloadable::yes);
    EXPECT_EQ(inspect_program(write("b", "#! " + still + " -x\n")), Preloadable::statically_linked);
    EXPECT_EQ(inspect_program(write("c", "#!" + folder_ + "/c\n")), Preloadable::unknown);
}

TEST_F(ProgramFileTest, ASetUidProgramOfAnotherUserIsPrivileged) {
    const std::string path = write("setuid", without_interpreter());
    if (::chown(path.c_str(), ::geteuid() + 1, static_cast<gid_t>(-1)) != 0) {
        GTEST_SKIP() << "only root can give a file away";
    }
    ASSERT_EQ(::chmod(path.c_str(), 04755), 0);

    EXPECT_EQ(inspect_program(path), Preloadable::privileged);
}

TEST_F(ProgramFileTest, GarbageIsUnknown) {
    EXPECT_EQ(inspect_program(folder_ + "/absent"), Preloadable::unknown);
    EXPECT_EQ(inspect_program(write("empty", "")), Preloadable::unknown);
    EXPECT_EQ(inspect_program(write("text", "hello")), Preloadable::unknown);
    EXPECT_EQ(inspect_program(write("cut", without_interpreter().substr(0, 20))),
              Preloadable::unknown);
    EXPECT_EQ(inspect_program(write("short", without_interpreter().substr(0, 70))),
              Preloadable::unknown);
    EXPECT_EQ(inspect_program(write("lonely", "#!\n")), Preloadable::unknown);
}

TEST_F(ProgramFileTest, FindsProgramsAsExecvpDoes) {
    write("tool", "#!/bin/sh\n");
    write("data", "x", 0644);
    const std::string saved = std::getenv("PATH");
    ::setenv("PATH", ("/nonexistent:" + folder_).c_str(), 1);
    const auto found = find_program("tool");
    const auto denied = find_program("data");
    const auto absent = find_program("no-such-tool");
    ::setenv("PATH", saved.c_str(), 1);

    ASSERT_TRUE(found);
    EXPECT_EQ(*found, folder_ + "/tool");
    EXPECT_EQ(denied.error(), std::errc::permission_denied);
    EXPECT_EQ(absent.error(), std::errc::no_such_file_or_directory);
    EXPECT_EQ(find_program("").error(), std::errc::no_such_file_or_directory);
    EXPECT_EQ(find_program("./no-such-tool").error(), std::errc::no_such_file_or_directory);
}

TEST_F(ProgramFileTest, EveryWarningHasWords) {
    EXPECT_TRUE(describe(Preloadable::yes).empty());
    EXPECT_TRUE(describe(Preloadable::unknown).empty());
    for (const auto answer : {Preloadable::statically_linked,
                              Preloadable::privileged,
                              Preloadable::other_machine,
                              Preloadable::other_loader}) {
        EXPECT_FALSE(describe(answer).empty());
    }
}

} // namespace
} // namespace smcd::tools
