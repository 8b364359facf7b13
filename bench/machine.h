// What a report must say about the machine, so that its figures mean something.

#ifndef IM_BENCH_MACHINE_H_
#define IM_BENCH_MACHINE_H_

#include <map>
#include <string>

namespace im::bench {

struct Machine {
  std::string cpu;
  int cpus = 0;
  double memory_gb = 0;
  std::string kernel;
  std::string governor;  // of the first processor's frequency; "" where there is none
  std::string commit;    // of the tree that im-bench was built in; "" outside of one
  std::map<std::string, std::string> versions;  // of the programs that take part
};

// `bin`: the folder of our programs.
Machine LookAtMachine(const std::string& bin);

}  // namespace im::bench

#endif  // IM_BENCH_MACHINE_H_
