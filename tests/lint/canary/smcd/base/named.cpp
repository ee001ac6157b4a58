// Breaks the word rules, once each; the last line is excused.
#include <cassert>

#include "smcd/base/clean.hpp"

volatile int word = 0;

void check(int value) {
    assert(value > 0);
}

volatile int excused = 0; // lint: allow volatile: shows how a line is excused
