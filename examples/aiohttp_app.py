"""aiohttp, with a route for each handler of lq: python examples/aiohttp_app.py."""

import os
from typing import TypedDict

from aiohttp import web

from lq import Job, Queue
from lq.sdk.aiohttp import routes


class Welcome(TypedDict):
    name: str


welcome = Queue[Welcome]("welcome", path="/lq/welcome")


@welcome.handler
async def send_welcome(job: Job[Welcome]) -> dict[str, str]:
    return {"sent": f"Welcome, {job.payload['name']}!"}


async def sign_up(request: web.Request) -> web.Response:
    item = await welcome.push({"name": request.query["name"]})
    return web.json_response({"id": item["id"]})


app = web.Application()
app.add_routes([web.post("/signup", sign_up), *routes(welcome)])

if __name__ == "__main__":
    web.run_app(app, host="127.0.0.1", port=int(os.environ.get("PORT", "3000")))
