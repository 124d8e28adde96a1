-- The index of labels. A case is in it from its creation until it is dropped, whatever becomes of it in between.

-- A label is named by a digest: a value can be long, and contain anything.
local function label_digest(name, value) return redis.sha1hex(#name .. ':' .. name .. value) end

-- The index of an owner's cases with one label.
local function label_index(owner, name, value) return label_key(owner, label_digest(name, value)) end

-- The settings of a case (see packing.py and the domain's Settings). Its content is an array of two, so they begin behind
-- the first byte. The response is not unpacked: its body may be of a type that cmsgpack does not know.
local function settings_of(content)
  local _, settings = cmsgpack.unpack_one(content, 1)
  return settings
end

local function labels_of(content) return settings_of(content)[3] end

-- The indexes of labels that a case is in.
local function label_indexes(owner, content)
  local indexes = {}
  for name, value in pairs(labels_of(content)) do
    indexes[#indexes + 1] = label_index(owner, name, value)
  end
  return indexes
end

-- What an event says of the labels of its case: of each the first 12 digits of its digest.
local function label_marks(content)
  local marks = {}
  for name, value in pairs(labels_of(content)) do marks[#marks + 1] = string.sub(label_digest(name, value), 1, 12) end
  return table.concat(marks)
end
