#include "devices/ism/event_queue.hpp"

namespace smcd::dev {

bool EventQueue::push(const FabricEvent& event) {
    const std::lock_guard guard(mutex_);
    if (written_ - read_ == kEntries) {
        ++overruns_;
        return false;
    }
    entries_[written_++ % kEntries] = event;
    return true;
}

std::optional<FabricEvent> EventQueue::pop() {
    const std::lock_guard guard(mutex_);
    if (written_ == read_) {
        return std::nullopt;
    }
    return entries_[read_++ % kEntries];
}

std::uint64_t EventQueue::overruns() const {
    const std::lock_guard guard(mutex_);
    return overruns_;
}

} // namespace smcd::dev
