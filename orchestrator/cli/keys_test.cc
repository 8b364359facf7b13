#include "orchestrator/cli/keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace im::orchestrator::cli {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Kind = Key::Kind;

Key Char(char c) { return {Kind::kCharacter, c}; }
Key Named(Kind kind) { return {kind, 0}; }

TEST(Keys, CharactersAndArrows) {
  KeyDecoder decoder;
  EXPECT_THAT(decoder.Feed("q\x1b[A\x1bOBs"),
              ElementsAre(Char('q'), Named(Kind::kUp), Named(Kind::kDown), Char('s')));
  EXPECT_THAT(decoder.Feed("\x1b[C\x1b[D\x1b[5~\x1b[6~\x1b[H\x1b[4~"),
              ElementsAre(Named(Kind::kRight), Named(Kind::kLeft), Named(Kind::kPageUp),
                          Named(Kind::kPageDown), Named(Kind::kHome), Named(Kind::kEnd)));
  EXPECT_FALSE(decoder.waiting());
}

TEST(Keys, ASequenceMayComeInPieces) {
  KeyDecoder decoder;
  EXPECT_THAT(decoder.Feed("\x1b"), IsEmpty());
  EXPECT_TRUE(decoder.waiting());
  EXPECT_THAT(decoder.Feed("["), IsEmpty());
  EXPECT_THAT(decoder.Feed("A"), ElementsAre(Named(Kind::kUp)));
}

TEST(Keys, AnEscapeAloneIsAKey) {
  KeyDecoder decoder;
  decoder.Feed("\x1b");
  EXPECT_THAT(decoder.Flush(), ElementsAre(Named(Kind::kEscape)));
  EXPECT_THAT(decoder.Flush(), IsEmpty());
  EXPECT_THAT(decoder.Feed("\x1b\x1b[A"),
              ElementsAre(Named(Kind::kEscape), Named(Kind::kUp)));
}

TEST(Keys, UnknownSequencesAreSwallowedWhole) {
  KeyDecoder decoder;
  EXPECT_THAT(decoder.Feed("\x1b[1;5A\x1b[200~\x1bx\x1bOSq"), ElementsAre(Char('q')));
  EXPECT_THAT(decoder.Feed("\x1b[" + std::string(100, '1')), testing::Each(Char('1')))
      << "one that does not end is given up";
}

}  // namespace
}  // namespace im::orchestrator::cli
