// Nothing here is wrong. "assert(1)" and volatile in a comment or string are not code.
#pragma once

inline const char* text() {
    static_assert(sizeof(int) >= 2);
    return "assert(volatile) { {";
}
