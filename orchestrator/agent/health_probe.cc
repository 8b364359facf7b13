#include "orchestrator/agent/health_probe.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "orchestrator/agent/exec_server.h"

namespace im::agent {

absl::Status HealthProbe::Run(EventLoop& loop, Sandbox& sandbox) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoStatus("pipe");
  output_ = FileDescriptor(ends[0]);
  const FileDescriptor written(ends[1]);
  // Ours alone: a test that writes must find an ordinary pipe.
  if (fcntl(output_.get(), F_SETFL, O_NONBLOCK) != 0) return ErrnoStatus("fcntl");
  const FileDescriptor null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!null.valid()) return ErrnoStatus("open /dev/null");
  end_.clear();
  watch_ = loop.WatchFd(output_.get(), EPOLLIN, [this](uint32_t) { Read(); });
  proto::ExecRequest request;
  *request.mutable_argv() = check_.argv();
  request.set_inherit_user(true);
  const int fds[] = {null.get(), written.get(), written.get()};
  return sandbox.RunSession(kSession, request, fds);
}

void HealthProbe::Read() {
  char buffer[4096];
  ssize_t size;
  while ((size = read(output_.get(), buffer, sizeof(buffer))) > 0) {
    end_.append(buffer, static_cast<size_t>(size));
    if (end_.size() > kOutputMax) end_.erase(0, end_.size() - kOutputMax);
  }
  if (size == 0) watch_.Reset();
}

std::string HealthProbe::OnEnded(int wait_status, const std::string& error) {
  if (output_.valid()) Read();
  watch_.Reset();
  output_.Reset();
  if (!error.empty()) return error;
  if (wait_status == 0) return "";
  const std::string code = absl::StrCat("exit code ", ExitCodeOf(wait_status));
  // Words of a program end in messages and on terminals.
  const std::vector<std::string> lines =
      absl::StrSplit(absl::StripTrailingAsciiWhitespace(end_), '\n');
  std::string last = lines.back();
  for (char& c : last) c = absl::ascii_iscntrl(c) ? ' ' : c;
  return last.empty() ? code : absl::StrCat(code, ": ", last);
}

}  // namespace im::agent
