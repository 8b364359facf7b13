// A report as one HTML file: for each figure a plot (SVG, drawn here) of the ways
// it was measured over, and the numbers as a table. It loads nothing.

#ifndef IM_BENCH_HTML_REPORT_H_
#define IM_BENCH_HTML_REPORT_H_

#include <string>

#include "bench/report.h"

namespace im::bench {

std::string ToHtml(const Report& report);

}  // namespace im::bench

#endif  // IM_BENCH_HTML_REPORT_H_
