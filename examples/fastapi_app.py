"""FastAPI, with the handlers of lq around the app: python examples/fastapi_app.py."""

import os
from typing import TypedDict

import uvicorn
from fastapi import FastAPI

from lq import Job, Queue
from lq.sdk import asgi


class Welcome(TypedDict):
    name: str


welcome = Queue[Welcome]("welcome", path="/lq/welcome")


@welcome.handler
async def send_welcome(job: Job[Welcome]) -> dict[str, str]:
    return {"sent": f"Welcome, {job.payload['name']}!"}


app = FastAPI()
app.add_middleware(asgi.middleware, welcome)


@app.post("/signup")
async def sign_up(name: str) -> dict[str, str]:
    item = await welcome.push({"name": name})
    return {"id": item["id"]}


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "3000")))
