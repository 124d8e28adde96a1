-- The audit: a script that makes a change for a principal appends its entry first, or changes nothing. The server has
-- made the entry, `audit`: the SHA-1 of the entry that it follows ('-' = of none), its id, its HMAC, and its text, with
-- a space between.

---@return string previous, string id, string mac, string entry
local function audit_parts(audit) return string.match(audit, '^(%S+) (%S+) (%S+) (.*)$') end

-- Returns whether the entry of this change is there already: the script was sent again.
local function is_audited(audit)
  local _, id, _, entry = audit_parts(audit)
  local own = redis.call('XRANGE', audit_key(), id, id)[1]
  return own and own[2][2] == entry
end

-- Returns the entry in the fields of an item. One that no server has made has none, as in `StoredEntry.parse`.
local function entry_in(fields)
  return #fields == 4 and fields[1] == 'entry' and fields[3] == 'mac' and fields[2] or ''
end

-- Appends the entry of this change, unless another one was appended since the server has read the newest.
---@return string APPENDED, AGAIN (it is there already: the change was made before), or MOVED
---@return table item the newest, id and fields, if that has MOVED (empty = there is none)
local function append_audit(audit)
  if audit == '' then return 'APPENDED', {} end
  local previous, id, mac, entry = audit_parts(audit)
  local newest = redis.call('XREVRANGE', audit_key(), '+', '-', 'COUNT', 1)[1]
  if (newest and redis.sha1hex(entry_in(newest[2])) or '-') == previous then
    redis.call('XADD', audit_key(), id, 'entry', entry, 'mac', mac)
    return 'APPENDED', {}
  end
  if is_audited(audit) then return 'AGAIN', {} end
  return 'MOVED', newest or {}
end
