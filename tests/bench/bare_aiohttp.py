"""The floor: an aiohttp handler that reads the body and answers a constant, the usual way.

python -m tests.bench.bare_aiohttp PORT
"""

import asyncio
import sys

import uvloop
from aiohttp import web

ANSWER = b'{"action":"route","target_type":"department","target_id":"77"}'


async def handle(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(body=ANSWER, content_type="application/json")


async def serve(port: int) -> None:
    application = web.Application()
    application.add_routes([web.post("/route/{router_id}", handle)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(serve(int(sys.argv[1])))
