// When there is no way back to TCP: the peer has closed or died, and bytes of it lie unread in shared memory. Floor 4.
#pragma once

#include "preload/shim.hpp"

namespace smcd::preload {

/// Puts another connection behind all numbers of this process that name `socket`: one end of a pair whose other end has
/// sent what is unread, and has closed. Any program finds there what TCP would have had for it; getpeername() differs.
/// false: nothing is unread, or no pair could take it all; nothing has changed. Does not wait. errno is kept.
/// `for_relatives_too`: the connection just happens to survive an exec(), so relatives that have it open keep the bytes;
/// else they find the end.
bool substitute(Shim& shim, Socket& socket, Reason reason, bool for_relatives_too = false) noexcept;

}  // namespace smcd::preload
