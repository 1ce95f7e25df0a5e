-- wrk: POST the file BODY with content type CT (HLEN: length of a V2 binary header); one line of JSON at the end.
local file = io.open(os.getenv("BODY"), "rb")
wrk.body = file:read("*a")
file:close()
wrk.method = "POST"
wrk.headers["Content-Type"] = os.getenv("CT")
if os.getenv("HLEN") then wrk.headers["Inference-Header-Content-Length"] = os.getenv("HLEN") end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    'JSON {"rps":%.2f,"requests":%d,"p50_ms":%.4f,"p99_ms":%.4f,"max_ms":%.3f,"errors":%d}\n',
    summary.requests / (summary.duration / 1e6), summary.requests, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, latency.max / 1e3, e.connect + e.read + e.write + e.status + e.timeout))
end
