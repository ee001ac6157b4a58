// Writing pcap files and running tshark. Floor 4.
#include "tests/clc/capture.hpp"

#include <sys/wait.h>

#include <cstdio>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "smcd/base/bytes.hpp"

namespace smcd::test {
namespace {

constexpr std::uint32_t kClientAddress = 0x0A000001;
constexpr std::uint32_t kServerAddress = 0x0A000002;
constexpr std::uint16_t kServerPort = 7777;
constexpr unsigned kSyn = 0x02;
constexpr unsigned kPush = 0x08;
constexpr unsigned kAck = 0x10;

class Packet {
public:
    template <typename T>
    Packet& be(T value) {
        for (std::size_t i = sizeof(T); i-- > 0;) {
            bytes_.push_back(static_cast<std::byte>(value >> (8 * i)));
        }
        return *this;
    }

    Packet& append(std::span<const std::byte> data) {
        bytes_.insert(bytes_.end(), data.begin(), data.end());
        return *this;
    }

    void patch16(std::size_t offset, std::uint16_t value) {
        bytes_[offset] = static_cast<std::byte>(value >> 8U);
        bytes_[offset + 1] = static_cast<std::byte>(value);
    }

    [[nodiscard]] const Bytes& bytes() const { return bytes_; }

private:
    Bytes bytes_;
};

std::uint16_t checksum(const Bytes& bytes) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        sum += std::to_integer<std::uint32_t>(bytes[i]) << (i % 2 == 0 ? 8U : 0U);
    }
    while ((sum >> 16U) != 0) {
        sum = (sum & 0xFFFFU) + (sum >> 16U);
    }
    return static_cast<std::uint16_t>(~sum);
}

class Capture {
public:
    explicit Capture(const std::string& path) : file_(path, std::ios::binary) {
        constexpr std::uint32_t kEthernet = 1;
        le(0xA1B2C3D4);
        le(0x00040002);
        le(0);
        le(0);
        le(65535);
        le(kEthernet);
    }

    void conversation(const Conversation& segments) {
        ++client_port_;
        next_ = {1000, 2000};
        send(true, kSyn, true, {});
        send(false, kSyn | kAck, true, {});
        send(true, kAck, false, {});
        for (const Segment& segment : segments) {
            send(segment.from_client, kPush | kAck, false, segment.bytes);
        }
    }

private:
    void le(std::uint32_t value) {
        for (unsigned i = 0; i < 4; ++i) {
            file_.put(static_cast<char>(value >> (8 * i)));
        }
    }

    void send(bool from_client, unsigned flags, bool with_option, const Bytes& data) {
        const Bytes option = with_option ? from_hex("0101fe06e2d4c3d9") : Bytes();
        const std::size_t own = from_client ? 0 : 1;
        const std::uint32_t source = from_client ? kClientAddress : kServerAddress;
        const std::uint32_t target = from_client ? kServerAddress : kClientAddress;
        Packet tcp;
        tcp.be(from_client ? client_port_ : kServerPort);
        tcp.be(from_client ? kServerPort : client_port_);
        tcp.be(next_.at(own)).be((flags & kAck) != 0 ? next_.at(1 - own) : 0);
        tcp.be(static_cast<std::uint8_t>((20 + option.size()) / 4 << 4U));
        tcp.be(static_cast<std::uint8_t>(flags));
        tcp.be(std::uint16_t{65535}).be(std::uint32_t{0}).append(option).append(data);
        Packet pseudo;
        pseudo.be(source).be(target).be(std::uint16_t{6});
        pseudo.be(static_cast<std::uint16_t>(tcp.bytes().size())).append(tcp.bytes());
        tcp.patch16(16, checksum(pseudo.bytes()));
        Packet ip;
        ip.be(std::uint16_t{0x4500}).be(static_cast<std::uint16_t>(20 + tcp.bytes().size()));
        ip.be(std::uint32_t{0}).be(std::uint16_t{0x4006}).be(std::uint16_t{0});
        ip.be(source).be(target);
        ip.patch16(10, checksum(ip.bytes()));
        frame(from_hex("0200000000020200000000010800") + ip.bytes() + tcp.bytes());
        next_.at(own) += static_cast<std::uint32_t>(data.size()) + ((flags & kSyn) != 0 ? 1 : 0);
    }

    void frame(const Bytes& bytes) {
        le(++seconds_);
        le(0);
        le(static_cast<std::uint32_t>(bytes.size()));
        le(static_cast<std::uint32_t>(bytes.size()));
        file_.write(reinterpret_cast<const char*>(bytes.data()),
                    static_cast<std::streamsize>(bytes.size()));
    }

    std::ofstream file_;
    std::uint32_t seconds_ = 0;
    std::uint16_t client_port_ = 40000;
    std::array<std::uint32_t, 2> next_{};
};

} // namespace

void write_capture(const std::string& path, const std::vector<Conversation>& conversations) {
    Capture capture(path);
    for (const Conversation& one : conversations) {
        capture.conversation(one);
    }
}

std::vector<std::string> tshark(const std::string& arguments) {
    std::vector<std::string> lines;
    const std::string command = "tshark -n -o tcp.check_checksum:TRUE -o ip.check_checksum:TRUE " +
                                arguments + " 2>/dev/null";
    std::FILE* pipe = ::popen(command.c_str(), "r");
    if (pipe == nullptr) {
        ADD_FAILURE() << "cannot run " << command;
        return lines;
    }
    std::string text;
    std::array<char, 4096> buffer{};
    while (const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) {
        text.append(buffer.data(), n);
    }
    const int status = ::pclose(pipe);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0)
        << "tshark is missing or failed (status " << status << "): " << command;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) {
        lines.push_back(line);
    }
    return lines;
}

} // namespace smcd::test
