"""What the server does in one step, as Lua scripts: all of it, or nothing."""

from typing import Final

SETTLE: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 'lease lost' end
if #redis.call('XPENDING', KEYS[2], ARGV[2], ARGV[3], ARGV[3], 1) == 0 then return 'gone' end
local outcome, dead = 'done', ARGV[8]
if ARGV[4] ~= '' then
  local known = redis.call('GET', KEYS[3])
  if known == false then
    redis.call('SET', KEYS[3], ARGV[4], 'PX', ARGV[5])
    if ARGV[6] ~= '' then redis.call('XADD', KEYS[4], '*', 'data', ARGV[6]) end
    if ARGV[7] ~= '' then redis.call('XADD', KEYS[5], '*', 'data', ARGV[7]) end
    dead = ''
  elseif known == ARGV[4] then
    outcome, dead = 'repeat', ''
  else
    outcome = 'conflict'
  end
end
if dead ~= '' then redis.call('XADD', KEYS[6], '*', 'data', dead) end
redis.call('XACK', KEYS[2], ARGV[2], ARGV[3])
return outcome
"""
"""Command, mark and acknowledgment in one step; what needs memory comes before what does not."""

RENEW: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
RELEASE: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
FORGET: Final = """
for _, found in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local of = {}
  for i = 1, #found, 2 do of[found[i]] = found[i + 1] end
  if of['name'] ~= ARGV[2] and of['pending'] == 0 and of['idle'] > tonumber(ARGV[3]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], of['name'])
  end
end
"""
