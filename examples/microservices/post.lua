-- wrk's requests that write: one post of one of twenty users each.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"

function request()
  local user = math.random(0, 19)
  return wrk.format(nil, "/post", nil, "user=u" .. user ..
    "&text=Hello%20%40u" .. (user + 1) % 20 .. "%2C%20see%20http%3A%2F%2Fexample.org%2F" .. math.random(1000))
end
