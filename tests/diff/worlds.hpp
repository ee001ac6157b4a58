// A world: the processes A and B, on plain TCP or under the library. Room tests/diff, no protocol
// section.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/diff/wire.hpp"

namespace smcd::diff {

struct WorldSettings {
    std::string actor;                    ///< path of diff_actor
    std::vector<std::string> wrap;        ///< command in front of it; empty: plain
    std::vector<std::string> environment; ///< "NAME=value"
    std::string statistics;               ///< file for SMCD_STATS_FILE; empty: none
};

/// Thread: one. Every failure to start ends this process with a message.
class World {
public:
    explicit World(WorldSettings settings);
    ~World();
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    /// Starts both processes unless they run.
    void start();
    /// Lets them end in order, so that they write statistics.
    void stop();
    /// Asks the processes to leave. Only kill() or stop() may follow.
    void let_go();
    /// Ends them by force if they do not leave. true: all left in order.
    bool kill();

    void post(int actor, const Request& request);
    /// Takes a reply if there is one; does not wait.
    bool take(int actor, Reply& reply);

    /// For poll(): readable when a reply is there.
    [[nodiscard]] int descriptor(int actor) const { return links_[index(actor)].control; }

    /// The process has ended: no reply will come.
    [[nodiscard]] bool gone(int actor) const { return links_[index(actor)].gone; }

    /// Waits for the end of A or B, whose control socket is closed already.
    void await_end(int actor) const;

    /// Whether the process sleeps in the kernel at this moment.
    [[nodiscard]] bool asleep(int actor) const;

    [[nodiscard]] bool running() const { return links_[0].pid > 0; }

    /// Connections that the ended processes have accelerated, both ends counted.
    [[nodiscard]] std::uint64_t accelerated() const;

private:
    struct Link {
        pid_t pid = -1; ///< of A and B: ours to wait for; of their children only a number
        int control = -1;
        bool gone = false;
    };

    static std::size_t index(int actor) { return static_cast<std::size_t>(actor); }

    void spawn(int actor);
    bool reap(bool by_force);
    void await(int actor, Reply& reply);

    WorldSettings settings_;
    std::array<Link, kActors> links_;
};

} // namespace smcd::diff
