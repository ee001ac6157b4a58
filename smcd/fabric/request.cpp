// Asking a fabric server, for commands. Floor 4, docs/smcu.md "smcu fabric".
#include "smcd/fabric/request.hpp"

#include <array>
#include <cstdio>
#include <utility>

#include <google/protobuf/message.h>
#include <nlohmann/json.hpp>

#include "smcd/fabric/management.hpp"
#include "smcd/fabric/serve.hpp"
#include "smcd/tools/command.hpp"

namespace smcd::fabric {

namespace {

using Json = nlohmann::ordered_json;
using google::protobuf::FieldDescriptor;

Json members_of(const google::protobuf::Message& message);

/// Kinds of fields that management.proto has.
Json value_of(const google::protobuf::Message& message, const FieldDescriptor& field) {
    const auto& reflection = *message.GetReflection();
    const auto type = field.cpp_type();
    if (type == FieldDescriptor::CPPTYPE_BOOL) {
        return reflection.GetBool(message, &field);
    }
    if (type == FieldDescriptor::CPPTYPE_UINT32) {
        return reflection.GetUInt32(message, &field);
    }
    if (type == FieldDescriptor::CPPTYPE_UINT64) {
        return reflection.GetUInt64(message, &field);
    }
    return type == FieldDescriptor::CPPTYPE_STRING ? Json(reflection.GetString(message, &field))
                                                   : Json(nullptr);
}

/// Numbers as numbers (Protobuf's own JSON makes texts of 64 bits), all fields, null for an
/// optional one that is not there.
Json members_of(const google::protobuf::Message& message) {
    const auto& reflection = *message.GetReflection();
    Json json = Json::object();
    for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
        const FieldDescriptor& field = *message.GetDescriptor()->field(i);
        if (field.is_repeated()) {
            json[field.name()] = Json::array();
            for (int item = 0; item < reflection.FieldSize(message, &field); ++item) {
                json[field.name()].push_back(
                    members_of(reflection.GetRepeatedMessage(message, &field, item)));
            }
            continue;
        }
        const bool there = !field.has_presence() || reflection.HasField(message, &field);
        json[field.name()] = there ? value_of(message, field) : Json(nullptr);
    }
    return json;
}

} // namespace

std::optional<pb::Reply>
ask_fabric(const char* command, const std::string& folder, const pb::Request& request) {
    const std::string path = management_path(folder);
    auto reply = ask(path, request);
    if (!reply) {
        tools::complain(command, "no fabric server on " + path + ": " + reply.error().message());
        return std::nullopt;
    }
    if (reply->what_case() == pb::Reply::kError) {
        tools::complain(command, reply->error());
        return std::nullopt;
    }
    return *std::move(reply);
}

int ask_to_drain(const char* command,
                 const std::string& folder,
                 const pb::Request& request,
                 bool json) {
    const auto reply = ask_fabric(command, folder, request);
    if (!reply) {
        return tools::kExitFailure;
    }
    const std::uint32_t peers = reply->drained().peers();
    if (json) {
        print_json("smcu.drain/1", "", reply->drained());
    } else {
        std::printf("%u peer%s %s\n",
                    peers,
                    peers == 1 ? "" : "s",
                    request.drain().undo() ? "may open new connections again" : "drained");
    }
    const bool nobody = peers == 0 && !request.drain().everybody();
    return nobody ? tools::kExitFailure : tools::kExitOk;
}

void print_json(const char* schema, const char* key, const google::protobuf::Message& message) {
    nlohmann::ordered_json document{
        {"schema", schema}
    };
    nlohmann::ordered_json members = members_of(message);
    if (*key != '\0') {
        document[key] = std::move(members);
    } else {
        document.update(members);
    }
    std::puts(document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

std::string bytes_text(std::uint64_t bytes) {
    constexpr std::array<const char*, 4> kUnits{" B", " KiB", " MiB", " GiB"};
    std::size_t unit = 0;
    while (unit + 1 < kUnits.size() && bytes >= 1024 && bytes % 1024 == 0) {
        bytes /= 1024;
        ++unit;
    }
    return std::to_string(bytes) + kUnits[unit];
}

} // namespace smcd::fabric
