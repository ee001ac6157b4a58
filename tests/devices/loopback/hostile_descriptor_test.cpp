// Descriptors that a hostile peer may send in place of memory: none is mapped, none stays open.
// Floor 4.
#include <linux/memfd.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <cstring>

#include "tests/devices/loopback/fixture.hpp"

namespace smcd::dev::test {
namespace {

using Descriptors = std::vector<UniqueFd>;

/// The kernel's own limit (SCM_MAX_FD).
constexpr std::size_t kDescriptorsPerMessage = 253;
constexpr int kAllSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

Descriptors one(int fd) {
    Descriptors made;
    made.emplace_back(fd);
    return made;
}

int memfd(std::size_t bytes, int seals, unsigned flags = 0) {
    const auto fd = static_cast<int>(
        ::syscall(SYS_memfd_create, "hostile", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags));
    if (fd >= 0 && (::ftruncate(fd, static_cast<off_t>(bytes)) != 0 ||
                    (seals != 0 && ::fcntl(fd, F_ADD_SEALS, seals) != 0))) {
        ::close(fd);
        return -1;
    }
    return fd;
}

int reopened(int flags) {
    const UniqueFd honest(memfd(kSmallFile, kAllSeals));
    return ::open(("/proc/self/fd/" + std::to_string(honest.get())).c_str(), flags | O_CLOEXEC);
}

int sized_file(const char* folder) {
    const int fd = ::open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return fd >= 0 && ::ftruncate(fd, kSmallFile) == 0 ? fd : -1;
}

int pipe_end(int which) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
        return -1;
    }
    ::close(ends[static_cast<std::size_t>(1 - which)]);
    return ends[static_cast<std::size_t>(which)];
}

Descriptors many(std::size_t count) {
    Descriptors made;
    for (std::size_t i = 0; i < count; ++i) {
        made.emplace_back(memfd(kSmallFile, kAllSeals));
    }
    return made;
}

/// How an attack is made; an invalid descriptor: this host cannot make it.
struct Attack {
    const char* name;
    Descriptors (*make)();
};

constexpr std::array kAttacks{
    Attack{"no seals",                      [] { return one(memfd(kSmallFile, 0)); }                                },
    Attack{"shrink seal only",              [] { return one(memfd(kSmallFile, F_SEAL_SHRINK)); }                    },
    Attack{"grow seal only",                [] { return one(memfd(kSmallFile, F_SEAL_GROW)); }                      },
    Attack{"not sealed against seals",
           [] { return one(memfd(kSmallFile, F_SEAL_SHRINK | F_SEAL_GROW)); }                                       },
    Attack{"can still shrink",              [] { return one(memfd(kSmallFile, F_SEAL_GROW | F_SEAL_SEAL)); }        },
    Attack{"can still grow",                [] { return one(memfd(kSmallFile, F_SEAL_SHRINK | F_SEAL_SEAL)); }      },
    Attack{"sealed against future writing",
           [] { return one(memfd(kSmallFile, kAllSeals | F_SEAL_FUTURE_WRITE)); }                                   },
    Attack{"sealed against all writing",
           [] { return one(memfd(kSmallFile, kAllSeals | F_SEAL_WRITE)); }                                          },
    Attack{"huge pages",                    [] { return one(memfd(std::size_t{2} << 20U, kAllSeals, MFD_HUGETLB)); }},
    Attack{"size 0",                        [] { return one(memfd(0, kAllSeals)); }                                 },
    Attack{"one page less",                 [] { return one(memfd(kSmallFile - 4096, kAllSeals)); }                 },
    Attack{"one byte less",                 [] { return one(memfd(kSmallFile - 1, kAllSeals)); }                    },
    Attack{"one page more",                 [] { return one(memfd(kSmallFile + 4096, kAllSeals)); }                 },
    Attack{"1 TiB sparse",                  [] { return one(memfd(std::size_t{1} << 40U, kAllSeals)); }             },
    Attack{"opened read-only",              [] { return one(reopened(O_RDONLY)); }                                  },
    Attack{"opened write-only",             [] { return one(reopened(O_WRONLY)); }                                  },
    Attack{"O_PATH",                        [] { return one(reopened(O_PATH)); }                                    },
    Attack{"tmpfs file",                    [] { return one(sized_file("/dev/shm")); }                              },
    Attack{"disk file",                     [] { return one(sized_file("/var/tmp")); }                              },
    Attack{"/dev/zero",                     [] { return one(::open("/dev/zero", O_RDWR | O_CLOEXEC)); }             },
    Attack{"/dev/null",                     [] { return one(::open("/dev/null", O_RDWR | O_CLOEXEC)); }             },
    Attack{"directory",                     [] { return one(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)); }     },
    Attack{"procfs file",                   [] { return one(::open("/proc/self/maps", O_RDONLY | O_CLOEXEC)); }     },
    Attack{"secret memory",
           [] { return one(static_cast<int>(::syscall(SYS_memfd_secret, O_CLOEXEC))); }                             },
    Attack{"pipe, reading end",             [] { return one(pipe_end(0)); }                                         },
    Attack{"pipe, writing end",             [] { return one(pipe_end(1)); }                                         },
    Attack{"socket",                        [] { return one(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); }    },
    Attack{"eventfd",                       [] { return one(::eventfd(0, EFD_CLOEXEC)); }                           },
    Attack{"epoll set",                     [] { return one(::epoll_create1(EPOLL_CLOEXEC)); }                      },
    Attack{"timer",                         [] { return one(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)); }      },
    Attack{"no descriptor",                 [] { return Descriptors{}; }                                            },
    Attack{"two descriptors",               [] { return many(2); }                                                  },
    Attack{"three descriptors",             [] { return many(3); }                                                  },
    Attack{"253 descriptors",               [] { return many(253); }                                                },
};

static_assert(kAttacks.size() >= 24);

std::vector<int> numbers_of(const Descriptors& descriptors) {
    std::vector<int> numbers;
    for (const UniqueFd& fd : descriptors) {
        numbers.push_back(fd.get());
    }
    return numbers;
}

bool possible_here(const Descriptors& descriptors) {
    return std::all_of(
        descriptors.begin(), descriptors.end(), [](const UniqueFd& fd) { return fd.valid(); });
}

class HostileDescriptorTest : public LoopbackTest {
protected:
    /// Runs `attack` with each kind of descriptor and compares what the victim holds before and
    /// after.
    template <typename OneAttack>
    void for_each_attack(OneAttack&& attack) {
        std::size_t skipped = 0;
        for (const Attack& kind : kAttacks) {
            SCOPED_TRACE(kind.name);
            const Descriptors descriptors = kind.make();
            if (!possible_here(descriptors)) {
                ++skipped;
                continue;
            }
            const std::size_t before = open_descriptors();
            const std::size_t links = victim->device->usage().links;
            attack(numbers_of(descriptors));
            victim->device->service();
            EXPECT_EQ(open_descriptors(), before);
            EXPECT_EQ(victim->device->usage().links, links);
            expect_bystander_unharmed();
        }
        // Huge pages, secret memory, /dev/shm may be missing; not more.
        EXPECT_LE(skipped, 4U);
    }
};

TEST_F(HostileDescriptorTest, NoneIsTakenForADmb) {
    for_each_attack([&](const std::vector<int>& descriptors) {
        RawPeer peer;
        peer.greet(victim->group());
        const DmbToken token(random_u64());
        ASSERT_TRUE(peer.send_dmb(token, descriptors));

        EXPECT_FALSE(victim->device->attach_dmb(peer.id, token));
        EXPECT_FALSE(victim->device->has_link(peer.id));
        EXPECT_EQ(victim->device->usage().attached, 0U);
    });
}

TEST_F(HostileDescriptorTest, NoneIsTakenForASignalArea) {
    for_each_attack([&](std::vector<int> descriptors) {
        RawPeer peer;
        peer.connect(victim->group());
        descriptors.push_back(peer.page.get());
        descriptors.resize(std::min(descriptors.size(), kDescriptorsPerMessage));
        const LinkMessage hello = hello_message(peer.id);
        ASSERT_TRUE(send_raw(peer.socket.get(), std::as_bytes(std::span(&hello, 1)), descriptors));

        victim->device->service();

        EXPECT_FALSE(victim->device->has_link(peer.id));
    });
}

TEST_F(HostileDescriptorTest, NoneIsTakenForADoorbellPage) {
    for_each_attack([&](std::vector<int> descriptors) {
        RawPeer peer;
        peer.connect(victim->group());
        descriptors.insert(descriptors.begin(), peer.area.get());
        descriptors.resize(std::min(descriptors.size(), kDescriptorsPerMessage));
        const LinkMessage hello = hello_message(peer.id);
        ASSERT_TRUE(send_raw(peer.socket.get(), std::as_bytes(std::span(&hello, 1)), descriptors));

        victim->device->service();

        EXPECT_FALSE(victim->device->has_link(peer.id));
    });
}

// The victim's own descriptors, sent back.
TEST_F(HostileDescriptorTest, ReflectedDescriptorsDoNoHarm) {
    RawPeer peer;
    peer.connect(victim->group());
    ASSERT_TRUE(peer.say_hello());
    victim->device->service();
    auto hello = peer.expect(MessageKind::hello);
    ASSERT_TRUE(hello);
    const DmbToken token(random_u64());

    ASSERT_TRUE(peer.send_dmb(token, {hello->descriptors[0].get()}));

    EXPECT_FALSE(victim->device->attach_dmb(peer.id, token));
    EXPECT_FALSE(victim->device->has_link(peer.id));
}

TEST_F(HostileDescriptorTest, OurDoorbellPageCannotBeWrittenByPeers) {
    RawPeer peer;
    peer.greet(victim->group());
    victim->device->service();
    const auto hello = peer.expect(MessageKind::hello);
    ASSERT_TRUE(hello);
    const int page = hello->descriptors[1].get();
    const UniqueFd again(
        ::open(("/proc/self/fd/" + std::to_string(page)).c_str(), O_RDWR | O_CLOEXEC));

    for (const int fd : {page, again.get()}) {
        EXPECT_FALSE(Mapping::map_shared(fd, kDoorbellPageBytes, PROT_READ | PROT_WRITE));
        EXPECT_LT(::pwrite(fd, "x", 1, 0), 0);
        EXPECT_NE(::ftruncate(fd, 0), 0);
        EXPECT_TRUE(Mapping::map_shared(fd, kDoorbellPageBytes, PROT_READ));
    }
}

// Sealed files still let any holder punch holes: the memory turns to zeros, and nobody faults.
TEST_F(HostileDescriptorTest, PunchingHolesUnderTheVictimIsHarmless) {
    RawPeer peer;
    peer.greet(victim->group());
    UniqueFd file;
    const DmbToken token = peer.announce(&file);
    auto attached = victim->device->attach_dmb(peer.id, token);
    ASSERT_TRUE(attached);
    auto own = victim->register_for(peer.id);
    ASSERT_TRUE(own);
    auto received = peer.expect(MessageKind::dmb);
    ASSERT_TRUE(received);
    const int own_file = received->descriptors[0].get();
    std::memset(attached->memory.data(), 1, attached->memory.size());
    std::memset(own->memory.data(), 1, own->memory.size());

    for (const int fd : {file.get(), own_file, peer.area.get()}) {
        struct stat info {};

        ASSERT_EQ(::fstat(fd, &info), 0);
        EXPECT_EQ(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, info.st_size), 0);
        EXPECT_NE(::ftruncate(fd, 0), 0);
        EXPECT_NE(::ftruncate(fd, info.st_size + 4096), 0);
        auto mapping =
            Mapping::map_shared(fd, static_cast<std::size_t>(info.st_size), PROT_READ | PROT_WRITE);
        ASSERT_TRUE(mapping);
        EXPECT_EQ(::madvise(mapping->data(), mapping->size(), MADV_REMOVE), 0);
        victim->device->signal(*attached, ~0ULL);
        victim->device->wake(*attached, attached->bells->futex_in);
    }

    EXPECT_EQ(attached->memory.back(), std::byte{0});
    EXPECT_EQ(own->memory.back(), std::byte{0});
    EXPECT_TRUE(victim->device->unregister_dmb(own->token));
}

} // namespace
} // namespace smcd::dev::test
