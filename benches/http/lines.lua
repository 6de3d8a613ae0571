-- Requests for wrk: each has all lines of a file of events for its body.
--
--   wrk ... -s lines.lua URL -- MACHINE QUERY EVENTS

function init(arguments)
  local machine, query, events = arguments[1], arguments[2], arguments[3]
  local file = assert(io.open(events, "rb"))
  wrk.method = "POST"
  wrk.path = "/v1/state-machines/" .. machine .. "/executions?" .. query
  wrk.headers["Content-Type"] = "application/x-ndjson"
  wrk.body = file:read("*a")
  file:close()
end

function done(summary, latency, _)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests, summary.duration, failed,
    latency:percentile(50), latency:percentile(99)))
end
