"""From the body of a routing request to its facts: signature, times, fields."""

from msgspec import UNSET

from router.decisions.outcome import RouterView
from router.platforms.dialpad.documented import facts_of, read_documented
from router.platforms.dialpad.signature import (
    BadSignatureError,
    check_times,
    json_object,
    payload_of,
    unsigned_payload_of,
)
from router.platforms.dialpad.wire import RoutingRequest, UnreadableError, bare_token, read_request


def read_incoming(body: bytes, router: RouterView, now_s: float) -> RoutingRequest:
    """The request in a body. BadSignatureError: its sender may not ask; UnreadableError: may, but
    cannot be understood.

    A router without a secret takes a token for what it says.
    """
    token = bare_token(body)
    if router.needs_signature:
        if token is None:
            raise BadSignatureError
        return _read_signed(payload_of(token, router.secrets), router.id, now_s)
    try:
        text = body if token is None else unsigned_payload_of(token)
        request = read_documented(text)
        if request is not None:
            return facts_of(request, text, router.id)
        return read_request(json_object(text), router.id)
    except BadSignatureError:
        raise UnreadableError from None


def _read_signed(text: bytes, router_id: str, now_s: float) -> RoutingRequest:
    request = read_documented(text)
    if request is not None:
        if request.exp is not UNSET or request.nbf is not UNSET:
            check_times(request.exp, request.nbf, now_s)
        return facts_of(request, text, router_id)
    claims = json_object(text)
    check_times(claims.get("exp", UNSET), claims.get("nbf", UNSET), now_s)
    return read_request(claims, router_id)
