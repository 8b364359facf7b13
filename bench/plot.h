// Plots of what was measured, as SVG: for each way a bar as long as its median,
// and a line over it from the least to the most that was seen.
//
// Within the HTML report a plot shows one figure, and takes its colours from the
// page. As a file it shows all figures of a scenario that have the same unit, one
// group of bars for each, on one scale; ways have the same colour in all files of
// a scenario. A file stands alone: it loads nothing, and has colours for light
// and for dark pages. The same report gives the same bytes.

#ifndef IM_BENCH_PLOT_H_
#define IM_BENCH_PLOT_H_

#include <string>
#include <vector>

#include "bench/report.h"
#include "bench/samples.h"

namespace im::bench {

// An element for a page whose style knows the classes ours, other and range.
std::string PlotForPage(const std::vector<const Row*>& rows);

struct PlotFile {
  std::string name;  // "peers_Gb-per-s.svg"
  std::string svg;
};
// In the order of the report's rows; of the named scenarios, or of all.
std::vector<PlotFile> PlotFiles(const Report& report,
                                const std::vector<std::string>& scenarios = {});

}  // namespace im::bench

#endif  // IM_BENCH_PLOT_H_
