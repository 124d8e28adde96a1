-- For wrk: asks at random moments, so many times a second, answered or not, as callers do who do not know each other.
--
-- Arguments: a file that has the paths, one a line; how many requests a second; for how many seconds nothing is counted.
-- What is due goes by whichever connection is free, and is late if none is: then it was waiting that decided.
-- The requests are of ten callers, as a proxy names them. What it found it says as JSON.

local ffi = require("ffi")
ffi.cdef("struct moment { long s, us; }; int gettimeofday(struct moment *, void *);")

local CALLERS = 10
local clock = ffi.new("struct moment")
local requests = {}
local at = 0
local per_second, due

began, sent, late, answered = 0, 0, 0, {}  -- global: `done` asks for them

local function now()
    ffi.C.gettimeofday(clock, nil)
    return tonumber(clock.s) + tonumber(clock.us) / 1e6
end

function setup(thread)
    worker = thread
end

function init(arguments)
    for path in io.lines(arguments[1]) do
        for caller = 1, CALLERS do
            requests[#requests + 1] = wrk.format("GET", path, {["X-Forwarded-For"] = "192.0.2." .. caller})
        end
    end
    per_second = tonumber(arguments[2])
    math.randomseed(1)
    due = now()
    began = due + tonumber(arguments[3])
end

function delay()
    local moment = now()
    due = due - math.log(1 - math.random()) / per_second
    if due < moment and began < moment then
        late = late + 1
    end
    return math.max(0, math.floor((due - moment) * 1000 + 0.5))
end

function request()
    if began < now() then
        sent = sent + 1
    end
    at = at % #requests + 1
    return requests[at]
end

function response(status)
    if began < now() then
        answered[tostring(status)] = (answered[tostring(status)] or 0) + 1
    end
end

function done(summary, latency)
    local counts = {}
    for status, count in pairs(worker:get("answered")) do
        counts[#counts + 1] = string.format('"%s": %d', status, count)
    end
    io.write(string.format(
        '\n{"requests": %d, "seconds": %f, "sent": %d, "late": %d, "answered": {%s}, "p50_us": %d, "p99_us": %d}\n',
        summary.requests, now() - worker:get("began"), worker:get("sent"), worker:get("late"),
        table.concat(counts, ", "), latency:percentile(50), latency:percentile(99)
    ))
end
