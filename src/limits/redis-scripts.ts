// The Lua that runs inside Valkey or Redis: one script takes all buckets of a call or none, one settles, one counts the
// nodes. The arithmetic is bucket.ts's, on the same doubles (Lua 5.1 numbers), so every bound proved there holds here.
//
// A bucket is three doubles, 24 bytes: units used, the server's milliseconds at which that was so, and the refill rate by
// which `used` is to be read. (As text, reading and writing them took half of the script's time.) A full bucket has no
// key: PX lets it vanish when time would have filled it.
//
// Keys of one call share the hash tag {organization}, so a cluster runs the script on one node.

import { createHash } from 'node:crypto';

export interface Script {
  readonly text: string;
  readonly sha: string;
}

/**
 * ARGV[1] is empty in production and the clock is the server's (TIME); a test gives its own milliseconds. ARGV[2] is the
 * shortest life of a key in milliseconds: 1 in production; a test's clock runs apart from the server's.
 */
const CLOCK = `
local now
if ARGV[1] == '' then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
else
  now = tonumber(ARGV[1])
end
local shortest = tonumber(ARGV[2])
`;

/** How long a held pool (enqueued batch tokens) is kept after its last change, in milliseconds: longer than a batch waits. */
const HELD_MS = 4 * 86_400_000;

const BUCKETS = `
local MAX_USED = 4503599627370496
local EXACT = 9007199254740991

local function convert(units, from, to, up)
  if from == to or units == 0 or from == 0 then return math.min(units, MAX_USED) end
  local rest = units % from
  local product = rest * to
  local part
  if product <= EXACT then
    if up then part = math.ceil(product / from) else part = math.floor(product / from) end
  elseif up then
    part = math.ceil(rest / from * to) + 1
  else
    part = math.max(0, math.floor(rest / from * to) - 1)
  end
  return math.min((units - rest) / from * to + part, MAX_USED)
end

-- Units used now under the rate that the bucket was written with, that rate, and whether the clock was set back.
local function read(text)
  if not text or #text ~= 24 then return nil end
  local used, at, rate = struct.unpack('>ddd', text)
  if now < at then return used, rate, true end
  return math.max(0, used - (now - at) * rate), rate, false
end

local function write(key, used, rate)
  if used <= 0 then
    redis.call('DEL', key)
    return
  end
  local life = ${HELD_MS}
  if rate > 0 then life = math.min(math.max(math.ceil(used / rate), shortest), 34560000000) end
  redis.call('SET', key, struct.pack('>ddd', used, now, rate), 'PX', life)
end
`;

/**
 * ARGV from 3, for each key: units asked for, the most that may be used already (negative: this call never passes), and
 * the pool's refill rate. Returns 1 (taken) or 0 (refused, nothing taken), then the units used of each pool: after the
 * call when it was taken, before it when it was refused.
 */
export const ADMIT = script(`${CLOCK}${BUCKETS}
local texts = redis.call('MGET', unpack(KEYS))
local useds = {}
local admitted = 1
for i = 1, #KEYS do
  local rate = tonumber(ARGV[3 * i + 2])
  local used, written, back = read(texts[i])
  if back then write(KEYS[i], used, written) end
  used = used and convert(used, written, rate, true) or 0
  useds[i] = used
  if tonumber(ARGV[3 * i]) > 0 and used > tonumber(ARGV[3 * i + 1]) then admitted = 0 end
end
if admitted == 1 then
  for i = 1, #KEYS do
    local units = tonumber(ARGV[3 * i])
    if units > 0 then
      useds[i] = useds[i] + units
      write(KEYS[i], useds[i], tonumber(ARGV[3 * i + 2]))
    end
  end
end
table.insert(useds, 1, admitted)
return useds
`);

/**
 * ARGV from 3, for each key: units more (or fewer, negative), and the refill rate that they are counted by. An overdraft
 * is kept. The rate that the bucket was written with stays.
 */
export const SETTLE = script(`${CLOCK}${BUCKETS}
-- One by one: a key comes twice when a limit changed between two reservations.
for i = 1, #KEYS do
  local units = tonumber(ARGV[2 * i + 1])
  local rate = tonumber(ARGV[2 * i + 2])
  local used, written = read(redis.call('GET', KEYS[i]))
  if not used or used == 0 then used, written = 0, rate end
  if units > 0 then
    used = math.min(used + convert(units, rate, written, true), MAX_USED)
  else
    used = math.max(used - convert(-units, rate, written, false), 0)
  end
  write(KEYS[i], used, written)
end
return 1
`);

/** ARGV from 3, for each key: units used from now on, whatever was used before, and the refill rate. */
export const PUT = script(`${CLOCK}${BUCKETS}
for i = 1, #KEYS do
  write(KEYS[i], math.min(tonumber(ARGV[2 * i + 1]), MAX_USED), tonumber(ARGV[2 * i + 2]))
end
return 1
`);

/** KEYS[1]: the nodes. ARGV: this node's name, and after how many silent milliseconds a node is gone. Returns how many. */
export const HEARTBEAT = script(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local gone = tonumber(ARGV[2])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - gone)
redis.call('PEXPIRE', KEYS[1], gone)
return redis.call('ZCARD', KEYS[1])
`);

export const SCRIPTS: readonly Script[] = [ADMIT, SETTLE, PUT, HEARTBEAT];

function script(text: string): Script {
  const lines = text.trim();
  return { text: lines, sha: createHash('sha1').update(lines).digest('hex') };
}
