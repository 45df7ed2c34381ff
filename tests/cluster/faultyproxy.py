"""An API server that fails on demand: passes requests on to the real one, or answers them with an error.

    faultyproxy.py PORT REAL-URL

`GET /fault/MODE` sets what is done from then on:
    pass       pass everything on
    STATUS     answer everything with that HTTP status, and end the watches that are open
    gone       end each open watch, and answer each new one, with an in-stream ERROR of code 410
    silent     neither answer requests nor deliver anything on open watches, until the next mode
"""

import asyncio
import json
import ssl
import sys

import aiohttp
from aiohttp import web


class Proxy:
    """A proxy that passes requests on, or fails.

    Args:
        real: URL of the API server.
    """

    def __init__(self, real: str) -> None:
        self._real = real
        self._mode = "pass"
        self._changed = asyncio.Event()

    async def set_fault(self, request: web.Request) -> web.Response:
        """Change the mode."""
        self._mode = request.match_info["mode"]
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        return web.Response(text="ok\n")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer as the mode says."""
        if self._mode.isdigit():
            status = int(self._mode)
            return web.json_response(_status(status), status=status)
        await self._silence()
        watching = "watch" in request.query
        if self._mode == "gone" and watching:
            return web.json_response({"type": "ERROR", "object": _status(410)})
        return await self._pass_on(request, watching=watching)

    async def _pass_on(self, request: web.Request, *, watching: bool) -> web.StreamResponse:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        headers = {key: request.headers[key] for key in ("Authorization", "Accept") if key in request.headers}
        timeout = aiohttp.ClientTimeout(total=None)
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context), timeout=timeout) as session,
            session.get(self._real + request.raw_path, headers=headers) as answer,
        ):
            response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
            await response.prepare(request)
            if not watching:
                await response.write(await answer.read())
                return response
            await self._stream(answer, response)
            return response

    async def _silence(self) -> None:
        while self._mode == "silent":
            await self._changed.wait()

    async def _stream(self, answer: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
        """Pass a watch on, line by line, until it ends or the mode changes."""
        changed = asyncio.ensure_future(self._changed.wait())
        while True:
            line = asyncio.ensure_future(answer.content.readline())
            await asyncio.wait({line, changed}, return_when=asyncio.FIRST_COMPLETED)
            if changed.done():
                line.cancel()
                if self._mode == "gone":
                    await response.write(json.dumps({"type": "ERROR", "object": _status(410)}).encode() + b"\n")
                await self._silence()
                return
            if not (data := line.result()):
                return
            await response.write(data)


def _status(code: int) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "message": "fault on demand"}


async def main() -> None:
    """Serve until killed."""
    proxy = Proxy(sys.argv[2])
    app = web.Application()
    app.router.add_get("/fault/{mode}", proxy.set_fault)
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", int(sys.argv[1])).start()  # noqa: S104  inside a namespace of the lab
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
