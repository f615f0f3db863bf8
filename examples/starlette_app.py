"""Starlette, with the handlers of lq mounted in the app: python examples/starlette_app.py."""

import os
from typing import TypedDict

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from lq import Job, Queue
from lq.sdk import asgi


class Welcome(TypedDict):
    name: str


welcome = Queue[Welcome]("welcome", path="/lq/welcome")


@welcome.handler
async def send_welcome(job: Job[Welcome]) -> dict[str, str]:
    return {"sent": f"Welcome, {job.payload['name']}!"}


async def sign_up(request: Request) -> JSONResponse:
    item = await welcome.push({"name": request.query_params["name"]})
    return JSONResponse({"id": item["id"]})


app = Starlette(
    routes=[
        Route("/signup", sign_up, methods=["POST"]),
        Mount("/lq", asgi.Handlers(welcome)),
    ]
)

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "3000")))
