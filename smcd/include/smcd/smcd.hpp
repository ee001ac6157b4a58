// libsmcd for C++20: owners around <smcd/smcd.h>, header only. docs/library.md.
//
// Nothing throws; errors come out as std::error_code of the generic category. What a call does, and
// which threads may make it, stands in smcd.h beside the C function of the same name.
#pragma once

#include <smcd/smcd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

namespace smcd {
inline namespace v1 {

namespace detail {
inline std::error_code code_of(bool failed) noexcept {
    return failed ? std::error_code(errno, std::generic_category()) : std::error_code();
}

struct CloseContext {
    void operator()(smcd_ctx* ctx) const noexcept { ::smcd_ctx_destroy(ctx); }
};

struct CloseSocket {
    void operator()(smcd_sock* sock) const noexcept { static_cast<void>(::smcd_close(sock)); }
};
} // namespace detail

/// The library in this process. Outlives its sockets.
class Context {
public:
    Context() = default;

    /// options: nullptr for the environment's settings.
    static Context create(std::error_code& error, const smcd_options* options = nullptr) noexcept {
        Context made;
        made.ctx_.reset(::smcd_ctx_create(options));
        error = detail::code_of(made.ctx_ == nullptr);
        return made;
    }

    [[nodiscard]] smcd_ctx* get() const noexcept { return ctx_.get(); }

    explicit operator bool() const noexcept { return ctx_ != nullptr; }

private:
    std::unique_ptr<smcd_ctx, detail::CloseContext> ctx_;
};

/// Up to two pieces of a ring, in order.
template <typename Byte>
struct Pieces {
    std::span<Byte> first;
    std::span<Byte> second;

    [[nodiscard]] std::size_t size() const noexcept { return first.size() + second.size(); }
};

/// A stream: what connect() or accept() gave. Closed by its destructor.
class Connection {
public:
    Connection() = default;

    explicit Connection(smcd_sock* sock) noexcept : sock_(sock) {}

    static Connection connect(const Context& context,
                              const sockaddr* address,
                              socklen_t length,
                              std::error_code& error,
                              int type_flags = 0) noexcept {
        Connection made(::smcd_socket(context.get(), address->sa_family, type_flags));
        const bool failed = !made || ::smcd_connect(made.get(), address, length) != 0;
        error = detail::code_of(failed);
        if (failed && error != std::errc::operation_in_progress) {
            made.sock_.reset();
        }
        return made;
    }

    [[nodiscard]] smcd_sock* get() const noexcept { return sock_.get(); }

    explicit operator bool() const noexcept { return sock_ != nullptr; }

    std::size_t
    send(std::span<const std::byte> data, std::error_code& error, int flags = 0) noexcept {
        return moved(::smcd_send(get(), data.data(), data.size(), flags), error);
    }

    /// 0 without an error: the end of the stream.
    std::size_t receive(std::span<std::byte> data, std::error_code& error, int flags = 0) noexcept {
        return moved(::smcd_recv(get(), data.data(), data.size(), flags), error);
    }

    std::error_code flush() noexcept { return detail::code_of(::smcd_flush(get()) != 0); }

    Pieces<std::byte>
    reserve(std::size_t min_bytes, std::error_code& error, int flags = 0) noexcept {
        smcd_span spans[2] = {};
        error = detail::code_of(::smcd_send_reserve(get(), spans, min_bytes, flags) < 0);
        return {piece(spans[0]), piece(spans[1])};
    }

    std::error_code commit(std::size_t bytes) noexcept {
        return detail::code_of(::smcd_send_commit(get(), bytes) != 0);
    }

    /// Empty without an error: the end of the stream.
    Pieces<const std::byte>
    peek(std::size_t min_bytes, std::error_code& error, int flags = 0) noexcept {
        smcd_span spans[2] = {};
        error = detail::code_of(::smcd_recv_peek(get(), spans, min_bytes, flags) < 0);
        return {piece(spans[0]), piece(spans[1])};
    }

    std::error_code consume(std::size_t bytes) noexcept {
        return detail::code_of(::smcd_recv_consume(get(), bytes) != 0);
    }

    std::error_code shutdown(int how) noexcept {
        return detail::code_of(::smcd_shutdown(get(), how) != 0);
    }

    [[nodiscard]] bool accelerated() const noexcept { return ::smcd_is_accelerated(get()) != 0; }

    /// Why it is on TCP; empty when it is not.
    [[nodiscard]] std::string_view reason() const noexcept { return ::smcd_last_reason(get()); }

    /// Waits for the verdict. Negative: for ever.
    [[nodiscard]] bool wait_accelerated(int timeout_ms) noexcept {
        return ::smcd_wait_verdict(get(), timeout_ms) == 1;
    }

    std::error_code close() noexcept { return detail::code_of(::smcd_close(sock_.release()) != 0); }

private:
    static std::size_t moved(ssize_t n, std::error_code& error) noexcept {
        error = detail::code_of(n < 0);
        return n < 0 ? 0 : static_cast<std::size_t>(n);
    }

    static std::span<std::byte> piece(const smcd_span& span) noexcept {
        return {static_cast<std::byte*>(span.data), span.bytes};
    }

    std::unique_ptr<smcd_sock, detail::CloseSocket> sock_;
};

/// A listening socket.
class Listener {
public:
    Listener() = default;

    static Listener listen(const Context& context,
                           const sockaddr* address,
                           socklen_t length,
                           std::error_code& error,
                           int backlog = SOMAXCONN) noexcept {
        Listener made;
        made.sock_.reset(::smcd_socket(context.get(), address->sa_family, 0));
        const int on = 1;
        const bool failed =
            made.sock_ == nullptr ||
            ::smcd_setsockopt(made.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
            ::smcd_bind(made.get(), address, length) != 0 ||
            ::smcd_listen(made.get(), backlog) != 0;
        error = detail::code_of(failed);
        if (failed) {
            made.sock_.reset();
        }
        return made;
    }

    Connection accept(std::error_code& error, int flags = 0) noexcept {
        Connection made(::smcd_accept(get(), nullptr, nullptr, flags));
        error = detail::code_of(!made);
        return made;
    }

    [[nodiscard]] smcd_sock* get() const noexcept { return sock_.get(); }

    explicit operator bool() const noexcept { return sock_ != nullptr; }

private:
    std::unique_ptr<smcd_sock, detail::CloseSocket> sock_;
};

} // namespace v1
} // namespace smcd
