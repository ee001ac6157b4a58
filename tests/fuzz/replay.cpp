// Runs a fuzz target over its committed inputs, each also cut short and with single bits flipped,
// as an ordinary test. Arguments: folders. Floor 4.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "tests/fuzz/target.hpp"

namespace {

/// A fresh copy of the exact size each time, so that a sanitizer sees every byte read too far.
void run(const std::vector<std::uint8_t>& input) {
    const std::vector<std::uint8_t> copy(input.begin(), input.end());
    static_cast<void>(LLVMFuzzerTestOneInput(copy.data(), copy.size()));
}

void run_neighbours(std::vector<std::uint8_t> input) {
    run(input);
    for (std::size_t bit = 0; bit < input.size() * 8; ++bit) {
        const auto mask = static_cast<std::uint8_t>(1U << (bit % 8));
        input[bit / 8] ^= mask;
        run(input);
        input[bit / 8] ^= mask;
    }
    while (!input.empty()) {
        input.pop_back();
        run(input);
    }
}

} // namespace

int main(int argc, char** argv) {
    std::size_t files = 0;
    for (int i = 1; i < argc; ++i) {
        for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
            std::ifstream file(entry.path(), std::ios::binary);
            run_neighbours({std::istreambuf_iterator<char>(file), {}});
            ++files;
        }
    }
    std::printf("%zu inputs\n", files);
    return files == 0 ? 1 : 0;
}
