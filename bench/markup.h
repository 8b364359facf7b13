// What the HTML report and the plots have in common: text within tags, numbers.

#ifndef IM_BENCH_MARKUP_H_
#define IM_BENCH_MARKUP_H_

#include <string>

namespace im::bench {

// For text between tags and in quoted attributes, of HTML and of SVG.
std::string EscapeMarkup(const std::string& text);

// Three digits or so: "0.0123", "15.16", "6,169".
std::string ShortNumber(double value);

// Ours, as against what it is compared with.
bool IsOurs(const std::string& way);

}  // namespace im::bench

#endif  // IM_BENCH_MARKUP_H_
