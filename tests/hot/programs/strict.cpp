#include "tests/hot/programs/strict.hpp"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <vector>

// glibc's own, behind the names that this program takes over.
extern "C" {
void* __libc_malloc(std::size_t bytes);                      // NOLINT(bugprone-reserved-identifier)
void* __libc_calloc(std::size_t count, std::size_t bytes);   // NOLINT(bugprone-reserved-identifier)
void* __libc_realloc(void* memory, std::size_t bytes);       // NOLINT(bugprone-reserved-identifier)
void* __libc_memalign(std::size_t align, std::size_t bytes); // NOLINT(bugprone-reserved-identifier)
}

namespace {

constinit thread_local std::uint64_t allocations = 0;

} // namespace

#define SMCD_HOT_EXPORT extern "C" __attribute__((visibility("default")))

SMCD_HOT_EXPORT void* malloc(std::size_t bytes) {
    ++allocations;
    return __libc_malloc(bytes);
}

SMCD_HOT_EXPORT void* calloc(std::size_t count, std::size_t bytes) {
    ++allocations;
    return __libc_calloc(count, bytes);
}

SMCD_HOT_EXPORT void* realloc(void* memory, std::size_t bytes) {
    ++allocations;
    return __libc_realloc(memory, bytes);
}

SMCD_HOT_EXPORT void* aligned_alloc(std::size_t align, std::size_t bytes) {
    ++allocations;
    return __libc_memalign(align, bytes);
}

namespace smcd::hot {
namespace {

/// Where the report is made; the filter knows these addresses.
constinit rusage final_usage{};
constinit std::array<char, 256> report{};

/// Past every library: nobody between us and the kernel.
long direct_call(long number, long a, long b, long c) {
    long result = 0;
    asm volatile("syscall"
                 : "=a"(result)
                 : "a"(number), "D"(a), "S"(b), "d"(c)
                 : "rcx", "r11", "memory");
    return result;
}

long address_of(const void* object) {
    return static_cast<long>(reinterpret_cast<std::uintptr_t>(object));
}

class Filter {
public:
    Filter() {
        load(offsetof(seccomp_data, arch));
        unless(AUDIT_ARCH_X86_64, {kill()});
    }

    void allow(long number) {
        load(offsetof(seccomp_data, nr));
        unless(static_cast<std::uint32_t>(number), {}, 1);
        rules_.push_back(allowed());
    }

    /// Only with that argument, which stands in its low half.
    void allow_with(long number, unsigned argument, long value) {
        load(offsetof(seccomp_data, nr));
        unless(static_cast<std::uint32_t>(number), {}, 3);
        load(static_cast<std::uint32_t>(offsetof(seccomp_data, args) +
                                        argument * sizeof(std::uint64_t)));
        unless(static_cast<std::uint32_t>(value), {}, 1);
        rules_.push_back(allowed());
    }

    [[nodiscard]] bool install() {
        rules_.push_back(kill());
        sock_fprog program{static_cast<unsigned short>(rules_.size()), rules_.data()};
        // The library would leave its connections to TCP for a filter that it sees coming.
        return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
               direct_call(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, address_of(&program)) == 0;
    }

private:
    static sock_filter kill() { return BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS); }

    static sock_filter allowed() { return BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW); }

    void load(std::uint32_t offset) {
        rules_.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset));
    }

    /// What is not equal meets `then`, or skips `skip` rules.
    void unless(std::uint32_t value, const std::vector<sock_filter>& then, unsigned char skip = 0) {
        const auto rest = static_cast<unsigned char>(then.size());
        rules_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, rest, skip));
        rules_.insert(rules_.end(), then.begin(), then.end());
    }

    std::vector<sock_filter> rules_;
};

} // namespace

bool forbid(Strict strict) {
    Filter filter;
    if (strict == Strict::wakes) {
        filter.allow(SYS_futex);
        filter.allow_with(SYS_write, 2, sizeof(std::uint64_t));
    }
    filter.allow_with(SYS_getrusage, 1, address_of(&final_usage));
    filter.allow_with(SYS_write, 1, address_of(report.data()));
    filter.allow(SYS_exit_group);
    return filter.install();
}

Cost cost_so_far() {
    static_cast<void>(direct_call(SYS_getrusage, RUSAGE_THREAD, address_of(&final_usage), 0));
    return {final_usage.ru_minflt,
            final_usage.ru_majflt,
            final_usage.ru_nvcsw,
            final_usage.ru_nivcsw,
            allocations};
}

void finish(const Cost& before) {
    const Cost now = cost_so_far();
    const int length =
        std::snprintf(report.data(),
                      report.size(),
                      "cost minor=%ld major=%ld voluntary=%ld involuntary=%ld allocations=%llu\n",
                      now.minor_faults - before.minor_faults,
                      now.major_faults - before.major_faults,
                      now.voluntary_switches - before.voluntary_switches,
                      now.involuntary_switches - before.involuntary_switches,
                      static_cast<unsigned long long>(now.allocations - before.allocations));
    static_cast<void>(direct_call(SYS_write, 1, address_of(report.data()), length));
    static_cast<void>(direct_call(SYS_exit_group, 0, 0, 0));
    std::abort();
}

void stray_call() {
    static_cast<void>(direct_call(SYS_getpid, 0, 0, 0));
}

} // namespace smcd::hot
