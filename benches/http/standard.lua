-- StartExecution for wrk: every line of a file of events is the input of one, in turn; names are the server's.
--
--   wrk ... -s standard.lua URL -- MACHINE EVENTS
--
-- An answer that is no acknowledgement counts as an error.

local requests = {}
local at = 0
local threads = {}

local function escaped(text)
  return (text:gsub('[\\"]', '\\%0'))
end

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  local machine, events = arguments[1], arguments[2]
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/x-amz-json-1.0"
  wrk.headers["X-Amz-Target"] = "AWSStepFunctions.StartExecution"
  for line in io.lines(events) do
    local body = '{"stateMachineArn":"' .. machine .. '","input":"' .. escaped(line) .. '"}'
    requests[#requests + 1] = wrk.format(nil, "/", nil, body)
  end
  at = math.random(#requests)
  started = 0
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function response(status, _, body)
  if status == 200 and body:find("executionArn", 1, true) then
    started = started + 1
  end
end

function done(summary, latency, _)
  local acknowledged = 0
  for _, thread in ipairs(threads) do
    acknowledged = acknowledged + thread:get("started")
  end
  local seconds = summary.duration / 1e6
  io.write(string.format("%d starts acknowledged in %.1f s: %.0f/s; %d answers; p50 %.1f ms, p99 %.1f ms\n",
    acknowledged, seconds, acknowledged / seconds, summary.requests, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3))
end
