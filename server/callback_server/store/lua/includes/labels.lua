-- The index of labels. A case is in it from its creation until it is dropped, whatever becomes of it in between.

-- The index of an owner's cases with one label, named by a digest: a value can be long, and contain anything.
local function label_index(owner, name, value)
  return label_key(owner, redis.sha1hex(#name .. ':' .. name .. value))
end

-- The indexes of labels that a case is in. Its labels stand in its settings (see packing.py and the domain's Settings).
local function label_indexes(owner, content)
  local indexes = {}
  for name, value in pairs(cmsgpack.unpack(content)[1][3]) do
    indexes[#indexes + 1] = label_index(owner, name, value)
  end
  return indexes
end
