// The words of the engine's error category. Floor 0.
#include "smcd/base/error.hpp"

#include <string>

namespace smcd {
namespace {

const char* words(Errc code) noexcept {
    switch (code) {
    case Errc::unsafe_memory:
        return "received memory is not sealed as agreed";
    case Errc::peer_violation:
        return "peer violated the protocol";
    case Errc::peer_gone:
        return "peer is gone";
    case Errc::over_budget:
        return "over budget";
    case Errc::switched_off:
        return "switched off";
    case Errc::slow_memory:
        return "memory is too slow to be of use";
    case Errc::fabric_gone:
        return "the fabric's region was removed or replaced";
    }
    return "unknown engine error";
}

class EngineCategory final : public std::error_category {
public:
    [[nodiscard]] const char* name() const noexcept override { return "smcd"; }

    [[nodiscard]] std::string message(int value) const override {
        return words(static_cast<Errc>(value));
    }
};

} // namespace

const std::error_category& engine_category() noexcept {
    static const EngineCategory category;
    return category;
}

} // namespace smcd
