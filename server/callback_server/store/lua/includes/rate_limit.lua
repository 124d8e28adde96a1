-- The rate limit of a case.
-- @include partition

-- Applies the rate limit of a case (GCRA): calls may arrive up to one minute ahead of an even rate.
---@return number arrival what to store if the call is made
---@return number retry_after_ms until the call is allowed; 0 or less if it is allowed now
local function next_arrival(case, calls_per_minute)
  local us, interval = now_us(), math.floor(60000000 / calls_per_minute)
  local arrival = math.max(tonumber(case.arrival or 0), us) + interval
  return arrival, math.ceil((arrival - us - calls_per_minute * interval) / 1000)
end
