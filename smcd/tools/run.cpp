// `smcu run`: starts a program with the library preloaded, and becomes it. Floor 4, docs/smcu.md
// "smcu run".
#include <pwd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "smcd/runtime/profile.hpp"
#include "smcd/runtime/settings.hpp"
#include "smcd/tools/command.hpp"
#include "smcd/tools/launcher.hpp"
#include "smcd/tools/program_file.hpp"
#include "smcd/tools/size_text.hpp"

namespace smcd::tools {
namespace {

struct RunOptions {
    std::string receive_size;
    std::string send_size;
    std::string profile;
    std::string devices;
    std::vector<std::string> users;
    bool debug = false;
    std::vector<std::string> unused;
};

/// Validator for -r and -t, in CLI11's form: an empty string means valid.
std::string check_size(const std::string& text) {
    return parse_size_text(text) ? std::string()
                                 : "'" + text + "' is not a size (digits, optionally k, K, m or M)";
}

/// Validator for --profile.
std::string check_profile(const std::string& name) {
    return find_profile(name) != nullptr
               ? std::string()
               : "there is no profile '" + name + "'; there are: " + profile_names();
}

/// A name of the user database or a number; empty: neither.
std::string uid_of(const std::string& user) {
    const bool number = !user.empty() && user.find_first_not_of("0123456789") == std::string::npos;
    if (number) {
        return user;
    }
    const passwd* entry = ::getpwnam(user.c_str());  // NOLINT(concurrency-mt-unsafe): one thread
    return entry == nullptr ? std::string() : std::to_string(entry->pw_uid);
}

/// Validator for --allow-user.
std::string check_user(const std::string& user) {
    return uid_of(user).empty() ? "there is no user '" + user + "'" : std::string();
}

std::string uids_of(const std::vector<std::string>& users) {
    std::string uids;
    for (const std::string& user : users) {
        uids += (uids.empty() ? "" : ",") + uid_of(user);
    }
    return uids;
}

/// The library itself is silent in somebody's program; here somebody looks.
void warn_of_unknown_profile() {
    const smcd::Settings settings = smcd::Settings::read(settings_path());
    const char* name = settings.value("SMCD_PROFILE");
    if (name != nullptr && find_profile(name) == nullptr) {
        complain("run",
                 "warning: SMCD_PROFILE '" + std::string(name) + "' is none of " + profile_names() +
                     "; balanced is used");
    }
}

Settings settings_of(const RunOptions& options) {
    Settings settings;
    if (!options.receive_size.empty()) {
        settings.emplace_back("SMCD_RCVBUF", options.receive_size);
    }
    if (!options.send_size.empty()) {
        settings.emplace_back("SMCD_SNDBUF", options.send_size);
    }
    if (!options.profile.empty()) {
        settings.emplace_back("SMCD_PROFILE", options.profile);
    }
    if (!options.devices.empty()) {
        settings.emplace_back("SMCD_DEVICES", options.devices);
    }
    if (!options.users.empty()) {
        settings.emplace_back("SMCD_ALLOW_UIDS", uids_of(options.users));
    }
    if (options.debug) {
        settings.emplace_back("SMCD_DEBUG", "3");
    }
    return settings;
}

/// Says so when the library cannot reach the program. Returns whether to preload at all.
bool advise(const std::string& name) {
    const auto file = find_program(name);
    const Preloadable answer = file ? inspect_program(*file) : Preloadable::unknown;
    const std::string_view text = describe(answer);
    if (!text.empty()) {
        complain("run", "warning: " + name + ' ' + std::string(text) + "; it stays on TCP");
    }
    // A foreign loader would fail on our library, and with it the program; its children lose
    // nothing: they inherit the foreign loader's world. In the other cases the library may still
    // reach the program's children.
    return answer != Preloadable::other_loader;
}

int start(const RunOptions& options, std::vector<std::string> command) {
    if (command.empty()) {
        complain("run", "no command given");
        return kExitLauncher;
    }
    if (advise(command.front())) {
        const auto preloaded = preload_into_environment();
        if (!preloaded) {
            complain("run", describe_preload_error(preloaded.error()));
            return kExitLauncher;
        }
    }
    apply(settings_of(options));
    warn_of_unknown_profile();
    std::vector<char*> argv;
    argv.reserve(command.size() + 1);
    for (std::string& argument : command) {
        argv.push_back(argument.data());
    }
    argv.push_back(nullptr);
    ::execvp(argv[0], argv.data());
    const int error = errno;
    // NOLINTNEXTLINE(concurrency-mt-unsafe): one thread
    complain("run", "cannot start " + command.front() + ": " + std::strerror(error));
    return error == ENOENT ? kExitNotFound : kExitNotExecutable;
}

} // namespace

void add_run(CLI::App& program, int& status, const std::vector<std::string>& command) {
    auto options = std::make_shared<RunOptions>();
    CLI::App* run = program.add_subcommand("run", "Start a program under the library");
    // For the help alone: these words never get here.
    run->add_option(
        "command", options->unused, "the program and its arguments; \"--\" may stand before it");
    run->footer(
        "Options behind the command's name belong to the command.\n"
        "Exit status: that of the command; 125 smcu failed, 126 the command cannot be started, "
        "127 it is not found.");
    run->add_option("-r,--rcvbuf", options->receive_size, "receive buffer: digits and k, K, m or M")
        ->type_name("SIZE")
        ->check(check_size);
    run->add_option("-t,--sndbuf", options->send_size, "send buffer")
        ->type_name("SIZE")
        ->check(check_size);
    run->add_option("--profile", options->profile, "how to wait for data")
        ->type_name("NAME")
        ->check(check_profile);
    run->add_option("--device",
                    options->devices,
                    "devices to offer, in order: loopback, ism or ism:CHID, with commas between")
        ->type_name("LIST");
    run->add_option("--allow-user",
                    options->users,
                    "users, besides its own, whose programs may share memory with this one")
        ->type_name("USER[,USER...]")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->check(check_user);
    run->add_flag("-d,--debug", options->debug, "log to stderr what the library does");
    run->callback([options, &status, &command] { status = start(*options, command); });
}

} // namespace smcd::tools
