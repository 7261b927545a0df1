"""Every routing request is answered, by the best rung of the ladder that stands."""

import asyncio
import json

import pytest
from msgspec.structs import replace

from router.deadline import Deadline, in_s
from router.decisions.decide import Decider, Straight
from router.decisions.dialogue import Memory, Remembered
from router.decisions.needed import ForeignError
from router.decisions.outcome import Asked, ErrorCode, Level, Outcome
from router.errors import (
    CrosspointError,
    OutcomeUnknownError,
    StoreDownError,
    StoreRefusedError,
)
from router.http.decisions.afterwards import is_worth_telling
from router.http.decisions.dialplan import DialplanDialect
from router.site.resources import AgentConfig
from router.store.memory import CallMemory
from rules.actions import Action, Callback, End, Enqueue, Forward, Target, TargetType, Voicemail
from rules.facts import QueueFacts
from tests.unit.decisions.decide_fakes import (
    NAMES,
    FakeNames,
    FakeRulesets,
    FakeStore,
    agent,
    ask,
    asked,
    busy,
    hanging,
    keyed,
    menu,
    route,
    rule,
    ruleset,
    wire,
)

DEFAULT = {"action": "route", "target_type": "office", "target_id": "1"}


def department(target_id: str) -> dict[str, str]:
    return {"action": "route", "target_type": "department", "target_id": target_id}


def user(target_id: str) -> dict[str, str]:
    return {"action": "route", "target_type": "user", "target_id": target_id}


class NobodyElse:
    """A foreign routing_url with one answer, or one error."""

    def __init__(self, answer: Action | Exception | None = None) -> None:
        self.answer = answer

    async def ask(self, asked: Asked, deadline: Deadline) -> Action:
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        assert self.answer is not None
        return self.answer


class Service:
    """A decider that remembers what it decided, as the process does."""

    def __init__(
        self,
        *rules: object,
        foreign: NobodyElse | None = None,
        rounds: int = 10,
        calls_back: "Promising | None" = None,
    ) -> None:
        self.store = FakeStore()
        self.memory = CallMemory()
        self.rulesets = FakeRulesets(ruleset(*rules))  # type: ignore[arg-type]  # terse tests
        self.decider = Decider(
            rulesets=self.rulesets,
            store=self.store,
            memory=self.memory,
            foreign=foreign or NobodyElse(),
            most_rounds=rounds,
            calls_back=calls_back,
        )

    async def ask(self, *args: object, budget_s: float = 0.5, **kwargs: object) -> Outcome:
        what = asked(*args, **kwargs)  # type: ignore[arg-type]  # terse tests
        outcome = await self.decider.decide(what, in_s(budget_s))
        self.memory.keep(what, outcome)
        return outcome


async def test_rules_alone_decide_without_the_store() -> None:
    service = Service(rule("all", route("7")))
    service.store.open = False
    outcome = await service.ask()
    assert wire(outcome) == department("7")
    assert (outcome.level, outcome.rule, outcome.digest) == (Level.FULL, "all", "d1")
    assert service.store.looked_up == []


async def test_a_disabled_router_answers_its_default_target_and_evaluates_nothing() -> None:
    service = Service(rule("all", route("7")))
    service.rulesets.get = lambda _name: pytest.fail("evaluated")  # type: ignore[method-assign]
    outcome = await service.ask(is_enabled=False)
    assert (wire(outcome), outcome.level) == (DEFAULT, Level.DISABLED)


async def test_without_rules_the_router_default_is_answered() -> None:
    outcome = await Service(rule("all", route("7"))).ask(rules="gone")
    assert (wire(outcome), outcome.level, outcome.error) == (DEFAULT, Level.DEFAULT, None)


async def test_live_facts_are_fetched_once_and_only_when_a_rule_misses_them() -> None:
    service = Service(rule("busy", route("7"), busy("support")), rule("all", route("8")))
    service.store.facts["support"] = QueueFacts(waiting=9)
    outcome = await service.ask()
    assert wire(outcome) == department("7")
    assert outcome.live == {"support": QueueFacts(waiting=9)}
    assert service.store.looked_up == [("support",)]


@pytest.mark.parametrize(
    "trouble", [StoreDownError(), StoreRefusedError(), OutcomeUnknownError()], ids=lambda e: e.code
)
async def test_live_facts_that_are_not_to_be_had_leave_the_rules_to_decide(
    trouble: StoreDownError,
) -> None:
    service = Service(rule("busy", route("7"), busy("support")), rule("all", route("8")))
    service.store.memory = trouble
    outcome = await service.ask()
    assert (wire(outcome), outcome.level) == (department("8"), Level.NO_STORE)
    assert outcome.error is None
    assert "facts_missing:support" in outcome.reasons


async def test_an_agent_is_reserved_and_answered_as_the_platforms_user() -> None:
    service = Service(rule("all", agent()))
    service.store.free = ["ada"]
    outcome = await service.ask()
    assert (wire(outcome), outcome.agent, outcome.level) == (user("3001"), "ada", Level.FULL)


async def test_nobody_free_takes_the_otherwise() -> None:
    outcome = await Service(rule("all", agent())).ask()
    assert (wire(outcome), outcome.level) == (department("nobody"), Level.FULL)
    assert "no_agent:support" in outcome.reasons


@pytest.mark.parametrize("store_open", [True, False])
async def test_no_agent_of_a_queue_that_is_closed_is_reserved(
    monkeypatch: pytest.MonkeyPatch, *, store_open: bool
) -> None:
    monkeypatch.setattr(NAMES, "closed", {"support"})
    service = Service(rule("r", agent("support", agent("inner", route("nobody")))))
    service.store.open, service.store.free = store_open, ["ada"]
    outcome = await service.ask()
    assert "queue_closed:support" in outcome.reasons
    assert [queue for queue, _ in service.store.wanted] == (["inner"] if store_open else [])
    assert wire(outcome) == (user("3001") if store_open else department("nobody"))


async def test_who_was_answered_an_agent_is_answered_the_same_after_closing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = Service(rule("r", agent()))
    service.store.free = ["ada"]
    await service.ask()
    monkeypatch.setattr(NAMES, "closed", {"support"})
    assert wire(await service.ask()) == user("3001")
    service.store.memory = service.memory.of(asked())  # another process, which remembers nothing
    service.memory = service.decider._memory = CallMemory()
    assert wire(await service.ask()) == user("3001")


async def test_an_agent_whom_the_platform_cannot_ring_is_given_back() -> None:
    service = Service(rule("all", agent()))
    service.store.free = ["bob"]
    outcome = await service.ask()
    assert wire(outcome) == department("nobody")
    assert [taken.agent for taken in outcome.give_back] == ["bob"]
    assert outcome.agent is None


async def test_a_second_agent_action_in_the_otherwise_is_tried_too() -> None:
    service = Service(rule("all", agent("inner", otherwise=agent("support"))))
    outcome = await service.ask()
    assert [queue for queue, _ in service.store.wanted] == ["inner", "support"]
    assert wire(outcome) == department("nobody")


async def test_a_reserve_of_unknown_outcome_is_left_to_be_cleared_up_and_not_repeated() -> None:
    service = Service(rule("all", agent("inner", otherwise=agent("support"))))
    service.store.free = [OutcomeUnknownError()]
    outcome = await service.ask()
    assert len(service.store.wanted) == 1
    assert outcome.unsure == service.store.wanted[0][1]
    assert (wire(outcome), outcome.level) == (department("nobody"), Level.NO_STORE)
    assert outcome.error is None


async def test_asked_again_a_call_gets_the_same_answer_and_no_second_agent() -> None:
    service = Service(rule("all", agent()))
    service.store.free = ["ada", "eve"]
    first, second = await service.ask(), await service.ask()
    assert (first.body, first.agent) == (second.body, second.agent)
    assert second.is_repeat
    assert len(service.store.wanted) == 1


async def test_asked_twice_at_once_a_call_reserves_under_one_request_id() -> None:
    service = Service(rule("all", agent()))
    service.store.free = ["ada"]
    both = [service.decider.decide(asked(), in_s(1)) for _ in range(2)]
    one, two = await asyncio.gather(*both)
    assert one.body == two.body
    assert service.store.wanted[0] == service.store.wanted[1]


async def test_another_call_is_another_request_and_so_is_another_digit() -> None:
    service = Service(rule("all", agent()))
    await service.ask(call_id="c1")
    await service.ask(call_id="c2")
    await service.ask({"pin": "1"}, call_id="c2")
    assert len({request_id for _, request_id in service.store.wanted}) == 3


async def test_a_call_without_an_id_is_decided_but_never_remembered() -> None:
    service = Service(rule("all", agent()))
    service.store.free = ["ada"]
    assert wire(await service.ask(call_id="")) == user("3001")
    assert wire(await service.ask(call_id="")) == department("nobody")


async def test_what_another_process_answered_is_answered_again() -> None:
    service = Service(rule("all", agent()))
    service.store.free = ["eve"]
    earlier = Remembered(body=b'{"action":"end"}', level=Level.FULL, at_s=0.0, agent="ada")
    service.store.memory = Memory(answers={"": earlier})
    outcome = await service.ask()
    assert (outcome.body, outcome.is_repeat) == (b'{"action":"end"}', True)
    assert service.store.wanted == []


async def test_an_agent_whom_the_store_remembers_is_answered_again_by_today_s_address() -> None:
    service = Service(rule("all", agent()))
    service.store.free = ["eve"]
    service.store.memory = Memory(
        answers={"": Remembered(body=b"", level=Level.FULL, at_s=0.0, agent="ada")}
    )
    outcome = await service.ask()
    assert (wire(outcome), outcome.is_repeat) == (user("3001"), True)
    assert service.store.wanted == []


async def test_a_dialplan_whose_agent_the_store_remembers_rings_as_long_as_the_queue_says() -> None:
    service = Service(rule("all", agent()))
    service.store.memory = Memory(
        answers={"": Remembered(body=b"", level=Level.FULL, at_s=0.0, agent="ada", queue="support")}
    )
    dialplan = replace(asked(), dialect=DialplanDialect())
    outcome = await service.decider.decide(dialplan, in_s(1))
    assert (outcome.body, outcome.is_repeat) == (b"dial,PJSIP/1001,21", True)


async def test_an_agent_whom_the_store_remembers_and_who_is_gone_is_replaced() -> None:
    service = Service(rule("all", agent()))
    service.store.free = ["ada"]
    service.store.memory = Memory(
        answers={"": Remembered(body=b"", level=Level.FULL, at_s=0.0, agent="gone")}
    )
    outcome = await service.ask()
    assert (wire(outcome), outcome.is_repeat) == (user("3001"), False)


async def test_the_store_is_told_an_answer_unless_it_remembers_that_very_one() -> None:
    service = Service(rule("all", agent("support", otherwise=agent("inner"))))
    service.store.free = ["ada"]
    assert not is_worth_telling(asked(), await service.ask())
    service.store.free = ["bob", "ada"]  # bob has no address on this platform
    assert is_worth_telling(asked(), await service.ask(call_id="another"))


async def test_a_queue_is_its_call_center() -> None:
    outcome = await Service(rule("all", Enqueue(queue="support"))).ask()
    assert wire(outcome) == {"action": "route", "target_type": "callcenter", "target_id": "8001"}


async def test_a_queue_without_a_call_center_falls_to_the_ruleset_default() -> None:
    outcome = await Service(rule("all", Enqueue(queue="inner"))).ask()
    assert (wire(outcome), outcome.level) == (department("2"), Level.FULL)
    assert outcome.reasons[-1] == "ruleset_default"


async def test_when_nothing_can_be_expressed_the_router_default_remains() -> None:
    service = Service()
    service.rulesets.present = ruleset(
        rule("all", Enqueue(queue="inner")), default=Enqueue(queue="inner")
    )
    outcome = await service.ask()
    assert (wire(outcome), outcome.level, outcome.rule) == (DEFAULT, Level.DEFAULT, "all")


async def test_a_phone_is_forwarded_to_and_a_voicemail_is_routed_to() -> None:
    phone = Target(type=TargetType.PHONE, number="+12125550177")
    box = Target(type=TargetType.USER, id="9")
    forward = {"action": "forward", "forward_to": "+12125550177"}
    assert wire(await Service(rule("all", Voicemail(target=phone))).ask()) == forward
    assert wire(await Service(rule("all", Forward(number="+12125550177"))).ask()) == forward
    assert wire(await Service(rule("all", Voicemail(target=box))).ask()) == user("9")


async def test_a_callback_is_not_promised_before_there_is_one() -> None:
    action = Callback(queue="support", otherwise=End(message="Later."))
    outcome = await Service(rule("all", action)).ask()
    assert wire(outcome) == {"action": "end", "message": ["Later."]}
    assert "callback_not_available:support" in outcome.reasons
    assert outcome.level is Level.FULL


class Promising:
    """Promises callbacks, or fails with an error."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.request_ids: list[str] = []

    def is_possible(self, tenant: str) -> bool:
        return tenant == "acme"

    async def promise(
        self, asked: Asked, wanted: Callback, request_id: str, deadline: Deadline
    ) -> End | None:
        self.request_ids.append(request_id)
        if self.error is not None:
            raise self.error
        return End(message="We will.")


PROMISE = rule("all", Callback(queue="support", otherwise=End(message="Later.")))


async def test_a_promised_callback_ends_the_call_and_is_worth_telling() -> None:
    service = Service(PROMISE, calls_back=Promising())
    outcome = await service.ask()
    assert wire(outcome) == {"action": "end", "message": ["We will."]}
    assert outcome.reasons == ("callback_promised:support",)
    assert is_worth_telling(asked(), outcome)


async def test_what_another_process_has_promised_is_not_promised_again() -> None:
    service = Service(PROMISE, calls_back=(promising := Promising()))
    await service.ask()
    service.store.memory = service.memory.of(asked())
    service.memory = service.decider._memory = CallMemory()
    assert (await service.ask()).is_repeat
    assert len(promising.request_ids) == 1


async def test_a_promise_asked_for_twice_has_one_id() -> None:
    service = Service(PROMISE, calls_back=(promising := Promising(StoreDownError())))
    for call_id in ("c1", "c1", "c2"):
        service.memory = service.decider._memory = CallMemory()
        await service.ask(call_id=call_id)
    first, again, other = promising.request_ids
    assert first == again != other


@pytest.mark.parametrize("error", [StoreDownError(), OutcomeUnknownError()], ids=repr)
async def test_a_promise_that_the_store_did_not_confirm_is_not_told(error: Exception) -> None:
    service = Service(PROMISE, calls_back=(promising := Promising(error)))
    outcome = await service.ask()
    assert wire(outcome) == {"action": "end", "message": ["Later."]}
    assert outcome.level is Level.NO_STORE
    is_unknown = isinstance(error, OutcomeUnknownError)
    assert outcome.unsure_callback == (promising.request_ids[0] if is_unknown else None)


async def test_without_a_store_nothing_is_promised() -> None:
    service = Service(PROMISE, calls_back=(promising := Promising()))
    service.store.open = False
    assert wire(await service.ask()) == {"action": "end", "message": ["Later."]}
    assert promising.request_ids == []


# questions over several requests


async def test_a_question_is_asked_and_its_answer_decides() -> None:
    service = Service(rule("known", route("7"), keyed("pin", "4821")), rule("ask", ask("pin")))
    assert wire(await service.ask())["hint_name"] == "pin"
    assert wire(await service.ask({"pin": "4821"})) == department("7")


async def test_a_menu_takes_the_choice_and_an_unknown_key_asks_again() -> None:
    service = Service(rule("menu", menu("language", {"1": route("en"), "2": route("es")})))
    first = await service.ask()
    assert wire(first) == {
        "action": "ask",
        "message": ["Choose."],
        "hint_name": "language",
        "num_digits": 1,
    }
    assert wire(await service.ask({"language": "7"}))["action"] == "ask"
    assert wire(await service.ask({"language": "2"})) == department("es")


async def test_silence_is_a_round_and_after_the_tries_comes_the_otherwise() -> None:
    service = Service(rule("menu", menu("m", {"1": route("one")}, tries=2)))
    silent = frozenset({"m"})
    assert wire(await service.ask())["action"] == "ask"
    assert wire(await service.ask(silent=silent))["action"] == "ask"
    assert wire(await service.ask(silent=silent)) == department("menu-otherwise")


async def test_a_repeat_within_the_time_out_is_no_round_and_a_later_one_is() -> None:
    service = Service(rule("menu", menu("m", {"1": route("one")}, tries=2)))
    for _ in range(5):
        assert wire(await service.ask(now_s=100.0))["action"] == "ask"
    assert wire(await service.ask(now_s=110.0))["action"] == "ask"
    assert wire(await service.ask(now_s=120.0)) == department("menu-otherwise")


async def test_digits_of_earlier_rounds_are_kept_for_a_platform_that_sends_only_the_last() -> None:
    service = Service(rule("menu", menu("a", {"1": menu("b", {"2": route("deep")})})))
    assert wire(await service.ask())["hint_name"] == "a"
    assert wire(await service.ask({"a": "1"}))["hint_name"] == "b"
    assert wire(await service.ask({"b": "2"})) == department("deep")


async def test_rounds_of_a_call_are_capped_whatever_the_rules_say() -> None:
    service = Service(rule("ask", ask("pin", tries=50, otherwise=route("enough"))), rounds=4)
    answers = [wire(await service.ask({"pin": str(n)})) for n in range(6)]
    assert [answer["action"] for answer in answers] == ["ask"] * 4 + ["route"] * 2
    assert answers[-1] == department("enough")


async def test_without_the_store_questions_still_go_on_from_this_process_memory() -> None:
    service = Service(rule("menu", menu("a", {"1": menu("b", {"2": route("deep")})})))
    service.store.open = False
    assert wire(await service.ask())["hint_name"] == "a"
    assert wire(await service.ask({"a": "1"}))["hint_name"] == "b"
    outcome = await service.ask({"b": "2"})
    assert (wire(outcome), outcome.level) == (department("deep"), Level.NO_STORE)


# what breaks


async def test_an_exception_of_ours_is_answered_counted_and_kept_for_the_log() -> None:
    service = Service(rule("all", route("7")))

    def broken(_name: str) -> None:
        raise ZeroDivisionError

    service.rulesets.get = broken  # type: ignore[method-assign,assignment]
    outcome = await service.ask()
    assert (wire(outcome), outcome.level) == (DEFAULT, Level.DEFAULT)
    assert outcome.error is ErrorCode.EXCEPTION
    assert isinstance(outcome.cause, ZeroDivisionError)


async def test_a_store_that_never_answers_costs_the_budget_and_no_more() -> None:
    service = Service(rule("all", agent()))

    service.store.reserve = hanging  # type: ignore[method-assign,assignment]
    outcome = await asyncio.wait_for(service.ask(budget_s=0.05), 1)
    assert (wire(outcome), outcome.error) == (DEFAULT, ErrorCode.TIMEOUT)


@pytest.mark.parametrize(
    ("free", "is_at_hand"),
    [(["ada"], True), ([], False), (["bob", "ada"], False), ([OutcomeUnknownError()], False)],
    ids=["an agent", "nobody", "nobody we can name", "no answer"],
)
async def test_what_the_first_reservation_brings_may_be_all_it_takes(
    free: list[str | CrosspointError], is_at_hand: bool
) -> None:
    with_it, without = Service(rule("all", agent())), Service(rule("all", agent()))
    with_it.store.free, without.store.free = [*free], [*free]
    begun = with_it.decider.begin(asked(), in_s(1))
    assert isinstance(begun, Straight)
    assert len(with_it.store.wanted) == 1
    outcome = with_it.decider.at_hand(asked(), begun)
    assert (outcome is not None) is is_at_hand
    outcome = outcome or await with_it.decider.finish(asked(), begun, in_s(1))
    same_for_every_call = replace(outcome, call=asked().call, shared=None)
    assert same_for_every_call == await without.ask()
    assert with_it.store.wanted == without.store.wanted


async def test_what_an_agent_comes_to_is_kept_until_the_agent_is_another() -> None:
    service = Service(rule("all", agent()))

    def outcome_of(what: Asked, who: str) -> Outcome | None:
        service.store.free = [who]
        begun = service.decider.begin(what, in_s(1))
        assert isinstance(begun, Straight)
        return service.decider.at_hand(what, begun)

    def again(**changes: object) -> Asked:
        numbers.append(f"c{len(numbers)}")
        return replace(first, call=asked(call_id=numbers[-1]).call, **changes)

    numbers: list[str] = []
    everybody = {"ada": "3001", "eve": "3003"}
    names = FakeNames(*(AgentConfig(id=i, name=i, user_id=u) for i, u in everybody.items()))
    first = replace(asked(), names=names)
    ada, eve = outcome_of(again(), "ada"), outcome_of(again(), "eve")
    assert ada is not None
    assert eve is not None
    assert (wire(ada), wire(eve)) == (user("3001"), user("3003"))
    assert (ada.agent, ada.reasons) == ("ada", ("reserved:ada",))
    assert outcome_of(again(), "ada") is ada
    names.agents["ada"] = AgentConfig(id="ada", name="Ada", user_id="3009")  # as at another phone
    moved = outcome_of(again(), "ada")
    assert moved is not None
    assert wire(moved) == user("3009")
    gone = FakeNames(AgentConfig(id="eve", name="Eve", user_id="3003"))
    assert outcome_of(again(names=gone), "ada") is None
    other_way = outcome_of(again(dialect=DialplanDialect()), "eve")
    assert other_way is not eve


async def test_a_store_that_refuses_to_begin_costs_the_agent_and_no_more() -> None:
    service = Service(rule("all", agent()))

    def refused(*_: object, **__: object) -> None:
        raise StoreDownError

    service.store.reserve = refused  # type: ignore[method-assign,assignment]
    outcome = await service.ask()
    assert (wire(outcome), outcome.level) == (department("nobody"), Level.NO_STORE)


async def test_a_client_that_goes_away_ends_the_decision() -> None:
    service = Service(rule("all", agent()))
    under_way = hanging()
    service.store.reserve = lambda *_, **__: under_way  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(service.ask(budget_s=5))
    await under_way.entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# somebody else's routing_url


async def test_somebody_elses_answer_is_passed_on() -> None:
    outcome = await Service(foreign=NobodyElse(route("9"))).ask(routing_url="https://x.test/")
    assert wire(outcome) == department("9")


@pytest.mark.parametrize("code", list(ErrorCode))
async def test_somebody_elses_failure_is_the_default_target_and_an_error(code: ErrorCode) -> None:
    service = Service(foreign=NobodyElse(ForeignError(code)))
    outcome = await service.ask(routing_url="https://x.test/")
    assert (wire(outcome), outcome.level, outcome.error) == (DEFAULT, Level.DEFAULT, code)


async def test_somebody_elses_silence_ends_with_the_budget() -> None:
    outcome = await Service().ask(routing_url="https://x.test/", budget_s=0.03)
    assert outcome.error is ErrorCode.TIMEOUT
    assert json.loads(outcome.body) == DEFAULT
