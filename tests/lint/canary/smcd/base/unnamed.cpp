// In no target, and it names a folder of one machine: /home/somebody/tree.
#include "clc/orphan.hpp"
#include "clean.hpp"
#include "smcd/base/missing.hpp"
