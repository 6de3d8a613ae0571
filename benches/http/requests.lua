-- Requests for wrk: every line of a file of events is the input of one, in turn.
--
--   wrk ... -s requests.lua URL -- OPERATION MACHINE EVENTS

local requests = {}
local at = 0

local function escaped(text)
  return (text:gsub('[\\"]', '\\%0'))
end

function init(arguments)
  local operation, machine, events = arguments[1], arguments[2], arguments[3]
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/x-amz-json-1.0"
  wrk.headers["X-Amz-Target"] = "AWSStepFunctions." .. operation
  for line in io.lines(events) do
    local body = '{"stateMachineArn":"' .. machine .. '","input":"' .. escaped(line) .. '"}'
    requests[#requests + 1] = wrk.format(nil, "/", nil, body)
  end
  -- Threads do not send the same at the same time.
  at = math.random(#requests)
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency, _)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests, summary.duration, failed,
    latency:percentile(50), latency:percentile(99)))
end
