"""Django, with the handlers of lq as URL patterns: python examples/django_app.py."""

import os
import sys
from typing import TypedDict

from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from lq import Job, Queue
from lq.sdk.django import urls

settings.configure(
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ.get("DJANGO_SECRET_KEY", "of this example alone"),
    ALLOWED_HOSTS=["127.0.0.1"],
    MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
)


class Welcome(TypedDict):
    name: str


welcome = Queue[Welcome]("welcome", path="/lq/welcome")


@welcome.handler
def send_welcome(job: Job[Welcome]) -> dict[str, str]:
    return {"sent": f"Welcome, {job.payload['name']}!"}


def sign_up(request: HttpRequest) -> JsonResponse:
    item = welcome.push_sync({"name": request.GET["name"]})
    return JsonResponse({"id": item["id"]})


# Exempt because curl calls it here; a form would bring its token.
urlpatterns = [path("signup", csrf_exempt(sign_up)), *urls(welcome)]

if __name__ == "__main__":
    address = f"127.0.0.1:{os.environ.get('PORT', '3000')}"
    execute_from_command_line([sys.argv[0], "runserver", "--noreload", address])
