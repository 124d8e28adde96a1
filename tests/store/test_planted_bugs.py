"""The machine catches bugs: it fails with each of these planted in the scripts. A soak plants all."""

import contextlib
import hashlib
import importlib
import itertools
import pkgutil

import pytest
from hypothesis import Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from redis.exceptions import ResponseError
from soak.counts import SOAK
from store.machine.life_machine import machine_on

from callback_server.store import queries, transitions
from callback_server.store.generated_lua import with_keys


def scripts():
    """Return all scripts but those of a repair, which looks for what the others have done wrong."""
    for package in (queries, transitions):
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            script = getattr(importlib.import_module(found.name), "SCRIPT", None)
            if script is not None and not script.name.startswith("repair_"):
                yield script


SCRIPTS = [*scripts()]


def never(condition):
    """Return the change by which a condition is never met."""
    return f"if {condition} then", "if false then"


BUGS = {
    "a second caller gets in": "if case.status == IN_PROGRESS then return reply('BUSY') end",
    "a resent claim is taken for another call's": ("if known[1] == 'RUNNING' then", "if known[1] == 'NEVER' then"),
    "a claim that comes late is granted": "if left <= 0 then return reply('STALE') end",
    "a case is reached by another state": "case.sha ~= state_hash_half or ",
    "a large body outlives the small one that replaces it": ("retire_body(case)\nif body", "if body"),
    "a case is reached by the other form": " or case.parameter ~= parameter",
    "an over-lease call keeps its case": ("apply_timeouts(case, now, limits)\n\nlocal arrival", "local arrival"),
    "a late end counts": ("if lease and lease <= now then\n  end_lease", "if false then\n  end_lease"),
    "an end counts twice": (
        "if call[1] ~= 'RUNNING' then\n  if call[1] ~= status", "if false then\n  if call[1] ~= status"),
    "the end of a call reopens a closed case": (
        "if case.status ~= 'CLOSED' and (case.call == call_id", "if (case.call == call_id"),
    "a failed call can be tried again where it must not": (
        "then return 'CLOSED', 'FAILED' end", "then return 'OPEN' end"),
    "an interrupted call runs again": ("if call_end == 'INTERRUPTED' then return 'CLOSED', 'INTERRUPTED' end",
                                       "if call_end == 'INTERRUPTED' then return 'OPEN' end"),
    "a call that never started closes its case": "if call_end == 'NOT_STARTED' then return 'OPEN' end",
    "keep_open is forgotten": ("keep_open and 'KEPT_OPEN' or status", "status"),
    "a handler cannot close its case": ("close and 'CLOSED' or keep_open", "keep_open"),
    "only the newest call of a case can close it": (" or call_end == 'CLOSED') then", ") then"),
    "a delivery cannot close its case": never("close and status == 'DELIVERED'"),
    "a delivery that ends otherwise closes its case": ("if close and status == 'DELIVERED' then", "if close then"),
    "a delivery closes a closed case again": ("closes = case.status ~= 'CLOSED'", "closes = true"),
    "a delivery closes a case whose time is over": ("  apply_timeouts(case, now, limits)\n  closes =", "  closes ="),
    "a watcher does not hear of a case that a delivery closed": (
        "  close_case(case, CONSUMED, now)\n  emit_event(case, 'CASE_CLOSED')", "  close_case(case, CONSUMED, now)"),
    "a case with multiple calls closes": ("if mode == 'RETRYABLE' then", "if mode ~= 'SINGLE' then"),
    "an index is left behind": (
        "redis.call('ZREM', index_key(case.owner, case.status, case.activity), case.id)\n  redis.call('ZADD'",
        "redis.call('ZADD'"),
    "an expired case stays open": ("if expires and expires <= now and", "if false and"),
    "expiry goes before a lease that ended earlier": (" and not (expires and expires < lease)", " and not expires"),
    "a running call is deleted": (
        "if redis.call('ZSCORE', ended_key(), calls[i]) then", "if true then"),
    "a case is deleted while its call runs": (
        "elseif redis.call('EXISTS', calls_key(case_id)) == 1 then", "elseif false then"),
    "a foreign owner can close": ("case.owner == owner) then return case end", "true) then return case end"),
    "a lost update of the response": "if case.version ~= version then return reply('CONFLICT') end",
    "a call sees the response as it is now": (
        "return grant('CLAIMED', known[2], left, known[3], known_body, known[5])",
        "return grant('CLAIMED', known[2], left, redis.call('GET', content_key(case_id)), redis.call('GET', "
        "body_key(case_id)) or '', known[5])"),
    "a claim that is sent again merges with a response that it did not see": (
        "return grant('CLAIMED', known[2], left, known[3], known_body, known[5])",
        "return grant('CLAIMED', known[2], left, known[3], known_body, case.version)"),
    "a call is answered with a response that was replaced": never("version ~= '' and version ~= case.version"),
    "an end that depends on no response is sent again": (
        "if version ~= '' and version ~= case.version then", "if version ~= case.version then"),
    "an answer is merged with the response at the claim again": (
        "return reply('MERGE', tonumber(case.version), redis.call('GET', content_key(case_id)),",
        "return reply('MERGE', tonumber(case.version), call[3],"),
    "an answer is merged without the body that the case has now": (
        "    redis.call('GET', body_key(case_id)) or '')\nend\n\nif audit", "    '')\nend\n\nif audit"),
    "a call with another response ends before it is merged": (
        "  return reply('MERGE',",
        "  redis.call('HSET', call_key(call_id), 'keep_open', '0')\n"
        "  redis.call('HINCRBY', case_key(case_id), 'version', 1)\n  return reply('MERGE',"),
    "another request gets the same case": "if known.fingerprint ~= fingerprint then return 'CONFLICT' end",
    "a request makes another case when it comes again": (
        "target = redis.call('GET', pointer_key(pointer))", "target = false"),
    "a request gets the URL of a case that was never stored": (
        "return 'KNOWN', known_nonce,", "return 'KNOWN', nonce,"),
    "a request that is sent again seems to be an earlier one": (
        "if known_nonce == nonce then return 'OK', tonumber(known.expires or 0) end"),
    "a pointer outlives its case": "    if case.pointer then redis.call('UNLINK', pointer_key(case.pointer)) end\n",
    "a case forgets its pointer": "set_case_field('pointer', pointer)",
    "two cases of a key are open": "if holder.status ~= 'CLOSED' then return 'IN_USE', holder.id end",
    "a key stays in use by a case whose time is over": (
        "    apply_timeouts(holder, math.floor(now_us() / 1000), limits)\n"),
    "a key is in use by a closed case": (
        "if holder and holder.status ~= 'CLOSED' then",
        "if holder then return 'IN_USE', holder.id end\n  if false then",
    ),
    "a key forgets its case": "redis.call('HSET', correlation_key(correlation), 'case', case_id)",
    "a key forgets the requests of its cases": (
        "redis.call('HSET', correlation_key(correlation), pointer, case_id .. nonce)"),
    "a request within a key makes another case when it comes again": (
        "target = redis.call('HGET', correlation_key(correlation), pointer)", "target = false"),
    "a copy of an event runs on the next case of its key": (
        "copied = redis.call('GET', repeat_key(repeats_of, event_digest))", "copied = nil"),
    "only the case that had an event knows its copies": (
        "redis.call('SET', repeat_key(repeats_of, digest), call_id)",
        "redis.call('SET', repeat_key(case_id, digest), call_id)"),
    "an event whose claim is sent again runs on the next case of its key": (
        "  redis.call('SET', repeat_key(repeats_of, event_digest), call_id, 'PX', RESENT_MS)\n"),
    "an event that no handler got is not tried again": (
        "redis.call('UNLINK', repeat_key(digest_of or case.id, digest))",
        "redis.call('UNLINK', repeat_key(case.id, digest))"),
    "the window of an event never ends": (
        "redis.call('PEXPIREAT', repeat_key(digest_of or case.id, digest), found_until)",
        "redis.call('PEXPIREAT', repeat_key(case.id, digest), found_until)"),
    "a call forgets that it is an event": "if is_event then set_call_field('digest_of', repeats_of) end",
    "an event needs the profile of the case": (
        "case.profile ~= profile and not is_event then", "case.profile ~= profile then"),
    "a case forgets its key": "set_case_field('correlation', correlation)",
    "a case that is deleted takes the key of a newer one": ("if newest == case.id then", "if newest then"),
    "the newest case outlives itself in its key": (
        "if newest == case.id then redis.call('HDEL', correlation_key(case.correlation), 'case') end"),
    "a request outlives its case within the key": (
        "  if case.pointer then redis.call('HDEL', correlation_key(case.correlation), case.pointer) end\n"),
    "a call that is no longer kept is made again": (
        "redis.call('HDEL', call_key(call_id), 'request', 'request_body')", "redis.call('DEL', call_key(call_id))"),
    "a running call takes the room of those that have ended": (
        "redis.call('ZADD', leases_key(), now + lease_ms, call_id)",
        "redis.call('ZADD', leases_key(), now + lease_ms, call_id)\n"
        "redis.call('HINCRBY', case_key(case_id), 'bytes', size)"),
    "a foreign owner can erase": (
        "load_owned_case(case_id, owner)\nif not case then return reply('UNKNOWN') end\n\nlocal now",
        "load_case(case_id)\nif not case then return reply('UNKNOWN') end\n\nlocal now"),
    "a body outlives the erasure": (
        "redis.call('HDEL', call_key(call_id), 'request_body', 'recorded_request', 'drops_body')"),
    "the recorded part of a held request outlives the erasure": (
        "'request_body', 'recorded_request', 'drops_body')\nend\n\nlocal function erase_resolution",
        "'request_body')\nend\n\nlocal function erase_resolution"),
    "the answer of a case outlives the erasure": "  if case.resolved then erase_resolution() end\n",
    "a call that waits for the answer of its case loses it to the erasure": (
        "    end_hold(case, call_id, now, no_limits)\n  end\n  local left", "  end\n  local left"),
    "a redirect leaves an answer after the erasure": (
        "left[1] ~= '' and packed_answer(left[2], '') or ''", "packed_answer(left[2], '')"),
    "a held call is cut before it is answered": (
        "local is_kept_while_held = partial and is_held", "local is_kept_while_held = false"),
    "a held request outlives its call": ("    trim_request(case, call_id)\n  end", "  end"),
    "the body of a held request outlives its call": (
        "    size = size - #call[3]\n    redis.call('HSET', call_key(call_id), 'request_body', '')"),
    "a held request takes room after its end": "redis.call('HINCRBY', call_key(call_id), 'size', size)",
    "a call with a delivery is deleted": (
        "if not has_delivery then retain_ended_call(case, call_id, call[5], now, limits) end",
        "retain_ended_call(case, call_id, call[5], now, limits)"),
    "a call whose delivery has ended is never deleted": (
        "  retain_ended_call(case, call_id, call[3], now, limits)\n  if case.ordered ~=", "  if case.ordered ~="),
    "a delivery starts without its activity being listed": "redis.call('SADD', activities, case.activity)",
    "a delivery that has ended stays scheduled": ("redis.call('ZREM', due, call_id)\n  if", "if"),
    "a later call of an ordered case does not wait": (
        "if case.ordered == '1' and redis.call('RPUSH', queue_key(case.id), call_id) > 1 then",
        "if case.ordered == '1' then redis.call('RPUSH', queue_key(case.id), call_id) end\n  if false then"),
    "the next call of an ordered case is forgotten": "if waits then schedule_attempt(case, first, now) end",
    "a paused activity is delivered": ("if redis.call('HEXISTS', pauses_key(), activity) == 0 then", "if true then"),
    "a call of a paused activity is delivered at its claim": (
        "can_deliver = can_deliver and redis.call('HEXISTS', pauses_key(), case.activity) == 0"),
    "a call that waits behind another seems to be due": (
        "    set_delivery_status(case, call_id, 'PENDING')\n    return false",
        "    redis.call('HSET', call_key(call_id), 'next', now)\n"
        "    set_delivery_status(case, call_id, 'PENDING')\n    return false"),
    "a claim that is sent again runs the delivery of another process": (
        "or delivery[2] ~= '1' or not delivery[3] then", "then"),
    "an attempt that was overtaken counts": (
        "if call[1] ~= 'RUNNING' or call[2] ~= fencing_token then return reply('STALE') end",
        "if call[1] ~= 'RUNNING' then return reply('STALE') end"),
    "the end of an attempt that is sent again counts twice": (
        "if call[3] == fencing_token then return reply('OK', 0, 0, call[1] == 'RUNNING' and status or call[1]) end"),
    "a lease of a delivery that ended is not taken": (
        "redis.call('ZRANGE', due_list(activity, notifications), '-inf', now",
        "redis.call('ZRANGE', due_list(activity, notifications), 1000, now"),
    "an attempt does not count": "redis.call('HINCRBY', call_key(call_id), 'attempts_started', 1)",
    "an attempt without a question to the handler counts": (
        "if not was_asked then redis.call('HINCRBY', call_key(call_id), 'attempts_not_asked', 1) end"),
    "what was erased is delivered again": "if status == 'PENDING' then status = 'DEAD' end",
    "what was erased waits to be delivered": "if call[5] == 'PENDING' then dead[#dead + 1] = call_id end",
    "an erasure deletes what it would count again": ("end_delivery(case, call_id, 'DEAD', now, no_limits)",
              "end_delivery(case, call_id, 'DEAD', now, {recorded_calls_per_case = 1, recorded_bytes_per_case = 1e9})"),
    "a delivery counts as erased bytes": (
        "if redis.call('ZSCORE', ended_key(), call_id) then case.bytes = case.bytes - call[2] end",
        "case.bytes = case.bytes - call[2]"),
    "a request is cut before it is delivered": (
        "if partial and case.answer_mode == 'ACK' then request,", "if false then request,"),
    "a delivered request is kept whole": never("status == 'DELIVERED' and request ~= ''"),
    "a request that was cut is replayed": ("if call[2] == '' or call[3] then return reply('INCOMPLETE') end",
                                           "if call[2] == '' then return reply('INCOMPLETE') end"),
    "a foreign owner can replay": ("load_owned_case(case_id, owner)\nlocal call =", "load_case(case_id)\nlocal call ="),
    "a delivery that runs is replayed": ("if call[4] == 'RUNNING' or (call[1] ==", "if (call[1] =="),
    "an erased request still counts for its owner": (
        "  case.recorded = case.recorded - redis.call('HGET', call_key(call_id), 'size')\n", ""),
    "a call that is deleted still counts for its owner": (
        "case.bytes, case.recorded = case.bytes - call[1], case.recorded - call[1]",
        "case.bytes = case.bytes - call[1]"),
    "the answer of a handler does not count for the owner": ("  case.recorded = case.recorded + grown\n", ""),
    "a dead delivery loses its body": (" or call[2] == 'DEAD' then return 0 end", " then return 0 end"),
    "a call whose body was dropped is replayed": (
        "'request_body', '', 'partial', '1')\n  end\n  if not", "'request_body', '')\n  end\n  if not"),
    "a replayed call can be deleted": (
        "redis.call('ZREM', ended_key(), call_id)\ncase.unfinished, case.bytes", "case.unfinished, case.bytes"),
    "a dead call is not listed": ("if status == 'DEAD' and call[2] ~= '' then redis", "if false then redis"),
    "an erased call is listed as dead": (
        "if status == 'DEAD' and call[2] ~= '' then redis", "if status == 'DEAD' then redis"),
    "a dead call that was erased is still listed": (
        "\n    redis.call('ZREM', dead_key(case.owner), call_id)\n  end", "\n  end"),
    "a replayed call is still listed as dead": (
        "redis.call('ZREM', dead_key(case.owner), call_id)\nif is_notification", "if is_notification"),
    "a dead call that was deleted is still listed": (
        "if call[3] then redis.call('ZREM', dead_key(case.owner), call_id) end"),
    "a page of the list begins where the one before ended": (" or call_id < before_call_id\n", " or true\n"),
    "a held call is not listed": "redis.call('ZADD', waiting_key(case.owner), now, call_id)",
    "a held call waits after its end": "    redis.call('ZREM', waiting_key(case.owner), call_id)\n",
    "a fallback is sent after the call has ended": (
        "local lease = call[1] == 'RUNNING' and tonumber", "local lease = 1e15 or tonumber"),
    "a fallback is sent after the end of the lease": ("if not lease or lease <= now then return reply('STALE') end",
                                                      "if not lease then return reply('STALE') end"),
    "a delivery after a fallback ends its call too early": (
        "if may_run_again and backoff_ms ~= '' and", "if false and"),
    "a handler that must not run twice is asked again after a fallback": (
        "(status == 'FAILED' and case.mode ~= 'SINGLE')", "status == 'FAILED'"),
    "a handler that must not run twice is asked again after its server was lost": (
        "if call[1] and case.mode ~= 'SINGLE' and call[2] ~= '' then", "if call[1] and call[2] ~= '' then"),
    "a call whose server was lost after its fallback ends": never(
        "call[1] and case.mode ~= 'SINGLE' and call[2] ~= ''"),
    "a lease ends, and what was erased is delivered again": (
        "if call[1] and case.mode ~= 'SINGLE' and call[2] ~= '' then", "if call[1] and case.mode ~= 'SINGLE' then"),
    "what was erased is delivered again after a fallback": (
        "if may_run_again and backoff_ms ~= '' and call[5] ~= '' then", "if may_run_again and backoff_ms ~= '' then"),
    "a call that waits for its next attempt keeps its lease": (
        "    redis.call('ZREM', leases_key(), call_id)\n    schedule_attempt(case, call_id, now + backoff_ms)",
        "    schedule_attempt(case, call_id, now + backoff_ms)"),
    "a fallback that does not accept the request starts a delivery": (
        "if not accepts then\n  count_step(case)\n  return reply('OK')\nend\n"),
    "a fallback that accepts the request starts no delivery": (
        "if not accepts then\n  count_step(case)", "if true then\n  count_step(case)"),
    "an attempt after a fallback has no lease": (
        "    redis.call('ZADD', leases_key(), lease_end, call_id)\n  else", "  else"),
    "a late attempt ends the call of another": ("or (delivery and call[9] ~= fencing_token) then", "then"),
    "the end of an attempt after a fallback counts twice": (
        "elseif delivery and call[10] == fencing_token then", "elseif false then"),
    "the end of a call after its fallback leaves its delivery": (
        "  end_delivery(case, call_id, call_status", "  tostring(case, call_id, call_status"),
    "a request that was cut is not made whole by a fallback": (
        "if call[3] and call[5] ~= '' then -- the next", "if false then -- the next"),
    "an erased request comes back with a fallback": (
        "if call[3] and call[5] ~= '' then -- the next", "if call[3] then -- the next"),
    "a request is kept whole after its delivery followed a fallback": (
        "  if call_status == 'SUCCEEDED' then\n    trim_request(case, call_id)",
        "  if call_status == 'SUCCEEDED' then"),
    "a request that is kept for a replay is cut when its call ends": (
        "  if call_status == 'SUCCEEDED' then\n    trim_request(case, call_id)\n  else",
        "  if true then\n    trim_request(case, call_id)\n  else"),
    "the recorded part of a request outlives its delivery after a fallback": (
        "    redis.call('HDEL', call_key(call_id), 'recorded_request', 'drops_body')\n  end\n  end_delivery",
        "  end\n  end_delivery"),
    "an attempt after a fallback that asked no handler counts": (
        "  if not was_asked then redis.call('HINCRBY', call_key(call_id), 'attempts_not_asked', 1) end\n  local may",
        "  local may"),
    "an erased call whose delivery waited runs on": (
        "  if call[1] == 'RUNNING' then\n    redis.call('HSET', call_key(call_id), 'failure', call[4])",
        "  if false then"),
    "an erased call that no handler got is failed": ("call[2] == call[3] and 'NOT_STARTED' or 'FAILED'", "'FAILED'"),
    "a delivery after a fallback cannot be replayed": (
        "(call[1] == 'RUNNING' and not call[4])", "call[1] == 'RUNNING'"),
    "a replay counts the attempts before it that asked no handler": (", 'not_asked_before_replay', call[7] or 0)", ")"),
    "the mark of a fallback that is sent again is refused": "if call[2] then return reply('OK') end",
    "a held call gets two answers": (" or (call[7] or '') ~= answer_digest then", " then"),
    "a fallback outlives its case": (", fallback_key(case_id),", ","),
    "an acknowledged call holds its case": ("or case.answer_mode == 'ACK' end", "end"),
    "an erasure that is sent again counts nothing": (" or call[4] == erasure then", " then"),
    "an answer outlives the erasure": ("erase_outcome(case, call_id)\n    end", "\n    end"),
    "the erasure of a running call is forgotten": ("if call[5] ~= '' then", "if true then"),
    "the answer of a call that was erased while it ran stays":
        "  if call[1] == '' then erase_outcome(case, call_id) end",
    "what was erased still takes room": ("case.bytes = case.bytes - call[2]", "local _"),
    "a running call loses its grant to the erasure": (
        "if call[1] ~= 'RUNNING' then\n      if redis", "if true then\n      if redis"),
    "an erased call gets the present response of the case": ("and known[5] == case.version then", "then"),
    "the end of a lease is not reported": ("REPORTS[#REPORTS + 1] = {'LEASE_ENDED'", "local _ = {'LEASE_ENDED'"),
    "a held call that nobody answers is interrupted": (
        "if case.answer_mode == 'HOLD' then return end_hold", "if false then return end_hold"),
    "the end of a hold time is not reported": (
        "REPORTS[#REPORTS + 1] = {'HOLD_TIME_ENDED'", "local _ = {'HOLD_TIME_ENDED'"),
    "a case holds any number of calls": (">= max_held_calls then", "< 0 then"),
    "a call counts as held after its end": "redis.call('ZREM', held_key(case.id), call_id)",
    "a case is resolved twice": "if case.resolved and case.resolved ~= digest then return reply('CONFLICT') end",
    "a resolution misses the call that comes next": (
        "if is_held and case.resolved then return resolved", "if false then return resolved"),
    "a resolution takes the place of the end of a hold time": (
        "if tonumber(redis.call('ZSCORE', leases_key(), call_id)) <= now then end_hold", "if false then end_hold"),
    "a resolved call that is still to end can be answered": (
        "for _, call_id in ipairs(held) do redis.call('ZADD', leases_key(), now, call_id) end"),
    "a rejection is the answer to later calls of a retryable case": (
        "local is_for_held = status == 'REJECTED' and case.mode == 'RETRYABLE'", "local is_for_held = false"),
    "a rejection that is sent again ends a later call": ("'-inf', up_to, 'BYSCORE')", "'-inf', '+inf', 'BYSCORE')"),
    "a resolution is merged with an earlier response": (
        "if version ~= '' and version ~= case.version then\n    return reply", "if false then\n    return reply"),
    "a resolution that reaches nobody is taken": (
        "if case.status == 'CLOSED' and #held == 0 then return reply('CLOSED', case.reason) end"),
    "a closed case does not answer its held calls": (
        "if case.status == 'CLOSED' and #held == 0", "if case.status == 'CLOSED'"),
    "a claim that is sent again forgets the resolution": (
        "elseif known[1] and case.resolved and known[7] == case.resolved then", "elseif false then"),
    "a resolution outlives its case": ("      resolution_key(case_id), closed_response", "      closed_response"),
    "a case that holds no calls is resolved": "if case.answer_mode ~= 'HOLD' then return reply('NOT_HELD') end",
    "a caller waits at the address of another call": "or (is_own and call[3] ~= wait_hash)",
    "a caller is told to wait for a call that has ended": (
        "if call[1] ~= 'RUNNING' then return reply('STALE') end\nredis.call('XLEN'", "redis.call('XLEN'"),
    "a caller that waits gets an answer twice that must not be": (" and (call[8] or asker) == asker)", ")"),
    "an answer is not kept for a caller that waits": "window_ms = math.max(window_ms, WAITED_MS)",
    "an expiry is not reported": ("REPORTS[#REPORTS + 1] = {'CASE_EXPIRED'", "local _ = {'CASE_EXPIRED'"),
    "an expiry is reported for a case that was closed before": (
        "if expires and expires <= now and case.status ~= 'CLOSED' then\n    local skipped = case.notify and "
        "skipped_reminders(case) or 0\n    close_case(case, EXPIRED, now)",
        "if case.expires and tonumber(case.expires) <= now then\n    local skipped = 0\n"
        "    if case.status ~= 'CLOSED' then close_case(case, EXPIRED, now) end"),
    "an end that is sent again forgets its effect on the case": (
        "reply('AGAIN', call[6] or '', delivery or '',", "reply('AGAIN', '', delivery or '',"),
    "a case that is closed again counts as closed now": ("if case.status == 'CLOSED' then return reply('ALREADY') end",
                              "if case.status == 'CLOSED' then emit_event(case, 'CASE_CLOSED') return reply('OK') end"),
    "a label is found after its case was deleted": (
        "for _, index in ipairs(label_indexes(case.owner, content)) do redis.call('ZREM', index, case_id) end"),
    "a label leads to a foreign owner's cases": (
        "local index = label_key(owner, digest)", "local index = label_key('', digest)"),
    "a lease outlives its call": (
        "unpack(fields or {}))\n  redis.call('ZREM', leases_key(), call_id)", "unpack(fields or {}))"),
    "watchers get no event of the end of a call": "  emit_event(case, 'CALL_ENDED', call_id, call_status)\n",
    "watchers get no event of an expiry": "    emit_event(case, 'CASE_CLOSED')\n",
    "watchers get no event of a close": ("\nemit_event(case, 'CASE_CLOSED')\n", "\n"),
    "watchers get no event of a claim": "emit_event(case, 'CALL_STARTED', call_id, 'RUNNING')",
    "watchers get no event of a new response": "emit_event(case, 'RESPONSE_SET')",
    "watchers get no event of a delivery": ("emit_event(case, 'DELIVERY_CHANGED'", "tostring(case, 'DELIVERY_CHANGED'"),
    "watchers get two events of a replay that is sent again": (
        "if not due_at or tonumber(due_at) > now then schedule", "if true then schedule"),
    "an event has the status before the change": (
        "  if status == 'CLOSED' then close_case(case, reason, now) elseif status then set_case_status(case, "
        "status) end\n  emit_event(case, 'CALL_ENDED', call_id, call_status)\n",
        "  emit_event(case, 'CALL_ENDED', call_id, call_status)\n"
        "  if status == 'CLOSED' then close_case(case, reason, now) elseif status then set_case_status(case, "
        "status) end\n"),
    "the numbers of events have holes": ("MAX_EVENTS, '0-*'", "MAX_EVENTS, '*'"),
    "an event forgets the labels of its case": (
        "case.reason or '', call_status or '', delivery or '', case.label_digests",
        "case.reason or '', call_status or '', delivery or '', ''"),
    "a caller that is gone is told twice": ("if call[3] then return reply('OK') end\nlocal case", "local case"),
    "a caller that is gone is not marked": "redis.call('HSET', call_key(call_id), 'caller_gone', '1')",
    "a caller of a call that is no longer kept is marked": (
        "if not call[1] then return reply('UNKNOWN') end\nif call[3]", "if call[3]"),
    "watchers get no event of a caller that is gone": "emit_event(case, 'CALLER_GONE', call_id, call[2])",
    "a profile is not required": never("case.profile and case.profile ~= profile"),
    "any profile will do": ("case.profile ~= profile then", "profile == '' then"),
    "a profile is forgotten": "set_case_field('profile', profile)",
    "a guard is forgotten": "set_case_field('guard', guard)",
    "an OPTIONS makes a call": "if intent == 'OPTIONS' then return reply('UNKNOWN') end",
    "a GET makes a call that a person must confirm": ("(intent == 'GET' or", "("),
    "a confirmation must be confirmed again": (
        "or intent == 'FORM'\n", "or intent == 'FORM' or intent == 'CONFIRMED'\n"),
    "a POST that a person never saw makes the call": (" or intent == 'FORM'\n", "\n"),
    "a POST that is no choice makes the call": ("\n    or case.choices and intent ~= 'CONFIRMED') then", ") then"),
    "a choice must be made again": ("case.choices and intent ~= 'CONFIRMED'", "case.choices"),
    "a closed response is forgotten": "redis.call('SET', closed_response_key(case_id), closed_response)",
    "a closed response outlives its case": (", closed_response_key(case_id))\n    dropped", ")\n    dropped"),
    "a handshake gets a closed response": (
        "case.closed_response and intent ~= 'HANDSHAKE' and", "case.closed_response and"),
    "choices are forgotten": "set_case_field('choices', '1')",
    "a program that opens links makes a call": (
        "if case.guard == 'DETECT' and intent == 'GET' then return reply('AGENT') end"),
    "a person is taken for a program": ("if case.guard == 'DETECT' and intent == 'GET'", "if case.guard == 'DETECT'"),
    "a person need not confirm": "intent == 'PERSON' or ",
    "a call counts for nothing in its minute": (
        "if arrival then redis.call('HSET', case_key(case_id), 'arrival', arrival) end"),
    "a handshake makes a call": "if intent == 'HANDSHAKE' then return reply('HANDSHAKE') end",
    "a handshake is answered while a call runs": ("if case.status == IN_PROGRESS then return reply('BUSY') end",
                               "if case.status == IN_PROGRESS and intent ~= 'HANDSHAKE' then return reply('BUSY') end"),
    "a message that has succeeded makes another call": ("\nif earlier then", "\nif false then"),
    "a message that has succeeded finds its case closed": (
        "if earlier then", "if earlier and case.status ~= 'CLOSED' then"),
    "a request whose call runs makes another call": (
        "  if status == 'RUNNING' then\n    -- After", "  if false then\n    -- After"),
    "a request whose lease has ended waits on": (
        "    if lease and lease <= now then end_lease(case, earlier, now, limits) end\n"),
    "a request that succeeded is not made again where it must be": (
        "(status == 'SUCCEEDED' and (is_message or case.mode == 'MULTIPLE'))", "status == 'SUCCEEDED'"),
    "a message that succeeded is accepted again": ("and (is_message or case.mode", "and (case.mode"),
    "a request is no repeat on a case for multiple calls": (
        "and (is_message or case.mode == 'MULTIPLE')", "and is_message"),
    "a request that failed is not accepted again": ("(status == 'SUCCEEDED' and (is_message", "(true and (is_message"),
    "a repeat finds its case closed": (
        "  if case.status == 'CLOSED' or (status == 'SUCC", "  if case.status ~= 'CLOSED' and (status == 'SUCC"),
    "a repeat passes the limits on calls": (
        "  local retry_after_ms, limit = limited()\n", "  local retry_after_ms, limit = 0, ''\n"),
    "a handshake is a repeat": ("window_ms > 0 and intent ~= 'HANDSHAKE' then", "window_ms > 0 then"),
    "a message is recognized by its content": ("is_message and message_hash or request_hash", "request_hash"),
    "a repeat of any call is recognized": (
        "if not is_message and not is_event then window_ms = tonumber(case.repeat_window) end",
        "if not is_message and not is_event then window_ms = 3600000 end"),
    "a repeat is answered for another call": ("answer_again(case, earlier)", "answer_again(case, case.call)"),
    "a repeat that is sent again counts twice": (
        "if redis.call('HGET', call_key(call_id), 'last_repeat') == repeat_id then return end"),
    "a repeat that waits is not counted": (
        "    count_repeat(earlier, call_id)\n    return reply('RUNS'", "    return reply('RUNS'"),
    "a repeat that is answered is not counted": (
        "    count_repeat(earlier, call_id)\n    return reply('REPEATED'", "    return reply('REPEATED'"),
    "a repeat that waits gets no message at the end": (
        "  if waiters then\n    local replicas", "  if false then\n    local replicas"),
    "the end of a call is told twice": "    redis.call('HDEL', call_key(call_id), 'waiters')\n",
    "a window never ends": "  redis.call('PEXPIREAT', repeat_key(digest_of or case.id, digest), found_until)\n",
    "a window ends at once": ("redis.call('PEXPIREAT', repeat_key(digest_of or case.id, digest), found_until)",
                              "redis.call('PEXPIREAT', repeat_key(digest_of or case.id, digest), now)"),
    "a call that never started is repeated": (
        "  if call_status == 'NOT_STARTED' then\n    redis.call('UNLINK'", "  if false then\n    redis.call('UNLINK'"),
    "a case is deleted before its windows are over": (
        "elseif tonumber(case.repeats_until) > now then", "elseif false then"),
    "a repeat is forgotten with the record of its call": ("math.max(TOMBSTONE_MS, known_ms)", "1"),
    "an answer is not kept": "  redis.call('SET', answer_key(call_id), answer, 'PXAT', now + kept_ms)\n",
    "an answer is kept only as it is recorded": (
        "whole_response ~= '' and packed_answer(whole_response, whole_body)", "false"),
    "an answer that is too large is kept": "if size > max_bytes then window_ms = 0 end",
    "the answers of a case take any room": ("(bytes <= max_bytes and tonumber", "(true and tonumber"),
    "the newest answer goes first": ("redis.call('ZRANGE', answers_key(case.id), 0, 0, 'WITHSCORES')",
                                     "redis.call('ZRANGE', answers_key(case.id), -1, -1, 'WITHSCORES')"),
    "answers that are gone take room": ("bytes = bytes - string.sub", "bytes = bytes - 0 * string.sub"),
    "the room of the answers that are kept is forgotten": (
        " or 0)\n  redis.call('ZADD', answers_key(case.id)", " and 0 or 0)\n  redis.call('ZADD', answers_key(case.id)"),
    "the answer that closed its case is not erased": (
        "  if case.call then redis.call('UNLINK', answer_key(case.call)) end\n"),
    "an answer outlives the erasure of a call that is no longer recorded": (
        "    redis.call('UNLINK', answer_key(call_id))\n"),
    "the answer of a call that was erased while it ran is kept": (
        "    call[5] ~= '' and window_ms or 0, now, repeat_bytes_per_case, whole_names_body)",
        "    window_ms, now, repeat_bytes_per_case, whole_names_body)"),
    "a repeat forgets the code of its answer": ("  set_call_field('code', code)\nend", "end"),
    "an owner cannot forbid the second answer": ("if no_repeat or case.no_repeat then", "if no_repeat then"),
    "a handler cannot forbid the second answer": ("if no_repeat or case.no_repeat then", "if case.no_repeat then"),
    "a case that answers gives a forbidden answer twice": never("window_ms > 0 and case.no_repeat"),
    "a case may have one call more in a minute": (
        "us - calls_per_minute * interval", "us - (calls_per_minute + 1) * interval"),
    "a case may have one call fewer in a minute": (
        "us - calls_per_minute * interval", "us - (calls_per_minute - 1) * interval"),
    "reminders outlive the close of their case": ("  if case.notify then drop_reminders(case) end\nend", "end"),
    "a reminder that is not due yet outlives the close of its case": (
        "  redis.call('ZREM', reminders_key(), case.id)\n  for number", "  for number"),
    "a resolved case has reminders": (
        "  case.resolved = digest\n  drop_reminders(case)\n", "  case.resolved = digest\n"),
    "the expiry of a resolved case is told": (
        " and not case.resolved then start_notification", " then start_notification"),
    "a reminder of a resolved case is tried again": (
        "case.status == 'CLOSED' or case.resolved ~= nil", "case.status == 'CLOSED'"),
    "a reminder comes after the close": never("delivery == 'PENDING' or delivery == 'DEAD'"),
    "a dead reminder outlives the close of its case": (
        "if delivery == 'PENDING' or delivery == 'DEAD' then", "if delivery == 'PENDING' then"),
    "a reminder that is told as its case closes is forgotten": (
        "if delivery == 'PENDING' or delivery == 'DEAD' then", "if delivery ~= 'DELIVERED' then"),
    "a reminder of a closed case is tried again": (
        "return is_notification(call_id) and is_decided(case)", "return false and is_decided(case)"),
    "the expiry is dropped like a reminder": (" and call_id ~= expiry_id(case)\n", "\n"),
    "a reminder of a closed case is made": (
        "if not is_decided(case) then\n      start_reminder", "if true then\n      start_reminder"),
    "a reminder is told again and again": (
        "redis.call('HINCRBY', case_key(case.id), 'reminders', 1)", "reminder_count(case) + 1"),
    "a case has one reminder": (
        "  schedule_reminder(case, number + 1)\n", "  redis.call('ZREM', reminders_key(), case.id)\n"),
    "a reminder stays due": "  schedule_reminder(case, number + 1)\n",
    "the reminders of a case never end": (
        "  else\n    redis.call('ZREM', reminders_key(), case.id)\n  end\nend", "  end\nend"),
    "an expiry that has no handler is told": (
        "return string.find(case.notify or '', reason, 1, true) ~= nil", "return true"),
    "an expiry is not delivered": never("notifies(case, 'EXPIRY') and not case.resolved"),
    "an expiry is sent for a case that its owner closed": (
        "  if case.notify then drop_reminders(case) end\nend",
        "  if case.notify then\n    drop_reminders(case)\n    start_notification(case, expiry_id(case), now)\n  end\n"
        "end"),
    "a notification is taken for a call": ("string.sub(call_id, 34, 46) == '0000000000000'", "false"),
    "a case is deleted before its expiry was told": (
        "    if delivery == 'PENDING' or delivery == 'RUNNING' then return false end\n"),
    "a notification is taken with the body of its case": (
        "  if case and is_notification(call_id) then -- its", "  if false then -- its"),
    "notifications outlive their case": (
        "    redis.call('UNLINK', call_key(call_id))\n  end\n  return true", "  end\n  return true"),
    "a notification that is replayed is not due": (
        "  redis.call('HSET', call_key(call_id), 'delivery_start', now)\n  schedule_attempt(case, call_id, now)\n"),
    "a closed case is extended": (
        "if case.status == 'CLOSED' then return reply('CLOSED', case.reason) end\nif expires", "if expires"),
    "a case is extended although it has expired": (
        "apply_timeouts(case, now, limits)\n"
        "if case.status == 'CLOSED' then return reply('CLOSED', case.reason) end\nif expires",
        "if case.status == 'CLOSED' then return reply('CLOSED', case.reason) end\nif expires"),
    "a case is extended into the past": "if expires <= now then return reply('PAST') end",
    "a case is extended beyond the maximum": "if expires > now + max_ms then return reply('TOO_LATE') end",
    "an extension leaves the old timer": (
        "redis.call('ZADD', expiries_key(), expires, case_id)\nemit_event", "emit_event"),
    "an extension is forgotten": "redis.call('HSET', case_key(case_id), 'expires', string.format('%.0f', expires))",
    "an extension that is sent again is told twice": (
        "if tonumber(case.expires) == expires then return reply('SAME') end"),
    "an owner that made too many calls goes on": never(
        "ARGV[i] == case.owner and (ARGV[i + 3] == '' or ARGV[i + 3] == kind)"),
    "an owner pays for another": ("if ARGV[i] == case.owner and (", "if ("),
    "a call that is deleted or erased still counts for the body that it names": (
        "  redis.call('HDEL', call_key(call_id), 'body_of')\n  count_use(case, version, 'calls', -1)\n"),
    "a body goes although a call names it": never("tonumber(uses[1] or 0) > 0"),
    "a body goes before the windows of the answers that name it": (
        "  if tonumber(uses[2] or 0) > 0 then until_ms = math.max(until_ms, tonumber(uses[3])) end\n"),
    "a call that was claimed before has the body of the present response": (
        "local key = version == current and body_key(case_id) or former_body_key(case_id, version)",
        "local key = body_key(case_id)"),
    "a body goes before the tombstone that names it": (
        "    name_until(case, call[5], 'until', now + TOMBSTONE_MS)\n"),
}  # fmt: skip
"""By name: the old and the new code, or code that is left out."""
FOUND_SOON = {
    "a second caller gets in": 0,
    "two cases of a key are open": 3,
    "a copy of an event runs on the next case of its key": 0,
    "an index is left behind": 0,
    "an OPTIONS makes a call": 0,
    "reminders outlive the close of their case": 0,
    "an expiry is not delivered": 0,
    "an extension leaves the old timer": 0,
    "a call that is deleted or erased still counts for the body that it names": 0,
    "a body goes although a call names it": 7,
}
"""Bugs that the machine finds in its first examples, with a seed of these. Others can take a minute each, so only a
soak plants them."""


def change_of(bug):
    """Return the old and the new code of a bug."""
    change = BUGS[bug]
    return (change, "") if isinstance(change, str) else change


@contextlib.contextmanager
def planted(old, new):
    before = [(script, script.source, script.sha) for script in SCRIPTS]
    for script in SCRIPTS:
        script.source = with_keys(script.code.replace(old, new))
        script.sha = hashlib.sha1(script.source.encode()).hexdigest()
    try:
        yield
    finally:
        for script, source, sha in before:
            script.source, script.sha = source, sha


def test_each_planted_bug_changes_a_script():
    changes = {bug: change_of(bug) for bug in BUGS}
    assert [bug for bug, (old, _) in changes.items() if not any(old in script.code for script in SCRIPTS)] == []


@pytest.mark.parametrize("bug", BUGS if SOAK else FOUND_SOON)
def test_a_planted_bug_is_caught(store_of, bug):
    # A search of few examples begins with long ones. The seed of a bug finds it at once until a rule is changed.
    examples, searches = (2000, [None]) if SOAK else (9, itertools.count(FOUND_SOON[bug]))
    counts = settings(
        max_examples=examples,
        stateful_step_count=40,
        phases=[Phase.generate],  # the first failure is enough: no replay, no shrinking, no further search
        report_multiple_bugs=False,
        database=None,
        print_blob=False,
    )

    def search(machine):
        for number in itertools.islice(searches, 200):
            run_state_machine_as_test(machine if SOAK else seed(number)(machine), settings=counts)

    with (
        machine_on(store_of()) as machine,
        planted(*change_of(bug)),
        pytest.raises((AssertionError, ResponseError)),  # a difference, or a violated invariant that stopped a script
    ):
        search(machine)
