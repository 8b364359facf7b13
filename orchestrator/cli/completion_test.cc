#include "orchestrator/cli/completion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>

#include "orchestrator/cli/context.h"
#include "orchestrator/cli/man_page.h"

namespace im::orchestrator::cli {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

class CompletionTest : public testing::Test {
 protected:
  CompletionTest() {
    app_.add_option("-c,--cluster", context_.cluster_option, "The cluster's name");
    AddPs(app_, context_);
    AddExec(app_, context_);
    AddRun(app_, context_);
    AddLogs(app_, context_);
    AddValidate(app_, context_);
    AddWait(app_, context_);
    AddShell(app_, context_);
    AddPeer(app_, context_);
  }

  std::vector<std::string> Offer(const std::vector<std::string>& words) {
    return Complete(app_, words,
                    {.hosts =
                         [this](const std::string& cluster) {
                           asked_ = cluster.empty() ? "default" : cluster;
                           return std::vector<std::string>{"db", "web", "web-2"};
                         },
                     .clusters = [] { return std::vector<std::string>{"shop", "test"}; },
                     .peers =
                         [](const std::string&) {
                           return std::vector<std::string>{"laptop", "phone"};
                         }});
  }

  Context context_;
  CLI::App app_{"Imaginary Machines", "im"};
  std::string asked_;
};

TEST_F(CompletionTest, OffersVerbsWithTheirDescriptions) {
  EXPECT_THAT(Offer({""}), Contains(StartsWith("ps\tShow all hosts")));
  EXPECT_THAT(Offer({"w"}), ElementsAre(StartsWith("wait\t")));
  EXPECT_THAT(Offer({"nonsense"}), IsEmpty());
  EXPECT_THAT(Offer({""}), Not(Contains(StartsWith("__man")))) << "it is hidden";
  EXPECT_THAT(Offer({}), Contains(StartsWith("ps\t")));
}

TEST_F(CompletionTest, OffersVerbsOfVerbs) {
  EXPECT_THAT(Offer({"peer", "a"}), ElementsAre(StartsWith("add\tLet a machine join")));
  EXPECT_THAT(Offer({"peer", "remove", "p"}), ElementsAre("phone"));
  EXPECT_THAT(Offer({"peer", "add", "--q"}), ElementsAre(StartsWith("--qr\t")));
  EXPECT_THAT(Offer({"peer", "add", "--dns", "r"}), ElementsAre("resolvectl"));
  EXPECT_THAT(Offer({"peer", "add", "-o", ""}), ElementsAre(":files"));
  EXPECT_THAT(Offer({"peer", "nonsense", ""}), IsEmpty());
}

TEST_F(CompletionTest, ManualPagesTellOfVerbsOfVerbs) {
  for (const ManPage& page : ManPages(app_, "1")) {
    if (page.name != "im-peer.1") continue;
    EXPECT_THAT(page.text, HasSubstr(".SS \\fBim peer add\\fR [\\fIOPTIONS\\fR] \\fINAME\\fR"));
    EXPECT_THAT(page.text, HasSubstr("\\-\\-qr"));
    return;
  }
  FAIL() << "there is no page im-peer.1";
}

TEST_F(CompletionTest, OffersHostsWhereAHostIsMeant) {
  EXPECT_THAT(Offer({"ps", "w"}), ElementsAre("web", "web-2"));
  EXPECT_THAT(Offer({"ps", "web", "d"}), ElementsAre("db")) << "there may be several";
  EXPECT_THAT(Offer({"exec", "d"}), ElementsAre("db"));
  EXPECT_EQ(asked_, "default");
  EXPECT_THAT(Offer({"-c", "test", "exec", "d"}), ElementsAre("db"));
  EXPECT_EQ(asked_, "test");
  EXPECT_THAT(Offer({"wait", "db", "d"}), IsEmpty()) << "it takes one";
}

TEST_F(CompletionTest, OffersOptionsOfTheVerbAndOfIm) {
  EXPECT_THAT(Offer({"ps", "--"}), Contains(StartsWith("--json\t")));
  EXPECT_THAT(Offer({"ps", "--"}), Contains(StartsWith("--cluster\t")));
  EXPECT_THAT(Offer({"ps", "--j"}), ElementsAre(StartsWith("--json\t")));
  EXPECT_THAT(Offer({"logs", "-"}), Contains(StartsWith("-f\t")));
  EXPECT_THAT(Offer({"--cl"}), ElementsAre("--cluster\tThe cluster's name"));
}

TEST_F(CompletionTest, OffersWhatAnOptionTakes) {
  EXPECT_THAT(Offer({"-c", ""}), ElementsAre("shop", "test"));
  EXPECT_THAT(Offer({"ps", "--cluster", "t"}), ElementsAre("test"));
  EXPECT_THAT(Offer({"wait", "db", "--state", "p"}), ElementsAre("paused"));
  EXPECT_THAT(Offer({"logs", "-n", ""}), IsEmpty()) << "a number";
  EXPECT_THAT(Offer({"completion", ""}), ElementsAre("bash", "zsh", "fish"));
}

TEST_F(CompletionTest, OffersFilesWhereAFileOrAProgramIsMeant) {
  EXPECT_THAT(Offer({"validate", ""}), ElementsAre(":files"));
  EXPECT_THAT(Offer({"run", ""}), ElementsAre(":files"));
  EXPECT_THAT(Offer({"run", "--", "ls", "-"}), ElementsAre(":files"));
  EXPECT_THAT(Offer({"exec", "db", "ls", "--a"}), ElementsAre(":files"));
  EXPECT_THAT(Offer({"exec", "db", "--", ""}), ElementsAre(":files"));
}

TEST_F(CompletionTest, EveryShellHasAScriptThatAsksUs) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    EXPECT_THAT(CompletionScript(shell), HasSubstr(kCompleteVerb)) << shell;
  }
  EXPECT_EQ(CompletionScript("csh"), "");
}

TEST_F(CompletionTest, ManPagesTellWhatHelpTells) {
  const std::vector<ManPage> pages = ManPages(app_, "1.2.3");
  std::vector<std::string> names;
  for (const ManPage& page : pages) names.push_back(page.name);
  EXPECT_THAT(names, ElementsAre("im.1", "im-ps.1", "im-exec.1", "im-run.1", "im-logs.1",
                                 "im-validate.1", "im-wait.1", "im-completion.1", "im-peer.1"));
  EXPECT_THAT(pages[0].text, StartsWith(".TH IM 1 \"\" \"im 1.2.3\""));
  EXPECT_THAT(pages[0].text, HasSubstr("\\fBim\\-ps\\fR(1)\nShow all hosts"));
  const std::string& logs = pages[4].text;
  EXPECT_THAT(logs, HasSubstr("\\fBim logs\\fR [\\fIOPTIONS\\fR] [\\fIHOST\\fR...]"));
  EXPECT_THAT(logs, HasSubstr(".TP\n\\fB\\-f, \\-\\-follow\\fR\nGo on with what is written\n"));
  EXPECT_THAT(pages[6].text, HasSubstr("[\\fIOPTIONS\\fR] \\fIHOST\\fR\n"));
}

TEST(ManPage, NoTextBecomesARequest) {
  EXPECT_EQ(ManEscape(".so /etc/passwd\n'x\na-b\\c"), "\\&.so /etc/passwd\n\\&'x\na\\-b\\ec");
}

}  // namespace
}  // namespace im::orchestrator::cli
