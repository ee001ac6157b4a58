// Random operation lists on both directions against a model: a string of the bytes under way.
#include <gtest/gtest.h>

#include "tests/core/support.hpp"

namespace smcd::test {
namespace {

/// The oracle of one direction.
struct Oracle {
    std::string under_way; ///< sent and not read
    std::uint32_t ring;
    std::uint64_t total = 0;

    /// A sender may be told of freed space an eighth of the ring late, never more.
    void sent(std::string_view offered, std::size_t taken) {
        const std::size_t room = ring - under_way.size();
        ASSERT_LE(taken, std::min(offered.size(), room));
        ASSERT_GE(taken + (ring + 7) / 8, std::min(offered.size(), room));
        under_way += offered.substr(0, taken);
        total += taken;
    }

    [[nodiscard]] std::string front(std::size_t n) const { return under_way.substr(0, n); }
    void drop(std::size_t n) { under_way.erase(0, n); }
};

class Driver {
public:
    Driver(Random& random, End& from, End& to, std::uint32_t ring)
        : random_(random), from_(from), to_(to), model_{{}, ring} {}

    void step() {
        switch (random_() % 8) {
            case 0:
            case 1:
            case 2:
                return send_some();
            case 3:
                return reserve_and_commit();
            case 4:
                return peek_and_consume();
            default:
                return receive_some();
        }
    }

    void drain() {
        const auto all = receive(to_, model_.ring + 1);
        EXPECT_EQ(all.text, model_.under_way);
        EXPECT_EQ(from_.block.tx.bytes.load(), model_.total);
        EXPECT_EQ(to_.block.rx.bytes.load(), model_.total);
    }

private:
    std::size_t amount() {
        const std::size_t bounds[] = {4, model_.ring / 8 + 2, model_.ring + 10};
        return random_() % bounds[random_() % 3];
    }

    std::string fresh(std::size_t n) {
        std::string text(n, '\0');
        for (char& c : text) {
            c = static_cast<char>(next_++);
        }
        return text;
    }

    void send_some() {
        std::string text = fresh(amount());
        const std::size_t cut = text.empty() ? 0 : random_() % text.size();
        std::string skipped(random_() % 5, '!');
        const iovec buffers[] = {{skipped.data(), skipped.size()},
                                 {text.data(), cut},
                                 {nullptr, 0},
                                 {text.data() + cut, text.size() - cut}};
        const IoResult result = from_.tx.send(buffers, skipped.size());
        ASSERT_NE(result.status, IoStatus::error);
        model_.sent(text, result.bytes);
        next_ -= static_cast<unsigned char>(text.size() - result.bytes);
    }

    void reserve_and_commit() {
        const auto room = from_.tx.reserve();
        const std::size_t space = room.first.size() + room.second.size();
        const std::string text = fresh(std::min(amount(), space));
        for (std::size_t i = 0; i < text.size(); ++i) {
            const bool second = i >= room.first.size();
            (second ? room.second[i - room.first.size()] : room.first[i]) =
                static_cast<std::byte>(text[i]);
        }
        ASSERT_TRUE(from_.tx.commit(room, static_cast<std::uint32_t>(text.size())));
        model_.sent(text, text.size());
    }

    void receive_some() {
        const std::size_t wanted = amount();
        const ReceiveMode mode{.peek = random_() % 4 == 0, .discard = random_() % 8 == 0};
        const Received got = receive(to_, wanted, mode);
        const std::string expected = model_.front(wanted);
        ASSERT_EQ(got.result.bytes, expected.size());
        if (!mode.discard) {
            ASSERT_EQ(got.text, expected);
        }
        if (!mode.peek) {
            model_.drop(expected.size());
        }
    }

    void peek_and_consume() {
        const auto spans = to_.rx.peek_spans();
        std::string text;
        for (const auto& span : {spans.first, spans.second}) {
            for (const std::byte b : span) {
                text += std::to_integer<char>(b);
            }
        }
        ASSERT_EQ(text, model_.under_way);
        const std::size_t n = text.empty() ? 0 : random_() % (text.size() + 1);
        EXPECT_TRUE(to_.rx.consume(static_cast<std::uint32_t>(n)));
        model_.drop(n);
    }

    Random& random_;
    End& from_;
    End& to_;
    Oracle model_;
    unsigned char next_ = 0;
};

class Model : public ::testing::TestWithParam<bool> {};

TEST_P(Model, RandomOperationsOnBothDirections) {
    Random random(test_seed());
    for (int round = 0; round < 150; ++round) {
        const auto ring_a = static_cast<std::uint32_t>(8 + random() % 600);
        const auto ring_b = static_cast<std::uint32_t>(8 + random() % 600);
        Connection c = GetParam() ? Connection::copying(ring_a, ring_b) : Connection(ring_a, ring_b);
        Driver forth(random, *c.a, *c.b, ring_b);
        Driver back(random, *c.b, *c.a, ring_a);
        for (int i = 0; i < 400 && !::testing::Test::HasFatalFailure(); ++i) {
            (random() % 2 == 0 ? forth : back).step();
        }
        forth.drain();
        back.drain();
        ASSERT_TRUE(c.guards_intact() && !HasFailure()) << "round " << round;
    }
}

TEST_P(Model, WrapCounterPasses65535) {
    // A ring of eight bytes laps 70000 times.
    Connection c = GetParam() ? Connection::copying(8, 8) : Connection(8, 8);
    for (unsigned i = 0; i < 70000; ++i) {
        const std::string text{static_cast<char>(i), static_cast<char>(i >> 8U), 'c', 'd',
                               'e',                  'f',                        'g', 'h'};
        ASSERT_EQ(send(*c.a, text).bytes, 8U) << i;
        ASSERT_EQ(receive(*c.b, 9).text, text) << i;
    }
    EXPECT_EQ(unpack(c.b->channel.own.cdc->producer.load()).cursor,
              (Cursor{static_cast<std::uint16_t>(70000 - 65536), 0}));
}

INSTANTIATE_TEST_SUITE_P(Devices, Model, ::testing::Bool(), [](const auto& copying) {
    return copying.param ? "copying" : "attached";
});

} // namespace
} // namespace smcd::test
