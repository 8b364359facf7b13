"""text: finds whom a post mentions, and has its URLs shortened."""

import re

from service import Remote, serve
from social import Text, UrlShorten
from social.ttypes import Parsed

URL = re.compile(r"https?://\S+")
MENTION = re.compile(r"@(\w+)")


class Handler:
    shorten = Remote("url-shorten", UrlShorten)

    def Parse(self, text):
        urls = URL.findall(text)
        short = iter(self.shorten("Shorten", urls) if urls else [])
        return Parsed(URL.sub(lambda _: next(short), text), MENTION.findall(text))


if __name__ == "__main__":
    serve(Text.Processor(Handler()))
