-- What wrk asks the service, and what it checks of each answer: wrk ... -s http_load.lua URL --
-- TARGETS EXPECTED PAUSE_MS. A target is "path<tab>body"; EXPECTED holds "artifact<tab>target<tab>
-- item ids", or is "-". The id of a request is the number of its target, and comes back in the
-- answer, so that whoever answers, each answer is judged by what its own artifact should say.
local threads = {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

function init(args)
  targets, expected, seen = {}, nil, {}
  unanswered, mixed = 0, 0
  for line in io.lines(args[1]) do
    local path, body = line:match("^([^\t]*)\t(.*)$")
    table.insert(targets, { path, body })
  end
  if args[2] ~= "-" then
    expected = {}
    for line in io.lines(args[2]) do
      local artifact, target, items = line:match("^([^\t]*)\t([^\t]*)\t(.*)$")
      expected[artifact .. " " .. target] = items
    end
  end
  pause_ms = tonumber(args[3])
  math.randomseed(number + 1)
  place = number * 7919
end

function delay()
  -- a connection waits between nothing and twice the pause: a stream without a rhythm
  return math.floor(2 * pause_ms * math.random())
end

function request()
  place = place + 1
  local n = place % #targets
  local headers = { ["Content-Type"] = "application/json", ["X-Request-ID"] = "t" .. n }
  return wrk.format("POST", targets[n + 1][1], headers, (targets[n + 1][2]:gsub("@", place)))
end

function response(status, headers, body)
  local artifact = body:match('"artifact_id":"([^"]+)"')
  if status ~= 200 or artifact == nil or body:find('"served":"popular"') then
    unanswered = unanswered + 1
    return
  end
  seen[artifact] = (seen[artifact] or 0) + 1
  if expected == nil then return end
  local items = {}
  for item in body:gmatch('"item_id":"([^"]+)"') do table.insert(items, item) end
  local target = body:match('"request_id":"t(%d+)"')
  if expected[artifact .. " " .. target] ~= table.concat(items, " ") then mixed = mixed + 1 end
end

function done(summary, latency, requests)
  local failed, wrong, versions = 0, 0, {}
  for _, thread in ipairs(threads) do
    failed = failed + thread:get("unanswered")
    wrong = wrong + thread:get("mixed")
    for artifact, count in pairs(thread:get("seen")) do
      versions[artifact] = (versions[artifact] or 0) + count
    end
  end
  local counts = {}
  for artifact, count in pairs(versions) do
    table.insert(counts, string.format('"%s": %d', artifact, count))
  end
  local lost = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "seconds": %.3f, "failed": %d, "mixed": %d, "connections_lost": %d, ' ..
    '"timeouts": %d, "p50_ms": %.2f, "p90_ms": %.2f, "p99_ms": %.2f, "versions": {%s}}\n',
    summary.requests, summary.duration / 1e6, failed, wrong,
    lost.connect + lost.read + lost.write, lost.timeout, latency:percentile(50) / 1e3,
    latency:percentile(90) / 1e3, latency:percentile(99) / 1e3, table.concat(counts, ", ")))
end
