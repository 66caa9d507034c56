-- wrk's script: sends the prepared requests of a file (METHOD <tab> target <tab> body, one a line) in turn, from
-- one at random on, and prints what came of it as JSON. For one thread: each would send every request.
local requests, at = {}, 0

function init(args)
   for line in io.lines(args[1]) do
      local method, target, body = line:match("^(%u+)\t([^\t]*)\t(.*)$")
      local headers = body ~= "" and { ["Content-Type"] = "application/json" } or {}
      requests[#requests + 1] = wrk.format(method, target, headers, body ~= "" and body or nil)
   end
   math.randomseed(os.time())
   at = math.random(#requests)
   io.stderr:write("ready\n")
end

function request()
   at = at % #requests + 1
   return requests[at]
end

function done(summary, latency)
   local e = summary.errors
   io.write(string.format(
      '\n{"requests": %d, "seconds": %.6f, "failed": %d, "p50": %.3f, "p99": %.3f}\n',
      summary.requests, summary.duration / 1e6, e.status + e.connect + e.read + e.write + e.timeout,
      latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
