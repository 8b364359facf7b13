#include "orchestrator/agent/program_output.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

namespace im::agent {

absl::StatusOr<std::unique_ptr<ProgramOutput>> ProgramOutput::Open(
    const proto::StartRequest& request) {
  std::unique_ptr<ProgramOutput> output(new ProgramOutput());
  if (request.log_path().empty()) return output;
  IM_ASSIGN_OR_RETURN(output->log_, LogFile::Open({request.log_path(), request.log_bytes_max(),
                                                   request.log_files_max()}));
  output->null_ = FileDescriptor(open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!output->null_.valid()) return ErrnoStatus("open /dev/null");
  if (request.log_bytes_max() == 0 && !request.has_checkpointing()) return output;
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return ErrnoStatus("pipe");
  output->our_side_ = FileDescriptor(fds[0]);
  output->program_side_ = FileDescriptor(fds[1]);
  IM_RETURN_IF_ERROR(output->our_side_.SetNonBlocking());
  return output;
}

std::array<int, 3> ProgramOutput::stdio() const {
  if (log_ == nullptr) return {-1, -1, -1};
  const int out = program_side_.valid() ? program_side_.get() : log_->fd();
  return {null_.get(), out, out};
}

uint64_t ProgramOutput::pipe_inode() const {
  struct stat info = {};
  return our_side_.valid() && fstat(our_side_.get(), &info) == 0 ? info.st_ino : 0;
}

void ProgramOutput::CloseProgramSide() {
  null_.Reset();
  program_side_.Reset();
}

void ProgramOutput::Watch(EventLoop& loop) {
  if (!our_side_.valid()) return;
  watch_ = loop.WatchFd(our_side_.get(), EPOLLIN, [this](uint32_t) {
    if (!log_->ReadFrom(our_side_.get())) watch_.Reset();  // the program closed it
  });
}

void ProgramOutput::Drain() {
  watch_.Reset();
  if (!our_side_.valid()) return;
  const int flags = fcntl(our_side_.get(), F_GETFL);
  fcntl(our_side_.get(), F_SETFL, flags & ~O_NONBLOCK);
  while (log_->ReadFrom(our_side_.get())) {
  }
  our_side_.Reset();
}

}  // namespace im::agent
