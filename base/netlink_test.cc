// Against the kernel, in a network namespace of its own. Skipped where that is
// not permitted.

#include "base/netlink.h"

#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <net/if.h>
#include <sys/socket.h>

#include <functional>
#include <thread>

#include "base/file_descriptor.h"
#include "gtest/gtest.h"

namespace im {
namespace {

void InNamespace(const std::function<void()>& body) {
  bool permitted = true;
  std::thread thread([&] {
    permitted = unshare(CLONE_NEWNET) == 0;
    if (permitted) body();
  });
  thread.join();
  if (!permitted) GTEST_SKIP() << "needs network namespaces";
}

IpAddress Address(const char* text) { return *IpAddress::Parse(text); }

// The source address that the kernel would choose, or nothing without a route.
std::optional<IpAddress> SourceFor(const IpAddress& destination) {
  sockaddr_storage address = {};
  const socklen_t size = Endpoint{destination, 9}.ToSockaddr(address);
  FileDescriptor fd(socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0) return std::nullopt;
  sockaddr_storage local = {};
  socklen_t local_size = sizeof(local);
  if (getsockname(fd.get(), reinterpret_cast<sockaddr*>(&local), &local_size) != 0) {
    return std::nullopt;
  }
  return Endpoint::FromSockaddr(local).address;
}

TEST(NetlinkTest, AddressesAndRoutesOfBothFamilies) {
  InNamespace([] {
    EXPECT_FALSE(SourceFor(Address("10.77.3.4")));
    ASSERT_TRUE(SetLinkUp("lo").ok());
    for (const char* text : {"10.77.0.3", "fd77::3"}) {
      const IpAddress address = Address(text);
      const int length = address.is_v4() ? 16 : 64;
      const absl::Status status = AddAddress("lo", address, length);
      ASSERT_TRUE(status.ok()) << status;
      EXPECT_TRUE(AddAddress("lo", address, length).ok()) << "again";
    }
    EXPECT_EQ(SourceFor(Address("10.77.0.3")), Address("10.77.0.3"));
    EXPECT_EQ(SourceFor(Address("fd77::3")), Address("fd77::3"));

    EXPECT_FALSE(SourceFor(Address("192.0.2.1")));
    ASSERT_TRUE(AddRoute("lo", *IpPrefix::Parse("192.0.2.0/24")).ok());
    EXPECT_TRUE(SourceFor(Address("192.0.2.1")));
    const absl::Status v6_route = AddRoute("lo", *IpPrefix::Parse("2001:db8::/32"));
    ASSERT_TRUE(v6_route.ok()) << v6_route;
    EXPECT_TRUE(SourceFor(Address("2001:db8::1")));
    ASSERT_TRUE(AddRoute("lo", *IpPrefix::Parse("0.0.0.0/0")).ok());
    EXPECT_TRUE(SourceFor(Address("198.51.100.1")));
  });
}

TEST(NetlinkTest, TheMtuIsSet) {
  InNamespace([] {
    ASSERT_TRUE(SetLinkMtu("lo", 1420).ok());
    FileDescriptor fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request = {};
    request.ifr_name[0] = 'l';
    request.ifr_name[1] = 'o';
    ASSERT_EQ(ioctl(fd.get(), SIOCGIFMTU, &request), 0);
    EXPECT_EQ(request.ifr_mtu, 1420);
  });
}

TEST(NetlinkTest, FailuresNameTheAttempt) {
  InNamespace([] {
    const absl::StatusOr<int> index = LinkIndex("none0");
    EXPECT_TRUE(absl::IsNotFound(index.status()));
    EXPECT_TRUE(absl::IsNotFound(SetLinkUp("none0")));
    const absl::Status status = AddAddress("lo", Address("10.0.0.1"), 99);
    EXPECT_FALSE(status.ok());
    EXPECT_NE(status.ToString().find("10.0.0.1/99"), std::string::npos) << status;
  });
}

}  // namespace
}  // namespace im
