-- One target and one scenario for wrk; bench.py says which by the environment.
-- No request() and no response(): wrk then neither builds nor parses in Lua, and leaves the CPU to what is measured.

local body = assert(io.open(os.getenv("BENCH_BODY"), "rb"))
wrk.method = "POST"
wrk.body = body:read("*a")
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("BENCH_KEY")
body:close()

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"bytes":%d,"us":%d,"p50":%d,"p99":%d,"errors":{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}\n',
    summary.requests, summary.bytes, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect, e.read, e.write, e.status, e.timeout))
end
