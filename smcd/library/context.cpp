// Contexts, and what fork and exit mean to them. Floor 4.
#include <pthread.h>

#include <algorithm>
#include <new>
#include <string_view>

#include "smcd/library/handles.hpp"

namespace smcd::library {
namespace {

/// All contexts of the process, for fork and exit. The one mutable global of the library: both
/// reach it without a handle.
class Registry {
public:
    void add(smcd_ctx* ctx) {
        const std::lock_guard guard(mutex_);
        contexts_.push_back(ctx);
        if (!watches_forks_) {
            watches_forks_ = true;
            ::pthread_atfork(&before_fork, &after_fork_in_parent, &after_fork_in_child);
        }
    }

    void remove(smcd_ctx* ctx) {
        const std::lock_guard guard(mutex_);
        std::erase(contexts_, ctx);
    }

    void at_exit() {
        const std::lock_guard guard(mutex_);
        for (smcd_ctx* ctx : contexts_) {
            ctx->process.at_exit();
        }
    }

    static Registry& get() noexcept {
        // Never destroyed: fork handlers and exit come late.
        static auto* const registry = new Registry();
        return *registry;
    }

private:
    static void before_fork() {
        get().mutex_.lock();
        for (smcd_ctx* ctx : get().contexts_) {
            ctx->mutex.lock();
            ctx->process.before_fork();
        }
    }

    static void after_fork_in_parent() {
        for (smcd_ctx* ctx : get().contexts_) {
            ctx->process.after_fork_in_parent();
            ctx->mutex.unlock();
        }
        get().mutex_.unlock();
    }

    static void after_fork_in_child() {
        for (smcd_ctx* ctx : get().contexts_) {
            ctx->process.after_fork_in_child();
            for (smcd_sock* sock : ctx->socks) {
                // The doorbell is the parent's, the epoll set is shared with it.
                sock->door = -1;
                close_event_fd(*sock);
            }
            ctx->mutex.unlock();
        }
        get().mutex_.unlock();
    }

    std::mutex mutex_;
    std::vector<smcd_ctx*> contexts_;
    bool watches_forks_ = false;
};

[[gnu::destructor]] void last_words() {
    Registry::get().at_exit();
}

/// 0, or EINVAL.
int configure(Config& config, const smcd_options& options) {
    if (options.size < sizeof(options)) {
        return EINVAL;
    }
    if (options.profile != nullptr && !set_profile(config, options.profile)) {
        return EINVAL;
    }
    if (options.receive_buffer != 0) {
        config.size_class = size_class_for(options.receive_buffer);
    }
    return 0;
}

} // namespace
} // namespace smcd::library

using namespace smcd;          // NOLINT(google-build-using-namespace): a skin of C functions
using namespace smcd::library; // NOLINT(google-build-using-namespace)

smcd_ctx* smcd_ctx_create(const smcd_options* options) {
    try {
        Config config = read_config();
        if (const int error = options == nullptr ? 0 : configure(config, *options); error != 0) {
            errno = error;
            return nullptr;
        }
        auto made = std::make_unique<smcd_ctx>(std::move(config));
        Registry::get().add(made.get());
        return made.release();
    } catch (const std::bad_alloc&) {
        errno = ENOMEM;
        return nullptr;
    }
}

void smcd_ctx_destroy(smcd_ctx* ctx) {
    if (ctx == nullptr) {
        return;
    }
    while (!ctx->socks.empty()) {
        static_cast<void>(smcd_close(ctx->socks.back()));
    }
    ctx->process.at_exit();
    Registry::get().remove(ctx);
    delete ctx;
}
