#include "orchestrator/cli/qr_code.h"

#include <qrencode.h>

#include <memory>

#include "absl/strings/str_cat.h"

namespace im::orchestrator::cli {
namespace {

constexpr int kQuietZone = 4;  // modules; ISO/IEC 18004 6.3.8
// White on black, of the 256 colours' fixed part: whatever the user's own two are.
constexpr char kWhiteOnBlack[] = "\x1b[38;5;231;48;5;16m";
constexpr char kReset[] = "\x1b[0m";

class Modules {
 public:
  explicit Modules(const QRcode& code) : code_(code) {}
  int size() const { return code_.width + 2 * kQuietZone; }
  // Outside the code, in the quiet zone and beyond it, all is light.
  bool light(int row, int column) const {
    row -= kQuietZone;
    column -= kQuietZone;
    if (row < 0 || column < 0 || row >= code_.width || column >= code_.width) return true;
    return (code_.data[row * code_.width + column] & 1) == 0;
  }

 private:
  const QRcode& code_;
};

}  // namespace

absl::StatusOr<std::string> QrCode(absl::string_view text, const Terminal& terminal) {
  const std::unique_ptr<QRcode, void (*)(QRcode*)> code(
      QRcode_encodeString(std::string(text).c_str(), /*version=*/0, QR_ECLEVEL_L, QR_MODE_8,
                          /*casesensitive=*/1),
      QRcode_free);
  if (code == nullptr) return absl::InvalidArgumentError("too long for a QR code");
  const Modules modules(*code);
  std::string out;
  for (int row = 0; row < modules.size(); row += terminal.unicode ? 2 : 1) {
    if (terminal.colours) out += kWhiteOnBlack;
    for (int column = 0; column < modules.size(); ++column) {
      const bool upper = modules.light(row, column);
      if (!terminal.unicode) {
        out += upper ? "##" : "  ";
        continue;
      }
      const bool lower = modules.light(row + 1, column);
      out += upper ? (lower ? "█" : "▀") : (lower ? "▄" : " ");
    }
    if (terminal.colours) out += kReset;
    out += "\n";
  }
  return out;
}

}  // namespace im::orchestrator::cli
