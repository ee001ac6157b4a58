// What every way to copy this process does around it: pthread_atfork() handlers, _Fork(), clone(),
// syscall(). Floor 4.
#pragma once

namespace smcd::preload {

void before_fork();
void after_fork_in_parent();
void after_fork_in_child();

/// Waiting bytes go out and statistics are written; not in a vfork child, whose memory is its
/// parent's.
void last_words();

} // namespace smcd::preload
