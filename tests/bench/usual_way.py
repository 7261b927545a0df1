"""The same job written the usual way: FastAPI, PyJWT, redis-py with get, set and a lock.

    python -m tests.bench.usual_way PORT REDIS_URL

What somebody sensible writes in an afternoon, and less than our service does: numbers of customers
in a dict instead of 500 comparisons, any free agent instead of the one idle longest, no decision log,
no memory of calls, no metrics, no budget. Agents are tried from a random place so that requests do
not fight for the same locks.
"""

import json
import random
import sys
import time
from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import jwt
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel
from redis import asyncio as aioredis

from tests.bench.calls import AGENTS, CALLED, RULES, SECRET

CUSTOMERS = {f"+1646{n:07}": str(n) for n in range(2_000_000, 2_000_000 + RULES - 1)}
HOLIDAYS: set[str] = set()
OPENS, CLOSES = 0, 24
TZ = ZoneInfo("UTC")
AGENT_IDS = [f"agent{n}" for n in range(AGENTS)]
MOST_TRIES = 10
LEASE_MS = 500

app = FastAPI()
store = aioredis.from_url(sys.argv[2] if len(sys.argv) > 2 else "redis://", decode_responses=True)


class Contact(BaseModel):
    id: str | None = None
    type: str | None = None
    name: str | None = None


class Call(BaseModel):
    call_id: int
    external_number: str | None = None
    internal_number: str | None = None
    contact: Contact | None = None


async def signed_call(request: Request) -> Call:
    try:
        claims = jwt.decode(await request.body(), SECRET, algorithms=["HS256"])
    except jwt.InvalidTokenError as error:
        raise HTTPException(401, "bad signature") from error
    return Call.model_validate(claims)


def is_open() -> bool:
    now = datetime.now(TZ)
    return now.strftime("%m-%d") not in HOLIDAYS and OPENS <= now.hour < CLOSES


async def take_agent(call_id: int) -> str | None:
    """Any free agent of the queue, locked while we look."""
    start = random.randrange(AGENTS)
    for n in range(MOST_TRIES):
        agent_id = AGENT_IDS[(start + n) % AGENTS]
        lock = store.lock(f"usual:lock:{agent_id}", timeout=1, blocking=False)
        if not await lock.acquire():
            continue
        try:
            agent = json.loads(await store.get(f"usual:agent:{agent_id}") or "{}")
            if agent.get("busy_until", 0) > time.time():
                continue
            agent = {"busy_until": time.time() + LEASE_MS / 1000, "call_id": call_id}
            await store.set(f"usual:agent:{agent_id}", json.dumps(agent), px=60_000)
            return agent_id
        finally:
            await lock.release()
    return None


@app.post("/route/{router_id}")
async def route(router_id: str, call: Annotated[Call, Depends(signed_call)]) -> dict[str, str]:
    if is_open():
        if call.external_number in CUSTOMERS:
            department = CUSTOMERS[call.external_number]
            return {"action": "route", "target_type": "department", "target_id": department}
        if call.internal_number == CALLED:
            agent_id = await take_agent(call.call_id)
            if agent_id is not None:
                return {"action": "route", "target_type": "user", "target_id": agent_id}
            return {"action": "route", "target_type": "department", "target_id": "77"}
    return {"action": "route", "target_type": "department", "target_id": "99"}


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
