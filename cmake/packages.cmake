# Debian packages, as files in build/packages:
#
#   cmake --build build --target debian_packages
#
#   imaginary-machines      the programs, manual pages, completions, a systemd unit
#   libimnetstack-dev       the libraries to embed
#
# What programs need is found by dpkg-shlibdeps. Built on one release of Debian,
# they are for that release. SOURCE_DATE_EPOCH makes them the same every time.
if(IM_FUZZ OR IM_SANITIZE)
  return()
endif()
include(GNUInstallDirs)
find_program(IM_DPKG_SHLIBDEPS dpkg-shlibdeps)
if(NOT IM_DPKG_SHLIBDEPS)
  message(STATUS "No Debian packages can be built: dpkg-shlibdeps (package dpkg-dev) is missing")
  return()
endif()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME imaginary-machines)
set(CPACK_PACKAGE_VENDOR "Imaginary Machines")
set(CPACK_PACKAGE_CONTACT "Imaginary Machines <imaginary-machines@localhost>")
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR}/packages)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_VERBATIM_VARIABLES ON)
set(CPACK_COMPONENTS_ALL programs development)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(CPACK_DEBIAN_PROGRAMS_PACKAGE_NAME imaginary-machines)
set(CPACK_DEBIAN_PROGRAMS_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PROGRAMS_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CMAKE_BINARY_DIR}/lib ${CMAKE_BINARY_DIR}/third_party)
set(CPACK_DEBIAN_PROGRAMS_PACKAGE_RECOMMENDS wireguard-tools)
set(CPACK_DEBIAN_PROGRAMS_PACKAGE_SUGGESTS criu)
set(CPACK_COMPONENT_PROGRAMS_DESCRIPTION "cluster whose hosts start on the first packet and stop when idle
 Every host of a cluster.yaml has a name and an address, and answers; none runs until
 the first packet to it arrives, and it is paused and released when it is idle.")

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libimnetstack-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SHLIBDEPS OFF)  # static libraries
set(development libabsl-dev libsodium-dev libssl-dev)
if(IM_IPSEC_MB_LIBRARIES)
  list(APPEND development libipsec-mb-dev)
endif()
list(JOIN development ", " CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS)
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION "TCP/IP and WireGuard to embed in programs
 lwIP behind a virtual interface, and WireGuard without sockets of its own, as static
 libraries for C++ and C, with a CMake package and pkg-config files.")

install(FILES ${CMAKE_CURRENT_LIST_DIR}/packages/imaginary-machines@.service
        DESTINATION lib/systemd/system COMPONENT programs)
foreach(package imaginary-machines:programs libimnetstack-dev:development)
  string(REGEX REPLACE ":.*" "" name ${package})
  string(REGEX REPLACE ".*:" "" component ${package})
  install(FILES ${CMAKE_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${name}
          COMPONENT ${component} RENAME copyright)
endforeach()
install(FILES ${CMAKE_SOURCE_DIR}/README.md DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/imaginary-machines
        COMPONENT programs)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/docs/
        DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/imaginary-machines/docs COMPONENT programs)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/examples
        DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/imaginary-machines COMPONENT programs
        USE_SOURCE_PERMISSIONS)

include(CPack)
add_custom_target(debian_packages
  COMMAND ${CMAKE_COMMAND} -E rm -rf ${CPACK_PACKAGE_DIRECTORY}
  COMMAND ${CMAKE_CPACK_COMMAND} --config ${CMAKE_BINARY_DIR}/CPackConfig.cmake
  WORKING_DIRECTORY ${CMAKE_BINARY_DIR} VERBATIM)
