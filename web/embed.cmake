# cmake -D FOLDER=… -D FILES="a;b" -D OUT=x.cc -P embed.cmake: files as constants
# of a program, see orchestrator/dashboard/dashboard_page.h. index.html is "/".
set(type_html "text/html; charset=utf-8")
set(type_js "text/javascript; charset=utf-8")
set(type_css "text/css; charset=utf-8")
set(type_svg "image/svg+xml")
set(constants "")
set(entries "")
set(number 0)
foreach(name IN LISTS FILES)
  file(READ ${FOLDER}/${name} bytes HEX)
  string(LENGTH "${bytes}" size)
  math(EXPR size "${size} / 2")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  string(APPEND constants "constexpr unsigned char kFile${number}[] = {${bytes}0};\n")
  get_filename_component(extension ${name} EXT)
  string(SUBSTRING ${extension} 1 -1 extension)
  set(path "/${name}")
  if(name STREQUAL index.html)
    set(path "/")
  endif()
  string(APPEND entries "      {\"${path}\", \"${type_${extension}}\",\n"
                        "       {reinterpret_cast<const char*>(kFile${number}), ${size}}},\n")
  math(EXPR number "${number} + 1")
endforeach()
file(WRITE ${OUT} "// Made by web/embed.cmake.
#include \"orchestrator/dashboard/dashboard_page.h\"

namespace im::orchestrator {
namespace {

${constants}
}  // namespace

std::span<const DashboardFile> DashboardFiles() {
  static const DashboardFile files[] = {
${entries}  };
  return files;
}

}  // namespace im::orchestrator
")
