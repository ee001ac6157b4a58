// What a fabric server answers to management requests. Floor 4, docs/fabric.md "management".
#pragma once

#include <chrono>

#include "management.pb.h"
#include "smcd/fabric/event_log.hpp"
#include "smcd/fabric/fabric_region.hpp"
#include "smcd/fabric/ivshmem_server.hpp"

namespace smcd::fabric {

class Answers {
public:
    /// All must outlive it.
    Answers(FabricRegion& region, const IvshmemServer& server, EventLog& log)
        : region_(region), server_(server), log_(log), start_(std::chrono::steady_clock::now()) {}

    [[nodiscard]] pb::Reply answer(const pb::Request& request);

private:
    void fill(pb::Status& status) const;
    void fill(pb::Peers& peers) const;
    void fill(pb::Events& events) const;
    [[nodiscard]] pb::Reply drain(const pb::DrainRequest& request);

    FabricRegion& region_;
    const IvshmemServer& server_;
    EventLog& log_;
    std::chrono::steady_clock::time_point start_;
};

} // namespace smcd::fabric
