// The entry that libFuzzer calls and that the replay test calls too. Floor 4.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

/// data: size bytes, readable during the call only. Aborts when a property does not hold.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
