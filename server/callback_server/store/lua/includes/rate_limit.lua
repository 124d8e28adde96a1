-- The limits on the calls of a case, and of its owner.
-- @include partition

-- Applies the rate limit of a case (GCRA): calls may arrive up to one minute ahead of an even rate.
---@return number arrival what to store if the call is made
---@return number retry_after_ms until the call is allowed; 0 or less if it is allowed now
local function next_arrival(case, calls_per_minute)
  local us, interval = now_us(), math.floor(60000000 / calls_per_minute)
  local arrival = math.max(tonumber(case.arrival or 0), us) + interval
  return arrival, math.ceil((arrival - us - calls_per_minute * interval) / 1000)
end

-- Finds the owner of a case among those over a limit: ARGV[first] to ARGV[last], in fours as `claim_call` has them.
---@return number|nil retry_after_ms until the next call is allowed
---@return string|nil limit the setting; nil = the owner may make this call
local function limited_owner(case, first, last)
  local kind = case.answer_mode == 'HOLD' and 'HELD' or 'OTHER'
  for i = first, last, 4 do
    if ARGV[i] == case.owner and (ARGV[i + 3] == '' or ARGV[i + 3] == kind) then
      return tonumber(ARGV[i + 1]), ARGV[i + 2]
    end
  end
end
