"""user: names to numbers. A user's number is made of the name, so that there is no table to keep."""

import zlib

from service import serve
from social import User


class Handler:
    def Find(self, name):
        return zlib.crc32(name.encode())


if __name__ == "__main__":
    serve(User.Processor(Handler()))
