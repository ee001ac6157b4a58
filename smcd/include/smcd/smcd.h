/* libsmcd: TCP connections of one host through shared memory, for programs that are written for it.
 * docs/library.md.
 *
 * The calls are those of sockets, on an smcd_sock instead of a descriptor. A connection whose other
 * end does not use SMC-D (or lives on another host) is plain TCP, and every call works on it as
 * well.
 *
 * Errors: a call that fails returns -1 (or NULL) and sets errno, as the socket call of that name
 * does; calls that can fail in another way say so. Flags are those of send(2) and recv(2).
 *
 * Threads: any thread may use any context and any socket. Of the zero-copy calls and of sends with
 * MSG_MORE one thread at a time may use each direction of a socket. smcd_close() and
 * smcd_ctx_destroy() need the object for themselves. Fork: parent and child may both go on, as with
 * descriptors; the child must not exec without closing. Signals: no function is async-signal-safe;
 * a blocking call ends with EINTR as the socket call would.
 */
#ifndef SMCD_SMCD_H
#define SMCD_SMCD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SMCD_API_MAJOR 1
#define SMCD_API_MINOR 0

#if defined(__GNUC__)
#define SMCD_API __attribute__((visibility("default")))
#else
#define SMCD_API
#endif

typedef struct smcd_ctx smcd_ctx;
typedef struct smcd_sock smcd_sock;

/* ---- context
 * ----------------------------------------------------------------------------------------------------
 */

/* Settings of a context. Zero it, set `size` to sizeof(struct smcd_options), then what differs from
 * the environment (SMCD_PROFILE, SMCD_RCVBUF, ...: docs/configuration.md). */
struct smcd_options {
    size_t size;
    const char* profile;   /* how to wait: "balanced", "latency", "efficient", "throughput",
                              "isolated"; NULL: environment */
    size_t receive_buffer; /* bytes of each connection's ring, rounded up to a size class; 0:
                              environment */
};

/* A context holds a helper thread (started with the first connection) and the memory shared with
 * other processes. options: NULL for the environment's settings. EINVAL: an unknown profile or a
 * `size` that is too small. One context per process is the normal case; the profile of the newest
 * holds for all. */
SMCD_API smcd_ctx* smcd_ctx_create(const struct smcd_options* options);
/* Closes what is still open. NULL is allowed. */
SMCD_API void smcd_ctx_destroy(smcd_ctx* ctx);

/* ---- sockets
 * ----------------------------------------------------------------------------------------------------
 */

/* domain: AF_INET or AF_INET6. type_flags: 0, or SOCK_NONBLOCK; the descriptor is always
 * close-on-exec. */
SMCD_API smcd_sock* smcd_socket(smcd_ctx* ctx, int domain, int type_flags);
SMCD_API int smcd_bind(smcd_sock* sock, const struct sockaddr* address, socklen_t length);
/* From now on clients can find out that this listener speaks SMC-D. */
SMCD_API int smcd_listen(smcd_sock* sock, int backlog);
/* flags: 0 or SOCK_NONBLOCK. address may be NULL. Returns as soon as TCP has a connection; the
 * handshake runs beside. */
SMCD_API smcd_sock*
smcd_accept(smcd_sock* listener, struct sockaddr* address, socklen_t* length, int flags);
/* Returns as soon as TCP is connected. Non-blocking: EINPROGRESS, then smcd_poll() for POLLOUT and
 * SO_ERROR. */
SMCD_API int smcd_connect(smcd_sock* sock, const struct sockaddr* address, socklen_t length);
SMCD_API int smcd_shutdown(smcd_sock* sock, int how);
/* Frees the socket in any case. -1: bytes that waited could not be sent. NULL is allowed. */
SMCD_API int smcd_close(smcd_sock* sock);

SMCD_API int
smcd_setsockopt(smcd_sock* sock, int level, int name, const void* value, socklen_t length);
SMCD_API int smcd_getsockopt(smcd_sock* sock, int level, int name, void* value, socklen_t* length);
/* Options by name, for bindings: "nonblocking" and "nodelay" ("0", "1"), "receive_buffer" (bytes,
 * k, m; before connect and listen), "profile" (how to wait: as in smcd_options; a listener hands it
 * on; smcd_poll() goes by the context's), "congestion" (of TCP). EINVAL: no such option or value. */
SMCD_API int smcd_setopt_str(smcd_sock* sock, const char* name, const char* value);

/* The TCP socket's descriptor, for getsockname() and the like. Reading, writing or polling it is
 * undefined. */
SMCD_API int smcd_fd(const smcd_sock* sock);

/* ---- bytes
 * ------------------------------------------------------------------------------------------------------
 */

/* As send(2): a blocking send writes everything. Never raises SIGPIPE. With MSG_MORE the bytes may
 * stay invisible to the peer until a send without it, a full eighth of the ring, smcd_flush() or
 * smcd_close(): the way to send many small messages at the price of a copy each. */
SMCD_API ssize_t smcd_send(smcd_sock* sock, const void* data, size_t bytes, int flags);
/* Many buffers, one publication; the batch form of smcd_send(). */
SMCD_API ssize_t smcd_sendv(smcd_sock* sock, const struct iovec* parts, int count, int flags);
/* Publishes what MSG_MORE held back. 0, or -1 as smcd_send(). */
SMCD_API int smcd_flush(smcd_sock* sock);
/* As recv(2): 0 at the end of the stream. */
SMCD_API ssize_t smcd_recv(smcd_sock* sock, void* data, size_t bytes, int flags);
SMCD_API ssize_t smcd_recvv(smcd_sock* sock, const struct iovec* parts, int count, int flags);

struct smcd_span {
    void* data;
    size_t bytes;
};

/* Zero-copy sending: up to two spans to be filled in order, at least `min_bytes` in all (clamped to
 * a quarter of the ring). Returns their sum. Waits for space unless the socket is non-blocking or
 * flags has MSG_DONTWAIT (EAGAIN). The spans stay valid until smcd_send_commit() or the next send.
 */
SMCD_API ssize_t smcd_send_reserve(smcd_sock* sock,
                                   struct smcd_span spans[2],
                                   size_t min_bytes,
                                   int flags);
/* Makes the first `bytes` of the reserved spans readable for the peer. 0, or -1 as smcd_send().
 * EINVAL: more than reserved. */
SMCD_API int smcd_send_commit(smcd_sock* sock, size_t bytes);

/* Zero-copy receiving: up to two spans with all bytes that are there. Returns their sum, 0 at the
 * end of the stream. Waits for at least `min_bytes` (clamped to half of the ring; 0 counts as 1)
 * unless non-blocking: EAGAIN. The end of the stream or a signal may leave it at less. The peer can
 * still change the bytes: decide on a copy of what matters. */
SMCD_API ssize_t smcd_recv_peek(smcd_sock* sock,
                                struct smcd_span spans[2],
                                size_t min_bytes,
                                int flags);
/* Releases the first `bytes` of what smcd_recv_peek() showed. 0, or -1 with EINVAL: more than that.
 */
SMCD_API int smcd_recv_consume(smcd_sock* sock, size_t bytes);

/* ---- readiness
 * --------------------------------------------------------------------------------------------------
 */

struct smcd_pollfd {
    smcd_sock* sock; /* NULL: look at fd, an ordinary descriptor (negative: ignored) */
    int fd;
    short events; /* POLLIN, POLLOUT, ... as poll(2) */
    short revents;
};

/* As poll(2). */
SMCD_API int smcd_poll(struct smcd_pollfd* entries, size_t count, int timeout_ms);

/* For event loops of others: a descriptor that becomes readable when smcd_events() may have news;
 * owned by the socket, not to be read. EAGAIN: this process already uses all its 64 doorbells;
 * smcd_poll() needs one per thread only. */
SMCD_API int smcd_get_event_fd(smcd_sock* sock);
/* Which of `wanted` (POLLIN, POLLOUT; POLLERR and POLLHUP always) holds now, and arms the event
 * descriptor for it: wait on the descriptor only after a call that returned 0. */
SMCD_API int smcd_events(smcd_sock* sock, int wanted);

/* ---- information
 * ------------------------------------------------------------------------------------------------
 */

/* Waits for the verdict of the handshake: 1 shared memory, 0 TCP, -1 with ETIMEDOUT. It is never
 * needed for sending and receiving. timeout_ms: negative waits for ever. */
SMCD_API int smcd_wait_verdict(smcd_sock* sock, int timeout_ms);
/* Whether bytes go through shared memory now. */
SMCD_API int smcd_is_accelerated(const smcd_sock* sock);
/* Why the connection is on TCP: one sentence, valid for ever; "" when it is not. The code is
 * docs/reasons.md's. */
SMCD_API const char* smcd_last_reason(const smcd_sock* sock);
SMCD_API uint32_t smcd_reason_code(const smcd_sock* sock);

struct smcd_info {
    size_t size; /* set it to sizeof(struct smcd_info) */
    int accelerated;
    uint32_t reason;
    size_t ring_bytes; /* that we receive into; 0 on TCP */
    size_t peer_ring_bytes;
    uint64_t sent_bytes; /* through shared memory */
    uint64_t received_bytes;
    uint64_t wakeups_sent;
    uint64_t wakeups_suppressed;
    uint64_t sleeps;
    uint64_t spin_hits;
    uint64_t spin_misses;
};

SMCD_API int smcd_get_info(const smcd_sock* sock, struct smcd_info* info);

#ifdef __cplusplus
}
#endif

#endif
