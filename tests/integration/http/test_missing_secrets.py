"""A signed router whose secret is not to be had: it is told wherever one looks, and mends itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from structlog.typing import EventDict

from router.platforms.dialpad.signature import sign
from router.processes import token_secrets
from router.site import keeper
from router.site import secrets as secrets_in_use
from router.site.resources import RouterConfig
from router.site.secret_refs import SecretRef
from rules.actions import Target, TargetType
from tests.integration.http.conftest import Running, Start, apply, until
from tests.servers import Server

SECRET = "partners-secret-0123456789abcdef0123456789"
TOKENS = "tokens-secret-0123456789abcdef0123456789abcdef"
PARTNERS = RouterConfig(
    id="partners",
    name="Partners",
    default_target=Target(type=TargetType.OFFICE, id="1"),
    rules="acme",
    secret=SecretRef(file="secrets/partners"),
)


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "RENEW_EVERY_S", 0.0)
    monkeypatch.setattr(token_secrets, "RENEW_EVERY_S", 0.05)


@pytest.fixture
def is_taken_back_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets_in_use, "GONE_S", 0.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the secret should be; the one for tokens is there."""
    folder = tmp_path / "data/secrets"
    folder.mkdir(parents=True)
    (folder / "tokens").write_text(TOKENS)
    return folder / "partners"


def write(file: Path, text: str | None) -> None:
    """None: the file goes away."""
    if text is None:
        file.unlink()
    else:
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)


async def call(at_work: Running, secret: str | None = SECRET) -> int:
    """Ask as the platform does; None: unsigned."""
    body = msgspec.json.encode({"call_id": 17, "external_number": "+12125550142"})
    signed = body if secret is None else sign(body, secret.encode())
    return (await at_work.post("partners", signed)).status


async def secrets_part(at_work: Running) -> dict[str, Any]:
    async with at_work.session.get(f"{at_work.url}/readyz") as got:
        (part,) = [one for one in (await got.json())["data"]["parts"] if one["name"] == "secrets"]
        return dict(part)


async def metrics(at_work: Running) -> str:
    async with at_work.session.get(f"{at_work.url}/metrics") as got:
        return await got.text()


def told(lines: list[EventDict], event: str) -> list[EventDict]:
    return [line for line in lines if line["event"] == event]


async def test_a_router_without_its_secret_is_told_by_health_log_metrics_and_api(
    start: Start, redis_url: str, file: Path
) -> None:
    with structlog.testing.capture_logs() as lines:
        at_work = await start(redis_url)
        assert (await secrets_part(at_work))["is_well"]
        await apply(at_work.service, PARTNERS)
        assert await call(at_work) == 401
        assert await secrets_part(at_work) == {
            "name": "secrets",
            "is_well": False,
            "detail": "1 missing",
        }
        (line,) = told(lines, "router_secret_missing")
        assert (line["log_level"], line["router"]) == ("error", "partners")
        text = await metrics(at_work)
        assert "crosspoint_routers_refusing_all 1.0" in text
        assert 'crosspoint_unsigned_requests_total{router="partners"} 1.0' in text
        url = f"{at_work.url}/api/v1/routers/partners"
        async with at_work.session.get(url, headers=bearer(at_work)) as got:
            assert "secrets/partners" in (await got.json())["data"]["secret_problem"]

        write(file, SECRET + "\n")
        await until(lambda: told(lines, "router_secret_found"))
        assert await call(at_work) == 200
        assert (await secrets_part(at_work))["is_well"]
        assert "crosspoint_routers_refusing_all 0.0" in await metrics(at_work)
    assert SECRET not in str(lines)


def cut_short(file: Path) -> None:
    file.write_text("short")


def empty(file: Path) -> None:
    file.write_text("")


def exchange(file: Path) -> None:
    """Somebody puts another one there, and has only taken the old one away yet."""
    file.unlink()


def unmount(file: Path) -> None:
    file.parent.rename(file.parents[1] / "elsewhere")


@pytest.mark.parametrize("harm", [cut_short, empty, exchange, unmount])
async def test_a_secret_whose_file_breaks_stays_in_use_and_that_is_told(
    start: Start, redis_url: str, file: Path, harm: Callable[[Path], None]
) -> None:
    write(file, SECRET)
    with structlog.testing.capture_logs() as lines:
        at_work = await start(redis_url)
        await apply(at_work.service, PARTNERS)
        assert await call(at_work) == 200
        harm(file)
        await until(lambda: told(lines, "router_secret_missing"))
        assert await call(at_work) == 200
        assert "1 unreadable" in (await secrets_part(at_work))["detail"]
        (line,) = told(lines, "router_secret_missing")
        assert (line["log_level"], line["refuses_all"]) == ("warning", False)
        assert "crosspoint_routers_secret_unreadable 1.0" in await metrics(at_work)
        write(file, "another-" + SECRET)  # what is exchanged is exchanged
        await until(lambda: told(lines, "router_secret_found"))
        assert await call(at_work) == 401
        assert await call(at_work, "another-" + SECRET) == 200


@pytest.mark.usefixtures("is_taken_back_at_once")
async def test_a_secret_whose_file_is_deleted_is_taken_back_and_nothing_unsigned_is_let_in(
    start: Start, redis_url: str, file: Path
) -> None:
    write(file, SECRET)
    with structlog.testing.capture_logs() as lines:
        at_work = await start(redis_url)
        await apply(at_work.service, PARTNERS)
        assert await call(at_work) == 200
        write(file, None)
        await until(lambda: told(lines, "router_secret_missing"))
        assert (await call(at_work), await call(at_work, None)) == (401, 401)
        assert (await secrets_part(at_work))["detail"] == "1 missing"
        line = told(lines, "router_secret_missing")[-1]
        assert (line["log_level"], line["refuses_all"]) == ("error", True)
        assert "crosspoint_routers_refusing_all 1.0" in await metrics(at_work)
        write(file, SECRET)
        await until(lambda: told(lines, "router_secret_found"))
        assert await call(at_work) == 200


@pytest.mark.usefixtures("is_taken_back_at_once")
async def test_a_secret_is_taken_back_while_the_store_is_away(
    start: Start, new_server: Callable[..., Server], file: Path
) -> None:
    server = new_server()
    write(file, SECRET)
    at_work = await start(server.url)
    await apply(at_work.service, PARTNERS)
    assert await call(at_work) == 200
    server.stop()
    await until(lambda: not at_work.service.links.is_open)
    assert await call(at_work) == 200
    write(file, None)

    async def is_taken_back() -> bool:
        return await call(at_work) == 401

    await until(is_taken_back)


@pytest.mark.usefixtures("is_taken_back_at_once")
async def test_deleting_the_previous_secret_ends_a_rotation(
    start: Start, redis_url: str, file: Path
) -> None:
    previous = file.with_name("previous")
    write(file, "another-" + SECRET)
    write(previous, SECRET)
    with structlog.testing.capture_logs() as lines:
        at_work = await start(redis_url)
        old = SecretRef(file="secrets/previous")
        await apply(at_work.service, msgspec.structs.replace(PARTNERS, previous_secret=old))
        assert await call(at_work) == 200
        write(previous, None)
        await until(lambda: told(lines, "router_secret_missing"))
        assert (await call(at_work), await call(at_work, "another-" + SECRET)) == (401, 200)


def bearer(at_work: Running) -> dict[str, str]:
    claims = {"sub": "ops", "tenant_id": "acme", "role": "admin"}
    return {"Authorization": f"Bearer {at_work.service.tokens.make(claims, ttl_s=60)}"}


async def api(at_work: Running, headers: dict[str, str]) -> int:
    async with at_work.session.get(f"{at_work.url}/api/v1/routers", headers=headers) as got:
        return got.status


@pytest.mark.usefixtures("is_taken_back_at_once")
async def test_a_secret_for_tokens_is_exchanged_and_taken_back_under_a_running_process(
    start: Start, redis_url: str, file: Path
) -> None:
    of_tokens = file.with_name("tokens")
    with structlog.testing.capture_logs() as lines:
        at_work = await start(redis_url)
        before = bearer(at_work)
        assert await api(at_work, before) == 200
        write(of_tokens, "short")
        await until(lambda: told(lines, "token_secret_missing"))
        assert await api(at_work, before) == 200
        assert (await secrets_part(at_work))["detail"] == "tokens unreadable"
        write(of_tokens, "another-" + TOKENS)
        await until(lambda: told(lines, "token_secret_found"))
        after = bearer(at_work)
        assert (await api(at_work, before), await api(at_work, after)) == (401, 200)
        write(of_tokens, None)
        await until(lambda: not at_work.service.tokens.can_verify)
        assert await api(at_work, after) == 401
        assert (await secrets_part(at_work))["detail"] == "tokens missing"
        line = told(lines, "token_secret_missing")[-1]
        assert (line["log_level"], line["is_in_use"]) == ("error", False)
    assert TOKENS not in str(lines)


async def test_an_api_that_can_verify_no_token_is_told(start: Start, redis_url: str) -> None:
    assert (await secrets_part(await start(redis_url)))["detail"] == "tokens missing"
