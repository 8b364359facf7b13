#include "netstack/c/library.h"

#include <cerrno>
#include <utility>

#include "netstack/net_error.h"

namespace im::netstack {
namespace {

thread_local std::string last_message;

void CloseObject(const Library::Object& object) {
  if (const auto* stream = std::get_if<std::shared_ptr<SharedStream>>(&object)) (*stream)->Close();
  if (const auto* listener = std::get_if<std::shared_ptr<SharedListener>>(&object))
    (*listener)->Close();
  if (const auto* udp = std::get_if<std::shared_ptr<SharedUdp>>(&object)) (*udp)->Close();
}

}  // namespace

Library& Library::Get() {
  // Never destroyed: threads may still be in it when the process ends.
  static Library* const library = new Library();
  return *library;
}

int Library::Fail(int error, std::string message) {
  last_message = std::move(message);
  errno = error;
  return -1;
}

int Library::Fail(const absl::Status& status) {
  return Fail(NetErrno(status), std::string(status.message()));
}

const std::string& Library::message() { return last_message; }

int Library::Start() {
  const std::lock_guard lock(mutex_);
  if (thread_ != nullptr) return Fail(EALREADY, "there is a stack in this process");
  absl::StatusOr<std::shared_ptr<StackThread>> thread = StackThread::Create();
  if (absl::IsAlreadyExists(thread.status()))
    return Fail(EALREADY, std::string(thread.status().message()));
  if (!thread.ok()) return Fail(thread.status());
  thread_ = *std::move(thread);
  return 0;
}

int Library::Stop() {
  const std::shared_ptr<StackThread> going = thread();
  if (going == nullptr) return -1;
  if (going->OnOwnThread()) return Fail(EDEADLK, "called from an output function");
  {
    const std::lock_guard lock(mutex_);
    if (thread_ != going) return Fail(ECANCELED, "there is no stack");  // another stops it
    thread_.reset();
    nics_.clear();
  }
  going->Stop();  // its thread may be on its way into the table of interfaces
  return 0;
}

std::shared_ptr<StackThread> Library::thread() {
  const std::lock_guard lock(mutex_);
  if (thread_ == nullptr) Fail(ECANCELED, "there is no stack");
  return thread_;
}

Readiness* Library::ReadinessOf(const Object& object) {
  if (const auto* stream = std::get_if<std::shared_ptr<SharedStream>>(&object))
    return stream->get();
  if (const auto* listener = std::get_if<std::shared_ptr<SharedListener>>(&object))
    return listener->get();
  if (const auto* udp = std::get_if<std::shared_ptr<SharedUdp>>(&object)) return udp->get();
  return nullptr;
}

int Library::Add(Object object) {
  const int handle = ReadinessOf(object)->poll_fd();
  if (handle < 0) {
    CloseObject(object);
    return Fail(EMFILE, "no descriptor is free");
  }
  const std::lock_guard lock(mutex_);
  Object& place = objects_[handle];
  if (Readiness* old = ReadinessOf(place)) {
    old->TakePollFd().Release();  // closed by the program, behind our back
    CloseObject(place);
  }
  place = std::move(object);
  return handle;
}

Library::Object Library::Find(int handle) {
  const std::lock_guard lock(mutex_);
  const auto it = objects_.find(handle);
  if (it != objects_.end()) return it->second;
  Fail(EBADF, "not a handle");
  return {};
}

int Library::Close(int handle) {
  Object object;
  {
    const std::lock_guard lock(mutex_);
    const auto it = objects_.find(handle);
    if (it == objects_.end()) return Fail(EBADF, "not a handle");
    object = std::move(it->second);
    objects_.erase(it);
    // Before anyone else can get the number.
    ReadinessOf(object)->TakePollFd();
  }
  CloseObject(object);
  return 0;
}

int Library::AddNic(LibraryNic nic) {
  const std::lock_guard lock(mutex_);
  const int number = nic.numbers.front();
  nics_[number] = std::move(nic);
  return number;
}

std::optional<LibraryNic> Library::FindNic(int number) {
  const std::lock_guard lock(mutex_);
  const auto it = nics_.find(number);
  if (it != nics_.end()) return it->second;
  Fail(EBADF, "not an interface");
  return std::nullopt;
}

std::optional<LibraryNic> Library::TakeNic(int number) {
  const std::lock_guard lock(mutex_);
  auto node = nics_.extract(number);
  if (node) return std::move(node.mapped());
  Fail(EBADF, "not an interface");
  return std::nullopt;
}

}  // namespace im::netstack
