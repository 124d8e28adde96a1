-- The index of labels. A case stays in it from its creation until it is deleted, in every status.
-- @include key_functions
-- @include setting_positions

-- Returns the name of a label in keys: a digest, because a value can be long and contain any character.
local function label_digest(name, value) return redis.sha1hex(#name .. ':' .. name .. value) end

-- Returns the key of the index of an owner's cases with one label.
local function label_index(owner, name, value) return label_key(owner, label_digest(name, value)) end

-- Returns the settings of a case (see packing.py and the domain's Settings). The content is an array of two values, so
-- they begin behind the first byte. The response is not unpacked: its body may have a type that cmsgpack does not know.
local function settings_of(content)
  local _, settings = cmsgpack.unpack_one(content, 1)
  return settings
end

local function labels_of(content) return settings_of(content)[SETTING_LABELS] end

-- Returns the keys of the label indexes that a case is in.
local function label_indexes(owner, content)
  local indexes = {}
  for name, value in pairs(labels_of(content)) do
    indexes[#indexes + 1] = label_index(owner, name, value)
  end
  return indexes
end

-- Returns the labels of a case as an event has them: the first 12 digits of the digest of each label.
local function label_digests_of(content)
  local digests = {}
  for name, value in pairs(labels_of(content)) do
    digests[#digests + 1] = string.sub(label_digest(name, value), 1, 12)
  end
  return table.concat(digests)
end
