"""Random rules, calls, live facts and times over a small vocabulary, so that they often meet."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from rules.calendars import CalendarState
from rules.conditions import (
    AllOf,
    AnyOf,
    AttributeIs,
    CalendarIs,
    Comparison,
    Condition,
    ContactIs,
    DateIn,
    DigitsAre,
    Not,
    NumberAnonymous,
    NumberCountry,
    NumberIn,
    NumberIs,
    NumberOf,
    NumberPrefix,
    NumberType,
    Percent,
    QueueCompares,
    QueueFact,
    RouterIs,
    TimeIn,
    WeekdayIn,
)
from rules.document import CalendarSpec, Document, Holidays, Hours
from rules.facts import CallFacts, Contact, QueueFacts
from tests.rule_builders import MARK, document, office

NUMBERS = ("+12125550142", "+12125550199", "+442079460123", "+4915112345678")
LISTS = {"vip": NUMBERS[:2], "blocked": NUMBERS[1:3], "nobody": ()}
TEXTS = ("a", "b", "5", "true")
QUEUES = ("sales", "support")
NIGHT = CalendarSpec(
    timezone="Europe/Berlin",
    hours={0: (Hours(22 * 60, 6 * 60),), 2: (Hours(8 * 60, 12 * 60), Hours(13 * 60, 17 * 60))},
    holidays=Holidays(
        country="DE", closed=frozenset({"06-10"}), special={"12-24": (Hours(0, 60),)}
    ),
)
CALENDARS = {"office": office(), "night": NIGHT}

_of = st.sampled_from(NumberOf)
_minute = st.integers(0, 1440)


def _some(values: tuple[str, ...]) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(values), min_size=1, max_size=2)


def _leaf(kind: type, **fields: st.SearchStrategy[object]) -> st.SearchStrategy[Condition]:
    return st.builds(kind, mark=st.just(MARK), **fields)


_digits = st.one_of(
    _leaf(DigitsAre, name=st.sampled_from(TEXTS[:2]), **asks)
    for asks in (
        {"values": _some(TEXTS)},
        {"absent": st.just(True)},
        {"any": st.just(True)},
        {"lengths": st.frozensets(st.integers(1, 4), min_size=1)},
    )
)
QUEUE_LEAVES = _leaf(
    QueueCompares,
    queue=st.sampled_from(QUEUES),
    fact=st.sampled_from(QueueFact),
    comparisons=st.lists(
        st.builds(
            Comparison, st.sampled_from(["<", "<=", "=", ">=", ">"]), st.integers(0, 2).map(float)
        ),
        min_size=1,
        max_size=2,
    ).map(tuple),
)
LEAVES = st.one_of(
    _leaf(NumberIs, of=_of, values=_some(NUMBERS)),
    _leaf(NumberIn, of=_of, lists=st.lists(st.sampled_from(sorted(LISTS)), min_size=1).map(tuple)),
    _leaf(
        NumberPrefix,
        of=_of,
        prefixes=st.lists(
            st.sampled_from(["+1", "+1212", "+44", "+4915"]), min_size=1, max_size=2
        ).map(tuple),
    ),
    _leaf(NumberCountry, of=_of, countries=_some(("US", "GB", "DE"))),
    _leaf(NumberType, of=_of, types=_some(("mobile", "fixed_line", "fixed_line_or_mobile"))),
    _leaf(NumberAnonymous, of=_of, anonymous=st.booleans()),
    _leaf(ContactIs, field=st.sampled_from(["type", "id", "name", "email"]), values=_some(TEXTS)),
    _leaf(RouterIs, values=_some(TEXTS)),
    _leaf(
        CalendarIs,
        calendar=st.sampled_from(sorted(CALENDARS)),
        states=st.frozensets(st.sampled_from(CalendarState), min_size=1, max_size=2),
    ),
    _leaf(TimeIn, spans=st.lists(st.tuples(_minute, _minute), min_size=1, max_size=2).map(tuple)),
    _leaf(WeekdayIn, days=st.frozensets(st.integers(0, 6), min_size=1)),
    _leaf(
        DateIn,
        spans=st.sampled_from([("2026-06-08", "2026-06-10"), ("2026-12-24", "2026-12-24")]).map(
            lambda span: (span,)
        ),
    ),
    _digits,
    _leaf(AttributeIs, key=st.sampled_from(TEXTS[:2]), values=_some(TEXTS)),
    _leaf(Percent, share=st.sampled_from([0.0, 10.0, 50.0, 100.0])),
    QUEUE_LEAVES,
    QUEUE_LEAVES,
)


def _nested(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    several = st.lists(inner, max_size=3).map(tuple)
    return st.one_of(
        st.builds(AllOf, conditions=several),
        st.builds(AnyOf, conditions=several),
        st.builds(Not, condition=inner),
    )


CONDITIONS = st.recursive(LEAVES, _nested, max_leaves=6)

# What the index is made for: equalities that calls often meet, and something else besides.
_EQUALITIES = st.one_of(
    _leaf(NumberIs, of=_of, values=_some(NUMBERS[:2])),
    _leaf(RouterIs, values=_some(TEXTS[:2])),
    _leaf(AttributeIs, key=st.just("a"), values=_some(TEXTS)),
    _leaf(DigitsAre, name=st.just("a"), values=_some(TEXTS)),
)
FILED = st.builds(AllOf, conditions=st.tuples(_EQUALITIES, LEAVES))

DOCUMENTS: st.SearchStrategy[Document] = st.lists(CONDITIONS | FILED, max_size=8).map(
    lambda conditions: document(
        *conditions, timezone="America/New_York", calendars=CALENDARS, lists=LISTS
    )
)

_number = (
    st.none()
    | st.sampled_from(NUMBERS)
    | st.sampled_from(["212 555 0142", "not a number", "Anonymous"])
)
_text = st.none() | st.sampled_from(TEXTS)
CALLS = st.builds(
    CallFacts,
    call_id=st.sampled_from(["", "1", "2", "3", "4"]),
    caller=_number,
    called=_number,
    router=st.sampled_from(["", *TEXTS[:3]]),
    contact=st.none() | st.builds(Contact, id=_text, type=_text, name=_text, email=_text),
    digits=st.dictionaries(st.sampled_from(TEXTS[:2]), st.sampled_from(TEXTS), max_size=2),
    attributes=st.dictionaries(
        st.sampled_from(TEXTS[:2]),
        st.sampled_from([*TEXTS, 5, 5.0, True, False, None]),
        max_size=2,
    ),
)

_count = st.none() | st.integers(0, 3)
_seconds = st.none() | st.sampled_from([0.0, 0.5, 1.0, 2.0])
LIVE_FACTS = st.none() | st.dictionaries(
    st.sampled_from(QUEUES),
    st.builds(
        QueueFacts,
        waiting=_count,
        longest_wait_s=_seconds,
        estimated_wait_s=_seconds,
        agents_idle=_count,
        agents_on_duty=_count,
    ),
    max_size=2,
)

_START_S = datetime(2026, 6, 7, tzinfo=UTC).timestamp()
TIMES = st.integers(0, 5 * 86_400).map(lambda s: _START_S + s) | st.sampled_from(
    [
        datetime.fromisoformat(text).timestamp()
        for text in (
            "2026-03-29T02:30:00+01:00",
            "2026-10-25T02:30:00+02:00",
            "2026-11-01T06:30:00+00:00",
            "2026-12-24T00:30:00+01:00",
        )
    ]
)
