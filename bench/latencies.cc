#include "bench/latencies.h"

#include <algorithm>
#include <boost/histogram.hpp>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace im::bench {
namespace {

using LogAxis = boost::histogram::axis::regular<double, boost::histogram::axis::transform::log>;

// 20,733 bins of 0.1 % each.
constexpr double kLeastUs = 0.1, kMostUs = 1e8;
constexpr int kBins = 20'733;

}  // namespace

struct Latencies::Histogram {
  decltype(boost::histogram::make_histogram(LogAxis())) bins =
      boost::histogram::make_histogram(LogAxis(kBins, kLeastUs, kMostUs));
};

Latencies::Latencies() : histogram_(std::make_unique<Histogram>()) {}
Latencies::~Latencies() = default;
Latencies::Latencies(Latencies&&) noexcept = default;
Latencies& Latencies::operator=(Latencies&&) noexcept = default;

void Latencies::Add(double us) {
  histogram_->bins(us);
  min_us_ = count_ == 0 ? us : std::min(min_us_, us);
  max_us_ = count_ == 0 ? us : std::max(max_us_, us);
  ++count_;
}

double Latencies::Percentile(size_t per_mille) const {
  const size_t rank = std::max<size_t>(1, (count_ * per_mille + 999) / 1000);
  size_t below = 0;
  for (auto&& bin : boost::histogram::indexed(histogram_->bins, boost::histogram::coverage::all)) {
    below += static_cast<size_t>(*bin);
    // The last bin's centre is infinite.
    if (below >= rank) return std::clamp(bin.bin().center(), min_us_, max_us_);
  }
  return max_us_;
}

Percentiles Latencies::Get() const {
  IM_CHECK(count_ > 0);
  return {.p50_us = Percentile(500), .p99_us = Percentile(990), .p999_us = Percentile(999)};
}

void Percentiles::AddTo(Table& table, const std::string& what, const std::string& way) const {
  table.Add(what + "p50", way, "us", p50_us);
  table.Add(what + "p99", way, "us", p99_us);
  table.Add(what + "p99.9", way, "us", p999_us);
}

absl::StatusOr<Percentiles> PercentilesOfAnswer(const std::string& answer) {
  const auto bad = [&] { return absl::InternalError("no trips: " + answer.substr(0, 200)); };
  const auto json = nlohmann::json::parse(answer, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.value("ok", false)) return bad();
  const auto trips = json.find("trips_us");
  if (trips == json.end() || !trips->is_array() || trips->empty()) return bad();
  Latencies latencies;
  for (const auto& us : *trips) {
    if (!us.is_number()) return bad();
    latencies.Add(us.get<double>());
  }
  return latencies.Get();
}

absl::StatusOr<Percentiles> AskTrips(Process& peer, const std::string& command, int count) {
  IM_RETURN_IF_ERROR(peer.WriteLine(command));
  IM_ASSIGN_OR_RETURN(const std::string answer,
                      peer.ReadLine(kAnswerTimeout + std::chrono::milliseconds(10) * count));
  auto percentiles = PercentilesOfAnswer(answer);
  if (!percentiles.ok()) return Annotate(percentiles.status(), command);
  return percentiles;
}

}  // namespace im::bench
