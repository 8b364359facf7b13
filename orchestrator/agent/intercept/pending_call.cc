#include "orchestrator/agent/intercept/pending_call.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <utility>

#include "orchestrator/agent/intercept/program_process.h"

namespace im::agent {

std::optional<PendingCall> PendingCall::Receive(const std::shared_ptr<FileDescriptor>& listener) {
  seccomp_notif notification = {};
  if (ioctl(listener->get(), SECCOMP_IOCTL_NOTIF_RECV, &notification) != 0) return std::nullopt;
  PendingCall call;
  call.listener_ = listener;
  call.id_ = notification.id;
  call.thread_ = static_cast<pid_t>(notification.pid);
  call.number_ = notification.data.nr;
  for (size_t i = 0; i < call.args_.size(); ++i) call.args_[i] = notification.data.args[i];
  return call;
}

PendingCall& PendingCall::operator=(PendingCall&& other) noexcept {
  if (this == &other) return *this;
  if (listener_ != nullptr) Fail(ECONNABORTED);
  listener_ = std::move(other.listener_);
  id_ = other.id_;
  thread_ = other.thread_;
  number_ = other.number_;
  args_ = other.args_;
  return *this;
}

PendingCall::~PendingCall() {
  if (listener_ != nullptr) Fail(ECONNABORTED);
}

bool PendingCall::Alive() const {
  return listener_ != nullptr &&
         ioctl(listener_->get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id_) == 0;
}

int PendingCall::Read(uint64_t address, void* to, size_t size) const {
  const int error = ReadProgram(thread_, address, to, size);
  return Alive() ? error : ESRCH;
}

int PendingCall::Write(uint64_t address, const void* from, size_t size) const {
  return WriteProgram(thread_, address, from, size, [this] { return Alive(); });
}

FileDescriptor PendingCall::TakeFd(int fd, int& error) const {
  FileDescriptor taken = TakeProgramFd(thread_, fd, error);
  if (Alive()) return taken;
  error = ESRCH;
  return FileDescriptor();
}

bool PendingCall::Send(int64_t value, int error, uint32_t flags) {
  const std::shared_ptr<FileDescriptor> listener = std::exchange(listener_, nullptr);
  if (listener == nullptr) return false;
  seccomp_notif_resp response = {};
  response.id = id_;
  response.val = value;
  response.error = -error;
  response.flags = flags;
  return ioctl(listener->get(), SECCOMP_IOCTL_NOTIF_SEND, &response) == 0;
}

bool PendingCall::Return(int64_t value) { return Send(value, 0, 0); }

bool PendingCall::Fail(int error) { return Send(0, error, 0); }

bool PendingCall::Continue() { return Send(0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE); }

bool PendingCall::ReplaceFd(int fd, int number, bool close_on_exec) const {
  if (listener_ == nullptr) return false;
  seccomp_notif_addfd add = {};
  add.id = id_;
  add.flags = SECCOMP_ADDFD_FLAG_SETFD;
  add.srcfd = static_cast<uint32_t>(fd);
  add.newfd = static_cast<uint32_t>(number);
  add.newfd_flags = close_on_exec ? O_CLOEXEC : 0;
  return ioctl(listener_->get(), SECCOMP_IOCTL_NOTIF_ADDFD, &add) >= 0;
}

bool PendingCall::ReturnFd(int fd, bool close_on_exec) {
  if (listener_ == nullptr) return false;
  seccomp_notif_addfd add = {};
  add.id = id_;
  add.flags = SECCOMP_ADDFD_FLAG_SEND;
  add.srcfd = static_cast<uint32_t>(fd);
  add.newfd_flags = close_on_exec ? O_CLOEXEC : 0;
  if (ioctl(listener_->get(), SECCOMP_IOCTL_NOTIF_ADDFD, &add) >= 0) {
    listener_ = nullptr;
    return true;
  }
  if (errno == ENOENT) {
    listener_ = nullptr;
  } else {
    Fail(errno);
  }
  return false;
}

}  // namespace im::agent
