#include "orchestrator/cli/man_page.h"

#include <CLI/CLI.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"

namespace im::orchestrator::cli {
namespace {

bool Hidden(const CLI::App& verb) { return verb.get_group().empty(); }

std::string FirstLine(absl::string_view text) {
  return std::string(text.substr(0, text.find('\n')));
}

// "-n,--lines N"
std::string OptionName(const CLI::Option& option) {
  if (!option.nonpositional()) return absl::StrCat("\\fI", ManEscape(option.get_name(true)), "\\fR");
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) names.push_back(absl::StrCat("-", name));
  for (const std::string& name : option.get_lnames()) names.push_back(absl::StrCat("--", name));
  std::string text = absl::StrCat("\\fB", ManEscape(absl::StrJoin(names, ", ")), "\\fR");
  if (option.get_items_expected_max() > 0) {
    absl::StrAppend(&text, " \\fI", ManEscape(option.get_type_name()), "\\fR");
  }
  return text;
}

void AppendOptions(const CLI::App& app, std::string& out) {
  for (const bool positional : {true, false}) {
    for (const CLI::Option* option : app.get_options({})) {
      if (option->get_group().empty() || option->nonpositional() == positional) continue;
      absl::StrAppend(&out, ".TP\n", OptionName(*option), "\n",
                      ManEscape(option->get_description()), "\n");
    }
  }
}

// As it stands: line for line.
void AppendVerbatim(absl::string_view text, std::string& out) {
  if (text.empty()) return;
  absl::StrAppend(&out, ".PP\n.nf\n", ManEscape(absl::StripTrailingAsciiWhitespace(text)),
                  "\n.fi\n");
}

std::string Synopsis(const CLI::App& verb, const std::string& before = "im ") {
  std::string text =
      absl::StrCat("\\fB", before, ManEscape(verb.get_name()), "\\fR [\\fIOPTIONS\\fR]");
  if (!verb.get_subcommands({}).empty()) absl::StrAppend(&text, " \\fICOMMAND\\fR ...");
  for (const CLI::Option* option : verb.get_options({})) {
    if (option->nonpositional()) continue;
    const std::string name = ManEscape(option->get_name(true));
    const std::string more = option->get_items_expected_max() > 1 ? "..." : "";
    absl::StrAppend(&text, option->get_required() ? " \\fI" : " [\\fI", name, "\\fR", more,
                    option->get_required() ? "" : "]");
  }
  if (verb.get_name() == "run" || verb.get_name() == "exec") {
    absl::StrAppend(&text, " \\-\\- \\fICOMMAND\\fR");
  }
  return text;
}

// Of a verb that has verbs of its own: im peer add.
void AppendCommands(const CLI::App& verb, std::string& out) {
  if (verb.get_subcommands({}).empty()) return;
  absl::StrAppend(&out, ".SH COMMANDS\n");
  for (const CLI::App* command : verb.get_subcommands({})) {
    const std::string before = absl::StrCat("im ", ManEscape(verb.get_name()), " ");
    absl::StrAppend(&out, ".SS ", Synopsis(*command, before), "\n",
                    ManEscape(command->get_description()), ".\n");
    AppendVerbatim(command->get_footer(), out);
    AppendOptions(*command, out);
  }
}

std::string Head(absl::string_view name, absl::string_view version, absl::string_view what) {
  return absl::StrCat(".TH ", absl::AsciiStrToUpper(name), " 1 \"\" \"im ", version,
                      "\" \"Imaginary Machines\"\n.SH NAME\n", ManEscape(name), " \\- ",
                      ManEscape(what), "\n");
}

}  // namespace

std::string ManEscape(absl::string_view text) {
  std::vector<std::string> lines = absl::StrSplit(
      absl::StrReplaceAll(text, {{"\\", "\\e"}, {"-", "\\-"}}), '\n');
  for (std::string& line : lines) {
    // Else a request.
    if (!line.empty() && (line[0] == '.' || line[0] == '\'')) line.insert(0, "\\&");
  }
  return absl::StrJoin(lines, "\n");
}

std::vector<ManPage> ManPages(const CLI::App& app, absl::string_view version) {
  std::vector<ManPage> pages;
  std::string top = Head("im", version, FirstLine(app.get_description()));
  absl::StrAppend(&top, ".SH SYNOPSIS\n\\fBim\\fR [\\fIOPTIONS\\fR] \\fICOMMAND\\fR ...\n",
                  ".SH OPTIONS\n");
  AppendOptions(app, top);
  absl::StrAppend(&top, ".SH COMMANDS\n");
  std::vector<std::string> also;
  for (const CLI::App* verb : app.get_subcommands({})) {
    if (Hidden(*verb)) continue;
    const std::string name = absl::StrCat("im-", verb->get_name());
    also.push_back(absl::StrCat("\\fB", ManEscape(name), "\\fR(1)"));
    absl::StrAppend(&top, ".TP\n", also.back(), "\n", ManEscape(verb->get_description()), "\n");
    std::string page = Head(name, version, FirstLine(verb->get_description()));
    absl::StrAppend(&page, ".SH SYNOPSIS\n", Synopsis(*verb), "\n.SH DESCRIPTION\n",
                    ManEscape(verb->get_description()), ".\n");
    AppendVerbatim(verb->get_footer(), page);
    absl::StrAppend(&page, ".SH OPTIONS\n");
    AppendOptions(*verb, page);
    AppendCommands(*verb, page);
    absl::StrAppend(&page, ".SH SEE ALSO\n\\fBim\\fR(1)\n");
    pages.push_back({absl::StrCat(name, ".1"), std::move(page)});
  }
  absl::StrAppend(&top, ".SH NOTES\n");
  AppendVerbatim(app.get_footer(), top);
  absl::StrAppend(&top, ".SH SEE ALSO\n", absl::StrJoin(also, ",\n"), "\n");
  pages.insert(pages.begin(), {"im.1", std::move(top)});
  return pages;
}

}  // namespace im::orchestrator::cli
