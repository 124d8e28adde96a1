-- The index of labels. A case stays in it from its creation until it is deleted, in every status.
-- @include settings

-- Returns the name of a label in keys: a digest, because a value can be long and contain any character.
local function label_digest(name, value) return redis.sha1hex(#name .. ':' .. name .. value) end

-- Returns the keys of the label indexes that a case is in, and its labels as an event has them: the first 12 digits of
-- the digest of each, concatenated.
local function label_indexes(owner, content)
  local indexes, digests = {}, {}
  for name, value in pairs(settings_of(content)[SETTING_LABELS]) do
    local digest = label_digest(name, value)
    indexes[#indexes + 1] = label_key(owner, digest)
    digests[#digests + 1] = string.sub(digest, 1, 12)
  end
  return indexes, table.concat(digests)
end
