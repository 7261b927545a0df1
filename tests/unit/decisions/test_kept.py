"""What is kept of a tenant's names, and for how long."""

import gc
import weakref

from router.decisions.kept import KeptByNames
from tests.unit.decisions.decide_fakes import FakeNames


def test_what_was_kept_for_other_names_is_not_found_and_let_go() -> None:
    kept: KeptByNames[str] = KeptByNames(100)
    old, new, others = FakeNames(), FakeNames(), FakeNames()
    kept.put("acme", old, 1, "a")
    kept.put("acme", old, 2, "b")
    kept.put("umbrella", others, 1, "c")
    assert [kept.get("acme", old, key) for key in (1, 2, 3)] == ["a", "b", None]
    assert kept.get("acme", new, 1) is None
    kept.put("acme", new, 1, "d")
    assert (kept.get("acme", old, 1), kept.get("acme", old, 2)) == (None, None)
    assert (kept.get("acme", new, 1), kept.get("umbrella", others, 1)) == ("d", "c")
    assert len(kept) == 2
    gone = weakref.ref(old)
    del old
    gc.collect()
    assert gone() is None


def test_only_so_much_is_kept_for_all_tenants_together() -> None:
    kept: KeptByNames[int] = KeptByNames(10)
    names = {str(number): FakeNames() for number in range(4)}
    for number in range(1000):
        tenant = str(number % 4)
        kept.put(tenant, names[tenant], number % 37, number)
        assert kept.get(tenant, names[tenant], number % 37) == number
        found = sum(kept.get(t, names[t], key) is not None for t in names for key in range(37))
        assert len(kept) == found <= 10
