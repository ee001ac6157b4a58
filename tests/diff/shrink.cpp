#include "tests/diff/shrink.hpp"

#include <algorithm>

namespace smcd::diff {
namespace {

class Shrinker {
public:
    Shrinker(Program program, const std::function<bool(const Program&)>& fails, int tries)
        : best_(std::move(program)), fails_(fails), tries_(tries) {}

    Program run() {
        bool better = true;
        while (better && tries_ > 0) {
            better = false;
            for (std::size_t size = std::max<std::size_t>(best_.size() / 2, 1); size > 0;
                 size /= 2) {
                better = leave_out(size) || better;
            }
            for (std::size_t i = 0; i < best_.size(); ++i) {
                better = simplify(i) || better;
            }
        }
        return best_;
    }

private:
    bool accept(const Program& candidate) {
        if (tries_ <= 0 || candidate == best_) {
            return false;
        }
        --tries_;
        if (!fails_(candidate)) {
            return false;
        }
        best_ = candidate;
        return true;
    }

    /// Pieces of `size` calls, from the end.
    bool leave_out(std::size_t size) {
        bool better = false;
        for (std::size_t end = best_.size(); end >= size; --end) {
            Program candidate = best_;
            const auto first = candidate.begin() + static_cast<std::ptrdiff_t>(end - size);
            candidate.erase(first, first + static_cast<std::ptrdiff_t>(size));
            if (!candidate.empty() && accept(candidate)) {
                better = true;
                end = std::min(end, best_.size() + 1);
            }
        }
        return better;
    }

    bool simplify(std::size_t i) {
        bool better = false;
        const auto with = [&](auto change) {
            Program candidate = best_;
            change(candidate[i]);
            better = accept(candidate) || better;
        };
        with([](Op& op) { op.together = false; });
        with([](Op& op) { op.blind = false; });
        for (std::size_t a = 0; a < 3; ++a) {
            const Kind kind = info(best_[i].verb).kinds[a];
            if (kind == Kind::number) {
                const bool receives =
                    best_[i].verb >= Verb::recv && best_[i].verb <= Verb::splice_in;
                for (const std::int64_t value :
                     {std::int64_t{0}, std::int64_t{1}, best_[i].args[a] / 2}) {
                    if (value < best_[i].args[a] && (value > 0 || !receives)) {
                        with([&](Op& op) { op.args[a] = value; });
                    }
                }
            } else if (kind == Kind::message_flags || kind == Kind::poll_mask ||
                       kind == Kind::epoll_mask) {
                for (unsigned bit = 0; bit < 32; ++bit) {
                    with([&](Op& op) { op.args[a] &= ~(std::int64_t{1} << bit); });
                }
            }
        }
        simpler_verb(i, with);
        return better;
    }

    template <typename With>
    void simpler_verb(std::size_t i, With& with) {
        const Verb verb = best_[i].verb;
        if (verb > Verb::send && verb <= Verb::splice_out) {
            with([](Op& op) {
                op.args[1] = info(op.verb).kinds[1] == Kind::message_flags ? op.args[1] : 0;
                op.args[2] = 0;
                op.verb = Verb::send;
            });
        } else if (verb > Verb::recv && verb <= Verb::splice_in) {
            with([](Op& op) {
                op.args[1] = info(op.verb).kinds[1] == Kind::message_flags ? op.args[1] : 0;
                op.args[2] = 0;
                op.verb = Verb::recv;
            });
        }
    }

    Program best_;
    const std::function<bool(const Program&)>& fails_;
    int tries_;
};

} // namespace

Program shrink(Program program, const std::function<bool(const Program&)>& fails, int tries_max) {
    return Shrinker(std::move(program), fails, tries_max).run();
}

} // namespace smcd::diff
