-- Entries of lists whose case or call may not be there, or may be damaged.
-- @include reports

---@return boolean whether a call is there, and not only its tombstone
local function call_exists(call_id) return redis.call('HEXISTS', call_key(call_id), 'request') == 1 end

-- Keeps an entry whose case, its content or its call is not there, and reports it: its absence is a fault, and the data
-- may come back. The entry is due again after a minute, so that it does not block the others.
---@param list string name of the list, as in the table of keys
---@param due number at which score an entry is due now
local function report_absent(list, key, member, due)
  redis.call('ZADD', key, due + 60000, member)
  REPORTS[#REPORTS + 1] = {'ENTRY_WITHOUT_CASE', member, list}
end

local damaged = {} -- the cases of which a key has a wrong type, with the error

-- Looks at the keys of entries whose time has come, before the first write. A case of which a key has a wrong type is
-- left as it is, so that it stops no other.
---@param check function of the member of an entry: raises an error if a key has a wrong type
local function examine(members, check)
  for _, member in ipairs(members) do
    local is_sound, problem = pcall(check, member)
    if not is_sound then
      damaged[string.sub(member, 1, 32)] = type(problem) == 'table' and problem.err or tostring(problem)
    end
  end
end

-- Keeps and reports the entries of damaged cases. As without a case, they are due again after a minute.
---@param list string name of the list, as in the table of keys
---@param due number at which score an entry is due now
---@return table members the others, in order
local function without_damaged(list, key, members, due)
  local sound = {}
  for _, member in ipairs(members) do
    local problem = damaged[string.sub(member, 1, 32)]
    if problem then
      redis.call('ZADD', key, due + 60000, member)
      REPORTS[#REPORTS + 1] = {'WRONG_TYPE', member, list, problem}
    else
      sound[#sound + 1] = member
    end
  end
  return sound
end
