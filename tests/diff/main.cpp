// diff_test: random programs of socket calls on plain TCP and under the library; equal or a bug.
// docs/testing.md. Room tests/diff, no protocol section.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "tests/diff/generate.hpp"
#include "tests/diff/judge.hpp"
#include "tests/diff/runner.hpp"
#include "tests/diff/settings.hpp"
#include "tests/diff/shrink.hpp"

namespace smcd::diff {
namespace {

/// The seed of one program of a run.
std::uint64_t seed_of(std::uint64_t seed, std::uint64_t index) {
    std::uint64_t x = seed * 0x9E3779B97F4A7C15ULL + index;
    x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9ULL;
    x = (x ^ (x >> 27U)) * 0x94D049BB133111EBULL;
    return x ^ (x >> 31U);
}

class Session {
public:
    explicit Session(const Settings& settings)
        : settings_(settings), plain_({
                                   settings.actor, {                        },
                                    {                        },
                                    {                         }
    }),
          other_({settings.actor,
                  settings.wrap,
                  {"SMCD_LEARN=0", std::string("DIFF_CANARY=") + (settings.canary ? "1" : "")},
                  statistics_}),
          second_({settings.actor, {}, {}, {}}), runner_(plain_, other_), twice_(plain_, second_),
          judge_(runner_, settings.wrap.empty() ? nullptr : &twice_) {}

    int run() { return settings_.files.empty() ? run_random() : run_files(); }

private:
    /// Runs it and reports a difference, smaller if that can be. true: none.
    bool check(const std::string& name, const Program& program) {
        const Result result = runner_.run(program);
        for (const std::string& known : result.known) {
            ++known_[known];
        }
        ++count_;
        if (!result.difference) {
            return true;
        }
        const Verdict verdict = judge_.look_again(program);
        if (verdict == Verdict::undetermined) {
            ++undetermined_;
            return true;
        }
        std::printf("\n%s: behind call %zu: %s\nIt came %d of %d times again%s\n",
                    name.c_str(),
                    result.difference->at + 1,
                    result.difference->what.c_str(),
                    judge_.times_seen(),
                    Judge::kRuns,
                    verdict == Verdict::passing ? ": not counted. The program:" : ".");
        if (verdict == Verdict::passing) {
            ++passing_;
            std::printf("%s", to_text(program).c_str());
        } else {
            report_small(program);
        }
        std::fflush(stdout);
        return verdict == Verdict::passing;
    }

    void report_small(const Program& program) {
        const auto patience = runner_.patience;
        runner_.patience = std::chrono::milliseconds(500);
        const auto fails = [&](const Program& candidate) {
            return judge_.still_different(candidate);
        };
        smallest_ = shrink(program, fails, 400);
        std::printf("The smallest program:\n%s", to_text(smallest_).c_str());
        for (int i = 0; i < Judge::kRuns; ++i) {
            if (const auto difference = runner_.run(smallest_).difference) {
                std::printf("The difference: %s\n", difference->what.c_str());
                break;
            }
        }
        runner_.patience = patience;
    }

    int run_random() {
        const std::uint64_t first =
            settings_.index >= 0 ? static_cast<std::uint64_t>(settings_.index) : 0;
        const std::uint64_t end = settings_.index >= 0 ? first + 1 : settings_.programs;
        std::printf("SMCD_SEED=%llu\n", static_cast<unsigned long long>(settings_.seed));
        std::fflush(stdout);
        std::uint64_t failures = 0;
        for (std::uint64_t i = first; i < end && failures < settings_.failures_max; ++i) {
            const Program program = generate(seed_of(settings_.seed, i));
            if (settings_.print) {
                std::printf(
                    "# %llu\n%s", static_cast<unsigned long long>(i), to_text(program).c_str());
                continue;
            }
            failures +=
                check("--seed " + std::to_string(settings_.seed) + " --index " + std::to_string(i),
                      program)
                    ? 0
                    : 1;
        }
        return finish(failures);
    }

    /// A file may name a known difference, "# known NAME", that must have shown.
    bool shows_known(const std::string& path, const std::string& text) {
        constexpr std::string_view kMark = "# known ";
        if (!text.starts_with(kMark) || settings_.wrap.empty()) {
            return true;
        }
        const std::string name = text.substr(kMark.size(), text.find('\n') - kMark.size());
        const bool shown = known_.contains(name);
        std::printf("%s: the difference %s %s\n",
                    path.c_str(),
                    name.c_str(),
                    shown ? "shows" : "does NOT show any more");
        return shown;
    }

    int run_files() {
        std::uint64_t failures = 0;
        for (const std::string& path : settings_.files) {
            std::ifstream file(path);
            std::stringstream text;
            text << file.rdbuf();
            std::string error = file ? "" : "no such file";
            const auto program = file ? parse(text.str(), error) : std::nullopt;
            if (!program) {
                std::fprintf(stderr, "%s: %s\n", path.c_str(), error.c_str());
                return 2;
            }
            failures += check(path, *program) && shows_known(path, text.str()) ? 0 : 1;
        }
        return finish(failures);
    }

    int finish(std::uint64_t failures) {
        runner_.stop();
        twice_.stop();
        const std::uint64_t ends = runner_.connection_ends();
        const std::uint64_t accelerated = other_.accelerated();
        ::unlink(statistics_.c_str());
        std::printf(
            "%llu programs, %llu different; %llu warm ends of connections, %llu ends accelerated\n",
            static_cast<unsigned long long>(count_),
            static_cast<unsigned long long>(failures),
            static_cast<unsigned long long>(ends),
            static_cast<unsigned long long>(accelerated));
        std::printf("%llu more differ on TCP itself from run to run, %llu did not come again\n",
                    static_cast<unsigned long long>(undetermined_),
                    static_cast<unsigned long long>(passing_));
        for (const auto& [name, count] : known_) {
            std::printf("known difference %s: %llu\n",
                        name.c_str(),
                        static_cast<unsigned long long>(count));
        }
        if (settings_.canary) {
            const bool found = failures > 0 && smallest_.size() <= 3;
            std::printf("the canary %s\n", found ? "was found and shrunk" : "was NOT found");
            return found ? 0 : 1;
        }
        // Some of the connections give up on a busy machine; but most must be what this is about.
        if (!settings_.wrap.empty() && !settings_.print && accelerated * 2 < ends) {
            std::printf("hardly any connection was accelerated\n");
            return 1;
        }
        return failures == 0 ? 0 : 1;
    }

    const Settings& settings_;
    std::string statistics_ = "diff-stats-" + std::to_string(::getpid());
    World plain_;
    World other_;
    World second_; ///< plain too
    Runner runner_;
    Runner twice_; ///< TCP against itself
    Judge judge_;
    std::uint64_t undetermined_ = 0;
    std::uint64_t passing_ = 0;
    Program smallest_;
    std::map<std::string, std::uint64_t> known_;
    std::uint64_t count_ = 0;
};

} // namespace
} // namespace smcd::diff

int main(int argc, char** argv) {
    const smcd::diff::Settings settings = smcd::diff::read_settings(argc, argv);
    return smcd::diff::Session(settings).run();
}
