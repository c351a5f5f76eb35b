-- wrk: POST the lines of a file in turn, and print what was measured as one line of JSON.
-- Arguments after `--`: the file, the path, the first line to send.
local requests, place = {}, 0

function init(args)
  local headers = { ["Content-Type"] = "application/json" }
  for line in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("POST", args[2], headers, line)
  end
  place = tonumber(args[3]) % #requests
end

function request()
  place = place % #requests + 1
  return requests[place]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '{"answers":%d,"refused":%d,"broken":%d,"seconds":%.6f,"p50_ms":%.4f,"p95_ms":%.4f,"p99_ms":%.4f}\n',
    summary.requests, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3))
end
