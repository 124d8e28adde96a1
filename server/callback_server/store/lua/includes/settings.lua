-- @include setting_positions

-- Returns the settings of a case (see packing.py and the domain's Settings). The content is an array of two values, so
-- they begin behind the first byte. The response is not unpacked: its body may have a type that cmsgpack does not know.
local function settings_of(content)
  local _, settings = cmsgpack.unpack_one(content, 1)
  return settings
end
