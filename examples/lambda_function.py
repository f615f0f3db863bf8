"""AWS Lambda, behind a function URL: deploy it with the handler `lambda_function.handler`."""

import json
from typing import Any, TypedDict

from lq import Job, Queue
from lq.sdk import aws_lambda


class Welcome(TypedDict):
    name: str


welcome = Queue[Welcome]("welcome", path="/lq/welcome")


@welcome.handler
def send_welcome(job: Job[Welcome]) -> dict[str, str]:
    return {"sent": f"Welcome, {job.payload['name']}!"}


def sign_up(event: dict[str, Any], _: object) -> dict[str, Any]:
    item = welcome.push_sync({"name": event["queryStringParameters"]["name"]})
    return {"statusCode": 200, "body": json.dumps({"id": item["id"]})}


handler = aws_lambda.handler(welcome, app=sign_up)
