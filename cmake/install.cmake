# cmake --install: the libraries to embed, as a CMake package
#
#   find_package(ImaginaryMachines REQUIRED)
#   target_link_libraries(program im::netstack im::tunnel)   # C++
#   target_link_libraries(program im::net)                   # C: netstack/im_net.h
#
# and for pkg-config: im-base, im-tunnel, im-netstack, im-net. Static libraries,
# lwIP built in. Headers keep their names below include/imaginary-machines.
# They are the component "development": `cmake --install BUILD --component
# development`. The component "programs" is the programs with their manual pages
# and what completes their command lines in bash, zsh and fish.
if(IM_FUZZ OR IM_SANITIZE)
  return()
endif()
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS im imd im-agent im-tunnel
        RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT programs)
install(FILES ${CMAKE_RUNTIME_OUTPUT_DIRECTORY}/im-up
        DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT programs)
# im-tunnel alone needs it, and finds it from where it is itself.
install(TARGETS im_wg_embeddable
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/imaginary-machines COMPONENT programs)
set_target_properties(im-tunnel PROPERTIES
  INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}/imaginary-machines")
install(DIRECTORY ${CMAKE_BINARY_DIR}/share/
        DESTINATION ${CMAKE_INSTALL_DATADIR} COMPONENT programs)

set(component COMPONENT development)
set(headers ${CMAKE_INSTALL_INCLUDEDIR}/imaginary-machines)
set(package ${CMAKE_INSTALL_LIBDIR}/cmake/ImaginaryMachines)

foreach(name base tunnel netstack net)
  set_target_properties(im_${name} PROPERTIES EXPORT_NAME ${name})
  target_compile_features(im_${name} INTERFACE cxx_std_20)
  install(TARGETS im_${name} EXPORT ImaginaryMachinesTargets
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} ${component}
          INCLUDES DESTINATION ${headers})
endforeach()
install(EXPORT ImaginaryMachinesTargets NAMESPACE im:: DESTINATION ${package} ${component})

# What a program includes, and what that includes; the rest is no interface.
set(base_headers clock counters event_loop file_descriptor ip_address ip_build ip_header log
    packet packet_sink pcap_writer random run_queue segment_split status timer_queue)
set(tunnel_headers constants device driver keys outbox)
set(netstack_headers back_to_back blocking byte_queue im_net late_interface net net_error
    plain_status readiness shared_listener shared_stream shared_udp stack_thread)
foreach(folder base tunnel netstack)
  list(TRANSFORM ${folder}_headers REPLACE "(.+)" "${CMAKE_SOURCE_DIR}/${folder}/\\1.h")
  install(FILES ${${folder}_headers} DESTINATION ${headers}/${folder} ${component})
endforeach()

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/ImaginaryMachinesConfig.cmake.in
  ${CMAKE_BINARY_DIR}/install/ImaginaryMachinesConfig.cmake INSTALL_DESTINATION ${package})
write_basic_package_version_file(
  ${CMAKE_BINARY_DIR}/install/ImaginaryMachinesConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/install/ImaginaryMachinesConfig.cmake
        ${CMAKE_BINARY_DIR}/install/ImaginaryMachinesConfigVersion.cmake
        DESTINATION ${package} ${component})

# From a .pc file back to the prefix: LIBDIR may have several parts.
string(REGEX REPLACE "[^/]+" ".." up "${CMAKE_INSTALL_LIBDIR}")
set(IM_PC_PREFIX "\${pcfiledir}/../${up}")

# im_pkg_config(tunnel "what it is" REQUIRES … [LIBS …]): im-<name>.pc.
function(im_pkg_config name description)
  cmake_parse_arguments(ARG "" "" "REQUIRES;LIBS" ${ARGN})
  set(IM_NAME ${name})
  set(IM_DESCRIPTION ${description})
  list(JOIN ARG_REQUIRES " " IM_REQUIRES)
  list(JOIN ARG_LIBS " " IM_LIBS)
  configure_file(${CMAKE_SOURCE_DIR}/cmake/im.pc.in ${CMAKE_BINARY_DIR}/install/im-${name}.pc @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/install/im-${name}.pc
          DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
endfunction()
# For programs that the C compiler links, -lstdc++ and -lm come last of all.
set(absl_modules absl_status absl_statusor absl_strings absl_str_format absl_flat_hash_map
    absl_flat_hash_set absl_inlined_vector absl_hash absl_time absl_synchronization)
im_pkg_config(base "event loop, packets, addresses" REQUIRES ${absl_modules} LIBS -pthread -lstdc++ -lm)
im_pkg_config(tunnel "WireGuard as a library" REQUIRES im-base libcrypto libsodium
              LIBS ${IM_IPSEC_MB_LIBRARIES})
im_pkg_config(netstack "TCP/IP to embed" REQUIRES im-base libsodium)
im_pkg_config(net "TCP/IP over a tunnel for C programs" REQUIRES im-netstack im-tunnel)
