#include "orchestrator/http_request.h"

#include <gtest/gtest.h>

namespace im::orchestrator {
namespace {

using Parse = HttpRequest::Parse;

TEST(HttpRequest, ReadsMethodAndPath) {
  HttpRequest request;
  EXPECT_EQ(ParseHttpRequest("GET /metrics?name=x HTTP/1.1\r\nHost: a\r\n\r\n", request),
            Parse::kComplete);
  EXPECT_EQ(request.method, "GET");
  EXPECT_EQ(request.path, "/metrics");
  EXPECT_EQ(ParseHttpRequest("HEAD / HTTP/1.0\n\n", request), Parse::kComplete);
  EXPECT_EQ(request.method, "HEAD");
}

TEST(HttpRequest, HeadersAreFoundByTheirNameUnlessThereAreTwo) {
  HttpRequest request;
  ASSERT_EQ(ParseHttpRequest("POST /a HTTP/1.1\r\nHOST:  a:80 \r\nX: 1\r\nEmpty:\r\nx: 2\r\n\r\n"
                             "Host: of a body",
                             request),
            Parse::kComplete);
  EXPECT_EQ(request.Header("host"), "a:80");
  EXPECT_EQ(request.Header("empty"), "");
  EXPECT_EQ(request.Header("x"), std::nullopt);
  EXPECT_EQ(request.Header("absent"), std::nullopt);
}

TEST(HttpRequest, WhatIsNoHeaderIsBad) {
  for (const char* line : {"no colon", ": no name", "a b: c", " folded: line", "Host : space"}) {
    HttpRequest request;
    const std::string text = std::string("GET / HTTP/1.1\r\n") + line + "\r\n\r\n";
    EXPECT_EQ(ParseHttpRequest(text, request), Parse::kBad) << line;
  }
}

TEST(HttpRequest, EveryBeginningIsIncomplete) {
  const std::string whole = "GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n";
  for (size_t size = 0; size < whole.size(); ++size) {
    HttpRequest request;
    EXPECT_EQ(ParseHttpRequest(whole.substr(0, size), request), Parse::kIncomplete) << size;
  }
}

TEST(HttpRequest, WhatIsNoHttpIsBad) {
  for (const char* text :
       {"\n", "GET\n", "GET /\n", "GET / FTP/1.1\n", "get / HTTP/1.1\n", "GET  HTTP/1.1\n",
        "GET metrics HTTP/1.1\n", "GET /a b HTTP/1.1\n", "GET /\x01 HTTP/1.1\n",
        "\x16\x03\x01\x02 / HTTP/1.1\n", "PRI * HTTP/2.0\r\n"}) {
    HttpRequest request;
    EXPECT_EQ(ParseHttpRequest(text, request), Parse::kBad) << text;
  }
}

TEST(HttpRequest, EndlessLinesAndHeadersAreTooLarge) {
  HttpRequest request;
  EXPECT_EQ(ParseHttpRequest("GET /" + std::string(kHttpRequestBytesMax, 'a'), request),
            Parse::kTooLarge);
  EXPECT_EQ(ParseHttpRequest("GET / HTTP/1.1\r\nA: " + std::string(kHttpRequestBytesMax, 'a'),
                             request),
            Parse::kTooLarge);
}

TEST(HttpRequest, TheHeaderOfAnAnswerSaysThatItIsTheLast) {
  const std::string header = HttpHeader("200 OK", "text/plain", 12);
  EXPECT_EQ(header.find("HTTP/1.1 200 OK\r\n"), 0u);
  EXPECT_NE(header.find("Content-Length: 12\r\n"), std::string::npos);
  EXPECT_NE(header.find("Connection: close\r\n\r\n"), std::string::npos);
  EXPECT_EQ(HttpHeader("200 OK", "text/plain", std::nullopt).find("Length"), std::string::npos);
  EXPECT_NE(HttpHeader("200 OK", "text/plain", 0, "A: b\r\n").find("\r\nA: b\r\n"),
            std::string::npos);
}

}  // namespace
}  // namespace im::orchestrator
