# What Debian's packages give us. Names of packages: see the script `setup`.
find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(Protobuf REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(GTest REQUIRED)
# For micro-benchmarks; without it they are left out.
find_package(benchmark QUIET)
find_package(PkgConfig REQUIRED)
pkg_check_modules(GRPCPP REQUIRED IMPORTED_TARGET grpc++)
pkg_check_modules(SODIUM REQUIRED IMPORTED_TARGET libsodium)
# Images of containers.
pkg_check_modules(ARCHIVE REQUIRED IMPORTED_TARGET libarchive)
# QR codes of im peer.
pkg_check_modules(QRENCODE REQUIRED IMPORTED_TARGET libqrencode)
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp)
# Boost.Histogram, of im-bench: headers alone.
find_path(IM_BOOST_INCLUDE_DIR boost/histogram.hpp REQUIRED)
# For processors with vector units (amd64 alone has the package); else OpenSSL
# does all. The archive is preferred: it costs a program no start, and only the
# parts that are used take memory.
option(IM_IPSEC_MB "Use Intel's IPsec-MB where it is installed" ON)
set(IM_IPSEC_MB_LIBRARIES "")
find_path(IM_IPSEC_MB_INCLUDE_DIR intel-ipsec-mb.h)
find_library(IM_IPSEC_MB_LIBRARY NAMES libIPSec_MB.a IPSec_MB)
if(IM_IPSEC_MB AND IM_IPSEC_MB_INCLUDE_DIR AND IM_IPSEC_MB_LIBRARY)
  set(IM_IPSEC_MB_LIBRARIES ${IM_IPSEC_MB_LIBRARY})
endif()
mark_as_advanced(IM_BOOST_INCLUDE_DIR IM_IPSEC_MB_INCLUDE_DIR IM_IPSEC_MB_LIBRARY)
find_program(IM_PROTOC protoc REQUIRED)
find_program(IM_GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)
include(GoogleTest)
