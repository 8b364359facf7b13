#include "orchestrator/agent/criu_images.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace im::agent {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::string Sized(const std::string& message) {
  const uint32_t size = static_cast<uint32_t>(message.size());
  return absl::StrCat(std::string(reinterpret_cast<const char*>(&size), sizeof size), message);
}
const std::string kMagic(8, 'm');

proto::CriuInetSocket Socket() {
  proto::CriuInetSocket socket;
  socket.set_ino(0x1a2b);
  socket.set_family(2);
  socket.set_proto(6);
  socket.set_state(1);
  socket.set_src_port(6379);
  socket.set_dst_port(40000);
  socket.add_src_addr(0x02004d0a);  // 10.77.0.2 in memory
  socket.add_dst_addr(0x03004d0a);
  return socket;
}

proto::CriuTcpStream Stream() {
  proto::CriuTcpStream stream;
  stream.set_inq_seq(1000);
  stream.set_outq_seq(5000);
  stream.set_opt_mask(1 | 4);
  stream.set_rcv_wscale(7);
  stream.set_rcv_wnd(64 << 7);
  stream.set_timestamp(77);
  return stream;
}

TEST(CriuImages, MessagesStandBehindTheirSizes) {
  EXPECT_THAT(ImageMessages(kMagic + Sized("one") + Sized("") + Sized("three")),
              ElementsAre("one", "", "three"));
  EXPECT_THAT(ImageMessages(kMagic + Sized("one") + "\xff\xff\xff\x7fshort"), ElementsAre("one"));
  EXPECT_THAT(ImageMessages(kMagic + "ab"), IsEmpty());
  EXPECT_THAT(ImageMessages("short"), IsEmpty());
}

TEST(CriuImages, AConnectionIsWhatItsTwoImagesSay) {
  proto::CriuTcpStream stream = Stream();
  const auto connection = ConnectionOf(Socket(), stream);
  ASSERT_TRUE(connection.has_value());
  EXPECT_EQ(connection->peer(), std::string("\x0a\x4d\x00\x03", 4));
  EXPECT_EQ(connection->port(), 6379u);
  EXPECT_EQ(connection->peer_port(), 40000u);
  EXPECT_EQ(connection->receive_next(), 1000u);
  EXPECT_EQ(connection->send_next(), 5000u);
  EXPECT_EQ(connection->window(), 64u);
  EXPECT_EQ(connection->timestamp(), 77u);
  EXPECT_FALSE(connection->unacknowledged());
  EXPECT_FALSE(connection->unsent());

  stream.set_outq_len(300);  // of which 100 were never sent
  stream.set_unsq_len(100);
  stream.set_opt_mask(0);
  const auto busy = ConnectionOf(Socket(), stream);
  EXPECT_EQ(busy->send_next(), 4900u);
  EXPECT_TRUE(busy->unacknowledged());
  EXPECT_TRUE(busy->unsent());
  EXPECT_FALSE(busy->has_timestamp());
  EXPECT_EQ(busy->window(), 64u << 7);
}

TEST(CriuImages, AnAddressOfV4InASocketOfV6IsOne) {
  proto::CriuInetSocket socket = Socket();
  socket.set_family(10);
  socket.clear_dst_addr();
  for (const uint32_t word : {0u, 0u, 0xffff0000u, 0x03004d0au}) socket.add_dst_addr(word);
  EXPECT_EQ(ConnectionOf(socket, Stream())->peer(), std::string("\x0a\x4d\x00\x03", 4));
}

TEST(CriuImages, AnAddressOfV6IsKeptUnlessItIsTheMachineItself) {
  proto::CriuInetSocket socket = Socket();
  socket.set_family(10);
  socket.clear_dst_addr();
  for (const uint32_t word : {0x770000fdu, 0u, 0u, 0x03004d0au}) socket.add_dst_addr(word);
  EXPECT_EQ(ConnectionOf(socket, Stream())->peer(),
            std::string("\xfd\0\0\x77\0\0\0\0\0\0\0\0\x0a\x4d\x00\x03", 16));
  socket.clear_dst_addr();
  for (const uint32_t word : {0u, 0u, 0u, 0x01000000u}) socket.add_dst_addr(word);
  EXPECT_FALSE(ConnectionOf(socket, Stream()).has_value());
}

TEST(CriuImages, WhatIsNoConnectionWithAnotherHostIsNone) {
  proto::CriuInetSocket socket = Socket();
  socket.set_state(10);  // listens
  EXPECT_FALSE(ConnectionOf(socket, Stream()).has_value());
  socket = Socket();
  socket.set_proto(17);
  EXPECT_FALSE(ConnectionOf(socket, Stream()).has_value());
  socket = Socket();
  socket.set_dst_addr(0, 0x0100007f);
  EXPECT_FALSE(ConnectionOf(socket, Stream()).has_value());
  socket.clear_dst_addr();
  EXPECT_FALSE(ConnectionOf(socket, Stream()).has_value());
}

TEST(CriuImages, ConnectionsAreFoundInADirectory) {
  std::string directory = testing::TempDir() + "/imagesXXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  EXPECT_THAT(ReadConnections(directory), IsEmpty());
  proto::CriuFile file, other;
  file.set_type(4);
  *file.mutable_isk() = Socket();
  other.set_type(1);
  std::ofstream(directory + "/files.img")
      << kMagic << Sized(other.SerializeAsString()) << Sized(file.SerializeAsString());
  EXPECT_THAT(ReadConnections(directory), IsEmpty());  // its stream is missing
  std::ofstream(directory + "/tcp-stream-1a2b.img")
      << kMagic << Sized(Stream().SerializeAsString()) << "what is in its queues";
  ASSERT_EQ(ReadConnections(directory).size(), 1u);
  EXPECT_EQ(ReadConnections(directory)[0].receive_next(), 1000u);
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace im::agent
