"""Vercel, whose Python runtime serves any WSGI or ASGI application that is called `app`."""

from typing import TypedDict

from flask import Flask, request

from lq import Job, Queue
from lq.sdk.flask import blueprint


class Welcome(TypedDict):
    name: str


welcome = Queue[Welcome]("welcome", path="/lq/welcome")


@welcome.handler
def send_welcome(job: Job[Welcome]) -> dict[str, str]:
    return {"sent": f"Welcome, {job.payload['name']}!"}


app = Flask(__name__)
app.register_blueprint(blueprint(welcome))


@app.post("/signup")
def sign_up() -> dict[str, str]:
    item = welcome.push_sync({"name": request.args["name"]})
    return {"id": item["id"]}
