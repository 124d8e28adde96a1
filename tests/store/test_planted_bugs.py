"""The machine catches bugs: each of these, planted in the scripts, makes it fail. Every tenth one outside of a soak."""

import contextlib
import hashlib

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from redis.exceptions import ResponseError
from soak.counts import count
from store.machine import machine_on

from callback_server.store.queries import list_cases, list_owner_calls
from callback_server.store.transitions import (
    apply_retention,
    claim_call,
    close_case,
    create_case,
    erase_calls,
    finish_call,
    finish_delivery,
    replay_call,
    set_response,
    sweep_partition,
    take_deliveries,
)

SCRIPTS = [
    module.SCRIPT
    for module in (
        claim_call, close_case, create_case, apply_retention, erase_calls, finish_call, finish_delivery, list_cases,
        list_owner_calls, replay_call, set_response, sweep_partition, take_deliveries,
    )
]  # fmt: skip

BUGS = {
    "a second caller gets in": ("if case.status == 'IN_PROGRESS' then return reply('BUSY') end", ""),
    "a resent claim is taken for another call's": ("if mine[1] == 'RUNNING' then", "if mine[1] == 'NEVER' then"),
    "a claim that comes late is granted": ("if left <= 0 then return reply('STALE') end", ""),
    "a case is reached by another state": ("string.sub(case.sha, -16) ~= sha or ", ""),
    "a large body outlives the small one that replaces it": (" else redis.call('DEL', body_key(case_id)) end", " end"),
    "a case is reached by the other form": (" or case.parameter ~= parameter", ""),
    "an over-lease call keeps its case": ("settle(case, now, keep)\n\n-- A message", "-- A message"),
    "a late end counts": ("if tonumber(redis.call('ZSCORE', leases_key(), call_id)) <= now then",
                          "if false then"),
    "an end counts twice": ("if call[1] ~= 'RUNNING' then\n  if call[1] == status",
                            "if false then\n  if call[1] == status"),
    "the end of a call reopens a closed case": ("case.mode ~= 'MULTIPLE' and case.status ~= 'CLOSED' and",
                                                "case.mode ~= 'MULTIPLE' and"),
    "a failed call can be tried again where it must not": ("if mode == 'RETRYABLE' then return 'OPEN' end",
                                                           "do return 'OPEN' end"),
    "an interrupted call runs again": ("if call_status == 'INTERRUPTED' then return 'CLOSED', 'INTERRUPTED' end",
                                       "if call_status == 'INTERRUPTED' then return 'OPEN' end"),
    "a call that never started closes its case": ("if call_status == 'NOT_STARTED' then return 'OPEN' end", ""),
    "keep_open is forgotten": ("if keep_open then return 'OPEN' end", ""),
    "a case with multiple calls closes": ("if case.mode ~= 'MULTIPLE' and case.status", "if case.status"),
    "an index is left behind": ("redis.call('ZREM', index_key(case.owner, case.status, case.activity), case.id)\n"
                                "  redis.call('ZADD'", "redis.call('ZADD'"),
    "an expired case stays open": ("if expires and expires <= now and", "if false and"),
    "expiry goes before a lease that ended earlier": (" and not (expires and expires < lease)", " and not expires"),
    "a running call is forgotten": ("if redis.call('ZSCORE', ended_key(), call_id) then return call_id end",
                                    "return call_id"),
    "a case is dropped under its running call": ("elseif redis.call('EXISTS', calls_key(case_id)) == 0 then", "else"),
    "a foreign owner can close": (
        "if not case or (owner ~= '' and case.owner ~= owner) then return reply('UNKNOWN') end\nlocal now",
        "if not case then return reply('UNKNOWN') end\nlocal now"),
    "a lost update of the response": ("if case.version ~= version then return reply('CONFLICT') end", ""),
    "a call sees the response as it is now": ("return grant('CLAIMED', mine[2], left, mine[3], mine[4])",
                                              "return grant('CLAIMED', mine[2], left, redis.call('GET', "
                                              "content_key(case_id)), redis.call('GET', body_key(case_id)) or '')"),
    "another request's case is given again": (
        "\n    and string.sub(existing.fingerprint, 1, 16) == fingerprint", ""),
    "a call that is no longer kept is made again": ("redis.call('HDEL', call_key(call_id), 'request', 'request_body')",
                                                    "redis.call('DEL', call_key(call_id))"),
    "a running call takes the room of those that have ended": (
        "redis.call('ZADD', leases_key(), now + lease_ms, call_id)",
        "redis.call('ZADD', leases_key(), now + lease_ms, call_id)\n"
        "redis.call('HINCRBY', case_key(case_id), 'bytes', size)"),
    "a foreign owner can erase": ("if not case or (owner ~= '' and case.owner ~= owner) then return {'UNKNOWN'} end\n\n"
                                  "local calls", "if not case then return {'UNKNOWN'} end\n\nlocal calls"),
    "a body outlives the erasing": ("redis.call('HDEL', call_key(call_id), 'request_body')", ""),
    "what is to be delivered is forgotten": ("if not to_deliver then over(case, call_id, now, keep) end",
                                             "over(case, call_id, now, keep)"),
    "a delivery that is over is never forgotten": ("  over(case, call_id, now, keep)\n  if case.ordered ~=",
                                                   "  if case.ordered ~="),
    "a delivery begins in no inbox": ("redis.call('SADD', inbox_key(), case.activity)", ""),
    "a delivery that is over stays in the inbox": ("redis.call('ZREM', due_key(case.activity), call_id)\n  if", "if"),
    "a later call of an ordered case does not wait": (
        "if case.ordered == '1' and redis.call('RPUSH', queue_key(case.id), call_id) > 1 then",
        "if case.ordered == '1' then redis.call('RPUSH', queue_key(case.id), call_id) end\n  if false then"),
    "the next call of an ordered case is forgotten": ("if waits then wait(case, first, now) end", ""),
    "a paused activity is delivered": (
        "local due = redis.call('HEXISTS', pauses_key(), activity) == 1 and {}\n    or", "local due ="),
    "a call of a paused activity is delivered at its claim": (
        "takes = takes and redis.call('HEXISTS', pauses_key(), case.activity) == 0", ""),
    "a call that waits behind another seems to be due": (
        "    change(case, call_id, 'PENDING')\n    return false",
        "    redis.call('HSET', call_key(call_id), 'next', now)\n"
        "    change(case, call_id, 'PENDING')\n    return false"),
    "a claim that is sent again delivers what is another's": ("or delivery[2] ~= '1' or not delivery[3] then", "then"),
    "an attempt that was overtaken counts": ("if call[1] ~= 'RUNNING' or call[2] ~= attempt then return {'STALE'} end",
                                             "if call[1] ~= 'RUNNING' then return {'STALE'} end"),
    "the end of an attempt that is sent again counts twice": (
        "if call[3] == attempt then return {'OK', 0} end", ""),
    "a lease of a delivery that ended is not taken": (
        "redis.call('ZRANGE', due_key(activity), '-inf', now, 'BYSCORE', 'LIMIT', 0, limit - #taken + 1)",
        "redis.call('ZRANGE', due_key(activity), 1000, now, 'BYSCORE', 'LIMIT', 0, limit - #taken + 1)"),
    "an attempt does not count": ("redis.call('HINCRBY', call_key(call_id), 'tries', 1)", ""),
    "an attempt in which nobody was asked counts": (
        "if not asked then redis.call('HINCRBY', call_key(call_id), 'unasked', 1) end", ""),
    "what was erased is delivered again": ("if status == 'PENDING' then status = 'DEAD' end", ""),
    "what was erased waits to be delivered": ("if call[5] == 'PENDING' then dead[#dead + 1] = call_id end", ""),
    "an erasing drops what it would count again": ("conclude(case, call_id, 'DEAD', now, all)",
                                                   "conclude(case, call_id, 'DEAD', now, {calls = 1, bytes = 1e9})"),
    "a delivery counts as erased bytes": ("      if redis.call('ZSCORE', ended_key(), call_id) then\n"
                                          "        redis.call('HINCRBY', case_key(case_id), 'bytes', 0 - call[2])\n"
                                          "      end",
                                          "redis.call('HINCRBY', case_key(case_id), 'bytes', 0 - call[2])"),
    "a request is cut before it is delivered": (
        "if partial and case.answer == 'ACK' then request,", "if false then request,"),
    "a delivered request is kept whole": ("if status == 'DELIVERED' and request ~= '' then", "if false then"),
    "a request that was cut is replayed": ("if call[2] == '' or call[3] then return {'LOST'} end",
                                           "if call[2] == '' then return {'LOST'} end"),
    "a foreign owner can replay": ("not call[2] or (owner ~= '' and case.owner ~= owner)", "not call[2]"),
    "a delivery that runs is replayed": ("or call[4] == 'RUNNING' then return {'RUNNING'} end",
                                         "then return {'RUNNING'} end"),
    "a replayed call can be dropped": ("redis.call('ZREM', ended_key(), call_id)\nredis.call('ZREM', dead_key",
                                       "redis.call('ZREM', dead_key"),
    "a dead call is not listed": ("if status == 'DEAD' and call[2] ~= '' then redis", "if false then redis"),
    "an erased call is listed as dead": ("if status == 'DEAD' and call[2] ~= '' then redis",
                                         "if status == 'DEAD' then redis"),
    "a dead call that was erased is still listed": (
        "\n    redis.call('ZREM', dead_key(case.owner), call_id)\n  end", "\n  end"),
    "a replayed call is still listed as dead": ("redis.call('ZREM', dead_key(case.owner), call_id)\nredis.call('HINC",
                                                "redis.call('HINC"),
    "a dead call that was dropped is still listed": (
        "if call[3] then redis.call('ZREM', dead_key(case.owner), call_id) end", ""),
    "a page of the list begins where the one before ended": (" or block[i] < before then", " or true then"),
    "a held call is not listed": ("redis.call('ZADD', waiting_key(case.owner), now, call_id)", ""),
    "a held call waits after its end": (
        "if case.answer == 'HOLD' then redis.call('ZREM', waiting_key(case.owner), call_id) end", ""),
    "two answer a held call": (" and (call[7] or '') == answered then", " then"),
    "a fallback outlives its case": (", fallback_key(case_id))", ")"),
    "an acknowledged call holds its case": ("or case.answer == 'ACK' end", "end"),
    "an erasing that is sent again counts nothing": (" or call[4] == erasure then", " then"),
    "an answer outlives the erasing": ("erase_outcome(call_id)\n    end", "\n    end"),
    "the erasing of a running call is forgotten": ("if call[5] ~= '' then", "if true then"),
    "the answer of a call that was erased while it ran stays": (
        "if redis.call('HGET', call_key(call_id), 'request') == '' then erase_outcome(call_id) end", ""),
    "what was erased still takes room": ("redis.call('HINCRBY', case_key(case_id), 'bytes', 0 - call[2])", ""),
    "a running call loses its grant to the erasing": (
        "if call[1] ~= 'RUNNING' then\n      if redis", "if true then\n      if redis"),
    "an erased call is answered as the case answers by now": ("and mine[5] == case.version then", "then"),
    "a lease that ended is not told": ("DUE[#DUE + 1] = {'LEASE_ENDED'", "local _ = {'LEASE_ENDED'"),
    "an expiry is not told": ("DUE[#DUE + 1] = {'CASE_EXPIRED'", "local _ = {'CASE_EXPIRED'"),
    "an expiry is told of a case that was closed before": (
        "if expires and expires <= now and case.status ~= 'CLOSED' then\n    close(case, 'EXPIRED', now)",
        "if case.expires and tonumber(case.expires) <= now then\n"
        "    if case.status ~= 'CLOSED' then close(case, 'EXPIRED', now) end"),
    "an end that is sent again forgets what it made of the case": ("return reply('AGAIN', call[6] or '')",
                                                                   "return reply('AGAIN', '')"),
    "a case that is closed again counts as closed now": (
        "if case.status == 'CLOSED' then return reply('ALREADY') end\nclose(case, 'CLOSED_BY_OWNER', now)",
        "if case.status ~= 'CLOSED' then close(case, 'CLOSED_BY_OWNER', now) end"),
    "a label is found after its case was dropped": (
        "for _, index in ipairs(label_indexes(case.owner, content)) do redis.call('ZREM', index, case_id) end", ""),
    "a label leads to a foreign owner's cases": ("return label_key(owner,", "return label_key('',"),
    "a lease outlives its call": ("'made', made)\n  redis.call('ZREM', leases_key(), call_id)", "'made', made)"),
    "an end is not told to who watches": ("  emit(case, 'CALL_ENDED', call_id, call_status)\n", ""),
    "an expiry is not told to who watches": ("    emit(case, 'CASE_CLOSED')\n", ""),
    "a close is not told to who watches": ("\nemit(case, 'CASE_CLOSED')\n", "\n"),
    "a claim is not told to who watches": ("emit(case, 'CALL_STARTED', call_id, 'RUNNING')", ""),
    "a response that is set is not told to who watches": ("emit(case, 'RESPONSE_SET')", ""),
    "a delivery is not told to who watches": ("emit(case, 'DELIVERY_CHANGED'", "tostring(case, 'DELIVERY_CHANGED'"),
    "a replay that is sent again is told again to who watches": ("or 0) > now then wait(", "or 0) > 0 then wait("),
    "an event tells what the case was before it": (
        "  if status == 'CLOSED' then close(case, reason, now) elseif status then move(case, status) end\n"
        "  emit(case, 'CALL_ENDED', call_id, call_status)\n",
        "  emit(case, 'CALL_ENDED', call_id, call_status)\n"
        "  if status == 'CLOSED' then close(case, reason, now) elseif status then move(case, status) end\n"),
    "the numbers of events have holes": ("MOST_EVENTS, '0-*'", "MOST_EVENTS, '*'"),
    "an event forgets the labels of its case": ("case.marks or label_marks(redis.call('GET', content_key(case.id)))",
                                                "''"),
    "a profile is not asked for": ("if case.profile and case.profile ~= profile then", "if false then"),
    "any profile will do": ("case.profile ~= profile then", "profile == '' then"),
    "a profile is forgotten": ("redis.call('HSET', case_key(case_id), 'profile', profile)", ""),
    "a guard is forgotten": ("redis.call('HSET', case_key(case_id), 'guard', guard)", ""),
    "an OPTIONS makes a call": ("if asking == 'OPTIONS' then return reply('UNKNOWN') end", ""),
    "a GET makes the call that a person must confirm": ("(asking == 'GET' or", "("),
    "a confirmation is asked to be confirmed": ("asking == 'FORM')", "asking == 'FORM' or asking == 'CONFIRMED')"),
    "a POST that a person never saw makes the call": (" or asking == 'FORM')", ")"),
    "a program that opens links makes a call": (
        "if case.guard == 'DETECT' and asking == 'GET' then return reply('AGENT') end", ""),
    "a person is taken for a program": ("if case.guard == 'DETECT' and asking == 'GET'", "if case.guard == 'DETECT'"),
    "a person who is no program need not confirm": ("asking == 'PERSON' or ", ""),
    "a call counts for nothing in its minute": (
        "if arrival then redis.call('HSET', case_key(case_id), 'arrival', arrival) end", ""),
    "a handshake makes a call": ("if asking == 'HANDSHAKE' then return reply('HANDSHAKE') end", ""),
    "a handshake is answered while a call runs": ("if case.status == 'IN_PROGRESS' then return reply('BUSY') end",
                                                  "if case.status == 'IN_PROGRESS' and intent ~= 'HANDSHAKE' then "
                                                  "return reply('BUSY') end"),
    "a message that has succeeded makes another call": ("if earlier then", "if false then"),
    "a message that has succeeded finds its case closed": ("if earlier then",
                                                           "if earlier and case.status ~= 'CLOSED' then"),
    "a message at work makes another call": (
        "tonumber(redis.call('ZSCORE', leases_key(), earlier)) > now then", "false then"),
    "a message whose lease is over stays at work": ("tonumber(redis.call('ZSCORE', leases_key(), earlier)) > now then",
                                                    "true then"),
    "a message that was interrupted is not told to be": (
        "if call[1] == 'RUNNING' then end_call(case, earlier, 'INTERRUPTED', false, now, keep) end", ""),
    "a message that failed is not accepted again": ("elseif call[1] == 'SUCCEEDED' then", "else"),
    "a repeated message is answered as the case answers by now": ("== 'SUCCEEDED' and call[2] then", "== 'NEVER' then"),
    "a repeated message is answered for another call": ("reply('REPEATED', earlier,", "reply('REPEATED', case.call,"),
    "a message has no window": (", call_id, 'PX', window_ms)", ", call_id)"),
    "a case may have one call more in a minute": ("if early > 0 then", "if early > interval then"),
    "a case may have one call fewer in a minute": ("if early > 0 then", "if early > -interval then"),
    "an owner that made too many calls goes on": ("if ARGV[i] == case.owner then", "if false then"),
    "an owner pays for another": ("if ARGV[i] == case.owner then", "if true then"),
}  # fmt: skip


@contextlib.contextmanager
def planted(old, new):
    before = [(script, script.source, script.sha) for script in SCRIPTS]
    for script in SCRIPTS:
        script.source = script.source.replace(old, new)
        script.sha = hashlib.sha1(script.source.encode()).hexdigest()
    try:
        assert [script.source for script, *_ in before] != [source for _, source, _ in before], "nothing was changed"
        yield
    finally:
        for script, source, sha in before:
            script.source, script.sha = source, sha


@pytest.mark.parametrize("bug", [*BUGS][:: count(10, 1)])
@pytest.mark.timeout(300)  # chance finds some of them late, on a busy machine very late
def test_a_planted_bug_is_caught(store_of, bug):
    counts = settings(
        max_examples=2000,
        stateful_step_count=40,
        phases=[Phase.generate],  # the first failure will do: no replay, no shrinking, no search for more
        report_multiple_bugs=False,
        database=None,
        print_blob=False,
    )
    with (
        machine_on(store_of()) as machine,
        planted(*BUGS[bug]),
        pytest.raises((AssertionError, ResponseError)),  # a difference, or a broken invariant that a script ran into
    ):
        run_state_machine_as_test(machine, settings=counts)
