"""Routers, queues and agents: names, ranges, defaults, secrets."""

from collections.abc import Callable, Iterator

import msgspec
import msgspec.inspect
import pytest

from router.errors import InvalidInputError
from router.settings import Settings
from router.site.forms import from_document, merged, public_form, with_literal_secrets
from router.site.resources import AgentConfig, QueueConfig, RouterConfig
from router.site.secret_refs import SecretRef, resolve_secret
from router.site.texts import form_in_words

ROUTER = {
    "id": "main",
    "name": "Main line",
    "rules": "acme",
    "default_target": {"type": "department", "id": "6001002003004005"},
}
LONG = "s" * 32


def test_defaults_are_those_of_the_platform() -> None:
    queue = from_document({"id": "support", "name": "Support"}, QueueConfig)
    assert (queue.ring_seconds, queue.wrap_up_seconds, queue.strategy) == (30, 0, "longest_idle")
    hold = queue.hold_queue
    assert (hold.max_hold_count, hold.max_hold_seconds) == (50, 900)
    assert (hold.queue_callback_threshold, hold.announcement_interval_seconds) == (5, 120)
    assert (hold.queue_callback_dtmf, hold.queue_escape_dtmf) == ("9", "*")
    assert (queue.service_level.percent, queue.service_level.seconds) == (95, 60)
    assert from_document(ROUTER, RouterConfig).budget_ms == 800


@pytest.mark.parametrize(
    ("type_", "change", "field"),
    [
        (QueueConfig, {"ring_seconds": 9}, "ring_seconds"),
        (QueueConfig, {"ring_seconds": 46}, "ring_seconds"),
        (QueueConfig, {"hold_queue": {"max_hold_count": 0}}, "hold_queue.max_hold_count"),
        (QueueConfig, {"hold_queue": {"max_hold_seconds": 18001}}, "hold_queue.max_hold_seconds"),
        (QueueConfig, {"hold_queue": {"queue_escape_dtmf": "12"}}, "hold_queue.queue_escape_dtmf"),
        (QueueConfig, {"hold_queue": {"max": 1}}, "hold_queue.max"),
        (QueueConfig, {"strategy": "fairest"}, "strategy"),
        (QueueConfig, {"ring_secs": 20}, "ring_secs"),
        (QueueConfig, {"id": "a:b"}, "id"),
        (QueueConfig, {"id": "a\n"}, "id"),
        (QueueConfig, {"name": "a\n"}, "name"),
        (
            QueueConfig,
            {"calendar": {"hours": {"mon": [], "holidays": 1, "tue": 1}}},
            "calendar.hours.holidays",
        ),
        (
            QueueConfig,
            {"calendar": {"hours": {"mon": ["08:00-09:00", 1]}}},
            "calendar.hours.mon[1]",
        ),
        (AgentConfig, {"skills": {"spanish": 101}}, "skills.spanish"),
        (AgentConfig, {"skills": {"fine": 1, "a b": 5, "c d": 5, "x": 1}}, "skills.a b"),
        (AgentConfig, {"queues": {"support": {"skill_level": -1}}}, "queues.support.skill_level"),
        (AgentConfig, {"queues": {"a": {}, "b": {"x": 1}, "c": {}}}, "queues.b.x"),
        (AgentConfig, {"x - at `key` in `$.skills": 1}, "x"),
        (AgentConfig, {"endpoint": "PJSIP/1001&SIP/2"}, "endpoint"),
        (AgentConfig, {"number": "12a"}, "number"),
        (AgentConfig, {"number": "1234567890123"}, "number"),
        (RouterConfig, {"budget_ms": 10}, "budget_ms"),
        (RouterConfig, {"rules": None}, "rules"),
        (RouterConfig, {"routing_url": "https://example.org/route"}, "rules"),
        (RouterConfig, {"phone_numbers": ["2125550100"]}, "phone_numbers[0]"),
        (RouterConfig, {"default_target": {"type": "phone", "id": "1"}}, "default_target"),
        (RouterConfig, {"default_target": {"type": "user"}}, "default_target"),
        (RouterConfig, {"default_target": {"type": "user", "id": "1", "x": 1}}, "default_target.x"),
        (RouterConfig, {"previous_secret": {"value": LONG}}, "previous_secret"),
        (RouterConfig, {"secret": {"value": "short"}}, "secret.value"),
        (RouterConfig, {"secret": {"env": "A", "file": "b"}}, "secret"),
    ],
)
def test_what_is_wrong_is_named(
    type_: type[RouterConfig], change: dict[str, object], field: str
) -> None:
    base = dict(ROUTER) if type_ is RouterConfig else {"id": "a", "name": "A"}
    with pytest.raises(InvalidInputError) as caught:
        from_document(base | change, type_)
    assert caught.value.field == field
    assert "regex" not in str(caught.value)


def test_which_of_many_keys_is_wrong_is_found_soon() -> None:
    special = {f"{day:04}-12-24": ["08:00-09:00"] for day in range(1000)}
    document = {"id": "a", "name": "A", "calendar": {"hours": {}, "holidays": {"special": special}}}
    special["0777-12-24"] = [1]  # type: ignore[list-item]  # what is wrong
    with pytest.raises(InvalidInputError) as caught:
        from_document(document, QueueConfig)
    assert caught.value.field == "calendar.holidays.special.0777-12-24[0]"


def test_every_form_of_text_has_words_for_those_who_write_it() -> None:
    forms = {
        form
        for type_ in (Settings, RouterConfig, QueueConfig, AgentConfig)
        for form in forms_in(type_)
    }
    assert len(forms) > 8
    for form in forms:
        assert form_in_words(form) != form


def forms_in(type_: type[msgspec.Struct]) -> Iterator[str]:
    """The patterns of all texts in a type."""
    pending: list[object] = [msgspec.inspect.type_info(type_)]
    while pending:
        match pending.pop():
            case msgspec.inspect.StructType(fields=fields):
                pending += [field.type for field in fields]
            case msgspec.inspect.UnionType(types=types):
                pending += types
            case msgspec.inspect.DictType(key_type=key, value_type=value):
                pending += [key, value]
            case msgspec.inspect.VarTupleType(item_type=item):
                pending.append(item)
            case msgspec.inspect.StrType(pattern=str(pattern)):
                yield pattern
            case _:
                continue


@pytest.mark.parametrize(
    "url",
    ["ftp://example.org/", "http://example.org/route", "https://", "https://a:b@example.org/", "x"],
)
def test_a_routing_url_is_https_without_a_password(url: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        from_document(ROUTER | {"rules": None, "routing_url": url}, RouterConfig)
    assert caught.value.field == "routing_url"


def test_a_private_address_may_be_asked_without_tls() -> None:
    url = "http://10.0.0.7:8000/route"
    assert (
        from_document(ROUTER | {"rules": None, "routing_url": url}, RouterConfig).routing_url == url
    )


def test_a_secret_shows_where_it_is_from_and_never_what_it_is() -> None:
    router = from_document(ROUTER | {"secret": {"value": LONG}}, RouterConfig)
    assert LONG not in repr(router)
    assert LONG not in repr(public_form(router))
    assert public_form(router)["secret"] == "value"
    by_env = msgspec.structs.replace(router, secret=SecretRef(env="MAIN_SECRET"))
    assert public_form(by_env)["secret"] == "env MAIN_SECRET"


def test_the_stored_form_comes_back_the_same() -> None:
    router = from_document(ROUTER | {"secret": {"value": LONG}, "budget_ms": 500}, RouterConfig)
    assert msgspec.json.decode(msgspec.json.encode(router), type=RouterConfig) == router


def test_a_patch_changes_what_it_names_and_null_means_the_default() -> None:
    queue = from_document({"id": "q", "name": "Q", "ring_seconds": 20}, QueueConfig)
    assert merged(queue, {"wrap_up_seconds": 5}).ring_seconds == 20
    assert merged(queue, {"ring_seconds": None}).ring_seconds == 30
    for patch, field in (({"id": "p"}, "id"), ({"nam": "x"}, "nam"), ({"nam": None}, "nam")):
        with pytest.raises(InvalidInputError) as caught:
            merged(queue, patch)
        assert caught.value.field == field


def test_the_api_takes_the_text_of_a_secret_and_no_reference() -> None:
    form = with_literal_secrets(ROUTER | {"secret": LONG})
    assert from_document(form, RouterConfig).secret == SecretRef(value=LONG)
    for bad in ({"env": "HOME"}, {"file": "/etc/passwd"}, "short", 7):
        with pytest.raises(InvalidInputError) as caught:
            with_literal_secrets(ROUTER | {"secret": bad})
        assert caught.value.field == "secret"


def _gone(path: str) -> str:
    raise FileNotFoundError(2, "No such file or directory", path)


@pytest.mark.parametrize(
    ("reference", "env", "read"),
    [
        (SecretRef(env="MISSING"), {}, _gone),
        (SecretRef(env="SHORT"), {"SHORT": "tiny-one"}, _gone),
        (SecretRef(file="gone"), {}, _gone),
        (SecretRef(file="two"), {}, lambda _path: LONG + "\n" + LONG),
    ],
)
def test_a_secret_that_is_not_to_be_had_says_why_and_not_what(
    reference: SecretRef, env: dict[str, str], read: Callable[[str], str]
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        resolve_secret(reference, env, read)
    assert "tiny-one" not in str(caught.value)
    assert LONG not in str(caught.value)


def test_a_secret_from_a_file_loses_its_line_end() -> None:
    assert resolve_secret(SecretRef(file="x"), {}, lambda _path: LONG + "\n") == LONG
