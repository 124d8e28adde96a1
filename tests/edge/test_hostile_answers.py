"""Any response of the server is an answer that equals the model, or a clean 502; never a hang or a split."""

from hypothesis import given, settings
from hypothesis import strategies as st
from soak.counts import count
from support.edge import FIXED, answering, http_request, parse_answers, send_raw
from support.hostile import rendered, responses

from callback.v1 import edge_service_pb2


@settings(max_examples=count(150, 20_000))
@given(response=responses(), method=st.sampled_from(["GET", "POST", "DELETE"]))
async def test_a_hostile_response_equals_the_model_or_is_a_clean_502(shared_plane, shared_edge, response, method):
    shared_plane.script = answering(edge_service_pb2.InvokeResponse(response=response))
    raw = await send_raw(shared_edge.port, http_request(method=method))
    (answer,) = parse_answers(raw, [method])
    answer.assert_fixed_headers()
    expected = rendered(response, method)
    if expected is None:
        assert answer.problem == (502, "response_invalid")
        assert answer["content-type"] == "application/problem+json"
        return
    status, headers, body = expected
    own = [field for field in answer.headers if field[0] not in {*FIXED, "date", "content-length", "connection"}]
    assert (answer.status, own, answer.body) == (status, headers, body)
