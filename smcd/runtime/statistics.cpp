#include "smcd/runtime/statistics.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "devices/api/device_kind.hpp"
#include "smcd/base/clock.hpp"
#include "smcd/base/memfd.hpp"
#include "smcd/base/unique_fd.hpp"

namespace smcd {
namespace {

constexpr std::size_t kPageBytes = 4096;

std::string command_name() {
    std::string name(64, '\0');
    const UniqueFd fd(static_cast<int>(
        ::syscall(SYS_openat, -100 /* AT_FDCWD */, "/proc/self/comm", 02000000 /* O_CLOEXEC */, 0)));
    const long n = fd.valid() ? ::syscall(SYS_read, fd.get(), name.data(), name.size()) : 0;
    name.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    std::string clean;
    for (const char c : name) {
        if (c != '\n' && c != '"' && c != '\\' && static_cast<unsigned char>(c) >= 0x20) {
            clean.push_back(c);
        }
    }
    return clean;
}

void add(std::atomic<std::uint64_t>& counter, std::uint64_t n) noexcept {
    counter.fetch_add(n, std::memory_order_relaxed);
}

void append_number(std::string& out, const char* name, std::uint64_t value) {
    out += ",\"";
    out += name;
    out += "\":";
    out += std::to_string(value);
}

void append_devices(std::string& out, const ProcessPage& page) {
    out += ",\"devices\":{";
    const char* separator = "";
    for (const DeviceCounters& slot : page.devices) {
        if (slot.device.load() == 0) {
            break;
        }
        out += separator;
        out += '"' + dev::device_name(dev::DeviceId::of(slot.device.load())) + "\":{\"connections\":";
        out += std::to_string(slot.connections.load());
        append_number(out, "tx_bytes", slot.tx_bytes.load());
        append_number(out, "rx_bytes", slot.rx_bytes.load());
        out += '}';
        separator = ",";
    }
    out += '}';
}

}  // namespace

Statistics::Statistics() {
    map_page();
}

void Statistics::map_page() noexcept {
    mapping_.reset();
    page_ = &fallback_;
    const UniqueFd fd(static_cast<int>(::syscall(SYS_memfd_create, "smcd-proc", 1U /* CLOEXEC */)));
    if (fd.valid() && size_memfd(fd.get(), kPageBytes)) {
        auto mapping = Mapping::map_shared(fd.get(), kPageBytes, PROT_READ | PROT_WRITE);
        if (mapping) {
            mapping_ = *std::move(mapping);
            page_ = reinterpret_cast<ProcessPage*>(mapping_.data());
        }
    }
    page_->version = kProcessPageVersion;
    page_->pid = static_cast<std::uint32_t>(::getpid());
    page_->started_ns = monotonic_ns();
    page_->magic = kProcessPageMagic;
}

void Statistics::count_tcp(Reason reason) noexcept {
    add(page_->connections_tcp, 1);
    const auto code = static_cast<std::uint32_t>(reason);
    for (std::size_t i = 0; i < kReasonSlots; ++i) {
        std::uint32_t found = 0;
        if (page_->reason_codes[i].compare_exchange_strong(found, code) || found == code) {
            add(page_->reason_counts[i], 1);
            return;
        }
    }
}

void Statistics::absorb_by_device(const ConnBlock& block) noexcept {
    for (DeviceCounters& slot : page_->devices) {
        std::uint32_t found = 0;
        if (slot.device.compare_exchange_strong(found, block.device) || found == block.device) {
            add(slot.connections, 1);
            add(slot.tx_bytes, block.tx.bytes.load(std::memory_order_relaxed));
            add(slot.rx_bytes, block.rx.bytes.load(std::memory_order_relaxed));
            return;
        }
    }
}

void Statistics::absorb(const ConnBlock& block) noexcept {
    absorb_by_device(block);
    add(page_->dmb_tx_bytes, block.tx.bytes.load(std::memory_order_relaxed));
    add(page_->dmb_rx_bytes, block.rx.bytes.load(std::memory_order_relaxed));
    add(page_->wakeups_sent, block.waits.wakeups_sent.load(std::memory_order_relaxed));
    add(page_->wakeups_suppressed, block.waits.wakeups_suppressed.load(std::memory_order_relaxed));
    add(page_->sleeps, block.waits.sleeps.load(std::memory_order_relaxed));
    add(page_->spin_hits, block.waits.spin_hits.load(std::memory_order_relaxed));
    add(page_->spin_misses, block.waits.spin_misses.load(std::memory_order_relaxed));
}

void Statistics::after_fork_in_child() noexcept {
    fallback_.~ProcessPage();
    new (&fallback_) ProcessPage();
    map_page();
}

std::string Statistics::json_line() const {
    const ProcessPage& page = *page_;
    std::string out = "{\"pid\":" + std::to_string(page.pid) + ",\"command\":\"" + command_name() + '"';
    append_number(out, "accelerated", page.connections_smc.load());
    append_number(out, "tcp", page.connections_tcp.load());
    out += ",\"tcp_reasons\":{";
    const char* separator = "";
    for (std::size_t i = 0; i < kReasonSlots && page.reason_codes[i].load() != 0; ++i) {
        out += separator;
        out += '"';
        out += reason_name(static_cast<Reason>(page.reason_codes[i].load()));
        out += "\":" + std::to_string(page.reason_counts[i].load());
        separator = ",";
    }
    out += '}';
    append_devices(out, page);
    append_number(out, "dmb_tx_bytes", page.dmb_tx_bytes.load());
    append_number(out, "dmb_rx_bytes", page.dmb_rx_bytes.load());
    append_number(out, "tcp_tx_bytes", page.tcp_tx_bytes.load());
    append_number(out, "tcp_rx_bytes", page.tcp_rx_bytes.load());
    append_number(out, "wakeups_sent", page.wakeups_sent.load());
    append_number(out, "wakeups_suppressed", page.wakeups_suppressed.load());
    append_number(out, "sleeps", page.sleeps.load());
    append_number(out, "spin_hits", page.spin_hits.load());
    append_number(out, "spin_misses", page.spin_misses.load());
    out += "}\n";
    return out;
}

}  // namespace smcd
