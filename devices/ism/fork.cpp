// The status area, and what fork() means for the device. Floor 2.
#include <new>
#include <utility>

#include "devices/ism/impl.hpp"
#include "smcd/base/high_fd.hpp"
#include "smcd/base/memfd.hpp"

namespace smcd::dev {

Result<StatusFile> StatusFile::create() {
    StatusFile file;
    SMCD_TRY(UniqueFd fd, create_sealed_memfd("smcd-sba", sizeof(StatusArea)));
    SMCD_TRY(file.fd, lift_fd(std::move(fd)));
    SMCD_TRY(file.memory,
             Mapping::map_shared(file.fd.get(), sizeof(StatusArea), PROT_READ | PROT_WRITE));
    return file;
}

void IsmDevice::Impl::before_fork() {
    lock_.lock();
    for (auto& [token, dmb] : local_) {
        dmb.forked = true;
    }
    bus.before_fork();
}

void IsmDevice::Impl::after_fork_in_parent() {
    bus.after_fork_in_parent();
    lock_.unlock();
}

void IsmDevice::Impl::after_fork_in_child() {
    bus.after_fork_in_child();
    new (&lock_) std::shared_mutex; // it was locked by a thread of the parent's
    // Peers of ours see a status area of ours. Without memory for it, signals show in the parent's.
    if (auto file = StatusFile::create(); file) {
        bus.set_status_fd(file->fd.get());
        status.store(&file->area(), std::memory_order_release);
        status_files_.push_back(*std::move(file));
    }
}

} // namespace smcd::dev
