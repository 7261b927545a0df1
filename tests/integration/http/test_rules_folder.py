"""The rules folder of a running service: what becomes of files that come, go and are no good."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.integration.http.conftest import RULES, Running, apply, until

GOOD = "version: 1\ndefault: {end: {message: bye}}\n"


async def rules_part(main: Running) -> dict[str, Any]:
    """What /readyz says of the rules."""
    async with main.session.get(f"{main.url}/readyz") as got:
        parts = (await got.json())["data"]["parts"]
    return next(part for part in parts if part["name"] == "rules")


async def metrics_of(main: Running, ruleset: str) -> dict[str, float]:
    async with main.session.get(f"{main.url}/metrics") as got:
        lines = (await got.text()).splitlines()
    told = [line.split(" ") for line in lines if f'ruleset="{ruleset}"' in line]
    return {
        name.partition("{")[0].removeprefix("crosspoint_"): float(value) for name, value in told
    }


async def folder_of(main: Running) -> Path:
    """The folder of a service whose routers find all their rules."""
    folder = main.service.settings.rules_dir
    (folder / "absent.yaml").write_text(GOOD)
    await apply(main.service)
    await until(lambda: main.service.rulesets.get("absent"))
    assert await rules_part(main) == {"name": "rules", "is_well": True}
    return folder


async def test_a_file_that_no_router_uses_may_be_removed(main: Running) -> None:
    folder = await folder_of(main)
    (folder / "other.yml").write_text(GOOD)
    await until(lambda: main.service.rulesets.get("other"))
    (folder / "other.yml").unlink()
    await until(lambda: main.service.rulesets.get("other") is None)
    assert await rules_part(main) == {"name": "rules", "is_well": True}
    assert await metrics_of(main, "other") == {}


async def test_a_broken_file_that_no_router_uses_degrades_nothing(main: Running) -> None:
    folder = await folder_of(main)
    (folder / "draft.yaml").write_text("{")
    await until(lambda: any(state.name == "draft" for state in main.service.rulesets.states))
    assert await rules_part(main) == {"name": "rules", "is_well": True}
    (folder / "absent.yaml").write_text("{")
    await until(lambda: any(state.problems for state in main.service.rulesets.states[:1]))
    assert await rules_part(main) == {"name": "rules", "is_well": False, "detail": "1 refused"}


@pytest.mark.parametrize("name", [b"b\xfcro.yaml", b"two\nlines.yaml"])
async def test_a_file_whose_name_cannot_be_shown_is_left_alone(main: Running, name: bytes) -> None:
    folder = await folder_of(main)
    (folder / os.fsdecode(name)).write_text(GOOD)
    (folder / "zebra.yaml").write_text(GOOD)  # taken after the other one
    await until(lambda: main.service.rulesets.get("zebra"))
    assert {state.name for state in main.service.rulesets.states} == {"absent", "acme", "zebra"}
    async with main.session.get(f"{main.url}/metrics") as got:
        assert got.status == 200


async def test_a_file_with_a_name_that_is_taken_is_told_and_takes_over_when_it_is_free(
    main: Running,
) -> None:
    folder = await folder_of(main)
    (folder / "acme.yml").write_text(
        RULES.replace("default: {route: sales}", "default: {route: english}")
    )
    first = main.service.rulesets.get("acme")

    async def is_told() -> bool:
        return (await rules_part(main)).get("detail") == "1 ignored"

    await until(is_told)
    assert main.service.rulesets.get("acme") is first
    (folder / "acme.yaml").unlink()
    await until(lambda: main.service.rulesets.get("acme") is not first)
    assert (await main.call()).body["target_id"] == "61"
    assert await rules_part(main) == {"name": "rules", "is_well": True}


async def test_a_rule_that_was_renamed_is_counted_by_its_new_name_only(main: Running) -> None:
    folder = await folder_of(main)

    async def names_counted() -> set[str]:
        await main.call(external_number="+12125550133")
        async with main.session.get(f"{main.url}/metrics") as got:
            return set(
                re.findall(r'rule_hits_total{rule="(\w+)",ruleset="acme"}', await got.text())
            )

    assert await names_counted() == {"language"}
    (folder / "acme.yaml").write_text(
        RULES.replace("name: language\n    when", "name: tongue\n    when")
    )

    async def is_renamed() -> bool:
        return await names_counted() == {"tongue"}

    await until(is_renamed)
