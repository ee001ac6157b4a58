// Fuzz target: a byte stream into both machines. The first byte chooses the role and how the stream
// is cut; machines must consume whole messages only, and end. Floor 4.
#include <cstdlib>

#include "clc/handshake.hpp"
#include "tests/fuzz/target.hpp"

namespace {

using namespace smcd;
using namespace smcd::clc;

LocalOffer offer() {
    LocalOffer ours;
    ours.devices.add({{0x3f1c2a907b4d4e55, 0x9c010a1b2c3d4e5f}, kLoopbackChid});
    ours.devices.add({{0x3f1c2a907b4d4e55, 0x9c010a1b2c3d4e5f}, Chid(0xFF10)});
    ours.devices.add({{0x1a2b3c4d5e6f7081, 0}, Chid(0x01C0)});
    ours.ueids.add(*make_ueid("SMCD-DEMO-EID"));
    ours.vendor = {true, kFeatureBells, LinkGroupId(1)};
    return ours;
}

void expect(bool holds) {
    if (!holds) {
        std::abort();
    }
}

void react(ClientHandshake& client, const Step& step) {
    if (step.event == Event::accepted) {
        static_cast<void>(client.confirm({DmbToken(1), SizeClass(2), LinkGroupId(3), {}, true}));
    } else if (step.event == Event::contradicts) {
        static_cast<void>(client.decline(step.reason));
    }
}

void react(ServerHandshake& server, const Step& step) {
    if (step.event == Event::proposed) {
        expect(step.matches.count > 0 && step.matches.items[0].local < 3);
        static_cast<void>(server.accept(step.matches.items[0],
                                        {DmbToken(1), SizeClass(2), LinkGroupId(3), {}, true}));
    } else if (step.event == Event::refused) {
        static_cast<void>(server.decline(step.reason));
    }
}

/// Shows the machine ever longer parts of the stream, as TCP would.
template <typename Machine>
void drive(Machine machine, std::span<const std::byte> stream, std::size_t stride) {
    std::size_t shown = 0;
    while (shown < stream.size()) {
        shown = std::min(stream.size(), shown + stride);
        const Step step = machine.feed(stream.first(shown));
        expect(step.consumed <= shown);
        expect(step.event != Event::need_more || step.consumed == 0);
        react(machine, step);
        if (step.event == Event::not_clc) {
            return;
        }
        stream = stream.subspan(step.consumed);
        shown -= step.consumed;
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    const auto stream = std::as_bytes(std::span(data, size)).subspan(1);
    const std::size_t stride = 1 + (data[0] >> 1U);
    const bool server_role = (data[0] & 1U) != 0;
    const SwallowVerdict late = swallow_late_message(stream, server_role);
    expect(late.consumed <= stream.size());
    if (server_role) {
        ServerHandshake server;
        server.start(offer());
        drive(server, stream, stride);
        return 0;
    }
    ClientHandshake client;
    static_cast<void>(client.start(offer()));
    drive(client, stream, stride);
    return 0;
}
