// Writing and waking through an attached DMB: the same for all devices that map. Floor 1.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "devices/api/dmb.hpp"
#include "smcd/base/result.hpp"

namespace smcd::dev {

/// Ends the futex sleep on a word of the owner's bells, if somebody sleeps there. Keeps errno.
void wake_futex(std::atomic<std::uint32_t>& word) noexcept;

/// Device::move_data() of a DMB that stays mapped meanwhile. Doorbells of the owner that are to be
/// signalled; EFAULT: outside the DMB.
[[nodiscard]] Result<std::uint64_t> move_into(const RemoteDmb& target,
                                              bool signal_owner,
                                              std::uint32_t offset,
                                              std::span<const std::byte> data);

} // namespace smcd::dev
