// Tests may include every room, but must not sleep.
#include <chrono>
#include <thread>

#include "clc/orphan.hpp"

void wait_blindly() {
    std::this_thread::sleep_for(std::chrono::seconds(1));
}
