#include "orchestrator/cli/json.h"

#include <google/protobuf/descriptor.h>

#include <cstdint>
#include <map>
#include <span>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/ip_address.h"

namespace im::orchestrator::cli {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string BytesText(const std::string& bytes) {
  if (bytes.size() != 4 && bytes.size() != 16) return absl::BytesToHexString(bytes);
  return IpAddress::FromBytes(
             std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()))
      .ToString();
}

// Element `index` of a repeated field; -1: the field itself.
std::string FieldText(const Message& message, const FieldDescriptor& field, int index) {
  const Reflection& r = *message.GetReflection();
  const bool at = index >= 0;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return absl::StrCat(at ? r.GetRepeatedInt32(message, &field, index)
                             : r.GetInt32(message, &field));
    case FieldDescriptor::CPPTYPE_INT64:
      return absl::StrCat(at ? r.GetRepeatedInt64(message, &field, index)
                             : r.GetInt64(message, &field));
    case FieldDescriptor::CPPTYPE_UINT32:
      return absl::StrCat(at ? r.GetRepeatedUInt32(message, &field, index)
                             : r.GetUInt32(message, &field));
    case FieldDescriptor::CPPTYPE_UINT64:
      return absl::StrCat(at ? r.GetRepeatedUInt64(message, &field, index)
                             : r.GetUInt64(message, &field));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return absl::StrCat(at ? r.GetRepeatedDouble(message, &field, index)
                             : r.GetDouble(message, &field));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return absl::StrCat(at ? r.GetRepeatedFloat(message, &field, index)
                             : r.GetFloat(message, &field));
    case FieldDescriptor::CPPTYPE_BOOL:
      return (at ? r.GetRepeatedBool(message, &field, index) : r.GetBool(message, &field))
                 ? "true"
                 : "false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return JsonString((at ? r.GetRepeatedEnum(message, &field, index)
                            : r.GetEnum(message, &field))
                            ->name());
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::string text = at ? r.GetRepeatedString(message, &field, index)
                                  : r.GetString(message, &field);
      return JsonString(field.type() == FieldDescriptor::TYPE_BYTES ? BytesText(text) : text);
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return ToJson(at ? r.GetRepeatedMessage(message, &field, index)
                       : r.GetMessage(message, &field));
  }
  return "null";
}

std::string MapText(const Message& message, const FieldDescriptor& field) {
  const Reflection& r = *message.GetReflection();
  const FieldDescriptor* key = field.message_type()->FindFieldByNumber(1);
  const FieldDescriptor* value = field.message_type()->FindFieldByNumber(2);
  std::map<std::string, std::string> sorted;
  for (int i = 0; i < r.FieldSize(message, &field); ++i) {
    const Message& entry = r.GetRepeatedMessage(message, &field, i);
    sorted[entry.GetReflection()->GetString(entry, key)] = FieldText(entry, *value, -1);
  }
  return absl::StrCat("{",
                      absl::StrJoin(sorted, ",",
                                    [](std::string* out, const auto& pair) {
                                      absl::StrAppend(out, JsonString(pair.first), ":",
                                                      pair.second);
                                    }),
                      "}");
}

}  // namespace

std::string ToJson(const Message& message) {
  std::vector<std::string> members;
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor& field = *message.GetDescriptor()->field(i);
    std::string text;
    if (field.is_map()) {
      text = MapText(message, field);
    } else if (field.is_repeated()) {
      std::vector<std::string> items;
      for (int j = 0; j < message.GetReflection()->FieldSize(message, &field); ++j) {
        items.push_back(FieldText(message, field, j));
      }
      text = absl::StrCat("[", absl::StrJoin(items, ","), "]");
    } else if (field.has_presence() && !message.GetReflection()->HasField(message, &field)) {
      continue;
    } else {
      text = FieldText(message, field, -1);
    }
    members.push_back(absl::StrCat("\"", std::string(field.name()), "\":", text));
  }
  return absl::StrCat("{", absl::StrJoin(members, ","), "}");
}

std::string JsonString(absl::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (static_cast<uint8_t>(c) < 0x20) {
      absl::StrAppendFormat(&out, "\\u%04x", static_cast<unsigned>(c));
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
  return out;
}

std::string ToJson(const std::vector<Diagnostic>& diagnostics) {
  std::vector<std::string> items;
  for (const Diagnostic& d : diagnostics) {
    items.push_back(absl::StrCat("{\"file\":", JsonString(d.file), ",\"line\":", d.at.line,
                                 ",\"column\":", d.at.column, ",\"message\":",
                                 JsonString(d.message), ",\"hint\":", JsonString(d.hint), "}"));
  }
  return absl::StrCat("[", absl::StrJoin(items, ","), "]");
}

}  // namespace im::orchestrator::cli
