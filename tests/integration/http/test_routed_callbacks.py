"""A rule that says `callback` on a call router: promised in the store once, and the caller is told."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from router.deadline import in_s
from router.decisions.log import Filters
from router.decisions.outcome import Asked as DecisionAsked
from router.errors import OutcomeUnknownError
from router.settings import PbxSettings
from router.site.hours import OpeningHours
from router.site.resources import QueueConfig, RouterConfig
from router.store import decisions
from router.store.callbacks import Callback, Status
from router.telephony.routed_callbacks import RoutedCallbacks, confirmation
from rules.actions import Callback as CallbackAction
from rules.actions import End, Target, TargetType
from tests.integration.http.conftest import TENANT, Running, Start, apply, until
from tests.servers import Server

PBX = PbxSettings(tenant=TENANT, country="US", trunk_endpoint="PJSIP/{number}@trunk")
RULES = """
version: 1
targets: {lobby: {type: department, id: "60"}}
rules:
  - name: not now
    when: {queue: {support: {agents_idle: ">0"}}}
    then: {route: lobby}
  - name: shut
    when: {called: "+12125550101"}
    then: {callback: {queue: shut, otherwise: {route: lobby}}}
  - name: asks first
    when: {called: "+12125550102"}
    then:
      menu:
        name: back
        prompt: To be called back, press 1.
        choices: {"1": {callback: {queue: support, otherwise: {route: lobby}}}}
        otherwise: {route: lobby}
  - name: overflow
    when: {}
    then: {agent: {queue: support, otherwise: {callback: {queue: support, otherwise: {route: lobby}}}}}
default: {route: lobby}
"""
TOLD = {"action": "end", "message": ["Thank you. We will call you back."], "locale": "en-us"}
LOBBY = {"action": "route", "target_type": "department", "target_id": "60"}

Open = Callable[..., Awaitable[Running]]


@pytest.fixture
def back(start: Start, tmp_path: Path) -> Open:
    """Starts a service with these rules, and a PBX unless told otherwise."""

    async def begin(url: str, *, pbx: PbxSettings | None = PBX) -> Running:
        (tmp_path / "rules").mkdir(exist_ok=True)
        (tmp_path / "rules" / "back.yaml").write_text(RULES)
        at_work = await start(url, pbx=pbx)
        closed = QueueConfig(id="shut", name="Shut", calendar=OpeningHours(hours={"mon-sun": ()}))
        await at_work.service.resources.put(TENANT, closed, deadline=in_s(5))
        default = Target(type=TargetType.OFFICE, id="1")
        await apply(
            at_work.service,
            RouterConfig(id="back", name="Back", default_target=default, rules="back"),
        )
        await until(lambda: at_work.service.directory.queue(TENANT, "shut"))
        return at_work

    return begin


async def promised(at_work: Running) -> Sequence[Callback]:
    return await at_work.service.telephony.callbacks.find(TENANT, in_s(5))


async def reasons(at_work: Running, call: int) -> tuple[str, ...]:
    await until(lambda: len(at_work.service.afterwards) == 0)
    link = at_work.service.links.link_for(TENANT)
    found: list[tuple[str, ...]] = []

    async def is_logged() -> bool:
        page = await decisions.list_decisions(
            link, TENANT, Filters(call_id=str(call)), limit=1, deadline=in_s(5)
        )
        found.extend(each.entry.reasons for each in page.decisions)
        return bool(found)

    await until(is_logged)
    return found[0]


async def test_a_callback_is_promised_and_the_caller_is_told(back: Open, redis_url: str) -> None:
    at_work = await back(redis_url)
    answer = await at_work.call("back", call_id=1, internal_number="+12125550100")
    assert (answer.body, answer.level) == (TOLD, "full")
    (callback,) = await promised(at_work)
    about = callback.about
    assert (about.number, about.queue, callback.status) == (
        "+12125550142", "support", Status.WAITING,
    )  # fmt: skip
    assert (about.call, about.called) == ("1", "+12125550100")
    assert await reasons(at_work, 1) == ("no_agent:support", "callback_promised:support")


async def test_the_same_call_asked_again_is_promised_one_callback_and_told_the_same(
    back: Open, redis_url: str
) -> None:
    at_work, other = await back(redis_url), await back(redis_url)
    for each in (at_work, at_work, other):
        assert (await each.call("back", call_id=2)).body == TOLD
    (callback,) = await promised(at_work)
    await until(lambda: len(at_work.service.afterwards) == 0)
    # Even when the callback is over and the rules would say something else by now.
    await at_work.service.telephony.callbacks.cancel(TENANT, callback.about.id, in_s(5))
    await at_work.service.agents.set_duty(TENANT, "ada", on=True, deadline=in_s(5))
    third = await back(redis_url)
    assert (await third.call("back", call_id=2)).body == TOLD
    assert len(await promised(at_work)) == 1


async def test_a_second_call_of_the_same_caller_is_told_the_same_without_a_second_callback(
    back: Open, redis_url: str
) -> None:
    at_work = await back(redis_url)
    for call in (3, 4):
        assert (await at_work.call("back", call_id=call)).body == TOLD
    assert [each.about.call for each in await promised(at_work)] == ["3"]


async def test_a_choice_of_a_menu_may_be_a_callback(back: Open, redis_url: str) -> None:
    at_work = await back(redis_url)
    fields = {"call_id": 5, "internal_number": "+12125550102"}
    assert (await at_work.call("back", **fields)).body["action"] == "ask"
    assert (await at_work.call("back", hints={"back": "1"}, **fields)).body == TOLD
    assert len(await promised(at_work)) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"external_number": "anonymous"},
        {"external_number": "+493012345678"},  # not of an allowed country
        {"external_number": "+19005550142"},  # costs extra
        {"internal_number": "+12125550101"},  # the queue is closed
    ],
    ids=str,
)
async def test_who_cannot_be_called_back_goes_on(
    back: Open, redis_url: str, fields: dict[str, str]
) -> None:
    at_work = await back(redis_url)
    answer = await at_work.call("back", call_id=6, **fields)
    assert (answer.body, answer.level) == (LOBBY, "full")
    assert await promised(at_work) == []
    assert (await reasons(at_work, 6))[-1].startswith("callback_not_available:")


@pytest.mark.parametrize(
    "pbx",
    [
        None,
        msgspec.structs.replace(PBX, tenant="other"),
        msgspec.structs.replace(PBX, trunk_endpoint=None),
    ],
    ids=["no PBX", "of another tenant", "no trunk"],
)
async def test_nothing_is_promised_that_nobody_would_keep(
    back: Open, redis_url: str, pbx: PbxSettings | None
) -> None:
    at_work = await back(redis_url, pbx=pbx)
    answer = await at_work.call("back", call_id=7)
    assert (answer.body, answer.level) == (LOBBY, "full")
    assert await promised(at_work) == []


async def test_while_the_store_stalls_the_caller_goes_on_and_nothing_is_promised_behind_its_back(
    back: Open, new_server: Callable[[], Server]
) -> None:
    server = new_server()
    at_work = await back(server.url)
    server.pause()
    answer = await at_work.call("back", call_id=8)
    server.resume()
    assert (answer.body, answer.level) == (LOBBY, "no_store")
    await until(lambda: at_work.service.links.is_open and not len(at_work.service.afterwards))
    assert [each for each in await promised(at_work) if each.status is Status.WAITING] == []


async def test_a_promise_of_unknown_outcome_is_taken_back(
    back: Open, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was written, and the reply came too late: the caller went on to the lobby."""
    promise = RoutedCallbacks.promise

    async def too_late(
        self: RoutedCallbacks,
        asked: DecisionAsked,
        wanted: CallbackAction,
        request_id: str,
        deadline: float,
    ) -> End | None:
        assert await promise(self, asked, wanted, request_id, in_s(5)) is not None
        raise OutcomeUnknownError

    monkeypatch.setattr(RoutedCallbacks, "promise", too_late)
    at_work = await back(redis_url)
    assert (await at_work.call("back", call_id=9)).body == LOBBY

    async def is_taken_back() -> bool:
        return [each.status for each in await promised(at_work)] == [Status.CANCELLED]

    await until(is_taken_back)


async def test_a_burst_of_one_callers_calls_is_promised_one_callback(
    back: Open, redis_url: str
) -> None:
    at_work = await back(redis_url)
    answers = await asyncio.gather(*(at_work.call("back", call_id=n) for n in range(20, 40)))
    assert [answer.body for answer in answers] == [TOLD] * 20
    assert len(await promised(at_work)) == 1


@pytest.mark.parametrize(
    ("language", "text", "locale"),
    [
        ("en", "Thank you. We will call you back.", "en-us"),
        ("en_GB", "Thank you. We will call you back.", "en_GB"),
        ("de", "Vielen Dank. Wir rufen Sie zurück.", "de-de"),
        ("fr", "Thank you. We will call you back.", "en-us"),
    ],
)
def test_the_confirmation_is_in_a_language_that_we_speak(
    language: str, text: str, locale: str
) -> None:
    assert confirmation(language) == End(message=text, locale=locale)
