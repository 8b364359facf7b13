# Language level, warnings and sanitizers for every target.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
endif()
# Line tables are enough for profiles and stack traces, and halve the build.
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1")
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g1")
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1 -fno-omit-frame-pointer")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g1 -fno-omit-frame-pointer")

include_directories(${CMAKE_SOURCE_DIR})

find_program(IM_CCACHE ccache)
if(IM_CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${IM_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${IM_CCACHE})
endif()
find_program(IM_MOLD mold)
if(IM_MOLD AND NOT IM_SANITIZE)
  add_link_options(-fuse-ld=mold)
endif()

if(IM_SANITIZE)
  add_compile_options(-fsanitize=${IM_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${IM_SANITIZE})
endif()
if(IM_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
  add_link_options(-fsanitize=address,undefined)
endif()

if(IM_SANITIZE MATCHES "address" OR IM_FUZZ)
  add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:SHELL:-include ${CMAKE_SOURCE_DIR}/cmake/abseil_as_packaged.h>")
endif()

# Warnings for our own code; third_party is built without them.
set(IM_WARNINGS -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual
    -Wno-missing-field-initializers)
# Errors with the compiler that we build with; another's new warning must not
# keep anyone from building.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  list(APPEND IM_WARNINGS -Werror)
endif()
